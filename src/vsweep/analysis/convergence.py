"""Measure convergence: bands over seeds, and the number of steps to reach a target."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vsweep.analysis.downsample import downsample
from vsweep.analysis.seed_spread import finite_curves
from vsweep.metrics import higher_is_better


def downsample_steps(curves: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return curves at no more than `most` of their steps, denser at the start, both ends included."""
    steps = np.unique(curves["step"].to_numpy())
    return curves[curves["step"].isin(steps[downsample(len(steps), (), most)])]


def quartile_bands(trials: pd.DataFrame, curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compute the quartiles of a metric over each cell's seeds, indexed by `cell` and `step`.

    Only seeds that did not diverge count; if all seeds of a cell diverged, all count as long as their values
    are finite.

    Returns:
        Columns `low` (25 %), `median` and `high` (75 %).
    """
    grouped = finite_curves(trials, curves, [metric]).dropna().groupby(["cell", "step"])[metric]
    quantiles = {"low": 0.25, "median": 0.5, "high": 0.75}
    return pd.DataFrame({name: grouped.quantile(quantile) for name, quantile in quantiles.items()})


def target_values(curves: pd.DataFrame, metric: str, count: int = 40) -> np.ndarray:
    """Choose values of a metric that are worth reaching, the easiest first.

    They range from the median at the first step to the best value of all. A positive loss, and the distance
    of an accuracy from 1, are spaced logarithmically, because the last part of the way is the hardest.

    Returns:
        Float64 `(count,)`; `(0,)` if there is no range.
    """
    values = curves[metric].to_numpy(np.float64)
    values = values[np.isfinite(values)]
    first = curves.loc[curves["step"] == curves["step"].min(), metric].astype(np.float64)
    start = float(first[np.isfinite(first)].median())
    if not len(values) or np.isnan(start):
        return np.empty(0)
    best = float(values.max() if higher_is_better(metric) else values.min())
    if start == best:
        return np.empty(0)
    if not higher_is_better(metric) and min(start, best) > 0:
        return np.geomspace(start, best, count)
    if higher_is_better(metric) and best <= 1.0:
        # A logarithm needs a distance for an accuracy of 1: that of the best accuracy below 1, or half of
        # the start's.
        below = values[(values < 1.0) & (values > start)]
        left = 1.0 - (best if best < 1.0 else float(below.max(initial=(1.0 + start) / 2.0)))
        goals = 1.0 - np.geomspace(1.0 - start, left, count)
        goals[-1] = best
        return goals
    return np.linspace(start, best, count)


def steps_to_targets(curves: pd.DataFrame, metric: str, goals: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """Find the first recorded step at which each trial reached each target.

    Args:
        curves: Curves sorted by trial and step.
        metric: Name of the metric.
        goals: Targets.

    Returns:
        A row per trial and a column per target, float64; infinite where the target was not reached.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    wide = curves.pivot(index="trial", columns="step", values=metric)
    values = sign * wide.to_numpy(np.float64)
    so_far = np.fmax.accumulate(np.where(np.isfinite(values), values, -np.inf), axis=1)
    steps = np.append(wide.columns.to_numpy(np.float64), np.inf)
    columns = [steps[(so_far < sign * goal).sum(axis=1)] for goal in goals]
    return pd.DataFrame(np.stack(columns, axis=1) if columns else None, wide.index, list(goals))


def median_steps(values: pd.DataFrame, cells: pd.Series) -> pd.DataFrame:
    """Take the median of `steps_to_targets` over the seeds of each cell.

    Args:
        values: Steps as `steps_to_targets` returns them.
        cells: The cell of each trial, indexed by the trial's number.

    Returns:
        A row per cell; infinite where fewer than half of the seeds reached the target. For an even number of
        seeds it is the smaller of the middle two.
    """
    cell = cells.reindex(values.index).to_numpy()
    return values.groupby(cell).quantile(0.5, interpolation="lower")
