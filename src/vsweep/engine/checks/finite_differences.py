"""Derivatives by central differences, each with what rounding and curvature leave in doubt of it.

A central difference of step h is off by `h² f'''/6`, and by the rounding of f divided by h. With f known to
eps of itself, `h = eps^(1/3)` makes the two about equal, at `eps^(2/3)` of f: 4e-11 in float64. Both are
estimated, not trusted: the first by how far the difference of step 2h is from that of step h, and the one to
the left from the one to the right; the second by how rough f is found to be, which is more than float64's
rounding where a function computes in less. Where they disagree (a kink lies near, or f bends sharply) smaller
steps are tried, and the one that leaves least in doubt is taken. The gradient that is to be checked has no
part in that choice.
"""

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np

# `(at, by) -> values`: the function with one scalar moved, `at` int64 and `by` float64 `(n,)`, for each.
Moved = Callable[[np.ndarray, np.ndarray], np.ndarray]

_EPS = float(np.finfo(np.float64).eps)
# Of the scalar's absolute value, or of 1: the largest step is 1e-2 where a function is as rough as that.
_ROUGHEST, _LEAST_STEP = 1e-6, 5e-9
# Standard deviations of the rounding, in which a difference of two values may be off.
_WIDE = 10.0
# Roughness is seen in differences of these orders between so many points of so many scalars, this far apart:
# so near that curvature is not seen, or further, where they are too near for anything to be seen.
_ORDERS, _POINTS, _FEW, _APART = (3, 4, 5, 6), 16, 8, (1e-7, 1e-5, 1e-3)


class Differences(NamedTuple):
    """Of each scalar, float64 `(scalars,)`.

    central: the derivative. doubt: how far it may be off; infinite where no difference is finite. On a kink
    these are the middle, and half the distance, of the derivatives from either side.
    """

    central: np.ndarray
    doubt: np.ndarray


def differences(moved: Moved, start: np.ndarray, at: np.ndarray) -> Differences:
    """The derivative by each of some scalars.

    moved: of the function. start: float64 `(n,)`, where the derivatives are taken. at: int64 `(scalars,)`,
    places in `start`.
    """
    size = np.maximum(1.0, np.abs(start[at]))
    here, near = _roughness(moved, start, at)
    relative = min(_ROUGHEST, max(_EPS, near / here if here > 0.0 else 0.0))
    first = relative ** (1.0 / 3.0)
    value = float(moved(at[:1], np.zeros(1))[0])
    found = Differences(np.full(len(at), np.nan), np.full(len(at), np.inf))
    left, rounding = np.arange(len(at)), near
    for shrink in 0.1 ** np.arange(np.ceil(np.log10(first / _LEAST_STEP))):
        step = shrink * first * size[left]
        by, values = _around(moved, start, at[left], step, value)
        if 2 * len(left) > len(at):
            # What computes in float32 is rougher from step to step than between nearest points.
            rounding = max(near, _seen(values, 4)[1]) if len(left) >= _FEW else near
        made = _of_step(by, values, step, rounding)
        better = made.doubt < found.doubt[left]
        for kept, new in zip(found, made, strict=True):
            kept[left[better]] = new[better]
        # The next step's rounding alone is ten times this one's.
        left = left[~(made.doubt <= 10.0 * _WIDE * rounding / step)]
        if not len(left):
            break
    return found


def _roughness(moved: Moved, start: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """The largest absolute value near the start, and the standard deviation of its rounding.

    High differences of a smooth function at near points are of its rounding alone (Hamming's table), the more
    so the higher; one kink shows in some of them, and the median does not mind it.
    """
    some = at[:: -(-len(at) // _FEW)]
    size = np.maximum(1.0, np.abs(start[some]))[:, None]
    largest, few = 0.0, 0.0
    for apart in _APART:
        by = np.arange(_POINTS) * apart * size
        values = moved(np.repeat(some, _POINTS), by.ravel()).reshape(-1, _POINTS)
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=largest))
        most, few = (min(one) for one in zip(*(_seen(values, order) for order in _ORDERS), strict=True))
        if most > 0.0:
            return largest, max(_EPS * largest, most)
    return largest, max(_EPS * largest, few)


def _seen(values: np.ndarray, order: int) -> tuple[float, float]:
    """The standard deviation of normal rounding that has such differences, and that has those that are not 0.

    What computes in float32 gives the same value at many of the points.
    """
    values = values[np.isfinite(values).all(axis=1)]
    made = np.abs(np.diff(values, order, axis=1))
    # A scalar that moves nothing shows no rounding.
    made = made[(made > 0.0).any(axis=1)]
    if not made.size:
        return 0.0, 0.0
    of_one = 0.6745 * comb(2 * order, order) ** 0.5
    return float(np.median(made)) / of_one, float(np.median(made[made > 0.0])) / of_one


def _around(
    moved: Moved, start: np.ndarray, at: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far each scalar is really moved, from two steps below to two above, and the values there.

    step: float64 `(scalars,)`. value: at the start. Returns float64 `(scalars, 5)` twice.
    """
    aims = np.asarray([-2.0, -1.0, 1.0, 2.0]) * step[:, None]
    by = (start[at][:, None] + aims) - start[at][:, None]
    values = moved(np.repeat(at, 4), by.ravel()).reshape(-1, 4)
    return np.insert(by, 2, 0.0, axis=1), np.insert(values, 2, value, axis=1)


def _of_step(by: np.ndarray, values: np.ndarray, step: np.ndarray, rounding: float) -> Differences:
    """The differences of one step, of what `_around` gives."""
    with np.errstate(invalid="ignore", over="ignore"):
        central = (values[:, 3] - values[:, 1]) / (by[:, 3] - by[:, 1])
        wide = (values[:, 4] - values[:, 0]) / (by[:, 4] - by[:, 0])
        below = values[:, :3] @ np.asarray([1.0, -4.0, 3.0]) / (2.0 * step)
        above = values[:, 2:] @ np.asarray([-3.0, 4.0, -1.0]) / (2.0 * step)
        doubt = np.abs(central - wide) + np.abs(above - below) / 2.0 + _WIDE * rounding / step
    return Differences(central, np.where(np.isfinite(doubt), doubt, np.inf))
