"""Log the overview run of a sweep: its tables, its curves as files, and pictures."""

import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, plottable_axes
from vsweep.analysis.convergence import best_cells, curves_by
from vsweep.analysis.marginals import heat_map
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import default_metric
from vsweep.plots.style import draw, save_figure
from vsweep.plots.tables import draw_curves, draw_heat_map
from vsweep.store.reader import PICTURES, StoredSweep
from vsweep.store.writer import read_curves
from vsweep.trackers.wandb.dashboard import curves_key, heatmap_key
from vsweep.trackers.wandb.runs import sweep_id

# W&B draws no more rows of a table; the artifact has all.
_MOST_ROWS = 10_000
# W&B allows 128 characters for an artifact's name, which ends in the sweep's id.
_LONGEST_NAME = 100
# An artifact is given up if its upload is slower than this, in bytes per second.
_SLOWEST_UPLOAD = 250_000


def log_overview(run: Any, sweep: StoredSweep, patience: float, *, again: bool) -> None:
    """Log the overview as one row of a W&B run and an artifact; errors of W&B's client are raised.

    Args:
        run: W&B's run.
        sweep: The sweep.
        patience: The time to wait for a server that does not answer, in seconds.
        again: Whether to log the row again, because its pictures did not arrive.
    """
    if again or run.starting_step == 0:
        _log_row(run, sweep)
    artifact = _artifact(sweep)
    logged = run.log_artifact(artifact)
    if not run.offline:
        # Finishing the run does not report a failed upload, which the client retries for days.
        logged.wait(timeout=math.ceil(patience + artifact.size / _SLOWEST_UPLOAD))


def _log_row(run: Any, sweep: StoredSweep) -> None:
    import wandb

    row: dict[str, Any] = {
        "trials": wandb.Table(dataframe=_plain_rows(sweep.trials.drop(columns="identity"))),
        "cells": wandb.Table(dataframe=_plain_rows(rank_cells(sweep.trials))),
    }
    with tempfile.TemporaryDirectory() as folder:
        for key, path in draw_pictures(sweep, Path(folder)):
            row[key] = wandb.Image(str(path))
        run.log(row, step=run.starting_step)


def _plain_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows of a table, with Python's own types."""
    rows = table.head(_MOST_ROWS).astype(object)
    return rows.where(rows.notna(), None)


def _artifact(sweep: StoredSweep) -> Any:
    import wandb

    name = re.sub(r"[^\w.-]+", "_", sweep.plan["name"])[:_LONGEST_NAME]
    artifact: Any = wandb.Artifact(
        f"{name}-{sweep_id(sweep.plan)}", type="sweep", description=sweep.plan["command"]
    )
    for path in [*sorted((sweep.directory / "curves").glob("*.parquet")), sweep.directory / "trials.parquet"]:
        # W&B reads an immutable file in place and makes no copy.
        artifact.add_file(str(path), name=str(path.relative_to(sweep.directory)), policy="immutable")
    return artifact


def draw_pictures(sweep: StoredSweep, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw heat maps and curves, and yield the key and the file of each, and of the sweep's own pictures."""
    trials, metric = sweep.trials, default_metric(sweep.trials)
    cells = rank_cells(sweep.trials)
    for i, (x, y) in enumerate(heatmap_pairs(trials)):
        path = folder / f"heatmap-{i}.png"
        save_figure(draw(draw_heat_map, heat_map(trials, cells, x, y, metric)), path)
        yield heatmap_key(x, y), path
    axes = plottable_axes(trials)
    best = {cell for axis in axes for cell in best_cells(trials, metric, axis)["cell"]}
    # The curves of many cells do not all fit in memory.
    curves = read_curves(sweep.directory, trials.loc[trials["cell"].isin(best), "trial"].tolist())
    for i, axis in enumerate(axes):
        path = folder / f"curves-{i}.png"
        save_figure(draw(draw_curves, curves_by(trials, curves, metric, axis)), path)
        yield curves_key(axis), path
    for path in sorted((sweep.directory / PICTURES).glob("*.png")):
        yield f"{PICTURES}/{path.stem}", path
