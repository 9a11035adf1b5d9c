"""Aggregate cells over their seeds: means and spreads of curves and of final values."""

from typing import Any

import numpy as np
import pandas as pd

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
