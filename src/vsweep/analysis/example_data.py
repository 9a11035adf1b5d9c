"""The examples of a sweep's data set, as pictures over one or two features need them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vsweep.store.reader import StoredSweep

Limits = tuple[float, float]


@dataclass(frozen=True)
class ExampleData:
    """The data of a sweep: see `Sweep.examples`, and the data's record in `plan.json`.

    columns: of the examples' features. fresh: whether steps draw examples of their own.
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
        """What is shown of each feature: all examples, and a margin."""
        return tuple(with_margin(self.examples[name].to_numpy(float)) for name in self.columns)

    def part(self, *, train: bool) -> pd.DataFrame:
        """The examples that are trained on, or those that are held out."""
        return self.examples[(self.examples["part"] == "train") == train]


def with_margin(values: np.ndarray, share: float = 0.06) -> Limits:
    """The lowest and the highest value, moved apart by a share of their distance."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = share * (high - low) or 0.5
    return low - margin, high + margin


def example_data_for(sweep: StoredSweep, name: str, features: int, targets: str) -> ExampleData:
    """The data of a sweep for a picture of this name.

    features: how many there have to be. targets: `numbers`, `classes` or `two classes`. Raises `KeyError`
    for other data, and for several data sets.
    """
    records = list(sweep.plan["data"].values())
    if len(records) > 1:
        raise KeyError(f"{name} shows one data set, and this sweep has {len(records)}")
    record, classes = records[0], tuple(records[0]["classes"])
    fits = {"numbers": not classes, "classes": bool(classes), "two classes": len(classes) == 2}[targets]
    if len(record["features"]) != features or not fits:
        has = f"{_count(len(classes), 'class', 'classes')} over" if classes else "numbers over"
        has = f"{has} {_count(len(record['features']), 'feature', 'features')}"
        needs = f"{targets} over {_count(features, 'feature', 'features')}"
        raise KeyError(f"{name} shows {needs}, and this sweep's data are {has}")
    mean, std = np.asarray(record["mean"], float), np.asarray(record["std"], float)
    examples = sweep.examples
    columns, names = tuple(map(str, examples.columns[:features])), tuple(record["features"])
    return ExampleData(examples, columns, names, classes, mean, std, bool(record.get("fresh")))


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
