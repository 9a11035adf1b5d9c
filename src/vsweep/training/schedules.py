"""Learning-rate schedules: functions of the step that give a factor on the learning rate."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

# A schedule takes (step, steps), floating scalars, and gives the factor on the learning rate. They
# are written out here since optax's own refuse traced numbers; a test holds them against optax's.


def constant(step: Array, steps: Array) -> Array:
    """1 throughout."""
    return jnp.ones_like(step)


def cosine(step: Array, steps: Array, *, final: Array) -> Array:
    """Half a cosine from 1 to `final` over all steps (Loshchilov and Hutter 2017, arXiv:1608.03983)."""
    share = jnp.clip(step / steps, 0.0, 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * share))


def warmup_cosine(step: Array, steps: Array, *, warmup_steps: Array, final: Array) -> Array:
    """A straight line from 0 to 1 over `warmup_steps`, then `cosine` over the steps left."""
    rise = step / jnp.maximum(warmup_steps, 1.0)
    fall = cosine(step - warmup_steps, jnp.maximum(steps - warmup_steps, 1.0), final=final)
    return jnp.where(step < warmup_steps, rise, fall)


def exponential(step: Array, steps: Array, *, decay_rate: Array, decay_steps: Array) -> Array:
    """`decay_rate ** (step / decay_steps)`."""
    return decay_rate ** (step / decay_steps)


def step(step: Array, steps: Array, *, decay_rate: Array, decay_steps: Array) -> Array:
    """`decay_rate ** floor(step / decay_steps)`."""
    # Where division is not rounded correctly, as on a GPU, 33 / 33 may fall just below 1.
    return decay_rate ** jnp.floor((step + 0.5) / decay_steps)


SCHEDULES: dict[str, Callable[..., Array]] = {
    "constant": constant,
    "cosine": cosine,
    "warmup_cosine": warmup_cosine,
    "exponential": exponential,
    "step": step,
}
