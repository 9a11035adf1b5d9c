"""What a metric does along one axis, and over two, whatever the others are."""

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import MOST_VALUES
from vsweep.analysis.ranking import check_axis
from vsweep.metrics import final_values, higher_is_better

_SHARES = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}


def effects(trials: pd.DataFrame, cells: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """A row per value of an axis, in the order of its values, those that lack it last.

    Of numbers that are more than 64, a row per 64th of the trials, under the median of their values.

    cells: as `rank_cells` gives them, by the metric, whose final values are looked at. Columns: `value`; over
    the trials that did not diverge, whatever the other axes and the seed are, the quantiles `low` (5 %),
    `q1`, `median`, `q3` and `high` (95 %); of the best cell `best`, its mean over seeds, and `cell`, its
    number; `trials`, how many there are; and `diverged`, the share of them that did.

    Raises `KeyError` for an axis that there is not.
    """
    check_axis(trials, axis)
    trials, cells = _binned(trials, cells, axis)
    grouped = trials.assign(
        _final=final_values(trials, metric), _diverged=trials["status"] == "diverged"
    ).groupby(axis, dropna=False, sort=False)
    table = pd.DataFrame({name: grouped["_final"].quantile(share) for name, share in _SHARES.items()})
    table["trials"], table["diverged"] = grouped.size(), grouped["_diverged"].mean()
    first = cells.drop_duplicates(axis)
    table = table.rename_axis("value").reset_index()
    best = first[[axis, "mean", "cell"]].rename(columns={axis: "value", "mean": "best"})
    return sort_by_value(table.merge(best, on="value", how="left"))


def _binned(trials: pd.DataFrame, cells: pd.DataFrame, axis: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with the values of an axis in bins, where they are numbers and too many to be looked at."""
    column = trials[axis]
    if column.nunique() <= MOST_VALUES or not pd.api.types.is_numeric_dtype(column):
        return trials, cells
    known = column.dropna().astype(float)
    edges = np.unique(known.quantile(np.linspace(0, 1, MOST_VALUES + 1)))
    bins = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    middle = known.groupby(bins).transform("median")
    of = dict(zip(known, middle, strict=True))
    put = [table.assign(**{axis: table[axis].astype(float).map(of)}) for table in (trials, cells)]
    return put[0], put[1]


def sort_by_value(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by their `value`: numbers rising, text as it stands, and what is missing last."""
    column = table["value"]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return table.sort_values("value", na_position="last", ignore_index=True)
    return pd.concat([table[column.notna()], table[column.isna()]], ignore_index=True)


def pairs(trials: pd.DataFrame, cells: pd.DataFrame, x: str, y: str, metric: str) -> pd.DataFrame:
    """A row per pair of values that two axes have together.

    cells: as `rank_cells` gives them, by the metric. Columns: `x` and `y`; of the best cell, as
    `rank_cells` has it, `best` (its mean over seeds), `sem` and `cell`; `median`, over cells, of their means,
    where a cell of which all seeds diverged is worse than any other, and NaN where that one is the median;
    `cells` and `trials`, how many there are; and `diverged`, the share of the trials that did.
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
    every = trials.assign(_diverged=trials["status"] == "diverged").groupby([x, y])["_diverged"]
    table["trials"], table["diverged"] = every.size(), every.mean()
    return table.rename_axis(["x", "y"]).reset_index()
