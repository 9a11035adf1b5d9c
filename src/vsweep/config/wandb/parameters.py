"""Read the parameters of a W&B sweep: the field that each of them stands for, and their values.

A name counts alone, or under the name of a group: `lr` and `optimizer.lr` are our learning rate, but not
`teacher.lr`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import yaml

from vsweep.config.names import SAME, common_field
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.config.validate import USER_KINDS, leaves
from vsweep.errors import ConfigError, short_repr, suggest

WORD = "wandb_sweep"
# The prefixes of the overrides that name a parameter's field, and that replace one of its values.
NAMES, VALUES = f"{WORD}.names", f"{WORD}.values"


def plain(text: str) -> Any:
    """Return the value of an option that is given as text."""
    return yaml.safe_load(text) if re.fullmatch(r"[\w.+-]+", text) else text


def by_field(
    parameters: Any, names: Mapping[str, str | None], replaced: Mapping[str, str]
) -> tuple[dict[str, tuple[str, Mapping[str, Any]]], dict[str, str]]:
    """Return each parameter's name for messages and its fields, by our field.

    Args:
        parameters: The parameters of a W&B sweep file.
        names: The fields of parameters by name, None for a parameter to leave out; others are parsed by name.
        replaced: Values of parameters, by name and value, that are replaced by others.

    Returns:
        The parameters by our field; and the name of the pair by field, for those whose values are mappings.

    Raises:
        ConfigError: If a parameter is malformed, or has no field.
    """
    flat, pairs = _unpair(dict(_flatten(parameters, "")))
    _refuse_unused_values(flat, replaced)
    flat = {name: _replace_values(name, part, replaced) for name, part in flat.items()}
    for name in names:
        if name not in flat:
            raise ConfigError(f"{NAMES}.{name}", "no such parameter", suggest(name, flat))
    paths: dict[str, str] = {}
    unknown: dict[str, ConfigError] = {}
    for name in flat:
        alias = names.get(name, pairs.get(name, (name, name))[1])
        if alias is None:
            continue
        try:
            paths[name] = _field_of(alias, name)
        except ConfigError as error:
            unknown[name] = error
    _refuse_unknown(unknown)
    parsed: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name, path in paths.items():
        label = f"parameters.{name}"
        if path in parsed:
            raise ConfigError(label, f"{path} is given twice, by {parsed[path][0]} too", "give it once")
        parsed[path] = (label, _with_typed_values(path, flat[name]))
    if "seeds" in parsed and (name := parsed["seeds"][0].removeprefix("parameters.")) in pairs:
        raise ConfigError(f"parameters.{name}", "a seed cannot be paired", "every cell has the same seeds")
    return parsed, {path: f"parameters.{pairs[name][0]}" for name, path in paths.items() if name in pairs}


def _refuse_unknown(unknown: Mapping[str, ConfigError]) -> None:
    """Raise one `ConfigError` for all parameters that have no field."""
    if len(unknown) == 1:
        raise next(iter(unknown.values()))
    if unknown:
        words = [f"{NAMES}.{name}={common_field(name) or 'null'}" for name in unknown]
        takes = f"name the field of each, or null to leave it out: {' '.join(words)}"
        raise ConfigError("parameters", f"no such fields {', '.join(unknown)}", takes)


def _replace_values(
    name: str, parameter: Mapping[str, Any], replaced: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return a parameter with its values replaced as the options say."""

    def value_of(value: Any) -> Any:
        text = next((replaced[key] for key in _spellings(name, value) if key in replaced), None)
        return value if text is None else plain(text)

    changed = dict(parameter)
    if "value" in parameter:
        changed["value"] = value_of(parameter["value"])
    if isinstance(parameter.get("values"), list):
        changed["values"] = [value_of(value) for value in parameter["values"]]
    return changed


