"""Overrides that follow from how a sweep describes the splits of its data."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.config.axes import RawAxes
from vsweep.config.followers import ResolvedCells
from vsweep.config.grid import Axis
from vsweep.config.overrides import Override, from_value, from_word
from vsweep.config.schema import OF_SPLITS, SPLIT_SEED
from vsweep.config.validate import parse_axis
from vsweep.config.values import select
from vsweep.errors import ConfigError, short_repr

_AXIS = f"grid.{SPLIT_SEED}"
_VAL_FRACTION = "data.val_fraction"


def split_overrides(
    changes: Sequence[Override],
    tree: Mapping[str, Any],
    axes: RawAxes,
    cells: Mapping[tuple[str, ...], ResolvedCells],
) -> list[Override]:
    """Return the overrides to add to those of a sweep.

    Splits are replicates, so an axis over their seed becomes the list of the splits. With folds, the default
    share of the validation part does not count.

    Args:
        changes: The overrides of the sweep.
        tree: The config that they compose.
        axes: The axes.
        cells: The resolved config of the cells.

    Raises:
        ConfigError: If the axis cannot become splits.
    """
    added = []
    for place, axis in enumerate(axes.axes):
        if axis.path in OF_SPLITS or axes.field(place) == _AXIS:
            with axes.naming_axes():
                values = parse_axis(axis.path, axis.values, [])
            _check_axis(axis, tree, cells)
            added += [from_value("data.splits", list(values)), from_word(f"~{_AXIS}")]
    given = {path for change in changes for path in change.paths()}
    if select(tree, "data.folds") is not None and given.isdisjoint(
        f"{part}{_VAL_FRACTION}" for part in ("", "grid.", "draws.")
    ):
        added.append(from_value(_VAL_FRACTION, None))
    return added


def _check_axis(axis: Axis, tree: Mapping[str, Any], cells: Mapping[tuple[str, ...], ResolvedCells]) -> None:
    """Raise `ConfigError` if the values of the axis are not the only splits, or a field follows them."""
    for path, default in (("data.splits", 1), ("data.folds", None)):
        if (value := select(tree, path)) != default:
            got = f"got {short_repr(list(axis.values))}, each a split of every cell, and {path}={value}"
            raise ConfigError(_AXIS, got, f"leave one of them out; ~{_AXIS} removes the axis")
    for part in cells.values():
        for follower in part.followers:
            if axis.path in follower.on:
                got = f"follows {_AXIS}, whose values are the splits of every cell, and no axis"
                raise ConfigError(follower.path, got, f"give draws.{SPLIT_SEED}=[…] for an axis")
