"""Compute the data behind pictures of basins: the place where each descent ends."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from vsweep.analysis.axis_scale import is_log_spaced
from vsweep.analysis.minima import AWAY, MOVING, ending_labels
from vsweep.analysis.ranking import check_axis
from vsweep.analysis.trajectories import split_trials, start_axes
from vsweep.metrics import LR, axes_of
from vsweep.store.reader import StoredSweep

OTHERS = "other minima"
# Places other than single stationary points, in the order of a legend.
_REST = (MOVING, AWAY, OTHERS)
# At most this many minima have colors of their own; the palette has three more, for the other kinds of ends.
_MOST_MINIMA = 5


class BasinPanel(NamedTuple):
    """The ends of trials over two axes.

    Attributes:
        title: In lines.
        x: The values of the first axis.
        y: The values of the second axis.
        places: The index of the place where each trial ends, float64 `(y, x)`; NaN for no trial.
    """

    title: list[str]
    x: np.ndarray
    y: np.ndarray
    places: np.ndarray


class Basins(NamedTuple):
    """The places where descents end, over two axes.

    Attributes:
        title: The title.
        caption: The caption.
        panels: A panel for each value of the other axes.
        x: The label of the first axis.
        y: The label of the second axis.
        places: The places, in the order of the legend.
    """

    title: str
    caption: str
    panels: list[BasinPanel]
    x: str
    y: str
    places: list[str]


def basins_of(sweep: StoredSweep, x: str | None = None, y: str | None = None) -> Basins:
    """Return the place where each descent ends over two axes, a panel for each value of the others.

    Args:
        sweep: A sweep of functions to minimize.
        x: An axis, by its dotted path; by default the start of the first coordinate.
        y: An axis; by default the start of the second coordinate, or else the learning rate.

    Raises:
        KeyError: If the sweep minimizes no functions over two axes.
    """
    trials = sweep.trials
    defaults = [axis for axis in [*start_axes(sweep), LR] if axis in axes_of(trials) and axis not in (x, y)]
    if (x is None) + (y is None) > len(defaults) or (x is not None and x == y):
        raise KeyError("expected two axes: the start of a coordinate, and another start or optimizer.lr")
    x = x or defaults.pop(0)
    y = y or defaults.pop(0)
    for axis in (x, y):
        check_axis(trials, axis)
        if not is_numeric_dtype(trials[axis]):
            raise KeyError(f"expected axes of numbers, and {axis} has other values")
    caption = "Only the first seed is shown." if trials["seed"].nunique() > 1 else ""
    trials = trials[trials["seed"] == trials["seed"].iloc[0]].assign(ended=ending_labels)
    parts = split_trials(trials, (x, y))
    places = _places(pd.concat([part for _, part in parts])["ended"])
    panels = []
    for title, part in parts:
        codes = part["ended"].map(lambda place: places.index(place if place in places else OTHERS))
        table = part.assign(code=codes).drop_duplicates([x, y]).pivot(index=y, columns=x, values="code")
        values = (table.columns.to_numpy(float), table.index.to_numpy(float))
        panels.append(BasinPanel([title], *values, table.to_numpy(float)))
    labels = [f"minimum {place}" if "=" in place else place for place in places]
    return Basins("Where each descent ends", caption, panels, _axis_label(x), _axis_label(y), labels)


def _places(ended: pd.Series) -> list[str]:
    """Return the places where trials end: frequent minima by their position, other kinds, then the rest."""
    names = list(map(str, ended.value_counts().index))
    minima = [name for name in names if "=" in name]
    kinds = [name for name in names if name not in (*minima, *_REST)]
    rest = [name for name in _REST if name in names or (name == OTHERS and len(minima) > _MOST_MINIMA)]
    return [*sorted(minima[:_MOST_MINIMA], key=_position), *kinds, *rest]


def _position(name: str) -> tuple[float, ...]:
    return tuple(float(part.partition("=")[2]) for part in name.split(", "))


def _axis_label(axis: str) -> str:
    return "learning rate" if axis == LR else axis.replace("model.", "start, ")


def edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of tiles around values, halfway between neighbors on the scale, `(values + 1,)`."""
    log = is_log_spaced(values)
    centres = np.log(values) if log else values
    # A single tile is one wide.
    middle = (centres[1:] + centres[:-1]) / 2.0 if len(centres) > 1 else centres + 0.5
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    corners = np.unique([first, *middle, last])
    return np.exp(corners) if log else corners
