"""Summarize a metric along one axis or two, over all values of the others."""

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import MOST_VALUES
from vsweep.analysis.ranking import check_axis
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
        bins of equally many trials, labelled by the median of their values. Columns: `value`; the quantiles
        `low` (5 %), `q1`, `median`, `q3` and `high` (95 %) over the trials that did not diverge; `best`, the
        best cell's mean over seeds, and `cell`, its number; `trials`, the number of trials; and `diverged`,
        the share of them that diverged.

    Raises:
        KeyError: If there is no such axis.
    """
    check_axis(trials, axis)
    trials, cells = _binned(trials, cells, axis)
    grouped = trials.assign(
        _final=final_values(trials, metric), _diverged=trials["status"] == "diverged"
    ).groupby(axis, dropna=False, sort=False)
    columns = {name: grouped["_final"].quantile(quantile) for name, quantile in _QUANTILES.items()}
    columns |= {"trials": grouped.size(), "diverged": grouped["_diverged"].mean()}
    table = pd.DataFrame(columns).rename_axis("value").reset_index()
    best = cells.drop_duplicates(axis)[[axis, "mean", "cell"]]
    best = best.rename(columns={axis: "value", "mean": "best"})
    return sort_by_value(table.merge(best, on="value", how="left"))


def _binned(trials: pd.DataFrame, cells: pd.DataFrame, axis: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Group the values of a numeric axis into bins in both tables if there are too many to be shown."""
    column = trials[axis]
    if column.nunique() <= MOST_VALUES or not pd.api.types.is_numeric_dtype(column):
        return trials, cells
    known = column.dropna().astype(float)
    edges = np.unique(known.quantile(np.linspace(0, 1, MOST_VALUES + 1)))
    bins = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    medians = dict(zip(known, known.groupby(bins).transform("median"), strict=True))
    trials, cells = (
        table.assign(**{axis: table[axis].astype(float).map(medians)}) for table in (trials, cells)
    )
    return trials, cells


def sort_by_value(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by `value`: numbers ascending, text in the order it has, missing values last."""
    column = table["value"]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return table.sort_values("value", na_position="last", ignore_index=True)
    return pd.concat([table[column.notna()], table[column.isna()]], ignore_index=True)


def pairs(trials: pd.DataFrame, cells: pd.DataFrame, x: str, y: str, metric: str) -> pd.DataFrame:
    """Summarize a metric for each combination of values of two axes.

    Args:
        trials: The table of trials.
        cells: Cells as `rank_cells` ranks them by this metric.
        x: Dotted path of an axis.
        y: Dotted path of another axis.
        metric: The metric whose final values are summarized.

    Returns:
        A row per combination that was trained. Columns: `x` and `y`; `best`, `sem` and `cell` of the best
        cell as `rank_cells` returns them, `best` being its mean; `median`, the median of the cells' means,
        where a cell whose seeds all diverged ranks last, and NaN if the median is such a cell; `cells` and
        `trials`, their numbers; and `diverged`, the share of the trials that diverged.

    Raises:
        KeyError: If there is no such axis.
    """
    check_axis(trials, x)
    check_axis(trials, y)
    worst = -np.inf if higher_is_better(metric) else np.inf
    ranked = cells.dropna(subset=[x, y]).assign(_mean=lambda kept: kept["mean"].fillna(worst))
    table = ranked.drop_duplicates([x, y]).set_index([x, y])[["mean", "sem", "cell"]].sort_index()
    table = table.rename(columns={"mean": "best"})
    grouped = ranked.groupby([x, y])
    median = grouped["_mean"].median()
    table["median"] = median.where(np.isfinite(median))
    table["cells"] = grouped.size()
    diverged = trials.assign(_diverged=trials["status"] == "diverged").groupby([x, y])["_diverged"]
    table["trials"], table["diverged"] = diverged.size(), diverged.mean()
    return table.rename_axis(["x", "y"]).reset_index()
