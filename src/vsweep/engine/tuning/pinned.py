"""What of a plan is settled beforehand: by a person, or by an earlier plan of the same sweep."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vsweep.config.validate import Config
from vsweep.engine.tuning.layout import Arrangement

# How long a segment should take.
_SEGMENT_S = 15.0


class UserLimits(NamedTuple):
    """What a person may ask of a plan.

    block: the trials of one call; None to choose. segment: the steps between two looks of the host; None
    to choose. keep_state: whether the last state of every trial is wanted.
    """

    block: int | None = None
    segment: int | None = None
    keep_state: bool = False


NOTHING_ASKED = UserLimits()


def segment_records(config: Config, asked: UserLimits, block_step_s: float) -> int:
    """The records of a segment, 0 for the whole training at once.

    block_step_s: the seconds that a step of a whole block takes.
    """
    records = -(-config.steps // config.record_every) + 1
    most = block_step_s * config.steps
    if asked.segment is not None:
        segment = max(1, asked.segment // config.record_every)
    else:
        # Cut evenly, and not for a little more than one segment.
        segment = -(-records // max(1, int(most / _SEGMENT_S)))
    if segment >= records:
        return records if asked.keep_state else 0
    return segment


class PinnedPlan(NamedTuple):
    """Of an earlier plan.

    families: the bounds of the widths of each family of programs. facts: what is to be the same of each
    program. arrangements, segments: of each.
    """

    families: dict[str, list[int]]
    facts: list[tuple[str, int]]
    arrangements: list[Arrangement]
    segments: list[int]

    def fit(self, programs: Sequence[Any]) -> bool:
        """Whether these programs are those of the earlier plan."""
        return bool(programs) and [(program.name, len(program.rows)) for program in programs] == self.facts


def pinned(record: Mapping[str, Any] | None, asked: UserLimits, trials: int) -> PinnedPlan:
    """What an earlier plan's record settles: nothing, where another block or segment was asked for."""
    made = PinnedPlan({}, [], [], [])
    if not record or record.get("asked") != list(asked) or record.get("trials") != trials:
        return made
    try:
        for program in record["programs"]:
            if program["family"]:
                made.families.setdefault(program["family"], []).append(program["padded_width"])
            made.facts.append((program["name"], program["trials"]))
            made.arrangements.append(Arrangement(program["block"], program["lanes"], program["fused"]))
            made.segments.append(program["segment"])
    except (KeyError, TypeError):
        return PinnedPlan({}, [], [], [])
    return made
