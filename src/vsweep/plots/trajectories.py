"""Draw descents, on a function or on the loss of a line, and the basins where they end."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vsweep.analysis.axis_scale import is_log_spaced
from vsweep.analysis.basins import BasinPanel, Basins, edges
from vsweep.analysis.cells import Panels
from vsweep.analysis.minima import AWAY, MOVING
from vsweep.analysis.trajectories import (
    ELSEWHERE,
    MINIMUM,
    OUTSIDE,
    Descent,
    Landscape,
    height_limits,
)
from vsweep.plots.style import Style, draw_panels, legend, picture, plain, set_title

_START = "start"
# The marker of a start and of each end, with its size.
_MARKERS = {_START: ("o", 5), MINIMUM: ("*", 9), ELSEWHERE: ("D", 5), OUTSIDE: ("X", 7)}
_SIZE = (4.2, 3.6)


def draw_descents(data: Panels[Landscape], style: Style) -> Figure:
    """Draw descents on functions: a curve of one coordinate, contours of two."""

    def draw(axes: Axes, landscape: Landscape) -> None:
        render = _draw_on_curve if len(landscape.names) == 1 else _draw_on_contours
        render(axes, landscape, style)

    return draw_panels(data, style, draw, _SIZE)


def draw_surface(data: Panels[Landscape], style: Style) -> Figure:
    """Draw a function of two coordinates as a surface, and the descents on it."""
    figure = picture(7.4, 6.0)
    axes: Any = figure.add_subplot(projection="3d")
    (landscape,) = data.panels
    xs, ys = np.meshgrid(*landscape.grid)
    look = {"cmap": _shades(style), "alpha": 0.55, "linewidth": 0, "rcount": 60, "ccount": 60}
    axes.plot_surface(xs, ys, landscape.heights, **look)
    lift = 0.01 * np.ptp(landscape.heights)
    for i, descent in enumerate(landscape.descents):
        points = np.column_stack([descent.points, descent.heights + lift])
        _draw_descent(axes, descent, points, _color(style, i), style, linewidth=1.6)
    axes.set(xlabel=landscape.names[0], ylabel=landscape.names[1], zlabel=landscape.height)
    axes.view_init(elev=42, azim=-62)
    # The default grid would be invisible on panes in the color of the paper.
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(style.paper)
        axis._axinfo["grid"]["color"] = style.soft[0]
    axes.set_title(landscape.title[0], fontsize=8.5)
    set_title(figure, style, data.title, data.caption)
    legend(figure)
    return figure


def draw_basins(basins: Basins, style: Style) -> Figure:
    """Draw the place where each descent ends as a tile of its color."""
    greys = dict(zip((MOVING, AWAY, "other minima"), style.greys, strict=True))
    palette = iter(style.palette)
    colors = {place: greys.get(place) or next(palette) for place in basins.places}
    shades, last = ListedColormap([*colors.values()]), len(colors) - 0.5

    def draw(axes: Axes, panel: BasinPanel) -> None:
        mesh = np.ma.masked_invalid(panel.places)
        corners = edges(panel.x), edges(panel.y)
        axes.pcolormesh(*corners, mesh, cmap=shades, vmin=-0.5, vmax=last, rasterized=True)
        axes.set(xlabel=basins.x, ylabel=basins.y)
        axes.set_xscale("log" if is_log_spaced(panel.x) else "linear")
        axes.set_yscale("log" if is_log_spaced(panel.y) else "linear")

    entries = {name: Patch(facecolor=color, edgecolor=style.soft[1]) for name, color in colors.items()}
    return draw_panels(basins, style, draw, _SIZE, entries)


def _draw_on_curve(axes: Axes, landscape: Landscape, style: Style) -> None:
    """Draw descents on a function of one coordinate."""
    axes.plot(landscape.grid[0], landscape.heights, color=style.soft[1], linewidth=1.5)
    # The starts are sorted along the line, so the colors form a scale.
    colors = style.colors(range(len(landscape.descents)))
    for descent, color in zip(landscape.descents, colors, strict=True):
        points = np.column_stack([descent.points, descent.heights])
        look: Any = {"linewidth": 1.2, "alpha": 0.9, "marker": ".", "markersize": 3}
        _draw_descent(axes, descent, points, color, style, **look)
    low, high, linear = height_limits(landscape)
    if linear is not None:
        axes.set_yscale("symlog", linthresh=linear)
    if low < high:
        axes.set_ylim(low, high)
    axes.set_xlim(*landscape.limits[0])
    axes.set(xlabel=landscape.names[0], ylabel=landscape.height)
    plain(axes)


def _draw_on_contours(axes: Axes, landscape: Landscape, style: Style) -> None:
    """Draw descents over the contours of a function of two coordinates, and the point of least squares."""
    contours = axes.contourf(*landscape.grid, landscape.heights, levels=20, cmap=_shades(style))
    axes.get_figure().colorbar(contours, ax=axes, label=landscape.height)  # type: ignore[union-attr]
    for i, descent in enumerate(landscape.descents):
        _draw_descent(axes, descent, descent.points, _color(style, i), style, linewidth=1.4)
    if landscape.best is not None:
        look: Any = {"color": style.ink, "markeredgecolor": style.paper, "markersize": 7, "zorder": 4}
        axes.plot(*landscape.best, "P", label="least squares", **look)
    (left, right), (low, high) = landscape.limits
    axes.set(xlim=(left, right), ylim=(low, high), xlabel=landscape.names[0], ylabel=landscape.names[1])


def _draw_descent(
    axes: Any,
    descent: Descent,
    points: np.ndarray,
    color: Any,
    style: Style,
    zorder: float = 2.0,
    **look: Any,
) -> None:
    """Draw a descent, whose points are drawn at `(points, dimensions)`, and mark its start and its end."""
    axes.plot(*points.T, color=color, zorder=zorder, label=descent.label, **look)
    start_look = {"markerfacecolor": style.paper}
    end_look = {"markeredgecolor": style.paper, "markeredgewidth": 0.5}
    for point, name, marks in ((points[:1], _START, start_look), (points[-1:], descent.end, end_look)):
        marker, size = _MARKERS[name]
        axes.plot(*point.T, marker, color=color, markersize=size, zorder=3, label=name, **marks)


def _color(style: Style, i: int) -> str:
    """Return the color of a descent by its number; the last color of the palette is the ink's."""
    return style.palette[i % (len(style.palette) - 1)]


def _shades(style: Style) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("heights", style.heights)
