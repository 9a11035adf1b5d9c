"""Draw descents, on a function or on the loss of a line, and the basins where they end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vsweep.analysis.basins import BasinPanel, Basins, edges, geometric
from vsweep.analysis.minima import AWAY, MOVING
from vsweep.analysis.trajectories import ELSEWHERE, MINIMUM, OUTSIDE, Descents, Landscape, height_limits
from vsweep.plots.style import Style, legend, panels, picture, plain, set_caption

_START = "start"
# The marker of a start and of each end, with its size.
_MARKERS = {_START: ("o", 5), MINIMUM: ("*", 9), ELSEWHERE: ("D", 5), OUTSIDE: ("X", 7)}


def draw_descents(descents: Descents, style: Style) -> Figure:
    """Draw descents on functions: a curve of one coordinate, contours of two."""
    count = len(descents.panels)
    size = (4.2, 3.6) if count > 1 else (6.4, 4.6)
    figure, axes = panels(count, style, columns=_columns(count), size=size)
    for ax, landscape in zip(axes, descents.panels, strict=True):
        render = _draw_on_curve if len(landscape.names) == 1 else _draw_on_contours
        render(ax, landscape, style)
        ax.set_title(landscape.title[0] or ("descents" if style.captions else ""), fontsize=10)
    labels = {} if descents.best is None else _draw_best(axes, descents, style)
    set_caption(figure, style, descents.caption)
    legend(figure, [*labels.items(), *_markers(descents, style)])
    return figure


def draw_surface(descents: Descents, style: Style) -> Figure:
    """Draw a function of two coordinates as a surface, and the descents on it."""
    figure = picture(7.4, 6.0)
    axes: Any = figure.add_subplot(projection="3d")
    (landscape,) = descents.panels
    xs, ys = np.meshgrid(*landscape.grid)
    look = {"cmap": _shades(style), "alpha": 0.55, "linewidth": 0, "rcount": 60, "ccount": 60}
    axes.plot_surface(xs, ys, landscape.heights, **look)
    lift = 0.01 * np.ptp(landscape.heights)
    for i, descent in enumerate(landscape.descents):
        colour, points = _colour(style, i), np.column_stack([descent.points, descent.heights + lift])
        axes.plot(*points.T, color=colour, linewidth=1.6, zorder=5)
        _mark(axes, points, descent.end, colour, style, zorder=6)
    axes.set(xlabel=landscape.names[0], ylabel=landscape.names[1], zlabel=landscape.height)
    axes.view_init(elev=42, azim=-62)
    # The default grid would be invisible on panes in the colour of the paper.
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(style.paper)
        axis._axinfo["grid"]["color"] = style.soft[0]
    if style.captions:
        axes.set_title(descents.title, fontsize=10)
    set_caption(figure, style, descents.caption)
    legend(figure, _markers(descents, style))
    return figure


def draw_basins(basins: Basins, style: Style) -> Figure:
    """Draw the place where each descent ends as a tile of its colour."""
    count = len(basins.panels)
    size = (4.2, 3.6) if count > 1 else (6.4, 4.4)
    figure, axes = panels(count, style, columns=_columns(count), size=size)
    greys = dict(zip((MOVING, AWAY, "other minima"), style.greys, strict=True))
    own = iter(style.palette)
    colours = {place: greys.get(place) or next(own) for place in basins.places}
    for ax, panel in zip(axes, basins.panels, strict=True):
        _draw_tiles(ax, panel, list(colours.values()))
        ax.set(xlabel=basins.x, ylabel=basins.y)
        ax.set_title(panel.title[0], fontsize=10)
    set_caption(figure, style, f"{basins.title}.", basins.caption)
    edge = style.soft[1]
    legend(figure, [(place, Patch(facecolor=colour, edgecolor=edge)) for place, colour in colours.items()])
    return figure


def _draw_tiles(axes: Axes, panel: BasinPanel, colours: Sequence[str]) -> None:
    mesh = np.ma.masked_invalid(panel.places)
    shades = ListedColormap(colours)
    look: Any = {"cmap": shades, "vmin": -0.5, "vmax": len(colours) - 0.5, "rasterized": True}
    axes.pcolormesh(edges(panel.x), edges(panel.y), mesh, **look)
    axes.set_xscale("log" if geometric(panel.x) else "linear")
    axes.set_yscale("log" if geometric(panel.y) else "linear")


def _draw_on_curve(axes: Axes, landscape: Landscape, style: Style) -> None:
    """Draw descents on a function of one coordinate."""
    axes.plot(landscape.grid[0], landscape.heights, color=style.soft[1], linewidth=1.5)
    # The starts are sorted along the line, so the colours form a scale.
    colours = style.colours(range(len(landscape.descents)))
    for descent, colour in zip(landscape.descents, colours, strict=True):
        points = np.column_stack([descent.points, descent.heights])
        axes.plot(*points.T, color=colour, linewidth=1.2, alpha=0.9, marker=".", markersize=3)
        _mark(axes, points, descent.end, colour, style, zorder=3)
    limits = height_limits(landscape)
    if limits is not None:
        low, high, linear = limits
        if linear is not None:
            axes.set_yscale("symlog", linthresh=linear)
        axes.set_ylim(low, high)
    axes.set_xlim(*landscape.limits[0])
    axes.set(xlabel=landscape.names[0], ylabel=landscape.height)
    plain(axes)


def _draw_on_contours(axes: Axes, landscape: Landscape, style: Style) -> None:
    """Draw descents over the contours of a function of two coordinates."""
    contours = axes.contourf(*landscape.grid, landscape.heights, levels=20, cmap=_shades(style))
    assert axes.figure is not None
    axes.figure.colorbar(contours, ax=axes, label=landscape.height)
    for i, descent in enumerate(landscape.descents):
        colour = _colour(style, i)
        axes.plot(*descent.points.T, color=colour, linewidth=1.4)
        _mark(axes, descent.points, descent.end, colour, style)
    (left, right), (low, high) = landscape.limits
    axes.set(xlim=(left, right), ylim=(low, high), xlabel=landscape.names[0], ylabel=landscape.names[1])


def _draw_best(axes: Sequence[Axes], descents: Descents, style: Style) -> dict[str, Line2D]:
    """Mark least squares in every panel; return the legend's entries for it and for the descents."""
    look: Any = {"marker": "P", "color": style.ink, "linestyle": "", "markeredgecolor": style.paper}
    entries: dict[str, Line2D] = {}
    for ax, landscape in zip(axes, descents.panels, strict=True):
        ax.plot(*np.asarray(descents.best), markersize=7, zorder=4, **look)
        for i, descent in enumerate(landscape.descents):
            entries.setdefault(descent.label, Line2D([], [], color=_colour(style, i)))
    return entries | {"least squares": Line2D([], [], **look)}


