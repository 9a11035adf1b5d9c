"""What matters? The effect of each axis, and its importance."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.axis_scale import MOST_VALUES
from vsweep.analysis.cells import rows_of
from vsweep.analysis.importance import Importance
from vsweep.analysis.labels import format_distinct_values, format_value, short_axis_names
from vsweep.analysis.marginals import effects
from vsweep.charts.style import (
    CELLS,
    GREY,
    PALETTE,
    Chart,
    axis_title,
    band,
    figure,
    metric_axis,
    places,
    plain,
    scale,
)

# Of more values an axis has bands instead of boxes.
_MOST_BOXES = 12
_MOST_BARS = 14
_SEEN = 0.005


def shows(column: pd.Series) -> bool:
    """Whether an effect of these values can be looked at: they are few, or numbers."""
    return column.nunique() <= MOST_VALUES or scale(column.unique().tolist()) != "category"


def effect(trials: pd.DataFrame, cells: pd.DataFrame, axis: str, metric: str) -> Chart:
    """A metric against the values of an axis, with its spread over all else.

    cells: as `rank_cells` gives them.
    """
    table = effects(trials, cells, axis, metric)
    many = len(table) > _MOST_BOXES and scale(table["value"].tolist()) != "category"
    table = table[table["value"].notna()] if many else table
    values = table["value"].tolist()
    # Boxes stand side by side, whatever lies between their values.
    at = np.asarray(values, np.float64) if many else np.arange(len(table), dtype=np.float64)
    known = table["q1"].notna().to_numpy()
    best = go.Scatter(
        x=at,
        y=table["best"].to_numpy(np.float64),
        mode="lines+markers",
        line={"color": PALETTE[1], "dash": "dot", "width": 1.5},
        marker={"symbol": "diamond", "size": 9},
        name="the best cell's mean over seeds",
        customdata=table["cell"].to_numpy(),
        meta=CELLS,
        hovertext=_hovers(table, axis),
        hoverinfo="text",
    )
    across = (
        {"title": {"text": axis_title(axis, values)}, "type": scale(values)} if many else places(axis, values)
    )
    spread = table[["low", "q1", "median", "q3", "high", "best"]].to_numpy(np.float64)
    drawn = figure(
        [*(_bands if many else _boxes)(at[known], table[known]), best],
        xaxis=across,
        yaxis=metric_axis(metric, spread),
    )
    box = "A box is the middle half of all trials with a value, its line the median, its whiskers 5 and 95 %"
    line = "The line is the median of all trials with a value, the bands their middle half and 90 %"
    note = f"{line if many else box}, whatever else they have; diverged trials are left out."
    if table["value"].isna().any():
        note += " – is of the cells that lack the field."
    return Chart(f"{metric} at the last step by {axis}", drawn, note)


def _hovers(table: pd.DataFrame, axis: str) -> list[str]:
    names = [plain(name) for name in format_distinct_values(table["value"])]
    return [
        f"{axis} = {name}<br>best cell {format_value(row['best'])}<br>median {format_value(row['median'])}"
        f"<br>middle half {format_value(row['q1'])} to {format_value(row['q3'])}"
        f"<br>{row['diverged']:.0%} of {row['trials']:,} trials diverged"
        for name, row in zip(names, rows_of(table), strict=True)
    ]


def _boxes(at: np.ndarray, table: pd.DataFrame) -> list[Any]:
    quantiles = {"lowerfence": "low", "q1": "q1", "median": "median", "q3": "q3", "upperfence": "high"}
    return [
        go.Box(
            x=at,
            **{ours: table[theirs].to_numpy(np.float64) for ours, theirs in quantiles.items()},
            name="all trials with this value",
            marker={"color": PALETTE[0]},
            line={"width": 1.5},
            hoverinfo="y",
            whiskerwidth=0.4,
        )
    ]


def _bands(x: np.ndarray, table: pd.DataFrame) -> list[Any]:
    made = []
    for low, high, name, alpha in (("low", "high", "90 %", 0.12), ("q1", "q3", "middle half", 0.25)):
        below, above = (table[end].to_numpy(np.float64) for end in (low, high))
        made.append(band(x, below, above, PALETTE[0], alpha, name=name, showlegend=True))
    median = table["median"].to_numpy(np.float64)
    made.append(
        go.Scatter(x=x, y=median, mode="lines", line={"color": PALETTE[0]}, name="median", hoverinfo="skip")
    )
    return made


def importance_bars(found: Importance, axes: list[str]) -> Chart:
    """The share of the variance of ranks that each axis and pair of axes carries. axes: that vary."""
    bars = _shares(found, axes)
    share = bars["share"].to_numpy(np.float64)
    error = 100 * bars["sem"].fillna(0.0).to_numpy(np.float64)
    bar = go.Bar(
        y=bars["name"].tolist(),
        x=100 * share,
        orientation="h",
        marker={"color": bars["colour"].tolist()},
        error_x={"array": error, "thickness": 1.5, "color": GREY},
        hovertext=[
            f"{row['name']}: {100 * row['share']:.1f} %"
            + ("" if pd.isna(row["sem"]) else f" ± {100 * row['sem']:.1f} %")
            for row in rows_of(bars)
        ],
        hoverinfo="text",
    )
    drawn = figure(
        [bar],
        height=110 + 26 * len(bars),
        xaxis={"title": {"text": "share of variance, %"}},
        yaxis={"autorange": "reversed", "automargin": True},
        showlegend=False,
    )
    note = (
        "Functional ANOVA over the grid (Hutter, Hoos and Leyton-Brown 2014), every value of an axis "
        "counting the same. A trial counts by its rank, diverged ones last, so that neither the metric's "
        "scale nor its outliers decide. A × B is what two axes do together beyond what each does alone."
    )
    if not np.isnan(found.seed):
        note += " Only what comes back with another seed is an axis's; the rest is luck. By chance a share "
        note += "may fall below 0."
    if found.effects["sem"].notna().any():
        note += " Lines are one standard error, by the jackknife over seeds."
    return Chart("How much of the differences between trials each axis explains", drawn, note)


def _shares(found: Importance, axes: list[str]) -> pd.DataFrame:
    """A row for each bar: `name`, `share`, `sem` and `colour`."""
    short_of = short_axis_names(axes)
    # What is too small to be seen is seen together.
    seen = (found.effects["axes"].map(len) == 1) | (found.effects["share"].abs() >= _SEEN)
    table = found.effects[seen].head(_MOST_BARS)
    bars = table[["share", "sem"]].assign(
        name=[" × ".join(short_of[axis] for axis in pair) for pair in table["axes"]],
        colour=[PALETTE[len(pair) - 1] for pair in table["axes"]],
    )
    left = found.effects.drop(table.index)
    more = []
    if len(left):
        more.append((f"the other {len(left)}", float(left["share"].sum())))
    if len(axes) > 2:
        more.append(("three or more", found.rest))
    if not np.isnan(found.seed):
        more.append(("luck: the seed", found.seed))
    grey = pd.DataFrame(more, columns=["name", "share"]).assign(sem=np.nan, colour=GREY)
    return pd.concat([bars, grey.astype({"share": float})], ignore_index=True) if more else bars
