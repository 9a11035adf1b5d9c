"""What all pictures of a report have in common: a Plotly figure, its colours, its scales."""

from collections.abc import Sequence
from html import escape
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from vsweep.analysis.axis_scale import is_log_spaced
from vsweep.analysis.labels import format_distinct_values, format_value
from vsweep.metrics import higher_is_better

# Told apart by every kind of sight (Okabe and Ito 2008), and on white as on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A00", "#7F7F7F")
# Of what is neither good nor bad, on white as on black.
GREY = "#888888"
# The `meta` of a trace whose points have the numbers of cells as `customdata`; that of a trace of one cell
# has the number itself, as `cell`.
CELLS = {"cells": True}
# Axes with more values than this have some of them written.
_MOST_TICKS = 12
# A metric is on a log scale where its greatest value is so many times its least.
_DECADES = 20.0


class Chart(NamedTuple):
    """A picture and its words.

    title: what is seen, in words. figure: without a title and colours of paper and text, which are the
    page's. note: how it is to be read, with its units and what is left out.
    """

    title: str
    figure: go.Figure
    note: str = ""


def figure(traces: Sequence[Any] = (), *, height: int = 380, **layout: Any) -> go.Figure:
    """A figure of these traces. height: pixels. layout: Plotly's."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 24, "b": 52},
        "colorway": list(PALETTE),
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return go.Figure(list(traces), base | layout)


def scale(values: Sequence[Any]) -> str:
    """The scale that values of an axis lie on: `log`, `linear`, or `category` where they are no numbers."""
    known = [value for value in values if pd.notna(value)]
    if not known or any(isinstance(v, bool | np.bool_) or not isinstance(v, Real) for v in known):
        return "category"
    return "log" if is_log_spaced(known) else "linear"


def axis_title(axis: str, values: Sequence[Any]) -> str:
    """An axis by its path, and its scale where that is logarithmic."""
    return f"{axis} (log scale)" if scale(values) == "log" else axis


def places(axis: str, values: Sequence[Any]) -> dict[str, Any]:
    """A Plotly axis with a place, from 0, for each value."""
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_TICKS)).round().astype(int))
    names = format_distinct_values(values)
    return {
        "title": {"text": axis_title(axis, values)},
        "tickvals": kept.tolist(),
        "ticktext": [plain(names[i]) for i in kept],
        "range": [-0.5, len(values) - 0.5],
        "zeroline": False,
        "showgrid": False,
    }


def rate_axis(title: str, values: np.ndarray) -> dict[str, Any]:
    """A Plotly axis of learning rates on a log scale, at which those that were tried are written."""
    known = np.unique(values[np.isfinite(values)])
    kept = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_TICKS)).round().astype(int))]
    return {
        "title": {"text": f"{title} (log scale)"},
        "type": "log",
        "tickvals": kept.tolist(),
        "ticktext": [format_value(float(value)) for value in kept],
        "zeroline": False,
    }


def metric_axis(metric: str, values: np.ndarray) -> dict[str, Any]:
    """A Plotly axis of a metric, on a log scale where it is a loss or a norm that spans decades above 0."""
    known = values[np.isfinite(values)]
    log = not higher_is_better(metric) and len(known) > 0 and known.min() > 0
    log = bool(log and known.max() > _DECADES * known.min())
    return {
        "title": {"text": f"{metric} (log scale)" if log else metric},
        "type": "log" if log else "linear",
        "zeroline": False,
        "exponentformat": "power",
    }


def colours(values: Sequence[Any]) -> list[str]:
    """A colour per value: of numbers from dark to light, of names such as differ."""
    if len(values) <= len(PALETTE) and (len(values) < 4 or scale(values) == "category"):
        return list(PALETTE[: len(values)])
    # Not quite to the light end, which is lost on white, nor to the dark one, which is lost on black.
    return list(sample_colorscale("Viridis", np.linspace(0.12, 0.88, len(values)).tolist()))


def plain(text: str) -> str:
    """Text that Plotly takes for neither markup nor one of its own variables."""
    return escape(text, quote=False).replace("%{", "%&#123;")


def faded(colour: str, alpha: float = 0.2) -> str:
    """A colour that what is behind it shines through."""
    parts = (
        [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour.startswith("#") else colour[4:-1].split(",")
    )
    red, green, blue = (int(str(part).strip()) for part in parts)
    return f"rgba({red},{green},{blue},{alpha})"


def band(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, alpha: float = 0.2, **more: Any
) -> go.Scatter:
    """What lies between two lines over x, all `(points,)`. more: Plotly's, of the trace."""
    base: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([low, high[::-1]]),
        fill="toself",
        fillcolor=faded(colour, alpha),
        **base | more,
    )
