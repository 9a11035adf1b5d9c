"""Answer what matters: the effect of each axis, and its importance."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.axis_scale import MOST_VALUES
from vsweep.analysis.cells import rows_of
from vsweep.analysis.importance import Importance
from vsweep.analysis.labels import format_distinct_values, format_value, short_axis_names
from vsweep.analysis.marginals import effects
from vsweep.charts import style
from vsweep.charts.style import GREY, PALETTE, Chart, figure

# A numeric axis with more values than this has bands in place of boxes.
_MOST_BOXES = 12
_MOST_BARS = 14
# The bar of a smaller share would be invisible.
_VISIBLE_SHARE = 0.005


def can_show(column: pd.Series) -> bool:
    """Return whether the effect of these values can be drawn: they are few, or they are numbers."""
    return column.nunique() <= MOST_VALUES or style.scale(column.unique().tolist()) != "category"


def effect(trials: pd.DataFrame, cells: pd.DataFrame, axis: str, metric: str) -> Chart:
    """Draw a metric against the values of an axis, with its spread over the other axes and seeds.

    Args:
        trials: The table of trials.
        cells: The table of cells, as `rank_cells` returns it.
        axis: The axis, by its dotted path.
        metric: The metric.

    Raises:
        KeyError: If there is no such axis.
    """
    table = effects(trials, cells, axis, metric)
    many = len(table) > _MOST_BOXES and style.scale(table["value"].tolist()) != "category"
    table = table[table["value"].notna()] if many else table
    values = table["value"].tolist()
    # Boxes are spaced evenly, whatever the distance between their values.
    x = np.asarray(values, np.float64) if many else np.arange(len(table), dtype=np.float64)
    known = table["q1"].notna().to_numpy()
    best = go.Scatter(
        x=x,
        y=table["best"].to_numpy(np.float64),
        mode="lines+markers",
        line={"color": PALETTE[1], "dash": "dot", "width": 1.5},
        marker={"symbol": "diamond", "size": 9},
        name="the best cell's mean over seeds",
        **style.cell_points(table["cell"], _hover_texts(table, axis)),
    )
    xaxis = style.category_axis(axis, values)
    if many:
        xaxis = {"title": {"text": style.axis_title(axis, values)}, "type": style.scale(values)}
    spread = table[["low", "q1", "median", "q3", "high", "best"]].to_numpy(np.float64)
    traces = [*(_bands if many else _boxes)(x[known], table[known]), best]
    drawn = figure(traces, xaxis=xaxis, yaxis=style.metric_axis(metric, spread))
    note = (
        "The line is the median over all trials with a value; the bands are their middle half and 90 %."
        if many
        else "Each box is the middle half of all trials with a value; its line is their median, and its "
        "whiskers end at 5 % and 95 %."
    )
    note += " Diverged trials are left out."
    if table["value"].isna().any():
        note += " – stands for the cells that lack the field."
    return Chart(f"{metric} at the last step by {axis}", drawn, note)


def _hover_texts(table: pd.DataFrame, axis: str) -> list[str]:
    names = [style.plain(name) for name in format_distinct_values(table["value"])]
    return [
        f"{axis} = {name}<br>best cell {format_value(row['best'])}<br>median {format_value(row['median'])}"
        f"<br>middle half {format_value(row['q1'])} to {format_value(row['q3'])}"
        f"<br>{row['diverged']:.0%} of {row['trials']:,} trials diverged"
        for name, row in zip(names, rows_of(table), strict=True)
    ]


def _boxes(x: np.ndarray, table: pd.DataFrame) -> list[Any]:
    fields = {"lowerfence": "low", "q1": "q1", "median": "median", "q3": "q3", "upperfence": "high"}
    quantiles = {name: table[column].to_numpy(np.float64) for name, column in fields.items()}
    look = {"marker": {"color": PALETTE[0]}, "line": {"width": 1.5}, "whiskerwidth": 0.4, "hoverinfo": "y"}
    return [go.Box(x=x, **quantiles, name="all trials with this value", **look)]


def _bands(x: np.ndarray, table: pd.DataFrame) -> list[Any]:
    traces = []
    for low, high, name, alpha in (("low", "high", "90 %", 0.12), ("q1", "q3", "middle half", 0.25)):
        below, above = (table[end].to_numpy(np.float64) for end in (low, high))
        traces.append(style.band(x, below, above, PALETTE[0], alpha, name=name, showlegend=True))
    look = {"mode": "lines", "line": {"color": PALETTE[0]}, "hoverinfo": "skip"}
    return [*traces, go.Scatter(x=x, y=table["median"].to_numpy(np.float64), name="median", **look)]


def importance_bars(importance: Importance, axes: list[str]) -> Chart:
    """Draw the share of the variance of ranks that each axis and each pair of axes explains.

    Args:
        importance: The shares.
        axes: The axes that vary.
    """
    bars = _bar_table(importance, axes)
    share, error = (100 * bars[name].to_numpy(np.float64) for name in ("share", "sem"))
    texts = [
        f"{name}: {share:.1f} %" + ("" if np.isnan(error) else f" ± {error:.1f} %")
        for name, share, error in zip(bars["name"], share, error, strict=True)
    ]
    bar = go.Bar(
        y=bars["name"].tolist(),
        x=share,
        orientation="h",
        marker={"color": bars["colour"].tolist()},
        error_x={"array": np.nan_to_num(error), "thickness": 1.5, "color": GREY},
        hovertext=texts,
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
        "Functional ANOVA over the grid (Hutter, Hoos and Leyton-Brown 2014), in which all values of an axis "
        "have the same weight. Trials are compared by rank, diverged ones last, so the metric's scale and "
        "outliers do not matter. A × B is the effect of two axes together beyond the effects of each alone."
    )
    if not np.isnan(importance.seed):
        note += " An effect counts only as far as it is repeated with other seeds; the rest is luck. An "
        note += "estimated share may be below 0 by chance."
    if importance.effects["sem"].notna().any():
        note += " Lines show one standard error, by the jackknife over seeds."
    return Chart("Share of the differences between trials that each axis explains", drawn, note)


def _bar_table(importance: Importance, axes: list[str]) -> pd.DataFrame:
    """Return a row for each bar: `name`, `share`, `sem` and `colour`."""
    names, effects = short_axis_names(axes), importance.effects
    visible = (effects["axes"].map(len) == 1) | (effects["share"].abs() >= _VISIBLE_SHARE)
    table = effects[visible].head(_MOST_BARS)
    bars = table[["share", "sem"]].assign(
        name=[" × ".join(names[axis] for axis in pair) for pair in table["axes"]],
        colour=[PALETTE[len(pair) - 1] for pair in table["axes"]],
    )
    others = effects.drop(table.index)
    rest = []
    if len(others):
        rest.append((f"the other {len(others)}", float(others["share"].sum())))
    if len(axes) > 2:
        rest.append(("three or more", importance.rest))
    if not np.isnan(importance.seed):
        rest.append(("luck: the seed", importance.seed))
    grey = pd.DataFrame(rest, columns=["name", "share"]).assign(sem=np.nan, colour=GREY)
    return pd.concat([bars, grey.astype({"share": float})], ignore_index=True) if rest else bars
