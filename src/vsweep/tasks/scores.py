"""Scores of a model's outputs, which mean the same whatever loss the model was trained with.

A score takes `outputs`, floating `(n_outputs, examples)`, `targets`, `(examples,)`, and for classes
`predicted`, the class of each example, int32 `(examples,)`. It returns a floating scalar, or with another
`Reduction` a value for each of its results.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Reduction(NamedTuple):
    """The ways in which values of examples become a score.

    Attributes:
        sum: `(values, dtype) -> sums`, over the last axis, that of the examples.
        mean: `(values, dtype) -> means`, over the same axis.
        each: `(function, *values) -> results`, a function of `(examples,)` arrays that is no sum. It ignores
            an example for which all its Boolean arrays are false.
    """

    sum: Callable[..., Array]
    mean: Callable[..., Array]
    each: Callable[..., Array]


ALL = Reduction(
    partial(jnp.sum, axis=-1), partial(jnp.mean, axis=-1), lambda function, *values: function(*values)
)


def without_padding(kept: Array, over: Reduction = ALL) -> Reduction:
    """Return the reductions over those examples that are not padding.

    Args:
        kept: Bool `(examples,)`, false for padding.
        over: The reductions over all examples.
    """

    def is_kept(values: Array) -> Array:
        return jnp.broadcast_to(kept, values.shape)

    def total(values: Array, dtype: Any = None) -> Array:
        return over.sum(jnp.where(is_kept(values), values, jnp.zeros_like(values)), dtype=dtype)

    def mean(values: Array, dtype: Any = None) -> Array:
        sums = total(values, dtype)
        return sums / over.sum(is_kept(values), dtype=sums.dtype)

    def each(function: Callable[..., Array], *values: Array) -> Array:
        return over.each(function, *(value & kept if value.dtype == bool else value for value in values))

    return Reduction(total, mean, each)


def accuracy(outputs: Array, targets: Array, predicted: Array, over: Reduction = ALL) -> Array:
    """Compute the share of the examples whose class is predicted."""
    return over.mean(predicted == targets, dtype=outputs.dtype)


def balanced_accuracy(outputs: Array, targets: Array, predicted: Array, over: Reduction = ALL) -> Array:
    """Compute the mean over the classes that have examples of the share of these that is predicted."""
    true, _, right = _counts(outputs, targets, predicted, over)
    return _mean_where(right / jnp.maximum(true, 1.0), true > 0)


def f1(outputs: Array, targets: Array, predicted: Array, over: Reduction = ALL) -> Array:
    """Compute the mean over classes of F1, `2 right / (true + guessed)`; unused classes are left out."""
    true, guessed, right = _counts(outputs, targets, predicted, over)
    both = true + guessed
    return _mean_where(2.0 * right / jnp.maximum(both, 1.0), both > 0)


def auc(outputs: Array, targets: Array, predicted: Array, over: Reduction = ALL) -> Array:
    """Compute the area under the ROC curve of two classes, NaN where one class has no examples.

    It is the probability that an example of class 1 has a higher output than one of class 0, ties counted
    half (Mann and Whitney 1947).
    """
    margin = outputs[-1] - (outputs[0] if outputs.shape[0] > 1 else 0.0)
    return over.each(_auc, margin, targets == 1, targets != 1)


def _auc(margin: Array, positive: Array, negative: Array) -> Array:
    # Twice the examples of class 0 below each example, those that tie counted half.
    wins = _wins_by_pairs(margin, negative) if margin.size <= _PAIRS else _wins_by_ranks(margin, negative)
    count, others = (jnp.sum(part, dtype=margin.dtype) for part in (positive, negative))
    return jnp.sum(jnp.where(positive, wins, 0), dtype=margin.dtype) / (2.0 * count * others)


# Up to this many examples, comparing all pairs costs less than a sort, which takes seconds to compile.
_PAIRS = 8192


def _wins_by_pairs(margin: Array, negative: Array) -> Array:
    above, same = margin[:, None] > margin[None, :], margin[:, None] == margin[None, :]
    wins = 2 * above.astype(jnp.int32) + same.astype(jnp.int32)
    return jnp.sum(jnp.where(negative[None, :], wins, 0), axis=1)


def _wins_by_ranks(margin: Array, negative: Array) -> Array:
    ascending = jnp.argsort(margin)
    ranked, below = margin[ascending], jnp.cumsum(negative[ascending], dtype=jnp.int32)
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), below])
    return (
        before[jnp.searchsorted(ranked, margin, "left")] + before[jnp.searchsorted(ranked, margin, "right")]
    )


def rmse(outputs: Array, targets: Array, over: Reduction = ALL) -> Array:
    """Compute the root of the mean squared error of one output."""
    return jnp.sqrt(over.mean(jnp.square(outputs[0] - targets)))


def mae(outputs: Array, targets: Array, over: Reduction = ALL) -> Array:
    """Compute the mean absolute error of one output."""
    return over.mean(jnp.abs(outputs[0] - targets))


def _counts(outputs: Array, targets: Array, predicted: Array, over: Reduction) -> tuple[Array, Array, Array]:
    """Count the examples of each class, those guessed to be, and those of both; floating `(classes, ...)`."""
    classes = jnp.arange(max(outputs.shape[0], 2), dtype=jnp.int32)[:, None]
    true, guessed = classes == targets[None, :], classes == predicted[None, :]
    parts = (true, guessed, true & guessed)
    return tuple(over.sum(part, dtype=outputs.dtype) for part in parts)  # type: ignore[return-value]


def _mean_where(values: Array, counted: Array) -> Array:
    return jnp.sum(jnp.where(counted, values, 0.0), axis=0) / jnp.sum(counted, axis=0, dtype=values.dtype)


# The scores of numbers, which have the target's unit, and those of classes.
NUMBER_SCORES: dict[str, Callable[..., Array]] = {"rmse": rmse, "mae": mae}
CLASS_SCORES: dict[str, Callable[..., Array]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "auc": auc,
}
