"""Data sets that are drawn by known formulas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from vsweep.tasks.data import jax_normal
from vsweep.tasks.data.dataset import Dataset

# The ends of the curve.
_LOW = -1.5
_HIGH = 3.5


def spirals(*, rows: int, arms: int, noise: float, seed: int) -> Dataset:
    """Draw points of the plane on `arms` interleaved spiral arms, one class each.

    Each arm makes three quarters of a turn from radius 0.1 to 1; normal noise of standard deviation
    `noise` is added to both coordinates.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % arms
    radius = rng.uniform(0.1, 1.0, rows)
    angle = 1.5 * np.pi * radius + 2.0 * np.pi * y / arms
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # `split` refuses values that are not finite, here and below.
    with np.errstate(over="ignore"):
        x += noise * rng.standard_normal(x.shape)
    return Dataset(x, y.astype(np.int64), tuple(f"arm {i}" for i in range(arms)), ("x0", "x1"))


def moons(*, rows: int, noise: float, seed: int) -> Dataset:
    """Draw two interleaved half circles with normal noise (scikit-learn's `make_moons`)."""
    from sklearn.datasets import make_moons

    x, y = make_moons(rows, noise=noise, random_state=seed)
    return Dataset(x, y.astype(np.int64), ("upper", "lower"), ("x0", "x1"))


def line(*, rows: int, slope: float, intercept: float, noise: float, seed: int) -> Dataset:
    """Draw points about the line `slope x + intercept`, in float32.

    x is standard normal, and the noise has the standard deviation `noise`. They equal, to 1e-5, the draws of
    `jax.random.normal` from the two keys that `jax.random.PRNGKey(seed)` is split into (threefry,
    partitionable).
    """
    for_x, for_noise = jax_normal.split(jax_normal.key(seed))
    x = jax_normal.normal(for_x, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        truth = np.asarray(slope).astype(np.float32) * x + np.asarray(intercept).astype(np.float32)
        y = truth + np.asarray(noise).astype(np.float32) * jax_normal.normal(for_noise, rows)
    exact = x[:, None].astype(np.float64)
    return Dataset(exact, y.astype(np.float64), (), ("x",), truth=truth.astype(np.float64))


def curve(*, rows: int, noise: float, seed: int, fresh: bool) -> Dataset:
    """Draw points about the curve `x^3 - 0.3 x^4 - 2 sin x`, x uniform on [-1.5, 3.5].

    Args:
        rows: The number of examples.
        noise: The standard deviation of the normal noise of y.
        seed: The seed of the draw.
        fresh: Whether each training step draws its own examples; the metrics are then computed on the rows.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(_LOW, _HIGH, rows)
    truth = _height(x, np.sin)
    with np.errstate(over="ignore"):
        y = truth + noise * rng.standard_normal(rows)
    return Dataset(x[:, None], y, (), ("x",), truth=truth, draw=DrawCurve(noise) if fresh else None)


@dataclass(frozen=True)
class DrawCurve:
    """A draw of fresh examples of `curve`; draws with one noise are equal, and share a compiled program."""

    noise: float

    def __call__(self, key: Array, size: int) -> tuple[Array, Array]:
        """Return x, float32 `(1, size)`, and y, float32 `(size,)`, independent of the settings of JAX."""
        with jax.threefry_partitionable(True):  # noqa: FBT003
            for_x, for_noise = random.split(key)
            x = random.uniform(for_x, (size,), jnp.float32, _LOW, _HIGH)
            noise = random.normal(for_noise, (size,), jnp.float32)
        return x[None, :], _height(x, jnp.sin) + self.noise * noise


def _height(x: Any, sin: Callable[[Any], Any]) -> Any:
    return x**3 - 0.3 * x**4 - 2.0 * sin(x)
