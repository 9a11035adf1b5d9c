"""A W&B sweep file as fields and their values: `method: grid` as axes, `method: random` as draws.

These fields are composed and recorded, so that a sweep needs the file no more.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.grid import axis_values, seed_list
from vsweep.config.overrides import FieldValue, Override, override_key, to_hydra_literal, unquoted
from vsweep.config.schema import GROUPS
from vsweep.config.sweep_file import readable
from vsweep.config.wandb.distributions import Distribution, distribution
from vsweep.config.wandb.parse import NAMES, WandbFile, read
from vsweep.errors import ConfigError, short_repr, suggest

_WORD = "wandb_sweep"
_RUN_CAP, _SEED = f"{_WORD}.run_cap", f"{_WORD}.seed"
_TAKES = f"it takes a W&B sweep file: {_WORD}=path.yaml"
# Of draws; more would take minutes to plan.
_MOST = 1_000_000


class UserConfig(NamedTuple):
    """A config that a person gives.

    overrides: in order, later ones standing for earlier ones. notes: what became of a W&B sweep file.
    """

    overrides: list[Override]
    notes: tuple[str, ...] = ()


class _Asked(NamedTuple):
    """What the overrides say of the file. others: those that say nothing of it."""

    path: str
    run_cap: int | None
    seed: int
    names: dict[str, str | None]
    others: list[Override]


def translate_wandb(overrides: Sequence[Override]) -> UserConfig:
    """Return overrides in which `wandb_sweep=path.yaml` is what the file says, and the others go before it.

    `wandb_sweep.run_cap` says how many runs, `wandb_sweep.seed` seeds the draws, `wandb_sweep.names.NAME`
    says of which field a parameter is. Raises `ConfigError`.
    """
    if not any(map(_names_file, overrides)):
        return UserConfig(list(overrides))
    asked = _asked(overrides)
    with readable(_WORD, Path(asked.path)):
        return _translated(read(Path(asked.path), asked.names), asked)


def _names_file(override: Override) -> bool:
    return bool(re.match(rf"{_WORD}\b", override_key(override)))


def _asked(overrides: Sequence[Override]) -> _Asked:
    mine: dict[str, str] = {}
    for override in filter(_names_file, overrides):
        key = override_key(override)
        if isinstance(override, FieldValue):
            value = override.value if isinstance(override.value, str) else to_hydra_literal(override.value)
        else:
            value = unquoted(override.partition("=")[2])
        if key not in (_WORD, _RUN_CAP, _SEED) and not key.startswith(f"{NAMES}."):
            raise ConfigError(key, "no such field", suggest(key, (_WORD, _RUN_CAP, _SEED, f"{NAMES}.NAME")))
        if not value or key in mine:
            takes = _TAKES if key == _WORD else f"give {key}=… once"
            raise ConfigError(key, "given twice" if key in mine else "got nothing", takes)
        mine[key] = value
    if _WORD not in mine:
        raise ConfigError(_WORD, "got nothing", _TAKES)
    run_cap = _count(_RUN_CAP, mine[_RUN_CAP], 1) if _RUN_CAP in mine else None
    seed = _count(_SEED, mine.get(_SEED, "0"), 0)
    named = {key.removeprefix(f"{NAMES}."): value for key, value in mine.items() if key.startswith(NAMES)}
    names = {name: None if value == "null" else value for name, value in named.items()}
    others = [override for override in overrides if not _names_file(override)]
    return _Asked(mine[_WORD], run_cap, seed, names, others)


def _count(field: str, given: Any, least: int) -> int:
    text = str(given)
    if isinstance(given, bool) or not re.fullmatch("[0-9]{1,12}", text) or int(text) < least:
        raise ConfigError(field, f"got {short_repr(given)}", f"it takes an integer of at least {least}")
    return int(text)


def _translated(file: WandbFile, asked: _Asked) -> UserConfig:
    # What the other overrides say of a field stands for what the file says of it.
    said = {_field_in(override) for override in asked.others}
    others = [override for override in asked.others if not _takes_out(override, file.parameters)]
    left = {path: distribution(*one) for path, one in file.parameters.items() if path not in said}
    tracker = {f"tracker.wandb.{key}": text for key, text in file.tracker.items()}
    fields = {path: text for path, text in tracker.items() if path not in said}
    notes = [f"{key} of {asked.path} is not used: {why}" for key, why in file.unused.items()]
    seeds = left.pop("seeds", None)
    varied = {path: one for path, one in left.items() if one.name != "constant"}
    fields |= {path: one.values[0] for path, one in left.items() if path not in varied}
    cap = asked.run_cap if asked.run_cap is not None else file.run_cap
    cap = None if cap is None else _count("run_cap", cap, 1)
    if varied:
        axes = _random(varied, cap, asked.seed) if file.random else _grid(varied, cap)
        fields |= axes
        if seeds is not None and seeds.name != "constant" and next(iter(axes)).startswith("draws."):
            notes.append(f"run_cap of {asked.path} counts cells: each is trained with every seed")
    if seeds is not None:
        fields["seeds"] = _seeds(seeds, random=file.random)
    return UserConfig([*starmap(FieldValue, fields.items()), *others], tuple(notes))


def _takes_out(override: Override, parameters: Mapping[str, Any]) -> bool:
    """Whether an override takes out what the file says of a field."""
    return override_key(override).startswith("~") and _field_in(override) in parameters


def _field_in(override: Override) -> str:
    """Return the field that an override is of, whether it fixes the field or says its values."""
    path = override_key(override).lstrip("~").removeprefix("grid.").removeprefix("draws.")
    group = path.removesuffix(".name")
    return group if group in GROUPS else path


def _grid(varied: Mapping[str, Distribution], cap: int | None) -> dict[str, Any]:
    """Return the axes of all combinations, or the draws of the first so many.

    W&B orders combinations by the parameters' names, the last of them fastest.
    """
    axes = {path: one.axis() for path, one in varied.items()}
    values = {path: axis_values(path, axis) for path, axis in axes.items()}
    if cap is None or cap >= math.prod(map(len, values.values())):
        return {f"grid.{path}": axis for path, axis in axes.items()}
    _refuse_many(cap, len(axes))
    ordered = sorted(values, key=lambda path: varied[path].field)
    places = np.unravel_index(np.arange(cap), [len(values[path]) for path in ordered])
    at = dict(zip(ordered, places, strict=True))
    return {f"draws.{path}": [options[i] for i in at[path].tolist()] for path, options in values.items()}


def _random(varied: Mapping[str, Distribution], cap: int | None, seed: int) -> dict[str, Any]:
    """Return so many draws. Each field has a random stream of its own, so more draws only add to it."""
    if cap is None:
        takes = f"method: random takes how many runs: give {_RUN_CAP}=50, or run_cap in the file"
        raise ConfigError("run_cap", "got nothing", takes)
    _refuse_many(cap, len(varied))
    draws = {}
    for path, one in varied.items():
        # Within (0, 1): the ends have no place under a normal distribution.
        u = np.random.default_rng([seed, *path.encode()]).random(cap) + 2.0**-54
        draws[f"draws.{path}"] = one.draw(u)
    return draws


def _refuse_many(runs: int, parameters: int) -> None:
    if runs * parameters > _MOST:
        got = f"{runs:,} runs of {parameters} parameters"
        raise ConfigError("run_cap", got, f"it takes up to {_MOST:,} values in all")


def _seeds(given: Distribution, *, random: bool) -> Any:
    """`seeds` of a parameter `seed`, or `seeds`, whose one value may be a count. Raises `ConfigError`."""
    if given.name == "constant":
        (value,) = given.values
        counted = given.field.rpartition(".")[2] == "seeds" or isinstance(value, list)
        return value if counted else [value]
    if random and (not given.values or given.probabilities):
        takes = "every draw is trained with the same seeds: give values, or seeds=… on the command line"
        raise ConfigError(given.field, f"a seed cannot be drawn, got {given.name}", takes)
    axis = given.axis()
    return list(seed_list(list(axis_values("seeds", axis))))
