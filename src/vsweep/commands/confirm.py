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
from scipy.special import stdtrit

from vsweep.analysis.ranking import leading_cells, rank_cells
from vsweep.commands.directory import explained_failures, plan_again, recorded_spec
from vsweep.commands.train import train_sweep
from vsweep.config.spec import SweepSpec
from vsweep.config.trust import of_record
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of, higher_is_better
from vsweep.results import Sweep
from vsweep.store.files import CONFIRMATIONS, CONFIRMED
from vsweep.store.lock import Lock


class Confirmed(NamedTuple):
    """The best cells of a sweep, with their results on fresh seeds; see `confirm`."""

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
    allow_urls: Sequence[str] = (),
    max_bytes: int | None = None,
    quiet: bool = False,
) -> Confirmed:
    """Train the best cells of a sweep again on fresh seeds, which shows how much of their lead was luck.

    The fresh seeds had no part in choosing the cells, so their mean owes nothing to the luck of the seeds
    that chose. The held-out examples are the same. The new trials are kept in `confirm/` in the sweep's
    directory, and are not trained twice.

    Args:
        directory: The sweep's directory.
        top: The number of cells; where the metric cannot be compared between all of them, equally many of the
            best that can.
        seeds: The number of fresh seeds; by default as many as the sweep has, and at least 8.
        metric: The metric that ranks the cells; by default the sweep's own.
        own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.
        allow_targets: Modules whose functions the sweep's config may name.
        allow_urls: URLs that the sweep's config may name as `data.path`.
        max_bytes: The bound on what is read of a table, `data.max_bytes`; by default 4 GB.
        quiet: Show nothing while the cells train.

    Returns:
        The metric, and a row per cell in the sweep's order: `cell`, the axes, `mean`, `sem` and
        `error` in the sweep; `confirmed`, `confirmed_sem`, `confirmed_error`, `confirmed_low`,
        `confirmed_high`, `diverged` and `rank` on the fresh seeds (`mean`, `sem` and so on of
        `Sweep.cells`); `shrinkage`, by which the cell is worse than in the sweep (the winner's curse), and
        `shrinkage_margin`, up to which the luck of the seeds explains it (95 %, Student's). `confirm.json`
        holds the same.

    Raises:
        ConfigError: If there is no sweep, no such metric, a number is not positive, or the data or functions
            have changed.
    """
    for name, count in (("top", top), ("seeds", seeds)):
        if count is not None and not (isinstance(count, int | np.integer) and count > 0):
            raise ConfigError(name, f"got {count!r}", "it takes an integer of at least 1")
    sweep = Sweep(directory)
    spec = recorded_spec(sweep.directory, own, of_record(allow_targets, allow_urls, max_bytes))
    metric = metric or sweep.metric
    try:
        before = leading_cells(rank_cells(sweep.trials, metric), top)
    except KeyError as error:
        raise ConfigError("metric", str(error.args[0]), "") from error
    fresh = _on_fresh_seeds(spec, before["cell"].to_numpy(np.int64), seeds)
    plan_again(spec, sweep, quiet=quiet)
    # The folder is named by the trials' identities: their numbers change when the sweep is extended.
    trials = sweep.trials[sweep.trials["cell"].isin(before["cell"])]
    name = sha256(f"{trials['identity'].tolist()} {fresh.grid.seeds}".encode()).hexdigest()[:12]
    kept = f"the sweep in {directory} is as it was"
    with closing(Lock(sweep.directory)), explained_failures(sweep.directory, lambda: kept):
        folder = sweep.files.nested(f"{CONFIRMATIONS}/{name}", make=True).path()
        again = train_sweep(fresh, folder, quiet=quiet).trials
        table = shrinkage(before, again, axes_of(sweep.trials), metric)
        rows = json.loads(table.to_json(orient="records", double_precision=15))
        seeds_of = list(fresh.grid.seeds)
        sweep.files.write_json(CONFIRMED, {"metric": metric, "seeds": seeds_of, "cells": rows})
    return Confirmed(table, metric)


def _on_fresh_seeds(spec: SweepSpec, cells: np.ndarray, seeds: int | None) -> SweepSpec:
    """Restrict a sweep to some cells, on seeds that it did not have."""
    grid = spec.grid
    rows = np.flatnonzero(np.isin(grid.cells, cells))
    count, first = max(len(grid.seeds), 8) if seeds is None else seeds, max(grid.seeds) + 1
    fresh = tuple(range(first, first + count))
    if fresh[-1] >= 2**32:
        raise ConfigError("seeds", f"{count} after {first - 1}", "seeds are below 4294967296")
    tracker = {"wandb": {**spec.raw["tracker"]["wandb"], "mode": "disabled"}}
    raw = {**spec.raw, "seeds": list(fresh), "verify": False, "pictures": [], "tracker": tracker}
    part = replace(grid, cells=grid.cells[rows], index=grid.index[rows], seeds=fresh)
    return replace(spec, name=f"{spec.name}, confirmed", raw=raw, grid=part)


def shrinkage(before: pd.DataFrame, trials: pd.DataFrame, axes: list[str], metric: str) -> pd.DataFrame:
    """Return cells with their results on fresh seeds; see `confirm`.

    Args:
        before: The cells as they were ranked in the sweep.
        trials: Their trials on fresh seeds.
        axes: The axes.
        metric: The metric.
    """
    columns = {name: f"confirmed_{name}" for name in ("sem", "error", "low", "high")}
    columns = {"mean": "confirmed", **columns, "diverged": "diverged", "rank": "rank"}
    after = rank_cells(trials, metric).set_index("cell")
    table = before[["cell", *axes, "mean", "sem", "error"]].reset_index(drop=True)
    table = table.join(after[[*columns]].rename(columns=columns), on="cell")
    sign = 1.0 if higher_is_better(metric) else -1.0
    table["shrinkage"] = sign * (table["mean"] - table["confirmed"])
    counts = (before["seeds"] - before["diverged"]).to_numpy(), (after["seeds"] - after["diverged"])
    least = np.minimum(counts[0], counts[1].reindex(table["cell"]).to_numpy())
    # The held-out examples are the same in both, so they are no luck of the change; the seeds of both are.
    table["shrinkage_margin"] = stdtrit(np.maximum(least - 1, 1), 0.975) * np.hypot(
        table["sem"], table["confirmed_sem"]
    )
    return table
