"""Translate a W&B sweep file into fields with values: `method: grid` into axes, `method: random` into draws.

These fields are composed and recorded, so that a sweep no longer needs the file.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vsweep.config.grid import axis_values, seed_list
from vsweep.config.overrides import Override, to_hydra_literal
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.config.sweep_file import load, readable
from vsweep.config.wandb.distributions import Distribution, distribution
from vsweep.errors import ConfigError, short_repr, suggest

_WORD = "wandb_sweep"
_RUN_CAP, _SEED = f"{_WORD}.run_cap", f"{_WORD}.seed"
_TAKES = f"it takes a W&B sweep file: {_WORD}=path.yaml"
# More drawn values would take minutes to plan.
_MOST = 1_000_000
# The prefix of the overrides that name a parameter's field.
_NAMES = f"{_WORD}.names"
# These keys are used or change nothing; the others are ignored with a note, or refused.
_ITS_OWN = ["method", "parameters", "run_cap", "name", "description", "project", "entity"]
_ITS_OWN += ["kind", "apiVersion", "version"]
_UNUSED = {
    **dict.fromkeys(
        ("program", "command", "job", "image_uri", "launch", "scheduler", "controller"),
        "vsweep trains the models itself",
    ),
    "metric": "cells are ranked by the validation metric, and vsweep.load(…).cells(metric) ranks by another",
}
_KEYS = (*_ITS_OWN, *_UNUSED, "early_terminate")
# Other common names of our fields.
_ALIASES = {
    "learning_rate": "optimizer.lr",
    "beta1": "optimizer.b1",
    "beta2": "optimizer.b2",
    "hidden": "model.width",
    "hidden_size": "model.width",
}
# These names often mean something slightly different from our field, so the message asks the user to decide.
_LIKE = {
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "iterations"), "steps"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "total_steps"), "steps"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers"), "depth"),
    **dict.fromkeys(("units", "num_units", "layer_size", "fc_layer_size", "hidden_dim"), "width"),
    "wd": "weight_decay",
}


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
        key.removeprefix(f"{_NAMES}."): None if value == "null" else value
        for key, value in values.items()
        if key.startswith(_NAMES)
    }
    cap = _count(_RUN_CAP, values[_RUN_CAP], 1) if _RUN_CAP in values else None
    seed = _count(_SEED, values.get(_SEED, "0"), 0)
    with readable(_WORD, path):
        content = load(path)
        _check_keys(content)
        parameters = _by_field(content.get("parameters"), names)
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
        axes = (_random(varied, cap, seed) if is_random else _grid(varied, cap)) if varied else {}
        if seeds is not None:
            axes["seeds"] = _seeds(seeds, random=is_random)
    notes = [f"{key} of {path} is not used: {reason}" for key, reason in _UNUSED.items() if key in content]
    if any(field.startswith("draws.") for field in axes) and seeds is not None and seeds.name != "constant":
        notes.append(f"run_cap of {path} counts cells: each is trained with every seed")
    return fields | axes, overrides, tuple(notes)


def _check_options(options: Sequence[tuple[str, Any]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path, value in options:
        key = path.lstrip("+")
        text = value if isinstance(value, str) else to_hydra_literal(value)
        if key not in (_WORD, _RUN_CAP, _SEED) and not key.startswith(f"{_NAMES}."):
            raise ConfigError(key, "no such field", suggest(key, (_WORD, _RUN_CAP, _SEED, f"{_NAMES}.NAME")))
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


def _check_keys(content: Mapping[Any, Any]) -> None:
    """Raise `ConfigError` for an unknown key, or one that asks for something that vsweep cannot do."""
    for key in content:
        if key not in _KEYS:
            raise ConfigError(str(key), "no field of a W&B sweep file", suggest(str(key), _KEYS))
    method = content.get("method")
    if method not in ("grid", "random"):
        got = "got nothing" if method is None else f"got {short_repr(method)}"
        raise ConfigError("method", got, "it takes grid or random: all runs are planned before training")
    if content.get("early_terminate"):
        got = f"got {short_repr(content['early_terminate'])}"
        raise ConfigError("early_terminate", got, "every training runs to its end: leave it out")
    metric = content.get("metric")
    if isinstance(metric, Mapping) and "target" in metric:
        got = f"got {short_repr(metric['target'])}"
        raise ConfigError("metric.target", got, "no metric value ends a sweep: leave it out")
    for key in ("project", "entity"):
        if content.get(key) is not None and not isinstance(content[key], str):
            raise ConfigError(key, f"got {short_repr(content[key])}", "it takes text")


def _by_field(parameters: Any, names: Mapping[str, str | None]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return each parameter's name for messages and its fields, by our field.

    Args:
        parameters: The parameters of a W&B sweep file.
        names: The fields of parameters by name, None for a parameter to leave out; others are parsed by name.

    Raises:
        ConfigError: If a parameter is malformed, or has no field.
    """
    parsed: dict[str, tuple[str, Mapping[str, Any]]] = {}
    flat = dict(_flatten(parameters, ""))
    for name in names:
        if name not in flat:
            raise ConfigError(f"{_NAMES}.{name}", "no such parameter", suggest(name, flat))
    for name, parameter in flat.items():
        alias = names.get(name, name)
        if alias is None:
            continue
        path, label = _field_of(alias, name), f"parameters.{name}"
        if path in parsed:
            raise ConfigError(label, f"{path} is given twice, by {parsed[path][0]} too", "give it once")
        parsed[path] = (label, _with_typed_values(path, parameter))
    return parsed