def _mark(axes: Any, points: np.ndarray, end: str, colour: Any, style: Style, zorder: float = 2.0) -> None:
    """Mark the start and the end of a descent, whose points are drawn at `(points, dimensions)`."""
    start_look = {"markerfacecolor": style.paper}
    end_look = {"markeredgecolor": style.paper, "markeredgewidth": 0.5}
    for point, name, look in ((points[:1], _START, start_look), (points[-1:], end, end_look)):
        marker, size = _MARKERS[name]
        axes.plot(*point.T, marker, color=colour, markersize=size, zorder=zorder, **look)


def _markers(descents: Descents, style: Style) -> list[tuple[str, Line2D]]:
    """Return the legend's entries for the markers that a picture has."""
    ends = {descent.end for landscape in descents.panels for descent in landscape.descents}
    entries = []
    for name, (marker, _) in _MARKERS.items():
        if name == _START or name in ends:
            face = style.paper if name == _START else style.ink
            look: Any = {"marker": marker, "markerfacecolor": face, "markersize": 7, "linestyle": ""}
            entries.append((name, Line2D([], [], color=style.ink, **look)))
    return entries


def _colour(style: Style, i: int) -> str:
    """Return the colour of a descent by its number; the last colour of the palette is the ink's."""
    return style.palette[i % (len(style.palette) - 1)]


def _shades(style: Style) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("heights", style.heights)


def _columns(count: int) -> int:
    return 2 if count in (2, 4) else 3
