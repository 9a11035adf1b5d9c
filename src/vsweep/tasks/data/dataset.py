"""Data sets as they are loaded, and as they are trained on: split and standardized."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.targets import CLASSES, NUMBERS, read_targets

# The share that `test_fraction=auto` holds out.
_AUTO_TEST = 0.1


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
            `(examples,)` or `(examples, 1)`. The columns of a data frame name the features.
        field: The config field that the data come from, for messages.

    Raises:
        ConfigError: If the data are anything else.
    """
    if isinstance(data, Dataset):
        return data._replace(x=np.asarray(data.x), y=np.asarray(data.y))
    try:
        x, y = data
        names = tuple(map(str, getattr(x, "columns", ())))
        x, shape = to_floats(x), np.shape(y)
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
    if len(shape) == 2:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else np.asarray(y)[:, 0]
    return RawDataset(x, y, names or tuple(f"x{i}" for i in range(x.shape[1])), field)


def to_floats(values: Any) -> np.ndarray:
    """Return numbers in float64. Raises `TypeError` or `ValueError` for text, dates and complex numbers."""
    array = np.asarray(values)
    is_text = array.dtype.kind == "O" and any(isinstance(item, str) for item in array.flat)
    if is_text or array.dtype.kind in "cmMUST":
        raise TypeError(f"it holds {'text' if is_text else array.dtype}")
    return array.astype(np.float64)


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, None if there is none."""
    return next((name for name in names if names.count(name) > 1), None)


@dataclass(frozen=True)
class Split:
    """Examples ready to train on, as (train, val, test); val and test are None where nothing is held out.

    Attributes:
        x: Float64 `(features, examples)`, standardized.
        y: `(examples,)`, int64 classes or float64 numbers.
        mean: Float64 `(features,)`, the means of the training examples, or 0.
        std: Float64 `(features,)`, the standard deviations of the training examples, or 1.
        dataset: The data set that was split.
        places: Int64 `(examples,)`, the places of each part's examples in the data set.
        stratified: Whether each part has its share of every class.
    """

    x: tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
    y: tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
    mean: np.ndarray
    std: np.ndarray
    dataset: Dataset
    places: tuple[np.ndarray, np.ndarray, np.ndarray]
    stratified: bool = False

    @property
    def moments(self) -> tuple[float, ...]:
        """The mean and the standard deviation of the training targets; empty for classes."""
        if self.dataset.classes:
            return ()
        return float(self.y[0].mean()), float(self.y[0].std()) or 1.0


def split(
    dataset: Dataset,
    val_fraction: float,
    split_seed: int,
    *,
    test_fraction: float | str = 0.0,
    standardize: bool,
    stratify: bool = False,
) -> Split:
    """Hold out examples for validation and for the test, and standardize all parts.

    The validation examples do not depend on how many are held out for the test.

    Args:
        dataset: The data set to split.
        val_fraction: The share for validation.
        split_seed: The seed of the draw.
        test_fraction: The share for the test; `auto` is a tenth if there are validation examples, else none.
        standardize: Whether features are scaled by the mean and deviation of the training examples.
        stratify: Whether each part gets its share of every class. A class keeps an example for training as
            long as there are others to hold out.

    Raises:
        ConfigError: If a part would be empty, or the data cannot be trained on.
    """
    if dataset is NOTHING:
        none, nowhere = np.zeros(0), np.zeros(0, np.int64)
        places = np.zeros(1, np.int64), nowhere, nowhere
        return Split((dataset.x.T, None, None), (dataset.y, None, None), none, none, dataset, places)
    _check(dataset)
    rows = len(dataset.y)
    n_val, n_test = round(rows * val_fraction), _test_rows(rows, val_fraction, test_fraction)
    shares = [
        ("data.val_fraction", val_fraction, n_val, n_val, "held-out"),
        ("data.test_fraction", test_fraction, n_test, n_val + n_test, "test"),
    ]
    for field, share, held_out, total, part in shares:
        if total >= rows or (held_out == 0 and share not in ("auto", 0.0)):
            got = f"{share} of {rows} rows leaves no {'training' if held_out else part} rows"
            raise ConfigError(field, got, "it takes a share that leaves rows for both, or 0")
    rng = np.random.default_rng(split_seed)
    order, stratified = rng.permutation(rows), stratify and bool(dataset.classes) and n_val + n_test > 0
    if stratified:
        order = _stratified(order, dataset, (n_val, n_test), rng)
    val, test, train = (np.sort(part) for part in np.split(order, [n_val, n_val + n_test]))
    mean, std = np.zeros(dataset.x.shape[1]), np.ones(dataset.x.shape[1])
    if standardize:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = dataset.x[train].mean(axis=0)
            spread = dataset.x[train].std(axis=0)
        finite = np.isfinite(mean) & np.isfinite(spread)
        if not finite.all():
            got = f"feature {dataset.features[int((~finite).argmax())]!r} is too large to be standardized"
            raise ConfigError("data", got, "it takes numbers up to about 1e150")
        # A feature that is constant in training is centered and left unscaled.
        std = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
    x = (dataset.x - mean) / std
    x_val, x_test = (x[part].T if len(part) else None for part in (val, test))
    y_val, y_test = (dataset.y[part] if len(part) else None for part in (val, test))
    parts = (x[train].T, x_val, x_test), (dataset.y[train], y_val, y_test)
    return Split(*parts, mean, std, dataset, (train, val, test), stratified)


def _stratified(
    order: np.ndarray, dataset: Dataset, sizes: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Move examples within an order so that its first parts have their shares of every class.

    Args:
        order: Int64 `(examples,)`, a permutation.
        dataset: The data set, of classes.
        sizes: The sizes of the first parts.
        rng: The generator that decides which of several classes with equal claims gets an example.

    Returns:
        The order, a permutation that starts with the parts.
    """
    parts, ties = [], rng.permutation(len(dataset.classes))
    for size in sizes:
        y = dataset.y[order]
        counts = np.bincount(y, minlength=len(ties))
        # The place of each example among those of its class.
        by_class = np.argsort(y, kind="stable")
        place = np.empty_like(y)
        place[by_class] = np.arange(len(y)) - (np.cumsum(counts) - counts)[y[by_class]]
        chosen = place < _shares(counts, size, ties)[y]
        parts.append(order[chosen])
        order = order[~chosen]
    return np.concatenate([*parts, order])


