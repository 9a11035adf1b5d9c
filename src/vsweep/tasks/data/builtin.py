"""The table of data sets.

A data set is a function whose keyword-only parameters are its config fields (`data.…`).
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import NOTHING, Dataset, RawDataset
from vsweep.tasks.data.food_water import food_water
from vsweep.tasks.data.synthetic import curve, line, moons, spirals
from vsweep.tasks.data.tabular import csv, parquet


def _bundled(name: str) -> Dataset:
    """Load scikit-learn's copy of a data set."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    features = tuple(map(str, bunch.feature_names))
    if "target_names" not in bunch:
        return Dataset(bunch.data, bunch.target.astype(np.float64), (), features, is_table=True)
    labels = np.asarray(bunch.target_names)
    classes = tuple(map(str, labels.tolist()))
    y = bunch.target.astype(np.int64)
    return Dataset(bunch.data, y, classes, features, labels=labels, is_table=True)


def points(*, x: Sequence[Sequence[float]], y: Sequence[float], classes: Sequence[str] | None) -> Dataset:
    """Return examples that are written out in the config.

    Args:
        x: Numbers `(examples, features)`, a row of features for each example.
        y: Numbers `(examples,)`, one for each example, or the place of its class in `classes`.
        classes: The names of the classes, some of which may have no example; None if y are numbers.

    Raises:
        ConfigError: If the lists x and y have different lengths, or y is not a place in `classes`.
    """
    if len(x) != len(y):
        raise ConfigError("data.y", f"got {len(y)} for {len(x)} rows of data.x", "it takes one per row")
    features = tuple(f"x{i}" for i in range(len(x[0])))
    exact = np.asarray(x, np.float64)
    if classes is None:
        return Dataset(exact, np.asarray(y, np.float64), (), features)
    for place in y:
        if place not in range(len(classes)):
            takes = f"it takes integers from 0 to {len(classes) - 1}, the places in data.classes"
            raise ConfigError("data.y", f"got {place:g}, and there are {len(classes)} classes", takes)
    return Dataset(exact, np.asarray(y).astype(np.int64), tuple(classes), features)


def none() -> Dataset:
    """Return one example without features, for a function to minimize."""
    return NOTHING


NO_DATA = "none"
_BUNDLED = ("digits", "breast_cancer", "iris", "wine", "diabetes")
_FUNCTIONS = (spirals, moons, line, curve, csv, parquet, food_water, points, none)
DATASETS: dict[str, Callable[..., Dataset | RawDataset]] = {
    name: partial(_bundled, name) for name in _BUNDLED
}
DATASETS |= {function.__name__: function for function in _FUNCTIONS}
