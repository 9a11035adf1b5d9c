"""What a sweep is to train: its cells, and the checked config of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vsweep.config.axes import RawAxes, read_axes
from vsweep.config.grid import Axis, Grid, expand, seed_list
from vsweep.config.hydra_compose import Composed, compose, options, read_overrides, register_sweeps
from vsweep.config.overrides import Change, Override, override_key, spell
from vsweep.config.schema import FIELDS, OWN
from vsweep.config.validate import Config, as_dict, check_config, fields_of, leaves, with_values
from vsweep.errors import ConfigError, suggest

_INIT, _INIT_SCALE = "model.init", "model.init_scale"
Choice = tuple[str, ...]


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, composed and checked.

    name: of the sweep. overrides: those that it was composed from. raw: the resolved config as
    written. grid: all its cells. variants: the config of the cells of each choice on the axes over groups,
    by those values in axis order. group_axes: which axes these are. own: a person's own functions. notes:
    what a person should know of their words.
    """

    name: str
    overrides: tuple[Override, ...]
    raw: Mapping[str, Any]
    grid: Grid
    variants: Mapping[Choice, Config]
    group_axes: tuple[int, ...]
    own: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The overrides as words of a command line."""
        return [spell(override).removeprefix("++") for override in self.overrides]

    def record(self) -> dict[str, Any]:
        """What `spec_from_record` needs beside the resolved config, of plain types."""
        variants = [{"choice": list(key), "config": as_dict(config)} for key, config in self.variants.items()]
        return {"name": self.name, "words": self.words, "variants": variants}

    def cell(self, number: int) -> Config:
        """The config of a cell, by its number. Raises `KeyError` where there is none."""
        row = int(np.searchsorted(self.grid.cells, number))
        if row == len(self.grid.cells) or self.grid.cells[row] != number:
            raise KeyError(f"no cell {number}")
        axes = zip(self.grid.axes, self.grid.index[row], strict=True)
        values = {axis.path: axis.values[i] for axis, i in axes if i >= 0}
        choice = tuple(values[self.grid.axes[a].path] for a in self.group_axes)
        return with_values(self.variants[choice], values)


def make_spec(
    given: Sequence[Override], own: Mapping[str, Any] | None = None, notes: Sequence[str] = ()
) -> SweepSpec:
    """Compose and check a sweep.

    given: overrides. own: a person's own functions for `model`, `loss` and `data`. notes: what a person
    should know of their overrides.

    Raises `ConfigError`.
    """
    own = dict(own or {})
    given = [one for one in given if override_key(one) not in own]
    overrides = (*given, *(f"{group}={OWN}" for group in own))
    register_sweeps(overrides)
    changes = read_overrides(overrides)
    base = compose(changes)
    written = read_axes(base.raw)
    variants = _variants(changes, base, own, written)
    name = base.choices.get("sweep") or _name(variants.values())
    return replace(_study(name, overrides, base.raw, written, variants, own), notes=tuple(notes))


def spec_from_record(
    raw: Mapping[str, Any], record: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> SweepSpec:
    """The sweep of a directory, without composing it again: defaults and sweep files may have changed.

    raw: its `config.yaml`. record: what `Study.record` gave. own: as in `make_spec`.

    Raises `ConfigError`.
    """
    own = dict(own or {})
    variants = {
        tuple(variant["choice"]): check_config({**raw, **variant["config"]}, own)
        for variant in record["variants"]
    }
    return _study(record["name"], record["words"], raw, read_axes(raw), variants, own)


def _study(
    name: str,
    overrides: Sequence[Override],
    raw: Mapping[str, Any],
    written: RawAxes,
    variants: Mapping[Choice, Config],
    own: Mapping[str, Any],
) -> SweepSpec:
    group_axes = written.groups
    axes = written.checked(variants.values())
    seeds = seed_list(raw.get("seeds"))
    grid = expand(axes, seeds, *_collapse(axes, group_axes, variants), draws=written.draws)
    return SweepSpec(name, tuple(overrides), raw, grid, variants, group_axes, own)


def user_functions(**given: Any) -> dict[str, Any]:
    """A person's own functions, those that were given, by group."""
    return {group: function for group, function in given.items() if function is not None}


