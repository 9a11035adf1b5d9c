"""Aggregate cells over their seeds: means and spreads of curves and of final values."""

from typing import Any

import numpy as np
import pandas as pd


def finite_curves(trials: pd.DataFrame, curves: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the curves that represent each cell, with their `cell`; values that are not finite are NaN.

    They are the curves of the seeds that did not diverge, or of all seeds if every one diverged. Metrics are
    float64.
    """
    diverged = trials["status"] == "diverged"
    all_diverged = diverged.groupby(trials["cell"]).transform("all")
    cells = trials.loc[~diverged | all_diverged, ["trial", "cell"]]
    kept = curves[["trial", "step", *metrics]].merge(cells, on="trial")
    kept[metrics] = kept[metrics].astype(np.float64).replace([np.inf, -np.inf], np.nan)
    return kept


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
    values = grouped[metrics]
    table = values.mean()
    for name, part in (("std", values.std()), ("min", values.min()), ("max", values.max())):
        table = table.join(part.add_suffix(f"_{name}"))
    table["count"] = grouped.size()
    table["diverged"] = 0
    for cell, steps in trials[trials["status"] == "diverged"].groupby("cell")["diverged_at"]:
        rows = table.index.get_level_values("cell") == cell
        curve_steps = table.index.get_level_values("step")[rows].to_numpy()
        table.loc[rows, "diverged"] = np.searchsorted(
            np.sort(steps.to_numpy(np.int64)), curve_steps, side="right"
        )
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
            values = ok[name].astype(np.float64)
            spread = {"": values.mean(), "_std": values.std(), "_min": values.min(), "_max": values.max()}
            summary |= {f"{name}{suffix}": value for suffix, value in spread.items()}
    return summary
