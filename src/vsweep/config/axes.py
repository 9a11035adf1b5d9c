"""Axes as a config writes them: under `grid` for all combinations, under `draws` side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.grid import Axis, axis_values, is_space
from vsweep.config.schema import GROUPS
from vsweep.config.validate import Config, parse_axis
from vsweep.errors import ConfigError, short_repr


class RawAxes(NamedTuple):
    """The axes of a sweep, not yet checked.

    axes: the path and the distinct values of each, those of the draws first. draws: int64 `(draws, k)`, the
    place of every draw's value on each of the first k axes; None where nothing is drawn.
    """

    axes: tuple[tuple[str, tuple[Any, ...]], ...]
    draws: np.ndarray | None

    @property
    def drawn(self) -> int:
        """How many of the axes, the first ones, go together."""
        return 0 if self.draws is None else self.draws.shape[1]

    def field(self, path: str) -> str:
        """What an axis is called in the config."""
        return f"{'draws' if path in dict(self.axes[: self.drawn]) else 'grid'}.{path}"

    def choices(self, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """The combinations of values on these axes, in order, that some cell has."""
        together = [i for i in places if i < self.drawn]
        rows: Any = [()] if self.draws is None else np.unique(self.draws[:, together], axis=0).tolist()
        for row in rows if together else [()]:
            first = [self.axes[i][1][at] for i, at in zip(together, row, strict=True)]
            for rest in product(*(self.axes[i][1] for i in places if i >= self.drawn)):
                yield (*first, *rest)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the axis, where the value that is refused stands on one."""
        try:
            yield
        except ConfigError as error:
            path = error.field.removeprefix("grid.")
            if path not in dict(self.axes):
                raise
            raise ConfigError(self.field(path), error.got, error.takes) from error

    def checked(self, variants: Iterable[Config]) -> list[Axis]:
        """The axes, their values as the fields' types. Raises `ConfigError`."""
        candidates = list(variants)
        with self.named():
            return [
                Axis(path, values if path in GROUPS else parse_axis(path, values, candidates))
                for path, values in self.axes
            ]


def read_axes(raw: Mapping[str, Any]) -> RawAxes:
    """The axes of a resolved config. Raises `ConfigError`."""
    columns = dict(_found("draws", raw.get("draws")))
    lengths = {path: len(_column(path, values)) for path, values in columns.items()}
    for path, length in lengths.items():
        if length != (most := max(lengths.values())):
            longest = max(lengths, key=lambda path: lengths[path])
            takes = f"draws take as many values each, and draws.{longest} has {most:,}"
            raise ConfigError(f"draws.{path}", f"got {length:,} values", takes)
    axes = [(path, axis_values(path, node)) for path, node in _found("grid", raw.get("grid"))]
    for path, _ in axes:
        if path in columns:
            takes = f"give it once: ~draws.{path} takes it out of the draws"
            raise ConfigError(f"grid.{path}", "given twice", takes)
    if not columns:
        return RawAxes(tuple(axes), None)
    values = {path: _distinct(column) for path, column in columns.items()}
    places = {path: {_key(v): i for i, v in enumerate(found)} for path, found in values.items()}
    draws = [[places[path][_key(value)] for value in column] for path, column in columns.items()]
    return RawAxes((*values.items(), *axes), np.asarray(draws, np.int64).T)


def _found(name: str, tree: Any) -> list[tuple[str, Any]]:
    """Every axis of a tree as it stands, in order; the `name` of a group is the group's own axis."""
    found: list[tuple[str, Any]] = []

    def visit(node: Any, path: str) -> None:
        if isinstance(node, Mapping) and not is_space(node):
            for key, value in node.items():
                visit(value, f"{path}.{key}" if path else str(key))
            return
        if not path:
            raise ConfigError(name, f"got {node!r}", "it takes fields and their values")
        group = path.removesuffix(".name")
        found.append((group if group in GROUPS else path, node))

    visit({} if tree is None else tree, "")
    paths = [path for path, _ in found]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"{name}.{path}", "given twice", "give an axis once")
    return found


def _column(path: str, given: Any) -> list[Any]:
    if not isinstance(given, list) or not given or any(isinstance(one, Mapping) for one in given):
        raise ConfigError(
            f"draws.{path}", f"got {short_repr(given)}", "it takes a list: the value of every draw"
        )
    return given


def _distinct(column: list[Any]) -> tuple[Any, ...]:
    """Values by their first appearance, so that draws which are added leave the others in place."""
    found: dict[str, Any] = {}
    for value in column:
        found.setdefault(_key(value), value)
    return tuple(found.values())


def _key(value: Any) -> str:
    """Values are the same where they are written the same, or are the same number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value + 0.0 if number and abs(value) < 2**53 else value)
