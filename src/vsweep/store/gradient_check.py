"""Results of comparing gradients with central differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


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


class ProgramCheck(NamedTuple):
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


@dataclass(frozen=True)
class GradientCheck:
    """The results for all programs, and the relative error above which a gradient counts as wrong."""

    programs: tuple[ProgramCheck, ...]
    threshold: float

    @property
    def worst(self) -> Derivative:
        """The derivative with the largest error in any program."""
        return max((program.worst for program in self.programs), key=lambda worst: worst.error)

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.worst.error

    @property
    def wrong(self) -> bool:
        """True if a gradient is wrong."""
        return self.error > self.threshold

    @property
    def scalars(self) -> int:
        """Number of derivatives compared in all programs."""
        return sum(program.scalars for program in self.programs)

    @property
    def open(self) -> int:
        """Number of derivatives for which central differences are inconclusive."""
        return sum(program.open for program in self.programs)

    @property
    def doubt(self) -> float:
        """Uncertainty of the differences in the worst program, as a share of the largest gradient."""
        return max(program.doubt for program in self.programs)
