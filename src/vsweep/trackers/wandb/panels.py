"""The kinds of panels that a dashboard is made of, and what each shows in words."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Field:
    """One number of a run: of its config, by dotted path, or of its summary."""

    key: str
    name: str
    log: bool = False
    summary: bool = False


@dataclass(frozen=True)
class Curves:
    """Metrics over steps, a line for each value of a config's field: the mean of its runs, and their spread.

    by: None for one line of all runs. spread: as W&B calls it. lines: how many there are.
    """

    metrics: tuple[str, ...]
    by: Field | None
    spread: Literal["stddev", "minmax"]
    log_x: bool
    log_y: bool
    lines: int = 1

    @property
    def title(self) -> str:
        """What stands above it."""
        return self.metrics[0] + (f" by {self.by.name}" if self.by else "")

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        if len(self.metrics) > 1:
            return f"{self.title}: mean, least and greatest over seeds{_logs(x=self.log_x, y=self.log_y)}"
        spread = "standard deviation" if self.spread == "stddev" else "range"
        return f"{self.title}: mean and {spread} of the runs{_logs(x=self.log_x, y=self.log_y)}"


@dataclass(frozen=True)
class Parallel:
    """A line for each run through parallel axes."""

    columns: tuple[Field, ...]

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        names = [column.name + (" (log)" if column.log else "") for column in self.columns]
        return f"parallel coordinates: {', '.join(names)}"


@dataclass(frozen=True)
class Importance:
    """How much of a metric each field of the config tells."""

    target: str

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"parameter importance for {self.target}"


@dataclass(frozen=True)
class Scatter:
    """A point for each run. z: a third axis."""

    x: Field
    y: Field
    z: Field | None = None

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{self.y.name} against {self.x.name}" + (f" and {self.z.name}" if self.z else "")

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return self.title + _logs(x=self.x.log, y=self.y.log, z=self.z is not None and self.z.log)


@dataclass(frozen=True)
class Pictures:
    """Pictures that the overview has logged."""

    title: str
    keys: tuple[str, ...]

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"{self.title}: {', '.join(key.partition('/')[2] for key in self.keys)}"


@dataclass(frozen=True)
class Rows:
    """A table that the overview has logged."""

    key: str

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"table of {self.key}"


Panel = Curves | Parallel | Importance | Scatter | Pictures | Rows


def _logs(**axes: bool) -> str:
    named = [name for name, log in axes.items() if log]
    return f", log {' and '.join(named)}" if named else ""
