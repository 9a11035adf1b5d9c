"""The values that the trials of a program share: the config, its data, loaded once, and the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vsweep.config.schema import EVERY_DATASET
from vsweep.config.validate import Config, fields_before
from vsweep.errors import ConfigError
from vsweep.metrics import R2, chosen_metric, is_parameter, with_derived
from vsweep.tasks.data.splits import Split, deviation, split
from vsweep.tasks.data.targets import AUTO
from vsweep.tasks.losses import Loss
from vsweep.tasks.scores import NUMBER_SCORES
from vsweep.tasks.task import Data, Draw, Examples, param_dtype


@dataclass(frozen=True)
class Inputs:
    """A config with its data and its loss.

    Attributes:
        config: The config of the cells on this split alone.
        key: The name of the split, the same for the same data.
        split: The data.
        loss: The loss for these data.
        number: The number of the split among those of the cells.
        shares_shape: Whether unequal folds may be padded to share a program.
    """

    config: Config
    key: str
    split: Split
    loss: Loss
    number: int = 0
    shares_shape: bool = True

    @property
    def subject(self) -> str:
        """The data and model, or the function that is minimized, for messages."""
        return self.config.model.subject(self.config.data, self.config.loss)

    @property
    def n_features(self) -> int:
        """The number of features of an example."""
        return self.split.x[0].shape[0]

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 where targets are numbers."""
        return len(self.split.dataset.classes)

    @property
    def n_outputs(self) -> int:
        """The number of outputs that the loss needs from the model."""
        return self.loss.n_outputs(self.n_classes)

    @property
    def draw(self) -> Draw | None:
        """A draw of fresh, standardized examples for every step; None where steps use the stored examples."""
        split, draw = self.split, self.split.dataset.draw
        return None if draw is None else _StandardizedDraw(draw, tuple(split.mean), tuple(split.std))

    @property
    def arrays(self) -> Data:
        """The arrays of a program: numbers in the dtype of its parameters, classes in int32."""
        floating = np.dtype(param_dtype(self.config.dtype))
        targets, (mean, scale) = np.int32 if self.n_classes else floating, self.target

        def examples(x: np.ndarray | None, y: np.ndarray | None, part: int) -> Examples | None:
            if x is None or y is None:
                return None
            x, y = np.ascontiguousarray(x, floating), ((y - mean) / scale).astype(targets)
            if part not in self.padded_parts:
                return Examples(x, y)
            # Padding repeats an example, for which no function is undefined.
            places = np.append(np.arange(len(y)), np.zeros(self.sizes[part] - len(y), int))
            return Examples(np.ascontiguousarray(x[:, places]), y[places], np.int32(len(y)))

        parts: Any = map(examples, self.split.x, self.split.y, range(3))
        return Data(*parts)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of examples of train, val and test in a program, with padding."""
        train, val, test = map(len, self.split.places)
        if not self.is_padded:
            return train, val, test
        smaller = (train + val) // (self.config.folds or 1)
        return train + val - smaller, smaller + 1, test

    @property
    def padded_parts(self) -> tuple[int, ...]:
        """The places, among train, val and test, of the parts that may be padded: folds share the test."""
        return (0, 1) if self.is_padded else ()

    @property
    def grouped(self) -> list[int]:
        """The number of examples of train, val and test that are dealt to groups, see `Examples.grouped`."""
        return [size - (part in self.padded_parts) for part, size in enumerate(self.sizes)]

    @property
    def is_padded(self) -> bool:
        """True if folds of two sizes share a program, in which the smaller parts are padded.

        A fold alone is trained as it is among all folds. A user's function may look at all examples together,
        and a minibatch's order depends on their number.
        """
        train, val, _ = map(len, self.split.places)
        is_unequal = self.config.folds is not None and (train + val) % self.config.folds > 0
        return (
            self.shares_shape
            and is_unequal
            and self.config.batch_size is None
            and not self.config.user_functions
        )

    @property
    def target(self) -> "Target":
        """The unit in which the program has the targets."""
        return target_of(self.config, self.split.dataset.is_table, self.split.moments)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype of metrics and recorded parameters in the sweep's tables: that of the parameters.

        It is float64 for recorded parameters that are converted to the targets' unit: an intercept far from 0
        would lose the digits in which models differ.
        """
        converted = self.config.record_params and self.target != Target()
        return np.dtype(np.float64 if converted else param_dtype(self.config.dtype))

    @np.errstate(over="ignore")
    def in_target_units(self, metrics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return a program's metrics with the errors of numbers in the targets' unit, and their R².

        Args:
            metrics: Floating arrays by name.
        """
        target = self.target
        converted: dict[str, np.ndarray] = {}
        parts: dict[str, Any] = dict(zip(("train", "val", "test"), self.split.y, strict=True))
        for name, values in metrics.items():
            part, _, score = name.partition("_")
            exact = values.astype(np.float64)
            converted[name] = exact * target.scale if score in NUMBER_SCORES else values
            if score == "mae":
                spread = deviation(parts[part]) or np.nan
                unexplained = metrics[f"{part}_rmse"].astype(np.float64) * target.scale / spread
                converted[f"{part}_{R2}"] = 1.0 - unexplained**2
            elif is_parameter(name):
                converted[name] = target.parameter(name, exact)
        return converted

    @property
    def examples(self) -> int:
        """The number of examples of one step, with padding."""
        return self.config.batch_size or self.sizes[0]


class Target(NamedTuple):
    """The unit in which a program has number targets: `(y - mean) / scale`.

    Attributes:
        mean: The mean of the training targets, or 0.
        scale: Their standard deviation, or 1.
    """

    mean: float = 0.0
    scale: float = 1.0

    def parameter(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return values of a parameter of an affine model in the targets' unit."""
        return values * self.scale + (self.mean if name == "param.b" else 0.0)

    def start(self, values: np.ndarray) -> np.ndarray:
        """Return parameters in the targets' unit, weights and the bias behind them, in the program's."""
        return np.append(values[..., :-1], values[..., -1:] - self.mean, axis=-1) / self.scale


def target_of(config: Config, is_table: bool, moments: Sequence[float]) -> Target:  # noqa: FBT001
    """Return the unit in which a config's programs have the targets.

    Args:
        config: The config of the cells.
        is_table: Whether the data are a table, and no formula whose parameters are to be found.
        moments: The mean and the standard deviation of the training targets; empty for classes.
    """
    asked = config.standardize_target
    if asked == AUTO:
        built_in = not config.user_functions and config.loss.name in (AUTO, "squared_error", "huber")
        asked = is_table and built_in and config.standardize
    return Target(*moments) if asked and moments else Target()


@dataclass(frozen=True)
class _StandardizedDraw:
    """A draw of fresh, standardized examples; two are equal if they draw the same examples.

    Attributes:
        draw: The draw of raw examples.
        mean: The mean of each feature.
        std: The standard deviation of each feature.
    """

    draw: Draw
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, key: Any, size: int) -> tuple[Any, Any]:
        x, y = self.draw(key, size)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float32)
        mean, std = (np.asarray(moment, x.dtype)[:, None] for moment in (self.mean, self.std))
        return (x - mean) / std, y


