"""The parts of a report: questions with charts, charts to choose among, pictures and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vsweep.charts.style import Chart
from vsweep.plots.task import Images

# Charts by the option of each choice.
Charts = dict[tuple[str, ...], Chart]


@dataclass(frozen=True)
class Choice:
    """Charts of which the reader chooses one to be shown.

    Attributes:
        names: The names of the choices.
        charts: The charts by the option of each choice, in the order in which options are offered.
    """

    names: tuple[str, ...]
    charts: Mapping[tuple[str, ...], Chart]

    @property
    def options(self) -> list[list[str]]:
        """The options of each choice."""
        return [list(dict.fromkeys(key[i] for key in self.charts)) for i in range(len(self.names))]


@dataclass(frozen=True)
class Rows:
    """A table; `cells` has the number of each row's cell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    cells: Sequence[int]
    note: str


@dataclass(frozen=True)
class Picture:
    """An image in light and in dark; `alt` describes it to a reader who cannot see it."""

    title: str
    images: Images
    alt: str
    note: str = ""


# A sentence of an answer, or a block below its sentences.
Content = str | Chart | Choice | Rows | Picture


@dataclass(frozen=True)
class Section:
    """A question, with its answer in sentences and blocks."""

    name: str
    title: str
    contents: Sequence[Content]

    @property
    def sentences(self) -> list[str]:
        """The sentences of the answer."""
        return [content for content in self.contents if isinstance(content, str)]

    @property
    def blocks(self) -> list[Chart | Choice | Rows | Picture]:
        """The blocks below the sentences."""
        return [content for content in self.contents if not isinstance(content, str)]
