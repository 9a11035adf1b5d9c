"""What is trained: a model, a loss and data as pure functions of one trial."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from vsweep.tasks.losses import Loss
from vsweep.tasks.models import Model, Params, Within

Metrics = dict[str, Array]


class Examples(NamedTuple):
    """x: floating `(features, examples)`. y: `(examples,)`, int32 classes or floating numbers."""

    x: Any
    y: Any


class Data(NamedTuple):
    """The training examples, and the held-out ones, if any: for selection, and for the test at the end."""

    train: Examples
    val: Examples | None
    test: Examples | None = None


class Task(NamedTuple):
    """A trial's task.

    init: `key -> params`, a tree of arrays.
    loss: `(params, examples) -> (mean loss, further metrics)`, scalars.
    apply: `(params, x) -> outputs`, of x `(n_features, examples)` outputs `(n_outputs, examples)`.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Examples], tuple[Array, Metrics]]
    apply: Callable[[Params, Array], Array]


def kept_dtype(dtype: str) -> str:
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

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """Make the task, of scalars."""


@dataclass(frozen=True)
class Supervised:
    """How to make the task of a model and a loss: the part of it that a program is compiled for.

    model: makes a `Model` from its fields. loss: as in `LOSSES`.
    static, loss_static: fields of the model and of the loss that are compiled for. A field of the model
    that is traced too becomes a `Within`. dtype: of the model's products; see `kept_dtype`.
    """

    model: Callable[..., Model]
    loss: Loss
    n_features: int
    n_outputs: int
    static: tuple[tuple[str, Any], ...]
    loss_static: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"

    @property
    def metrics(self) -> tuple[str, ...]:
        """As in `MakeTask`."""
        return ("loss",) if self.loss.classify is None else ("loss", "accuracy")

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """The task of one trial, from its traced fields of `model` and `loss` (scalars)."""
        traced = dict(hparams["model"])
        bounds = dict(self.static)
        both = {name: Within(traced.pop(name), bounds.pop(name)) for name in set(traced) & set(bounds)}
        loss_fields = {**dict(self.loss_static), **hparams["loss"]}
        kept = kept_dtype(self.dtype)
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

        return Task(init, loss, apply)


def _expect(what: str, x: Array, shape: tuple[int, ...]) -> None:
    # A shape that is off by an axis would broadcast, and train something else.
    if jnp.shape(x) != shape:
        raise ValueError(f"{what} the shape {jnp.shape(x)}, and {shape} is needed")
