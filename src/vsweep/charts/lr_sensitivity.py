"""Answer how sensitive results are: a metric against the learning rate, and the best rate by another axis."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import format_value, format_with_error
from vsweep.charts import style
from vsweep.charts.style import Chart, cell_points, figure, plain

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
    for value, color in zip(values, style.colors(values), strict=True):
        line = lines[lines["by"] == value].sort_values("lr")
        traces += _line(line, metric, f"{by} = {plain(format_value(value))}" if by else metric, color)
    drawn = figure(
        traces,
        height=420,
        xaxis=style.rate_axis("optimizer.lr", lines["lr"].to_numpy(np.float64)),
        yaxis=style.metric_axis(metric, lines["mean"].to_numpy(np.float64)),
    )
    note = (
        "Each line runs through the best cell with its value; the other cells of the line differ from that "
        "cell in the learning rate alone. Points are means over the trials that did not diverge, and the "
        "band is ± one standard error, as in the table of cells. A star marks the best learning rate, a "
        "hollow point diverged trials."
    )
    return Chart(f"{metric} against the learning rate" + (f", by {by}" if by else ""), drawn, note)


def _line(line: pd.DataFrame, metric: str, name: str, color: str) -> list[Any]:
    x, mean = line["lr"].to_numpy(np.float64), line["mean"].to_numpy(np.float64)
    error = line["error"].fillna(0.0).to_numpy(np.float64)
    known = np.isfinite(mean)
    texts = [
        f"{name}<br>lr {format_value(row['lr'])}: {metric} {format_with_error(row['mean'], row['error'])}"
        f"<br>{row['diverged']} of {row['seeds']} trials diverged"
        for row in rows_of(line)
    ]
    best, lost = line["best"].to_numpy(bool), line["diverged"].to_numpy() > 0
    symbols = np.where(best, "star", np.where(lost, "circle-open", "circle")).tolist()
    points = go.Scatter(
        x=x,
        y=mean,
        mode="lines+markers",
        name=name,
        line={"color": color, "width": 2},
        marker={"color": color, "size": np.where(best, 13, 7).tolist(), "symbol": symbols},
        **cell_points(line["cell"], texts),
    )
    return [style.band(x[known], (mean - error)[known], (mean + error)[known], color), points]
