"""Several panels in one figure: their places and titles, and one legend for what any of them shows."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from vsweep.analysis.example_data import ExampleData
from vsweep.reports.charts.style import GREY, PALETTE, figure, plain

# Two in a row can be read on a telephone too; its titles have so many letters a line.
_COLUMNS, _LETTERS, _ALONE = 2, 21, 44
# Pixels: of a title's line, of the axis below a panel, and of the margins about all.
_LINE, _BELOW, _MARGINS = 15, 44, 104
MOST_PANELS, MOST_EXAMPLES = 6, 400
# Beside their colours, classes differ in shape.
_SYMBOLS = ("circle", "triangle-up", "square", "diamond", "triangle-down", "cross", "x", "star")


def panels(
    titles: Sequence[Sequence[str]],
    x: str,
    y: str,
    *,
    high: int = 240,
    alike: bool = True,
    named: bool = False,
) -> go.Figure:
    """An empty figure of a panel for each title, of lines. x, y: the axes' titles.

    high: pixels of a panel. alike: whether all show the same part of the same plane. named: whether each
    panel's axes are to have titles of their own.
    """
    count, columns = len(titles), min(len(titles), _COLUMNS)
    rows, letters = -(-count // columns), _LETTERS if columns > 1 else _ALONE
    wrapped = [[piece for line in title for piece in _wrapped(line, letters)] for title in titles]
    above = _LINE * max(map(len, wrapped)) + 8
    between = above + (16 if alike else _BELOW if named else _BELOW // 2)
    if count == 1:
        high = int(1.5 * high)
    inner = rows * high + (rows - 1) * between
    made = make_subplots(
        rows,
        columns,
        x_title=None if named else x,
        subplot_titles=["<br>".join(lines) for lines in wrapped],
        vertical_spacing=between / inner if rows > 1 else None,
        horizontal_spacing=0.04 if alike else 0.15,
        specs=[[{} if row * columns + i < count else None for i in range(columns)] for row in range(rows)],
    )
    made.update_annotations(font_size=12)
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.0 + (above + 4) / inner, "x": 0}
    made.update_layout(figure(height=inner + above + _MARGINS, legend=legend).layout)
    _name_axes(made, count, x, y, alike=alike, named=named)
    return made


def _name_axes(made: go.Figure, count: int, x: str, y: str, *, alike: bool, named: bool) -> None:
    columns = min(count, _COLUMNS)
    for place in range(count):
        lowest, first = place + columns >= count, place % columns == 0
        across, up = axes_at(made, place)
        across.update(showticklabels=lowest or not alike, title_text=x if named else None)
        title = {"text": y if first or named else None, "standoff": 6}
        up.update(showticklabels=first or not alike, title=title)
        if alike and place:
            across.matches, up.matches = "x", "y"


def _wrapped(line: str, letters: int) -> list[str]:
    """A title in lines, broken at spaces and, where words are long, at their underscores."""
    swapped = line.translate(str.maketrans("-_", "\0-"))
    return [plain(piece.translate(str.maketrans("\0-", "-_"))) for piece in textwrap.wrap(swapped, letters)]


def place_of(made: go.Figure, place: int) -> dict[str, str]:
    """The axes of a panel, for a trace."""
    number = "" if place == 0 else str(place + 1)
    return {"xaxis": f"x{number}", "yaxis": f"y{number}"}


def axes_at(made: go.Figure, place: int) -> tuple[Any, Any]:
    """The axes of a panel, to be changed."""
    number = "" if place == 0 else str(place + 1)
    return made.layout[f"xaxis{number}"], made.layout[f"yaxis{number}"]


def key(made: go.Figure, name: str, **look: Any) -> None:
    """Name in the legend what traces of this `legendgroup` show, once."""
    if not any(trace.name == name and trace.showlegend for trace in made.data):
        mode = "lines" if "line" in look else "markers"
        drawn = go.Scatter(x=[None], y=[None], mode=mode, name=name, legendgroup=name, showlegend=True)
        made.add_trace(drawn.update(look))


def line(
    made: go.Figure,
    place: int,
    points: np.ndarray,
    name: str,
    look: dict[str, Any],
    says: str = "",
    **more: Any,
) -> None:
    """A line `(points, 2)` in a panel, named once. says: what hovering adds. more: Plotly's, of the trace."""
    key(made, name, line=look)
    made.add_scatter(
        x=points[:, 0].astype(np.float32),
        y=points[:, 1].astype(np.float32),
        mode="lines",
        name=name,
        legendgroup=name,
        showlegend=False,
        line=look,
        **{"hovertemplate": f"{name}{says}<extra></extra>"} | more,
        **place_of(made, place),
    )


