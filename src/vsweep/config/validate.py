"""Check a composed config, and convert it to frozen values."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    plain,
)
from vsweep.config.grid import distinct
from vsweep.config.names import suggest_choice, suggest_field
from vsweep.config.schema import (
    AUTO,
    BEFORE,
    COORDINATE,
    EVERY_DATASET,
    FIELDS,
    GROUPS,
    LIMITS,
    OF_SPLITS,
    OWN,
    POINT,
    SWEEP_FIELDS,
    TOP,
    UNIT,
    parse_field,
)
from vsweep.config.targets import RecordedFunction, recorded_object, resolve
from vsweep.config.trust import Trust, own_words
from vsweep.config.values import select
from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.data.targets import BY_TYPE
from vsweep.tasks.losses import Loss
from vsweep.tasks.minimize import FUNCTIONS, coordinates, point
from vsweep.tasks.task import fields

# The class of each group's choice: for registered entries, and for a user's function if the group accepts it.
_REGISTERED: dict[str, type[GroupChoice]] = {"data": DataChoice, "model": ModelChoice}
USER_KINDS: dict[str, type[UserFunction]] = {"data": UserData, "model": UserModel, "loss": UserFunction}
_KNOWN = (*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "keep", "grid", "draws", "seeds")


@dataclass(frozen=True)
class Config:
    """The checked config of a cell: all that determines a training but its seed."""

    data: DataChoice
    targets: str
    batch_size: int | None
    val_fraction: float | None
    test_fraction: float | str
    split_seed: int
    standardize: bool
    standardize_target: bool | str
    stratify: bool
    splits: int | tuple[int, ...]
    folds: int | None
    fold: int | None
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
    metric: str | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` for fields of the data that describe different splits."""
        if self.folds is None:
            self._check_repeated()
            return
        if self.splits != 1:
            shown = self.splits if isinstance(self.splits, int) else list(self.splits)
            takes = "give either repeated splits or folds, and leave the other out"
            raise ConfigError("data.splits", f"got {shown}, and data.folds={self.folds}", takes)
        if self.val_fraction is not None:
            got = f"got {self.val_fraction}, and data.folds={self.folds}, whose validation part is a fold"
            raise ConfigError("data.val_fraction", got, "leave one of them out")
        if self.fold is not None and self.fold >= self.folds:
            takes = f"it takes an integer from 0 to {self.folds - 1}, or null"
            raise ConfigError("data.fold", f"got {self.fold} of {self.folds} folds", takes)

    def _check_repeated(self) -> None:
        if self.val_fraction is None:
            got = "got null, and no data.folds"
            raise ConfigError("data.val_fraction", got, f"it takes {UNIT.text}, or data.folds in its place")
        if self.fold is not None:
            takes = "give data.folds=… with it, or leave it out"
            raise ConfigError("data.fold", f"got {self.fold}, and no data.folds", takes)
        if isinstance(self.splits, int) and self.split_seed + self.splits > 2**31:
            got = f"got {self.splits:,} from data.split_seed={self.split_seed} on"
            raise ConfigError("data.splits", got, "seeds of splits are below 2147483648")

    @property
    def user_functions(self) -> dict[str, Any]:
        """The user's model and loss, by group."""
        choices = {"model": self.model, "loss": self.loss}
        return {group: choice.function for group, choice in choices.items() if choice.is_user_function}

    @property
    def split_count(self) -> int:
        """The number of splits that a cell is trained on."""
        if self.folds is not None:
            return self.folds if self.fold is None else 1
        return self.splits if isinstance(self.splits, int) else len(self.splits)

    def of_split(self, number: int) -> "Config":
        """Return the config of one of the splits alone, whose number counts from 0."""
        if self.folds is not None:
            return replace(self, fold=number if self.fold is None else self.fold)
        seed = self.split_seed + number if isinstance(self.splits, int) else self.splits[number]
        return replace(self, split_seed=seed, splits=1)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every leaf of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_config(raw: Mapping[str, Any], own: Mapping[str, Any], trust: Trust | None = None) -> Config:
    """Return the frozen values of a composed config.

    Args:
        raw: Nested plain mappings, with `grid` and the fields of the sweep as a whole.
        own: The user's functions by group, for groups that set no `_target_`.
        trust: The permissions of the command; by default those of the config, as the command's own words.

    Raises:
        ConfigError: If a field is unknown, or does not accept its value.
    """
    config = parse_config(raw, own, trust)
    refuse_unused([raw], [config])
    return config


