"""Write a W&B run: its rows and summary, and the tables, files and pictures of an overview."""

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import wandb

from vsweep.analysis.axis_scale import heatmap_pairs, plottable_axes
from vsweep.analysis.convergence import best_cells, curves_by
from vsweep.analysis.marginals import heat_map
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import without_parts
from vsweep.plots.style import draw, save_figure
from vsweep.plots.tables import draw_curves, draw_heat_map
from vsweep.store.files import CURVES, PICTURES, TRIALS
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb.client import alone
from vsweep.trackers.wandb.options import Options
from vsweep.trackers.wandb.runs import Run, curves_key, heatmap_key, sweep_id

# W&B draws at most this many rows of a table; the artifact has all rows.
_MOST_ROWS = 10_000
# W&B allows 128 characters for an artifact's name, which ends in the sweep's id.
_LONGEST_NAME = 100
# An artifact is given up if its upload is slower than this, in bytes per second.
_SLOWEST_UPLOAD = 250_000


def write_run(
    run: Run, options: Options, directory: Path, overview: StoredSweep | None, tell: Callable[..., None]
) -> None:
    """Make a complete run; errors of W&B's client are raised.

    Args:
        run: The content of the run.
        options: The options of the tracker.
        directory: The sweep's directory.
        overview: The sweep whose tables, pictures and files the run shows, if it is an overview.
        tell: Callback that gets steps for `Waiting`.
    """
    user = wandb.setup().settings
    # The environment may put all runs into a group, and add tags.
    run = run._replace(
        group=user.run_group or run.group, tags=tuple(dict.fromkeys((*run.tags, *(user.run_tags or ()))))
    )
    client_run = wandb.init(
        **{key: value for key, value in run._asdict().items() if key not in ("rows", "summary")},
        project=options.project,
        entity=options.entity,
        mode="online" if options.online else "offline",
        dir=str(directory),
        reinit="create_new",
        # Without this, new rows would replace those that the server has of a run that was interrupted.
        resume="allow" if options.online else None,
        settings=_settings(options),
    )
    tell(reach=f"start {run.id}")
    try:
        # The server told the client at the start which step comes next.
        for step, values in run.rows:
            if step >= client_run.starting_step:
                client_run.log(values, step=step)
        if overview:
            _log_overview(client_run, overview, options, tell)
        client_run.summary.update(run.summary)
    except BaseException:
        with suppress(Exception):
            client_run.finish(exit_code=1)
        raise
    client_run.finish()
    tell(reach=f"finish {run.id}")


def _settings(options: Options) -> wandb.Settings:
    """Return settings that record curves and a config, but no console, system metrics or code."""
    online = {
        "init_timeout": options.waits,
        "finish_timeout": options.waits,
        "finish_timeout_raises": True,
        # A run that is not sent is made again from the store.
        "x_skip_transaction_log": True,
    }
    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        symlink=False,
        # Otherwise the files would go to a folder `.wandb` where there is one.
        use_dot_wandb=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_viewer=True,
        x_save_requirements=False,
        **(online if options.online else {}),
    )


def _log_overview(
    client_run: wandb.Run, sweep: StoredSweep, options: Options, tell: Callable[..., None]
) -> None:
    """Log the overview as one row and an artifact; a row whose pictures did not arrive is logged again."""
    with tempfile.TemporaryDirectory() as folder:
        with alone(tell, "draw"):
            row: dict[str, Any] = {
                "trials": wandb.Table(dataframe=_plain_rows(sweep.trials.drop(columns="identity"))),
                "cells": wandb.Table(dataframe=_plain_rows(rank_cells(sweep.trials, sweep.metric))),
            }
            for key, path in draw_pictures(sweep, Path(folder)):
                row[key] = wandb.Image(str(path))
            artifact = _artifact(sweep)
        client_run.log(row, step=client_run.starting_step)
    logged = client_run.log_artifact(artifact)
    if options.online:
        # Finishing the run does not report a failed upload, which the client retries for days.
        slowest = artifact.size / _SLOWEST_UPLOAD
        tell(reach="send files", allow=slowest)
        logged.wait(timeout=math.ceil(options.waits + slowest))
        tell(reach="sent files", allow=0)


def _plain_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows of a table, with Python's own types."""
    rows = without_parts(table).head(_MOST_ROWS).astype(object)
    return rows.where(rows.notna(), None)


def _artifact(sweep: StoredSweep) -> Any:
    name = re.sub(r"[^\w.-]+", "_", sweep.plan["name"])[:_LONGEST_NAME]
    artifact: Any = wandb.Artifact(
        f"{name}-{sweep_id(sweep.plan)}", type="sweep", description=sweep.plan["command"]
    )
    for name in (*sweep.files.names(CURVES), TRIALS):
        # W&B reads an immutable file in place and makes no copy.
        artifact.add_file(str(sweep.files.path(name)), name=name, policy="immutable")
    return artifact


def draw_pictures(sweep: StoredSweep, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw heat maps and curves, and yield the key and the file of each, and of the sweep's own pictures."""
    trials, metric = sweep.trials, sweep.metric
    cells = rank_cells(sweep.trials, sweep.metric)
    for i, (x, y) in enumerate(heatmap_pairs(trials, metric)):
        path = folder / f"heatmap-{i}.png"
        save_figure(draw(draw_heat_map, heat_map(trials, cells, x, y, metric)), path)
        yield heatmap_key(x, y), path
    axes = plottable_axes(trials, metric)
    best = {cell for axis in axes for cell in best_cells(trials, metric, axis)["cell"]}
    # The curves of many cells do not all fit in memory.
    curves = sweep.curves_of(trials.loc[trials["cell"].isin(best), "trial"].tolist())
    for i, axis in enumerate(axes):
        path = folder / f"curves-{i}.png"
        save_figure(draw(draw_curves, curves_by(trials, curves, metric, axis)), path)
        yield curves_key(axis), path
    for name in sweep.files.names(PICTURES):
        if name.endswith(".png"):
            path = folder / f"own-{PurePosixPath(name).name}"
            path.write_bytes(sweep.files.read(name))
            yield name.removesuffix(".png"), path
