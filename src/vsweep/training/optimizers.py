"""Optimizers through optax, and learning-rate schedules, with every number traced.

Their keyword-only parameters are their config fields. Weight decay is for weights alone: arrays of
two dimensions or more, no biases.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vsweep.training.schedules import SCHEDULES

Schedule = Callable[[Array], Array]
Optimizer: TypeAlias = optax.GradientTransformation


def _weights(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _penalised(optimizer: Optimizer, weight_decay: Array) -> Optimizer:
    """The optimizer on the loss plus `weight_decay / 2` times the weights' sum of squares."""
    return optax.chain(optax.add_decayed_weights(weight_decay, _weights), optimizer)


def sgd(lr: Schedule, *, weight_decay: Array) -> Optimizer:
    """Gradient descent."""
    return _penalised(optax.sgd(lr), weight_decay)


def momentum(lr: Schedule, *, momentum: Array, weight_decay: Array) -> Optimizer:
    """Gradient descent with heavy-ball momentum (Polyak 1964)."""
    return _penalised(optax.sgd(lr, momentum), weight_decay)


def nesterov(lr: Schedule, *, momentum: Array, weight_decay: Array) -> Optimizer:
    """Gradient descent with Nesterov's momentum, in the form of Sutskever et al. 2013."""
    return _penalised(optax.sgd(lr, momentum, nesterov=True), weight_decay)


def adam(lr: Schedule, *, b1: Array, b2: Array, eps: Array) -> Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""
    return optax.adam(lr, b1, b2, eps)


def adamw(lr: Schedule, *, b1: Array, b2: Array, eps: Array, weight_decay: Array) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    return optax.adamw(lr, b1, b2, eps, weight_decay=weight_decay, mask=_weights)


def rmsprop(lr: Schedule, *, decay: Array, eps: Array) -> Optimizer:
    """RMSProp (Hinton 2012), with eps inside the root, as in optax."""
    return optax.rmsprop(lr, decay, eps)


def lion(lr: Schedule, *, b1: Array, b2: Array, weight_decay: Array) -> Optimizer:
    """Lion (Chen et al. 2023, arXiv:2302.06675)."""
    return optax.lion(lr, b1, b2, weight_decay=weight_decay, mask=_weights)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "lion": lion,
}


def make_optimizer(
    optimizer: str,
    schedule: str,
    steps: int,
    optimizer_fields: dict[str, Array],
    schedule_fields: dict[str, Array],
) -> Optimizer:
    """The optimizer of one trial, from its names (static) and numbers (traced scalars)."""
    numbers = dict(optimizer_fields)
    lr = numbers.pop("lr")

    def rate(count: Array) -> Array:
        now, last = count.astype(lr.dtype), jnp.asarray(steps, lr.dtype)
        return lr * SCHEDULES[schedule](now, last, **schedule_fields)

    return OPTIMIZERS[optimizer](rate, **numbers)