def load_inputs(config: Config, loaded: dict[str, Split], number: int = 0) -> Inputs:
    """Load the data of a config.

    Args:
        config: The config of the cells.
        loaded: The splits that are loaded already, by key; a new one is added.
        number: The number of the split to train on.

    Raises:
        ConfigError: If data cannot be loaded, or do not fit the model, the loss or the batch size.
    """
    config.model.check_data(config.data, config.loss)
    count, first, config = config.split_count, config.of_split(0), config.of_split(number)
    key = data_key(config)
    if key not in loaded:
        # All splits are of the same data set, which is read once.
        read = loaded.get(data_key(first))
        loaded[key] = split(
            config.data.load(config.targets) if read is None else read.dataset,
            config.val_fraction,
            config.split_seed,
            test_fraction=config.test_fraction,
            standardize=config.standardize,
            stratify=config.stratify,
            folds=config.folds,
            fold=config.fold,
        )
    data = loaded[key]
    if (config.folds or count > 1) and data.x[1] is data.x[2] is None:
        field, value = ("data.folds", config.folds) if config.folds else ("data.splits", count)
        got = f"got {value}, and data={config.data.name} holds no examples out, so all splits are the same"
        raise ConfigError(field, got, "leave it out, or hold examples out with data.val_fraction=…")
    _check_guess(config, data)
    _check_range(data, config.dtype)
    rows, is_drawn = data.x[0].shape[1], data.dataset.draw is not None
    if is_drawn and config.batch_size is None:
        raise ConfigError("data.batch_size", "got null", "it takes the number of fresh examples per step")
    if not is_drawn and config.batch_size is not None and config.batch_size > rows:
        got = f"got {config.batch_size}, and there are {rows} training rows"
        raise ConfigError("data.batch_size", got, f"it takes an integer up to {rows}, or null")
    loss = config.model.make_loss(config.loss, config.data, len(data.dataset.classes))
    inputs = Inputs(config, key, data, loss, number)
    _check_metric(inputs)
    return inputs


