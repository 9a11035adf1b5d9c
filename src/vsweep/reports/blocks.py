"""The parts of a report: charts, charts to choose among, pictures, tables; and the questions they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vsweep.charts.style import Chart
from vsweep.plots.task import Images

# By the option of each choice.
Charts = dict[tuple[str, ...], Chart]


@dataclass(frozen=True)
class Choice:
    """Charts of which one is shown, by what the reader chooses.

    names: of the choices. charts: by the option of each choice, in the order in which they are offered.
    """

    names: tuple[str, ...]
    charts: Mapping[tuple[str, ...], Chart]

    @property
    def options(self) -> list[list[str]]:
        """The options of each choice."""
        return [list(dict.fromkeys(key[i] for key in self.charts)) for i in range(len(self.names))]


@dataclass(frozen=True)
class Rows:
    """A table. cells: of each row, the number of the cell that it is of, if it is of one."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    cells: Sequence[int | None] = ()
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An image in light and in dark. alt: describes it to a reader who does not see it."""

    title: str
    images: Images
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A question and its answer. words: sentences that the numbers support."""

    name: str
    title: str
    words: list[str] = field(default_factory=list)
    blocks: list[Chart | Choice | Rows | Picture] = field(default_factory=list)
