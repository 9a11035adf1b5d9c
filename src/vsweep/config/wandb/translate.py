"""Translate a W&B sweep file into fields with values: `method: grid` into axes, `method: random` into draws.

These fields are composed and recorded, so that a sweep no longer needs the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from vsweep.config.grid import axis_values, seed_list
from vsweep.config.groups import check_choice, options
from vsweep.config.names import nearest_choice
from vsweep.config.overrides import Override, to_hydra_literal
from vsweep.config.schema import GROUPS
from vsweep.config.sweep_file import load, readable
from vsweep.config.values import from_python
from vsweep.config.wandb.distributions import Distribution, distribution
from vsweep.config.wandb.parameters import NAMES, VALUES, WORD, by_field, plain
from vsweep.errors import ConfigError, short_repr, suggest

_RUN_CAP, _SEED = f"{WORD}.run_cap", f"{WORD}.seed"
# These overrides replace a key of the file.
_REPLACED = {f"{WORD}.{key}": key for key in ("method", "early_terminate")}
_TAKES = f"it takes a W&B sweep file: {WORD}=path.yaml"
# More drawn values would take minutes to plan.
_MOST = 1_000_000
# These keys are used or change nothing; the others are ignored with a note, or refused.
_ITS_OWN = ["method", "parameters", "run_cap", "name", "description", "project", "entity"]
_ITS_OWN += ["kind", "apiVersion", "version"]
_UNUSED = {
    **dict.fromkeys(
        ("program", "command", "job", "image_uri", "launch", "scheduler", "controller"),
        "vsweep trains the models itself",
    ),
    "metric": "cells are ranked by val_accuracy or val_rmse, and metric=… ranks by another",
}
_KEYS = (*_ITS_OWN, *_UNUSED, "early_terminate")


def is_about_file(word: str) -> bool:
    """Return True for a word, or the path of a field, that concerns the W&B sweep file."""
    return bool(re.match(rf"\+*{WORD}\b", word))


def fields_of_file(
    options: Sequence[tuple[str, Any]], overrides: Sequence[Override]
) -> tuple[dict[str, Any], list[Override], tuple[str, ...]]:
    """Return the fields of a W&B sweep file with their values.

    Args:
        options: `wandb_sweep` with the file's path or its content, and others by path: `wandb_sweep.run_cap`
            gives the number of runs, `wandb_sweep.seed` the seed of the draws, `wandb_sweep.names.NAME` a
            parameter's field, `wandb_sweep.values.NAME.VALUE` another value in place of one of a parameter's;
            `wandb_sweep.method` and `wandb_sweep.early_terminate` replace the file's.
        overrides: The user's overrides, which replace the file's values of a field.

    Returns:
        The fields with their values; the overrides, without those that delete a parameter of the file; and
        remarks on the file.

    Raises:
        ConfigError: If the file or an option is not accepted.
    """
    values, content = _check_options(options)
    path = values.get(WORD, "the W&B sweep")
    names = {key: None if text == "null" else text for key, text in _below(NAMES, values).items()}
    cap = _count(_RUN_CAP, values[_RUN_CAP], 1) if _RUN_CAP in values else None
    seed = _count(_SEED, values.get(_SEED, "0"), 0)
    with readable(WORD, Path(path)) if content is None else nullcontext():
        content = load(Path(path)) if content is None else content
        content |= {key: plain(values[word]) for word, key in _REPLACED.items() if word in values}
        _check_keys(content)
        parameters, pairs = by_field(content.get("parameters"), names, _below(VALUES, values))
        if cap is None and content.get("run_cap") is not None:
            cap = _count("run_cap", content["run_cap"], 1)
        overridden = {_path_of(override) for override in overrides}
        overrides = [o for o in overrides if not (o.kind == "delete" and _path_of(o) in parameters)]
        active = {f: distribution(*parameter) for f, parameter in parameters.items() if f not in overridden}
        seeds = active.pop("seeds", None)
        varied = {field: parameter for field, parameter in active.items() if parameter.name != "constant"}
        tracker = {f"tracker.wandb.{key}": content.get(key) for key in ("project", "entity")}
        fields = {f: text for f, text in tracker.items() if text is not None and f not in overridden}
        fields |= {field: parameter.values[0] for field, parameter in active.items() if field not in varied}
        is_random = content["method"] == "random"
        axes = {}
        if varied:
            axes = _random(varied, cap, seed, pairs) if is_random else _grid(varied, cap, pairs)
        if seeds is not None:
            axes["seeds"] = _seeds(seeds, random=is_random)
    _check_choices(active)
    notes = [f"{key} of {path} is not used: {reason}" for key, reason in _UNUSED.items() if key in content]
    shown = active if seeds is None else active | {"seeds": seeds}
    notes.append(_describe_names(path, parameters, names, shown, axes))
    if any(field.startswith("draws.") for field in axes) and seeds is not None and seeds.name != "constant":
        notes.append(f"run_cap of {path} counts cells: each is trained with every seed")
    return fields | axes, overrides, tuple(notes)


def _check_options(options: Sequence[tuple[str, Any]]) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Return the options as text, and the content of a sweep that is given as a mapping."""
    values: dict[str, str] = {}
    content = None
    known = (WORD, _RUN_CAP, _SEED, *_REPLACED)
    for path, value in options:
        key = path.lstrip("+")
        if key == WORD and isinstance(value, Mapping):
            content = from_python(value)
            continue
        text = value if isinstance(value, str) else to_hydra_literal(value)
        if key not in known and not key.startswith((f"{NAMES}.", f"{VALUES}.")):
            takes = suggest(key, (*known, f"{NAMES}.NAME", f"{VALUES}.NAME.VALUE"))
            raise ConfigError(key, "no such field", takes)
        if not text or key in values:
            takes = _TAKES if key == WORD else f"give {key}=… once"
            raise ConfigError(key, "given twice" if key in values else "got nothing", takes)
        values[key] = text
    if WORD not in values and content is None:
        raise ConfigError(WORD, "got nothing", _TAKES)
    return values, content


