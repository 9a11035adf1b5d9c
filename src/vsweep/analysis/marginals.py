"""Summarize a metric over the values of one axis or two, for all values of the other axes."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import MOST_VALUES
from vsweep.analysis.ranking import check_axis, check_comparable
from vsweep.metrics import final_values, higher_is_better

_QUANTILES = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}


def effects(trials: pd.DataFrame, cells: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """Summarize a metric for each value of an axis.

    Args:
        trials: The table of trials.
        cells: Cells as `rank_cells` ranks them by this metric.
        axis: Dotted path of the axis.
        metric: The metric whose final values are summarized.

    Returns:
        A row per value, sorted, trials that lack the axis last. More than 64 numbers are grouped into 64
        bins of equally many trials, labeled by the median of their values. Columns: `value`; the quantiles
        `low` (5 %), `q1`, `median`, `q3` and `high` (95 %) over the trials that did not diverge; `best`, the
        best cell's mean over seeds, and `cell`, its number; `trials`, the number of trials; and `diverged`,
        the share of them that diverged.

    Raises:
        KeyError: If there is no such axis, or cells that cannot be compared would be.
    """
    check_axis(trials, axis)
    check_comparable(trials, metric, axis)
    trials, cells = _binned(trials, cells, axis)
    grouped = trials.assign(
        _final=final_values(trials, metric), _diverged=trials["status"] == "diverged"
    ).groupby(axis, dropna=False, sort=False)
    columns = {name: grouped["_final"].quantile(quantile) for name, quantile in _QUANTILES.items()}
    columns |= {"trials": grouped.size(), "diverged": grouped["_diverged"].mean()}
    table = pd.DataFrame(columns).rename_axis("value").reset_index()
    best = cells.drop_duplicates(axis)[[axis, "mean", "cell"]]
    best = best.rename(columns={axis: "value", "mean": "best"})
    order = sorted_values(table["value"]).index
    return table.loc[order].merge(best, on="value", how="left")


def _binned(trials: pd.DataFrame, cells: pd.DataFrame, axis: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Group the values of a numeric axis into bins in both tables if there are too many to be shown."""
    column = trials[axis]
    if column.nunique() <= MOST_VALUES or not pd.api.types.is_numeric_dtype(column):
        return trials, cells
    known = column.dropna().astype(float)
    bins = pd.qcut(known, MOST_VALUES, labels=False, duplicates="drop")
    medians = dict(zip(known, known.groupby(bins).transform("median"), strict=True))
    binned = [table.assign(**{axis: table[axis].astype(float).map(medians)}) for table in (trials, cells)]
    return binned[0], binned[1]


def sorted_values(column: pd.Series) -> pd.Series:
    """Return the values of an axis: numbers ascending, text in its original order, missing values last."""
    values = column.drop_duplicates()
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.sort_values(na_position="last")
    return pd.concat([values[values.notna()], values[values.isna()]])


class HeatMap(NamedTuple):
    """A metric over the values of two axes.

    Attributes:
        x: The axis along the columns.
        y: The axis along the rows.
        metric: The metric that ranks.
        columns: The values of `x`, in order.
        rows: The values of `y`, in order.
        table: A row per pair of values: see `pairs`.
    """

    x: str
    y: str
    metric: str
    columns: list[Any]
    rows: list[Any]
    table: pd.DataFrame

    def grid(self, column: Any, missing: Any = np.nan) -> np.ndarray:
        """Arrange a value per row of the table as an array `(rows, columns)`."""
        values = np.asarray(column)
        grid = np.full((len(self.rows), len(self.columns)), missing, values.dtype)
        places = {"y": pd.Index(self.rows), "x": pd.Index(self.columns)}
        grid[tuple(index.get_indexer(self.table[side]) for side, index in places.items())] = values
        return grid


def heat_map(trials: pd.DataFrame, cells: pd.DataFrame, x: str, y: str, metric: str) -> HeatMap:
    """Return a metric over the values of two axes.

    Args:
        trials: The table of trials.
        cells: The table of cells, ranked by the metric: see `rank_cells`.
        x: An axis, by its dotted path.
        y: Another axis.
        metric: The metric that ranks.

    Raises:
        KeyError: If there is no such axis, or both are the same.
    """
    if x == y:
        raise KeyError(f"expected two axes, got {x!r} twice")
    table = pairs(trials, cells, x, y, metric)
    columns, rows = (sorted_values(table[side]).tolist() for side in ("x", "y"))
    return HeatMap(x, y, metric, columns, rows, table)


def pairs(trials: pd.DataFrame, cells: pd.DataFrame, x: str, y: str, metric: str) -> pd.DataFrame:
    """Return a row per pair of values that two axes have together.

    Args:
        trials: The table of trials.
        cells: The table of cells, ranked by the metric: see `rank_cells`.
        x: An axis, by its dotted path.
        y: Another axis.
        metric: The metric that ranks.

    Returns:
        `x` and `y`; of the best cell `best` (its mean over seeds), `error`, `cell` and `best_diverged` (the
        number of its diverged seeds); `median`, over cells, of their means, where a cell whose seeds all
        diverged is worse than any other, NaN if that is the median; `cells` and `trials`, their numbers; and
        `diverged`, the share of the trials that did.

    Raises:
        KeyError: If there is no such axis, or cells that cannot be compared would be.
    """
    check_axis(trials, x)
    check_axis(trials, y)
    check_comparable(trials, metric, x, y)
    worst = -np.inf if higher_is_better(metric) else np.inf
    ranked = cells.dropna(subset=[x, y]).assign(_mean=lambda table: table["mean"].fillna(worst))
    table = (
        ranked.drop_duplicates([x, y]).set_index([x, y])[["mean", "error", "cell", "diverged"]].sort_index()
    )
    table = table.rename(columns={"mean": "best", "diverged": "best_diverged"})
    grouped = ranked.groupby([x, y])
    median = grouped["_mean"].median()
    table["median"] = median.where(np.isfinite(median))
    table["cells"] = grouped.size()
    diverged = trials.assign(_diverged=trials["status"] == "diverged").groupby([x, y])["_diverged"]
    table["trials"], table["diverged"] = diverged.size(), diverged.mean()
    return table.rename_axis(["x", "y"]).reset_index()
