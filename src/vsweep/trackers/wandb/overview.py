"""The run that shows a sweep whole: its tables, its curves as a file, heat maps and curves as pictures."""

import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, plottable_axes
from vsweep.analysis.ranking import rank_cells
from vsweep.results import Sweep
from vsweep.store.reader import PICTURES
from vsweep.store.writer import read_curves
from vsweep.trackers.wandb.dashboard import curves_key, heatmap_key
from vsweep.trackers.wandb.runs import sweep_id

# A table of W&B's is drawn up to so many rows; the artifact has all.
_MOST_ROWS = 10_000
# Of W&B's 128 characters in an artifact's name, what the sweep's id leaves.
_LONGEST_NAME = 100
# Bytes a second: an artifact that takes longer than on so slow a line does not get through.
_SLOWEST = 250_000


def log_overview(run: Any, sweep: Sweep, patience: float, *, again: bool) -> None:
    """Log it all as one row of a W&B run, and the sweep's tables as an artifact. Raises what W&B does.

    patience: how long a server that does not answer is waited for, in seconds. again: whether to log the row
    of a run that has one, whose pictures did not come.
    """
    if again or run.starting_step == 0:
        _log_row(run, sweep)
    made = _artifact(sweep)
    artifact = run.log_artifact(made)
    if not run.offline:
        # Finishing alone does not say whether it came, and the client tries for days.
        artifact.wait(timeout=math.ceil(patience + made.size / _SLOWEST))


def _log_row(run: Any, sweep: Sweep) -> None:
    import wandb

    trials, cells = sweep.trials, sweep.cells()
    row: dict[str, Any] = {
        "trials": wandb.Table(dataframe=_shown(trials.drop(columns="identity"))),
        "cells": wandb.Table(dataframe=_shown(cells)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for key, path in draw_pictures(sweep, Path(folder)):
            row[key] = wandb.Image(str(path))
        run.log(row, step=run.starting_step)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of plain values, of the first rows."""
    made = table.head(_MOST_ROWS).astype(object)
    return made.where(made.notna(), None)


def _artifact(sweep: Sweep) -> Any:
    import wandb

    name = re.sub(r"[^\w.-]+", "_", sweep.plan["name"])[:_LONGEST_NAME]
    made: Any = wandb.Artifact(
        f"{name}-{sweep_id(sweep.plan)}", type="sweep", description=sweep.plan["command"]
    )
    for path in [*sorted((sweep.directory / "curves").glob("*.parquet")), sweep.directory / "trials.parquet"]:
        # Immutable: W&B reads the file where it is, and makes no copy.
        made.add_file(str(path), name=str(path.relative_to(sweep.directory)), policy="immutable")
    return made


def draw_pictures(sweep: Sweep, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw heat maps and curves, and give those that the sweep has: their keys and files."""
    axes = plottable_axes(sweep.trials)
    few = _of_the_best(sweep, axes)
    wanted: list[tuple[str, Any]] = [
        (heatmap_key(x, y), lambda path, x=x, y=y: sweep.plot.heatmap(x, y, path=path))
        for x, y in heatmap_pairs(sweep.trials)
    ]
    wanted += [(curves_key(axis), lambda path, axis=axis: few.plot.curves(axis, path=path)) for axis in axes]
    for i, (key, draw) in enumerate(wanted):
        path = folder / f"{i}.png"
        draw(path)
        yield key, path
    for path in sorted((sweep.directory / PICTURES).glob("*.png")):
        yield f"{PICTURES}/{path.stem}", path


def _of_the_best(sweep: Sweep, axes: list[str]) -> Sweep:
    """The sweep with the curves of those cells alone that are drawn: of many cells not all fit in memory."""
    cells = rank_cells(sweep.trials)
    drawn = {cell for axis in axes for cell in cells.dropna(subset=[axis]).drop_duplicates(axis)["cell"]}
    chosen = sweep.trials.loc[sweep.trials["cell"].isin(drawn), "trial"]
    part = Sweep(sweep.directory)
    part.trials, part.curves = sweep.trials, read_curves(sweep.directory, chosen.tolist())
    return part