def _shares(counts: np.ndarray, size: int, ties: np.ndarray) -> np.ndarray:
    """Return how many examples of each class are held out, `size` in all, by the largest remainders."""
    total, most = int(counts.sum()), np.maximum(counts - 1, 0)
    shares = np.minimum(counts * size // total, most)
    while (missing := size - int(shares.sum())) > 0:
        # Where every class is down to its last example, training gives these up too.
        most = most if (shares < most).any() else counts
        claims = np.where(shares < most, counts * size - shares * total, -(size + 1) * total)
        first = np.lexsort((ties, -claims))[: min(missing, int((shares < most).sum()))]
        shares[first] += 1
    return shares


def constant_guess(split: Split) -> dict[str, float]:
    """Return the metrics of the best constant guess from the training targets, on every part, by name.

    It is the most frequent class, or the mean.
    """
    train = split.y[0]
    metrics: dict[str, float] = {}
    is_number = not split.dataset.classes
    for part, y in zip(("train", "val", "test"), split.y, strict=True):
        if y is not None:
            scores = _number_scores(train, y) if is_number else _class_scores(train, y)
            metrics |= {f"{part}_{name}": float(value) for name, value in scores.items()}
    return metrics


def _number_scores(train: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    guess = train.mean()
    mse = np.square(y - guess).mean()
    r2 = 1.0 - mse / y.var() if y.var() else np.nan
    return {"rmse": np.sqrt(mse), "mae": np.abs(y - guess).mean(), "r2": r2}


def _class_scores(train: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    guess = np.bincount(train).argmax()
    right, present = (y == guess).sum(), np.unique(y)
    # Only the class that is guessed has an F1 above 0.
    f1 = 2 * right / (right + len(y)) / len(np.union1d(present, [guess]))
    return {
        "accuracy": right / len(y),
        "balanced_accuracy": (right > 0) / len(present),
        "f1": f1,
        "auc": 0.5,
    }


def _test_rows(rows: int, val_fraction: float, test_fraction: float | str) -> int:
    if isinstance(test_fraction, str):
        # A few examples would leave none to train on.
        n_test = round(rows * _AUTO_TEST) if val_fraction > 0 else 0
        return n_test if round(rows * val_fraction) + n_test < rows else 0
    return round(rows * test_fraction)


def _check(dataset: Dataset) -> None:
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
