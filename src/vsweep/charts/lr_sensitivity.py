"""How sensitive is it? The metric against the learning rate, and the best learning rate by another axis."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import format_distinct_values, format_value, format_with_error
from vsweep.analysis.lr_sensitivity import Slope
from vsweep.charts.style import (
    CELLS,
    PALETTE,
    Chart,
    axis_title,
    band,
    colours,
    figure,
    metric_axis,
    plain,
    rate_axis,
    scale,
)

CITED = "Wortsman et al. 2023, arXiv:2309.14322"


def rates(lines: pd.DataFrame, metric: str, by: str | None) -> Chart:
    """A metric against the learning rate, a line per value of an axis. lines: as `lr_lines` gives them."""
    values = list(dict.fromkeys(lines["by"]))
    traces: list[Any] = []
    for value, colour in zip(values, colours(values), strict=True):
        line = lines[lines["by"] == value].sort_values("lr")
        name = f"{by} = {plain(format_value(value))}" if by else metric
        traces += _line(line, metric, name, colour)
    drawn = figure(
        traces,
        height=420,
        xaxis=rate_axis("optimizer.lr", lines["lr"].to_numpy(np.float64)),
        yaxis=metric_axis(metric, lines["mean"].to_numpy(np.float64)),
    )
    note = (
        "Each line goes through the best cell that has its value: all but the learning rate is as in that "
        "cell. Mean over the seeds that did not diverge, its band one standard error; the star is the best, "
        "and a hollow point has diverged seeds."
    )
    return Chart(f"{metric} against the learning rate" + (f", by {by}" if by else ""), drawn, note)


def _line(line: pd.DataFrame, metric: str, name: str, colour: str) -> list[Any]:
    x, mean = line["lr"].to_numpy(np.float64), line["mean"].to_numpy(np.float64)
    sem = line["sem"].fillna(0.0).to_numpy(np.float64)
    known = np.isfinite(mean)
    hover = [
        f"{name}<br>lr {format_value(row['lr'])}: {metric} {format_with_error(row['mean'], row['sem'])}"
        f"<br>{row['diverged']} of {row['seeds']} seeds diverged"
        for row in rows_of(line)
    ]
    best, lost = line["best"].to_numpy(bool), line["diverged"].to_numpy() > 0
    edge = band(x[known], (mean - sem)[known], (mean + sem)[known], colour)
    points = go.Scatter(
        x=x,
        y=mean,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={
            "color": colour,
            "size": np.where(best, 13, 7).tolist(),
            "symbol": np.where(best, "star", np.where(lost, "circle-open", "circle")).tolist(),
            "line": {"width": np.where(lost & ~best, 2, 0).tolist()},
        },
        customdata=line["cell"].to_numpy(),
        meta=CELLS,
        hovertext=hover,
        hoverinfo="text",
    )
    return [edge, points]


def best_rates(best: pd.DataFrame, by: str, fit: Slope | None) -> Chart:
    """The best learning rate for each value of an axis.

    best: as `best_lr` gives it. fit: the line through them.
    """
    values = best["by"].tolist()
    kind = scale(values)
    names = [plain(name) for name in format_distinct_values(values)]
    x = names if kind == "category" else best["by"].to_numpy(np.float64)
    lr = best["lr"].to_numpy(np.float64)
    low, high = (best[end].fillna(best["lr"]).to_numpy(np.float64) for end in ("low", "high"))
    edge = best["at_edge"].to_numpy(bool)
    points = go.Scatter(
        x=x,
        y=lr,
        mode="markers",
        error_y={"array": high - lr, "arrayminus": lr - low, "symmetric": False, "thickness": 2},
        marker={"size": 11, "symbol": np.where(edge, "triangle-up-open", "circle").tolist()},
        name="best learning rate",
        customdata=best["cell"].to_numpy(),
        meta=CELLS,
        hovertext=[f"{by} = {name}<br>{_range(row)}" for name, row in zip(names, rows_of(best), strict=True)],
        hoverinfo="text",
    )
    traces = [points] if fit is None or edge.any() else [points, _fitted(best, fit)]
    across = {"title": {"text": axis_title(by, values)}, "type": kind}
    drawn = figure(
        traces,
        height=360,
        xaxis=across if kind == "category" else across | {"tickvals": values, "ticktext": names},
        yaxis=rate_axis("best optimizer.lr", np.concatenate([low, lr, high])),
    )
    note = "A line covers the neighbouring learning rates that are statistically tied with the best (95 %)."
    if edge.any():
        note += " Triangles are at the edge of what was tried, so the best may lie beyond."
    return Chart(f"The best learning rate by {by}", drawn, note)


def _range(row: Mapping[str, Any]) -> str:
    """A best learning rate in words."""
    text = f"best lr {format_value(row['lr'])}"
    if pd.notna(row["low"]):
        text += f", tied with {format_value(row['low'])} to {format_value(row['high'])}"
    return text + ("<br>at the edge of what was tried" if row["at_edge"] else "")


def _fitted(best: pd.DataFrame, fit: Slope) -> go.Scatter:
    """The line of least squares through the logarithms of positive values."""
    kept = best[best["by"].astype(float) > 0]
    logs, rates = (np.log(kept[name].to_numpy(np.float64)) for name in ("by", "lr"))
    along = np.exp(rates.mean() + fit.slope * (logs - logs.mean()))
    name = f"slope {fit.slope:.2f}" + ("" if np.isnan(fit.low) else f" ({fit.low:.2f} to {fit.high:.2f})")
    look = {"dash": "dash", "color": PALETTE[1]}
    return go.Scatter(x=np.exp(logs), y=along, mode="lines", line=look, name=name, hoverinfo="skip")
