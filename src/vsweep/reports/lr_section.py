"""How sensitive is it? The fifth question of a report: the learning rate."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import plottable_axes
from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import format_value, format_with_error
from vsweep.analysis.lr_sensitivity import Slope, best_lr, fit_slope, lr_lines, lr_sensitivity
from vsweep.analysis.report_data import ReportData
from vsweep.charts import lr_sensitivity as lr_charts
from vsweep.metrics import LR
from vsweep.reports.blocks import Charts, Choice, Rows, Section

# Axes that a page has room for.
_MOST_BY = 4
_ALL = "none: all cells"
_NOTE = (
    "Learning-rate sensitivity is the expected loss above the best one, E[min(loss(lr), loss at step 0) "
    f"− best loss], the learning rate log-uniform over the range beside it ({lr_charts.CITED}); a trial "
    "that diverged counts as one at step 0; it is of each seed, then their mean. All other fields are those "
    "of the best cell with the value, by that loss. (edge): the best is at the edge of what was tried."
)


def sensitivity(of: ReportData) -> Section:
    """Answer the fifth question: the learning rate."""
    section = Section("sensitive", "How sensitive is it to the learning rate?")
    found = dict(_lines(of))
    if LR not in of.axes:
        section.words.append("The learning rate does not vary: there is no sensitivity to report.")
    elif not found:
        section.words.append("No cell has several learning rates with finite values to report on.")
    if not found:
        return section
    section.blocks.append(
        Choice(
            ("by",),
            {(by or _ALL,): lr_charts.rates(lines, of.metric, by) for by, lines in found.items()},
        )
    )
    best_charts: Charts = {}
    tables: list[Rows] = []
    for by, lines in found.items():
        best = best_lr(lines)
        tables.append(_sensitivity_table(of, by, best))
        if by is None:
            continue
        fit = fit_slope(of.trials, of.metric, by)
        best_charts[(by,)] = lr_charts.best_rates(best, by, fit)
        section.words.extend(_slope_words(by, best, fit))
    if best_charts:
        section.blocks.append(Choice(("by",), best_charts))
    section.blocks.extend([*tables[:-1], *(replace(table, note=_NOTE) for table in tables[-1:])])
    if len(tables) < len(of.axes) and len(of.axes) - 1 > _MOST_BY:
        section.words.append(
            f"It is by {_MOST_BY} of the {len(of.axes) - 1} other axes, those that explain most first."
        )
    return section


def _lines(of: ReportData) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """The lines along the learning rate by each of some axes, and of all cells."""
    axes = [axis for axis in of.by_importance if axis in plottable_axes(of.trials)]
    others = [axis for axis in axes if axis != LR and axis not in of.starts]
    # The width and the initialiser are what one asks for first.
    order = sorted(others, key=lambda axis: (axis not in ("model.width", "model.init"), others.index(axis)))
    for by in [*order[:_MOST_BY], None]:
        try:
            lines = lr_lines(of.trials, of.metric, by)
        except KeyError:
            # The learning rate does not vary where there is such an axis.
            continue
        # Of one value there is nothing to compare, but what the line of all says.
        if lines["mean"].notna().any() and (by is None or lines["by"].nunique() > 1):
            yield by, lines


def _slope_words(by: str, best: pd.DataFrame, fit: Slope | None) -> list[str]:
    """How the best learning rate goes with an axis, if the numbers carry it."""
    if fit is None:
        return []
    if best["at_edge"].any():
        return [f"Against {by} no slope is known: a best learning rate is at the edge of what was tried."]
    sentence = (
        f"The slope of log best learning rate against log {by} is {fit.slope:.2f}, over {fit.values} values"
    )
    if np.isnan(fit.low):
        return [f"{sentence}; with fewer than three seeds its uncertainty is unknown."]
    interval = f"95 % from {fit.low:.2f} to {fit.high:.2f}, bootstrapped over seeds and between rates"
    if fit.low <= 0 <= fit.high:
        return [f"{sentence} ({interval}): a slope of 0 is not ruled out."]
    return [f"{sentence} ({interval})."]


def _sensitivity_table(of: ReportData, by: str | None, found: pd.DataFrame) -> Rows:
    """The best learning rate for each value of an axis, and how much is lost beside it."""
    loss = of.loss
    table = lr_sensitivity(of.trials, of.start, loss, by) if loss else pd.DataFrame()
    lost = {row["by"]: row for row in rows_of(table)}
    rows, cells = [], []
    for row in rows_of(found):
        near: str = (
            "" if pd.isna(row["low"]) else f"{format_value(row['low'])} to {format_value(row['high'])}"
        )
        edge = " (edge)" if row["at_edge"] else ""
        more = ["", ""]
        if (each := lost.get(row["by"])) is not None:
            reach = f"{format_value(each['low'])} to {format_value(each['high'])}"
            more = [format_with_error(each["sensitivity"], each["sem"]), reach]
        rows.append(
            [
                format_value(row["by"]) or "all",
                format_value(row["lr"]) + edge,
                near,
                format_with_error(row["mean"], row["sem"]),
                *more,
            ]
        )
        cells.append(int(row["cell"]))
    columns = [
        of.names[by] if by else "cells",
        "best lr",
        "tied with it (95 %)",
        of.metric,
        f"lr sensitivity ({loss})",
        "range of lr",
    ]
    return Rows(
        "The best learning rate, and what is lost beside it" + (f", by {by}" if by else ""),
        columns,
        rows,
        cells,
    )
