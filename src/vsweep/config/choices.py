"""What each group of a config chose: an entry of its registry, or a person's own function, and its fields."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vsweep.config.constraints import COORDINATE
from vsweep.config.schema import AUTO, EVERY_DATASET, FIELDS, GROUPS, OWN, POINT, parse, parse_field
from vsweep.config.targets import resolve
from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.losses import Loss
from vsweep.tasks.minimize import FUNCTIONS, coordinates
from vsweep.tasks.task import fields

# The groups in which a person can bring their own.
OWN_GROUPS = ("data", "model", "loss")


@dataclass(frozen=True)
class GroupChoice:
    """What a group chose.

    name: of the registry, or `own`. function: the registered or own function; None for `loss=auto`.
    fields: the values of the fields that it takes.
    """

    name: str
    function: Any
    fields: Mapping[str, Any]


def parameters(part_function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a person's own function that a config can give."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(part_function).parameters.items() if p.kind in kinds}


def parse_choice(
    group: str, raw: Any, own: Any, allowed: Sequence[str], *, strict: bool, of_point: bool = False
) -> GroupChoice:
    """What a group chose. of_point: whether the loss is a function of a point."""
    if not isinstance(raw, Mapping):
        raise ConfigError(group, f"got {short_repr(raw)}", f"it takes one of {', '.join(GROUPS[group])}")
    name, target = raw.get("name"), raw.get("_target_")
    common = {"name", "_target_", *(EVERY_DATASET if group == "data" else ())}
    given = {key: value for key, value in raw.items() if key not in common}
    if name == OWN and group in OWN_GROUPS:
        if own is None and target is None:
            raise ConfigError(f"{group}._target_", "got nothing", "it takes a function's dotted path")
        return _own_part(group, given, _of(own, group, target, allowed), of_point=of_point)
    if target is not None and strict and group in OWN_GROUPS:
        got = f"got {short_repr(target)}, and {group}={short_repr(name)}"
        raise ConfigError(f"{group}._target_", got, f"give {group}={OWN} too")
    if name == AUTO and group == "loss":
        if strict:
            _refuse_untaken(group, AUTO, given, ())
        return GroupChoice(AUTO, None, {})
    if not isinstance(name, str) or name not in GROUPS[group]:
        raise ConfigError(
            group, f"no such choice {short_repr(name)}", suggest(short_repr(name), GROUPS[group])
        )
    function = GROUPS[group][name]
    taken = _fields_of(group, function)
    if strict:
        _refuse_untaken(group, name, given, taken)
    values = {key: parse_field(f"{group}.{key}", given.get(key), choice=name) for key in taken}
    return GroupChoice(name, function, values)


def _fields_of(group: str, function: Any) -> tuple[str, ...]:
    if group == "optimizer":
        return ("lr", *fields(function))
    return fields(function.value if isinstance(function, Loss) else function)


def _refuse_untaken(group: str, name: str, given: Iterable[str], taken: Sequence[str]) -> None:
    for key in given:
        if f"{group}.{key}" in FIELDS and key not in taken:
            choices = ", ".join([*taken, *(EVERY_DATASET if group == "data" else ())])
            got = f"{group}={name} has no such field"
            raise ConfigError(f"{group}.{key}", got, f"it takes {choices or 'none'}")


def _of(own: Any, group: str, target: Any, allowed: Sequence[str]) -> Any:
    return own if own is not None else resolve(f"{group}._target_", target, allowed)


def parse_point(raw: Mapping[str, Any], loss: GroupChoice, *, strict: bool) -> GroupChoice:
    """A point: where each coordinate of the function starts, by its name."""
    function = loss.function
    if not callable(function):
        takes = f"it takes a function of a point: {', '.join(FUNCTIONS)}, {OWN}"
        raise ConfigError("loss", f"got {loss.name}, and model={POINT}", takes)
    names, common = coordinates(function), fields(GROUPS["model"][POINT])
    given = {key: value for key, value in raw.items() if key not in ("name", *common)}
    if not names or set(names) & {"name", *common}:
        got = f"loss={loss.name} has the coordinates {', '.join(names) or 'none'}"
        takes = "a function's first parameters, those without a default, are its coordinates"
        raise ConfigError("loss", got, f"{takes}, and are not called name, {' or '.join(common)}")
    for key in given:
        if key not in names and strict:
            paths = [f"model.{name}" for name in (*names, *common)]
            raise ConfigError(f"model.{key}", "no such field", suggest(f"model.{key}", paths))
    values = {key: parse_field(f"model.{key}", raw.get(key)) for key in common}
    if not set(values["fixed"]) < set(names):
        got = f"got {', '.join(values['fixed'])}"
        raise ConfigError("model.fixed", got, f"it takes some of {', '.join(names)}, but not all")
    for name in names:
        start = given.get(name)
        values[name] = None if start is None else parse(COORDINATE, f"model.{name}", start)
    return GroupChoice(POINT, GROUPS["model"][POINT], values)


def is_start(part: GroupChoice, key: str) -> bool:
    """Whether a field of a model is where a coordinate of a point starts."""
    return part.name == POINT and key in part.fields and key not in fields(part.function)


def _own_part(group: str, given: Mapping[str, Any], function: Any, *, of_point: bool) -> GroupChoice:
    """A person's own function (data: or a pair of arrays, which takes no fields)."""
    if not callable(function):
        if group == "data" and not given:
            return GroupChoice(OWN, function, {})
        raise ConfigError(group, f"got {type(function).__name__}", "it takes a function")
    known = parameters(function)
    if group == "loss":
        # Before its fields it has the coordinates, or outputs and targets.
        before = coordinates(function) if of_point else list(known)[:2]
        known = {name: parameter for name, parameter in known.items() if name not in before}
    for key in given:
        if key not in known:
            paths = [f"{group}.{name}" for name in known]
            raise ConfigError(f"{group}.{key}", "your function has no such parameter", suggest(key, paths))
    values = {n: given.get(n, p.default) for n, p in known.items()}
    for key, value in values.items():
        if value is inspect.Parameter.empty:
            values[key] = None
    return GroupChoice(OWN, function, values)


def choice_as_dict(part: GroupChoice) -> dict[str, Any]:
    """What a group chose as plain values."""
    target = {"_target_": qualified_name(part.function)} if part.name == OWN else {}
    return {"name": part.name, **target, **{key: _plain(value) for key, value in part.fields.items()}}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def qualified_name(function: Any) -> str:
    """The dotted path of a person's own function, or the kind of what is none."""
    if not callable(function):
        return type(function).__name__
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
