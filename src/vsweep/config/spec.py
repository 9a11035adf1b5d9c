"""The specification of a sweep: its cells, and the checked config of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vsweep.config.axes import RawAxes, read_axes
from vsweep.config.grid import Axis, Grid, expand, seed_list
from vsweep.config.groups import check_choice
from vsweep.config.hydra_compose import compose
from vsweep.config.overrides import Override, from_value
from vsweep.config.schema import GROUPS, OWN
from vsweep.config.sweep_file import sweep_overrides
from vsweep.config.user_input import ConfigInput, UserConfig, as_overrides
from vsweep.config.validate import (
    Config,
    as_dict,
    check_config,
    fields_of,
    parse_config,
    refuse_unused,
    values_before,
    with_values,
)
from vsweep.config.values import assign

_INIT, _INIT_SCALE = "model.init", "model.init_scale"
Choice = tuple[str, ...]


@dataclass(frozen=True)
class SweepSpec:
    """A composed and checked sweep.

    Attributes:
        name: The sweep's name.
        overrides: The overrides that the sweep was composed from; words if it was read from a directory.
        raw: The resolved config as written.
        grid: The sweep's cells.
        variants: The config of the cells, by their choices on the axes over groups, in axis order.
        own: The user's own functions by group.
        notes: Remarks on the overrides, for the user.
    """

    name: str
    overrides: tuple[Override | str, ...]
    raw: Mapping[str, Any]
    grid: Grid
    variants: Mapping[Choice, Config]
    own: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def group_axes(self) -> tuple[int, ...]:
        """The positions of the axes over groups."""
        return tuple(i for i, axis in enumerate(self.grid.axes) if axis.path in GROUPS)

    @property
    def words(self) -> list[str]:
        """The overrides as words of a command line."""
        words = [override if isinstance(override, str) else override.word for override in self.overrides]
        return [word.removeprefix("++") for word in words]

    def record(self) -> dict[str, Any]:
        """Return what `spec_from_record` needs beside the resolved config, as plain values."""
        variants = [{"choice": list(key), "config": as_dict(config)} for key, config in self.variants.items()]
        return {"name": self.name, "words": self.words, "variants": variants}

    def cell(self, number: int) -> Config:
        """Return the config of a cell, by its number. Raises `KeyError` if there is no such cell."""
        row = int(np.searchsorted(self.grid.cells, number))
        if row == len(self.grid.cells) or self.grid.cells[row] != number:
            raise KeyError(f"no cell {number}")
        axes = zip(self.grid.axes, self.grid.index[row], strict=True)
        values = {axis.path: axis.values[i] for axis, i in axes if i >= 0}
        choice = tuple(values[self.grid.axes[a].path] for a in self.group_axes)
        return with_values(self.variants[choice], values)


def make_spec(config: ConfigInput | UserConfig, own: Mapping[str, Any] | None = None) -> SweepSpec:
    """Compose and check a sweep.

    Args:
        config: The config, as the user gives it.
        own: The user's own functions for `model`, `loss` and `data`.

    Raises:
        ConfigError: If the config cannot be composed, or a field does not accept its value.
    """
    own = dict(own or {})
    overrides, notes = config if isinstance(config, UserConfig) else as_overrides(config)
    overrides = [override for override in overrides if override.key not in own]
    overrides += [from_value(group, OWN) for group in own]
    changes = [*sweep_overrides(overrides), *overrides]
    raw = compose(changes)
    axes = read_axes(raw)
    variants = _variants(changes, own, axes)
    sweeps = [override.value for override in overrides if override.key == "sweep"]
    name = sweeps[-1] if sweeps else _default_name(variants.values())
    return replace(_spec(name, overrides, raw, axes, variants, own), notes=notes)


def spec_from_record(
    raw: Mapping[str, Any], record: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> SweepSpec:
    """Return the sweep of a directory without composing it: defaults and sweep files may have changed.

    Args:
        raw: The content of the directory's `config.yaml`.
        record: The result of `SweepSpec.record`.
        own: The user's own functions, as in `make_spec`.

    Raises:
        ConfigError: If a field does not accept its value.
    """
    own, raw = dict(own or {}), _with_missing_fields(raw)
    variants = {
        tuple(variant["choice"]): check_config(_with_missing_fields({**raw, **variant["config"]}), own)
        for variant in record["variants"]
    }
    return _spec(record["name"], record["words"], raw, read_axes(raw), variants, own)


def _with_missing_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded config with the fields that its version did not have."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    for path, value in values_before(raw).items():
        assign(tree, path, value)
    return tree


def _spec(
    name: str,
    overrides: Sequence[Override | str],
    raw: Mapping[str, Any],
    raw_axes: RawAxes,
    variants: Mapping[Choice, Config],
    own: Mapping[str, Any],
) -> SweepSpec:
    axes = raw_axes.parse(variants.values())
    selectors, has = _field_selectors(axes, raw_axes.groups, variants)
    grid = expand(axes, seed_list(raw.get("seeds")), selectors, has, draws=raw_axes.draws)
    return SweepSpec(name, tuple(overrides), raw, grid, variants, own)


def user_functions(*, model: Any = None, loss: Any = None, data: Any = None) -> dict[str, Any]:
    """Return the user's own functions by group, without those that are None."""
    functions = {"model": model, "loss": loss, "data": data}
    return {group: function for group, function in functions.items() if function is not None}


