"""The look of the report's charts: Plotly figures, their colors and their axes."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from vsweep.analysis.axis_scale import scale
from vsweep.analysis.labels import evenly_spaced_indices, format_distinct_values, format_value
from vsweep.metrics import higher_is_better

# The palette of Okabe and Ito (2008), with its yellow and black changed so that both show on white and black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A00", "#7F7F7F")
# Neutral traces have this color, which shows on white and on black.
GREY = "#888888"
# The page reads the cell of each point from the `customdata` of traces with this `meta`. The `meta` of a
# trace that belongs to one cell has the cell's number, as `cell`.
CELLS = {"cells": True}
# An axis with more values than this has ticks at some of them.
_MOST_TICKS = 12
# A metric has a log scale if its largest value is more than this many times its smallest.
_DECADES = 20.0


class Chart(NamedTuple):
    """A figure with its title and its note.

    Attributes:
        title: The title.
        figure: The figure, without a title; the page sets the colors of background and text.
        note: The explanation of how to read the chart, and of the data that it leaves out.
        steps: The axis that shows steps, `x` or `y`, of a chart whose cells the reader chooses; otherwise "".
    """

    title: str
    figure: go.Figure
    note: str = ""
    steps: str = ""


def compact(values: Any) -> np.ndarray:
    """Return numbers for a chart: float32, which halves the page, unless its range is too small for them."""
    numbers = np.asarray(values, np.float64)
    sizes = np.abs(numbers[np.isfinite(numbers)])
    return numbers.astype(np.float32 if sizes.max(initial=0.0) <= np.finfo(np.float32).max else np.float64)


def figure(traces: Sequence[Any] = (), *, height: int = 380, **layout: Any) -> go.Figure:
    """Return a figure of these traces.

    Args:
        traces: Plotly's traces.
        height: The height in pixels.
        **layout: Further fields of Plotly's layout.
    """
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 24, "b": 52},
        "colorway": list(PALETTE),
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return go.Figure(list(traces), base | layout)


def cell_points(cells: np.ndarray | pd.Series, texts: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a trace each of whose points is a cell, with the text to show on hovering."""
    return {"customdata": np.asarray(cells), "meta": CELLS, "hovertext": texts, "hoverinfo": "text"}


def category_axis(axis: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return a Plotly axis on which values are spaced evenly, from 0."""
    positions = evenly_spaced_indices(len(values), _MOST_TICKS).tolist()
    names = format_distinct_values(values)
    return {
        "title": {"text": f"{axis} (log scale)" if scale(values) == "log" else axis},
        "tickvals": positions,
        "ticktext": [plain(names[i]) for i in positions],
        "range": [-0.5, len(values) - 0.5],
        "zeroline": False,
        "showgrid": False,
    }


def rate_axis(title: str, values: np.ndarray) -> dict[str, Any]:
    """Return a Plotly axis of learning rates on a log scale, with ticks at rates that were tried."""
    known = np.unique(values[np.isfinite(values)])
    rates = known[evenly_spaced_indices(len(known), _MOST_TICKS)].tolist()
    ticks = {"tickvals": rates, "ticktext": [format_value(rate) for rate in rates]}
    return {"title": {"text": f"{title} (log scale)"}, "type": "log", "zeroline": False, **ticks}


def metric_axis(metric: str, values: np.ndarray) -> dict[str, Any]:
    """Return a Plotly axis of a metric; a loss or a norm over several positive decades has a log scale."""
    known = values[np.isfinite(values)]
    log = not higher_is_better(metric) and len(known) > 0 and known.min() > 0
    log = bool(log and known.max() > _DECADES * known.min())
    title = {"text": f"{metric} (log scale)" if log else metric}
    return {"title": title, "type": "log" if log else "linear", "zeroline": False, "exponentformat": "power"}


def colors(values: Sequence[Any]) -> list[str]:
    """Return a color for each value: distinct ones for few names, or else from dark to light."""
    if len(values) <= len(PALETTE) and (len(values) < 4 or scale(values) == "category"):
        return list(PALETTE[: len(values)])
    # The lightest colors are invisible on white, and the darkest on black.
    points = np.linspace(0.12, 0.88, len(values)).tolist()
    sampled = sample_colorscale("Viridis", points, colortype="tuple")
    return ["#" + bytes(round(255 * part) for part in parts).hex() for parts in sampled]


def plain(text: str) -> str:
    """Escape text so that Plotly reads neither markup nor variables in it."""
    return escape(text, quote=False).replace("%{", "%&#123;")


def band(x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, **more: Any) -> go.Scatter:
    """Return a trace that fills the area between two lines.

    Args:
        x: Where both lines are known, `(points,)`.
        low: The lower line, `(points,)`.
        high: The upper line, `(points,)`.
        color: The color of the area.
        **more: Further fields of the trace.
    """
    look = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False} | more
    x, y = np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])
    red, green, blue = bytes.fromhex(color[1:])
    return go.Scatter(x=x, y=y, fill="toself", fillcolor=f"rgba({red},{green},{blue},0.2)", **look)
