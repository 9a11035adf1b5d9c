"""Pictures of descents, on the function itself or on a line's loss."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import COLOURS, cell_label
from vsweep.analysis.trajectories import Trajectory, Value, every, function_panels, loss_panels
from vsweep.metrics import LR
from vsweep.plots.style import panels, picture, plain
from vsweep.store.reader import StoredSweep

# The markers of where a way begins, and of its end: at a minimum, elsewhere, or out of the picture.
BEGINS, ARRIVES, STOPS, LEAVES = "o", "*", "D", "X"
_SIZES = {ARRIVES: 9, STOPS: 5, LEAVES: 7}


class Heights(NamedTuple):
    """What is shown of a function's values. linear: up to which size on a linear scale; None: all."""

    low: float
    high: float
    linear: float | None


def colour_of(i: int) -> str:
    """Of a way by its place; black is not among them."""
    return COLOURS[i % (len(COLOURS) - 1)]


def inside(way: Trajectory, lows: Sequence[float], highs: Sequence[float]) -> tuple[np.ndarray, str]:
    """The points of a way up to where it leaves the picture, and the marker of its end."""
    with np.errstate(invalid="ignore"):
        within = (np.isfinite(way.points) & (way.points >= lows) & (way.points <= highs)).all(axis=1)
    kept = way.points[np.logical_and.accumulate(within)]
    return kept, LEAVES if len(kept) < len(way.points) else ARRIVES if way.arrived else STOPS


def window(ways: Sequence[Trajectory], i: int) -> tuple[float, float]:
    """What of a coordinate is shown: all starts, all ways that arrived, and of others the ends nearby."""
    begun = np.asarray([way.points[0, i] for way in ways])
    ended = np.asarray([way.points[-1, i] for way in ways])
    with np.errstate(invalid="ignore"):
        near = ended[np.abs(ended - np.median(begun)) <= 1.5 * max(np.ptp(begun), 1.0)]
    arrived = [way.points[:, i] for way in ways if way.arrived]
    every = np.concatenate([begun, near, *arrived])
    margin = 0.08 * max(np.ptp(every), 0.5)
    return float(every.min() - margin), float(every.max() + margin)


def draw_on_curve(axes: Axes, ways: Sequence[Trajectory], value: Value, names: Sequence[str]) -> None:
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


def heights_shown(height: np.ndarray, ways: Sequence[Trajectory], value: Value) -> Heights | None:
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


def mesh(
    ways: Sequence[Trajectory], value: Value, count: int = 160
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both coordinates of a plane that shows these ways, and the function there, `(count, count)` each."""
    across, up = (np.linspace(*window(ways, i), count) for i in (0, 1))
    xs, ys = np.meshgrid(across, up)
    return xs, ys, value(np.stack([xs.ravel(), ys.ravel()], axis=1)).reshape(xs.shape)


def draw_on_contours(
    axes: Axes,
    ways: Sequence[Trajectory],
    value: Value,
    names: Sequence[str],
    height: str = "",
    more: np.ndarray | None = None,
) -> None:
    """Draw ways over contours. height: what the function is called. more: other points to be seen."""
    seen = [*ways, *([] if more is None else [Trajectory(more, arrived=True)])]
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


def draw_on_surface(axes: Any, ways: Sequence[Trajectory], value: Value, names: Sequence[str]) -> None:
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


def draw_paths(sweep: StoredSweep, *, on_surface: bool) -> Figure:
    """See `Plots.paths` and `Plots.surface`."""
    shown = function_panels(sweep, planes=on_surface)
    if on_surface:
        figure = picture(7.4, 6.0)
        axes: list[Any] = [figure.add_subplot(projection="3d")]
    else:
        size = (4.2, 3.6) if len(shown) > 1 else (6.4, 4.6)
        figure, axes = panels(len(shown), columns=columns_of(len(shown)), size=size)
    for at, (title, names, ways, value) in zip(axes, shown, strict=True):
        flat = draw_on_curve if len(names) == 1 else draw_on_contours
        draw = draw_on_surface if on_surface else flat
        draw(at, ways, value, names)
        words = f"descents on the function, {title}" if title else "descents on the function"
        at.set_title(words if on_surface else title or "descents", fontsize=10)
    figure.legend(handles=_markers(axes), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    if every(sweep):
        figure.suptitle(every(sweep), fontsize=10)
    return figure


_NAMES = {
    BEGINS: ("start", "white"),
    ARRIVES: ("ends at a minimum", "0.2"),
    STOPS: ("ends elsewhere", "0.2"),
    LEAVES: ("goes on to leave the picture", "0.2"),
}


def _markers(axes: Sequence[Any]) -> list[Line2D]:
    """What the markers in these axes stand for."""
    used = {line.get_marker() for each in axes for line in each.lines}
    handles = []
    for marker, (text, face) in _NAMES.items():
        if marker in used:
            look: Any = {"marker": marker, "markerfacecolor": face, "markersize": 7, "linestyle": ""}
            handles.append(Line2D([], [], color="0.2", label=text, **look))
    return handles


def columns_of(count: int) -> int:
    """How many of so many panels go in a row."""
    return 2 if count in (2, 4) else 3


def draw_loss_surface(sweep: StoredSweep) -> Figure:
    """See `Plots.loss_surface`."""
    best, value, shown = loss_panels(sweep)
    size = (5.2, 4.4) if len(shown) > 1 else (6.0, 4.8)
    figure, axes = panels(len(shown), columns=columns_of(len(shown)), size=size)
    named: dict[str, Any] = {}
    for at, (title, rows, ways, more) in zip(axes, shown, strict=True):
        draw_on_contours(at, ways, value, ["intercept b", "slope w"], "training loss", more)
        at.plot(*best, "P", color="black", markersize=7, markeredgecolor="white", zorder=4)
        at.set_title(title or "the training loss of a line, and the ways down it", fontsize=10)
        for i, row in enumerate(rows_of(rows)):
            text = cell_label(row, [LR]) if LR in row else "a descent"
            named.setdefault(text, Line2D([], [], color=colour_of(i), label=text))
    squares = Line2D([], [], marker="P", color="black", label="least squares", linestyle="")
    handles = [*named.values(), squares, *_markers(axes)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure
