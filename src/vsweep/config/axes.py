"""Axes as a config writes them: all combinations under `grid`, rows of values under `draws`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.grid import Axis, axis_nodes, axis_values, is_space, value_key
from vsweep.config.schema import GROUPS
from vsweep.config.validate import Config, parse_axis
from vsweep.errors import ConfigError, short_repr


class RawAxes(NamedTuple):
    """The axes of a sweep, before their values are checked.

    Attributes:
        axes: The axes with their distinct values; drawn axes come first.
        draws: The index of every draw's value on each of the first k axes, int64 `(draws, k)`; one draw of no
            axes where nothing is drawn.
    """

    axes: tuple[Axis, ...]
    draws: np.ndarray

    @property
    def groups(self) -> tuple[int, ...]:
        """The positions of the axes over groups."""
        return tuple(i for i, axis in enumerate(self.axes) if axis.path in GROUPS)

    def field(self, position: int) -> str:
        """Return the name of an axis in messages, with `grid` or `draws` in front."""
        return f"{'draws' if position < self.draws.shape[1] else 'grid'}.{self.axes[position].path}"

    def fields(self) -> dict[str, str]:
        """Return the field under `grid` or `draws` that holds each axis, by the axis' path."""
        return {
            axis.path: f"{self.field(i)}{'.name' * (axis.path in GROUPS)}" for i, axis in enumerate(self.axes)
        }

    def group_choices(self) -> Iterator[tuple[str, ...]]:
        """Yield the combinations of choices on the axes over groups that cells have, in order."""
        drawn = [i for i in self.groups if i < self.draws.shape[1]]
        crossed = [self.axes[i].values for i in self.groups if i not in drawn]
        for row in np.unique(self.draws[:, drawn], axis=0).tolist():
            first = [self.axes[i].values[index] for i, index in zip(drawn, row, strict=True)]
            for rest in product(*crossed):
                yield (*first, *rest)

    def draws_of(self, choice: Sequence[str]) -> np.ndarray:
        """Return the rows of `draws` with a combination of choices on the axes over groups."""
        rows = np.ones(len(self.draws), bool)
        for i, value in zip(self.groups, choice, strict=True):
            if i < self.draws.shape[1]:
                rows &= self.draws[:, i] == self.axes[i].values.index(value)
        return self.draws[rows]

    @contextmanager
    def naming_axes(self) -> Iterator[None]:
        """Name the axis in the message about a refused value that is on an axis."""
        try:
            yield
        except ConfigError as error:
            path = error.field.removeprefix("grid.")
            fields = {axis.path: self.field(i) for i, axis in enumerate(self.axes)}
            raise ConfigError(fields.get(path, error.field), error.got, error.takes) from error

    def parse(self, variants: Iterable[Config]) -> list[Axis]:
        """Return the axes with their values as the fields' types.

        Args:
            variants: The configs whose cells may have the axes' fields.

        Raises:
            ConfigError: If a field does not accept a value of its axis.
        """
        candidates = list(variants)
        with self.naming_axes():
            return [
                Axis(path, values if path in GROUPS else parse_axis(path, values, candidates))
                for path, values in self.axes
            ]


def read_axes(raw: Mapping[str, Any]) -> RawAxes:
    """Return the axes of a resolved config.

    Raises:
        ConfigError: If `grid` or `draws` is malformed, or holds an axis twice.
    """
    columns = dict(_nodes("draws", raw))
    for path, column in columns.items():
        if not isinstance(column, list) or not column or any(type(value) is dict for value in column):
            takes = "it takes a list: the value of every draw"
            raise ConfigError(f"draws.{path}", f"got {short_repr(column)}", takes)
    longest = max(columns, key=lambda path: len(columns[path]), default="")
    for path, column in columns.items():
        if len(column) < (most := len(columns[longest])):
            takes = f"all draws need the same number of values, and draws.{longest} has {most:,}"
            raise ConfigError(f"draws.{path}", f"got {len(column):,} values", takes)
    axes = []
    for path, node in _nodes("grid", raw):
        if path in columns:
            takes = f"give it once: ~draws.{path} removes it from the draws"
            raise ConfigError(f"grid.{path}", "given twice", takes)
        axes.append(Axis(path, axis_values(path, node)))
    drawn = [(path, *_factorize(column)) for path, column in columns.items()]
    draws = np.stack([indices for *_, indices in drawn], axis=1) if drawn else np.zeros((1, 0), np.int64)
    return RawAxes((*(Axis(path, values) for path, values, _ in drawn), *axes), draws)


def _nodes(name: str, raw: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the path and the node of every axis under `grid` or `draws`; a group's `name` is its axis."""
    tree = {} if raw.get(name) is None else raw[name]
    if not isinstance(tree, Mapping) or is_space(tree) or "" in tree:
        raise ConfigError(name, f"got {tree!r}", "it takes fields and their values")
    nodes = [
        (group if (group := path.removesuffix(".name")) in GROUPS else path, node)
        for path, node in axis_nodes(tree)
    ]
    for path, count in Counter(path for path, _ in nodes).items():
        if count > 1:
            raise ConfigError(f"{name}.{path}", "given twice", "give an axis once")
    return nodes


def _factorize(column: list[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the distinct values of a column, and the index of each of its values among them; int64.

    The distinct values are in the order of their first appearance, so that added draws leave their order
    unchanged.
    """
    numbers: dict[Any, int] = {}
    indices = np.array([numbers.setdefault(value_key(value), len(numbers)) for value in column], np.int64)
    first = np.unique(indices, return_index=True)[1]
    return tuple(column[i] for i in first.tolist()), indices