def _check_metric(inputs: Inputs) -> None:
    """Raise `ConfigError` for a metric that the task does not have."""
    metric = chosen_metric({"metric": inputs.config.metric})
    recorded, last = inputs.loss.scores(inputs.n_classes, inputs.config.metric)
    scores = [name.removeprefix("_") for name in with_derived([f"_{name}" for name in (*recorded, *last)])]
    parts = ["val", "train"] if inputs.split.x[1] is not None else ["train"]
    known = [f"{part}_{name}" for part in parts for name in ("loss", *scores)]
    if metric is not None and metric not in known:
        takes = f"it takes auto, or one of {', '.join(known)}"
        raise ConfigError("metric", f"got {metric}, which {inputs.subject} does not have", takes)


def _check_guess(config: Config, data: Split) -> None:
    """Raise `ConfigError` where `auto` takes floats for classes, but a user's function may need numbers."""
    labels, own = data.dataset.labels, config.user_functions
    if config.targets == AUTO and own and labels is not None and labels.dtype.kind == "f":
        got = f"got auto, and your own {next(iter(own))} may take {len(labels)} different values as either"
        raise ConfigError("data.targets", got, "give classes or numbers")


def _check_range(data: Split, dtype: str) -> None:
    """Raise `ConfigError` for numbers that the program's dtype cannot hold, or whose sum float64 cannot."""
    most = float(np.finfo(np.dtype(param_dtype(dtype))).max)
    for field, parts in (("data", data.x), ("data.target", data.y)):
        for part in parts:
            largest = 0.0 if part is None or not part.size else float(np.abs(part).max())
            if largest > most:
                raise ConfigError(field, f"got {largest:.3g}", f"{dtype} holds numbers up to {most:.2g}")
    if not np.isfinite(data.moments).all():
        raise ConfigError("data.target", "the sum of the numbers overflows", "scale them")
    least = float(np.finfo(np.dtype(param_dtype(dtype))).tiny)
    if data.moments and data.moments[1] < least:
        got = f"the standard deviation is {data.moments[1]:.3g}"
        raise ConfigError("data.target", got, f"{dtype} holds numbers from {least:.2g}; scale them")


def data_key(config: Config) -> str:
    """Return the name of a config's data, the same for the same data."""
    common = {name: getattr(config, name) for name in EVERY_DATASET if name != "batch_size"}
    fields = {f"data.{name}": value for name, value in {**config.data.fields, **common}.items()}
    fields = {path: value for path, value in fields.items() if path not in config.data.limits}
    values = {path.removeprefix("data."): value for path, value in fields_before(fields).items()}
    return f"{config.data.key_name}({', '.join(f'{k}={v!r}' for k, v in values.items())})"
