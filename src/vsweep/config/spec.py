"""The specification of a sweep: its cells, and the checked config of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from vsweep.config.axes import RawAxes, read_axes
from vsweep.config.followers import (
    VARY,
    Follower,
    ResolvedCells,
    assigned,
    check_shared,
    follower_axes,
    interpolated,
    is_shared,
    resolve_cells,
)
from vsweep.config.grid import Axis, Grid, expand, seed_list
from vsweep.config.groups import check_choice
from vsweep.config.hydra_compose import compose
from vsweep.config.overrides import Override, from_value
from vsweep.config.schema import GROUPS, LIMITS, OF_SPLITS, OWN, SPLIT_SEED
from vsweep.config.split_overrides import split_overrides
from vsweep.config.sweep_file import sweep_overrides
from vsweep.config.trust import DATA_FILE, READ_ONLY, Trust, of_record, own_words
from vsweep.config.unused import (
    notes_on_replaced,
    notes_on_unused,
    refuse_replaced,
    refuse_unused_functions,
)
from vsweep.config.user_input import ConfigInput, UserConfig, as_overrides
from vsweep.config.validate import (
    Config,
    as_dict,
    check_config,
    field_of,
    fields_of,
    parse_config,
    refuse_unused,
    values_before,
    with_values,
)
from vsweep.config.values import assign, only_plain_resolvers, resolve_parts, select
from vsweep.errors import ConfigError

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
        trust: The permissions of the command.
        followers: The fields that follow axes, by the choice of the cells.
        recorded_files: The data files and URLs that only the record of a sweep names.
        notes: Remarks on the overrides, for the user.
    """

    name: str
    overrides: tuple[Override | str, ...]
    raw: Mapping[str, Any]
    grid: Grid
    variants: Mapping[Choice, Config]
    own: Mapping[str, Any]
    trust: Trust
    followers: Mapping[Choice, Sequence[Follower]]
    recorded_files: tuple[str, ...]
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
        variants = [
            {
                "choice": list(choice),
                "config": as_dict(config),
                "followers": [follower._asdict() for follower in self.followers[choice]],
            }
            for choice, config in self.variants.items()
        ]
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
    given, notes, recorded = config if isinstance(config, UserConfig) else as_overrides(config)
    overrides = [override for override in [*recorded, *given] if override.key not in own]
    overrides += [from_value(group, OWN) for group in own]
    defaults = sweep_overrides(overrides)
    changes = [*defaults, *overrides]
    tree = compose(changes)
    # A recorded interpolation must not call a function that the user's program has registered.
    with only_plain_resolvers() if recorded else nullcontext():
        tree |= resolve_parts(tree, VARY)
        axes = read_axes(tree)
        refuse_unused_functions(own, given, axes)
        # The choice of a group whose function is given in Python is no word of the user's.
        refuse_replaced(
            defaults, recorded, [override for override in given if override.key not in own], axes.fields()
        )
        cells = _cells(changes, tree, axes)
        if of_splits := split_overrides(changes, tree, axes, cells):
            changes += of_splits
            tree = compose(changes)
            tree |= resolve_parts(tree, VARY)
            axes = read_axes(tree)
            cells = _cells(changes, tree, axes)
        raw = _raw(tree, next(iter(cells.values())).first, axes)
    names_file = any((o.kind, o.key) == ("choose", "sweep") for o in given)
    trust = _trust([*defaults * names_file, *given]) if recorded else own_words(raw)
    variants = _variants(cells, own, trust, axes)
    followers = {choice: part.followers for choice, part in cells.items()}
    sweeps = [override.value for override in overrides if override.key == "sweep"]
    name = sweeps[-1] if sweeps else _default_name(variants.values())
    spec = _spec(name, overrides, raw, axes, variants, own, trust, followers)
    unused = notes_on_unused(changes, spec.grid.axes, list(variants.values()))
    return replace(spec, notes=(*notes, *notes_on_replaced(given), *unused))


def _trust(words: Iterable[Override]) -> Trust:
    """Return the permissions of a command on a recorded sweep, from its own overrides."""
    fields = {path: value for word in words if word.kind == "assign" for path, value in word.fields().items()}
    return of_record(**fields)


def spec_from_record(
    raw: Mapping[str, Any],
    record: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    trust: Trust = READ_ONLY,
) -> SweepSpec:
    """Return the sweep of a directory without composing it: defaults and sweep files may have changed.

    Args:
        raw: The content of the directory's `config.yaml`.
        record: The result of `SweepSpec.record`.
        own: The user's own functions, as in `make_spec`.
        trust: The permissions of the command; by default those to read the record.

    Raises:
        ConfigError: If a field does not accept its value.
    """
    own, raw = dict(own or {}), _with_missing_fields(raw, trust)
    raw |= {"allow_targets": list(trust.targets), "allow_urls": list(trust.urls)}
    variants = {
        tuple(variant["choice"]): check_config(
            _with_missing_fields(raw | variant["config"], trust), own, trust
        )
        for variant in record["variants"]
    }
    if trust.max_bytes is not None and not any(config.data.limits for config in variants.values()):
        raise ConfigError("max_bytes", "the sweep reads no table", "leave it out")
    # Directories of an earlier version have no followers: their cells were trained with one value.
    followers = {
        tuple(variant["choice"]): [Follower(**follower) for follower in variant.get("followers", ())]
        for variant in record["variants"]
    }
    return _spec(record["name"], record["words"], raw, read_axes(raw), variants, own, trust, followers)


def _with_missing_fields(raw: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
    """Return a recorded config with the fields that it does not decide."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    for path, value in values_before(raw).items():
        own = trust.max_bytes if path in LIMITS else None
        assign(tree, path, value if own is None else own)
    return tree


def _spec(
    name: str,
    overrides: Sequence[Override | str],
    raw: Mapping[str, Any],
    raw_axes: RawAxes,
    variants: Mapping[Choice, Config],
    own: Mapping[str, Any],
    trust: Trust,
    followers: Mapping[Choice, Sequence[Follower]],
) -> SweepSpec:
    axes = raw_axes.parse(variants.values())
    following = follower_axes(followers, variants, raw_axes)
    every = [*axes, *(follower.axis for follower in following)]
    selectors, has = _field_selectors(every, raw_axes.groups, variants)
    seeds, splits = seed_list(raw.get("seeds")), _split_count(variants.values(), every)
    grid = expand(axes, seeds, selectors, has, draws=raw_axes.draws, followers=following, splits=splits)
    files = trust.check_data(_data_files(every, variants.values()))
    return SweepSpec(name, tuple(overrides), raw, grid, variants, own, trust, followers, files)


def _split_count(variants: Iterable[Config], axes: Iterable[Axis]) -> int:
    """Return the number of splits of every cell. Raises `ConfigError` if cells differ in their splits."""
    configs = list(variants)
    for path in OF_SPLITS:
        check_shared(path, [field_of(config, path) for config in configs])
    count = configs[0].split_count
    if count > 1 and any(axis.path == SPLIT_SEED for axis in axes):
        got = f"got values that differ between cells, which are trained on {count} splits each"
        raise ConfigError(SPLIT_SEED, got, "give one value, or no splits")
    return count


def _data_files(axes: Iterable[Axis], variants: Iterable[Config]) -> Iterator[str]:
    """Yield the data files and URLs of a sweep: the values of an axis, or else of the configs."""
    values = [axis.values for axis in axes if axis.path == DATA_FILE]
    for value in chain(*values) if values else (config.data.fields.get("path") for config in variants):
        if isinstance(value, str):
            yield value


def user_functions(*, model: Any = None, loss: Any = None, data: Any = None) -> dict[str, Any]:
    """Return the user's own functions by group, without those that are None."""
    functions = {"model": model, "loss": loss, "data": data}
    return {group: function for group, function in functions.items() if function is not None}


def _cells(
    changes: Sequence[Override], tree: Mapping[str, Any], axes: RawAxes
) -> dict[Choice, ResolvedCells]:
    """Return the resolved config of the cells, by their choices on the axes over groups.

    Args:
        changes: The overrides, those of a sweep file included.
        tree: The config that they compose, with resolved axes.
        axes: The axes.
    """
    for i in axes.groups:
        for value in axes.axes[i].values:
            check_choice(axes.axes[i].path, value, field=axes.field(i))
    cells = {}
    trees = []
    for choice in axes.group_choices():
        chosen = {axes.axes[i].path: value for i, value in zip(axes.groups, choice, strict=True)}
        trees.append(compose(changes, chosen))
        with _naming_cells(chosen):
            cells[choice] = resolve_cells(trees[-1], axes, axes.draws_of(choice))
    resolved = [part.first for part in cells.values()]
    for path in filter(is_shared, interpolated(trees[0])):
        check_shared(path, [select(one, path) for one in [tree] * path.startswith(VARY) + resolved])
    return cells


@contextmanager
def _naming_cells(chosen: Mapping[str, str]) -> Iterator[None]:
    """Name the cells in the message about a field that cannot be resolved in all of them."""
    try:
        yield
    except ConfigError as error:
        if not chosen:
            raise
        cells = " ".join(f"{group}={choice}" for group, choice in chosen.items())
        raise ConfigError(error.field, f"{error.got}, in the cells of {cells}", error.takes) from error


def _raw(tree: dict[str, Any], first: Mapping[str, Any], axes: RawAxes) -> dict[str, Any]:
    """Return a composed config as plain values, those of the first cell where they are interpolated.

    The field of an axis keeps the value that it would have without the axis.
    """
    paths = interpolated(tree)
    own = [axis.path for axis in axes.axes if axis.path in paths]
    raw = assigned(tree, first, [path for path in paths if path not in own])
    for path, value in resolve_parts(tree, own).items():
        assign(raw, path, value)
    return raw


def _variants(
    cells: Mapping[Choice, ResolvedCells], own: Mapping[str, Any], trust: Trust, axes: RawAxes
) -> dict[Choice, Config]:
    """Return the checked config of the cells, by their choices on the axes over groups."""
    with axes.naming_axes():
        variants = {choice: parse_config(part.first, own, trust) for choice, part in cells.items()}
    refuse_unused([part.first for part in cells.values()], list(variants.values()))
    return variants


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
