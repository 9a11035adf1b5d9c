"""Plan settings fixed by the user or by the plan that is resumed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vsweep.config.validate import Config
from vsweep.engine.tuning.layout import Arrangement

# The seconds that a segment should take.
_SEGMENT_S = 15.0


class UserLimits(NamedTuple):
    """Limits that the user may set for a plan.

    Attributes:
        block: The trials of one call; None lets the planner choose.
        segment: The steps between two looks of the host; None lets the planner choose.
        keep_state: Whether the last state of every trial is wanted.
    """

    block: int | None = None
    segment: int | None = None
    keep_state: bool = False


NO_LIMITS = UserLimits()


def segment_records(config: Config, limits: UserLimits, block_step_s: float) -> int:
    """Choose the records of a segment, 0 for the whole training at once.

    Args:
        config: The config of the program.
        limits: The user's limits.
        block_step_s: The seconds that a step of a whole block takes.
    """
    records = -(-config.steps // config.record_every) + 1
    if limits.segment is not None:
        segment = max(1, limits.segment // config.record_every)
    else:
        # Equal segments, and none for a training that is hardly longer than one.
        segment = -(-records // max(1, int(block_step_s * config.steps / _SEGMENT_S)))
    if segment >= records:
        return records if limits.keep_state else 0
    return segment


class PinnedPlan(NamedTuple):
    """The programs and blocks of an earlier plan of the same sweep.

    Attributes:
        families: The widest widths of each family of programs, by its name.
        programs: The timing key of each program and the number of its trials, which must be the same now.
        arrangements: The arrangement of each program.
        segments: The records of a segment of each program.
    """

    families: dict[str, list[int]]
    programs: list[tuple[str, int]]
    arrangements: list[Arrangement]
    segments: list[int]

    def fits(self, programs: Sequence[tuple[str, int]]) -> bool:
        """Return whether these programs are those of the earlier plan."""
        return bool(programs) and list(programs) == self.programs


def pinned(record: Mapping[str, Any] | None, limits: UserLimits, trials: int) -> PinnedPlan:
    """Read the settings that an earlier plan fixes: none, if the user now asks for another block or segment.

    Args:
        record: The earlier plan's `plan.json`, if any.
        limits: The user's limits now.
        trials: The number of trials of the grid now.
    """
    plan = PinnedPlan({}, [], [], [])
    if not record or record.get("asked") != list(limits) or record.get("trials") != trials:
        return plan
    try:
        for program in record["programs"]:
            if program["family"]:
                plan.families.setdefault(program["family"], []).append(program["padded_width"])
            plan.programs.append((program["name"], program["trials"]))
            plan.arrangements.append(Arrangement(program["block"], program["lanes"], program["fused"]))
            plan.segments.append(program["segment"])
    except (KeyError, TypeError):
        return PinnedPlan({}, [], [], [])
    return plan
