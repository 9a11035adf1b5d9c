"""Translate a W&B sweep file into fields with values: `method: grid` into axes, `method: random` into draws.

These fields are composed and recorded, so that a sweep no longer needs the file.
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
# More drawn values would take minutes to plan.
_MOST = 1_000_000


class UserConfig(NamedTuple):
    """A config as the user gives it.

    Attributes:
        overrides: The overrides in order; later ones replace earlier ones.
        notes: Remarks on a W&B sweep file.
    """

    overrides: list[Override]
    notes: tuple[str, ...] = ()


class _Request(NamedTuple):
    """The overrides that concern the file, and the others.

    Attributes:
        path: The file.
        run_cap: The number of runs, where an override gives it.
        seed: The seed of the draws.
        names: The fields of parameters by name, None for a parameter to leave out.
        others: The other overrides.
    """

    path: Path
    run_cap: int | None
    seed: int
    names: dict[str, str | None]
    others: list[Override]


def translate_wandb(overrides: Sequence[Override]) -> UserConfig:
    """Replace `wandb_sweep=path.yaml` by the file's fields; the other overrides follow them.

    `wandb_sweep.run_cap` gives the number of runs, `wandb_sweep.seed` seeds the draws, and
    `wandb_sweep.names.NAME` gives a parameter's field.

    Raises:
        ConfigError: If the file or an override that concerns it is not accepted.
    """
    if not any(map(_is_about_file, overrides)):
        return UserConfig(list(overrides))
    request = _parse_request(overrides)
    with readable(_WORD, request.path):
        return _translate(read(request.path, request.names), request)


def _is_about_file(override: Override) -> bool:
    return bool(re.match(rf"{_WORD}\b", override_key(override)))


def _parse_request(overrides: Sequence[Override]) -> _Request:
    values: dict[str, str] = {}
    for override in filter(_is_about_file, overrides):
        key = override_key(override)
        if isinstance(override, FieldValue):
            value = override.value if isinstance(override.value, str) else to_hydra_literal(override.value)
        else:
            value = unquoted(override.partition("=")[2])
        if key not in (_WORD, _RUN_CAP, _SEED) and not key.startswith(f"{NAMES}."):
            raise ConfigError(key, "no such field", suggest(key, (_WORD, _RUN_CAP, _SEED, f"{NAMES}.NAME")))
        if not value or key in values:
            takes = _TAKES if key == _WORD else f"give {key}=… once"
            raise ConfigError(key, "given twice" if key in values else "got nothing", takes)
        values[key] = value
    if _WORD not in values:
        raise ConfigError(_WORD, "got nothing", _TAKES)
    run_cap = _count(_RUN_CAP, values[_RUN_CAP], 1) if _RUN_CAP in values else None
    names = {
        key.removeprefix(f"{NAMES}."): None if value == "null" else value
        for key, value in values.items()
        if key.startswith(NAMES)
    }
    others = [override for override in overrides if not _is_about_file(override)]
    return _Request(Path(values[_WORD]), run_cap, _count(_SEED, values.get(_SEED, "0"), 0), names, others)


def _count(field: str, value: Any, least: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,12}", text) or int(text) < least:
        raise ConfigError(field, f"got {short_repr(value)}", f"it takes an integer of at least {least}")
    return int(text)


def _translate(file: WandbFile, request: _Request) -> UserConfig:
    # The other overrides replace the file's values of a field; a deletion only removes these.
    overridden = {_path_of(override) for override in request.others}
    others = [
        override
        for override in request.others
        if not (override_key(override).startswith("~") and _path_of(override) in file.parameters)
    ]
    parameters = {
        path: distribution(*parameter)
        for path, parameter in file.parameters.items()
        if path not in overridden
    }
    tracker = {f"tracker.wandb.{key}": text for key, text in file.tracker.items()}
    fields = {path: text for path, text in tracker.items() if path not in overridden}
    notes = [f"{key} of {request.path} is not used: {reason}" for key, reason in file.unused.items()]
    seeds = parameters.pop("seeds", None)
    varied = {path: parameter for path, parameter in parameters.items() if parameter.name != "constant"}
    fields |= {path: parameter.values[0] for path, parameter in parameters.items() if path not in varied}
    cap = request.run_cap if request.run_cap is not None else file.run_cap
    cap = None if cap is None else _count("run_cap", cap, 1)
    if varied:
        axes = _random(varied, cap, request.seed) if file.random else _grid(varied, cap)
        fields |= axes
        if seeds is not None and seeds.name != "constant" and next(iter(axes)).startswith("draws."):
            notes.append(f"run_cap of {request.path} counts cells: each is trained with every seed")
    if seeds is not None:
        fields["seeds"] = _seeds(seeds, random=file.random)
    return UserConfig([*starmap(FieldValue, fields.items()), *others], tuple(notes))


def _path_of(override: Override) -> str:
    """Return the path of the field that an override fixes, varies or deletes."""
    path = override_key(override).lstrip("~").removeprefix("grid.").removeprefix("draws.")
    group = path.removesuffix(".name")
    return group if group in GROUPS else path


def _grid(varied: Mapping[str, Distribution], cap: int | None) -> dict[str, Any]:
    """Return the axes of all combinations, or the first `cap` combinations as draws.

    W&B orders combinations by the parameters' names, the last of them fastest.
    """
    axes = {path: parameter.axis() for path, parameter in varied.items()}
    values = {path: axis_values(path, axis) for path, axis in axes.items()}
    if cap is None or cap >= math.prod(map(len, values.values())):
        return {f"grid.{path}": axis for path, axis in axes.items()}
    _refuse_many(cap, len(axes))
    ordered = sorted(values, key=lambda path: varied[path].field)
    columns = np.unravel_index(np.arange(cap), [len(values[path]) for path in ordered])
    indices = dict(zip(ordered, columns, strict=True))
    return {f"draws.{path}": [options[i] for i in indices[path].tolist()] for path, options in values.items()}


def _random(varied: Mapping[str, Distribution], cap: int | None, seed: int) -> dict[str, Any]:
    """Return `cap` draws. Each field has a random stream of its own, so a larger cap only adds draws."""
    if cap is None:
        takes = f"method: random needs a number of runs: give {_RUN_CAP}=50, or run_cap in the file"
        raise ConfigError("run_cap", "got nothing", takes)
    _refuse_many(cap, len(varied))
    draws = {}
    for path, parameter in varied.items():
        # The numbers are within (0, 1), since a normal distribution has no quantile at the ends.
        u = np.random.default_rng([seed, *path.encode()]).random(cap) + 2.0**-54
        draws[f"draws.{path}"] = parameter.draw(u)
    return draws


def _refuse_many(runs: int, parameters: int) -> None:
    if runs * parameters > _MOST:
        got = f"{runs:,} runs of {parameters} parameters"
        raise ConfigError("run_cap", got, f"it takes up to {_MOST:,} values in all")


def _seeds(parameter: Distribution, *, random: bool) -> Any:
    """Return the `seeds` of a parameter `seed` or `seeds`; one value of `seeds` is a count."""
    if parameter.name == "constant":
        (value,) = parameter.values
        is_count = parameter.field.rpartition(".")[2] == "seeds" or isinstance(value, list)
        return value if is_count else [value]
    if random and (not parameter.values or parameter.probabilities):
        takes = "every draw is trained with the same seeds: give values, or seeds=… on the command line"
        raise ConfigError(parameter.field, f"a seed cannot be drawn, got {parameter.name}", takes)
    return list(seed_list(list(axis_values("seeds", parameter.axis()))))
