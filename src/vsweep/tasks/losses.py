"""Losses of each example from the model's raw outputs (logits), and the classes that outputs predict.

A loss takes `outputs`, floating `(n_outputs, examples)`, and `targets`, `(examples,)`, int32 classes or
floating numbers. It returns the loss of each example, floating `(examples,)`. Its keyword-only parameters are
its config fields, floating scalars that are traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from vsweep.tasks.layers import on_cpu
from vsweep.tasks.scores import CLASS_SCORES, NUMBER_SCORES


@jax.custom_vjp
def softmax_cross_entropy(outputs: Array, targets: Array) -> Array:
    """Compute `log sum_c exp z_c - z_y` for classes y, int32 in `[0, n_outputs)`.

    Only reverse-mode derivatives are defined. A GPU or a TPU waits for its memory, so one pass over the
    outputs computes all sums, and another the gradient. On a CPU the exponentials take the time, and it
    computes each once.
    """
    return _forward(outputs, targets)[0]


def _forward(outputs: Array, targets: Array) -> tuple[Array, tuple[Array, ...]]:
    losses, *sums = on_cpu(_in_passes, in_one_pass, outputs, targets)
    return losses, (outputs, targets, *sums)


def _backward(residuals: tuple[Array, ...], g: Array) -> tuple[Array, None]:
    return on_cpu(_gradient_in_passes, gradient_in_one_pass, *residuals, g), None


softmax_cross_entropy.defvjp(_forward, _backward)


def _is_wrong(outputs: Array, targets: Array) -> Array:
    """Return which classes are not those of the examples, bool `(classes, examples)`."""
    return jnp.arange(outputs.shape[0], dtype=jnp.int32)[:, None] != targets[None, :]


def _losses_in_passes(outputs: Array, targets: Array) -> Array:
    wrong = _is_wrong(outputs, targets)
    # The gradient of a masked sum is a product; that of a gather is a scatter, which is slower.
    ahead = outputs - jnp.sum(jnp.where(wrong, 0.0, outputs), axis=0)[None, :]
    # The loss is log(1 + sum over wrong c of exp(z_c - z_y)), scaled by the largest term: nothing overflows,
    # and a small loss is not computed as a difference of large numbers.
    top = lax.stop_gradient(jnp.max(ahead, axis=0))
    scaled_sum = jnp.sum(jnp.where(wrong, jnp.exp(ahead - top[None, :]), 0.0), axis=0)
    return top + jnp.log1p(scaled_sum + jnp.expm1(-top))


def _in_passes(outputs: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    losses = _losses_in_passes(outputs, targets)
    # The gradient starts from the outputs, and the compiler shares what it computes with the losses.
    unused = jnp.zeros_like(losses)
    return losses, unused, unused, unused


def _gradient_in_passes(outputs: Array, targets: Array, *sums_and_g: Array) -> Array:
    *_, g = sums_and_g
    return jax.vjp(lambda outputs: _losses_in_passes(outputs, targets), outputs)[1](g)[0]


def join_sums(some: tuple[Array, ...], others: tuple[Array, ...]) -> tuple[Array, ...]:
    """Join what `in_one_pass` knows of some classes and of others: the largest output and both sums."""
    largest = jnp.maximum(some[0], others[0])
    # Devices join starting values with one another, and the difference of their infinities is no number.
    one, other = (
        part[1] * jnp.where(part[1] > 0, jnp.exp(part[0] - largest), 0.0) for part in (some, others)
    )
    return largest, one + other, some[2] + others[2]


def in_one_pass(outputs: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    """Compute `softmax_cross_entropy` and its sums over classes in one pass (an online softmax).

    Returns:
        The losses; the largest output, the sum over wrong c of `exp(z_c - largest)`, and the true class's
        output, each floating `(examples,)`.
    """
    wrong = _is_wrong(outputs, targets)
    zero, lowest = jnp.zeros((), outputs.dtype), jnp.asarray(-jnp.inf, outputs.dtype)
    terms = outputs, jnp.where(wrong, 1.0, jnp.zeros_like(outputs)), jnp.where(wrong, 0.0, outputs)
    largest, scaled_sum, own = lax.reduce(terms, (lowest, zero, zero), join_sums, (0,))
    top = largest - own
    return top + jnp.log1p(scaled_sum + jnp.expm1(-top)), largest, scaled_sum, own


def gradient_in_one_pass(
    outputs: Array, targets: Array, largest: Array, scaled_sum: Array, own: Array, g: Array
) -> Array:
    """Compute the gradient of the losses of `in_one_pass` from its sums; g: `(examples,)`."""
    # The gradient of the true class is the sum of the others, which keeps its digits where it is small.
    wrong = _is_wrong(outputs, targets)
    terms = jnp.where(wrong, jnp.exp(outputs - largest[None, :]), -scaled_sum[None, :])
    return terms * (g / (1.0 + (scaled_sum + jnp.expm1(own - largest))))[None, :]


def sigmoid_cross_entropy(outputs: Array, targets: Array) -> Array:
    """Compute `log(1 + exp z) - y z` of one output z, for classes y in {0, 1}."""
    z = jnp.where(targets == 1, -outputs[0], outputs[0])
    # At z = 0 the derivative of `where` is that of its branch, 1/2; that of `max` and `abs` is not.
    return jnp.where(z > 0, z, 0.0) + jnp.log1p(jnp.exp(jnp.where(z > 0, -z, z)))


def clipped_cross_entropy(outputs: Array, targets: Array, *, eps: Array) -> Array:
    """Compute `-(y log(p + eps) + (1 - y) log(1 - p + eps))` with `p = sigmoid(z)` of one output z.

    The targets y are classes in {0, 1}. eps, above 0, keeps the logarithm finite if p is rounded to 0 or 1.
    `sigmoid_cross_entropy` needs no such guard and is the better loss: here no example costs more than
    `-log eps`, a correct one costs `-log(1 + eps)`, below 0, and the gradient vanishes once the probability
    of the true class falls below eps, so that the worst examples are no longer learned.
    """
    # The sign of z gives the probability of the true class; 1 - p would lose its digits near p = 1.
    p = jax.nn.sigmoid(jnp.where(targets == 1, outputs[0], -outputs[0]))
    return -jnp.log(p + eps)


def squared_error(outputs: Array, targets: Array) -> Array:
    """Compute `(z - y)^2` of one output z, for a number y."""
    return jnp.square(outputs[0] - targets)


def huber(outputs: Array, targets: Array, *, delta: Array) -> Array:
    """Compute `r^2 / 2` up to `|r| = delta`, and a straight line beyond, with `r = z - y` (Huber 1964)."""
    r = jnp.abs(outputs[0] - targets)
    near = jnp.minimum(r, delta)
    return near * (r - near / 2.0)


def most_likely(outputs: Array) -> Array:
    """Return the class of each example's largest output of `(n_outputs, examples)`, int32 `(examples,)`."""
    return jnp.argmax(outputs, axis=0).astype(jnp.int32)


