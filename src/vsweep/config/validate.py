"""Check a composed config, and convert it to frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vsweep.config.choices import DataChoice, GroupChoice, ModelChoice
from vsweep.config.constraints import COORDINATE
from vsweep.config.grid import distinct
from vsweep.config.parse_choices import USER_KINDS, parse_choices
from vsweep.config.schema import EVERY_DATASET, FIELDS, GROUPS, SWEEP_FIELDS, TOP, parse, parse_field
from vsweep.config.values import select
from vsweep.errors import ConfigError, suggest


@dataclass(frozen=True)
class Config:
    """The checked config of a cell: all that determines a training but its seed."""

    data: DataChoice
    batch_size: int | None
    val_fraction: float
    test_fraction: float | str
    split_seed: int
    standardize: bool
    model: ModelChoice
    loss: GroupChoice
    optimizer: GroupChoice
    schedule: GroupChoice
    steps: int
    record_every: int
    record_params: bool
    diverge_above: float
    dtype: str
    precision: str

    @property
    def user_functions(self) -> dict[str, Any]:
        """The user's model and loss, by group."""
        choices = {"model": self.model, "loss": self.loss}
        return {group: choice.function for group, choice in choices.items() if choice.is_user_function}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every leaf of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_config(raw: Mapping[str, Any], own: Mapping[str, Any], *, strict: bool = True) -> Config:
    """Return the frozen values of a composed config.

    Args:
        raw: Nested plain mappings, with `grid` and the fields of the sweep as a whole.
        own: The user's functions by group, where `_target_` does not give them.
        strict: Refuse a field that its group's choice does not take; otherwise leave the field out, since
            the choices of other cells may take it.

    Raises:
        ConfigError: If a field is unknown, or does not accept its value.
    """
    allowed = parse_field("allow_targets", raw.get("allow_targets"))
    parts = parse_choices(raw, own, allowed, strict=strict)
    _refuse_unknown(raw, parts)
    common = {name: parse_field(f"data.{name}", raw["data"].get(name)) for name in EVERY_DATASET}
    top = {path: parse_field(path, raw.get(path)) for path in TOP}
    for path in SWEEP_FIELDS:
        parse_field(path, select(raw, path))
    values: dict[str, Any] = {**parts, **common, **top}
    return Config(**values)


def _refuse_unknown(raw: Mapping[str, Any], parts: Mapping[str, GroupChoice]) -> None:
    known = [*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "keep", "grid", "draws", "seeds"]
    for path, _ in leaves({key: value for key, value in raw.items() if key not in ("grid", "draws")}):
        group, _, key = path.partition(".")
        is_own = group in parts and parts[group].has_own_fields
        is_choice = (group in GROUPS and key == "name") or (group in USER_KINDS and key == "_target_")
        if not (path in known or is_own or is_choice):
            raise ConfigError(path, "no such field", suggest(path, known))


def fields_of(config: Config) -> set[str]:
    """Return the dotted paths of a cell's fields; a group's path stands for its choice."""
    paths = {*TOP, *GROUPS, *(f"data.{name}" for name in EVERY_DATASET)}
    for group in GROUPS:
        paths |= {f"{group}.{name}" for name in getattr(config, group).fields}
    return paths


def parse_axis(path: str, values: tuple[Any, ...], candidates: list[Config]) -> tuple[Any, ...]:
    """Convert the values of an axis to the field's type.

    Args:
        path: The field's dotted path.
        values: The values as written.
        candidates: The configs whose cells may have the field.

    Raises:
        ConfigError: If a value is not accepted; the message names `grid.<path>`.
    """
    group, _, key = path.partition(".")
    if path in SWEEP_FIELDS or path == "seeds":
        raise ConfigError(f"grid.{path}", "not an axis", f"give `{path}` for the sweep as a whole")
    choices = [getattr(config, group) for config in candidates if group in GROUPS]
    takers = [choice for choice in choices if key in choice.fields]
    if takers and all(choice.is_user_function for choice in takers):
        return values
    if takers and all(choice.is_coordinate(key) for choice in takers):
        return distinct(path, [parse(COORDINATE, path, value, f"grid.{path}") for value in values])
    if path not in FIELDS:
        raise ConfigError(f"grid.{path}", "no such field", suggest(path, [*FIELDS, *GROUPS]))
    parsed = list(values)
    # Every choice has a cell of every value, and must accept the value.
    for name in {choice.name: None for choice in takers} or [""]:
        parsed = [parse_field(path, value, f"grid.{path}", name) for value in values]
    return distinct(path, parsed)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the config with the parsed values of the axes that the cell has."""
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
    """Return the config as nested plain values: the choice of each group with its fields."""
    nested: dict[str, Any] = {group: getattr(config, group).as_dict() for group in GROUPS}
    nested["data"] |= {name: getattr(config, name) for name in EVERY_DATASET}
    return nested | {name: getattr(config, name) for name in TOP}
