"""Compute the data behind curves: bands over seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import rows_of
from vsweep.analysis.downsample import downsample
from vsweep.analysis.labels import cell_label, format_value
from vsweep.analysis.ranking import check_axis, rank_cells, varied_axes
from vsweep.analysis.seed_spread import finite_curves


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
    members = trials[trials["cell"].isin(cells)]
    bands, values, lines = quartile_bands(members, curves, metric), [], []
    for place, (cell, name) in enumerate(zip(cells, cell_names(trials, cells), strict=True)):
        rows = members[members["cell"] == cell]
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