def discrete(colours: Sequence[str]) -> dict[str, Any]:
    """How a heatmap shows places among these colours."""
    count = len(colours)
    steps = [(edge / count, colour) for i, colour in enumerate(colours) for edge in (i, i + 1)]
    return {"colorscale": steps, "zmin": -0.5, "zmax": count - 0.5, "showscale": False}


def ordered(count: int) -> list[str]:
    """So many colours in an order, seen on light as on dark."""
    return sample_colorscale("Plasma", np.linspace(0.2, 0.85, count).tolist()) if count else []


def of_classes(count: int) -> list[str]:
    """A colour for each class."""
    return list(PALETTE[:count]) if count <= len(PALETTE) else ordered(count)


def joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Lines `(points, columns)` as one, float32, with a gap after each."""
    gap = np.full((1, pieces[0].shape[1]), np.nan, np.float32)
    return np.concatenate([part for piece in pieces for part in (piece.astype(np.float32), gap)])


def some(scene: ExampleData) -> ExampleData:
    """The same data, of at most `MOST_EXAMPLES` examples, drawn at random but ever the same."""
    if len(scene.examples) <= MOST_EXAMPLES:
        return scene
    few = scene.examples.sample(MOST_EXAMPLES, random_state=0).sort_index()
    return ExampleData(few, scene.columns, scene.features, scene.classes, scene.mean, scene.std, scene.fresh)


def so_many(scene: ExampleData) -> str:
    """How many of the examples are drawn, in words, where it is not all."""
    count = len(scene.examples)
    return f"{MOST_EXAMPLES} of {count:,} examples, drawn at random." if count > MOST_EXAMPLES else ""


def scatter(made: go.Figure, place: int, scene: ExampleData, opacity: float = 1.0) -> None:
    """The examples of classes over two features: a colour and a shape each, hollow where held out."""
    colours = of_classes(len(scene.classes))
    for i, name in enumerate(scene.classes):
        symbol = _SYMBOLS[i % len(_SYMBOLS)]
        key(made, name, marker={"color": colours[i], "symbol": symbol, "size": 8})
        for train in (True, False):
            part = scene.part(train=train)
            x = part.loc[part["target"] == i, list(scene.columns)].to_numpy(np.float32)
            mark = {
                "color": colours[i],
                "size": 6,
                "line": {"width": 0 if train else 1.3},
                "opacity": opacity,
            }
            made.add_scatter(
                x=x[:, 0],
                y=x[:, 1],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=False,
                marker=mark
                | {"symbol": symbol if train else f"{symbol}-open", "line_width": 0 if train else 1.3},
                hovertemplate=_hover(scene, f"{name}, {'trained on' if train else 'held out'}"),
                **place_of(made, place),
            )
    if not scene.part(train=False).empty:
        key(made, "held out", marker={"color": GREY, "symbol": "circle-open", "size": 8})
    for axis, (low, high) in zip(axes_at(made, place), scene.limits, strict=True):
        axis.range = [low, high]


def _hover(scene: ExampleData, words: str) -> str:
    first, second = scene.features
    return f"{words}<br>{first} %{{x:.3g}}<br>{second} %{{y:.3g}}<extra></extra>"


def hover_at(scene: ExampleData, last: str) -> str:
    """What a point of the plane says: both features, and another line."""
    return _hover(scene, last)
