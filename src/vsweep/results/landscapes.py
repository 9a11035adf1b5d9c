"""A function, and the ways of descents on it: over a line, as contours, as a surface."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from vsweep.analysis.labels import COLOURS
from vsweep.results.drawing import plain

# The markers of where a way begins, and of its end: at a minimum, elsewhere, or out of the picture.
BEGINS, ARRIVES, STOPS, LEAVES = "o", "*", "D", "X"
_SIZES = {ARRIVES: 9, STOPS: 5, LEAVES: 7}
Value = Callable[[np.ndarray], np.ndarray]


class Way(NamedTuple):
    """A descent's recorded points, float64 `(records, coordinates)`; and whether it ends at a minimum.

    steps: of each point, int64 `(records,)`; none where they are of no matter.
    """

    points: np.ndarray
    arrived: bool
    steps: np.ndarray = np.zeros(0, np.int64)


class Heights(NamedTuple):
    """What is shown of a function's values. linear: up to which size on a linear scale; None: all."""

    low: float
    high: float
    linear: float | None


def colour_of(i: int) -> str:
    """Of a way by its place; black is not among them."""
    return COLOURS[i % (len(COLOURS) - 1)]


def inside(way: Way, lows: Sequence[float], highs: Sequence[float]) -> tuple[np.ndarray, str]:
    """The points of a way up to where it leaves the picture, and the marker of its end."""
    with np.errstate(invalid="ignore"):
        within = (np.isfinite(way.points) & (way.points >= lows) & (way.points <= highs)).all(axis=1)
    kept = way.points[np.logical_and.accumulate(within)]
    return kept, LEAVES if len(kept) < len(way.points) else ARRIVES if way.arrived else STOPS


def window(ways: Sequence[Way], i: int) -> tuple[float, float]:
    """What of a coordinate is shown: all starts, all ways that arrived, and of others the ends nearby."""
    begun = np.asarray([way.points[0, i] for way in ways])
    ended = np.asarray([way.points[-1, i] for way in ways])
    with np.errstate(invalid="ignore"):
        near = ended[np.abs(ended - np.median(begun)) <= 1.5 * max(np.ptp(begun), 1.0)]
    arrived = [way.points[:, i] for way in ways if way.arrived]
    every = np.concatenate([begun, near, *arrived])
    margin = 0.08 * max(np.ptp(every), 0.5)
    return float(every.min() - margin), float(every.max() + margin)


def on_curve(axes: Axes, ways: Sequence[Way], value: Value, names: Sequence[str]) -> None:
    """Draw ways on a function of one coordinate."""
    low, high = window(ways, 0)
    across = np.linspace(low, high, 400)
    height = value(across[:, None])
    axes.plot(across, height, color="0.35", linewidth=1.5)
    for i, way in enumerate(ways):
        kept, end = inside(way, [low], [high])
        # Along a line starts have an order, and so have their colours.
        at, colour = value(kept), colormaps["viridis"](0.92 * i / max(len(ways) - 1, 1))
        axes.plot(kept[:, 0], at, color=colour, linewidth=1.2, alpha=0.9, marker=".", markersize=3)
        axes.plot(kept[0, 0], at[0], BEGINS, color=colour, markerfacecolor="white", markersize=6)
        axes.plot(kept[-1, 0], at[-1], end, color=colour, markersize=_SIZES[end], zorder=3)
    shown = heights_shown(height, ways, value)
    if shown is not None:
        if shown.linear is not None:
            axes.set_yscale("symlog", linthresh=shown.linear)
        axes.set_ylim(shown.low, shown.high)
    axes.set_xlim(low, high)
    axes.set_xlabel(names[0])
    axes.set_ylabel(f"f({names[0]})")
    plain(axes)


def heights_shown(height: np.ndarray, ways: Sequence[Way], value: Value) -> Heights | None:
    """Of a function's values along a line; None where none is finite."""
    # A function need not be finite everywhere.
    seen = height[np.isfinite(height)]
    if not len(seen):
        return None
    reach = float(np.ptp(seen)) or 1.0
    ends = [way.points[-1] for way in ways if way.arrived]
    size = float(np.abs(value(np.stack(ends))).max()) if ends else 0.0
    if size and reach > 40.0 * size:
        # What lies between minima would not be seen beside the walls.
        return Heights(min(1.5 * float(seen.min()), -0.3 * size), 1.3 * float(seen.max()), 2.0 * size)
    return Heights(float(seen.min()) - 0.08 * reach, float(seen.max()) + 0.08 * reach, None)


def mesh(ways: Sequence[Way], value: Value, count: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both coordinates of a plane that shows these ways, and the function there, `(count, count)` each."""
    across, up = (np.linspace(*window(ways, i), count) for i in (0, 1))
    xs, ys = np.meshgrid(across, up)
    return xs, ys, value(np.stack([xs.ravel(), ys.ravel()], axis=1)).reshape(xs.shape)


def on_contours(
    axes: Axes,
    ways: Sequence[Way],
    value: Value,
    names: Sequence[str],
    height: str = "",
    more: np.ndarray | None = None,
) -> None:
    """Draw ways over contours. height: what the function is called. more: other points to be seen."""
    seen = [*ways, *([] if more is None else [Way(more, arrived=True)])]
    xs, ys, heights = mesh(seen, value)
    drawn = axes.contourf(xs, ys, heights, levels=20, cmap="Greys", alpha=0.85)
    assert axes.figure is not None
    axes.figure.colorbar(drawn, ax=axes, label=height or f"f({', '.join(names)})")
    for i, way in enumerate(ways):
        colour = colour_of(i)
        at, end = inside(way, [xs.min(), ys.min()], [xs.max(), ys.max()])
        axes.plot(at[:, 0], at[:, 1], color=colour, linewidth=1.4)
        axes.plot(*at[0], BEGINS, color=colour, markerfacecolor="white", markersize=5)
        axes.plot(
            *at[-1], end, color=colour, markersize=_SIZES[end], markeredgecolor="white", markeredgewidth=0.5
        )
    axes.set_xlim(xs.min(), xs.max())
    axes.set_ylim(ys.min(), ys.max())
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])


def on_surface(axes: Any, ways: Sequence[Way], value: Value, names: Sequence[str]) -> None:
    """Draw ways on a function of two coordinates, on axes in three dimensions."""
    xs, ys, heights = mesh(ways, value)
    axes.plot_surface(xs, ys, heights, cmap="Greys", alpha=0.55, linewidth=0, rcount=60, ccount=60)
    lift = 0.01 * np.ptp(heights)
    for i, way in enumerate(ways):
        colour = colour_of(i)
        kept, end = inside(way, [xs.min(), ys.min()], [xs.max(), ys.max()])
        at = value(kept) + lift
        axes.plot(kept[:, 0], kept[:, 1], at, color=colour, linewidth=1.6, zorder=5)
        axes.plot(*kept[:1].T, at[:1], BEGINS, color=colour, markerfacecolor="white", markersize=5, zorder=6)
        axes.plot(*kept[-1:].T, at[-1:], end, color=colour, markersize=_SIZES[end], zorder=6)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_zlabel(f"f({', '.join(names)})")
    axes.view_init(elev=42, azim=-62)