def _variants(
    changes: Sequence[Change],
    base: Composed,
    own: Mapping[str, Any],
    written: RawAxes,
) -> dict[Choice, Config]:
    """The config of the cells of each choice on the axes over groups."""
    group_axes = written.groups
    for path, values in (written.axes[i] for i in group_axes):
        for value in values:
            if value not in options(path):
                message = suggest(str(value), options(path))
                raise ConfigError(written.field(path), f"no such choice {value!r}", message)
    variants: dict[Choice, Config] = {}
    given: dict[str, None] = {}
    parts: dict[tuple[str, str], Any] = {}
    for choice in written.choices(group_axes):
        chosen = {written.axes[i][0]: value for i, value in zip(group_axes, choice, strict=True)}
        made = _chosen(changes, base, chosen, parts)
        with written.named():
            variants[choice] = check_config(_with_first_values(made, written), own, strict=not chosen)
        given |= dict.fromkeys(path for path, _ in leaves(made))
    of_some = set().union(*(fields_of(config) for config in variants.values()))
    for path in given:
        group = path.partition(".")[0]
        ours = path in FIELDS or (
            group == "model" and all(config.model.is_known(path) for config in variants.values())
        )
        if group_axes and ours and path not in of_some:
            raise ConfigError(path, f"no {group} of this sweep has this field", "leave it out")
    return variants


def _chosen(
    changes: Sequence[Change],
    base: Composed,
    chosen: Mapping[str, str],
    parts: dict[tuple[str, str], Any],
) -> Mapping[str, Any]:
    """The raw config with these choices of groups. parts: that of each choice, as far as composed."""
    if base.interpolated:
        return compose(changes, chosen).raw
    # A choice says what is in its own group alone, so composing each once serves all combinations.
    for group, value in chosen.items():
        if (group, value) not in parts:
            parts[group, value] = compose(changes, {group: value}).raw[group]
    return {**base.raw, **{group: parts[group, value] for group, value in chosen.items()}}


def _with_first_values(raw: Mapping[str, Any], written: RawAxes) -> dict[str, Any]:
    """The config with each axis's first value in place, so that what only the axis gives is there."""
    made = {key: dict(value) if isinstance(value, Mapping) else value for key, value in raw.items()}
    for path, values in written.axes:
        group, _, key = path.partition(".")
        if key and isinstance(made.get(group), dict) and key in made[group]:
            made[group][key] = values[0]
    return made


Has = Callable[[Mapping[str, Any]], set[str]]


def _collapse(
    axes: list[Axis], group_axes: Sequence[int], variants: Mapping[Choice, Config]
) -> tuple[list[str], Has]:
    """What `expand` needs to know which fields a cell has: those of its groups' choices.

    Weights of zero have no scale.
    """
    groups = [axes[i].path for i in group_axes]
    inits = [axis.path for axis in axes if axis.path == _INIT and "zeros" in axis.values]

    def has(chosen: Mapping[str, Any]) -> set[str]:
        config = variants[tuple(chosen[group] for group in groups)]
        paths = fields_of(config)
        init = chosen.get(_INIT, config.model.fields.get("init"))
        return paths - {_INIT_SCALE} if init == "zeros" and config.model.has_initializer else paths

    return [*groups, *inits], has


def _name(variants: Iterable[Config]) -> str:
    """What a sweep is called that has no name: its data and its models."""
    names: tuple[dict[str, None], ...] = ({}, {})
    for config in variants:
        for found, label in zip(names, config.model.labels(config.data, config.loss), strict=True):
            found[label] = None
    # It names a directory: one, and not one above.
    name = "-".join(dict.fromkeys("+".join(found) for found in names))[:120]
    return "".join("_" if one in "/\\" or not one.isprintable() else one for one in name).lstrip(".")
