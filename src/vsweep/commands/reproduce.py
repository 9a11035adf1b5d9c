"""Train one trial of a sweep again, alone, from its exact config."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vsweep.commands.directory import plan_again, recorded_spec
from vsweep.commands.train import train_sweep
from vsweep.config.overrides import from_value, spell
from vsweep.config.spec import make_spec
from vsweep.config.to_overrides import cell_values
from vsweep.config.user_input import UserConfig
from vsweep.errors import ConfigError
from vsweep.metrics import chosen_metric
from vsweep.results import Sweep
from vsweep.store.lock import check_inside


def overrides(
    directory: str | Path, trial: int, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> list[str]:
    """Return the exact config of a trial of a sweep as overrides: all of its fields, and its seed.

    Nothing is imported.

    Args:
        directory: The sweep's directory.
        trial: The trial's number.
        own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.
        allow_targets: Without effect, as the config is read from the sweep's record.

    Raises:
        ConfigError: If there is no such trial.
    """
    return list(starmap(spell, _fields(directory, trial, own).items()))


def _fields(directory: str | Path, trial: int, own: Mapping[str, Any] | None) -> dict[str, Any]:
    spec = recorded_spec(Path(directory), own)
    number, row, seeds = spec.grid.trials()
    position = int(np.searchsorted(number, trial))
    if position == len(number) or number[position] != trial:
        got = f"no trial {trial} in {str(directory)!r}"
        raise ConfigError("trial", got, f"it has {len(number):,} trials, numbered up to {number[-1]}")
    cell = spec.cell(int(spec.grid.cells[row[position]])).of_split(int(spec.grid.split_of_trial()[position]))
    metric = chosen_metric(spec.raw)
    chosen = {} if metric is None else {"metric": metric}
    return cell_values(cell) | {"seeds": [int(seeds[position])]} | chosen


class Reproduced(NamedTuple):
    """A trial that was trained again, alone.

    Attributes:
        overrides: The trial's exact config.
        sweep: The sweep of this one trial.
        params: The trained parameters by name.
        predictor: A function of examples `(examples, features)`, as in the data file, that returns classes or
            numbers.
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
    allow_urls: Sequence[str] = (),
    max_bytes: int | None = None,
    quiet: bool = True,
) -> Reproduced:
    """Train a trial of a sweep again, alone, and keep its parameters.

    Args:
        directory: The sweep's directory.
        trial: The trial's number.
        to: The new directory; by default `outputs/trial-NUMBER/TIME`.
        own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.
        allow_targets: Modules whose functions the sweep's config may name.
        allow_urls: URLs that the sweep's config may name as `data.path`.
        max_bytes: The bound on what is read of a table, `data.max_bytes`; by default 4 GB.
        quiet: Show nothing while the trial trains.

    Raises:
        ConfigError: If there is no such trial, or the data or functions have changed.
    """
    check_inside(Path(directory))
    fields = _fields(directory, trial, own)
    more = {"keep.params": "all", "verify": False, "tracker": "none"}
    more |= {"allow_targets": list(allow_targets), "allow_urls": list(allow_urls)}
    more |= {} if max_bytes is None else {"data.max_bytes": max_bytes}
    recorded, given = (list(starmap(from_value, part.items())) for part in (fields, more))
    spec = replace(make_spec(UserConfig(given, recorded=recorded), own), name=f"trial-{trial}")
    plan_again(spec, Sweep(directory), trial, quiet=quiet)
    sweep = train_sweep(spec, None if to is None else Path(to), quiet=quiet)
    (number,) = sweep.trials["trial"]
    return Reproduced(
        list(starmap(spell, fields.items())), sweep, sweep.params(number), sweep.predictor(number)
    )
