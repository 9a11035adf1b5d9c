"""Answer where the good region is, and where training breaks: maps over two axes."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.axis_scale import scale
from vsweep.analysis.cells import Row, rows_of
from vsweep.analysis.labels import format_value, format_with_error
from vsweep.analysis.marginals import HeatMap
from vsweep.charts.style import Chart, category_axis, cell_points, compact, figure, metric_axis, plain
from vsweep.metrics import higher_is_better

BEST, MEDIAN, DIVERGED = "best over the others", "median over the others", "share that diverged"
# The column of each map, and the format of its numbers.
_SHOWS = {BEST: ("best", ".3g"), MEDIAN: ("median", ".3g"), DIVERGED: ("diverged", ".0%")}
_MEANINGS = {
    BEST: "the mean of the best cell with its two values, where fewer diverged trials come before "
    "a better mean; it is grey where all trials diverged. Lighter is better.",
    MEDIAN: "the median over the means of all cells with its two values; it is grey where the median "
    "cell diverged. Lighter is better.",
    DIVERGED: "the share of all trials with its two values that diverged. Darker tiles diverge more often.",
}
# A map with more values on an axis has no numbers in its tiles.
_MOST_WITH_NUMBERS = 8
_BORDER = "#D5006D"


def maps(heat_map: HeatMap) -> dict[str, Chart]:
    """Return the best, the median and the diverged share; the last alone where every trial diverged."""
    shows = _SHOWS if heat_map.table["best"].notna().any() else (DIVERGED,)
    return {show: _map(heat_map, show) for show in shows}


def _map(heat_map: HeatMap, show: str) -> Chart:
    x, y, metric, columns, rows, table = heat_map
    column, number = _SHOWS[show]
    values, diverged, cells = (
        heat_map.grid(table[name].to_numpy(np.float64)) for name in (column, "diverged", "cell")
    )
    texts = heat_map.grid(np.asarray(_hover_texts(table, x, y, metric), object), "")
    heat = _colors(values, metric, share=show == DIVERGED) | cell_points(cells, texts.tolist())
    if max(values.shape) <= _MOST_WITH_NUMBERS:
        numbers = [["" if np.isnan(value) else f"{value:{number}}" for value in row] for row in values]
        heat |= {"text": numbers, "texttemplate": "%{text}", "textfont": {"size": 11}}
    traces: list[Any] = [go.Heatmap(heat)]
    # A boundary has a meaning only between values that have an order.
    ordered = {scale(columns), scale(rows)} != {"category"}
    if ordered and np.nanmin(diverged) < 0.5 <= np.nanmax(diverged) and min(diverged.shape) > 1:
        traces.append(_boundary(diverged))
    drawn = figure(
        traces,
        height=max(300, 150 + 30 * min(len(rows), 16)),
        xaxis=category_axis(x, columns),
        yaxis=category_axis(y, rows),
        showlegend=len(traces) > 1,
        # Empty tiles are grey, which shows on white and on black.
        plot_bgcolor="rgba(127,127,127,0.2)",
    )
    subject = "Share of trials that diverged" if show == DIVERGED else f"{metric} at the last step, {show}"
    line = " The dashed line marks where half of the trials diverge." if len(traces) > 1 else ""
    note = f"Each tile is {_MEANINGS[show]}{line} Click a tile to choose its best cell."
    return Chart(f"{subject}: {x} by {y}", drawn, note)


def _hover_texts(table: pd.DataFrame, x: str, y: str, metric: str) -> list[str]:
    return [
        f"{x} = {plain(format_value(row['x']))}<br>{y} = {plain(format_value(row['y']))}"
        f"<br>{_best_and_median(row, metric)}"
        f"<br>{row['diverged']:.0%} of {row['trials']:,} trials diverged"
        for row in rows_of(table)
    ]


def _best_and_median(row: Row, metric: str) -> str:
    best = format_with_error(row["best"], row["error"])
    if row["cells"] == 1:
        return f"{metric}: {best}"
    median = format_value(row["median"])
    return f"{metric}, best of {row['cells']:,} cells: {best}<br>median over them: {median}"


def _colors(values: np.ndarray, metric: str, *, share: bool) -> dict[str, Any]:
    """Return the values and colors of a heat map's trace; `share` is for shares from 0 to 1."""
    bar: dict[str, Any] = {"title": {"text": "diverged" if share else metric, "side": "right"}}
    bar |= {"thickness": 14}
    look: dict[str, Any] = {"colorscale": "Viridis" if higher_is_better(metric) else "Viridis_r"}
    if share:
        look = {"colorscale": "Oranges", "zmin": 0, "zmax": 1}
        bar |= {"tickformat": ".0%"}
    elif metric_axis(metric, values)["type"] == "log":
        # Colors follow the logarithm, and the bar's ticks show the values themselves.
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values)
        ticks = np.linspace(np.nanmin(values), np.nanmax(values), 5)
        bar |= {"tickvals": ticks.tolist(), "ticktext": [f"{10**tick:.2g}" for tick in ticks]}
    return {"z": compact(values), "colorbar": bar, **look}


def _boundary(diverged: np.ndarray) -> go.Contour:
    return go.Contour(
        z=diverged.astype(np.float32),
        contours={"coloring": "lines", "start": 0.5, "end": 0.5, "size": 0.1},
        colorscale=[[0, _BORDER], [1, _BORDER]],
        line={"width": 3, "dash": "dash"},
        showscale=False,
        hoverinfo="skip",
        name="half of the trials diverge",
        showlegend=True,
        connectgaps=True,
    )
