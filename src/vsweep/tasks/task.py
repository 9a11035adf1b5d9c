"""The task of one trial: a model, a loss and data as pure functions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vsweep.tasks.leave_out import without_groups
from vsweep.tasks.losses import Loss, squared_error
from vsweep.tasks.models import Model, Params, Within, logistic
from vsweep.tasks.scores import ALL, CLASS_SCORES, NUMBER_SCORES, Reduction, without_padding

Metrics = dict[str, Array]
# NumPy arrays by name.
Arrays = Mapping[str, np.ndarray]
# Parameters are recorded if there are at most this many.
MOST_RECORDED = 64
# `(key, size) -> (x, y)`, see `Dataset.draw`.
Draw = Callable[[Array, int], tuple[Array, Array]]


class Examples(NamedTuple):
    """Examples to train or measure on.

    Attributes:
        x: Floating `(features, examples)`.
        y: `(examples,)`, int32 classes or floating numbers.
        count: The number of examples, an int32 scalar, if the last one may be padding; None for all.
    """

    x: Any
    y: Any
    count: Any = None

    @property
    def kept(self) -> Any:
        """Bool `(examples,)`, false for padding."""
        return jnp.arange(self.y.shape[0], dtype=jnp.int32) < self.real

    @property
    def real(self) -> Any:
        """The number of examples without padding, an integer or an int32 scalar."""
        return self.y.shape[0] if self.count is None else self.count

    @property
    def grouped(self) -> int:
        """The number of examples that are dealt to the groups of `leave_out`: all, or those never padding."""
        return self.y.shape[0] - (self.count is not None)


class Data(NamedTuple):
    """The training examples, and those held out, if any.

    Attributes:
        train: The examples to train on.
        val: The examples for the selection of trials.
        test: The examples for the test after the last step.
    """

    train: Examples
    val: Examples | None
    test: Examples | None = None


def nothing(params: Params) -> Metrics:
    """Return no values of the parameters to record."""
    return {}


def no_scores(params: Params, examples: Examples) -> Metrics:
    """Return no further metrics after the last step."""
    return {}


class Task(NamedTuple):
    """A trial's task.

    Attributes:
        init: `key -> params`, a tree of floating arrays.
        loss: `(params, examples) -> (mean loss, further metrics)`, floating scalars.
        apply: `(params, x) -> outputs`, floating `(n_features, examples)` and `(n_outputs, examples)`.
        path: `params -> scalars`, by name, the values that are recorded of the parameters at each record.
        end: `params -> arrays`, by name, the results for the parameters after the last step.
        scores: `(params, examples) -> scalars`, by name, further metrics after the last step.
        leave_out: `(params, parts) -> (losses, further metrics)`, the results of `loss` without each group of
            the examples of each part, floating `(groups of all parts,)`; None for a task without examples.
        unit: The least value that stands for the first loss when later losses are compared with it; 0 for
            losses that are never negative.
        dtype: The dtype of the products; None for that of the parameters.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Examples], tuple[Array, Metrics]]
    apply: Callable[[Params, Array], Array]
    path: Callable[[Params], Metrics] = nothing
    end: Callable[[Params], Metrics] = nothing
    scores: Callable[[Params, Examples], Metrics] = no_scores
    leave_out: Callable[[Params, Sequence[Examples]], tuple[Array, Metrics]] | None = None
    unit: float = 0.0
    dtype: str | None = None


def scalar_names(params: Params) -> list[str]:
    """Return the name of each number in a tree of arrays: the keys to its array, and its place in it.

    Indices in a list of length one, and along axes of length one, are left out: the names in a layer
    `[{"w": (1, 2), "b": (1,)}]` are `w.0`, `w.1` and `b`. The order is that of `jax.tree`.
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
    """Return the numbers in a tree of arrays by the names of `scalar_names`."""
    flat = [leaf.ravel()[i] for leaf in jax.tree.leaves(params) for i in range(leaf.size)]
    return dict(zip(scalar_names(params), flat, strict=True))


def param_dtype(dtype: str) -> str:
    """Return the dtype of parameters, losses, optimizer and hyperparameters for a dtype of products.

    They are equal but for bfloat16, in which updates would be lost to rounding: parameters are float32 then.
    """
    return "float32" if dtype == "bfloat16" else dtype


class MakeTask(Protocol):
    """A maker of tasks from traced fields; hashable, since a program is compiled for it."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the results of `Task.loss`: `loss`, then the further metrics."""

    @property
    def final_metrics(self) -> tuple[str, ...]:
        """The names of the results of `Task.scores`."""

    @property
    def static(self) -> tuple[tuple[str, Any], ...]:
        """The fields that are compiled for, by name."""

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names of the results of `Task.path`."""

    @property
    def draw(self) -> Draw | None:
        """A function that draws fresh examples for every step; None where steps use those of the data."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the results of `conclude`, in order."""

    def conclude(self, end: Arrays, train: Examples, trials: int) -> Arrays:
        """Return the columns `(trials,)` that a task adds to a table of trials, by name.

        Args:
            end: The results of `Task.end`, each `(trials, ...)`.
            train: The training examples.
            trials: The number of trials.
        """

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """Make the task of one trial from its traced fields, which have no trial axis."""


@dataclass(frozen=True)
class Supervised:
    """A maker of tasks of a model and a loss.

    Attributes:
        model: A function that makes a `Model` from its fields.
        loss: An entry of `LOSSES`, or the user's loss.
        n_features: The number of features of an example.
        n_outputs: The number of outputs of the model.
        static: The model's fields that are compiled for; one that is traced too becomes a `Within`.
        loss_static: The loss's fields that are compiled for.
        dtype: The dtype of the model's products, see `param_dtype`.
        recorded: The names of all parameters, if they are recorded.
        draw: See `MakeTask`.
        scores: The scores that are recorded beside the loss.
        final_metrics: The scores that are computed after the last step only.
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
    scores: tuple[str, ...] = ()
    final_metrics: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """See `MakeTask`."""
        return ("loss", *self.scores)

    @property
    def columns(self) -> tuple[str, ...]:
        """Least squares beside a straight line's parameters, if these are recorded."""
        line = self.model is logistic and self.loss.value is squared_error
        return tuple(f"least_squares_{name}" for name in self.recorded) if line else ()

    def conclude(self, end: Arrays, train: Examples, trials: int) -> Arrays:  # noqa: ARG002
        """Return the least-squares solution of the training examples, without a penalty; see `MakeTask`."""
        if not self.columns:
            return {}
        x = np.concatenate([train.x, np.ones((1, train.x.shape[1]))]).T.astype(np.float64)
        solved, *_ = np.linalg.lstsq(x, train.y, rcond=None)
        named = scalars([{"w": solved[None, :-1], "b": solved[-1:]}])
        return {f"least_squares_{name}": np.full(trials, float(value)) for name, value in named.items()}

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """Make the task of one trial from its traced fields of `model` and `loss`."""
        traced = dict(hparams["model"])
        bounds = dict(self.static)
        within = {name: Within(traced.pop(name), bounds.pop(name)) for name in set(traced) & set(bounds)}
        loss_fields = {**dict(self.loss_static), **hparams["loss"]}
        stored_dtype = param_dtype(self.dtype)
        model = self.model(**bounds, **traced, **within)

        def init(key: Array) -> Params:
            params = model.init(key, self.n_features, self.n_outputs)
            return jax.tree.map(lambda p: jnp.asarray(p).astype(stored_dtype), params)

        def apply(params: Params, x: Array) -> Array:
            params, x = jax.tree.map(lambda p: p.astype(self.dtype), (params, x))
            outputs = model.apply(params, x).astype(stored_dtype)
            _expect("the model", outputs, (self.n_outputs, x.shape[1]))
            return outputs

        def evaluate(params: Params, examples: Examples, over: Reduction) -> tuple[Array, Metrics]:
            outputs = apply(params, examples.x)
            losses = self.loss.value(outputs, examples.y, **loss_fields)
            _expect("the loss", losses, (examples.x.shape[1],))
            return over.mean(losses), measure(self.scores, outputs, examples.y, over)

        def loss(params: Params, examples: Examples) -> tuple[Array, Metrics]:
            return evaluate(params, examples, over_all(examples))

        def leave_out(params: Params, parts: Sequence[Examples]) -> tuple[Array, Metrics]:
            x, y = (
                jnp.concatenate(arrays, axis=-1) for arrays in zip(*(part[:2] for part in parts), strict=True)
            )
            over = without_groups([(part.grouped, part.y.shape[0]) for part in parts])
            if any(part.count is not None for part in parts):
                over = without_padding(jnp.concatenate([part.kept for part in parts]), over)
            return evaluate(params, Examples(x, y), over)

        def over_all(examples: Examples) -> Reduction:
            return ALL if examples.count is None else without_padding(examples.kept)

        def measure(names: tuple[str, ...], outputs: Array, targets: Array, over: Reduction) -> Metrics:
            if self.loss.classify is None:
                return {name: NUMBER_SCORES[name](outputs, targets, over) for name in names}
            predicted = self.loss.classify(outputs)
            # Finite weights may have outputs that overflow, and argmax finds a class among NaN and infinity.
            finite = jnp.isfinite(outputs).all()
            values = {name: CLASS_SCORES[name](outputs, targets, predicted, over) for name in names}
            return {name: jnp.where(finite, value, jnp.nan) for name, value in values.items()}

        def scores(params: Params, examples: Examples) -> Metrics:
            if not self.final_metrics:
                return {}
            outputs = apply(params, examples.x)
            return measure(self.final_metrics, outputs, examples.y, over_all(examples))

        def path(params: Params) -> Metrics:
            return scalars(params) if self.recorded else {}

        return Task(init, loss, apply, path, scores=scores, leave_out=leave_out, dtype=self.dtype)


def _expect(source: str, x: Array, shape: tuple[int, ...]) -> None:
    # An array with one axis more or less would broadcast without an error, and train something else.
    if jnp.shape(x) != shape:
        raise ValueError(f"{source} returned the shape {jnp.shape(x)}, expected {shape}")


def fields(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the config fields of a registered function: its keyword-only parameters, in order."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
