"""Fields that follow axes: their interpolations lead to an axis, so that their values differ between cells.

Each such field is resolved for every combination of values on the axes that it reads, which the resolution
itself reports. Nothing else depends on the form of an interpolation: it may be relative, nested, or lead
through other fields.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.axes import RawAxes
from vsweep.config.grid import Axis, FollowerAxis
from vsweep.config.schema import GROUPS, OWN, POINT, TOP
from vsweep.config.validate import Config, field_of, fields_of, leaves, parse_values
from vsweep.config.values import interpolation, is_final, put_back, resolved_field, select, set_aside
from vsweep.errors import ConfigError, short_repr

_RESOLVER = "vsweep.axis"
VARY = "grid", "draws"


class Follower(NamedTuple):
    """A field that follows axes, in the cells of one choice on the axes over groups.

    Attributes:
        path: The field's dotted path.
        on: The paths of the axes that the field reads.
        rows: The indices of the values on these axes, for every combination that cells have.
        values: The field's value for each of these combinations, as written.
    """

    path: str
    on: tuple[str, ...]
    rows: list[list[int]]
    values: list[Any]


class ResolvedCells(NamedTuple):
    """The config of the cells of one choice on the axes over groups.

    Attributes:
        first: The resolved config of the first cell.
        followers: The fields that follow axes.
    """

    first: dict[str, Any]
    followers: list[Follower]


def interpolated(tree: Mapping[str, Any]) -> list[str]:
    """Return the paths of the fields of a composed config that are not plain values."""
    return [path for path, value in leaves(tree) if not is_final(value)]


def resolve_cells(tree: Mapping[str, Any], axes: RawAxes, draws: np.ndarray) -> ResolvedCells:
    """Resolve the interpolations of the cells of one choice on the axes over groups.

    Args:
        tree: The composed config of this choice.
        axes: The axes.
        draws: The rows of `RawAxes.draws` that cells of this choice have.

    Raises:
        ConfigError: If an interpolation cannot be resolved, or a field follows an axis that cannot.
    """
    cell = [*draws[0].tolist(), *[0] * (len(axes.axes) - draws.shape[1])]
    values = [axis.values[i] for axis, i in zip(axes.axes, cell, strict=True)]
    paths = interpolated(tree)
    if not paths:
        return ResolvedCells(_with_values(tree, axes.axes, values)[0], [])
    fields = _Fields(tree, axes.axes, values)
    followers = []
    with fields.readable():
        first = fields.resolved()
        for path in paths:
            # The values of the axes' own fields are those of the axes.
            if path not in fields.axes and (follower := _follow(fields, path, axes, draws)):
                followers.append(follower)
    for follower in followers:
        _check_follower(follower)
    return ResolvedCells(first, followers)


def _follow(fields: "_Fields", path: str, axes: RawAxes, draws: np.ndarray) -> Follower | None:
    """Return the values of a field on the axes that it reads; None if it reads no axis."""
    _, read = fields.read(path, {})
    if not read:
        return None
    on = sorted(read)
    alias = fields.alias(path)
    while True:
        rows, values = _combinations(on, axes, draws), []
        for row in rows:
            if alias is not None:
                values.append(axes.axes[alias].values[row[0]])
                continue
            cell = {a: axes.axes[a].values[i] for a, i in zip(on, row, strict=True)}
            value, read = fields.read(path, cell)
            if not read <= set(on):
                # Another value leads the interpolation to a further axis.
                on = sorted(read | set(on))
                break
            values.append(value)
        else:
            return Follower(path, tuple(axes.axes[a].path for a in on), rows, values)


def _combinations(on: Sequence[int], axes: RawAxes, draws: np.ndarray) -> list[list[int]]:
    """Return the combinations of indices on some axes, in rising order, that the draws have."""
    drawn = [a for a in on if a < draws.shape[1]]
    crossed = [range(len(axes.axes[a].values)) for a in on if a not in drawn]
    first = np.unique(draws[:, drawn], axis=0).tolist() if drawn else [[]]
    return [[*row, *rest] for row in first for rest in product(*crossed)]


def _check_follower(follower: Follower) -> None:
    """Raise `ConfigError` for a field that cannot follow an axis."""
    group, _, key = follower.path.partition(".")
    got = f"follows the axis {follower.on[0]}"
    if group in VARY:
        takes = (
            "an axis has the same values in all cells: give plain values, or lists of equal length in draws"
        )
        raise ConfigError(follower.path, got, takes)
    if not (follower.path in TOP or (group in GROUPS and key not in ("", "name", "_target_"))):
        raise ConfigError(follower.path, got, "it takes one value, the same in all cells")


def follower_axes(
    followers: Mapping[tuple[str, ...], Sequence[Follower]],
    variants: Mapping[tuple[str, ...], Config],
    axes: RawAxes,
) -> list[FollowerAxis]:
    """Return the fields that follow axes, with their values as the fields' types.

    Args:
        followers: The fields that follow axes, by the cells' choices on the axes over groups.
        variants: The configs of the cells, by the same choices.
        axes: The axes.

    Raises:
        ConfigError: If a field does not accept its value in a cell.
    """
    found = []
    for path in dict.fromkeys(follower.path for part in followers.values() for follower in part):
        tables = {}
        for choice, config in variants.items():
            if path not in fields_of(config):
                continue
            own = next((one for one in followers[choice] if one.path == path), None)
            # In these cells the interpolation may lead to no axis.
            table = own or Follower(path, (), [[]], [field_of(config, path)])
            tables[choice] = table._replace(values=[*parse_values(path, table.values, [config], path)])
        if tables:
            found.append(_follower_axis(path, tables, axes))
    return found


def _follower_axis(path: str, tables: Mapping[tuple[str, ...], Follower], axes: RawAxes) -> FollowerAxis:
    """Return a field that follows axes, from its values in the cells of each choice."""
    # 1 and 1.0 are equal, but a trial's identity tells them apart.
    distinct = {repr(value): value for table in tables.values() for value in table.values}
    number = {key: i for i, key in enumerate(distinct)}
    positions = {axis.path: i for i, axis in enumerate(axes.axes)}
    places_of = {
        choice: {tuple(row): number[repr(value)] for row, value in zip(table.rows, table.values, strict=True)}
        for choice, table in tables.items()
    }

    def places(index: np.ndarray) -> np.ndarray:
        column = np.full(len(index), -1)
        for choice, table in tables.items():
            rows = np.ones(len(index), bool)
            for group, value in zip(axes.groups, choice, strict=True):
                rows &= index[:, group] == axes.axes[group].values.index(value)
            on = [positions[axis] for axis in table.on]
            cells, inverse = np.unique(index[rows][:, on], axis=0, return_inverse=True)
            values = [places_of[choice][tuple(cell)] for cell in cells.tolist()]
            column[rows] = np.asarray(values, np.int64)[inverse.ravel()]
        return column

    on = dict.fromkeys(axis for table in tables.values() for axis in table.on)
    return FollowerAxis(Axis(path, tuple(distinct.values())), tuple(on), places)


def check_shared(path: str, values: Sequence[Any]) -> None:
    """Raise `ConfigError` if a field that cells share differs between the choices on axes over groups."""
    other = next((value for value in values if value != values[0]), values[0])
    if other != values[0]:
        got = f"is {short_repr(values[0])} in some cells and {short_repr(other)} in others"
        raise ConfigError(path, got, "it takes one value, the same in all cells")


def is_shared(path: str) -> bool:
    """Return whether all cells have one value of a field: an axis, or a field of the sweep as a whole."""
    return path.partition(".")[0] not in GROUPS and path not in TOP


class _Fields:
    """The fields of a composed config, read with one value on each axis at a time."""

    def __init__(self, tree: Mapping[str, Any], axes: Sequence[Axis], first: Sequence[Any]) -> None:
        """Take the composed config, the axes, and the values of the first cell."""
        from omegaconf import OmegaConf

        self.axes = {axis.path for axis in axes}
        self._tree, self._first, self._lists = tree, first, dict[str, list[Any]]()
        self._values, self._read = list(first), set[int]()
        places = [f"${{{_RESOLVER}:{a}}}" for a in range(len(axes))]
        with_axes, self._added = _with_values(tree, axes, places, add=True)
        with interpolation():
            self._node = OmegaConf.create(set_aside(with_axes, self._lists))

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Resolve the axes' fields to the values of the present cell, and explain errors."""
        from omegaconf import OmegaConf

        OmegaConf.register_new_resolver(_RESOLVER, self._axis_value, replace=True)
        try:
            with interpolation():
                yield
        finally:
            OmegaConf.clear_resolver(_RESOLVER)

    def resolved(self) -> dict[str, Any]:
        """Return the resolved config of the first cell, without axes' fields that it did not have."""
        from omegaconf import OmegaConf

        self._values = list(self._first)
        whole: Any = OmegaConf.to_container(self._node, resolve=True, throw_on_missing=True)
        for group, key in self._added:
            del whole[group][key]
        return put_back(whole, self._lists)

    def read(self, path: str, cell: Mapping[int, Any]) -> tuple[Any, set[int]]:
        """Return the value of a field for some values on the axes, and the positions of the axes it read."""
        self._values, self._read = [cell.get(a, value) for a, value in enumerate(self._first)], set()
        value = resolved_field(self._node, path)
        return put_back(value, self._lists), self._read

    def alias(self, path: str) -> int | None:
        """Return the position of the axis whose value a field is, whatever it is; None if there is none.

        Such a field need not be resolved for each value, which OmegaConf takes a millisecond for.
        """
        _, read = self.read(path, {})
        for axis in read if len(read) == 1 else ():
            mark = f"<axis {axis}>"
            # Where the axis' value chooses another field, none has this name.
            with suppress(Exception):
                return axis if self.read(path, {axis: mark})[0] == mark else None
        return None

    def _axis_value(self, axis: int) -> Any:
        self._read.add(axis)
        return self._values[axis]


def _with_values(
    tree: Mapping[str, Any], axes: Sequence[Axis], values: Sequence[Any], *, add: bool = False
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the config with a value in the field of each axis that is not over a group.

    Args:
        tree: The config.
        axes: The axes.
        values: The value of each axis.
        add: Whether to set fields at the top, and fields that only the user's functions and points know.

    Returns:
        The config, and the groups and keys of the fields that were added.
    """
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    added = []
    for axis, value in zip(axes, values, strict=True):
        group, _, key = axis.path.partition(".")
        part = config.get(group)
        if not key and add and group in TOP:
            config[group] = value
        elif key and isinstance(part, dict) and (key in part or (add and part.get("name") in (OWN, POINT))):
            added += [(group, key)] * (key not in part)
            part[key] = value
    return config, added


def assigned(tree: Mapping[str, Any], source: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return a config with the values that another has at some paths."""
    config: dict[str, Any] = {}
    for key, value in tree.items():
        inner = [path.partition(".")[2] for path in paths if path.partition(".")[0] == key]
        if "" in inner:
            config[key] = select(source, key)
        elif inner:
            config[key] = assigned(value, source[key], inner)
        else:
            config[key] = value
    return config
