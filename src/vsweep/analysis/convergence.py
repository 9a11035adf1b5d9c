"""Compute the data behind curves: bands over seeds, and the steps to reach a target."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import rows_of
from vsweep.analysis.downsample import downsample
from vsweep.analysis.labels import cell_label, format_value
from vsweep.analysis.ranking import check_axis, rank_cells, varied_axes
from vsweep.analysis.seed_spread import finite_curves
from vsweep.metrics import higher_is_better


def downsample_steps(curves: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return curves at no more than `most` of their steps, denser at the start, both ends included."""
    steps = np.unique(curves["step"].to_numpy())
    return curves[curves["step"].isin(steps[downsample(len(steps), (), most)])]


class CurveLine(NamedTuple):
    """A cell's curve over its seeds.

    Attributes:
        cell: The cell's number.
        name: Its name in the legend.
        diverged: The number of its seeds that diverged.
        seeds: The number of its seeds.
        band: `low`, `median` and `high` by `step`; no rows where the metric is nowhere finite.
    """

    cell: int
    name: str
    diverged: int
    seeds: int
    band: pd.DataFrame


class Curves(NamedTuple):
    """Curves of a metric.

    Attributes:
        metric: The metric.
        by: The axis whose values name the lines; empty where the cells do.
        values: The value of each line, or its place where the cells name the lines.
        lines: The curves.
    """

    metric: str
    by: str
    values: list[Any]
    lines: list[CurveLine]


def curves_by(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, by: str) -> Curves:
    """Return a curve for each value of an axis, that of the best cell with the value.

    Args:
        trials: The table of trials.
        curves: The curves of these cells at least.
        metric: The metric to show, which chooses the best cells too.
        by: The axis, by its dotted path.

    Raises:
        KeyError: If there is no such axis or metric.
    """
    best = best_cells(trials, metric, by)
    names = [
        format_value(value) + (f" ({diverged}/{seeds} diverge)" if diverged else "")
        for value, diverged, seeds in zip(best[by], best["diverged"], best["seeds"], strict=True)
    ]
    lines = _lines(trials, curves, metric, best["cell"].tolist(), names)
    return Curves(metric, by, best[by].tolist(), lines)


def best_cells(trials: pd.DataFrame, metric: str | None, by: str) -> pd.DataFrame:
    """Return the best cell for each value of an axis, in their order; raise as `curves_by` does."""
    cells = rank_cells(trials, metric)
    check_axis(trials, by)
    return cells.dropna(subset=[by]).drop_duplicates(by).sort_values(by, kind="stable")


def curves_of(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, cells: Sequence[int]) -> Curves:
    """Return the curves of some cells, by their numbers."""
    names = cell_names(trials, cells)
    return Curves(metric, "", list(range(len(cells))), _lines(trials, curves, metric, cells, names))


def cell_names(trials: pd.DataFrame, cells: Sequence[int]) -> list[str]:
    """Return a name for each of some cells, by the axes that vary."""
    axes = varied_axes(trials)
    rows = {row["cell"]: row for row in rows_of(trials[trials["cell"].isin(cells)].drop_duplicates("cell"))}
    return [cell_label(rows[cell], axes) or "the one cell" for cell in cells]


def _lines(
    trials: pd.DataFrame, curves: pd.DataFrame, metric: str, cells: Sequence[int], names: Sequence[str]
) -> list[CurveLine]:
    trials = trials[trials["cell"].isin(cells)]
    bands = dict(list(quartile_bands(trials, curves, metric).groupby("cell")))
    diverged = (trials["status"] == "diverged").groupby(trials["cell"])
    counts = {cell: (int(lost.sum()), len(lost)) for cell, lost in diverged}
    empty = pd.DataFrame({"low": [], "median": [], "high": []}, dtype=np.float64)
    return [
        CurveLine(cell, name, *counts[cell], bands[cell].droplevel("cell") if cell in bands else empty)
        for cell, name in zip(cells, names, strict=True)
    ]


def quartile_bands(trials: pd.DataFrame, curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the median of a metric over the seeds of each cell, and `low` and `high`, the quartiles.

    Diverged seeds are left out, except in a cell whose seeds all diverged, and so are values that are not
    finite.

    Returns:
        `low`, `median` and `high`, float64, by `cell` and `step`.
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
        imperfect = values[(values < 1.0) & (values > start)]
        distance = 1.0 - (best if best < 1.0 else float(imperfect.max(initial=(1.0 + start) / 2.0)))
        goals = 1.0 - np.geomspace(1.0 - start, distance, count)
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
