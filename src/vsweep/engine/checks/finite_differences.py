"""Compute derivatives by central differences, each with a bound on its error by rounding and curvature.

A central difference of step h has an error of `h² f'''/6`, and the rounding of f divided by h. If f has a
relative rounding of eps, `h = eps^(1/3)` makes the two about equal, at `eps^(2/3)` of f: 4e-11 in float64.
Both errors are estimated. The first is the distance between the differences of steps 2h and h, and between
those to the left and to the right. The second is the measured roughness of f, which exceeds float64's
rounding if the function computes in a lower precision. Near a kink or a sharp bend smaller steps are tried,
and the step of least error is taken. The gradient that is checked plays no part in that choice.
"""

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np

# `(indices, moves) -> values`, all `(n,)`: the function with one scalar (int64) moved by a number (float64).
Moved = Callable[[np.ndarray, np.ndarray], np.ndarray]

_EPS = float(np.finfo(np.float64).eps)
# A roughness, relative to the function's values, above this counts as this; the largest step is then 1e-2.
_MAX_ROUGHNESS = 1e-6
# The smallest step, relative to the scalar's absolute value or to 1.
_MIN_STEP = 5e-9
# The error of a difference of two values is at most this many standard deviations of the rounding.
_DEVIATIONS = 10.0
# Roughness is measured in differences of these orders.
_ORDERS = (3, 4, 5, 6)
# The number of points along a scalar at which roughness is measured.
_POINTS = 16
# The number of scalars along which roughness is measured.
_SCALARS = 8
# The spacings of these points; with a good one, the values change but curvature does not show.
_SPACINGS = (1e-7, 1e-5, 1e-3)


class Differences(NamedTuple):
    """The derivatives by some scalars.

    Attributes:
        central: Float64 `(scalars,)`, the derivatives; on a kink, the mean of the two one-sided ones.
        doubt: Float64 `(scalars,)`, bounds on their errors; on a kink, half the distance of the one-sided
            derivatives; infinite where no difference is finite.
    """

    central: np.ndarray
    doubt: np.ndarray


def differences(moved: Moved, start: np.ndarray, indices: np.ndarray) -> Differences:
    """Compute the derivatives by some scalars.

    Args:
        moved: The function.
        start: Float64 `(n,)`, where the derivatives are taken.
        indices: Int64 `(scalars,)`, places in `start`.
    """
    size = np.maximum(1.0, np.abs(start[indices]))
    largest, rough = _roughness(moved, start, indices)
    relative = min(_MAX_ROUGHNESS, max(_EPS, rough / largest if largest > 0.0 else 0.0))
    first = relative ** (1.0 / 3.0)
    value = float(moved(indices[:1], np.zeros(1))[0])
    best = Differences(np.full(len(indices), np.nan), np.full(len(indices), np.inf))
    remaining, rounding = np.arange(len(indices)), rough
    for shrink in 0.1 ** np.arange(np.ceil(np.log10(first / _MIN_STEP))):
        step = shrink * first * size[remaining]
        moves, values = _evaluate_around(moved, start, indices[remaining], step, value)
        if 2 * len(remaining) > len(indices):
            # A function that computes in float32 is rougher across steps than between neighboring points.
            rounding = max(rough, _rounding_sizes(values, 4)[1]) if len(remaining) >= _SCALARS else rough
        new = _step_differences(moves, values, step, rounding)
        better = new.doubt < best.doubt[remaining]
        for best_values, new_values in zip(best, new, strict=True):
            best_values[remaining[better]] = new_values[better]
        # The next step is a tenth of this one, and its rounding ten times as large.
        remaining = remaining[~(new.doubt <= 10.0 * _DEVIATIONS * rounding / step)]
        if not len(remaining):
            break
    return best


def _roughness(moved: Moved, start: np.ndarray, indices: np.ndarray) -> tuple[float, float]:
    """Return the largest absolute value near the start, and the standard deviation of its rounding.

    High-order differences of a smooth function at near points contain only its rounding (Hamming's table). A
    kink shows in few of them, and does not move the median.
    """
    sample = indices[:: -(-len(indices) // _SCALARS)]
    size = np.maximum(1.0, np.abs(start[sample]))[:, None]
    largest, rough = 0.0, 0.0
    for spacing in _SPACINGS:
        moves = np.arange(_POINTS) * spacing * size
        values = moved(np.repeat(sample, _POINTS), moves.ravel()).reshape(-1, _POINTS)
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=largest))
        everywhere, rough = (
            min(sizes) for sizes in zip(*(_rounding_sizes(values, order) for order in _ORDERS), strict=True)
        )
        if everywhere > 0.0:
            return largest, max(_EPS * largest, everywhere)
    return largest, max(_EPS * largest, rough)


def _rounding_sizes(values: np.ndarray, order: int) -> tuple[float, float]:
    """Return the standard deviations of normal rounding with such differences, and with the nonzero ones.

    The second matters for functions that compute in float32: they are constant between many of the points.
    """
    values = values[np.isfinite(values).all(axis=1)]
    sizes = np.abs(np.diff(values, order, axis=1))
    # A scalar that has no effect shows no rounding.
    sizes = sizes[(sizes > 0.0).any(axis=1)]
    if not sizes.size:
        return 0.0, 0.0
    # The median size of such a difference of values with a standard deviation of 1.
    unit = 0.6745 * comb(2 * order, order) ** 0.5
    return float(np.median(sizes)) / unit, float(np.median(sizes[sizes > 0.0])) / unit


def _evaluate_around(
    moved: Moved, start: np.ndarray, indices: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate the function from two steps below to two above each scalar.

    Args:
        moved: The function.
        start: Float64 `(n,)`.
        indices: Int64 `(scalars,)`, places in `start`.
        step: Float64 `(scalars,)`.
        value: The value of the function at the start.

    Returns:
        The distances after rounding, and the values there, each float64 `(scalars, 5)`.
    """
    aims = np.asarray([-2.0, -1.0, 1.0, 2.0]) * step[:, None]
    moves = (start[indices][:, None] + aims) - start[indices][:, None]
    values = moved(np.repeat(indices, 4), moves.ravel()).reshape(-1, 4)
    return np.insert(moves, 2, 0.0, axis=1), np.insert(values, 2, value, axis=1)


def _step_differences(
    moves: np.ndarray, values: np.ndarray, step: np.ndarray, rounding: float
) -> Differences:
    """Compute the differences of one step from the results of `_evaluate_around`."""
    with np.errstate(invalid="ignore", over="ignore"):
        central = (values[:, 3] - values[:, 1]) / (moves[:, 3] - moves[:, 1])
        wide = (values[:, 4] - values[:, 0]) / (moves[:, 4] - moves[:, 0])
        below = values[:, :3] @ np.asarray([1.0, -4.0, 3.0]) / (2.0 * step)
        above = values[:, 2:] @ np.asarray([-3.0, 4.0, -1.0]) / (2.0 * step)
        doubt = np.abs(central - wide) + np.abs(above - below) / 2.0 + _DEVIATIONS * rounding / step
    return Differences(central, np.where(np.isfinite(doubt), doubt, np.inf))
