"""Axes × seeds -> cells -> trials: integers and arrays, no configs.

A cell's number is its place, row-major, in the full product of the axes, of which those that are drawn
together count as one, the first; a trial's is `cell * len(seeds) + place of its seed`. Cells that cannot be
told apart are trained once, under the lowest of their numbers, so that a number does not depend on what is
collapsed.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vsweep.errors import ConfigError

# Enough for any value, few enough that logspace says 0.01 where rounding says 0.010000000000000002.
_DIGITS = 12
_NO_VALUE = -1
_MOST = 10_000_000


class Axis(NamedTuple):
    """A field that varies. path: dotted. values: distinct, in order."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Grid:
    """The cells that are trained.

    cells: int64 `(cells,)`, rising. index: int64 `(cells, axes)`, the place of each cell's value on each
    axis, -1 where the cell does not have that field. seeds: in order. collapsed: how many cells of the
    product are trained under another's number. drawn: how many of the axes, the first ones, go together.
    """

    axes: tuple[Axis, ...]
    cells: np.ndarray
    index: np.ndarray
    seeds: tuple[int, ...]
    collapsed: int
    drawn: int = 0

    def __len__(self) -> int:
        """The number of trials."""
        return len(self.cells) * len(self.seeds)

    def column(self, axis: int) -> np.ndarray:
        """The value of each cell on an axis, as objects, None where it has none."""
        values = np.empty(len(self.axes[axis].values) + 1, object)
        values[:-1] = self.axes[axis].values
        return values[self.index[:, axis]]

    def trials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every trial its number, the row of its cell in `cells`, and its seed; int64 `(trials,)`."""
        n = len(self.seeds)
        number = (self.cells[:, None] * n + np.arange(n)[None, :]).ravel()
        row = np.repeat(np.arange(len(self.cells)), n)
        return number, row, np.tile(np.asarray(self.seeds, np.int64), len(self.cells))


def expand(
    axes: Sequence[Axis],
    seeds: Sequence[int],
    selectors: Sequence[str] = (),
    has: Callable[[Mapping[str, Any]], set[str]] | None = None,
    *,
    draws: np.ndarray | None = None,
) -> Grid:
    """All cells of the axes, in the file's order, those that cannot be told apart collapsed.

    selectors: the axes whose values decide which of the other fields a cell has. has: from the values
    on those axes, the paths of the fields that such a cell has. draws: int64 `(draws, k)`, the places of
    values on the first k axes that go together, instead of all their combinations.

    Raises `ConfigError` for too many trials.
    """
    draws = np.zeros((1, 0), np.int64) if draws is None else draws
    drawn = draws.shape[1]
    shape = [len(axis.values) for axis in axes[drawn:]]
    count = len(draws) * math.prod(shape) * len(seeds)
    if count > _MOST:
        raise ConfigError("grid", f"{count:,} trials", f"it takes up to {_MOST:,}")
    rest = np.indices(shape, np.int64).reshape(len(shape), math.prod(shape)).T
    index = np.hstack([np.repeat(draws, len(rest), axis=0), np.tile(rest, (len(draws), 1))])
    if has is not None:
        places = [i for i, axis in enumerate(axes) if axis.path in selectors]
        combinations = np.unique(index[:, places], axis=0)
        for combination in combinations:
            chosen = {axes[i].path: axes[i].values[j] for i, j in zip(places, combination, strict=True)}
            kept = has(chosen)
            lost = [i for i, axis in enumerate(axes) if axis.path not in kept]
            rows = (index[:, places] == combination).all(axis=1)
            index[np.ix_(rows, lost)] = _NO_VALUE
    first = np.sort(np.unique(index, axis=0, return_index=True)[1])
    cells, collapsed = first.astype(np.int64), len(index) - len(first)
    return Grid(tuple(axes), cells, index[first], tuple(seeds), collapsed, drawn)


def axis_values(path: str, given: Any) -> tuple[Any, ...]:
    """The values of an axis from how it is written: a list, or one of logspace, linspace, range.

    Raises `ConfigError`, naming `grid.<path>`.
    """
    field = f"grid.{path}"
    takes = (
        "it takes a list, or {logspace: [lo, hi, n]}, {linspace: [lo, hi, n]}, {range: [start, stop, step]}"
    )
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        given = given[0]
    if isinstance(given, dict):
        if len(given) != 1 or (kind := next(iter(given))) not in _SPACES:
            raise ConfigError(field, f"got {given}", takes)
        values = _SPACES[kind](field, given[kind])
    elif isinstance(given, list):
        values = given
    else:
        raise ConfigError(field, f"got {given!r}", takes)
    if not values:
        raise ConfigError(field, "the axis is empty", takes)
    return distinct(path, values)


def distinct(path: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """The values of an axis, each once. Raises `ConfigError`."""
    seen = set()
    for value in values:
        # By how it is written: 1 and True are equal in Python, and are two values here.
        key = value if type(value) is float and value == value != 0 else repr(value)
        if key in seen:
            raise ConfigError(f"grid.{path}", f"{value!r} is given twice", "values are distinct")
        seen.add(key)
    return tuple(values)


def is_space(node: Any) -> bool:
    """Whether a mapping says the values of an axis, and is no group of fields."""
    return isinstance(node, Mapping) and bool(set(node) & set(_SPACES))


def _is_number(value: Any) -> bool:
    # Beyond 1e300 differences overflow.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _space(field: str, given: Any, kind: str) -> tuple[float, float, int]:
    takes = f"{{{kind}: [lo, hi, n]}} takes two numbers and how many"
    numbers = isinstance(given, list) and all(map(_is_number, given))
    if not numbers or len(given) != 3 or given[2] != int(given[2]):
        raise ConfigError(field, f"got {{{kind}: {given}}}", takes)
    if not 1 <= given[2] <= _MOST:
        raise ConfigError(field, f"got {{{kind}: {given}}}, {given[2]} values", takes)
    return float(given[0]), float(given[1]), int(given[2])


def _written(values: np.ndarray, scale: float = 0.0) -> list[float]:
    """Values without the noise of their last digits, relative to the scale or to each itself."""
    if scale:
        decimals = _DIGITS - math.ceil(math.log10(scale))
        return [round(float(v), decimals) for v in values]
    return [float(f"{v:.{_DIGITS}g}") for v in values]


def _with_ends(values: list[float], lo: float, hi: float) -> list[float]:
    return [lo] if len(values) == 1 else [lo, *values[1:-1], hi]


def _logspace(field: str, given: Any) -> list[float]:
    lo, hi, n = _space(field, given, "logspace")
    if lo <= 0 or hi <= 0:
        raise ConfigError(field, f"got {{logspace: {given}}}", "both ends of a logspace are above 0")
    return _with_ends(_written(np.geomspace(lo, hi, n)), lo, hi)


def _linspace(field: str, given: Any) -> list[float]:
    lo, hi, n = _space(field, given, "linspace")
    return _with_ends(_written(np.linspace(lo, hi, n), max(abs(lo), abs(hi))), lo, hi)


def _range(field: str, given: Any) -> list[float]:
    takes = "{range: [start, stop, step]} takes two or three numbers, as Python's range; stop is left out"
    if (
        not isinstance(given, list)
        or len(given) not in (2, 3)
        or not all(map(_is_number, given))
        or (len(given) == 3 and given[2] == 0)
    ):
        raise ConfigError(field, f"got {{range: {given}}}", takes)
    start, stop, step = (*given, 1)[:3]
    if abs((stop - start) / step) > _MOST:
        raise ConfigError(field, f"got {{range: {given}}}", takes)
    if all(isinstance(v, int) for v in given):
        return list(range(*given))
    # Half a step in a million off the end, so that rounding adds no value.
    return _written(np.arange(start, stop - 1e-6 * step, step), max(abs(start), abs(stop)))


_SPACES: dict[str, Callable[[str, Any], list[Any]]] = {
    "logspace": _logspace,
    "linspace": _linspace,
    "range": _range,
}


def seed_list(given: Any) -> tuple[int, ...]:
    """Seeds from a count (0 to n - 1) or a list. Raises `ConfigError`."""
    takes = "it takes a count of at least 1, or a list of distinct integers from 0 to 4294967295"
    counted = isinstance(given, int) and not isinstance(given, bool) and given <= _MOST
    listed = list(range(given)) if counted else given
    whole = isinstance(listed, list) and all(
        isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32 for s in listed
    )
    if not whole or not listed:
        raise ConfigError("seeds", f"got {given!r}", takes)
    if len(set(listed)) < len(listed):
        twice = Counter(listed).most_common(1)[0][0]
        raise ConfigError("seeds", f"{twice} is given twice", takes)
    return tuple(listed)
