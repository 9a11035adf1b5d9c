"""Data sets as they are loaded."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.targets import CLASSES, NUMBERS, read_targets


class Dataset(NamedTuple):
    """Examples as they are loaded.

    Attributes:
        x: Float64 `(examples, features)`.
        y: `(examples,)`, int64 classes from 0, or float64 numbers.
        classes: The label of each class, in order; empty where targets are numbers.
        features: The name of each column of x.
        truth: Float64 `(examples,)`, the numbers without their noise; None where they are not known.
        draw: `(key, size) -> (x, y)`, JAX arrays of shapes `(features, size)` and `(size,)`: draws fresh
            examples for each step; None where steps take the examples here.
        note: A remark for the user on the source of the data.
        is_table: True for measured data, whose number targets have a unit of their own; False for examples of
            a formula, whose parameters are to be found.
        labels: The label of each class in its own type, such as integers; None where it is `classes`.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    features: tuple[str, ...]
    truth: np.ndarray | None = None
    draw: Callable[[Any, int], tuple[Any, Any]] | None = None
    note: str = ""
    is_table: bool = False
    labels: np.ndarray | None = None

    def as_targets(self, targets: str) -> "Dataset":
        """Return the data with classes in place of numbers, or numbers in place of classes.

        Args:
            targets: `classes` or `numbers`; anything else leaves the data as they are.

        Raises:
            ConfigError: If fresh examples are drawn, whose targets cannot be converted.
        """
        wanted = {CLASSES: True, NUMBERS: False}.get(targets, bool(self.classes))
        if wanted == bool(self.classes) or self is NOTHING:
            return self
        if self.draw is not None:
            raise ConfigError("data.targets", f"got {targets}, and steps draw other targets", "leave it out")
        if wanted:
            return RawDataset(self.x, self.y, self.features).as_targets(CLASSES)._replace(note=self.note)
        typed = self.labels is not None and self.labels.dtype.kind in "biuf"
        numbers = self.labels[self.y] if typed and self.labels is not None else self.y
        return self._replace(y=numbers.astype(np.float64), classes=(), labels=None)


class RawDataset(NamedTuple):
    """Examples whose targets may be classes or numbers.

    Attributes:
        x: Float64 `(examples, features)`.
        y: `(examples,)`: an array, or a column of a table.
        features: The name of each column of x.
        field: The config field that the targets come from, for messages.
        subject: The name of the targets, for messages.
    """

    x: np.ndarray
    y: Any
    features: tuple[str, ...]
    field: str = "data"
    subject: str = "y"

    def as_targets(self, targets: str) -> Dataset:
        """Return the data set with its targets as classes or numbers; see `read_targets`."""
        y, labels = read_targets(self.y, targets, self.field, self.subject)
        classes = () if labels is None else tuple(map(str, labels.tolist()))
        return Dataset(self.x, y, classes, self.features, labels=labels, is_table=True)


# The data of a function to minimize.
NOTHING = Dataset(np.zeros((1, 0)), np.zeros(1), (), ())


def own_dataset(data: Any, field: str) -> Dataset | RawDataset:
    """Convert the user's data to a data set.

    Args:
        data: A `Dataset`, or `(x, y)`, where x is `(examples, features)` or `(examples,)`, and y is
            `(examples,)` or `(examples, 1)`. The names of a data frame's columns, or of a series, name the
            features.
        field: The config field that the data come from, for messages.

    Raises:
        ConfigError: If the data are anything else.
    """
    if isinstance(data, Dataset):
        return data._replace(x=np.asarray(data.x), y=np.asarray(data.y))
    try:
        x, y = data
        x = as_frame(x)
        names = tuple(map(str, getattr(x, "columns", ())))
        x, shape = _features(x), np.shape(y)
        if is_masked(y):
            raise ValueError("y has masked values")
    except (TypeError, ValueError) as error:
        got = f"got {type(data).__name__} ({error})"
        raise ConfigError(field, got, "expected (x, y) of numbers") from error
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or shape not in (x.shape[:1], (len(x), 1)):
        raise ConfigError(
            field, f"got shapes {x.shape} and {shape}", "expected (examples, features) and (examples,)"
        )
    if (name := repeated(names)) is not None:
        raise ConfigError(field, f"two columns are called {name!r}", "expected distinct names")
    if not len(x):
        raise ConfigError(field, "got no examples", "expected at least two")
    if len(shape) == 2:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else np.asarray(y)[:, 0]
    return RawDataset(x, y, names or tuple(f"x{i}" for i in range(x.shape[1])), field)