def _refuse_unused_values(parameters: Mapping[str, Mapping[str, Any]], replaced: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a value to replace that no parameter has."""
    values = {name: _values_of(parameter) for name, parameter in parameters.items()}
    known = {key for name, own in values.items() for value in own for key in _spellings(name, value)}
    for key in replaced:
        if key not in known:
            name = next((name for name in values if key.startswith(f"{name}.")), None)
            got = "no such parameter" if name is None else f"{name} has no such value"
            listed = ", ".join(str(value) for value in values.get(name or "", ())) or "a distribution"
            takes = suggest(key, values) if name is None else f"it has {listed}"
            raise ConfigError(f"{VALUES}.{key}", got, takes)


def _spellings(name: str, value: Any) -> list[str]:
    """Return the ways to name a parameter's value in a word: as Python writes it, and as YAML does."""
    yaml_text = {True: "true", False: "false", None: "null"}
    special = [yaml_text[value]] if value is None or isinstance(value, bool) else []
    return [f"{name}.{text}" for text in (str(value), *special)]


def _values_of(parameter: Mapping[str, Any]) -> list[Any]:
    """Return the values that a parameter lists."""
    if isinstance(parameter.get("values"), list):
        return parameter["values"]
    return [parameter["value"]] if "value" in parameter else []


def _unpair(
    parameters: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Mapping[str, Any]], dict[str, tuple[str, str]]]:
    """Return parameters whose values are mappings, W&B's way of pairing, as one parameter for each key.

    Returns:
        The parameters by name; and for those of a pair, the pair's name and the name that decides the field.
    """
    flat: dict[str, Mapping[str, Any]] = {}
    pairs = {}
    for name, parameter in parameters.items():
        values = _values_of(parameter)
        if not any(isinstance(value, Mapping) for value in values) or _is_field(name):
            flat[name] = parameter
            continue
        rows = [dict(leaves(value)) if isinstance(value, Mapping) else {} for value in values]
        keys = dict.fromkeys(key for row in rows for key in row)
        for row, value in zip(rows, values, strict=True):
            if set(row) != set(keys) or not row:
                takes = f"mappings that are paired all have the same keys: {', '.join(map(str, keys))}"
                raise ConfigError(f"parameters.{name}", f"got {short_repr(value)}", takes)
        is_pair = len(keys) > 1
        for key in keys:
            column = [row[key] for row in rows]
            part = {"values": column} if "values" in parameter else {"value": column[0]}
            flat[f"{name}.{key}"] = {**parameter, **part}
            # The name of several fields is a label, but for a group's; one field is no pair.
            pairs[f"{name}.{key}"] = name, str(key) if is_pair and name not in GROUPS else f"{name}.{key}"
    return flat, pairs


def _is_field(name: str) -> bool:
    """Return whether a parameter's name is that of one field, which takes no mapping."""
    with suppress(ConfigError):
        return _field_of(name, name) not in GROUPS
    return False


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
    label = f"parameters.{name}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", alias):
        raise ConfigError(label, "no such field", _suggestion(alias, name))
    if alias in SWEEP_FIELDS or group in ("tracker", "keep", "hydra", "grid", "draws", "sweep"):
        raise ConfigError(label, "is not a field of a trial", f"give {alias}=… on the command line")
    if group in GROUPS and "." not in rest:
        field = group if rest in ("", "name") else common_field(alias, only_same=True) or alias
        # The fields of the user's own functions are not known here.
        if field in FIELDS or field in GROUPS or group in USER_KINDS:
            return field
        raise ConfigError(label, "no such field", _suggestion(alias, name))
    if rest:
        # `opt.lr` is a field of a group under another name, and `teacher.width` is of nothing here.
        same = common_field(alias, only_same=True)
        if same in FIELDS:
            return same
        raise ConfigError(label, "no such field", _suggestion(alias, name))
    if alias in ("seed", "seeds"):
        return "seeds"
    paths = [path for path in FIELDS if path.rpartition(".")[2] == alias]
    if len(paths) == 1:
        return paths[0]
    if alias in SAME:
        return SAME[alias]
    takes = f"choose one: {NAMES}.{name}={' or '.join(paths)}" if paths else _suggestion(alias, name)
    raise ConfigError(label, "no such field", takes)


def _suggestion(alias: str, name: str) -> str:
    """Return the known name nearest to a parameter's, and how to give another field."""
    advice = f"{NAMES}.{name}=… names its field, and null leaves it out"
    if "." in alias:
        return advice
    fields = dict.fromkeys([*GROUPS, "seed", *(path.rpartition(".")[2] for path in FIELDS)])
    common = common_field(alias)
    nearest = f"did you mean {common}?" if common else suggest(alias, [*fields, *SAME])
    # Without a near name, the advice comes before the long list of all names.
    return f"{nearest} {advice}" if nearest.endswith("?") else f"{advice}; fields are {', '.join(fields)}"
