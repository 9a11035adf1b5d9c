"""Optimizers from optax, to which the learning-rate schedule is applied, with every number traced.

A learning rate `lr` is a function of the count of updates, an int32 scalar. Keyword-only parameters are the
config fields, floating scalars. Weight decay applies to weights only (arrays of two dimensions or more), not
to biases.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vsweep.training.schedules import SCHEDULES

Rate = Callable[[Array], Array]
Optimizer: TypeAlias = optax.GradientTransformation


def _weights(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _penalized(optimizer: Optimizer, weight_decay: Array) -> Optimizer:
    """Add `weight_decay / 2` times the weights' sum of squares to the loss of an optimizer."""
    return optax.chain(optax.add_decayed_weights(weight_decay, _weights), optimizer)


def sgd(lr: Rate, *, weight_decay: Array) -> Optimizer:
    """Return gradient descent."""
    return _penalized(optax.sgd(lr), weight_decay)


def momentum(lr: Rate, *, momentum: Array, weight_decay: Array) -> Optimizer:
    """Return gradient descent with heavy-ball momentum (Polyak 1964)."""
    return _penalized(optax.sgd(lr, momentum), weight_decay)


def nesterov(lr: Rate, *, momentum: Array, weight_decay: Array) -> Optimizer:
    """Return gradient descent with Nesterov's momentum, in the form of Sutskever et al. 2013."""
    return _penalized(optax.sgd(lr, momentum, nesterov=True), weight_decay)


def adam(lr: Rate, *, b1: Array, b2: Array, eps: Array) -> Optimizer:
    """Return Adam (Kingma and Ba 2015, arXiv:1412.6980)."""
    return optax.adam(lr, b1, b2, eps)


def adamw(lr: Rate, *, b1: Array, b2: Array, eps: Array, weight_decay: Array) -> Optimizer:
    """Return Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    return optax.adamw(lr, b1, b2, eps, weight_decay=weight_decay, mask=_weights)


def rmsprop(lr: Rate, *, decay: Array, eps: Array) -> Optimizer:
    """Return RMSProp (Hinton 2012), with eps inside the root, as in optax."""
    return optax.rmsprop(lr, decay, eps)


def lion(lr: Rate, *, b1: Array, b2: Array, weight_decay: Array) -> Optimizer:
    """Return Lion (Chen et al. 2023, arXiv:2302.06675)."""
    return optax.lion(lr, b1, b2, weight_decay=weight_decay, mask=_weights)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    function.__name__: function for function in (sgd, momentum, nesterov, adam, adamw, rmsprop, lion)
}


def make_optimizer(
    optimizer: str,
    schedule: str,
    steps: int,
    optimizer_fields: Mapping[str, Array],
    schedule_fields: Mapping[str, Array],
) -> Optimizer:
    """Make the optimizer of one trial; its learning rate is `lr` times the factor of the schedule.

    Args:
        optimizer: The name of the optimizer in `OPTIMIZERS`.
        schedule: The name of the schedule in `SCHEDULES`.
        steps: The number of steps of the training.
        optimizer_fields: Floating scalars by name, traced; `lr` is the learning rate.
        schedule_fields: Floating scalars by name, traced.
    """
    numbers = dict(optimizer_fields)
    lr = numbers.pop("lr")

    def rate(count: Array) -> Array:
        step, last = count.astype(lr.dtype), jnp.asarray(steps, lr.dtype)
        return lr * SCHEDULES[schedule](step, last, **schedule_fields)

    return OPTIMIZERS[optimizer](rate, **numbers)
