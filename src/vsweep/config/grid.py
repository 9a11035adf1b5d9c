"""The grid of a sweep: axes × splits × seeds → cells → trials, as integers and arrays.

A cell's number is its row-major position in the full product of the axes, in which all drawn axes count as
one, the first. A trial's number is `(cell * splits + split) * len(seeds) + position of its seed`. Cells that
cannot be told apart are trained once, under the lowest of their numbers, so that collapsing cells does not
change the numbers of others.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vsweep.errors import ConfigError

# Twelve digits are enough for any value, and few enough that logspace gives 0.01, not 0.010000000000000002.
_DIGITS = 12
_NO_VALUE = -1
_MOST = 10_000_000


class Axis(NamedTuple):
    """A field that varies.

    Attributes:
        path: The field's dotted path.
        values: The field's distinct values, in order.
    """

    path: str
    values: tuple[Any, ...]


class FollowerAxis(NamedTuple):
    """A field whose value is a function of axes, as an axis that adds no cells.

    Attributes:
        axis: The field and its values.
        on: The paths of the axes that decide the value.
        places: A function from the indices of cells on the axes, int64 `(cells, axes)`, to the index of each
            cell's value.
    """

    axis: Axis
    on: tuple[str, ...]
    places: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """The cells that are trained.

    Attributes:
        axes: The axes in the file's order, drawn ones first, and at the end the fields that follow axes.
        cells: The cells' numbers, int64 `(cells,)`, rising.
        index: The index of each cell's value on each axis, int64 `(cells, axes)`; -1 where a cell lacks the
            field.
        seeds: The seeds in order.
        collapsed: The number of cells that are trained under another cell's number.
        drawn: The number of drawn axes.
        follows: The axes that each field at the end of `axes` follows.
        splits: The number of splits of the data that each cell is trained on.
    """

    axes: tuple[Axis, ...]
    cells: np.ndarray
    index: np.ndarray
    seeds: tuple[int, ...]
    collapsed: int
    drawn: int = 0
    follows: tuple[tuple[str, ...], ...] = ()
    splits: int = 1

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.cells) * self.splits * len(self.seeds)

    @property
    def followers(self) -> range:
        """The positions in `axes` of the fields that follow axes."""
        return range(len(self.axes) - len(self.follows), len(self.axes))

    def column(self, axis: int) -> np.ndarray:
        """Return the value of each cell on an axis, as objects `(cells,)`; None where the cell has none."""
        values = np.empty(len(self.axes[axis].values) + 1, object)
        values[:-1] = self.axes[axis].values
        return values[self.index[:, axis]]

    def trials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return every trial's number, the row of its cell in `cells`, and its seed; int64 `(trials,)`."""
        n = self.splits * len(self.seeds)
        number = (self.cells[:, None] * n + np.arange(n)[None, :]).ravel()
        row = np.repeat(np.arange(len(self.cells)), n)
        return number, row, np.tile(np.asarray(self.seeds, np.int64), len(self.cells) * self.splits)

    def split_of_trial(self) -> np.ndarray:
        """Return the number of every trial's split, int64 `(trials,)`, in the order of `trials`."""
        return np.tile(np.repeat(np.arange(self.splits), len(self.seeds)), len(self.cells))


def expand(
    axes: Sequence[Axis],
    seeds: Sequence[int],
    selectors: Sequence[str] = (),
    has: Callable[[Mapping[str, Any]], set[str]] | None = None,
    *,
    draws: np.ndarray | None = None,
    followers: Sequence[FollowerAxis] = (),
    splits: int = 1,
) -> Grid:
    """Return all cells of the axes, in the file's order, with cells that cannot be told apart collapsed.

    Args:
        axes: The axes, drawn ones first.
        seeds: The seeds.
        selectors: The paths of the axes whose values decide which of the other fields a cell has.
        has: A function from the values on those axes to the paths of the fields that such a cell has.
        draws: The indices of the values of every draw on the first k axes, int64 `(draws, k)`; these axes
            have no other combinations.
        followers: The fields that follow axes.
        splits: The number of splits of the data that each cell is trained on.

    Raises:
        ConfigError: If there are too many trials.
    """
    draws = np.zeros((1, 0), np.int64) if draws is None else draws
    drawn = draws.shape[1]
    shape = [len(axis.values) for axis in axes[drawn:]]
    count = len(draws) * math.prod(shape) * splits * len(seeds)
    if count > _MOST:
        raise ConfigError("grid", f"{count:,} trials", f"it takes up to {_MOST:,}")
    rest = np.indices(shape, np.int64).reshape(len(shape), math.prod(shape)).T
    index = np.hstack([np.repeat(draws, len(rest), axis=0), np.tile(rest, (len(draws), 1))])
    # The values are those of the full product: a cell that lacks an axis may still follow it.
    index = np.column_stack([index, *(follower.places(index) for follower in followers)])
    axes = [*axes, *(follower.axis for follower in followers)]
    if has is not None:
        positions = [i for i, axis in enumerate(axes) if axis.path in selectors]
        for combination in np.unique(index[:, positions], axis=0):
            chosen = {axes[i].path: axes[i].values[j] for i, j in zip(positions, combination, strict=True)}
            paths = has(chosen)
            absent = [i for i, axis in enumerate(axes) if axis.path not in paths]
            rows = (index[:, positions] == combination).all(axis=1)
            index[np.ix_(rows, absent)] = _NO_VALUE
    first = np.sort(np.unique(index, axis=0, return_index=True)[1])
    cells, collapsed = first.astype(np.int64), len(index) - len(first)
    follows = tuple(follower.on for follower in followers)
    return Grid(tuple(axes), cells, index[first], tuple(seeds), collapsed, drawn, follows, splits)


