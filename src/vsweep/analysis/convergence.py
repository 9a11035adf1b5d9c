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
        band: `low`, `median` and `high` by `step`; no rows where the metric is nowhere finite.
        diverged: Whether all its seeds diverged.
    """

    cell: int
    name: str
    band: pd.DataFrame
    diverged: bool


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
    cells = best_cells(trials, metric, by)["cell"].tolist()
    return curves_of(trials, curves, metric, cells, by)


def best_cells(trials: pd.DataFrame, metric: str | None, by: str) -> pd.DataFrame:
    """Return the best cell for each value of an axis, in their order; raise as `curves_by` does."""
    cells = rank_cells(trials, metric)
    check_axis(trials, by)
    return cells.dropna(subset=[by]).drop_duplicates(by).sort_values(by, kind="stable")


def curves_of(
    trials: pd.DataFrame, curves: pd.DataFrame, metric: str, cells: Sequence[int], by: str = ""
) -> Curves:
    """Return the curves of some cells, by their numbers, named by an axis or else by all that vary."""
    own = trials[trials["cell"].isin(cells)]
    bands, values, lines = quartile_bands(own, curves, metric), [], []
    for place, (cell, name) in enumerate(zip(cells, cell_names(trials, cells), strict=True)):
        rows = own[own["cell"] == cell]
        diverged = int((rows["status"] == "diverged").sum())
        if by:
            name = format_value(rows[by].iloc[0]) + (f" ({diverged}/{len(rows)} diverge)" if diverged else "")
        values.append(rows[by].iloc[0] if by else place)
        band = bands[bands.index.get_level_values("cell") == cell].droplevel("cell")
        lines.append(CurveLine(cell, name, band, diverged == len(rows)))
    return Curves(metric, by, values, lines)


def cell_names(trials: pd.DataFrame, cells: Sequence[int]) -> list[str]:
    """Return a name for each of some cells, by the axes that vary."""
    axes = varied_axes(trials)
    rows = {row["cell"]: row for row in rows_of(trials[trials["cell"].isin(cells)].drop_duplicates("cell"))}
    return [cell_label(rows[cell], axes) or "the one cell" for cell in cells]


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
    higher = higher_is_better(metric)
    # The distance of an accuracy from 1 falls as a loss does.
    losses = 1.0 - curves[metric].astype(np.float64) if higher else curves[metric].astype(np.float64)
    losses = losses.where(np.isfinite(losses))
    start, best = losses[curves["step"] == curves["step"].min()].median(), losses.min()
    if not start > best:
        return np.empty(0)
    goals = np.linspace(start, best, count)
    if best > 0 or higher:
        # A logarithm needs a distance for an accuracy of 1: the least other one, or half of the start's.
        last = losses[(losses > 0) & (losses < start)].min() if best <= 0 else best
        goals = np.geomspace(start, start / 2.0 if np.isnan(last) else last, count)
        goals[-1] = best
    return 1.0 - goals if higher else goals


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