def _features(x: Any) -> np.ndarray:
    """Return features in float64. Raises `TypeError` or `ValueError`, with the name of a frame's column."""
    if not hasattr(x, "columns") or len(set(x.columns)) < len(x.columns) or not len(x.columns):
        return to_floats(x)
    columns = []
    for name in x.columns:
        try:
            columns.append(to_floats(x[name]))
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {str(name)!r}: {error}") from error
    return np.stack(columns, axis=1)


def to_floats(values: Any) -> np.ndarray:
    """Return numbers in float64.

    Raises:
        TypeError: For text, dates and complex numbers.
        ValueError: For masked values, or for other objects.
    """
    if is_masked(values):
        raise ValueError("it has masked values")
    array = np.asarray(values)
    is_text = array.dtype.kind == "O" and any(isinstance(item, str) for item in array.flat)
    if is_text or array.dtype.kind in "cmMUST":
        raise TypeError(f"it holds {'text' if is_text else array.dtype}")
    return array.astype(np.float64)


def as_frame(x: Any) -> Any:
    """Return a named column, or an Arrow table, as a data frame, and anything else as it is."""
    if hasattr(x, "column_names"):
        return x.to_pandas()
    return x.to_frame() if hasattr(x, "to_frame") and getattr(x, "name", None) is not None else x


def is_masked(values: Any) -> bool:
    """Return whether an array hides some of its values, which NumPy would take for others."""
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, None if there is none."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def check_dataset(dataset: Dataset) -> None:
    """Check that a data set can be trained on. Raises `ConfigError`."""
    shapes = dataset.x.shape, dataset.y.shape, len(dataset.features)
    if dataset.x.ndim != 2 or shapes != (dataset.x.shape, dataset.x.shape[:1], dataset.x.shape[1]):
        got = f"x of shape {shapes[0]}, y of shape {shapes[1]} and {shapes[2]} names of features"
        raise ConfigError("data", got, "it takes (examples, features), (examples,) and a name per feature")
    whole = np.issubdtype(dataset.y.dtype, np.integer)
    if dataset.classes and not (whole and set(np.unique(dataset.y)) <= set(range(len(dataset.classes)))):
        takes = f"it takes the integers from 0 to {len(dataset.classes) - 1}, the places of the classes"
        raise ConfigError("data", f"got the targets {np.unique(dataset.y)[:5].tolist()}", takes)
    if dataset.labels is not None and len(dataset.labels) != len(dataset.classes):
        got = f"got {len(dataset.labels)} labels of {len(dataset.classes)} classes"
        raise ConfigError("data", got, "it takes one per class")
    if dataset.x.shape[1] == 0:
        raise ConfigError("data.features", "no feature columns", "it takes at least one")
    finite = np.isfinite(dataset.x)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        name = dataset.features[column]
        raise ConfigError("data", f"feature {name!r} is not finite in row {row}", "it takes finite numbers")
    if not np.isfinite(dataset.y).all():
        row = int((~np.isfinite(dataset.y)).argmax())
        raise ConfigError("data.target", f"not finite in row {row}", "it takes finite numbers or classes")
    if len(dataset.classes) == 1:
        raise ConfigError("data.target", f"one class only ({dataset.classes[0]!r})", "it takes two or more")
