"""Train one trial of a sweep again, alone, from its exact config."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vsweep.commands.directory import recorded_spec
from vsweep.commands.train import train_sweep
from vsweep.commands.verify import _refuse_others
from vsweep.config.overrides import to_hydra_literal
from vsweep.config.spec import make_spec
from vsweep.config.to_overrides import trial_overrides
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.errors import ConfigError
from vsweep.results import Sweep


def overrides(
    directory: str | Path,
    trial: int,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
) -> list[str]:
    """The exact config of a trial of a sweep, as overrides: all of its fields and its seed.

    Raises `ConfigError` where there is no such trial.
    """
    made = recorded_spec(Path(directory), own, allow_targets)
    number, row, seeds = made.grid.trials()
    at = int(np.searchsorted(number, trial))
    if at == len(number) or number[at] != trial:
        got = f"no trial {trial} in {str(directory)!r}"
        raise ConfigError("trial", got, f"it takes one of its {len(number):,}, up to {number[-1]}")
    return trial_overrides(made.cell(int(made.grid.cells[row[at]])), int(seeds[at]))


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
    allowed = f"allow_targets={to_hydra_literal(list(allow_targets))}"
    made = replace(make_spec([*words, *more, allowed], own), name=f"trial-{trial}")
    _refuse_others(plan_sweep(made, measurements(), {})[0], Sweep(directory), [trial])
    sweep = train_sweep(made, None if to is None else Path(to), quiet=quiet)
    (number,) = sweep.trials["trial"]
    return Reproduced(words, sweep, sweep.params(number), sweep.predictor(number))