def positive(outputs: Array) -> Array:
    """Return int32 classes `(examples,)` for outputs `(1, examples)`: 1 where the output is above zero."""
    return (outputs[0] > 0).astype(jnp.int32)


def softmax(outputs: Array) -> Array:
    """Return the probability of each class, `(classes, examples)`, for an output per class."""
    return jax.nn.softmax(outputs, axis=0)


def sigmoid(outputs: Array) -> Array:
    """Return the probabilities of classes 0 and 1, `(2, examples)`, for outputs `(1, examples)`."""
    return jax.nn.sigmoid(jnp.stack([-outputs[0], outputs[0]]))


class Loss(NamedTuple):
    """A loss, and the classes that outputs predict.

    Attributes:
        value: `(outputs, targets) -> losses`, floating `(n_outputs, examples)` and `(examples,)`; targets are
            int32 classes or floating numbers, `(examples,)`.
        classify: `outputs -> classes`, floating `(n_outputs, examples)` and int32 `(examples,)`; None where
            targets are numbers.
        predicts_numbers: True if the output is the number itself, so that errors of numbers can be measured.
        probabilities: `outputs -> probabilities`, floating `(n_outputs, examples)` and `(classes, examples)`;
            None where the outputs have no such meaning.
    """

    value: Callable[..., Array]
    classify: Callable[[Array], Array] | None
    predicts_numbers: bool = False
    probabilities: Callable[[Array], Array] | None = None

    def n_outputs(self, n_classes: int) -> int:
        """Return the number of outputs that the loss needs for a number of classes (0: number targets)."""
        return n_classes if self.classify is most_likely else 1

    def scores(self, n_classes: int, metric: str | None) -> tuple[list[str], list[str]]:
        """Return the names of the scores of each record, and of those of the end alone.

        Args:
            n_classes: The number of classes; 0 for numbers.
            metric: The metric that the sweep asks for, such as `val_f1`, whose score is recorded; None for a
                sweep of a version that knew no score but accuracy.
        """
        if self.classify is None:
            return list(NUMBER_SCORES) if self.predicts_numbers and metric else [], []
        chosen = (metric or "").partition("_")[2]
        fitting = [name for name in CLASS_SCORES if name != "auc" or n_classes == 2]
        recorded = [name for name in fitting if name in ("accuracy", chosen)]
        return recorded, [name for name in fitting if name not in recorded] if metric else []


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(softmax_cross_entropy, most_likely, probabilities=softmax),
    "sigmoid_cross_entropy": Loss(sigmoid_cross_entropy, positive, probabilities=sigmoid),
    "clipped_cross_entropy": Loss(clipped_cross_entropy, positive, probabilities=sigmoid),
    "squared_error": Loss(squared_error, None, predicts_numbers=True),
    "huber": Loss(huber, None, predicts_numbers=True),
}


def default_loss(n_classes: int) -> str:
    """Return the name of the usual loss for a number of classes (0: number targets)."""
    if n_classes == 0:
        return "squared_error"
    return "sigmoid_cross_entropy" if n_classes == 2 else "softmax_cross_entropy"


def own_loss(value: Callable[..., Any], n_classes: int) -> Loss:
    """Wrap a user's function as a loss: of one output per class, or of one output for a number."""
    return Loss(value, most_likely if n_classes else None)
