"""Examples as they are trained on: split into parts and standardized."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import NOTHING, Dataset, check_dataset

# The share that `test_fraction=auto` holds out.
_AUTO_TEST = 0.1


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
    @np.errstate(over="ignore", invalid="ignore")
    def moments(self) -> tuple[float, ...]:
        """The mean and the standard deviation of the training targets; empty for classes."""
        if self.dataset.classes:
            return ()
        return float(self.y[0].mean()), deviation(self.y[0]) or 1.0


def split(
    dataset: Dataset,
    val_fraction: float | None,
    split_seed: int,
    *,
    test_fraction: float | str = 0.0,
    standardize: bool,
    stratify: bool = False,
    folds: int | None = None,
    fold: int | None = None,
) -> Split:
    """Hold out examples for validation and for the test, and standardize all parts.

    The validation examples do not depend on how many are held out for the test. With folds, the test
    examples are set aside first, and are the same for all folds.

    Args:
        dataset: The data set to split.
        val_fraction: The share for validation; None with folds.
        split_seed: The seed of the draw.
        test_fraction: The share for the test; `auto` is a tenth if there are validation examples, else none.
            With folds it is the share next to a tenth, from half to twice of it, that leaves equal folds.
        standardize: Whether features are scaled by the mean and deviation of the training examples.
        stratify: Whether each part gets its share of every class. A class keeps an example for training as
            long as there are others to hold out.
        folds: The number of folds, one of which is the validation part; their sizes, and their numbers of
            examples of a class where they are stratified, differ by at most 1.
        fold: The number of this fold, from 0.

    Raises:
        ConfigError: If a part would be empty, or the data cannot be trained on.
    """
    if dataset is NOTHING:
        none, nowhere = np.zeros(0), np.zeros(0, np.int64)
        places = np.zeros(1, np.int64), nowhere, nowhere
        return Split((dataset.x.T, None, None), (dataset.y, None, None), none, none, dataset, places)
    check_dataset(dataset)
    rows, features = dataset.x.shape
    val_share = 1.0 / folds if folds else val_fraction or 0.0
    n_val, n_test = round(rows * val_share), _test_rows(rows, val_share, test_fraction, folds)
    if folds:
        if folds > rows - n_test:
            got = f"got {folds}, and there are {rows - n_test} rows without the test's"
            raise ConfigError("data.folds", got, f"it takes an integer from 2 to {rows - n_test}")
        n_val = len(range(fold or 0, rows - n_test, folds))
    shares = [
        ("data.val_fraction", val_share, n_val, n_val, "held-out"),
        ("data.test_fraction", test_fraction, n_test, n_val + n_test, "test"),
    ]
    for field, share, held_out, total, part in shares:
        if total >= rows or (held_out == 0 and share not in ("auto", 0.0)):
            got = f"{share} of {rows} rows leaves no {'training' if held_out else part} rows"
            raise ConfigError(field, got, "it takes a share that leaves rows for both, or 0")
    rng = np.random.default_rng(split_seed)
    order, stratified = rng.permutation(rows), stratify and bool(dataset.classes) and n_val + n_test > 0
    sizes = (n_test,) if folds else (n_val, n_test)
    if stratified:
        order = _stratified(order, dataset, sizes, rng)
    if folds:
        order = _with_fold_first(order, dataset.y if stratified else None, n_test, fold or 0, folds)
    val, test, train = (np.sort(part) for part in np.split(order, [n_val, n_val + n_test]))
    mean, std = _moments(dataset, train) if standardize else (np.zeros(features), np.ones(features))
    x = (dataset.x - mean) / std
    x_val, x_test = (x[part].T if len(part) else None for part in (val, test))
    y_val, y_test = (dataset.y[part] if len(part) else None for part in (val, test))
    parts = (x[train].T, x_val, x_test), (dataset.y[train], y_val, y_test)
    return Split(*parts, mean, std, dataset, (train, val, test), stratified)


def _moments(dataset: Dataset, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each feature over the training examples."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = dataset.x[train].mean(axis=0)
        spread = dataset.x[train].std(axis=0)
    finite = np.isfinite(mean) & np.isfinite(spread)
    if not finite.all():
        got = f"feature {dataset.features[int((~finite).argmax())]!r} is too large to be standardized"
        raise ConfigError("data", got, "it takes numbers up to about 1e150")
    # A feature that is constant in training is centered and left unscaled.
    return mean, np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)


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


def _with_fold_first(
    order: np.ndarray, y: np.ndarray | None, n_test: int, fold: int, folds: int
) -> np.ndarray:
    """Return an order that starts with a fold, and goes on with the test examples, which are the first now.

    The other examples are dealt to the folds in turn, those of one class after those of another where folds
    are stratified.

    Args:
        order: Int64 `(examples,)`, a permutation.
        y: The class of each example; None where folds are not stratified.
        n_test: The number of test examples.
        fold: The number of the fold.
        folds: The number of folds.
    """
    test, rest = order[:n_test], order[n_test:]
    if y is not None:
        rest = rest[np.argsort(y[rest], kind="stable")]
    own = np.arange(len(rest)) % folds == fold
    return np.concatenate([rest[own], test, rest[~own]])


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


def root_mean_square(values: np.ndarray) -> float:
    """Return the root of the mean square, whose squares neither overflow nor vanish."""
    largest = float(np.abs(values).max())
    return largest * float(np.sqrt(np.square(values / largest).mean())) if largest else 0.0


def deviation(values: np.ndarray) -> float:
    """Return the standard deviation, 0 where all values are equal, though their mean may be rounded."""
    return root_mean_square(values - values.mean()) if (values != values[0]).any() else 0.0


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
    rmse, spread = root_mean_square(y - guess), deviation(y)
    r2 = 1.0 - (rmse / spread) ** 2 if spread else np.nan
    return {"rmse": rmse, "mae": np.abs(y - guess).mean(), "r2": r2}


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


def _test_rows(rows: int, val_fraction: float, test_fraction: float | str, folds: int | None) -> int:
    if not isinstance(test_fraction, str):
        return round(rows * test_fraction)
    # A few examples would leave none to train on.
    n_test = round(rows * _AUTO_TEST) if val_fraction > 0 else 0
    n_test = n_test if round(rows * val_fraction) + n_test < rows else 0
    if not folds:
        return n_test
    # Folds of one size share a compiled program.
    even = [n for n in range(max(n_test // 2, 1), 2 * n_test + 1) if (rows - n) % folds == 0]
    return min(even, key=lambda n: abs(n - n_test), default=n_test)
