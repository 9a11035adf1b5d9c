"""What is trained: a model, a loss and data as pure functions of one trial."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vsweep.tasks.losses import Loss, squared_error
from vsweep.tasks.models import Model, Params, Within, logistic

Metrics = dict[str, Array]
# Of more parameters than these none is recorded.
MOST_RECORDED = 64
# `(key, size) -> (x, y)`: see `Dataset.draw`.
Draw = Callable[[Array, int], tuple[Array, Array]]


class Examples(NamedTuple):
    """x: floating `(features, examples)`. y: `(examples,)`, int32 classes or floating numbers."""

    x: Any
    y: Any


class Data(NamedTuple):
    """The training examples, and the held-out ones, if any: for selection, and for the test at the end."""

    train: Examples
    val: Examples | None
    test: Examples | None = None


def nothing(params: Params) -> Metrics:
    """Of parameters of which nothing is recorded."""
    return {}


class Task(NamedTuple):
    """A trial's task.

    init: `key -> params`, a tree of arrays.
    loss: `(params, examples) -> (mean loss, further metrics)`, scalars.
    apply: `(params, x) -> outputs`, of x `(n_features, examples)` outputs `(n_outputs, examples)`.
    path: `params -> scalars` by name, what is recorded of the parameters themselves.
    end: `params -> arrays` by name, what is found out about the parameters after the last step.
    unit: what a first loss counts for at least, where a later one is held against it; 0 where losses are
        never below 0, and their size means something.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Examples], tuple[Array, Metrics]]
    apply: Callable[[Params, Array], Array]
    path: Callable[[Params], Metrics] = nothing
    end: Callable[[Params], Metrics] = nothing
    unit: float = 0.0


def scalar_names(params: Params) -> list[str]:
    """The name of each number in a tree of arrays: the keys to its array, and its place in it.

    A list of one and axes of one go without saying: a layer `[{"w": (1, 2), "b": (1,)}]` has `w.0`, `w.1`
    and `b`, in the order of `jax.tree`.
    """
    names = []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        lone = isinstance(params, list) and len(params) == 1
        name = jax.tree_util.keystr(keys[1:] if lone else keys, simple=True, separator=".") or "params"
        wide = [axis for axis, size in enumerate(leaf.shape) if size > 1]
        for place in np.ndindex(leaf.shape):
            names.append(".".join([name, *(str(place[axis]) for axis in wide)]))
    return names


def scalars(params: Params) -> Metrics:
    """The numbers in a tree of arrays, by the names that `scalar_names` gives."""
    flat = [leaf.ravel()[i] for leaf in jax.tree.leaves(params) for i in range(leaf.size)]
    return dict(zip(scalar_names(params), flat, strict=True))


def param_dtype(dtype: str) -> str:
    """The dtype of parameters, losses, optimizer and hyperparameters.

    That of the products, but for bfloat16, in which an update would be lost to rounding: float32.
    """
    return "float32" if dtype == "bfloat16" else dtype


class MakeTask(Protocol):
    """Makes a trial's task from its traced fields; hashable, since a program is compiled for it."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what `Task.loss` gives: `loss`, then the further metrics."""

    @property
    def static(self) -> tuple[tuple[str, Any], ...]:
        """The fields that are compiled for, by name."""

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names of what `Task.path` gives."""

    @property
    def draw(self) -> Draw | None:
        """Fresh examples for every step; None where steps take those that are there."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `reference` and `conclude` give together, in order."""

    def reference(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """What is known of the training examples in closed form, by name; see `Examples` for shapes."""

    def conclude(self, end: Mapping[str, np.ndarray], trials: int) -> dict[str, np.ndarray]:
        """What `Task.end` gave of many trials, each `(trials, ...)`, as columns `(trials,)` of a table."""

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """Make the task, of scalars."""


@dataclass(frozen=True)
class Supervised:
    """How to make the task of a model and a loss: the part of it that a program is compiled for.

    model: makes a `Model` from its fields. loss: as in `LOSSES`.
    static, loss_static: fields of the model and of the loss that are compiled for. A field of the model
    that is traced too becomes a `Within`. dtype: of the model's products; see `param_dtype`. recorded: the
    names of all parameters, where they are to be recorded. draw: see `MakeTask`.
    """

    model: Callable[..., Model]
    loss: Loss
    n_features: int
    n_outputs: int
    static: tuple[tuple[str, Any], ...]
    loss_static: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"
    recorded: tuple[str, ...] = ()
    draw: Draw | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """As in `MakeTask`."""
        return ("loss",) if self.loss.classify is None else ("loss", "accuracy")

    @property
    def columns(self) -> tuple[str, ...]:
        """As in `MakeTask`: least squares beside a straight line's parameters, where these are recorded."""
        line = self.model is logistic and self.loss.value is squared_error
        return tuple(f"least_squares_{name}" for name in self.recorded) if line else ()

    def reference(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """As in `MakeTask`: least squares of the rows that are here, without a penalty."""
        if not self.columns:
            return {}
        ones = np.ones((1, x.shape[1]))
        solved, *_ = np.linalg.lstsq(np.concatenate([x, ones]).T.astype(np.float64), y, rcond=None)
        named = scalars([{"w": solved[None, :-1], "b": solved[-1:]}])
        return {f"least_squares_{name}": float(value) for name, value in named.items()}

    def conclude(self, end: Mapping[str, np.ndarray], trials: int) -> dict[str, np.ndarray]:  # noqa: ARG002
        """As in `MakeTask`: nothing."""
        return {}

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """The task of one trial, from its traced fields of `model` and `loss` (scalars)."""
        traced = dict(hparams["model"])
        bounds = dict(self.static)
        both = {name: Within(traced.pop(name), bounds.pop(name)) for name in set(traced) & set(bounds)}
        loss_fields = {**dict(self.loss_static), **hparams["loss"]}
        kept = param_dtype(self.dtype)
        model = self.model(**bounds, **traced, **both)

        def init(key: Array) -> Params:
            params = model.init(key, self.n_features, self.n_outputs)
            return jax.tree.map(lambda p: jnp.asarray(p).astype(kept), params)

        def apply(params: Params, x: Array) -> Array:
            params, x = jax.tree.map(lambda p: p.astype(self.dtype), (params, x))
            outputs = model.apply(params, x).astype(kept)
            _expect("the model gave", outputs, (self.n_outputs, x.shape[1]))
            return outputs

        def loss(params: Params, examples: Examples) -> tuple[Array, Metrics]:
            outputs = apply(params, examples.x)
            each = self.loss.value(outputs, examples.y, **loss_fields)
            _expect("the loss gave", each, (examples.x.shape[1],))
            value = jnp.mean(each)
            if self.loss.classify is None:
                return value, {}
            right = self.loss.classify(outputs) == examples.y
            return value, {"accuracy": jnp.mean(right, dtype=value.dtype)}

        def path(params: Params) -> Metrics:
            return scalars(params) if self.recorded else {}

        return Task(init, loss, apply, path)


def _expect(what: str, x: Array, shape: tuple[int, ...]) -> None:
    # A shape that is off by an axis would broadcast, and train something else.
    if jnp.shape(x) != shape:
        raise ValueError(f"{what} the shape {jnp.shape(x)}, and {shape} is needed")


def fields(function: Callable[..., Any]) -> tuple[str, ...]:
    """The config fields that a registered function takes: its keyword-only parameters, in order."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
