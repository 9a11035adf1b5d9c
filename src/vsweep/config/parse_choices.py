"""Parse the raw config of each group into its checked choice."""

import inspect
from collections.abc import Mapping, Sequence
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
from vsweep.config.schema import AUTO, EVERY_DATASET, GROUPS, OWN, POINT, parse_field
from vsweep.config.targets import resolve
from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.losses import Loss
from vsweep.tasks.minimize import FUNCTIONS, coordinates
from vsweep.tasks.task import fields

# The kinds of choice of each group: of a registered entry, and of a user's function where one is accepted.
_REGISTERED: dict[str, type[GroupChoice]] = {"data": DataChoice, "model": ModelChoice}
USER_KINDS: dict[str, type[UserFunction]] = {"data": UserData, "model": UserModel, "loss": UserFunction}


def parse_choices(raw: Mapping[str, Any], own: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """Parse the choice of every group, without the fields that it does not take.

    Args:
        raw: The composed config.
        own: The user's functions by group, where `_target_` does not give them.
        allowed: The modules that `_target_` may name beside those in the current folder.

    Returns:
        The choice of each group.

    Raises:
        ConfigError: If a choice or one of its fields is not accepted.
    """
    model = raw.get("model")
    minimises = isinstance(model, Mapping) and model.get("name") == POINT
    choices: dict[str, GroupChoice] = {}
    # The loss comes first, since a point's coordinates are the parameters of the loss.
    for group in sorted(GROUPS, key=lambda group: group != "loss"):
        part = raw.get(group)
        if not isinstance(part, Mapping):
            takes = f"it takes one of {', '.join(GROUPS[group])}"
            raise ConfigError(group, f"got {short_repr(part)}", takes)
        if part.get("name") == OWN and group in USER_KINDS:
            function = _own_function(group, part.get("_target_"), own.get(group), allowed)
            choices[group] = _parse_user_function(group, part, function, minimises=minimises)
        else:
            choices[group] = _parse_registered(group, part)
    if minimises:
        choices["model"] = _parse_point(choices["model"], raw["model"], choices["loss"])
    return choices


def _parse_registered(group: str, raw: Mapping[str, Any]) -> GroupChoice:
    name = raw.get("name")
    if name == AUTO and group == "loss":
        return GroupChoice(AUTO, None, {})
    if not isinstance(name, str) or name not in GROUPS[group]:
        got = f"no such choice {short_repr(name)}"
        raise ConfigError(group, got, suggest(short_repr(name), GROUPS[group]))
    function = GROUPS[group][name]
    names = fields(function.value if isinstance(function, Loss) else function)
    names = ("lr", *names) if group == "optimizer" else names
    parsed = {key: parse_field(f"{group}.{key}", raw.get(key), choice=name) for key in names}
    return _REGISTERED.get(group, GroupChoice)(name, function, parsed)


def _parse_point(point: GroupChoice, raw: Mapping[str, Any], loss: GroupChoice) -> PointChoice:
    """Parse the start of each coordinate of the function, by its name."""
    if not callable(loss.function):
        takes = f"it takes a function of a point: {', '.join(FUNCTIONS)}, {OWN}"
        raise ConfigError("loss", f"got {loss.name}, and model={POINT}", takes)
    names = coordinates(loss.function)
    if not names or set(names) & {"name", *point.fields}:
        got = f"loss={loss.name} has the coordinates {', '.join(names) or 'none'}"
        takes = "a function's first parameters, those without a default, are its coordinates"
        raise ConfigError("loss", got, f"{takes}, and are not called name, {' or '.join(point.fields)}")
    fixed = point.fields["fixed"]
    if not set(fixed) < set(names):
        takes = f"it takes some of {', '.join(names)}, but not all"
        raise ConfigError("model.fixed", f"got {', '.join(fixed)}", takes)
    # An axis may give the start, so a config may lack it.
    starts = {
        name: None if raw.get(name) is None else COORDINATE.parse(raw[name], f"model.{name}")
        for name in names
    }
    return PointChoice(POINT, point.function, {**point.fields, **starts})


def _own_function(group: str, target: Any, own: Any, allowed: Sequence[str]) -> Any:
    if own is None and target is None:
        raise ConfigError(f"{group}._target_", "got nothing", "it takes a function's dotted path")
    return own if own is not None else resolve(f"{group}._target_", target, allowed)


def _parse_user_function(
    group: str, raw: Mapping[str, Any], function: Any, *, minimises: bool
) -> UserFunction:
    """Parse the fields of a user's function, or of a pair of arrays as data, which has no fields."""
    if not callable(function):
        if group == "data" and raw.keys() <= {"name", "_target_", *EVERY_DATASET}:
            return UserData(OWN, function, {})
        raise ConfigError(group, f"got {type(function).__name__}", "it takes a function")
    known = parameters(function)
    if group == "loss":
        # The first parameters are the coordinates, or the outputs and the targets; the others are fields.
        arguments = coordinates(function) if minimises else list(known)[:2]
        known = {name: parameter for name, parameter in known.items() if name not in arguments}
    defaults = {n: None if p.default is inspect.Parameter.empty else p.default for n, p in known.items()}
    given = {n: raw[n] for n in known if n in raw and n not in EVERY_DATASET}
    return USER_KINDS[group](OWN, function, defaults | given)
