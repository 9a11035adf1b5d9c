"""The results of `vsweep check` and `vsweep verify`, and their descriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

# At most this many trials are named.
_MOST_NAMES = 5


def describe_verification(record: Mapping[str, Any]) -> str:
    """Describe the content of `verify.json` in a sentence or two."""
    if "failed" in record:
        return f"verification failed ({record['failed']}); run `vsweep verify DIR`"
    if not record["checked"]:
        return (
            "verification skipped: retraining one trial would take more than 5 % of the run time;"
            " run `vsweep verify DIR`"
        )
    steady = [trial for trial in record["trials"] if not trial["chaotic"]]
    line = f"verified: {record['checked']} of {record['of']:,} trials retrained alone"
    if steady:
        difference, twin = (max(trial[key] for trial in steady) for key in ("difference", "twin"))
        line += f"; their curves differ by at most {difference:.1g}, and their twins' by {twin:.1g}"
    # Records of earlier versions do not have it.
    if record.get("wrong"):
        line += (
            f"; WRONG: {_names(record['wrong'])} trained alone differs by far more than rounding explains;"
            " train the sweep again in a new dir with block=1; verify.json has the evidence for a report"
        )
    changed = record["changed"]
    line += f"; the verdict changed for {_names(changed)}" if changed else "; no verdict changed"
    if record["chaotic"]:
        line += f"; chaotic, so that rounding decides the curve: {_names(record['chaotic'])}"
    return line


def _names(trials: Sequence[int]) -> str:
    names = ", ".join(map(str, trials[:_MOST_NAMES])) + (", …" if len(trials) > _MOST_NAMES else "")
    return f"trial{'' if len(trials) == 1 else 's'} {names}"


class Derivative(NamedTuple):
    """The derivative of a trial's training loss by one scalar parameter, computed in two ways.

    Attributes:
        error: Relative difference of the two; infinite where the gradient is not finite.
        parameter: Name of the scalar.
        cell: The trial's values on the sweep's axes, by dotted path.
        trial: Number of the trial.
        seed: Seed of the trial.
        moved: Whether it is taken near the trial's initial parameters and not at them.
        gradient: The derivative by JAX.
        difference: The derivative by central differences.
    """

    error: float
    parameter: str
    cell: Mapping[str, Any]
    trial: int
    seed: int
    moved: bool
    gradient: float
    difference: float


@dataclass(frozen=True)
class ProgramCheck:
    """The result for one program.

    Attributes:
        name: Its data and its model.
        scalars: Number of derivatives compared.
        open: Number of these for which central differences are inconclusive: the point is at a kink, or the
            loss is too rough.
        doubt: Median uncertainty of the differences, as a share of the largest gradient.
        worst: The derivative with the largest error.
    """

    name: str
    scalars: int
    open: int
    doubt: float
    worst: Derivative

    @classmethod
    def combine(cls, name: str, checks: Sequence["ProgramCheck"], **more: Any) -> Self:
        """Return the sums of several results, and the values of the worst one; more: further attributes."""
        scalars, left_open = sum(check.scalars for check in checks), sum(check.open for check in checks)
        worst = max((check.worst for check in checks), key=lambda worst: worst.error)
        return cls(name, scalars, left_open, max(check.doubt for check in checks), worst, **more)


@dataclass(frozen=True)
class GradientCheck(ProgramCheck):
    """The result for all programs together.

    Attributes:
        programs: The results of the programs.
        threshold: The relative error above which a gradient counts as wrong.
    """

    programs: Sequence[ProgramCheck]
    threshold: float

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.worst.error

    @property
    def wrong(self) -> bool:
        """True if a gradient is wrong."""
        return self.error > self.threshold
