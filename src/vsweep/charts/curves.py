"""How did it get there? Curves, the steps that a target takes, and what is final against what was best."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.convergence import (
    Curves,
    downsample_steps,
    median_steps,
    steps_to_targets,
    target_values,
)
from vsweep.analysis.labels import cell_label
from vsweep.analysis.ranking import sample_trials, varied_axes
from vsweep.charts.style import CELLS, GREY, Chart, band, colours, figure, metric_axis, plain
from vsweep.metrics import higher_is_better

# So many of the recorded steps are drawn, and so many trials as points.
STEPS, _POINTS = 60, 2000


def curve_chart(data: Curves, trials: pd.DataFrame, curves: pd.DataFrame, behind: Sequence[int]) -> Chart:
    """Draw the median and the middle half over seeds of some cells, with trials faint behind them.

    Each trace of a cell has its number as `meta`.

    Args:
        data: The curves of the cells.
        trials: The table of trials.
        curves: The curves of these cells, and of the trials behind.
        behind: The numbers of the trials behind.
    """
    metric, few = data.metric, downsample_steps(curves, STEPS)
    traces: list[Any] = [_faint(few[few["trial"].isin(behind)], metric)]
    for curve, colour in zip(data.lines, colours(data.values), strict=True):
        name = f"{data.by} = {curve.name}" if data.by else curve.name
        if len(curve.band):
            traces += _band(
                downsample_steps(curve.band.reset_index(), STEPS), curve.cell, plain(name), metric, colour
            )
    shown = figure(
        traces,
        height=440,
        xaxis={"title": {"text": "step (updates)"}, "zeroline": False},
        yaxis=_metric_axis(trials, few, metric),
        hovermode="closest",
    )
    every = len(trials)
    some = (
        f"{len(behind):,} of {every:,} trials, drawn at random"
        if len(behind) < every
        else f"all {every:,} trials"
    )
    note = (
        "A line is the median over the seeds of a cell that did not diverge, its band their middle half; "
        f"faint lines are {some}. A cell whose seeds all diverged is drawn from all of them. A log axis "
        "begins at step 1."
    )
    note += f" Each line is the best cell with its value of {data.by}." if data.by else ""
    steps = curves["step"].nunique()
    note += f" {STEPS} of {steps:,} recorded steps are drawn." if steps > STEPS else ""
    return Chart(f"{metric} against the step" + (f", by {data.by}" if data.by else ""), shown, note)


def _metric_axis(trials: pd.DataFrame, curves: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Return the axis of a metric over the range of the trials that did not diverge; others leave it."""
    ok = trials.loc[trials["status"] == "ok", "trial"]
    kept = curves if ok.empty else curves[curves["trial"].isin(ok)]
    values = kept[metric].to_numpy(np.float64)
    axis = metric_axis(metric, values)
    known = values[np.isfinite(values)]
    if ok.empty or not len(known):
        return axis
    ends = np.asarray([known.min(), known.max()])
    ends = np.log10(ends) if axis["type"] == "log" else ends
    margin = 0.04 * (ends[1] - ends[0]) or 0.05
    return axis | {"range": [float(ends[0] - margin), float(ends[1] + margin)]}


def _names(trials: pd.DataFrame, cells: Sequence[int]) -> dict[int, str]:
    axes = varied_axes(trials)
    rows = trials[trials["cell"].isin(cells)].drop_duplicates("cell")
    return {int(row["cell"]): plain(cell_label(row, axes)) or "the one cell" for row in rows_of(rows)}


def _faint(kept: pd.DataFrame, metric: str) -> go.Scatter:
    values = kept[metric].to_numpy(np.float32)
    ends = np.flatnonzero(np.diff(kept["trial"].to_numpy())) + 1
    # What is missing breaks the line between two trials.
    x = np.insert(kept["step"].to_numpy(np.float32), ends, np.nan)
    y = np.insert(np.where(np.isfinite(values), values, np.nan), ends, np.nan)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": GREY, "width": 0.8},
        opacity=0.35,
        name="trials",
        hoverinfo="skip",
    )


def _band(line: pd.DataFrame, cell: int, name: str, metric: str, colour: str) -> list[Any]:
    x = line["step"].to_numpy(np.int32)
    low, median, high = (line[part].to_numpy(np.float32) for part in ("low", "median", "high"))
    edge = band(x, low, high, colour, meta={"cell": int(cell), "band": True})
    middle = go.Scatter(
        x=x,
        y=median,
        mode="lines",
        line={"color": colour, "width": 2.5},
        name=name,
        hovertemplate=f"{name}<br>step %{{x}}: {metric} %{{y:.4g}}<extra></extra>",
        meta={"cell": int(cell)},
    )
    return [edge, middle]


def steps_to_target(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, cells: Sequence[int]) -> Chart:
    """How many steps each of some cells takes to reach a value of a metric: the median over its seeds."""
    goals = target_values(curves, metric)
    of = trials.set_index("trial")["cell"]
    kept = curves[curves["trial"].isin(trials.loc[trials["cell"].isin(cells), "trial"])]
    took = median_steps(steps_to_targets(kept, metric, goals), of) if len(goals) else pd.DataFrame()
    names = _names(trials, cells)
    traces = []
    for cell, colour in zip(cells, colours(range(len(cells))), strict=True):
        if cell not in took.index:
            continue
        steps = took.loc[cell].to_numpy(np.float64)
        steps = np.where(np.isfinite(steps), steps, np.nan)
        traces.append(
            go.Scatter(
                x=goals,
                y=steps,
                mode="lines+markers",
                marker={"size": 4},
                line={"color": colour, "width": 2, "shape": "hv"},
                name=names[cell],
                hovertemplate=f"{names[cell]}<br>{metric} %{{x:.4g}} after %{{y}} steps<extra></extra>",
                meta={"cell": int(cell)},
            )
        )
    x = metric_axis(metric, goals) | {"title": {"text": f"target: {metric}"}}
    if not higher_is_better(metric):
        x["autorange"] = "reversed"
    drawn = figure(
        traces,
        height=400,
        xaxis=x,
        yaxis={"title": {"text": "steps until half of the seeds had reached it"}, "rangemode": "tozero"},
    )
    better = "at least" if higher_is_better(metric) else "at most"
    note = (
        f"The first recorded step at which {metric} was {better} the target, the median over seeds; a line "
        "ends where half of the seeds never got further. Further right is harder; seeds that diverge count "
        "as far as they came."
    )
    return Chart(f"Steps to reach a {metric}", drawn, note)


def final_against_best(trials: pd.DataFrame, metric: str) -> Chart:
    """Of each trial the metric at its last step against the best that it had on the way."""
    ok = trials[trials["status"] == "ok"]
    kept = sample_trials(ok, _POINTS)
    x, y = (kept[f"{part}_{metric}"].to_numpy(np.float32) for part in ("best", "final"))
    axes = varied_axes(trials)
    hover = [
        f"{plain(cell_label(row, axes))} seed={row['seed']}"
        f"<br>best {row[f'best_{metric}']:.4g}, final {row[f'final_{metric}']:.4g}"
        for row in rows_of(kept)
    ]
    axis = metric_axis(metric, np.concatenate([x, y]).astype(np.float64))
    points = go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 5, "opacity": 0.55},
        name="a trial",
        customdata=kept["cell"].to_numpy(),
        meta=CELLS,
        hovertext=hover,
        hoverinfo="text",
    )
    known = np.concatenate([x, y])
    known = known[np.isfinite(known)]
    ends = [float(known.min()), float(known.max())] if len(known) else [0.0, 1.0]
    line = go.Scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": GREY, "dash": "dash", "width": 1.5},
        name="final = best",
        hoverinfo="skip",
    )
    drawn = figure(
        [points, line],
        xaxis=axis | {"title": {"text": f"best {metric} on the way"}},
        yaxis=axis | {"title": {"text": f"{metric} at the last step"}},
    )
    worse = "below" if higher_is_better(metric) else "above"
    some = f" {len(kept):,} of {len(ok):,} trials, drawn at random." if len(kept) < len(ok) else ""
    note = f"A point {worse} the line got worse again after its best.{some} Diverged trials are left out."
    return Chart(f"{metric}: final against best", drawn, note)
