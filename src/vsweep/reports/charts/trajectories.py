"""Descents as charts: paths on a function of one coordinate as a curve, of two as contours or a surface."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.analysis.trajectories import FunctionPanel, Trajectory, every, function_panels
from vsweep.plots.trajectories import (
    ARRIVES,
    BEGINS,
    LEAVES,
    STOPS,
    Heights,
    heights_shown,
    inside,
    mesh,
    window,
)
from vsweep.reports.charts.style import GREY, PALETTE, Chart, figure
from vsweep.reports.charts.subplots import axes_at, joined, key, ordered, panels, place_of
from vsweep.store.reader import StoredSweep

# Points of all ways together, at most; of a function along a line.
_POINTS, _ALONG = 12_000, 300
# Points along each side of a plane.
ACROSS = 50
# Points of a way are drawn that lie this share of what is shown apart.
_APART = 0.006
_SYMBOLS = {BEGINS: "circle-open", ARRIVES: "star", STOPS: "diamond", LEAVES: "x"}
SAID = {
    BEGINS: "start",
    ARRIVES: "ends at a minimum",
    STOPS: "ends elsewhere",
    LEAVES: "goes on to leave the picture",
}
# Light enough below every colour of a way, and no lighter than paper.
HEIGHTS = [[0.0, "#F4F4F4"], [1.0, "#8C8C8C"]]


class Drawn(NamedTuple):
    """What of a way is drawn: its points `(points, coordinates)`, their steps, the marker of its end."""

    points: np.ndarray
    steps: np.ndarray
    end: str


def drawn_of(way: Trajectory, limits: Sequence[tuple[float, float]], most: int) -> Drawn:
    """A way up to where it leaves these limits, of at most so many points, its first and last among them."""
    lows, highs = np.asarray(limits, float).T
    kept, end = inside(way, lows.tolist(), highs.tolist())
    scaled, places = kept / (highs - lows), [0]
    for i in range(1, len(scaled)):
        if np.abs(scaled[i] - scaled[places[-1]]).max() >= _APART:
            places.append(i)
    chosen = np.unique([*np.asarray(places)[evenly_spaced_indices(len(places), max(most, 2))], len(kept) - 1])
    return Drawn(kept[chosen], way.steps[chosen], end)


def ends(made: go.Figure, place: int, drawn: Sequence[Drawn], colours: Sequence[str]) -> None:
    """Mark where ways begin and how they end; points are as they are drawn, `(points, 2)`."""
    for marker, text in SAID.items():
        which = [i for i, each in enumerate(drawn) if marker in (BEGINS, each.end)]
        if not which:
            continue
        size = 8 if marker in (BEGINS, STOPS) else 11
        key(made, text, marker={"symbol": _SYMBOLS[marker], "size": size, "color": GREY})
        at = np.stack([drawn[i].points[0 if marker == BEGINS else -1] for i in which]).astype(np.float32)
        steps = [int(drawn[i].steps[0 if marker == BEGINS else -1]) for i in which]
        made.add_scatter(
            x=at[:, 0],
            y=at[:, 1],
            mode="markers",
            name=text,
            legendgroup=text,
            showlegend=False,
            text=[f"step {step}" for step in steps],
            marker={"symbol": _SYMBOLS[marker], "size": size, "color": [colours[i] for i in which]},
            hovertemplate=f"{text}, %{{text}}<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
            **place_of(made, place),
        )


def on_contours(
    made: go.Figure,
    place: int,
    hill: FunctionPanel,
    colours: Sequence[str],
    most: int,
    height: str = "",
    more: np.ndarray | None = None,
) -> None:
    """Draw ways over contours. height: what the function is called. more: other points to be seen."""
    _, names, ways, value = hill
    seen = [*ways, *([] if more is None else [Trajectory(more, arrived=True)])]
    limits = _contours(made, place, mesh(seen, value, ACROSS), names, height or f"f({', '.join(names)})")
    says, at = _says(names), place_of(made, place)
    drawn = [drawn_of(way, limits, most) for way in ways]
    for colour, line, steps in by_colour(drawn, colours):
        made.add_scatter(
            x=line[:, 0],
            y=line[:, 1],
            customdata=steps,
            mode="lines",
            showlegend=False,
            line={"color": colour, "width": 1.6},
            hovertemplate=f"step %{{customdata:d}}<br>{says}<extra></extra>",
            **at,
        )
    ends(made, place, drawn, colours)
    for axis, (low, high) in zip(axes_at(made, place), limits, strict=True):
        axis.range = [low, high]


def by_colour(drawn: Sequence[Drawn], colours: Sequence[str]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The ways of each colour as one line, with gaps, and the steps of its points; float32."""
    found = []
    for colour in dict.fromkeys(colours):
        own = [each for each, other in zip(drawn, colours, strict=True) if other == colour]
        steps = joined([each.steps[:, None] for each in own])[:, 0]
        found.append((colour, joined([each.points for each in own]), steps))
    return found


