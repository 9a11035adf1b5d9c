"""Learning-rate schedules: functions of the step that return a factor on the learning rate.

`training/optimizers.py` multiplies the learning rate by the factor.

A schedule takes the step and the number of steps, floating scalars, and returns a floating scalar. Its
keyword-only parameters are its config fields, floating scalars that are traced. These schedules are written
here because optax's own refuse traced numbers; a test compares both.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array


def constant(step: Array, steps: Array) -> Array:
    """Return 1 at every step."""
    return jnp.ones_like(step)


def cosine(step: Array, steps: Array, *, final: Array) -> Array:
    """Return half a cosine from 1 to `final` (Loshchilov and Hutter 2017, arXiv:1608.03983)."""
    progress = jnp.clip(step / steps, 0.0, 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))


def warmup_cosine(step: Array, steps: Array, *, warmup_steps: Array, final: Array) -> Array:
    """Return a straight line from 0 to 1 over `warmup_steps`, then `cosine` over the steps left."""
    rise = step / jnp.maximum(warmup_steps, 1.0)
    fall = cosine(step - warmup_steps, jnp.maximum(steps - warmup_steps, 1.0), final=final)
    return jnp.where(step < warmup_steps, rise, fall)


def exponential(step: Array, steps: Array, *, decay_rate: Array, decay_steps: Array) -> Array:
    """Return `decay_rate ** (step / decay_steps)`."""
    return decay_rate ** (step / decay_steps)


def step(step: Array, steps: Array, *, decay_rate: Array, decay_steps: Array) -> Array:
    """Return `decay_rate ** floor(step / decay_steps)`."""
    # A GPU does not round division correctly, and 33 / 33 may fall just below 1.
    return decay_rate ** jnp.floor((step + 0.5) / decay_steps)


SCHEDULES: dict[str, Callable[..., Array]] = {
    function.__name__: function for function in (constant, cosine, warmup_cosine, exponential, step)
}
