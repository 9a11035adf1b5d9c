"""A composed config, checked, as plain frozen values."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vsweep.errors import ConfigError, nearest, shown
from vsweep.grid import distinct
from vsweep.schema import (
    AUTO,
    EVERY_DATASET,
    FIELDS,
    GROUPS,
    OWN,
    POINT,
    SWEEP_FIELDS,
    TOP,
    parse,
    parse_field,
)
from vsweep.takes import COORDINATE
from vsweep.targets import resolve
from vsweep.tasks.functions import FUNCTIONS, coordinates
from vsweep.tasks.losses import Loss
from vsweep.tasks.registry import fields

# The groups in which a person can bring their own.
_OWN_GROUPS = ("data", "model", "loss")


@dataclass(frozen=True)
class Part:
    """What a group chose.

    name: of the registry, or `own`. function: the registered or own function; None for `loss=auto`.
    fields: the values of the fields that it takes.
    """

    name: str
    function: Any
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """One cell's config, checked: all that determines a training but its seed."""

    data: Part
    batch_size: int | None
    val_fraction: float
    test_fraction: float | str
    split_seed: int
    standardize: bool
    model: Part
    loss: Part
    optimizer: Part
    schedule: Part
    steps: int
    record_every: int
    record_params: bool
    diverge_above: float
    dtype: str
    precision: str


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted path and value of every leaf of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def parameters(part_function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a person's own function that a config can give."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(part_function).parameters.items() if p.kind in kinds}


def check(raw: Mapping[str, Any], own: Mapping[str, Any], *, strict: bool = True) -> Config:
    """A composed config as a checked one.

    raw: nested plain mappings, as composed, `grid` and the sweep's own fields included. own: a person's
    own functions by group, where they were not given by `_target_`. strict: refuse a field that what its
    group chose does not take; else leave it out, for cells of which other cells take it.

    Raises `ConfigError`.
    """
    allowed = parse_field("allow_targets", raw.get("allow_targets"))
    chosen = raw.get("model")
    of_point = isinstance(chosen, Mapping) and chosen.get("name") == POINT
    loss = _part("loss", raw.get("loss"), own.get("loss"), allowed, strict=strict, of_point=of_point)
    parts = {
        group: _part(group, raw.get(group), own.get(group), allowed, strict=strict)
        for group in GROUPS
        if group != "loss" and not (group == "model" and of_point)
    }
    if isinstance(chosen, Mapping) and of_point:
        parts["model"] = _point(chosen, loss, strict=strict)
    parts = {group: {**parts, "loss": loss}[group] for group in GROUPS}
    _refuse_unknown(raw, parts)
    common = {name: parse_field(f"data.{name}", raw["data"].get(name)) for name in EVERY_DATASET}
    top = {path: parse_field(path, raw.get(path)) for path in TOP}
    for path in SWEEP_FIELDS:
        parse_field(path, _at(raw, path))
    values: dict[str, Any] = {**parts, **common, **top}
    return Config(**values)


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _part(
    group: str, raw: Any, own: Any, allowed: Sequence[str], *, strict: bool, of_point: bool = False
) -> Part:
    """What a group chose. of_point: whether the loss is a function of a point."""
    if not isinstance(raw, Mapping):
        raise ConfigError(group, f"got {shown(raw)}", f"it takes one of {', '.join(GROUPS[group])}")
    name, target = raw.get("name"), raw.get("_target_")
    common = {"name", "_target_", *(EVERY_DATASET if group == "data" else ())}
    given = {key: value for key, value in raw.items() if key not in common}
    if name == OWN and group in _OWN_GROUPS:
        if own is None and target is None:
            raise ConfigError(f"{group}._target_", "got nothing", "it takes a function's dotted path")
        return _own_part(group, given, _of(own, group, target, allowed), of_point=of_point)
    if target is not None and strict and group in _OWN_GROUPS:
        got = f"got {shown(target)}, and {group}={shown(name)}"
        raise ConfigError(f"{group}._target_", got, f"give {group}={OWN} too")
    if name == AUTO and group == "loss":
        if strict:
            _refuse_untaken(group, AUTO, given, ())
        return Part(AUTO, None, {})
    if not isinstance(name, str) or name not in GROUPS[group]:
        raise ConfigError(group, f"no such choice {shown(name)}", nearest(shown(name), GROUPS[group]))
    function = GROUPS[group][name]
    taken = _fields_of(group, function)
    if strict:
        _refuse_untaken(group, name, given, taken)
    values = {key: parse_field(f"{group}.{key}", given.get(key), choice=name) for key in taken}
    return Part(name, function, values)


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


def _point(raw: Mapping[str, Any], loss: Part, *, strict: bool) -> Part:
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
            raise ConfigError(f"model.{key}", "no such field", nearest(f"model.{key}", paths))
    values = {key: parse_field(f"model.{key}", raw.get(key)) for key in common}
    if not set(values["fixed"]) < set(names):
        got = f"got {', '.join(values['fixed'])}"
        raise ConfigError("model.fixed", got, f"it takes some of {', '.join(names)}, but not all")
    for name in names:
        start = given.get(name)
        values[name] = None if start is None else parse(COORDINATE, f"model.{name}", start)
    return Part(POINT, GROUPS["model"][POINT], values)


def is_coordinate(config: Config, path: str) -> bool:
    """Whether a field is where a coordinate of a point starts."""
    group, _, key = path.partition(".")
    part = config.model
    return group == "model" and part.name == POINT and key in part.fields and key not in fields(part.function)


def _own_part(group: str, given: Mapping[str, Any], function: Any, *, of_point: bool) -> Part:
    """A person's own function (data: or a pair of arrays, which takes no fields)."""
    if not callable(function):
        if group == "data" and not given:
            return Part(OWN, function, {})
        raise ConfigError(group, f"got {type(function).__name__}", "it takes a function")
    known = parameters(function)
    if group == "loss":
        # Before its fields it has the coordinates, or outputs and targets.
        known = dict(list(known.items())[len(coordinates(function)) if of_point else 2 :])
    for key in given:
        if key not in known:
            paths = [f"{group}.{name}" for name in known]
            raise ConfigError(f"{group}.{key}", "your function has no such parameter", nearest(key, paths))
    values = {n: given.get(n, p.default) for n, p in known.items()}
    for key, value in values.items():
        if value is inspect.Parameter.empty:
            values[key] = None
    return Part(OWN, function, values)


def _refuse_unknown(raw: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    known = [*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "keep", "grid", "seeds"]
    for path, _ in leaves({key: value for key, value in raw.items() if key != "grid"}):
        group, _, key = path.partition(".")
        owns = group in parts and parts[group].name in (OWN, POINT)
        fine = path in known or owns or (group in GROUPS and key == "name")
        fine = fine or (group in _OWN_GROUPS and key == "_target_")
        if not fine:
            raise ConfigError(path, "no such field", nearest(path, known))


def taken(config: Config) -> set[str]:
    """The dotted paths of the fields that this cell has; a group's own path stands for its choice."""
    paths = {*TOP, *GROUPS, *(f"data.{name}" for name in EVERY_DATASET)}
    for group in GROUPS:
        paths |= {f"{group}.{name}" for name in getattr(config, group).fields}
    return paths


def parse_axis(path: str, values: tuple[Any, ...], candidates: list[Config]) -> tuple[Any, ...]:
    """The values of an axis as the field's type. candidates: the configs whose cells may have it.

    Raises `ConfigError`, naming `grid.<path>`.
    """
    group, _, key = path.partition(".")
    if path in SWEEP_FIELDS or path == "seeds":
        raise ConfigError(f"grid.{path}", "not an axis", f"give `{path}` for the sweep as a whole")
    takers = [c for c in candidates if group in GROUPS and key in getattr(c, group).fields]
    if takers and all(getattr(c, group).name == OWN for c in takers):
        return values
    if takers and all(is_coordinate(config, path) for config in takers):
        return distinct(path, [parse(COORDINATE, path, value, f"grid.{path}") for value in values])
    if path not in FIELDS:
        raise ConfigError(f"grid.{path}", "no such field", nearest(path, [*FIELDS, *GROUPS]))
    parsed = list(values)
    # What one of the choices refuses stands in a cell of it.
    for name in {getattr(c, group).name: None for c in takers} or [""]:
        parsed = [parse_field(path, value, f"grid.{path}", name) for value in values]
    return distinct(path, parsed)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with the parsed values of the axes that the cell has in place."""
    for path, value in values.items():
        group, _, key = path.partition(".")
        if not key:
            config = config if path in GROUPS else replace(config, **{path: value})
        elif group == "data" and key in EVERY_DATASET:
            config = replace(config, **{key: value})
        elif key in getattr(config, group).fields:
            part = getattr(config, group)
            config = replace(config, **{group: replace(part, fields={**part.fields, key: value})})
    return config


def as_dict(config: Config) -> dict[str, Any]:
    """The config as nested plain values: what each group chose, and the fields that it takes."""
    nested: dict[str, Any] = {group: _part_dict(getattr(config, group)) for group in GROUPS}
    nested["data"] |= {name: getattr(config, name) for name in EVERY_DATASET}
    return nested | {name: getattr(config, name) for name in TOP}


def _part_dict(part: Part) -> dict[str, Any]:
    target = {"_target_": name_of(part.function)} if part.name == OWN else {}
    return {"name": part.name, **target, **{key: _plain(value) for key, value in part.fields.items()}}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def name_of(function: Any) -> str:
    """The dotted path of a person's own function, or the kind of what is none."""
    if not callable(function):
        return type(function).__name__
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