def _below(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the options below a prefix, by the rest of their paths."""
    return {
        key.removeprefix(f"{prefix}."): text for key, text in values.items() if key.startswith(f"{prefix}.")
    }


def _describe_names(
    path: str,
    parameters: Mapping[str, tuple[str, Mapping[str, Any]]],
    names: Mapping[str, str | None],
    active: Mapping[str, Distribution],
    fields: Mapping[str, Any],
) -> str:
    """Return the field of every parameter, with the value of a constant, and of the seeds in `fields`."""
    parts = []
    for field, (label, _) in parameters.items():
        constant = field in active and active[field].name == "constant"
        value = f"={fields.get(field, active[field].values[0])}" if constant else ""
        replaced = "" if field in active else ", replaced"
        parts.append(f"{label.removeprefix('parameters.')} is {field}{value}{replaced}")
    parts += [f"{name} is left out" for name, field in names.items() if field is None]
    return f"parameters of {path}: {'; '.join(parts)}"


def _check_choices(active: Mapping[str, Distribution]) -> None:
    """Raise one `ConfigError` for all choices that their groups do not have, and say how to replace them."""
    unknown: list[tuple[ConfigError, str, str]] = []
    for group in GROUPS:
        for value in active[group].values if group in active else ():
            field = group if active[group].name == "constant" else f"grid.{group}"
            try:
                check_choice(group, value, field=field)
            except ConfigError as error:
                word = f"{VALUES}.{active[group].field.removeprefix('parameters.')}.{value}"
                unknown.append((error, word, nearest_choice(value, options(group)) or "…"))
    if len(unknown) == 1:
        ((refusal, word, _),) = unknown
        takes = f"{refusal.takes} {word}=… gives another choice for it"
        raise ConfigError(refusal.field, refusal.got, takes) from refusal
    if unknown:
        got = ", ".join(f"{refusal.field}: {refusal.got}" for refusal, *_ in unknown)
        words = " ".join(f"{word}={nearest}" for _, word, nearest in unknown)
        raise ConfigError("parameters", got, f"give another choice for each: {words}")


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


def _check_keys(content: Mapping[Any, Any]) -> None:
    """Raise `ConfigError` for an unknown key, or one that asks for something that vsweep cannot do."""
    for key in content:
        if key not in _KEYS:
            raise ConfigError(str(key), "no field of a W&B sweep file", suggest(str(key), _KEYS))
    method = content.get("method")
    if method not in ("grid", "random"):
        got = "got nothing" if method is None else f"got {short_repr(method)}"
        takes = (
            f"it takes grid or random: all runs are planned before training; {WORD}.method=random draws them"
        )
        raise ConfigError("method", got, takes)
    if content.get("early_terminate"):
        got = f"got {short_repr(content['early_terminate'])}"
        takes = f"every training runs to its end: {WORD}.early_terminate=null leaves it out"
        raise ConfigError("early_terminate", got, takes)
    metric = content.get("metric")
    if isinstance(metric, Mapping) and "target" in metric:
        got = f"got {short_repr(metric['target'])}"
        raise ConfigError("metric.target", got, "no metric value ends a sweep: leave it out")
    for key in ("project", "entity"):
        if content.get(key) is not None and not isinstance(content[key], str):
            raise ConfigError(key, f"got {short_repr(content[key])}", "it takes text")


def _grid(varied: Mapping[str, Distribution], cap: int | None, pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the axes of all combinations, or the first `cap` combinations as draws.

    W&B orders combinations by the parameters' names, the last of them fastest.

    Args:
        varied: The parameters by field.
        cap: The number of combinations; None for all.
        pairs: The pair of each field whose values vary with those of others.
    """
    axes = {path: parameter.axis() for path, parameter in varied.items()}
    # The fields of each parameter of the file, with their values; those of a pair may occur twice.
    units: dict[str, dict[str, Sequence[Any]]] = {}
    for path, axis in axes.items():
        columns: Sequence[Any] = varied[path].values if path in pairs else axis_values(path, axis)
        units.setdefault(pairs.get(path, varied[path].field), {})[path] = columns
    lengths = {name: len(next(iter(columns.values()))) for name, columns in units.items()}
    count = math.prod(lengths.values())
    drawn = sorted(units)
    if cap is None or cap >= count:
        drawn = [name for name in drawn if name in pairs.values()]
        count = math.prod(lengths[name] for name in drawn)
    else:
        count = cap
    crossed = [path for name, columns in units.items() if name not in drawn for path in columns]
    fields = {f"grid.{path}": axes[path] for path in crossed}
    if drawn:
        _refuse_many(count, sum(len(units[name]) for name in drawn))
        columns = np.unravel_index(np.arange(count), [lengths[name] for name in drawn])
        for name, places in zip(drawn, columns, strict=True):
            for path, values in units[name].items():
                fields[f"draws.{path}"] = [values[i] for i in places.tolist()]
    return fields


def _random(
    varied: Mapping[str, Distribution], cap: int | None, seed: int, pairs: Mapping[str, str]
) -> dict[str, Any]:
    """Return `cap` draws.

    Each field, or pair of fields, has a random stream of its own, so a larger cap only adds draws.
    """
    if cap is None:
        takes = f"method: random needs a number of runs: give {_RUN_CAP}=50, or run_cap in the file"
        raise ConfigError("run_cap", "got nothing", takes)
    _refuse_many(cap, len(varied))
    draws = {}
    for path, parameter in varied.items():
        # The numbers are within (0, 1), since a normal distribution has no quantile at the ends.
        u = np.random.default_rng([seed, *pairs.get(path, path).encode()]).random(cap) + 2.0**-54
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
