"""Axes as a config writes them: all combinations under `grid`, rows of values under `draws`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.grid import Axis, axis_nodes, axis_values, is_space
from vsweep.config.schema import GROUPS
from vsweep.config.validate import Config, parse_axis
from vsweep.errors import ConfigError, short_repr


class RawAxes(NamedTuple):
    """The axes of a sweep, before their values are checked.

    Attributes:
        axes: The path and the distinct values of each axis; drawn axes come first.
        draws: The index of every draw's value on each of the first k axes, int64 `(draws, k)`; None where
            nothing is drawn.
    """

    axes: tuple[tuple[str, tuple[Any, ...]], ...]
    draws: np.ndarray | None

    @property
    def drawn(self) -> int:
        """The number of drawn axes, which come first and vary together."""
        return 0 if self.draws is None else self.draws.shape[1]

    @property
    def groups(self) -> tuple[int, ...]:
        """The positions of the axes over groups."""
        return tuple(i for i, (path, _) in enumerate(self.axes) if path in GROUPS)

    def field(self, path: str) -> str:
        """Return the name of an axis in messages, with `grid` or `draws` in front."""
        return f"{'draws' if path in dict(self.axes[: self.drawn]) else 'grid'}.{path}"

    def choices(self, positions: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Yield the combinations of values on some axes that cells have, in order.

        Args:
            positions: The positions of the axes.
        """
        drawn = [i for i in positions if i < self.drawn]
        rows: Any = np.unique(self.draws[:, drawn], axis=0).tolist() if drawn else [()]  # type: ignore[index]
        for row in rows:
            first = [self.axes[i][1][index] for i, index in zip(drawn, row, strict=True)]
            for rest in product(*(self.axes[i][1] for i in positions if i >= self.drawn)):
                yield (*first, *rest)

    @contextmanager
    def naming_axes(self) -> Iterator[None]:
        """Name the axis in the message about a refused value that stands on one."""
        try:
            yield
        except ConfigError as error:
            path = error.field.removeprefix("grid.")
            if path not in dict(self.axes):
                raise
            raise ConfigError(self.field(path), error.got, error.takes) from error

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
    columns = {path: _check_column(path, values) for path, values in _nodes("draws", raw)}
    longest = max(columns, key=lambda path: len(columns[path]), default="")
    for path, column in columns.items():
        if len(column) < (most := len(columns[longest])):
            takes = f"all draws take the same number of values, and draws.{longest} has {most:,}"
            raise ConfigError(f"draws.{path}", f"got {len(column):,} values", takes)
    axes = [(path, axis_values(path, node)) for path, node in _nodes("grid", raw)]
    for path, _ in axes:
        if path in columns:
            takes = f"give it once: ~draws.{path} takes it out of the draws"
            raise ConfigError(f"grid.{path}", "given twice", takes)
    if not columns:
        return RawAxes(tuple(axes), None)
    values, indices = zip(*map(_factorize, columns.values()), strict=True)
    return RawAxes((*zip(columns, values, strict=True), *axes), np.stack(indices, axis=1))


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


def _check_column(path: str, column: Any) -> list[Any]:
    if not isinstance(column, list) or not column or any(type(value) is dict for value in column):
        takes = "it takes a list: the value of every draw"
        raise ConfigError(f"draws.{path}", f"got {short_repr(column)}", takes)
    return column


def _factorize(column: list[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the distinct values of a column, and the index of each of its values among them; int64.

    The distinct values are in the order of their first appearance, so that added draws leave their order
    unchanged.
    """
    numbers: dict[Any, int] = {}
    indices = np.array([numbers.setdefault(_key(value), len(numbers)) for value in column], np.int64)
    first = np.unique(indices, return_index=True)[1]
    return tuple(column[i] for i in first.tolist()), indices


def _key(value: Any) -> Any:
    """Return a key that is equal for values that are written alike, or are the same number."""
    return value if type(value) in (int, float) and abs(value) < 2**53 else repr(value)