def parse_config(raw: Mapping[str, Any], own: Mapping[str, Any], trust: Trust | None = None) -> Config:
    """Return the frozen values of a config, and leave out unused fields of groups; see `check_config`."""
    parts = _parse_choices(raw, own, trust or own_words(raw))
    common = {name: parse_field(f"data.{name}", raw["data"].get(name)) for name in EVERY_DATASET}
    for path, _ in leaves({key: value for key, value in raw.items() if key not in GROUPS}):
        if path not in _KNOWN and not path.startswith(("grid.", "draws.")):
            raise ConfigError(path, "no such field", suggest_field(path, _KNOWN))
    top = {path: parse_field(path, raw.get(path)) for path in TOP}
    for path in SWEEP_FIELDS:
        parse_field(path, select(raw, path))
    values: dict[str, Any] = {**parts, **common, **top, "metric": raw.get("metric")}
    return Config(**values)


def _parse_choices(raw: Mapping[str, Any], own: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
    """Parse the choice of every group, without the fields that it does not take.

    Args:
        raw: The composed config.
        own: The user's functions by group, for groups that set no `_target_`.
        trust: The permissions of the command.

    Returns:
        The choice of each group.

    Raises:
        ConfigError: If a choice or one of its fields is not accepted.
    """
    model = raw.get("model")
    minimizes = isinstance(model, Mapping) and model.get("name") == POINT
    choices: dict[str, GroupChoice] = {}
    # The loss comes first, since a point's coordinates are the parameters of the loss.
    for group in sorted(GROUPS, key=lambda group: group != "loss"):
        part = raw.get(group)
        if not isinstance(part, Mapping):
            takes = f"it takes one of {', '.join(GROUPS[group])}"
            raise ConfigError(group, f"got {short_repr(part)}", takes)
        if part.get("name") == OWN and group in USER_KINDS:
            function = own.get(group)
            function = _own_function(group, raw, trust) if function is None else function
            choices[group] = _parse_user_function(group, part, function, minimizes=minimizes)
        else:
            choices[group] = _parse_registered(group, part)
    if minimizes:
        choices["model"] = _parse_point(choices["model"], raw["model"], choices["loss"])
    return choices


def _parse_registered(group: str, raw: Mapping[str, Any]) -> GroupChoice:
    name = raw.get("name")
    if name == AUTO and group == "loss":
        return GroupChoice(AUTO, None, {})
    if not isinstance(name, str) or name not in GROUPS[group]:
        got = f"no such choice {short_repr(name)}"
        raise ConfigError(group, got, suggest_choice(name, GROUPS[group]))
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
        raise ConfigError("loss", got, f"{takes}, and must not be called name, {' or '.join(point.fields)}")
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


def _own_function(group: str, raw: Mapping[str, Any], trust: Trust) -> Any:
    field, target = f"{group}._target_", raw[group].get("_target_")
    if target is None:
        raise ConfigError(field, "got nothing", "it takes a function's dotted path")
    if trust.trains or not isinstance(target, str):
        return resolve(field, target, trust)
    if target.isidentifier():
        return recorded_object(target)
    values = {key: value for key, value in raw[group].items() if key not in _common(group)}
    model = raw["model"]
    coordinates = [key for key in model if key not in ("name", *fields(point))] * (model["name"] == POINT)
    arguments = (coordinates or ["outputs", "targets"]) if group == "loss" else []
    return RecordedFunction(field, target, trust, arguments, values)


def _common(group: str) -> set[str]:
    """Return the fields of a group that are no parameters of a user's function."""
    return {"name", "_target_", *(EVERY_DATASET if group == "data" else ())}


def _parse_user_function(
    group: str, raw: Mapping[str, Any], function: Any, *, minimizes: bool
) -> UserFunction:
    """Parse the fields of a user's function, or of a pair of arrays as data, which has no fields."""
    values = {key: value for key, value in raw.items() if key not in _common(group)}
    if not callable(function):
        if group == "data" and not values:
            return UserData(OWN, function, {})
        raise ConfigError(group, f"got {type(function).__name__}", "it takes a function")
    known = parameters(function)
    if group == "data" and (taken := [name for name in EVERY_DATASET if name in known]):
        got = f"your function has the parameter {taken[0]}, a field of every data set"
        raise ConfigError(group, got, "give the parameter another name")
    if group == "loss":
        # The first parameters are the coordinates, or the outputs and the targets; the others are fields.
        arguments = coordinates(function) if minimizes else list(known)[:2]
        known = {name: parameter for name, parameter in known.items() if name not in arguments}
    defaults = {n: None if p.default is inspect.Parameter.empty else p.default for n, p in known.items()}
    return USER_KINDS[group](OWN, function, {name: values.get(name, defaults[name]) for name in known})


def refuse_unused(raws: Iterable[Mapping[str, Any]], configs: Sequence[Config]) -> None:
    """Raise `ConfigError` for a field of a group that none of a sweep's configs has.

    Args:
        raws: The configs as composed.
        configs: The configs as parsed.
    """
    used = set().union(*map(fields_of, configs))
    values = {(group, key): value for raw in raws for group in GROUPS for key, value in raw[group].items()}
    for (group, key), value in values.items():
        path, choices = f"{group}.{key}", [getattr(config, group) for config in configs]
        first = choices[0]
        if path in used or key == "name":
            continue
        if key == "_target_" and group in USER_KINDS:
            if value is not None and not any(choice.is_user_function for choice in choices):
                got = f"got {short_repr(value)}, and {group}={first.name}"
                raise ConfigError(path, got, f"give {group}={OWN} too")
        elif len(configs) > 1 and (path in FIELDS or first.has_own_fields):
            raise ConfigError(path, f"no {group} of this sweep has this field", "leave it out")
        elif path in FIELDS and not first.has_own_fields:
            names = [*first.fields, *(EVERY_DATASET if group == "data" else ())]
            takes = f"its fields are {', '.join(names)}" if names else "it has no fields: leave it out"
            raise ConfigError(path, f"{group}={first.name} has no such field", takes)
        else:
            own_fields = [f"{group}.{name}" for name in first.fields]
            takes = suggest(path, own_fields) if first.has_own_fields else suggest_field(path, _KNOWN)
            raise ConfigError(path, "no such field", takes)


def fields_of(config: Config) -> set[str]:
    """Return the dotted paths of a cell's fields; a group's path stands for its choice."""
    paths = {*TOP, *GROUPS, *(f"data.{name}" for name in EVERY_DATASET)}
    for group in GROUPS:
        paths |= {f"{group}.{name}" for name in getattr(config, group).fields}
    return paths


def parse_axis(path: str, values: tuple[Any, ...], candidates: list[Config]) -> tuple[Any, ...]:
    """Convert the values of an axis to the field's type; see `parse_values`."""
    field = f"grid.{path}"
    if path in SWEEP_FIELDS or path == "seeds":
        raise ConfigError(field, "not an axis", f"give `{path}` for the sweep as a whole")
    return distinct(path, parse_values(path, values, candidates, field))


def parse_values(
    path: str, values: Sequence[Any], candidates: Sequence[Config], field: str
) -> tuple[Any, ...]:
    """Convert values to a field's type.

    Args:
        path: The field's dotted path.
        values: The values as written.
        candidates: The configs whose cells may have the field.
        field: The name of the field in messages.

    Raises:
        ConfigError: If a value is not accepted.
    """
    group, _, key = path.partition(".")
    choices = [getattr(config, group) for config in candidates if group in GROUPS]
    takers = [choice for choice in choices if key in choice.fields]
    if takers and all(choice.is_user_function for choice in takers):
        return tuple(values)
    if takers and all(choice.is_coordinate(key) for choice in takers):
        return tuple(COORDINATE.parse(value, field) for value in values)
    if path in LIMITS or path in OF_SPLITS:
        raise ConfigError(field, "not an axis", f"give one value of {path} for all cells")
    if path not in FIELDS:
        raise ConfigError(field, "no such field", suggest_field(path, [*FIELDS, *GROUPS]))
    parsed = tuple(values)
    # Every choice that has the field is combined with every value, so each of them must accept it.
    for name in {choice.name: None for choice in takers} or [""]:
        parsed = tuple(parse_field(path, value, field, name) for value in values)
    return parsed


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


def field_of(config: Config, path: str) -> Any:
    """Return the value of a field that the config has."""
    group, _, key = path.partition(".")
    if key and not (group == "data" and key in EVERY_DATASET):
        return getattr(config, group).fields[key]
    return getattr(config, key or group)


def as_dict(config: Config) -> dict[str, Any]:
    """Return the config as nested plain values: the choice of each group with its fields."""
    nested: dict[str, Any] = {group: getattr(config, group).as_dict() for group in GROUPS}
    nested["data"] |= {name: plain(getattr(config, name)) for name in EVERY_DATASET}
    return nested | {name: getattr(config, name) for name in TOP}


def values_before(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields, by path, that a recorded config does not decide.

    It lacks some because it is older than they are, and no directory raises a bound on what is read.
    """
    recorded = set(dict(leaves(raw)))
    values = {path: value for path, value in BEFORE.items() if path not in recorded}
    if "data.stratify" in values and select(raw, "data.targets") == AUTO:
        # Tables had this field before other data sets, and `auto` means something else since.
        values["data.targets"] = BY_TYPE
    return values | {path: bound for path, bound in LIMITS.items() if _has_field(raw, path)}


def _has_field(raw: Mapping[str, Any], path: str) -> bool:
    """Return whether a recorded config chooses an entry of a group's registry that has a field."""
    group, _, key = path.partition(".")
    name = select(raw, f"{group}.name")
    return isinstance(name, str) and name in GROUPS[group] and key in fields(GROUPS[group][name])


def fields_before(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a config, by path, as earlier versions wrote them.

    The trials and data of old directories are known by these, so a field is left out at the value that it had
    before it existed.
    """
    fields = dict(fields)
    if "data.target" in fields and fields["data.targets"] == BY_TYPE:
        fields["data.targets"] = AUTO
    return {path: value for path, value in fields.items() if path not in BEFORE or value != BEFORE[path]}
