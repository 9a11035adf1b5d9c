"""Compute the data behind curves: bands and means over seeds, at as many steps as a chart needs."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import cell_label, format_value
from vsweep.analysis.ranking import check_axis, check_comparable, rank_cells, varied_axes


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
        KeyError: If there is no such axis or metric, or cells that cannot be compared would be.
    """
    cells = best_cells(trials, metric, by)["cell"].tolist()
    return curves_of(trials, curves, metric, cells, by)


def best_cells(trials: pd.DataFrame, metric: str, by: str) -> pd.DataFrame:
    """Return the best cell for each value of an axis, in their order; raise as `curves_by` does."""
    check_axis(trials, by)
    check_comparable(trials, metric, by)
    cells = rank_cells(trials, metric)
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


def downsample(rows: int, keep: Iterable[int], most: int) -> np.ndarray:
    """Choose at most `most` rows of a curve, denser at the start, where curves change fastest.

    Args:
        rows: Number of rows of the curve.
        keep: Rows to include besides the first and the last; if they exceed `most`, the first ones.
        most: The largest number of rows, at least 2.

    Returns:
        Int64 `(chosen,)`, ascending row indices, evenly spaced in their logarithm apart from `keep`.
    """
    if rows <= most:
        return np.arange(rows)
    ends = (0, rows - 1)
    required = [row for row in dict.fromkeys(keep) if row not in ends][: most - len(ends)]
    return np.unique([*_log_spaced_rows(rows, most - len(required)), *required])


@cache
def _log_spaced_rows(rows: int, most: int) -> tuple[int, ...]:
    """Return nearly `most` rows; since early ones coincide when rounded, more points are tried."""
    chosen, points = _rounded(rows, most), most
    while len(more := _rounded(rows, points + max(1, points // 50))) <= most:
        chosen, points = more, points + max(1, points // 50)
    return tuple(chosen.tolist())


def _rounded(rows: int, points: int) -> np.ndarray:
    return np.unique(np.geomspace(1, rows, points).round().astype(np.int64) - 1)


# The statistics of a metric over seeds, by the suffix of their names.
_SPREAD = {"": "mean", "_std": "std", "_min": "min", "_max": "max"}


def finite_curves(trials: pd.DataFrame, curves: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the curves that represent each cell, with their `cell`; values that are not finite are NaN.

    These are the curves of the seeds that did not diverge, or of all seeds if all diverged. Metrics are
    float64.
    """
    diverged = trials["status"] == "diverged"
    all_diverged = diverged.groupby(trials["cell"]).transform("all")
    cells = trials.loc[~diverged | all_diverged, ["trial", "cell"]]
    part = curves[["trial", "step", *metrics]].merge(cells, on="trial")
    part[metrics] = part[metrics].astype(np.float64).replace([np.inf, -np.inf], np.nan)
    return part


def aggregate_seeds(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Aggregate curves over seeds, indexed by `cell` and `step`.

    Only seeds that did not diverge count; if all seeds of a cell diverged, all count as long as their values
    are finite.

    Returns:
        For each metric its mean, under the metric's name, and columns with the suffixes `_std` (n - 1; NaN
        for one seed), `_min` and `_max`; `count`, the number of seeds that count; `diverged`, the number of
        seeds that had diverged by that step.
    """
    metrics = [name for name in curves.columns if name not in ("trial", "step")]
    grouped = finite_curves(trials, curves, metrics).groupby(["cell", "step"])
    table = grouped[metrics].agg(list(_SPREAD.values()))
    table.columns = pd.Index([f"{metric}{suffix}" for metric in metrics for suffix in _SPREAD])
    table["count"] = grouped.size()
    diverged = trials[trials["status"] == "diverged"].astype({"diverged_at": np.int64})
    counts = diverged.groupby(["cell", "diverged_at"]).size().rename_axis(["cell", "step"])
    counts = counts.reindex(table.index.union(counts.index), fill_value=0).groupby("cell").cumsum()
    table["diverged"] = counts.reindex(table.index)
    return table


def cell_summary(trials: pd.DataFrame) -> dict[str, Any]:
    """Aggregate the numbers of a cell's rows of the table of trials over the seeds that did not diverge."""
    ok = trials[trials["status"] == "ok"]
    diverged = len(trials) - len(ok)
    summary: dict[str, Any] = {
        "seeds": len(trials),
        "diverged": diverged,
        "status": "ok" if len(ok) else "diverged",
        "diverged_at": trials["diverged_at"].min() if diverged else None,
    }
    for name in trials.columns[list(trials.columns).index("diverged_at") + 1 :]:
        if pd.api.types.is_numeric_dtype(trials[name]):
            values = ok[name].astype(np.float64).agg(list(_SPREAD.values()))
            summary |= {f"{name}{suffix}": value for suffix, value in zip(_SPREAD, values, strict=True)}
    return summary
