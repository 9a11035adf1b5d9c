"""Train some trials of a sweep again, each alone, and compare their curves."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from vsweep.commands.directory import recorded_spec
from vsweep.engine.checks.verify import choose_trials_to_verify
from vsweep.engine.checks.verify import verify as verify_trials
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.plan import Plan
from vsweep.engine.trial_id import identities
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.atomic import write_json
from vsweep.store.lock import Lock
from vsweep.store.reader import VERIFIED
from vsweep.store.writer import read_curves


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
    made = recorded_spec(sweep.directory, own, allow_targets)
    plan, mesh = plan_sweep(made, measurements(), sweep.plan)
    _refuse_others(plan, sweep)
    chosen = choose_trials_to_verify(plan, sweep.trials, k, seed)
    with closing(Lock(sweep.directory)):
        curves_of = partial(read_curves, sweep.directory)
        found = verify_trials(plan, mesh, measurements(), sweep.trials, curves_of, chosen)
        write_json(sweep.directory / VERIFIED, found)
    return found


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
