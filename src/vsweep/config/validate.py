"""A composed config, checked, as plain frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vsweep.config.choices import OWN_GROUPS, GroupChoice, choice_as_dict, is_start, parse_choice, parse_point
from vsweep.config.constraints import COORDINATE
from vsweep.config.grid import distinct
from vsweep.config.schema import (
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
from vsweep.errors import ConfigError, suggest


@dataclass(frozen=True)
class Config:
    """One cell's config, checked: all that determines a training but its seed."""

    data: GroupChoice
    batch_size: int | None
    val_fraction: float
    test_fraction: float | str
    split_seed: int
    standardize: bool
    model: GroupChoice
    loss: GroupChoice
    optimizer: GroupChoice
    schedule: GroupChoice
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


def check_config(raw: Mapping[str, Any], own: Mapping[str, Any], *, strict: bool = True) -> Config:
    """A composed config as a checked one.

    raw: nested plain mappings, as composed, `grid` and the sweep's own fields included. own: a person's
    own functions by group, where they were not given by `_target_`. strict: refuse a field that what its
    group chose does not take; else leave it out, for cells of which other cells take it.

    Raises `ConfigError`.
    """
    allowed = parse_field("allow_targets", raw.get("allow_targets"))
    chosen = raw.get("model")
    of_point = isinstance(chosen, Mapping) and chosen.get("name") == POINT
    loss = parse_choice("loss", raw.get("loss"), own.get("loss"), allowed, strict=strict, of_point=of_point)
    parts = {
        group: parse_choice(group, raw.get(group), own.get(group), allowed, strict=strict)
        for group in GROUPS
        if group != "loss" and not (group == "model" and of_point)
    }
    if isinstance(chosen, Mapping) and of_point:
        parts["model"] = parse_point(chosen, loss, strict=strict)
    parts["loss"] = loss
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


def is_coordinate(config: Config, path: str) -> bool:
    """Whether a field is where a coordinate of a point starts."""
    group, _, key = path.partition(".")
    return group == "model" and is_start(config.model, key)


def _refuse_unknown(raw: Mapping[str, Any], parts: Mapping[str, GroupChoice]) -> None:
    known = [*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "keep", "grid", "draws", "seeds"]
    for path, _ in leaves({key: value for key, value in raw.items() if key not in ("grid", "draws")}):
        group, _, key = path.partition(".")
        owns = group in parts and parts[group].name in (OWN, POINT)
        fine = path in known or owns or (group in GROUPS and key == "name")
        fine = fine or (group in OWN_GROUPS and key == "_target_")
        if not fine:
            raise ConfigError(path, "no such field", suggest(path, known))


def fields_of(config: Config) -> set[str]:
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
        raise ConfigError(f"grid.{path}", "no such field", suggest(path, [*FIELDS, *GROUPS]))
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
    nested: dict[str, Any] = {group: choice_as_dict(getattr(config, group)) for group in GROUPS}
    nested["data"] |= {name: getattr(config, name) for name in EVERY_DATASET}
    return nested | {name: getattr(config, name) for name in TOP}
