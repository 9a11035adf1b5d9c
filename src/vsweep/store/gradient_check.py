"""What a check of gradients found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Derivative(NamedTuple):
    """The derivative of a trial's training loss by one scalar of its parameters, got in two ways.

    error: how far they are apart, relatively; infinite where the gradient is not finite. parameter: the
    scalar's name. cell: the trial's values on the sweep's axes, by path. trial, seed: its number, its seed.
    moved: whether it is taken not at the trial's first parameters, but near them. gradient: JAX's.
    difference: that of central differences.
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
    """Of one program.

    name: its data and its model. scalars: how many derivatives were compared. open: of how many of these
    differences say nothing: they are on a kink, or the loss is too rough. doubt: how far differences may be
    off, the median, as a share of the gradient's largest. worst: the one that is furthest apart.
    """

    name: str
    scalars: int
    open: int
    doubt: float
    worst: Derivative


@dataclass(frozen=True)
class GradientCheck:
    """Gradients held against central differences.

    programs: what was found of each. threshold: the relative error above which a gradient is wrong.
    """

    programs: tuple[ProgramCheck, ...]
    threshold: float

    @property
    def worst(self) -> Derivative:
        """The derivative that is furthest apart, of all programs."""
        return max((program.worst for program in self.programs), key=lambda worst: worst.error)

    @property
    def error(self) -> float:
        """The worst relative error."""
        return self.worst.error

    @property
    def wrong(self) -> bool:
        """Whether a gradient is wrong."""
        return self.error > self.threshold

    @property
    def scalars(self) -> int:
        """How many derivatives were compared, of all programs."""
        return sum(program.scalars for program in self.programs)

    @property
    def open(self) -> int:
        """Of how many of these differences say nothing."""
        return sum(program.open for program in self.programs)

    @property
    def doubt(self) -> float:
        """How far differences may be off, as a share of the gradient's largest, in the worst program."""
        return max(program.doubt for program in self.programs)