def _with_typed_values(path: str, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a parameter with text read as numbers and booleans, where its field takes no such text.

    W&B hands values to a program as words of its command line, where "1e-3" and 1e-3 are the same.
    """

    def typed(value: Any) -> Any:
        if isinstance(value, str) and path in FIELDS:
            with suppress(ValueError):
                return FIELDS[path].parse(value, path, strict=False)
        return value

    changed: dict[str, Any] = {}
    if "value" in parameter:
        changed["value"] = typed(parameter["value"])
    if isinstance(parameter.get("values"), list):
        changed["values"] = [typed(value) for value in parameter["values"]]
    return {**parameter, **changed}


def _flatten(parameters: Any, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every parameter with its dotted name, nested ones included."""
    if not isinstance(parameters, Mapping) or not parameters:
        got = "got nothing" if parameters is None else f"got {short_repr(parameters)}"
        takes = "it takes names, each with values, value, or min and max"
        raise ConfigError(f"parameters.{prefix}".rstrip("."), got, takes)
    for key, parameter in parameters.items():
        name = f"{prefix}{key}"
        if not isinstance(parameter, Mapping):
            takes = f"it takes a mapping, as {{value: {short_repr(parameter)}}}"
            raise ConfigError(f"parameters.{name}", f"got {short_repr(parameter)}", takes)
        if set(parameter) == {"parameters"}:
            yield from _flatten(parameter["parameters"], f"{name}.")
        else:
            yield name, parameter


def _field_of(alias: str, name: str) -> str:
    """Return the path of a field.

    Args:
        alias: The field's path, or a last part of it that no other field has.
        name: The parameter's name, for messages.
    """
    group, _, rest = alias.partition(".")
    last = alias.rpartition(".")[2]
    label = f"parameters.{name}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", alias):
        raise ConfigError(label, "no such field", _suggestion(last, name))
    if alias in SWEEP_FIELDS or group in ("tracker", "keep", "hydra", "grid", "draws", "sweep"):
        raise ConfigError(label, "is not a field of a trial", f"give {alias}=… on the command line")
    if group in GROUPS:
        # The fields of the user's own functions are not known here.
        return group if rest == "name" else alias
    if last in ("seed", "seeds"):
        return "seeds"
    paths = [path for path in FIELDS if path.rpartition(".")[2] == last]
    if len(paths) == 1:
        return paths[0]
    if alias in _ALIASES:
        return _ALIASES[alias]
    takes = f"choose one: {_NAMES}.{name}={' or '.join(paths)}" if paths else _suggestion(last, name)
    raise ConfigError(label, "no such field", takes)


def _suggestion(last: str, name: str) -> str:
    """Return the known name nearest to a last part, and how to give another field."""
    fields = dict.fromkeys([*GROUPS, "seed", *(path.rpartition(".")[2] for path in FIELDS)])
    nearest = f"did you mean {_LIKE[last]}?" if last in _LIKE else suggest(last, [*fields, *_ALIASES])
    advice = f"{_NAMES}.{name}=… names its field, and null leaves it out"
    # Without a near name, the advice comes before the long list of all names.
    return f"{nearest} {advice}" if nearest.endswith("?") else f"{advice}; fields are {', '.join(fields)}"


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
