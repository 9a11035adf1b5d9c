"""The ways of descents in a chart: what of them is drawn, on what, and the marks of their ends."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from vsweep.analysis.labels import evenly
from vsweep.results.hills import Hill
from vsweep.results.landscapes import ARRIVES, BEGINS, LEAVES, STOPS, Way, inside, mesh
from vsweep.results.report.chart import GREY
from vsweep.results.report.panels import axes_at, joined, key, place_of

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


def drawn_of(way: Way, limits: Sequence[tuple[float, float]], most: int) -> Drawn:
    """A way up to where it leaves these limits, of at most so many points, its first and last among them."""
    lows, highs = np.asarray(limits, float).T
    kept, end = inside(way, lows.tolist(), highs.tolist())
    scaled, places = kept / (highs - lows), [0]
    for i in range(1, len(scaled)):
        if np.abs(scaled[i] - scaled[places[-1]]).max() >= _APART:
            places.append(i)
    chosen = np.unique([*np.asarray(places)[evenly(len(places), max(most, 2))], len(kept) - 1])
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
    hill: Hill,
    colours: Sequence[str],
    most: int,
    height: str = "",
    more: np.ndarray | None = None,
) -> None:
    """Draw ways over contours. height: what the function is called. more: other points to be seen."""
    _, names, ways, value = hill
    seen = [*ways, *([] if more is None else [Way(more, arrived=True)])]
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
