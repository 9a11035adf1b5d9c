"""Answer what is best, and what matters: the leading cells, and the effect and importance of each axis."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.axis_scale import MOST_VALUES, scale
from vsweep.analysis.cells import rows_of
from vsweep.analysis.importance import Importance
from vsweep.analysis.labels import format_distinct_values, format_value
from vsweep.analysis.marginals import effects
from vsweep.analysis.report_data import ReportData
from vsweep.charts.style import GREY, PALETTE, Chart, category_axis, cell_points, figure, metric_axis, plain

_MOST_CELLS, _MOST_BARS = 20, 14
# The bar of a smaller share would be invisible.
_VISIBLE_SHARE = 0.005


def can_show(column: pd.Series) -> bool:
    """Return whether the effect of these values can be drawn: they are few, or they are numbers."""
    return column.nunique() <= MOST_VALUES or scale(column.unique()) != "category"


def effect(data: ReportData, axis: str) -> Chart:
    """Draw the metric against the values of an axis, with its spread over the other axes and seeds.

    Raises:
        KeyError: If there is no such axis.
    """
    table = effects(data.trials, data.cells, axis, data.metric)
    boxes = table[table["q1"].notna()]
    ends = {"lowerfence": "low", "q1": "q1", "median": "median", "q3": "q3", "upperfence": "high"}
    box = go.Box(
        x=boxes.index.to_numpy(),
        **{end: boxes[column].to_numpy(np.float64) for end, column in ends.items()},
        name="all trials with this value",
        marker={"color": PALETTE[0]},
        line={"width": 1.5},
        whiskerwidth=0.4,
        hoverinfo="y",
    )
    best = go.Scatter(
        x=table.index.to_numpy(),
        y=table["best"].to_numpy(np.float64),
        mode="lines+markers",
        line={"color": PALETTE[1], "dash": "dot", "width": 1.5},
        marker={"symbol": "diamond", "size": 9},
        name="the best cell's mean",
        **cell_points(table["cell"], _hover_texts(table, axis)),
    )
    yaxis = metric_axis(data.metric, table[[*ends.values(), "best"]].to_numpy(np.float64))
    drawn = figure([box, best], xaxis=category_axis(axis, table["value"].tolist()), yaxis=yaxis)
    note = (
        "Each box is the middle half of all trials with a value; its line is their median, and its whiskers "
        "end at 5 % and 95 %. Diverged trials are left out."
    )
    note += " – stands for the cells that lack the field." if table["value"].isna().any() else ""
    return Chart(f"{data.metric} at the last step by {axis}", drawn, note)


def _hover_texts(table: pd.DataFrame, axis: str) -> list[str]:
    names = [plain(name) for name in format_distinct_values(table["value"])]
    return [
        f"{axis} = {name}<br>best cell {format_value(row['best'])}<br>median {format_value(row['median'])}"
        f"<br>middle half {format_value(row['q1'])} to {format_value(row['q3'])}"
        f"<br>{row['diverged']:.0%} of {row['trials']:,} trials diverged"
        for name, row in zip(names, rows_of(table), strict=True)
    ]


def importance_bars(importance: Importance, names: Mapping[str, str], replicate: str) -> Chart:
    """Draw the share of the variance of ranks that each axis and each pair of axes explains.

    Args:
        importance: The shares.
        names: The short name of each axis that varies.
        replicate: What the cells are repeated with, seed or split.
    """
    effects = importance.effects
    visible = (effects["axes"].map(len) == 1) | (effects["share"].abs() >= _VISIBLE_SHARE)
    shown = effects[visible].head(_MOST_BARS)
    bars = []
    for row in rows_of(shown):
        name = " × ".join(names[axis] for axis in row["axes"])
        bars.append((name, row["share"], row["sem"], PALETTE[len(row["axes"]) - 1]))
    others = effects.drop(shown.index)
    if len(others):
        bars.append((f"other effects ({len(others)})", others["share"].sum(), np.nan, GREY))
    if len(names) > 2:
        bars.append(("three or more axes", importance.rest, np.nan, GREY))
    if not np.isnan(importance.seed):
        bars.append((f"luck: the {replicate}", importance.seed, np.nan, GREY))
    bar_names, shares, errors, bar_colors = zip(*bars, strict=True)
    share, error = 100.0 * np.asarray(shares), 100.0 * np.asarray(errors)
    texts = [
        f"{name}: {share:.1f} %" + ("" if np.isnan(error) else f" ± {error:.1f} %")
        for name, share, error in zip(bar_names, share, error, strict=True)
    ]
    bar = go.Bar(
        y=bar_names,
        x=share,
        orientation="h",
        marker={"color": bar_colors},
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
        "outliers do not matter. A × B is the part of two axes beyond the effects of each alone. Ranks bend "
        "a response that is additive in the metric, so A × B is no sign that the axes interact: the report "
        "says that they do only if the order of two values of one changes with the other, which no scale of "
        "the metric removes (with 95 % confidence, for all comparisons together). With several "
        f"{replicate}s, an effect counts only as far as it is repeated with other {replicate}s; the rest is "
        "luck, and an estimated share may be below 0 by chance. Lines show one standard error over three or "
        f"more {replicate}s; a 95 % interval takes Student's quantile, with one degree of freedom less than "
        f"{replicate}s."
    )
    return Chart("Share of the differences between trials that each axis explains", drawn, note)
