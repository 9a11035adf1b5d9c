"""Parse the raw config of each group into its checked choice."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vsweep.config.choices import (
    DataChoice,
    GroupChoice,
    ModelChoice,
    PointChoice,
    UserData,
    UserFunction,
    UserModel,
    parameters,
)
from vsweep.config.constraints import COORDINATE
from vsweep.config.schema import AUTO, EVERY_DATASET, FIELDS, GROUPS, OWN, POINT, parse, parse_field
from vsweep.config.targets import resolve
from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.losses import Loss
from vsweep.tasks.minimize import FUNCTIONS, coordinates
from vsweep.tasks.task import fields

# The kinds of choice of each group: of a registered entry, and of a user's function where one is accepted.
_REGISTERED: dict[str, type[GroupChoice]] = {"data": DataChoice, "model": ModelChoice}
USER_KINDS: dict[str, type[UserFunction]] = {"data": UserData, "model": UserModel, "loss": UserFunction}


def parse_choices(
    raw: Mapping[str, Any], own: Mapping[str, Any], allowed: Sequence[str], *, strict: bool
) -> dict[str, Any]:
    """Parse the choice of every group.

    Args:
        raw: The composed config.
        own: The user's functions by group, where `_target_` does not give them.
        allowed: The modules that `_target_` may name beside those in the current folder.
        strict: Refuse a field that a choice does not take; otherwise leave the field out.

    Returns:
        The choice of each group.

    Raises:
        ConfigError: If a choice or one of its fields is not accepted.
    """
    model = raw.get("model")
    minimises = isinstance(model, Mapping) and model.get("name") == POINT
    choices = {
        group: _parse_choice(
            group, raw.get(group), own.get(group), allowed, strict=strict, minimises=minimises
        )
        # The loss comes first, since a point's coordinates are the parameters of the loss.
        for group in sorted(GROUPS, key=lambda group: group != "loss")
        if not (group == "model" and minimises)
    }
    if isinstance(model, Mapping) and minimises:
        choices["model"] = _parse_point(model, choices["loss"], strict=strict)
    return choices


def _parse_choice(
    group: str, raw: Any, own: Any, allowed: Sequence[str], *, strict: bool, minimises: bool
) -> GroupChoice:
    if not isinstance(raw, Mapping):
        raise ConfigError(group, f"got {short_repr(raw)}", f"it takes one of {', '.join(GROUPS[group])}")
    name, target = raw.get("name"), raw.get("_target_")
    common = {"name", "_target_", *(EVERY_DATASET if group == "data" else ())}
    values = {key: value for key, value in raw.items() if key not in common}
    if name == OWN and group in USER_KINDS:
        if own is None and target is None:
            raise ConfigError(f"{group}._target_", "got nothing", "it takes a function's dotted path")
        function = own if own is not None else resolve(f"{group}._target_", target, allowed)
        return _parse_user_function(group, values, function, minimises=minimises)
    if target is not None and strict and group in USER_KINDS:
        got = f"got {short_repr(target)}, and {group}={short_repr(name)}"
        raise ConfigError(f"{group}._target_", got, f"give {group}={OWN} too")
    if name == AUTO and group == "loss":
        if strict:
            _refuse_other_fields(group, AUTO, values, ())
        return GroupChoice(AUTO, None, {})
    if not isinstance(name, str) or name not in GROUPS[group]:
        got = f"no such choice {short_repr(name)}"
        raise ConfigError(group, got, suggest(short_repr(name), GROUPS[group]))
    function = GROUPS[group][name]
    names = fields(function.value if isinstance(function, Loss) else function)
    names = ("lr", *names) if group == "optimizer" else names
    if strict:
        _refuse_other_fields(group, name, values, names)
    parsed = {key: parse_field(f"{group}.{key}", values.get(key), choice=name) for key in names}
    return _REGISTERED.get(group, GroupChoice)(name, function, parsed)


def _refuse_other_fields(group: str, name: str, keys: Iterable[str], names: Sequence[str]) -> None:
    for key in keys:
        if f"{group}.{key}" in FIELDS and key not in names:
            accepted = ", ".join([*names, *(EVERY_DATASET if group == "data" else ())])
            got = f"{group}={name} has no such field"
            raise ConfigError(f"{group}.{key}", got, f"it takes {accepted or 'none'}")


def _parse_point(raw: Mapping[str, Any], loss: GroupChoice, *, strict: bool) -> PointChoice:
    """Parse the start of each coordinate of the function, by its name."""
    function = loss.function
    if not callable(function):
        takes = f"it takes a function of a point: {', '.join(FUNCTIONS)}, {OWN}"
        raise ConfigError("loss", f"got {loss.name}, and model={POINT}", takes)
    names, common = coordinates(function), fields(GROUPS["model"][POINT])
    starts = {key: value for key, value in raw.items() if key not in ("name", *common)}
    if not names or set(names) & {"name", *common}:
        got = f"loss={loss.name} has the coordinates {', '.join(names) or 'none'}"
        takes = "a function's first parameters, those without a default, are its coordinates"
        raise ConfigError("loss", got, f"{takes}, and are not called name, {' or '.join(common)}")
    for key in starts:
        if key not in names and strict:
            paths = [f"model.{name}" for name in (*names, *common)]
            raise ConfigError(f"model.{key}", "no such field", suggest(f"model.{key}", paths))
    values = {key: parse_field(f"model.{key}", raw.get(key)) for key in common}
    if not set(values["fixed"]) < set(names):
        got = f"got {', '.join(values['fixed'])}"
        raise ConfigError("model.fixed", got, f"it takes some of {', '.join(names)}, but not all")
    for name in names:
        start = starts.get(name)
        values[name] = None if start is None else parse(COORDINATE, f"model.{name}", start)
    return PointChoice(POINT, GROUPS["model"][POINT], values)


def _parse_user_function(
    group: str, values: Mapping[str, Any], function: Any, *, minimises: bool
) -> GroupChoice:
    """Parse the fields of a user's function, or of a pair of arrays as data, which has no fields."""
    kind = USER_KINDS[group]
    if not callable(function):
        if group == "data" and not values:
            return kind(OWN, function, {})
        raise ConfigError(group, f"got {type(function).__name__}", "it takes a function")
    known = parameters(function)
    if group == "loss":
        # The first parameters are the coordinates, or the outputs and the targets; the others are fields.
        arguments = coordinates(function) if minimises else list(known)[:2]
        known = {name: parameter for name, parameter in known.items() if name not in arguments}
    for key in values:
        if key not in known:
            paths = [f"{group}.{name}" for name in known]
            raise ConfigError(f"{group}.{key}", "your function has no such parameter", suggest(key, paths))
    defaults = {name: parameter.default for name, parameter in known.items()}
    empty = inspect.Parameter.empty
    return kind(OWN, function, {n: values.get(n, None if d is empty else d) for n, d in defaults.items()})
