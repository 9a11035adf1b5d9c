"""Data sets: where examples come from, and how they are split and standardised.

The one door of this package to files. A data set is a function whose keyword-only parameters are its
config fields (`data.…`); `DATASETS` lists them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import urlopen

import numpy as np

from vsweep.errors import ConfigError, nearest


class Dataset(NamedTuple):
    """Examples as they came.

    x: float64 `(examples, features)`. y: `(examples,)`, int64 classes from 0, or float64 numbers.
    classes: the label of each class, in order; empty where targets are numbers.
    features: the name of each column of x.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    features: tuple[str, ...]


def _bundled(name: str) -> Dataset:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    features = tuple(map(str, bunch.feature_names))
    if "target_names" not in bunch:
        return Dataset(bunch.data, bunch.target.astype(np.float64), (), features)
    classes = tuple(map(str, bunch.target_names))
    return Dataset(bunch.data, bunch.target.astype(np.int64), classes, features)


def digits() -> Dataset:
    """Handwritten digits, 1797 examples of 64 pixels, 10 classes (scikit-learn's copy)."""
    return _bundled("digits")


def breast_cancer() -> Dataset:
    """Breast cancer, 569 examples of 30 features, 2 classes (scikit-learn's copy)."""
    return _bundled("breast_cancer")


def iris() -> Dataset:
    """Iris, 150 examples of 4 features, 3 classes (scikit-learn's copy)."""
    return _bundled("iris")


def wine() -> Dataset:
    """Wine, 178 examples of 13 features, 3 classes (scikit-learn's copy)."""
    return _bundled("wine")


def diabetes() -> Dataset:
    """Diabetes progression, 442 examples of 10 features, a number (scikit-learn's copy)."""
    return _bundled("diabetes")


def spirals(*, rows: int, arms: int, noise: float, seed: int) -> Dataset:
    """Points of the plane on `arms` interleaved spiral arms, one class each.

    Each arm makes three quarters of a turn from radius 0.1 to 1; normal noise of standard deviation
    `noise` is added to both coordinates.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % arms
    radius = rng.uniform(0.1, 1.0, rows)
    angle = 1.5 * np.pi * radius + 2.0 * np.pi * y / arms
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x += noise * rng.standard_normal(x.shape)
    return Dataset(x, y.astype(np.int64), tuple(f"arm {i}" for i in range(arms)), ("x0", "x1"))


def moons(*, rows: int, noise: float, seed: int) -> Dataset:
    """Two interleaved half circles with normal noise (scikit-learn's `make_moons`)."""
    from sklearn.datasets import make_moons

    x, y = make_moons(rows, noise=noise, random_state=seed)
    return Dataset(x, y.astype(np.int64), ("upper", "lower"), ("x0", "x1"))


def csv(*, path: str, target: str, features: Sequence[str] | None, targets: str) -> Dataset:
    """A person's own CSV file, with a header."""
    import pandas as pd

    return _table(_read(pd.read_csv, path), target, features, targets)


def parquet(*, path: str, target: str, features: Sequence[str] | None, targets: str) -> Dataset:
    """A person's own Parquet file."""
    import pandas as pd

    return _table(_read(pd.read_parquet, path), target, features, targets)


DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "breast_cancer": breast_cancer,
    "iris": iris,
    "wine": wine,
    "diabetes": diabetes,
    "spirals": spirals,
    "moons": moons,
    "csv": csv,
    "parquet": parquet,
}


def local_copy(path: str) -> Path:
    """The file at a path, or at a URL, which is fetched once and kept in the user's cache.

    Raises `ConfigError` where there is none.
    """
    if urlparse(path).scheme not in ("http", "https", "ftp", "file"):
        here = Path(path).expanduser()
        if not here.is_file():
            raise ConfigError("data.path", f"no file at {path!r}", "it takes a file's path or URL")
        return here
    from platformdirs import user_cache_path

    # With its suffixes, by which pandas knows what is compressed.
    suffixes = "".join(Path(urlparse(path).path).suffixes)
    digest = hashlib.sha256(path.encode()).hexdigest()[:32]
    kept = user_cache_path("vsweep") / "data" / f"{digest}{suffixes}"
    if not kept.exists():
        try:
            with urlopen(path, timeout=30) as answer:
                body = answer.read()
        except (OSError, ValueError) as error:
            raise ConfigError(
                "data.path", f"could not fetch {path!r} ({error})", "it takes a file's path or URL"
            ) from error
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{kept.name}.part")
        part.write_bytes(body)
        part.replace(kept)
    return kept


def _read(reader: Callable[[Path], Any], path: str) -> Any:
    file = local_copy(path)
    try:
        return reader(file)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError("data.path", f"cannot read {path!r} ({reason})", "") from error


