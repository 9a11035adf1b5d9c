"""Translate a W&B sweep file into fields with values: `method: grid` into axes, `method: random` into draws.

These fields are composed and recorded, so that a sweep no longer needs the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vsweep.config.grid import axis_values, seed_list
from vsweep.config.overrides import Override, to_hydra_literal
from vsweep.config.schema import GROUPS
from vsweep.config.sweep_file import load, readable
from vsweep.config.wandb.distributions import Distribution, distribution
from vsweep.config.wandb.parse import NAMES, UNUSED, by_field, check_keys
from vsweep.errors import ConfigError, short_repr, suggest

_WORD = "wandb_sweep"
_RUN_CAP, _SEED = f"{_WORD}.run_cap", f"{_WORD}.seed"
_TAKES = f"it takes a W&B sweep file: {_WORD}=path.yaml"
# More drawn values would take minutes to plan.
_MOST = 1_000_000


def is_about_file(word: str) -> bool:
    """Return True for a word, or the path of a field, that concerns the W&B sweep file."""
    return bool(re.match(rf"\+*{_WORD}\b", word))


def fields_of_file(
    options: Sequence[tuple[str, Any]], overrides: Sequence[Override]
) -> tuple[dict[str, Any], list[Override], tuple[str, ...]]:
    """Return the fields of a W&B sweep file with their values.

    Args:
        options: `wandb_sweep` with the file's path, and others by path: `wandb_sweep.run_cap` gives the
            number of runs, `wandb_sweep.seed` the seed of the draws, and `wandb_sweep.names.NAME` a
            parameter's field.
        overrides: The user's overrides, which replace the file's values of a field.

    Returns:
        The fields with their values; the overrides, without those that delete a parameter of the file; and
        remarks on the file.

    Raises:
        ConfigError: If the file or an option is not accepted.
    """
    values = _check_options(options)
    path = Path(values[_WORD])
    names = {
        key.removeprefix(f"{NAMES}."): None if value == "null" else value
        for key, value in values.items()
        if key.startswith(NAMES)
    }
    cap = _count(_RUN_CAP, values[_RUN_CAP], 1) if _RUN_CAP in values else None
    seed = _count(_SEED, values.get(_SEED, "0"), 0)
    with readable(_WORD, path):
        content = load(path)
        check_keys(content)
        parameters = by_field(content.get("parameters"), names)
        if cap is None and content.get("run_cap") is not None:
            cap = _count("run_cap", content["run_cap"], 1)
        overridden = {_path_of(override) for override in overrides}
        kept = [o for o in overrides if not (o.kind == "delete" and _path_of(o) in parameters)]
        left = {f: distribution(*parameter) for f, parameter in parameters.items() if f not in overridden}
        seeds = left.pop("seeds", None)
        varied = {field: parameter for field, parameter in left.items() if parameter.name != "constant"}
        tracker = {f"tracker.wandb.{key}": content.get(key) for key in ("project", "entity")}
        fields = {f: text for f, text in tracker.items() if text is not None and f not in overridden}
        fields |= {field: parameter.values[0] for field, parameter in left.items() if field not in varied}
        is_random = content["method"] == "random"
        axes = (_random(varied, cap, seed) if is_random else _grid(varied, cap)) if varied else {}
        if seeds is not None:
            axes["seeds"] = _seeds(seeds, random=is_random)
    notes = [f"{key} of {path} is not used: {reason}" for key, reason in UNUSED.items() if key in content]
    if any(field.startswith("draws.") for field in axes) and seeds is not None and seeds.name != "constant":
        notes.append(f"run_cap of {path} counts cells: each is trained with every seed")
    return fields | axes, kept, tuple(notes)


def _check_options(options: Sequence[tuple[str, Any]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path, value in options:
        key = path.lstrip("+")
        text = value if isinstance(value, str) else to_hydra_literal(value)
        if key not in (_WORD, _RUN_CAP, _SEED) and not key.startswith(f"{NAMES}."):
            raise ConfigError(key, "no such field", suggest(key, (_WORD, _RUN_CAP, _SEED, f"{NAMES}.NAME")))
        if not text or key in values:
            takes = _TAKES if key == _WORD else f"give {key}=… once"
            raise ConfigError(key, "given twice" if key in values else "got nothing", takes)
        values[key] = text
    if _WORD not in values:
        raise ConfigError(_WORD, "got nothing", _TAKES)
    return values


def _count(field: str, value: Any, least: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,12}", text) or int(text) < least:
        raise ConfigError(field, f"got {short_repr(value)}", f"it takes an integer of at least {least}")
    return int(text)


def _path_of(override: Override) -> str:
    """Return the path of the field that an override fixes, varies or deletes."""
    path = override.key.removeprefix("grid.").removeprefix("draws.")
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
