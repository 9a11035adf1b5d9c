"""A sweep held against what is found in another way: verify, reproduce, confirm, and check its gradients."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import rank_cells
from vsweep.directory import recorded
from vsweep.errors import ConfigError
from vsweep.execution.gradients import THRESHOLD, check_gradients
from vsweep.execution.identity import identities
from vsweep.execution.known import known as measurements
from vsweep.execution.plan import Plan
from vsweep.execution.verify import picks
from vsweep.execution.verify import verify as verify_trials
from vsweep.metrics import axes_of, default_metric, higher_is_better
from vsweep.results import Sweep
from vsweep.runner import planned, run_study
from vsweep.spelling import Words, as_words, words_of
from vsweep.store.atomic import write_json
from vsweep.store.gradient_check import Checked
from vsweep.store.lock import Lock
from vsweep.store.reader import CONFIRMED, VERIFIED
from vsweep.store.writer import read_curves
from vsweep.study import Study, make_study, own_of
from vsweep.words import literal


def check(
    config: Words = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
) -> Checked:
    """Hold the gradients that a sweep would descend against central differences, in float64.

    config, model, loss, data: as in `vsweep.sweep`. Of every program the training loss's gradient is taken in
    the first and the last trial, at the first parameters and near them; where there are many parameters, in
    some. Nothing is trained, and nothing is written.

    Returns what was found, `wrong` where a gradient is off by more than a millionth and by more than
    differences leave in doubt. Raises `ConfigError`.
    """
    made = make_study(as_words(config).words, own_of(model=model, loss=loss, data=data))
    plan, _ = planned(made, measurements(), {})
    return Checked(tuple(check_gradients(plan)), THRESHOLD)


def verify(
    directory: str | Path,
    *,
    k: int = 8,
    seed: int = 0,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
) -> dict[str, Any]:
    """Train some trials of a sweep again, each alone, and hold them against their curves.

    The best trial, one that diverged, the first and the last of the program that is padded most, and `k`
    drawn from `seed`. Each is trained unpadded and one at a time, and so is its twin: the same trial, its
    first weights moved by one unit in the last place. A trial whose twin's curve is more than 1 % from its
    own is chaotic: its curve is one of many. own: your own `model`, `loss` and `data`, as they were
    given. allow_targets: modules that the sweep's config may name functions of.

    Returns what it writes to `verify.json`. Raises `ConfigError` where there is no sweep.
    """
    sweep = Sweep(directory)
    made = recorded(sweep.directory, own, allow_targets)
    plan, mesh = planned(made, measurements(), sweep.plan)
    _refuse_others(plan, sweep)
    chosen = picks(plan, sweep.trials, k, seed)
    with closing(Lock(sweep.directory)):
        curves_of = partial(read_curves, sweep.directory)
        found = verify_trials(plan, mesh, measurements(), sweep.trials, curves_of, chosen)
        write_json(sweep.directory / VERIFIED, found)
    return found


def overrides(
    directory: str | Path,
    trial: int,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
) -> list[str]:
    """The exact config of a trial of a sweep, as overrides: all of its fields and its seed.

    Raises `ConfigError` where there is no such trial.
    """
    made = recorded(Path(directory), own, allow_targets)
    number, row, seeds = made.grid.trials()
    at = int(np.searchsorted(number, trial))
    if at == len(number) or number[at] != trial:
        got = f"no trial {trial} in {str(directory)!r}"
        raise ConfigError("trial", got, f"it takes one of its {len(number):,}, up to {number[-1]}")
    return words_of(made.cell(int(made.grid.cells[row[at]])), int(seeds[at]))


class Reproduced(NamedTuple):
    """A trial that was trained again, alone.

    overrides: its exact config. sweep: of this one trial. params: its parameters, by name. predictor: a
    function of examples `(examples, features)`, as they came, that gives classes or numbers.
    """

    overrides: list[str]
    sweep: Sweep
    params: dict[str, np.ndarray]
    predictor: Callable[[Any], np.ndarray]


def reproduce(
    directory: str | Path,
    trial: int,
    *,
    to: str | Path | None = None,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
    quiet: bool = True,
) -> Reproduced:
    """Train a trial of a sweep again, alone.

    trial: its number. to: the new directory; by default `outputs/trial-NUMBER/TIME`. own: your own `model`,
    `loss` and `data`, as they were given. allow_targets: as in `verify`.

    Raises `ConfigError` where there is no such trial.
    """
    words = overrides(directory, trial, own, allow_targets)
    more = ["keep.params=all", "verify=false", "tracker=none"]
    allowed = f"allow_targets={literal(list(allow_targets))}"
    made = replace(make_study([*words, *more, allowed], own), name=f"trial-{trial}")
    _refuse_others(planned(made, measurements(), {})[0], Sweep(directory), [trial])
    sweep = run_study(made, None if to is None else Path(to), quiet=quiet)
    (number,) = sweep.trials["trial"]
    return Reproduced(words, sweep, sweep.params(number), sweep.predictor(number))


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
    made = recorded(sweep.directory, own, allow_targets)
    metric = metric or default_metric(sweep.trials)
    try:
        before = rank_cells(sweep.trials, metric).head(top)
    except KeyError as error:
        raise ConfigError("metric", str(error.args[0]), "") from error
    again = _fresh(made, before["cell"].to_numpy(np.int64), seeds)
    _refuse_others(planned(made, measurements(), sweep.plan)[0], sweep)
    # By what they are: their numbers change when the sweep is extended.
    of_cells = sweep.trials[sweep.trials["cell"].isin(before["cell"])]
    named = f"{of_cells['identity'].tolist()} {again.grid.seeds}"
    folder = sweep.directory / "confirm" / sha256(named.encode()).hexdigest()[:12]
    with closing(Lock(sweep.directory)):
        after = rank_cells(run_study(again, folder, quiet=quiet).trials, metric)
        table = shrinkage(before, after, axes_of(sweep.trials), metric)
        record = {"metric": metric, "seeds": list(again.grid.seeds), "cells": _plain(table)}
        write_json(sweep.directory / CONFIRMED, record)
    return Confirmed(table, metric)


def _refuse_others(plan: Plan, sweep: Sweep, only: Sequence[int] = ()) -> None:
    """Raise `ConfigError` where what is to be trained is not what the sweep trained.

    plan: of the sweep's trials, or of the one trial that `only` names.
    """
    trials = sweep.trials
    recorded_ids = trials.set_index("trial")["identity"]
    if only:
        same = all(number not in recorded_ids or recorded_ids[number] in identities(plan) for number in only)
    else:
        now = pd.Series(identities(plan), plan.grid.trials()[0])
        same = bool((now.reindex(recorded_ids.index) == recorded_ids).all())
    if not same:
        got = f"the data, or your own functions, are not those that {str(sweep.directory)!r} was trained on"
        raise ConfigError("dir", got, "bring back the ones of then")


def _fresh(made: Study, cells: np.ndarray, seeds: int | None) -> Study:
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
