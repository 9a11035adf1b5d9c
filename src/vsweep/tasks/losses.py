"""Losses of one example from the model's raw outputs (logits), and what they count as right.

A loss takes `(outputs, targets)`: outputs `(n_outputs, examples)`, targets `(examples,)`, and gives
`(examples,)`. Its keyword-only parameters are its config fields, traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


def softmax_cross_entropy(outputs: Array, targets: Array) -> Array:
    """`log sum_c exp z_c - z_y`, for classes y as int32 in `[0, n_outputs)`."""
    classes = jnp.arange(outputs.shape[0], dtype=jnp.int32)[:, None]
    wrong = classes != targets[None, :]
    # A masked sum, not a gather: its gradient is a product, where a gather's is a scatter.
    ahead = outputs - jnp.sum(jnp.where(wrong, 0.0, outputs), axis=0)[None, :]
    # log(1 + sum over wrong c of exp(z_c - z_y)), scaled by the largest term: a small loss is no
    # difference of large numbers, and nothing overflows.
    top = lax.stop_gradient(jnp.max(ahead, axis=0))
    others = jnp.sum(jnp.where(wrong, jnp.exp(ahead - top[None, :]), 0.0), axis=0)
    return top + jnp.log1p(others + jnp.expm1(-top))


def sigmoid_cross_entropy(outputs: Array, targets: Array) -> Array:
    """`log(1 + exp z) - y z` of one output z, for classes y in {0, 1}."""
    z = jnp.where(targets == 1, -outputs[0], outputs[0])
    # `where`, not `max` and `abs`: at z = 0 its derivative is that of the branch, 1/2.
    return jnp.where(z > 0, z, 0.0) + jnp.log1p(jnp.exp(jnp.where(z > 0, -z, z)))


def clipped_cross_entropy(outputs: Array, targets: Array, *, eps: Array) -> Array:
    """`-(y log(p + eps) + (1 - y) log(1 - p + eps))`, `p = sigmoid(z)` of one output z, y in {0, 1}.

    eps, above 0, keeps the logarithm finite where p is rounded to 0 or 1. `sigmoid_cross_entropy`, from z
    itself, needs no such guard and is the better loss: here no example costs more than `-log eps`, one
    that is just right costs `-log(1 + eps)`, below 0, and where the probability of what is there falls
    below eps the gradient vanishes, so that what is most wrong is no longer learnt.
    """
    # The probability of what is there, from the sign of z: 1 - p would lose its digits where p is near 1.
    p = jax.nn.sigmoid(jnp.where(targets == 1, outputs[0], -outputs[0]))
    return -jnp.log(p + eps)


def squared_error(outputs: Array, targets: Array) -> Array:
    """`(z - y)^2` of one output z, for a number y."""
    return jnp.square(outputs[0] - targets)


def huber(outputs: Array, targets: Array, *, delta: Array) -> Array:
    """`r^2 / 2` up to `|r| = delta`, a straight line beyond (Huber 1964), with `r = z - y`."""
    r = jnp.abs(outputs[0] - targets)
    near = jnp.minimum(r, delta)
    return near * (r - near / 2.0)


def most_likely(outputs: Array) -> Array:
    """The class of each example, int32 `(examples,)`: the largest output."""
    return jnp.argmax(outputs, axis=0).astype(jnp.int32)


def positive(outputs: Array) -> Array:
    """The class of each example, int32 `(examples,)`: 1 where the one output is above zero."""
    return (outputs[0] > 0).astype(jnp.int32)


class Loss(NamedTuple):
    """A loss and what goes with it.

    value: the loss of each example.
    n_outputs: how many outputs the model needs, from the number of classes.
    classify: the class that the outputs say, or None where targets are numbers.
    """

    value: Callable[..., Array]
    n_outputs: Callable[[int], int]
    classify: Callable[[Array], Array] | None


def _one_each(classes: int) -> int:
    return classes


def _one(classes: int) -> int:
    return 1


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(softmax_cross_entropy, _one_each, most_likely),
    "sigmoid_cross_entropy": Loss(sigmoid_cross_entropy, _one, positive),
    "clipped_cross_entropy": Loss(clipped_cross_entropy, _one, positive),
    "squared_error": Loss(squared_error, _one, None),
    "huber": Loss(huber, _one, None),
}


def default_loss(n_classes: int) -> str:
    """The name of the usual loss: by the number of classes, where 0 stands for a number."""
    if n_classes == 0:
        return "squared_error"
    return "sigmoid_cross_entropy" if n_classes == 2 else "softmax_cross_entropy"


def own_loss(value: Callable[..., Any], n_classes: int) -> Loss:
    """A person's own function as a loss: one output a class, or one output for a number."""
    if n_classes == 0:
        return Loss(value, _one, None)
    return Loss(value, _one_each, most_likely)