def axis_values(path: str, node: Any) -> tuple[Any, ...]:
    """Return the values of an axis.

    Args:
        path: The axis' path.
        node: The axis as a config writes it: a list, or one of logspace, linspace and range.

    Raises:
        ConfigError: If the axis is malformed or has a value twice; the message names `grid.<path>`.
    """
    field = f"grid.{path}"
    takes = (
        "it takes a list, or {logspace: [lo, hi, n]}, {linspace: [lo, hi, n]}, {range: [start, stop, step]}"
    )
    if isinstance(node, list) and len(node) == 1 and isinstance(node[0], dict):
        node = node[0]
    if isinstance(node, dict):
        if len(node) != 1 or (kind := next(iter(node))) not in SPACES:
            raise ConfigError(field, f"got {node}", takes)
        values_of, takes = SPACES[kind]
        numbers = node[kind]
        try:
            if not isinstance(numbers, list) or not all(map(is_number, numbers)):
                raise ValueError
            values = values_of(*numbers)
        except (TypeError, ValueError):
            raise ConfigError(field, f"got {{{kind}: {numbers}}}", takes) from None
    elif isinstance(node, list):
        values = node
    else:
        raise ConfigError(field, f"got {node!r}", takes)
    if not values:
        raise ConfigError(field, "the axis is empty", takes)
    return distinct(path, values)


def distinct(path: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values of an axis. Raises `ConfigError` for a value that is given twice."""
    seen = set()
    for value in values:
        key = value_key(value)
        if key in seen:
            raise ConfigError(f"grid.{path}", f"{value!r} is given twice", "it takes each value once")
        seen.add(key)
    return tuple(values)


def value_key(value: Any) -> Any:
    """Return a key that is equal for values that are written alike, or are the same number.

    1 and True are equal in Python, but have different keys.
    """
    return value if type(value) in (int, float) and abs(value) < 2**53 else repr(value)


def is_space(node: Any) -> bool:
    """Return True for a mapping that stands for the values of an axis, not for a group of fields."""
    return isinstance(node, Mapping) and bool(set(node) & set(SPACES))


def axis_nodes(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the node of every field in a tree of mappings; a space is one node."""
    for key, node in tree.items():
        if isinstance(node, Mapping) and not is_space(node):
            yield from axis_nodes(node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", node


def is_number(value: Any) -> bool:
    """Return True for a number, except booleans, so small that differences of two do not overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _number_of_values(n: float) -> int:
    if n != int(n) or not 1 <= n <= _MOST:
        raise ValueError
    return int(n)


def _round(values: np.ndarray, scale: float = 0.0) -> list[float]:
    """Round off the noise in the last digits of values, relative to a scale or to each value itself."""
    if scale:
        decimals = _DIGITS - math.ceil(math.log10(scale))
        return [round(float(v), decimals) for v in values]
    return [float(f"{v:.{_DIGITS}g}") for v in values]


def _with_ends(values: list[float], lo: float, hi: float) -> list[float]:
    return [float(lo), *values[1:-1], float(hi)][: len(values)]


def _logspace(lo: float, hi: float, n: float) -> list[float]:
    if lo <= 0 or hi <= 0:
        raise ValueError
    return _with_ends(_round(np.geomspace(lo, hi, _number_of_values(n))), lo, hi)


def _linspace(lo: float, hi: float, n: float) -> list[float]:
    return _with_ends(_round(np.linspace(lo, hi, _number_of_values(n)), max(abs(lo), abs(hi))), lo, hi)


def _range(start: Any, stop: Any, step: Any = 1) -> list[Any]:
    if step == 0 or abs((stop - start) / step) > _MOST:
        raise ValueError
    if all(isinstance(number, int) for number in (start, stop, step)):
        return list(range(start, stop, step))
    # Rounding must not add a value at the end, so stop is lowered by a millionth of a step.
    return _round(np.arange(start, stop - 1e-6 * step, step), max(abs(start), abs(stop)))


# The function that computes the values of each kind of axis but a list, and a description of the kind.
SPACES: dict[str, tuple[Callable[..., list[Any]], str]] = {
    "logspace": (_logspace, "{logspace: [lo, hi, n]} takes two ends above 0 and the number of values"),
    "linspace": (_linspace, "{linspace: [lo, hi, n]} takes two ends and the number of values"),
    "range": (
        _range,
        "{range: [start, stop, step]} takes two or three numbers, as Python's range, which excludes stop",
    ),
}


def seed_list(seeds: Any) -> tuple[int, ...]:
    """Return the seeds for a count (0 to n - 1) or a list. Raises `ConfigError` for anything else."""
    takes = "it takes a count of at least 1, or a list of distinct integers from 0 to 4294967295"
    is_count = isinstance(seeds, int) and not isinstance(seeds, bool) and seeds <= _MOST
    listed = list(range(seeds)) if is_count else seeds
    integers = isinstance(listed, list) and all(
        isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32 for s in listed
    )
    if not integers or not listed:
        raise ConfigError("seeds", f"got {seeds!r}", takes)
    if len(set(listed)) < len(listed):
        repeated = Counter(listed).most_common(1)[0][0]
        raise ConfigError("seeds", f"{repeated} is given twice", takes)
    return tuple(listed)
