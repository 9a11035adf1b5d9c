"""Check a W&B sweep file, and find the fields of its parameters."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.errors import ConfigError, short_repr, suggest

# The overrides that give a parameter's field.
NAMES = "wandb_sweep.names"
# These keys are used or change nothing; the others are ignored with a note, or refused.
_ITS_OWN = ["method", "parameters", "run_cap", "name", "description", "project", "entity"]
_ITS_OWN += ["kind", "apiVersion", "version"]
UNUSED = {
    **dict.fromkeys(
        ("program", "command", "job", "image_uri", "launch", "scheduler", "controller"),
        "vsweep trains the models itself",
    ),
    "metric": "cells are ranked by what is held out, and vsweep.load(…).cells(metric) ranks by another",
}
_KEYS = (*_ITS_OWN, *UNUSED, "early_terminate")
# Other common names of our fields.
_ALIASES = {
    "learning_rate": "optimizer.lr",
    "beta1": "optimizer.b1",
    "beta2": "optimizer.b2",
    "hidden": "model.width",
    "hidden_size": "model.width",
}
# Common names of quantities that are not quite the same here, for the user to decide.
_LIKE = {
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "iterations"), "steps"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "total_steps"), "steps"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers"), "depth"),
    **dict.fromkeys(("units", "num_units", "layer_size", "fc_layer_size", "hidden_dim"), "width"),
    "wd": "weight_decay",
}


def check_keys(content: Mapping[Any, Any]) -> None:
    """Raise `ConfigError` for an unknown key, or one that asks for what cannot be done here."""
    for key in content:
        if key not in _KEYS:
            raise ConfigError(str(key), "no field of a W&B sweep file", suggest(str(key), _KEYS))
    method = content.get("method")
    if method not in ("grid", "random"):
        got = "got nothing" if method is None else f"got {short_repr(method)}"
        raise ConfigError("method", got, "it takes grid or random: all is planned before the first training")
    if content.get("early_terminate"):
        got = f"got {short_repr(content['early_terminate'])}"
        raise ConfigError("early_terminate", got, "every training goes to its end: leave it out")
    metric = content.get("metric")
    if isinstance(metric, Mapping) and "target" in metric:
        got = f"got {short_repr(metric['target'])}"
        raise ConfigError("metric.target", got, "no value ends a sweep: leave it out")
    for key in ("project", "entity"):
        if content.get(key) is not None and not isinstance(content[key], str):
            raise ConfigError(key, f"got {short_repr(content[key])}", "it takes text")


def by_field(parameters: Any, names: Mapping[str, str | None]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return each parameter's name for messages and its fields, by our field.

    Args:
        parameters: The parameters of a W&B sweep file.
        names: The fields of parameters by name, None for a parameter to leave out; others are found by name.

    Raises:
        ConfigError: If a parameter is malformed, or has no field.
    """
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    flat = dict(_flatten(parameters, ""))
    for name in names:
        if name not in flat:
            raise ConfigError(f"{NAMES}.{name}", "no such parameter", suggest(name, flat))
    for name, parameter in flat.items():
        alias = names.get(name, name)
        if alias is None:
            continue
        path, label = _field_of(alias, name), f"parameters.{name}"
        if path in found:
            raise ConfigError(label, f"{path} is given twice, by {found[path][0]} too", "give it once")
        found[path] = (label, _with_typed_values(path, parameter))
    return found


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
        raise ConfigError(label, "is no field of a trial", f"give {alias}=… on the command line")
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
    takes = f"choose one: {NAMES}.{name}={' or '.join(paths)}" if paths else _suggestion(last, name)
    raise ConfigError(label, "no such field", takes)


def _suggestion(last: str, name: str) -> str:
    """Return the known name nearest to a last part, and how to give another field."""
    fields = dict.fromkeys([*GROUPS, "seed", *(path.rpartition(".")[2] for path in FIELDS)])
    nearest = f"did you mean {_LIKE[last]}?" if last in _LIKE else suggest(last, [*fields, *_ALIASES])
    advice = f"{NAMES}.{name}=… gives its field, or null to leave it out"
    # Without a near name, the advice comes before the long list of all names.
    return f"{nearest} {advice}" if nearest.endswith("?") else f"{advice}; fields are {', '.join(fields)}"
