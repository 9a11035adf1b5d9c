"""What a cell's config stands on: its data, loaded once, and the loss that goes with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from vsweep.config.schema import AUTO, OWN, POINT
from vsweep.config.validate import Config
from vsweep.errors import ConfigError
from vsweep.tasks.data.builtin import NO_DATA
from vsweep.tasks.data.dataset import Split, own_dataset, split
from vsweep.tasks.layers import has_library_calls
from vsweep.tasks.losses import LOSSES, Loss, default_loss, own_loss, positive
from vsweep.tasks.minimize import FUNCTIONS, MANY, coordinates
from vsweep.tasks.task import Data, Draw, Examples, param_dtype


@dataclass(frozen=True)
class Inputs:
    """A config with its data and loss. key: names the split, the same for the same data."""

    config: Config
    key: str
    split: Split
    loss: Loss

    @property
    def subject(self) -> str:
        """What is trained, in words: data and model, or the function that is minimised."""
        config = self.config
        if config.model.name == POINT:
            return getattr(config.loss.function, "__name__", config.loss.name)
        return f"{config.data.name} {config.model.name}"

    @property
    def n_features(self) -> int:
        """Features of an example."""
        return self.split.x[0].shape[0]

    @property
    def n_outputs(self) -> int:
        """Outputs that the loss needs of the model."""
        return self.loss.n_outputs(len(self.split.dataset.classes))

    @property
    def draw(self) -> Draw | None:
        """Fresh examples for every step, standardised as the others; None where steps take those."""
        draw = self.split.dataset.draw
        return None if draw is None else _Fresh(draw, tuple(self.split.mean), tuple(self.split.std))

    @property
    def examples(self) -> int:
        """Examples of one step."""
        return self.config.batch_size or self.split.x[0].shape[1]

    @property
    def depth(self) -> int:
        """Hidden layers, of a model that has any; of others 1."""
        own = self.config.model.name in (OWN, POINT)
        return 1 if own else int(self.config.model.fields.get("depth", 1))

    @property
    def recorded(self) -> int:
        """How many parameters are recorded beside the metrics, at most."""
        fields = self.config.model.fields
        if self.config.model.name == POINT:
            starts = [fields[name] for name in coordinates(self.config.loss.function)]
            return sum(np.size(start) for start in starts)
        return self.n_outputs * (self.n_features + 1) if self.config.record_params else 0

    def flops(self, width: int) -> float:
        """Multiply-adds of one step's products at a width (0: no hidden layer).

        Each layer forwards, for its weights' gradient, and for that of its inputs but for the first.
        """
        first = self.n_features * (width or self.n_outputs)
        return self.examples * (3.0 * self.weights(width) - first)

    def weights(self, width: int) -> int:
        """Weights of a model of this width; of a person's own model a guess, as if it were affine."""
        if self.config.model.name == POINT:
            # Its numbers, and at the end their Hessian, where one is made.
            return self.recorded + (self.recorded**2 if self.recorded <= MANY else 0)
        ends, depth = (self.n_features, self.n_outputs), self.depth
        return sum(ends) * width + (depth - 1) * width**2 if width else ends[0] * ends[1]

    def fusable(self, width: int) -> bool:
        """Whether a CPU can run a step of this model as one kernel: no product is left to a library."""
        if self.config.model.name == POINT:
            return self.config.loss.name != OWN
        if self.config.model.name == OWN:
            return False
        depth = self.depth if width else 0
        sizes = [self.n_features, *[width] * depth, self.n_outputs]
        return not any(
            has_library_calls(sizes[i + 1], sizes[i], self.examples, first=i == 0) for i in range(depth + 1)
        )


@dataclass(frozen=True)
class _Fresh:
    """Fresh examples, standardised; equal where it draws the same. mean, std: of each feature."""

    draw: Draw
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, key: Any, size: int) -> tuple[Any, Any]:
        x, y = self.draw(key, size)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float32)
        mean, std = (np.asarray(each, x.dtype)[:, None] for each in (self.mean, self.std))
        return (x - mean) / std, y