def _variants(changes: Sequence[Override], own: Mapping[str, Any], axes: RawAxes) -> dict[Choice, Config]:
    """Return the config of the cells, by their choices on the axes over groups."""
    for i in axes.groups:
        for value in axes.axes[i].values:
            check_choice(axes.axes[i].path, value, field=axes.field(i))
    variants: dict[Choice, Config] = {}
    raws = []
    for choice in axes.group_choices():
        chosen = {axes.axes[i].path: value for i, value in zip(axes.groups, choice, strict=True)}
        raws.append(_with_first_values(compose(changes, chosen), axes))
        with axes.naming_axes():
            variants[choice] = parse_config(raws[-1], own)
    refuse_unused(raws, list(variants.values()))
    return variants


def _with_first_values(raw: Mapping[str, Any], axes: RawAxes) -> dict[str, Any]:
    """Return the config with each axis's first value in its field, which may have no other value."""
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in raw.items()}
    for path, values in axes.axes:
        group, _, key = path.partition(".")
        if key and isinstance(config.get(group), dict) and key in config[group]:
            config[group][key] = values[0]
    return config


def _field_selectors(
    axes: list[Axis], group_axes: Sequence[int], variants: Mapping[Choice, Config]
) -> tuple[list[str], Callable[[Mapping[str, Any]], set[str]]]:
    """Return the axes that decide which fields a cell has, and the function that decides; see `expand`.

    A cell has the fields of its groups' choices, but zero weights have no scale.
    """
    groups = [axes[i].path for i in group_axes]
    inits = [axis.path for axis in axes if axis.path == _INIT and "zeros" in axis.values]

    def has(chosen: Mapping[str, Any]) -> set[str]:
        config = variants[tuple(chosen[group] for group in groups)]
        paths = fields_of(config)
        init = chosen.get(_INIT, config.model.fields.get("init"))
        return paths - {_INIT_SCALE} if init == "zeros" and config.model.has_initializer else paths

    return [*groups, *inits], has


def _default_name(variants: Iterable[Config]) -> str:
    """Return the name of a sweep without one: the labels of its data and its models."""
    labels = (config.model.labels(config.data, config.loss) for config in variants)
    parts = ["+".join(dict.fromkeys(column)) for column in zip(*labels, strict=True)]
    name = "-".join(dict.fromkeys(parts))[:120]
    # The name becomes the name of a directory, which must be neither hidden nor a parent directory.
    return "".join("_" if char in "/\\" or not char.isprintable() else char for char in name).lstrip(".")
