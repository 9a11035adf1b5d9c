"""Train the best cells of a sweep again on fresh seeds."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import rank_cells
from vsweep.commands.directory import recorded_spec
from vsweep.commands.train import train_sweep
from vsweep.commands.verify import _refuse_others
from vsweep.config.spec import SweepSpec
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of, default_metric, higher_is_better
from vsweep.results import Sweep
from vsweep.store.atomic import write_json
from vsweep.store.lock import Lock
from vsweep.store.reader import CONFIRMED


class Confirmed(NamedTuple):
    """The best cells of a sweep, beside what fresh seeds give: see `confirm`."""

    cells: pd.DataFrame
    metric: str


def confirm(
    directory: str | Path,
    *,
    top: int = 5,
    seeds: int | None = None,
    metric: str | None = None,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
    quiet: bool = False,
) -> Confirmed:
    """Train the best cells of a sweep again on fresh seeds: what was best by luck shrinks.

    top: how many cells. seeds: how many fresh ones, by default as many as the sweep has, and 8 at least.
    metric: that chose them; by default the one that ranks. The trials are kept in `confirm/` in the sweep's
    directory, where those that are done already are not trained again.

    Returns the metric, and a row per cell, in the sweep's order: `cell`, the axes, `mean` and `sem` of the
    sweep, and of the fresh seeds `confirmed`, `confirmed_sem`, `diverged`, `rank` (from 1), and `shrinkage`:
    how much worse than in the sweep (the winner's curse). It is written to `confirm.json` too. Raises
    `ConfigError`.
    """
    sweep = Sweep(directory)
    made = recorded_spec(sweep.directory, own, allow_targets)
    metric = metric or default_metric(sweep.trials)
    try:
        before = rank_cells(sweep.trials, metric).head(top)
    except KeyError as error:
        raise ConfigError("metric", str(error.args[0]), "") from error
    again = _fresh(made, before["cell"].to_numpy(np.int64), seeds)
    _refuse_others(plan_sweep(made, measurements(), sweep.plan)[0], sweep)
    # By what they are: their numbers change when the sweep is extended.
    of_cells = sweep.trials[sweep.trials["cell"].isin(before["cell"])]
    named = f"{of_cells['identity'].tolist()} {again.grid.seeds}"
    folder = sweep.directory / "confirm" / sha256(named.encode()).hexdigest()[:12]
    with closing(Lock(sweep.directory)):
        after = rank_cells(train_sweep(again, folder, quiet=quiet).trials, metric)
        table = shrinkage(before, after, axes_of(sweep.trials), metric)
        record = {"metric": metric, "seeds": list(again.grid.seeds), "cells": _plain(table)}
        write_json(sweep.directory / CONFIRMED, record)
    return Confirmed(table, metric)


def _fresh(made: SweepSpec, cells: np.ndarray, seeds: int | None) -> SweepSpec:
    """The same study of these cells alone, on seeds that it did not have."""
    grid = made.grid
    rows = np.flatnonzero(np.isin(grid.cells, cells))
    count = seeds or max(len(grid.seeds), 8)
    first = max(grid.seeds) + 1
    fresh = tuple(range(first, first + count))
    if fresh[-1] >= 2**32:
        raise ConfigError("seeds", f"{count} after {first - 1}", "seeds are below 4294967296")
    quiet = {"wandb": {**made.raw["tracker"]["wandb"], "mode": "disabled"}}
    raw = {**made.raw, "seeds": list(fresh), "verify": False, "pictures": [], "tracker": quiet}
    few = replace(grid, cells=grid.cells[rows], index=grid.index[rows], seeds=fresh)
    return replace(made, name=f"{made.name}, confirmed", raw=raw, grid=few)


def shrinkage(before: pd.DataFrame, after: pd.DataFrame, axes: list[str], metric: str) -> pd.DataFrame:
    """Cells as they were ranked, beside what fresh seeds give. See `confirm`."""
    fresh = after.set_index("cell")
    table = before[["cell", *axes, "mean", "sem"]].reset_index(drop=True)
    chosen = fresh.loc[table["cell"]]
    table["confirmed"], table["confirmed_sem"] = chosen["mean"].to_numpy(), chosen["sem"].to_numpy()
    table["diverged"] = chosen["diverged"].to_numpy()
    table["rank"] = [int(after.index[after["cell"] == cell][0]) + 1 for cell in table["cell"]]
    worse = 1.0 if higher_is_better(metric) else -1.0
    table["shrinkage"] = worse * (table["mean"] - table["confirmed"])
    return table


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records", double_precision=15))
