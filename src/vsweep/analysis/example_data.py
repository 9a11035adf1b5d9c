"""Read the examples of a sweep's data set for pictures over one or two features."""

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import Panel
from vsweep.analysis.labels import format_count
from vsweep.store.reader import StoredSweep

Limits = tuple[float, float]


@dataclass(frozen=True)
class ExampleData:
    """The data of a sweep, from `Sweep.examples` and from the data's record in `plan.json`.

    Attributes:
        examples: The table of examples.
        columns: The columns of the features in this table.
        features: The names of the features.
        classes: The names of the classes; none for numbers.
        mean: The mean by which each feature is standardized.
        std: The standard deviation by which it is standardized.
        fresh: Whether each step draws examples of its own.
    """

    examples: pd.DataFrame
    columns: tuple[str, ...]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    fresh: bool = False

    @cached_property
    def limits(self) -> tuple[Limits, ...]:
        """The range of each feature in a picture: all examples, and a margin."""
        return tuple(with_margin(self.examples[name].to_numpy(float)) for name in self.columns)

    def part(self, *, train: bool) -> pd.DataFrame:
        """Return the examples that are trained on, or those that are held out."""
        return self.examples[(self.examples["part"] == "train") == train]


class ExamplePanels(NamedTuple, Generic[Panel]):
    """The data behind a picture whose panels all show the same examples."""

    title: str
    caption: str
    panels: list[Panel]
    examples: ExampleData


def with_margin(values: np.ndarray, share: float = 0.06) -> Limits:
    """Return the lowest and the highest value, moved apart by a share of their distance."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = share * (high - low) or 0.5
    return low - margin, high + margin


def example_data_for(sweep: StoredSweep, name: str, features: int, targets: str) -> ExampleData:
    """Return the data of a sweep for a picture.

    Args:
        sweep: The sweep.
        name: The name of the picture, for messages.
        features: The number of features that it takes.
        targets: The targets that it takes: `numbers`, `classes` or `two classes`.

    Raises:
        KeyError: If the sweep has other data, or several data sets.
    """
    record, *others = sweep.plan["data"].values()
    if others:
        raise KeyError(f"{name} shows one data set, and this sweep has {1 + len(others)}")
    names, classes = tuple(record["features"]), tuple(record["classes"])
    suitable = {"numbers": not classes, "classes": bool(classes), "two classes": len(classes) == 2}
    if len(names) != features or not suitable[targets]:
        has = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}" if classes else "numbers"
        has = f"{has} over {format_count(len(names), 'feature')}"
        takes = f"{targets} over {format_count(features, 'feature')}"
        raise KeyError(f"{name} shows {takes}, and this sweep's data are {has}")
    mean, std = np.asarray(record["mean"], float), np.asarray(record["std"], float)
    examples = sweep.examples
    columns = tuple(map(str, examples.columns[:features]))
    return ExampleData(examples, columns, names, classes, mean, std, bool(record.get("fresh")))
