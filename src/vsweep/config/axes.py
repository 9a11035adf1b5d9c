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

    @property
    def groups(self) -> tuple[int, ...]:
        """The places of the axes over groups."""
        return tuple(i for i, (path, _) in enumerate(self.axes) if path in GROUPS)

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
    drawn, draws = [], []
    for path, column in columns.items():
        values, places = _distinct(column)
        drawn.append((path, values))
        draws.append(places)
    return RawAxes((*drawn, *axes), np.stack(draws, axis=1))


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
    if not isinstance(given, list) or not given or any(type(one) is dict for one in given):
        raise ConfigError(
            f"draws.{path}", f"got {short_repr(given)}", "it takes a list: the value of every draw"
        )
    return given


def _distinct(column: list[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the distinct values of a column, and the place of each of its values among these; int64.

    They stand by their first appearance, so that draws which are added leave the others in place.
    """
    numbers: dict[Any, int] = {}
    places = np.array([numbers.setdefault(_key(value), len(numbers)) for value in column], np.int64)
    first = np.unique(places, return_index=True)[1]
    return tuple(column[i] for i in first.tolist()), places


def _key(value: Any) -> Any:
    """Return what is equal for values that are written the same, or are the same number."""
    return value if type(value) in (int, float) and abs(value) < 2**53 else repr(value)