def _table(frame: Any, target: str, features: Sequence[str] | None, targets: str) -> Dataset:
    """A data frame as a data set."""
    columns = list(map(str, frame.columns))
    frame.columns = columns
    names = [name for name in columns if name != target] if features is None else list(features)
    for field, name in [("data.target", target), *(("data.features", name) for name in names)]:
        if name not in columns:
            raise ConfigError(field, f"no column {name!r}", nearest(name, columns))
    if target in names:
        raise ConfigError("data.features", f"{target!r} is the target too", "leave it out")
    if not len(frame):
        raise ConfigError("data.path", "the table has no rows", "it takes at least two")
    for name in [target, *names]:
        missing = int(frame[name].isna().sum())
        if missing:
            field = "data.target" if name == target else "data.features"
            row = int(frame[name].isna().to_numpy().argmax())
            raise ConfigError(
                field,
                f"column {name!r} has {missing} missing values (first in row {row})",
                "fill or drop them",
            )
    x = np.stack([_numbers(frame[name], name) for name in names], axis=1)
    y, classes = _targets(frame[target], targets)
    return Dataset(x, y, classes, tuple(names))


def _numbers(column: Any, name: str) -> np.ndarray:
    try:
        return column.to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "data.features", f"column {name!r} holds text or dates", "features are numbers"
        ) from error


def _targets(column: Any, targets: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Classes in the order of their sorted labels, or numbers as they are.

    targets: `auto` takes floats for numbers and all else (text, integers, booleans) for classes;
    `classes` and `numbers` say it.
    """
    values = column.to_numpy()
    if targets == "numbers" or (targets == "auto" and np.issubdtype(values.dtype, np.floating)):
        try:
            return values.astype(np.float64), ()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "data.target", f"column {column.name!r} holds text", "data.targets=numbers takes numbers"
            ) from error
    labels, y = np.unique(values if values.dtype.kind in "biuf" else values.astype(str), return_inverse=True)
    return y.astype(np.int64), tuple(map(str, labels))


def own_dataset(made: Any, where: str) -> Dataset:
    """What a person's own function (or pair of arrays) gave, as a data set.

    made: a `Dataset`, or `(x, y)`: x `(examples, features)` or `(examples,)`; y `(examples,)`, integers
    or booleans for classes and floats for numbers. Raises `ConfigError`.
    """
    if isinstance(made, Dataset):
        return made
    try:
        x, y = (np.asarray(part) for part in made)
        x = x.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(where, f"gave {type(made).__name__}", "it gives (x, y) of numbers") from error
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ConfigError(
            where, f"gave shapes {x.shape} and {y.shape}", "it gives (examples, features) and (examples,)"
        )
    features = tuple(f"x{i}" for i in range(x.shape[1]))
    if np.issubdtype(y.dtype, np.floating):
        return Dataset(x, y.astype(np.float64), (), features)
    labels, y = np.unique(y, return_inverse=True)
    return Dataset(x, y.astype(np.int64), tuple(map(str, labels)), features)


@dataclass(frozen=True)
class Split:
    """Examples ready to train on, features first; val is None where nothing is held out.

    x: float64 `(features, examples)`, y: `(examples,)`, each as (train, val). mean, std: float64
    `(features,)`, those of the training split, or 0 and 1.
    """

    x: tuple[np.ndarray, np.ndarray | None]
    y: tuple[np.ndarray, np.ndarray | None]
    mean: np.ndarray
    std: np.ndarray
    dataset: Dataset


def split(dataset: Dataset, val_fraction: float, split_seed: int, *, standardize: bool) -> Split:
    """Hold out `val_fraction` of the examples, drawn from `split_seed`, and standardise both parts.

    Raises `ConfigError` where a part would be empty, or the data cannot be trained on.
    """
    _check(dataset)
    rows = len(dataset.y)
    held_out = round(rows * val_fraction)
    if held_out >= rows or (val_fraction > 0 and held_out == 0):
        part = "training" if held_out else "held-out"
        raise ConfigError(
            "data.val_fraction",
            f"{val_fraction} of {rows} rows leaves no {part} rows",
            "it takes a share that leaves both, or 0",
        )
    order = np.random.default_rng(split_seed).permutation(rows)
    val, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    mean, std = np.zeros(dataset.x.shape[1]), np.ones(dataset.x.shape[1])
    if standardize:
        mean = dataset.x[train].mean(axis=0)
        spread = dataset.x[train].std(axis=0)
        # A feature that is constant in training says nothing: it is centred and left unscaled.
        std = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
    x = (dataset.x - mean) / std
    if not held_out:
        return Split((x.T, None), (dataset.y, None), mean, std, dataset)
    return Split((x[train].T, x[val].T), (dataset.y[train], dataset.y[val]), mean, std, dataset)


def _check(dataset: Dataset) -> None:
    if dataset.x.shape[1] == 0:
        raise ConfigError("data.features", "no feature columns", "it takes at least one")
    finite = np.isfinite(dataset.x)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        name = dataset.features[column]
        raise ConfigError("data", f"feature {name!r} is not finite in row {row}", "features are numbers")
    if not np.isfinite(dataset.y).all():
        row = int((~np.isfinite(dataset.y)).argmax())
        raise ConfigError("data.target", f"not finite in row {row}", "targets are numbers or classes")
    if dataset.classes and len(np.unique(dataset.y)) < 2:
        raise ConfigError(
            "data.target", f"one class only ({dataset.classes[dataset.y[0]]!r})", "it takes two or more"
        )