def load_inputs(config: Config, loaded: dict[str, Split]) -> Inputs:
    """The inputs of a config; its split is taken from, or added to, what is loaded.

    Raises `ConfigError` where data cannot be had, or do not go with the model, the loss or the batch.
    """
    _refuse_mismatch(config)
    key = data_key(config)
    if key not in loaded:
        loaded[key] = _load(config)
    data = loaded[key]
    _refuse_beyond(data, param_dtype(config.dtype), config.dtype)
    rows = data.x[0].shape[1]
    if data.dataset.draw is not None and config.batch_size is None:
        raise ConfigError("data.batch_size", "got null", "it takes how many fresh examples a step draws")
    if data.dataset.draw is None and config.batch_size is not None and config.batch_size > rows:
        got = f"got {config.batch_size}, and there are {rows} training rows"
        raise ConfigError("data.batch_size", got, "it takes at most as many as there are, or null")
    return Inputs(config, key, data, loss_of(config, len(data.dataset.classes)))


def _refuse_mismatch(config: Config) -> None:
    """Refuse data for a function of a point, and none for what is trained on data."""
    if config.model.name == POINT and config.data.name != NO_DATA:
        got = f"got {config.data.name}, and model={POINT} is trained on none"
        raise ConfigError("data", got, f"it takes data={NO_DATA}")
    if config.model.name != POINT and config.data.name == NO_DATA:
        got = f"got {NO_DATA}, and model={config.model.name} is trained on some"
        raise ConfigError("data", got, f"it takes data, or model={POINT} with a function to minimise")
    if config.model.name != POINT and config.loss.name in FUNCTIONS:
        got = f"got {config.loss.name}, a function of a point, and model={config.model.name}"
        raise ConfigError("loss", got, f"it takes {AUTO}, or model={POINT}")


def _refuse_beyond(data: Split, dtype: Any, said: str) -> None:
    """Refuse numbers that the program's dtype cannot hold."""
    most = float(np.finfo(np.dtype(dtype)).max)
    for field, parts in (("data", data.x), ("data.target", data.y)):
        for part in parts:
            largest = 0.0 if part is None or not part.size else float(np.abs(part).max())
            if largest > most:
                raise ConfigError(field, f"got {largest:.3g}", f"{said} holds numbers up to {most:.2g}")


def arrays(data: Split, floating: np.dtype) -> Data:
    """A split as NumPy arrays for a program: numbers in `floating`, classes as int32."""

    def part(i: int) -> Examples | None:
        x, y = data.x[i], data.y[i]
        if x is None or y is None:
            return None
        y = y.astype(np.int32 if data.dataset.classes else floating)
        return Examples(np.ascontiguousarray(x, floating), y)

    train = part(0)
    assert train is not None
    return Data(train, part(1), part(2))


def data_key(config: Config) -> str:
    """The name of a config's data, the same for the same data."""
    fields: Mapping[str, Any] = {
        **config.data.fields,
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "split_seed": config.split_seed,
        "standardize": config.standardize,
    }
    name = config.data.name
    if name == OWN:
        name = getattr(config.data.function, "__qualname__", "arrays")
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in fields.items())})"


def _load(config: Config) -> Split:
    function, fields = config.data.function, config.data.fields
    if config.data.name != OWN:
        dataset = function(**fields)
    elif callable(function):
        try:
            made = function(**fields)
        except Exception as error:
            reason = f"your function raised {type(error).__name__}: {error}"
            raise ConfigError("data._target_", reason, "it gives (x, y)") from error
        dataset = own_dataset(made, "data._target_")
    else:
        dataset = own_dataset(function, "data")
    return split(
        dataset,
        config.val_fraction,
        config.split_seed,
        test_fraction=config.test_fraction,
        standardize=config.standardize,
    )


def loss_of(config: Config, classes: int) -> Loss:
    """The loss of a config, by how many classes there are. Raises `ConfigError` where they do not fit."""
    if config.model.name == POINT:
        return own_loss(config.loss.function, 0)
    kind = f"data={config.data.name} has {classes} classes" if classes else "its target is a number"
    if config.model.name == "linear" and classes:
        raise ConfigError("model", f"got linear, and {kind}", "it takes logistic or mlp")
    if config.model.name == "logistic" and not classes:
        raise ConfigError("model", f"got logistic, and {kind}", "it takes linear or mlp")
    if config.loss.name == OWN:
        return own_loss(config.loss.function, classes)
    name = config.loss.name if config.loss.function is not None else default_loss(classes)
    if (LOSSES[name].classify is None) != (classes == 0):
        fitting = [n for n, loss in LOSSES.items() if (loss.classify is None) == (classes == 0)]
        raise ConfigError("loss", f"got {name}, and {kind}", f"it takes {', '.join(fitting)}")
    if LOSSES[name].classify is positive and classes != 2:
        raise ConfigError("loss", f"got {name}, and {kind}", "it takes softmax_cross_entropy")
    return LOSSES[name]
