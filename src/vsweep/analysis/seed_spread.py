"""Cells over their seeds: means, and how far seeds are apart."""

from typing import Any

import numpy as np
import pandas as pd


def aggregate_seeds(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of cells, by `cell` and `step`.

    For each metric the mean over the seeds that did not diverge, under the metric's name, with `_std` (n - 1;
    NaN for one seed), `_min` and `_max`; `count` is how many seeds these are of, and `diverged` how many had
    diverged by that step. Where all seeds diverged it is of them all, as long as their numbers are finite.
    """
    lost = trials["status"] == "diverged"
    every = lost.groupby(trials["cell"]).transform("all")
    kept = curves.merge(trials.loc[~lost | every, ["trial", "cell"]], on="trial")
    metrics = [name for name in curves.columns if name not in ("trial", "step")]
    kept[metrics] = kept[metrics].astype(np.float64).replace([np.inf, -np.inf], np.nan)
    grouped = kept.groupby(["cell", "step"])
    values = grouped[metrics]
    table = values.mean()
    for name, part in (("std", values.std()), ("min", values.min()), ("max", values.max())):
        table = table.join(part.add_suffix(f"_{name}"))
    table["count"] = grouped.size()
    table["diverged"] = 0
    at = trials.loc[lost, ["cell", "diverged_at"]]
    for cell, steps in at.groupby("cell")["diverged_at"]:
        here = table.index.get_level_values("cell") == cell
        at_steps = table.index.get_level_values("step")[here].to_numpy()
        reached = np.searchsorted(np.sort(steps.to_numpy(np.int64)), at_steps, side="right")
        table.loc[here, "diverged"] = reached
    return table


def cell_summary(trials: pd.DataFrame) -> dict[str, Any]:
    """Of each number of the table of trials its mean over the seeds that did not diverge, and its spread."""
    ok = trials[trials["status"] == "ok"]
    diverged = len(trials) - len(ok)
    summary: dict[str, Any] = {"seeds": len(trials), "diverged": diverged}
    summary["status"] = "ok" if len(ok) else "diverged"
    summary["diverged_at"] = trials["diverged_at"].min() if diverged else None
    for name in trials.columns[list(trials.columns).index("diverged_at") + 1 :]:
        if pd.api.types.is_numeric_dtype(trials[name]):
            values = ok[name].astype(np.float64)
            spread = {"": values.mean(), "_std": values.std(), "_min": values.min(), "_max": values.max()}
            summary |= {f"{name}{end}": value for end, value in spread.items()}
    return summary
