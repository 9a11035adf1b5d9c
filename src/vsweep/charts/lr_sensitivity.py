"""Answer how sensitive results are: a metric against the learning rate, and the best rate by another axis."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import format_distinct_values, format_value, format_with_error
from vsweep.analysis.lr_sensitivity import Slope
from vsweep.charts import style
from vsweep.charts.style import PALETTE, Chart, cell_points, figure, plain

CITED = "Wortsman et al. 2023, arXiv:2309.14322"


def rates(lines: pd.DataFrame, metric: str, by: str | None) -> Chart:
    """Draw a metric against the learning rate, a line for each value of an axis.

    Args:
        lines: The lines, as `lr_lines` returns them.
        metric: The metric.
        by: The axis; None for one line.
    """
    values = list(dict.fromkeys(lines["by"]))
    traces: list[Any] = []
    for value, colour in zip(values, style.colours(values), strict=True):
        line = lines[lines["by"] == value].sort_values("lr")
        traces += _line(line, metric, f"{by} = {plain(format_value(value))}" if by else metric, colour)
    drawn = figure(
        traces,
        height=420,
        xaxis=style.rate_axis("optimizer.lr", lines["lr"].to_numpy(np.float64)),
        yaxis=style.metric_axis(metric, lines["mean"].to_numpy(np.float64)),
    )
    note = (
        "Each line runs through the best cell with its value; the other cells of the line differ from that "
        "cell in the learning rate alone. Points are means over the seeds that did not diverge, and the band "
        "is one standard error. A star marks the best learning rate, a hollow point diverged seeds."
    )
    return Chart(f"{metric} against the learning rate" + (f", by {by}" if by else ""), drawn, note)


def _line(line: pd.DataFrame, metric: str, name: str, colour: str) -> list[Any]:
    x, mean = line["lr"].to_numpy(np.float64), line["mean"].to_numpy(np.float64)
    sem = line["sem"].fillna(0.0).to_numpy(np.float64)
    known = np.isfinite(mean)
    texts = [
        f"{name}<br>lr {format_value(row['lr'])}: {metric} {format_with_error(row['mean'], row['sem'])}"
        f"<br>{row['diverged']} of {row['seeds']} seeds diverged"
        for row in rows_of(line)
    ]
    best, lost = line["best"].to_numpy(bool), line["diverged"].to_numpy() > 0
    symbols = np.where(best, "star", np.where(lost, "circle-open", "circle")).tolist()
    points = go.Scatter(
        x=x,
        y=mean,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={
            "color": colour,
            "size": np.where(best, 13, 7).tolist(),
            "symbol": symbols,
            "line": {"width": np.where(lost & ~best, 2, 0).tolist()},
        },
        **cell_points(line["cell"], texts),
    )
    return [style.band(x[known], (mean - sem)[known], (mean + sem)[known], colour), points]


def best_rates(best: pd.DataFrame, by: str, fit: Slope | None) -> Chart:
    """Draw the best learning rate for each value of an axis.

    Args:
        best: The best learning rates, as `best_lr` returns them.
        by: The axis.
        fit: The slope of the line through them, if it is known.
    """
    values = best["by"].tolist()
    names = [plain(name) for name in format_distinct_values(values)]
    xaxis = {"title": {"text": style.axis_title(by, values)}, "type": style.scale(values)}
    is_category = xaxis["type"] == "category"
    lr = best["lr"].to_numpy(np.float64)
    low, high = (best[end].fillna(best["lr"]).to_numpy(np.float64) for end in ("low", "high"))
    edge = best["at_edge"].to_numpy(bool)
    texts = [f"{by} = {name}<br>{_describe(row)}" for name, row in zip(names, rows_of(best), strict=True)]
    points = go.Scatter(
        x=names if is_category else best["by"].to_numpy(np.float64),
        y=lr,
        mode="markers",
        error_y={"array": high - lr, "arrayminus": lr - low, "symmetric": False, "thickness": 2},
        marker={"size": 11, "symbol": np.where(edge, "triangle-up-open", "circle").tolist()},
        name="best learning rate",
        **cell_points(best["cell"], texts),
    )
    drawn = figure(
        [points] if fit is None or edge.any() else [points, _fitted_line(best, fit)],
        height=360,
        xaxis=xaxis if is_category else xaxis | {"tickvals": values, "ticktext": names},
        yaxis=style.rate_axis("best optimizer.lr", np.concatenate([low, lr, high])),
    )
    note = (
        "Each line covers the neighbouring learning rates that are statistically tied with the best (95 %)."
    )
    if edge.any():
        note += " A triangle marks a best rate at the edge of the rates that were tried: a better one may lie"
        note += " beyond."
    return Chart(f"The best learning rate by {by}", drawn, note)


def _describe(row: Mapping[str, Any]) -> str:
    """Describe a best learning rate and its range."""
    text = f"best lr {format_value(row['lr'])}"
    if pd.notna(row["low"]):
        text += f", tied with {format_value(row['low'])} to {format_value(row['high'])}"
    return text + ("<br>at the edge of what was tried" if row["at_edge"] else "")


def _fitted_line(best: pd.DataFrame, fit: Slope) -> go.Scatter:
    """Draw the least-squares line through the logarithms of positive values."""
    kept = best[best["by"].astype(float) > 0]
    logs, rates = (np.log(kept[name].to_numpy(np.float64)) for name in ("by", "lr"))
    fitted = np.exp(rates.mean() + fit.slope * (logs - logs.mean()))
    name = f"slope {fit.slope:.2f}" + ("" if np.isnan(fit.low) else f" ({fit.low:.2f} to {fit.high:.2f})")
    look = {"dash": "dash", "color": PALETTE[1]}
    return go.Scatter(x=np.exp(logs), y=fitted, mode="lines", line=look, name=name, hoverinfo="skip")