def _says(names: Sequence[str]) -> str:
    return f"{names[0]} %{{x:.4g}}<br>{names[1]} %{{y:.4g}}"


def _contours(
    made: go.Figure, place: int, over: tuple[np.ndarray, ...], names: Sequence[str], height: str
) -> list[tuple[float, float]]:
    """Draw a function over a plane; the limits of what is shown of it."""
    xs, ys, heights = over
    made.add_contour(
        x=xs[0].astype(np.float32),
        y=ys[:, 0].astype(np.float32),
        z=heights.astype(np.float32),
        ncontours=20,
        colorscale=HEIGHTS,
        showscale=False,
        line={"width": 0.5, "color": GREY},
        hovertemplate=f"{_says(names)}<br>{height} %{{z:.4g}}<extra></extra>",
        **place_of(made, place),
    )
    return [(float(each.min()), float(each.max())) for each in (xs, ys)]


# Of an end, as a mark in three dimensions.
_SOLID = {BEGINS: "circle-open", ARRIVES: "diamond", STOPS: "square", LEAVES: "x"}


def _colours(count: int) -> list[str]:
    return [PALETTE[i % (len(PALETTE) - 1)] for i in range(count)]


def paths(sweep: StoredSweep) -> Chart:
    """Descents on the function: a curve of one coordinate, contours of two.

    Raises `KeyError` for what is no sweep of functions of one or two coordinates.
    """
    shown = function_panels(sweep, planes=False)
    most = _POINTS // sum(len(hill.ways) for hill in shown)
    first = shown[0].names
    named = len({tuple(hill.names) for hill in shown}) > 1
    titles = [[hill.title] for hill in shown]
    made = panels(
        titles,
        first[0],
        first[-1] if len(first) > 1 else f"f({first[0]})",
        alike=not named and len(first) == 2,
        named=named,
    )
    notes = [every(sweep).capitalize()]
    for place, hill in enumerate(shown):
        if len(hill.names) == 1:
            notes += _on_curve(made, place, hill, most)
        else:
            on_contours(made, place, hill, _colours(len(hill.ways)), most)
        both = [hill.names[0], hill.names[1] if len(hill.names) > 1 else f"f({hill.names[0]})"]
        _name(made, place, both)
    if any(len(hill.names) == 2 for hill in shown):
        notes.append("The darker, the higher the function")
    notes.append("Points that lie close to each other on a path are left out")
    return Chart("Descents on the function", made, ". ".join(dict.fromkeys(filter(None, notes))) + ".")


def _name(made: go.Figure, place: int, names: Sequence[str]) -> None:
    """Name the axes of a panel, where they have names."""
    for axis, name in zip(axes_at(made, place), names, strict=True):
        if axis.title.text:
            axis.title.text = name


def _on_curve(made: go.Figure, place: int, hill: FunctionPanel, most: int) -> list[str]:
    """Draw ways on a function of one coordinate; what is to be said of its scale."""
    low, high = window(hill.ways, 0)
    across = np.linspace(low, high, _ALONG)
    drawn = [drawn_of(way, [(low, high)], most) for way in hill.ways]
    # All at once: for each other count of points the function is compiled anew.
    at = np.concatenate([across[:, None], *(each.points for each in drawn)])
    counts = np.cumsum([_ALONG, *(len(each.points) for each in drawn)])[:-1]
    height, *heights = np.split(hill.value(at), counts)
    shown = heights_shown(height, hill.ways, hill.value)
    flat = [
        each._replace(points=np.column_stack([each.points, _scaled(own, shown)]))
        for each, own in zip(drawn, heights, strict=True)
    ]
    curve = np.column_stack([across, _scaled(height, shown)])
    _trace(made, place, hill, curve, height[:, None], GREY, "")
    colours = ordered(len(drawn))
    for colour, each, own in zip(colours, flat, heights, strict=True):
        more = np.column_stack([own, each.steps])
        _trace(made, place, hill, each.points, more, colour, "step %{customdata[1]:d}<br>")
    ends(made, place, flat, colours)
    return _frame(made, place, (low, high), shown)


def _trace(
    made: go.Figure,
    place: int,
    hill: FunctionPanel,
    line: np.ndarray,
    more: np.ndarray,
    colour: str,
    step: str,
) -> None:
    """A line over one coordinate. more: of its points, the function, and the step where it is a way."""
    says = f"{hill.names[0]} %{{x:.4g}}<br>f({hill.names[0]}) %{{customdata[0]:.4g}}"
    made.add_scatter(
        x=line[:, 0].astype(np.float32),
        y=line[:, 1].astype(np.float32),
        customdata=more.astype(np.float32),
        mode="lines+markers" if step else "lines",
        showlegend=False,
        line={"color": colour, "width": 1.5},
        marker={"size": 3},
        hovertemplate=f"{step}{says}<extra></extra>",
        **place_of(made, place),
    )


