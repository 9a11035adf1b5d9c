"""Check a composed config, and convert it to frozen values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vsweep.config.choices import DataChoice, GroupChoice, ModelChoice
from vsweep.config.constraints import COORDINATE
from vsweep.config.grid import distinct
from vsweep.config.parse_choices import USER_KINDS, parse_choices
from vsweep.config.schema import EVERY_DATASET, FIELDS, GROUPS, OWN, SWEEP_FIELDS, TOP, parse_field
from vsweep.config.values import select
from vsweep.errors import ConfigError, short_repr, suggest

_KNOWN = (*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "keep", "grid", "draws", "seeds")


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


def check_config(raw: Mapping[str, Any], own: Mapping[str, Any]) -> Config:
    """Return the frozen values of a composed config.

    Args:
        raw: Nested plain mappings, with `grid` and the fields of the sweep as a whole.
        own: The user's functions by group, where `_target_` does not give them.

    Raises:
        ConfigError: If a field is unknown, or does not accept its value.
    """
    config = parse_config(raw, own)
    refuse_unused([raw], [config])
    return config


def parse_config(raw: Mapping[str, Any], own: Mapping[str, Any]) -> Config:
    """Return the frozen values of a composed config, without unused fields of groups; see `check_config`."""
    allowed = parse_field("allow_targets", raw.get("allow_targets"))
    parts = parse_choices(raw, own, allowed)
    common = {name: parse_field(f"data.{name}", raw["data"].get(name)) for name in EVERY_DATASET}
    for path, _ in leaves(
        {key: value for key, value in raw.items() if key not in (*GROUPS, "grid", "draws")}
    ):
        if path not in _KNOWN:
            raise ConfigError(path, "no such field", suggest(path, _KNOWN))
    top = {path: parse_field(path, raw.get(path)) for path in TOP}
    for path in SWEEP_FIELDS:
        parse_field(path, select(raw, path))
    values: dict[str, Any] = {**parts, **common, **top}
    return Config(**values)


def refuse_unused(raws: Iterable[Mapping[str, Any]], configs: Sequence[Config]) -> None:
    """Raise `ConfigError` for a field of a group that none of a sweep's configs has.

    Args:
        raws: The configs as composed.
        configs: The configs as parsed.
    """
    used = set().union(*map(fields_of, configs))
    given = {(group, key): value for raw in raws for group in GROUPS for key, value in raw[group].items()}
    for (group, key), value in given.items():
        path, choices = f"{group}.{key}", [getattr(config, group) for config in configs]
        one = choices[0]
        if path in used or key == "name":
            continue
        if key == "_target_" and group in USER_KINDS:
            if value is not None and not any(choice.is_user_function for choice in choices):
                got = f"got {short_repr(value)}, and {group}={one.name}"
                raise ConfigError(path, got, f"give {group}={OWN} too")
        elif len(configs) > 1 and (path in FIELDS or one.has_own_fields):
            raise ConfigError(path, f"no {group} of this sweep has this field", "leave it out")
        elif path in FIELDS and not one.has_own_fields:
            names = [*one.fields, *(EVERY_DATASET if group == "data" else ())]
            takes = f"it takes {', '.join(names) or 'none'}"
            raise ConfigError(path, f"{group}={one.name} has no such field", takes)
        else:
            own_fields = [f"{group}.{name}" for name in one.fields]
            takes = suggest(path, own_fields if one.has_own_fields else _KNOWN)
            raise ConfigError(path, "no such field", takes)


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
        return distinct(path, [COORDINATE.parse(value, f"grid.{path}") for value in values])
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
