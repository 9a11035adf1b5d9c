"""How trials got to where they are: bands over seeds, and the steps that a target takes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vsweep.analysis.downsample import downsample
from vsweep.metrics import higher_is_better


def downsample_steps(curves: pd.DataFrame, most: int) -> pd.DataFrame:
    """Curves at no more than so many of their steps, spread over the step's logarithm, both ends kept."""
    steps = np.unique(curves["step"].to_numpy())
    return curves[curves["step"].isin(steps[downsample(len(steps), (), most)])]


def quartile_bands(trials: pd.DataFrame, curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Of each cell, by `cell` and `step`, the median over its seeds, and `low` and `high`, the quartiles.

    They are of the seeds that did not diverge; where all did, of them all, as far as they are finite.
    """
    lost = trials["status"] == "diverged"
    every = lost.groupby(trials["cell"]).transform("all")
    kept = curves[["trial", "step", metric]].merge(trials.loc[~lost | every, ["trial", "cell"]], on="trial")
    kept[metric] = kept[metric].astype(np.float64).replace([np.inf, -np.inf], np.nan)
    grouped = kept.dropna().groupby(["cell", "step"])[metric]
    shares = {"low": 0.25, "median": 0.5, "high": 0.75}
    return pd.DataFrame({name: grouped.quantile(share) for name, share in shares.items()})


def target_values(curves: pd.DataFrame, metric: str, count: int = 40) -> np.ndarray:
    """Values of a metric worth reaching, the easiest first: float64 `(count,)`, or none.

    From the median at the first step to the best of all: of a loss that stays above 0, and of how far an
    accuracy is from 1, evenly by the logarithm, since what is near the end is hard to reach.
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
        # An accuracy of 1 is as far off as the last one between, or half of the way.
        between = values[(values < 1.0) & (values > start)]
        left = 1.0 - (best if best < 1.0 else float(between.max(initial=(1.0 + start) / 2.0)))
        goals = 1.0 - np.geomspace(1.0 - start, left, count)
        goals[-1] = best
        return goals
    return np.linspace(start, best, count)


def steps_to_targets(curves: pd.DataFrame, metric: str, goals: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """The first recorded step at which each trial has reached each target; infinite where it never did.

    curves: by trial and step. Returns a row per trial, a column per target, float64.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    wide = curves.pivot(index="trial", columns="step", values=metric)
    values = sign * wide.to_numpy(np.float64)
    so_far = np.fmax.accumulate(np.where(np.isfinite(values), values, -np.inf), axis=1)
    steps = np.append(wide.columns.to_numpy(np.float64), np.inf)
    found = [steps[(so_far < sign * goal).sum(axis=1)] for goal in goals]
    return pd.DataFrame(np.stack(found, axis=1) if found else None, index=wide.index, columns=list(goals))


def median_steps(values: pd.DataFrame, cells: pd.Series) -> pd.DataFrame:
    """The median over seeds of `steps_to_targets`, by cell; infinite where fewer than half of the seeds did.

    cells: of each trial, by its number. Of an even number of seeds the earlier of the middle two.
    """
    of = cells.reindex(values.index)
    return values.groupby(of.to_numpy()).quantile(0.5, interpolation="lower")
