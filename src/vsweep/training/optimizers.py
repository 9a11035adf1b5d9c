"""Optimizers from optax, to which the learning-rate schedule is applied, with every number traced.

A direction is an optimizer without its learning rate. Keyword-only parameters are the config fields, floating
scalars. Weight decay applies to weights only (arrays of two dimensions or more), not to biases; None is no
decay, and takes no time.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vsweep.tasks.task import fields
from vsweep.training.schedules import SCHEDULES

Optimizer: TypeAlias = optax.GradientTransformation


def _weights(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _decayed(weight_decay: Array | None) -> Optimizer:
    """Add `weight_decay` times the weights; to a gradient, that of half of their squares in the loss."""
    return optax.identity() if weight_decay is None else optax.add_decayed_weights(weight_decay, _weights)


def sgd(*, weight_decay: Array | None) -> Optimizer:
    """Return the direction of gradient descent."""
    return _decayed(weight_decay)


def momentum(*, momentum: Array, weight_decay: Array | None) -> Optimizer:
    """Return the direction of gradient descent with heavy-ball momentum (Polyak 1964)."""
    return optax.chain(_decayed(weight_decay), optax.trace(momentum))


def nesterov(*, momentum: Array, weight_decay: Array | None) -> Optimizer:
    """Return the direction of descent with Nesterov's momentum, in the form of Sutskever et al. 2013."""
    return optax.chain(_decayed(weight_decay), optax.trace(momentum, nesterov=True))


def adam(*, b1: Array, b2: Array, eps: Array) -> Optimizer:
    """Return the direction of Adam (Kingma and Ba 2015, arXiv:1412.6980)."""
    return optax.scale_by_adam(b1, b2, eps)


def adamw(*, b1: Array, b2: Array, eps: Array, weight_decay: Array | None) -> Optimizer:
    """Return Adam's direction with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    return optax.chain(optax.scale_by_adam(b1, b2, eps), _decayed(weight_decay))


def rmsprop(*, decay: Array, eps: Array) -> Optimizer:
    """Return the direction of RMSProp (Hinton 2012), with eps inside the root, as in optax."""
    return optax.scale_by_rms(decay, eps)


def lion(*, b1: Array, b2: Array, weight_decay: Array | None) -> Optimizer:
    """Return the direction of Lion (Chen et al. 2023, arXiv:2302.06675)."""
    return optax.chain(optax.scale_by_lion(b1, b2), _decayed(weight_decay))


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
        optimizer_fields: Floating scalars by name, traced; `lr` is the learning rate. Without `weight_decay`
            there is none.
        schedule_fields: Floating scalars by name, traced.
    """
    direction = OPTIMIZERS[optimizer]
    step_size = make_step_size(schedule, steps, optimizer_fields["lr"], schedule_fields)
    given = {"weight_decay": None, **optimizer_fields}
    numbers = {name: given[name] for name in fields(direction)}
    return optax.chain(direction(**numbers), optax.scale_by_schedule(step_size))


def make_step_size(
    schedule: str, steps: int, lr: Array, schedule_fields: Mapping[str, Array]
) -> Callable[[Array], Array]:
    """Return a function of the number of updates so far, an integer scalar: minus the next learning rate.

    See `make_optimizer` for the arguments.
    """
    # A compiler fuses an update with the product that computes a gradient if the sign is no part of it.
    minus_lr = -lr

    def step_size(count: Array) -> Array:
        step, last = count.astype(minus_lr.dtype), jnp.asarray(steps, minus_lr.dtype)
        return minus_lr * SCHEDULES[schedule](step, last, **schedule_fields)

    return step_size
