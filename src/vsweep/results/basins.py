"""Which start leads where: the basins of attraction, as the descents of a sweep found them."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vsweep.results.descents import LR, columns_of, coordinates, parts_of
from vsweep.results.drawing import COLOURS, panels
from vsweep.results.ends import AWAY, MOVING, where_ended
from vsweep.results.select import axes_of, known_axis

if TYPE_CHECKING:
    from vsweep.results.sweep import Sweep

_OTHERS = "other minima"
_GREYS = {MOVING: "#BBBBBB", AWAY: "#222222", _OTHERS: "#EEEEEE"}


def draw_basin(sweep: "Sweep", x: str | None, y: str | None) -> Figure:
    """See `Plots.basin`."""
    trials = sweep.trials
    starts = [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes_of(trials)]
    left = [axis for axis in [*starts, LR] if axis in axes_of(trials) and axis not in (x, y)]
    if (x is None) + (y is None) > len(left) or (x is not None and x == y):
        raise KeyError("it takes two axes: where a coordinate starts, and another or optimizer.lr")
    x = x or left.pop(0)
    y = y or left.pop(0)
    for axis in (x, y):
        known_axis(trials, axis)
    trials = trials[trials["seed"] == trials["seed"].iloc[0]].assign(ended=where_ended)
    parts = parts_of(trials, [axis for axis in axes_of(trials) if axis not in (x, y)])
    names = _named(pd.concat([part for _, part in parts])["ended"])
    size = (4.2, 3.6) if len(parts) > 1 else (6.4, 4.4)
    figure, axes = panels(len(parts), columns=columns_of(len(parts)), size=size)
    for at, (title, part) in zip(axes, parts, strict=True):
        _basin(at, part, names, x, y)
        at.set_title(title or "where each descent ends", fontsize=10)
    if len(parts) > 1:
        figure.suptitle("where each descent ends", fontsize=11)
    shown = [Patch(facecolor=colour, edgecolor="0.4", label=_said(name)) for name, colour in names.items()]
    figure.legend(
        handles=shown, loc="outside lower center", ncols=min(4, len(shown)), frameon=False, fontsize=9
    )
    return figure


def _said(name: str) -> str:
    return f"minimum {name}" if "=" in name else name


def _named(ended: pd.Series) -> dict[str, str]:
    """A colour for each place where trials end, the most frequent minima first."""
    counts = ended.value_counts()
    minima = [str(name) for name in counts.index if "=" in str(name)]
    kinds = [str(name) for name in counts.index if "=" not in str(name) and name not in _GREYS]
    kept = minima[: len(COLOURS) - 2 - len(kinds)]
    found = dict(zip(sorted(kept, key=_number) + kinds, COLOURS, strict=False))
    rest = [name for name in _GREYS if name in counts or (name == _OTHERS and len(minima) > len(kept))]
    return found | {name: _GREYS[name] for name in rest}


def _number(name: str) -> tuple[float, ...]:
    return tuple(float(part.partition("=")[2]) for part in name.split(", "))


def _basin(axes: Axes, part: pd.DataFrame, names: dict[str, str], x: str, y: str) -> None:
    order = list(names)
    codes = part["ended"].map(lambda name: order.index(name if name in names else _OTHERS))
    table = part.assign(code=codes).drop_duplicates([x, y]).pivot(index=y, columns=x, values="code")
    across, up = (table.columns.to_numpy(float), table.index.to_numpy(float))
    colours = ListedColormap([to_rgba(colour) for colour in names.values()])
    mesh = np.ma.masked_invalid(table.to_numpy(float))
    axes.pcolormesh(_edges(across), _edges(up), mesh, cmap=colours, vmin=-0.5, vmax=len(order) - 0.5)
    for values, scale, text, axis in (
        (across, axes.set_xscale, axes.set_xlabel, x),
        (up, axes.set_yscale, axes.set_ylabel, y),
    ):
        scale("log" if _geometric(values) else "linear")
        name = axis.removeprefix("model.")
        text("learning rate" if axis == LR else f"start, {name}" if axis.startswith("model.") else axis)


def _geometric(values: np.ndarray) -> bool:
    """Whether values are spread by their ratios rather than by their differences."""
    return len(values) > 2 and values.min() > 0 and values.max() / values.min() > 20


def _edges(values: np.ndarray) -> np.ndarray:
    """Between values halfway, as they are spread."""
    log = _geometric(values)
    at = np.log(values) if log else values
    if len(at) == 1:
        return np.asarray([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2.0
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges
