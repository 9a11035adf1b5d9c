"""Where is the good region, and where does training break? Maps over two axes."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import format_value, format_with_error
from vsweep.analysis.marginals import HeatMap
from vsweep.charts.style import CELLS, Chart, figure, metric_axis, places, plain, scale
from vsweep.metrics import higher_is_better

BEST, MEDIAN, DIVERGED = "best over the others", "median over the others", "share that diverged"
SHOWS = (BEST, MEDIAN, DIVERGED)
# Tiles of more values on an axis are colours alone.
_MOST_WRITTEN = 8
_BORDER = "#D5006D"


def maps(heat_map: HeatMap) -> dict[str, Chart]:
    """Return a map for each of `SHOWS`, or for the share that diverged alone where every trial did."""
    shows = SHOWS if heat_map.table["best"].notna().any() else (DIVERGED,)
    return {show: _tiles(heat_map, show) for show in shows}


def _tiles(heat_map: HeatMap, show: str) -> Chart:
    x, y, metric, across, up, table = heat_map
    placed = heat_map.grid
    column = {BEST: "best", MEDIAN: "median", DIVERGED: "diverged"}[show]
    shown = placed(table[column].to_numpy(np.float64))
    diverged = placed(table["diverged"].to_numpy(np.float64))
    hover = placed(np.asarray(_hovers(table, x, y, metric), object), "")
    cells = placed(table["cell"].to_numpy(np.float64))
    heat = _heat(shown, metric, share=show == DIVERGED)
    heat |= {"customdata": cells, "meta": CELLS, "hovertext": hover.tolist(), "hoverinfo": "text"}
    if max(shown.shape) <= _MOST_WRITTEN:
        heat |= {
            "text": _written(shown, diverged, share=show == DIVERGED),
            "texttemplate": "%{text}",
            "textfont": {"size": 11},
        }
    traces: list[Any] = [go.Heatmap(heat)]
    # Between values without an order there is no line.
    ordered = {scale(across), scale(up)} != {"category"}
    border = ordered and np.nanmin(diverged) < 0.5 <= np.nanmax(diverged) and min(diverged.shape) > 1
    if border:
        traces.append(_border(diverged))
    drawn = figure(
        traces,
        height=max(300, 150 + 30 * min(len(up), 16)),
        xaxis=places(x, across),
        yaxis=places(y, up),
        showlegend=bool(border),
        # What is empty is grey, on white as on black.
        plot_bgcolor="rgba(127,127,127,0.2)",
    )
    return Chart(_title(metric, x, y, show), drawn, _note(metric, show, border=bool(border)))


def _hovers(table: pd.DataFrame, x: str, y: str, metric: str) -> list[str]:
    return [
        f"{x} = {plain(format_value(row['x']))}<br>{y} = {plain(format_value(row['y']))}"
        f"<br>{metric}, best of {row['cells']:,} cells: {format_with_error(row['best'], row['sem'])}"
        f"<br>median over them: {format_value(row['median'])}"
        f"<br>{row['diverged']:.0%} of {row['trials']:,} trials diverged"
        for row in rows_of(table)
    ]


def _heat(shown: np.ndarray, metric: str, *, share: bool) -> dict[str, Any]:
    if share:
        bar = {"title": {"text": "diverged", "side": "right"}, "tickformat": ".0%", "thickness": 14}
        return {"z": shown.astype(np.float32), "zmin": 0, "zmax": 1, "colorscale": "Oranges", "colorbar": bar}
    colours = "Viridis" if higher_is_better(metric) else "Viridis_r"
    bar = {"title": {"text": metric, "side": "right"}, "thickness": 14}
    if metric_axis(metric, shown)["type"] == "log":
        # The colour goes by the logarithm, and the bar says the values themselves.
        with np.errstate(divide="ignore", invalid="ignore"):
            shown = np.log10(shown)
        low, high = np.nanmin(shown), np.nanmax(shown)
        ticks = np.linspace(low, high, 5)
        bar |= {"tickvals": ticks.tolist(), "ticktext": [f"{10**tick:.2g}" for tick in ticks]}
    return {"z": shown.astype(np.float32), "colorscale": colours, "colorbar": bar}


def _written(shown: np.ndarray, diverged: np.ndarray, *, share: bool) -> list[list[str]]:
    def one(value: float, lost: float) -> str:
        if np.isnan(lost):
            return ""
        if share:
            return f"{value:.0%}"
        return "" if np.isnan(value) else f"{value:.3g}"

    return [
        [one(value, lost) for value, lost in zip(*rows, strict=True)]
        for rows in zip(shown, diverged, strict=True)
    ]


def _border(diverged: np.ndarray) -> go.Contour:
    return go.Contour(
        z=diverged.astype(np.float32),
        contours={"coloring": "lines", "start": 0.5, "end": 0.5, "size": 0.1},
        colorscale=[[0, _BORDER], [1, _BORDER]],
        line={"width": 3, "dash": "dash"},
        showscale=False,
        hoverinfo="skip",
        name="half of the trainings diverge",
        showlegend=True,
        connectgaps=True,
    )


def _title(metric: str, x: str, y: str, show: str) -> str:
    what = "Share of trainings that diverged" if show == DIVERGED else f"{metric} at the last step, {show}"
    return f"{what}: {x} by {y}"


def _note(metric: str, show: str, *, border: bool) -> str:
    meaning = {
        BEST: (
            "the mean over seeds of the best cell with its two values, fewer diverged seeds before a better "
            "mean; where all diverged it is grey."
        ),
        MEDIAN: "the median of the means of all cells with its two values; where that diverged it is grey.",
        DIVERGED: "the share of all trainings with its two values, over seeds and all else, that diverged.",
    }[show]
    ends = "Lighter is better" if show != DIVERGED else "Darker breaks more often"
    line = " The dashed line, where half diverge, is the trainability boundary." if border else ""
    return f"A tile is {meaning} {ends}.{line} A click chooses the tile's best cell."
