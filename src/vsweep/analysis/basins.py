"""Basins of attraction: where each descent of a function ends, over two axes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import COLOURS
from vsweep.analysis.minima import AWAY, MOVING, ending_labels
from vsweep.analysis.ranking import check_axis
from vsweep.analysis.trajectories import coordinates, parts_of
from vsweep.metrics import LR, axes_of
from vsweep.store.reader import StoredSweep

_OTHERS = "other minima"
GREYS = {MOVING: "#BBBBBB", AWAY: "#222222", _OTHERS: "#EEEEEE"}


class Basins(NamedTuple):
    """Where trials end, over two axes. names: of the places, in order. parts: their trials, with titles."""

    x: str
    y: str
    names: list[str]
    parts: list[tuple[str, pd.DataFrame]]


def basins_of(sweep: StoredSweep, x: str | None = None, y: str | None = None) -> Basins:
    """The basins that a picture shows: see `Plots.basin`; a part's `ended` is where its trials did.

    Raises `KeyError` for what is no sweep of functions over two axes.
    """
    trials = sweep.trials
    starts = [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes_of(trials)]
    left = [axis for axis in [*starts, LR] if axis in axes_of(trials) and axis not in (x, y)]
    if (x is None) + (y is None) > len(left) or (x is not None and x == y):
        raise KeyError("it takes two axes: where a coordinate starts, and another or optimizer.lr")
    x = x or left.pop(0)
    y = y or left.pop(0)
    for axis in (x, y):
        check_axis(trials, axis)
    trials = trials[trials["seed"] == trials["seed"].iloc[0]].assign(ended=ending_labels)
    parts = parts_of(trials, [axis for axis in axes_of(trials) if axis not in (x, y)])
    return Basins(x, y, _named(pd.concat([part for _, part in parts])["ended"]), parts)


def said(name: str) -> str:
    """A place in words."""
    return f"minimum {name}" if "=" in name else name


def _named(ended: pd.Series) -> list[str]:
    """The places where trials end: the most frequent minima by where they are, then the other kinds."""
    counts = ended.value_counts()
    minima = [str(name) for name in counts.index if "=" in str(name)]
    kinds = [str(name) for name in counts.index if "=" not in str(name) and name not in GREYS]
    kept = minima[: len(COLOURS) - 2 - len(kinds)]
    found = (sorted(kept, key=_number) + kinds)[: len(COLOURS)]
    rest = [name for name in GREYS if name in counts or (name == _OTHERS and len(minima) > len(kept))]
    return found + rest


def coloured(names: Sequence[str], palette: Sequence[str]) -> dict[str, str]:
    """A colour for each place: greys for those that are no stationary points of their own."""
    own = dict(zip([name for name in names if name not in GREYS], palette, strict=False))
    return {name: GREYS.get(name) or own[name] for name in names}


def _number(name: str) -> tuple[float, ...]:
    return tuple(float(part.partition("=")[2]) for part in name.split(", "))


def codes_of(part: pd.DataFrame, names: Sequence[str], x: str, y: str) -> pd.DataFrame:
    """The place in `names` of where trials end, a row per value of y and a column per value of x."""
    codes = part["ended"].map(lambda name: names.index(name if name in names else _OTHERS))
    return part.assign(code=codes).drop_duplicates([x, y]).pivot(index=y, columns=x, values="code")


def axis_said(axis: str) -> str:
    """An axis of a basin in words."""
    name = axis.removeprefix("model.")
    return "learning rate" if axis == LR else f"start, {name}" if axis.startswith("model.") else axis


def geometric(values: np.ndarray) -> bool:
    """Whether values are spread by their ratios rather than by their differences."""
    return len(values) > 2 and values.min() > 0 and values.max() / values.min() > 20


def edges(values: np.ndarray) -> np.ndarray:
    """Between values halfway, as they are spread."""
    log = geometric(values)
    at = np.log(values) if log else values
    if len(at) == 1:
        return np.asarray([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2.0
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges
