"""Compare a stored curve with that of the same trial, trained alone, and with the curve of its twin."""

from typing import NamedTuple

import numpy as np

from vsweep.metrics import is_share

# A trial is chaotic if the relative difference of its twin's curve from its own exceeds this.
_CHAOTIC = 0.01
# Curves are compared up to the record at which the twin's has left the trial's by this share.
_COMPARABLE = 0.1
# Accuracies may differ by this much: rounding can move an example across a class boundary.
_FLIPS = 0.1
# Below these shares of a curve's largest value, the values of a metric that can cancel, and of a loss, are
# only rounding errors.
_CANCELS = 1e-3
_VANISHES = 1e-6


class Retrained(NamedTuple):
    """The curve of a trial, as stored or as trained again.

    Attributes:
        metrics: Each floating `(records,)`.
        diverged_at: The step at which the trial diverged; -1 if it did not.
    """

    metrics: dict[str, np.ndarray]
    diverged_at: int


def difference(one: Retrained, other: Retrained) -> tuple[float, str]:
    """Return the largest difference of two curves, see `distances`, and the metric that has it."""
    largest = (0.0, "")
    for name, distance in distances(one, other).items():
        if distance.max(initial=0.0) > largest[0]:
            largest = float(distance.max()), name
    return largest


def distances(one: Retrained, other: Retrained) -> dict[str, np.ndarray]:
    """Return the relative difference of two curves at each record, float64 `(records,)` for each metric.

    It is `|a - b| / max(|a|, |b|)`, and `|a - b|` for accuracies. Records after the first value that is not
    finite in either curve do not count and are 0. The denominator is at least 1/1000 of the curve's largest
    value so far for a metric that can cancel (a gradient, a parameter, a function that passes 0), and a
    millionth of it for a loss: smaller values are only rounding errors.
    """
    relative = {}
    for name, values in one.metrics.items():
        a, b = values.astype(np.float64), other.metrics[name].astype(np.float64)
        finite = np.logical_and.accumulate(np.isfinite(a) & np.isfinite(b))
        a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
        scale = np.ones_like(a)
        if not is_share(name):
            scale = np.maximum(np.abs(a), np.abs(b))
            below = bool((np.minimum(a, b) < -_VANISHES * scale.max(initial=0.0)).any())
            cancels = name == "grad_norm" or name.startswith("param") or below
            # Only earlier values count, since a trial that diverges must not hide earlier differences.
            scale = np.maximum(scale, (_CANCELS if cancels else _VANISHES) * np.maximum.accumulate(scale))
        relative[name] = np.abs(a - b) / np.where(scale == 0.0, 1.0, scale)
    return relative


def is_chaotic(alone: Retrained, twin: Retrained) -> bool:
    """Return whether rounding decides the curve of a trial: its twin's differs by more than 1 %.

    Metrics that count examples do not decide: one example on the other side of a class boundary moves them
    by a step, and no loss.
    """
    return any((d > _CHAOTIC).any() for name, d in distances(alone, twin).items() if not is_share(name))


def at_precision_of(recorded: Retrained, curve: Retrained) -> Retrained:
    """Return a curve in float32 if the stored one has float32 numbers alone, and in float64 otherwise.

    Directories of earlier versions hold float32 numbers of float64 trainings.
    """
    with np.errstate(over="ignore"):
        narrow = {name: v.astype(np.float32) for name, v in recorded.metrics.items()}
        same = all(np.array_equal(v, narrow[name], equal_nan=True) for name, v in recorded.metrics.items())
        dtype = np.float32 if same else np.float64
        return curve._replace(metrics={name: v.astype(dtype) for name, v in curve.metrics.items()})


def is_wrong(recorded: Retrained, alone: Retrained, twin: Retrained, unit: float) -> bool:
    """Return whether a stored curve is off by far more than rounding moves it, which the twin shows.

    At each record the stored curve has to agree with that of the trial alone to half as many digits as the
    twin's has agreed so far. Records after the twin's curve has left the trial's do not count.

    Args:
        recorded: The stored curve.
        alone: The curve of the trial, trained alone.
        twin: The curve of its twin.
        unit: The unit in the last place of 1 in the dtype of the products.
    """
    alone, twin = (at_precision_of(recorded, curve) for curve in (alone, twin))
    off, twin_off = distances(recorded, alone), distances(alone, twin)
    # Metrics that count examples do not show it, as in `is_chaotic`.
    smooth = [twin_off[name] for name in twin_off if not is_share(name)]
    units = [float(np.finfo(values.dtype).eps) for values in alone.metrics.values()]
    rounding = np.maximum.accumulate(np.max(smooth, axis=0)).clip(max(unit, *units))
    comparable, allowed = rounding <= _COMPARABLE, np.sqrt(rounding)
    for name, distance in off.items():
        bound = np.maximum(allowed, _FLIPS) if is_share(name) else allowed
        finite, *expected = (np.isfinite(curve.metrics[name]) for curve in (recorded, alone, twin))
        lost = (finite != expected[0]) & (expected[0] == expected[1])
        if (comparable & ((distance > bound) | lost)).any():
            return True
    diverged = [curve.diverged_at >= 0 for curve in (recorded, alone, twin)]
    return bool(comparable.all()) and diverged[0] != diverged[1] == diverged[2]