def _frame(made: go.Figure, place: int, limits: tuple[float, float], shown: Heights | None) -> list[str]:
    """What is shown of a line and of a function over it; what is to be said of that."""
    across, up = axes_at(made, place)
    across.range = limits
    if shown is None:
        return []
    up.range = _scaled(np.asarray([shown.low, shown.high]), shown).tolist()
    if shown.linear is None:
        return []
    values = _ticks(shown)
    up.update(
        tickvals=_scaled(values, shown).tolist(),
        ticktext=[f"{value:.4g}".replace("e+0", "e") for value in values],
    )
    return ["Where walls are high, the scale of f is linear about 0 and logarithmic beyond"]


def _scaled(values: np.ndarray, shown: Heights | None) -> np.ndarray:
    """Values as they are drawn: linear up to a size, and beyond it by their logarithm."""
    if shown is None or shown.linear is None:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.abs(values) / shown.linear
        return np.sign(values) * np.where(size <= 1.0, size, 1.0 + np.log10(np.maximum(size, 1.0)))


def _ticks(shown: Heights) -> np.ndarray:
    """Round values from the lowest to the highest: 0, and powers of ten beyond what is linear."""
    assert shown.linear is not None
    powers = 10.0 ** np.arange(np.ceil(np.log10(shown.linear)), 300)
    below, above = (powers[powers <= end] for end in (-shown.low, shown.high))
    return np.concatenate([-below[::-1], np.zeros(1), above])


def surface(sweep: StoredSweep) -> Chart:
    """A function of two coordinates as a surface, and above it the descents that most often arrive.

    Raises `KeyError` for other sweeps.
    """
    (title, names, ways, value), *_ = function_panels(sweep, planes=True)
    xs, ys, heights = mesh(ways, value, ACROSS)
    limits = [window(ways, i) for i in (0, 1)]
    says = f"{names[0]} %{{x:.4g}}<br>{names[1]} %{{y:.4g}}<br>f %{{z:.4g}}<extra></extra>"
    made = figure(height=480)
    made.add_surface(
        x=xs[0].astype(np.float32),
        y=ys[:, 0].astype(np.float32),
        z=heights.astype(np.float32),
        colorscale=HEIGHTS,
        opacity=0.75,
        showscale=False,
        hovertemplate=says,
    )
    lift = 0.015 * float(np.nanmax(heights) - np.nanmin(heights))
    drawn = [drawn_of(way, limits, _POINTS // len(ways)) for way in ways]
    lifted = [
        each._replace(points=np.column_stack([each.points, value(each.points) + lift])) for each in drawn
    ]
    colours = _colours(len(ways))
    for colour, line, steps in by_colour(lifted, colours):
        made.add_scatter3d(
            x=line[:, 0],
            y=line[:, 1],
            z=line[:, 2],
            customdata=steps,
            mode="lines",
            showlegend=False,
            line={"color": colour, "width": 5},
            hovertemplate=f"step %{{customdata:d}}<br>{says}",
        )
    _solid_ends(made, lifted, colours)
    made.update_layout(scene=_seen(names), margin={"l": 0, "r": 0, "b": 0})
    words = f"The function as a surface, {title}" if title else "The function as a surface"
    return Chart(words, made, f"{every(sweep).capitalize()}. ".removeprefix(". ") + "Drag to turn it.")


def _seen(names: Sequence[str]) -> dict[str, Any]:
    """The axes of a surface, from above and small enough for a narrow page."""
    titles = zip(("xaxis", "yaxis", "zaxis"), [*names, f"f({', '.join(names)})"], strict=True)
    return {
        "aspectmode": "manual",
        "aspectratio": {"x": 0.72, "y": 0.72, "z": 0.4},
        "camera": {"eye": {"x": 0.75, "y": -1.4, "z": 1.25}, "center": {"x": 0.0, "y": 0.0, "z": -0.1}},
        **{axis: {"title": {"text": title}, "nticks": 5} for axis, title in titles},
    }


def _solid_ends(made: go.Figure, drawn: Sequence[Drawn], colours: Sequence[str]) -> None:
    for marker, text in SAID.items():
        which = [i for i, each in enumerate(drawn) if marker in (BEGINS, each.end)]
        if not which:
            continue
        look = {"symbol": _SOLID[marker], "size": 6, "color": GREY}
        named = {"name": text, "legendgroup": text, "mode": "markers", "marker": look}
        made.add_scatter3d(x=[None], y=[None], z=[None], **named)
        at = np.stack([drawn[i].points[0 if marker == BEGINS else -1] for i in which]).astype(np.float32)
        made.add_scatter3d(
            x=at[:, 0],
            y=at[:, 1],
            z=at[:, 2],
            mode="markers",
            name=text,
            legendgroup=text,
            showlegend=False,
            marker={"symbol": _SOLID[marker], "size": 4, "color": [colours[i] for i in which]},
            hovertemplate=f"{text}<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
        )
