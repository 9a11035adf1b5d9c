"""Answer how trials got there: their curves, with bands over the trials of a cell."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.convergence import Curves, downsample_steps
from vsweep.analysis.report_data import ReportData
from vsweep.charts.style import GREY, Chart, band, colors, compact, figure, metric_axis, plain

# The largest number of recorded steps, and of trials as points, that are drawn.
STEPS, _POINTS = 60, 2000


def curve_chart(data: ReportData, curves: pd.DataFrame, lines: Curves) -> Chart:
    """Draw the median and the middle half of the trials of some cells, with faint trials behind them.

    Each trace of a cell has its number as `meta`.

    Args:
        data: The sweep.
        curves: The curves of these cells, and of the trials behind.
        lines: The median and the middle half of each cell.
    """
    metric, behind, few = lines.metric, data.faint_trials, downsample_steps(curves, STEPS)
    traces: list[Any] = [_faint_curves(few[few["trial"].isin(behind)], metric)]
    for curve, color in zip(lines.lines, colors(lines.values), strict=True):
        name = plain(f"{lines.by} = {curve.name}" if lines.by else curve.name)
        if len(curve.band):
            line = downsample_steps(curve.band.reset_index(), STEPS)
            traces += _median_and_band(line, curve.cell, name, metric, color)
    drawn = figure(
        traces,
        height=440,
        xaxis={"title": {"text": "step (updates)"}, "zeroline": False},
        yaxis=_metric_axis(data.trials, few, metric),
        hovermode="closest",
    )
    note = (
        "Each line is the median over the trials of a cell that did not diverge, and its band their middle "
        "half. A cell whose trials all diverged is drawn from all of them. Faint lines are "
        f"{len(behind):,} of {len(data.trials):,} trials. A log axis begins at step 1. At most {STEPS} "
        "recorded steps are drawn."
    )
    note += f" Each line is the best cell with its value of {lines.by}." if lines.by else ""
    return Chart(f"{metric} against the step" + (f", by {lines.by}" if lines.by else ""), drawn, note, "x")


def _metric_axis(trials: pd.DataFrame, curves: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Return an axis over the range of the trials that did not diverge; the others may leave it."""
    ok = trials.loc[trials["status"] == "ok", "trial"]
    shown = curves if ok.empty else curves[curves["trial"].isin(ok)]
    values = shown[metric].to_numpy(np.float64)
    axis = metric_axis(metric, values)
    known = values[np.isfinite(values)]
    if ok.empty or not len(known):
        return axis
    ends = np.asarray([known.min(), known.max()])
    ends = np.log10(ends) if axis["type"] == "log" else ends
    margin = 0.04 * (ends[1] - ends[0]) or 0.05
    return axis | {"range": [float(ends[0] - margin), float(ends[1] + margin)]}


def _faint_curves(shown: pd.DataFrame, metric: str) -> go.Scatter:
    values = compact(shown[metric])
    ends = np.flatnonzero(np.diff(shown["trial"].to_numpy())) + 1
    # A missing point interrupts the line between two trials.
    x = np.insert(shown["step"].to_numpy(np.float32), ends, np.nan)
    y = np.insert(np.where(np.isfinite(values), values, np.nan), ends, np.nan)
    look = {"line": {"color": GREY, "width": 0.8}, "opacity": 0.35, "hoverinfo": "skip"}
    return go.Scatter(x=x, y=y, mode="lines", name="trials", **look)


def _median_and_band(line: pd.DataFrame, cell: int, name: str, metric: str, color: str) -> list[Any]:
    x = line["step"].to_numpy(np.int32)
    low, median, high = (compact(line[part]) for part in ("low", "median", "high"))
    middle = go.Scatter(
        x=x,
        y=median,
        mode="lines",
        line={"color": color, "width": 2.5},
        name=name,
        hovertemplate=f"{name}<br>step %{{x}}: {metric} %{{y:.4g}}<extra></extra>",
        meta={"cell": int(cell)},
    )
    return [band(x, low, high, color, meta={"cell": int(cell), "band": True}), middle]
