"""The report's fifth question: how sensitive results are to the learning rate."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

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

# The number of axes that are shown, at most.
_MOST_AXES = 4
_ALL = "none: all cells"
_NOTE = (
    "Learning-rate sensitivity is the expected loss above the least, E[min(loss(lr), loss at step 0) − least "
    f"loss], for log-uniform learning rates over the range in the next column ({lr_charts.CITED}), averaged "
    "over seeds. A trial that diverged counts with its loss at step 0. All other fields are those of the "
    "cell that is best, by that loss, among the cells with the value. (edge) marks a best learning rate at "
    "the edge of the rates that were tried."
)


def sensitivity(data: ReportData) -> Section:
    """Answer the fifth question: the learning rate."""
    section = Section("sensitive", "How sensitive is it to the learning rate?")
    lines_by = dict(_lines(data))
    if LR not in data.axes:
        section.sentences.append("The learning rate does not vary, so there is no sensitivity to report.")
    elif not lines_by:
        section.sentences.append("No cell has finite values at several learning rates.")
    if not lines_by:
        return section
    rates: Charts = {(by or _ALL,): lr_charts.rates(lines, data.metric, by) for by, lines in lines_by.items()}
    section.blocks.append(Choice(("by",), rates))
    best_charts: Charts = {}
    tables: list[Rows] = []
    for by, lines in lines_by.items():
        best = best_lr(lines)
        tables.append(_sensitivity_table(data, by, best))
        if by is None:
            continue
        fit = fit_slope(data.trials, data.metric, by)
        best_charts[(by,)] = lr_charts.best_rates(best, by, fit)
        section.sentences.extend(_describe_slope(by, best, fit))
    if best_charts:
        section.blocks.append(Choice(("by",), best_charts))
    section.blocks.extend([*tables[:-1], *(replace(table, note=_NOTE) for table in tables[-1:])])
    others = len(data.axes) - 1
    if len(tables) <= others and others > _MOST_AXES:
        section.sentences.append(
            f"{_MOST_AXES} of the {others} other axes are shown, the most important ones."
        )
    return section


def _lines(data: ReportData) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Yield the lines along the learning rate for some axes, and for all cells."""
    axes = [axis for axis in data.by_importance if axis in plottable_axes(data.trials)]
    others = [axis for axis in axes if axis != LR and axis not in data.starts]
    # Readers ask for the width and the initialiser first.
    order = sorted(others, key=lambda axis: axis not in ("model.width", "model.init"))
    for by in [*order[:_MOST_AXES], None]:
        try:
            lines = lr_lines(data.trials, data.metric, by)
        except KeyError:
            # The learning rate does not vary among the cells that have the axis.
            continue
        # A single value offers no comparison, and the line of all cells shows it.
        if lines["mean"].notna().any() and (by is None or lines["by"].nunique() > 1):
            yield by, lines


def _describe_slope(by: str, best: pd.DataFrame, fit: Slope | None) -> list[str]:
    """Describe how the best learning rate depends on an axis, if the slope is known."""
    if fit is None:
        return []
    if best["at_edge"].any():
        return [f"The slope against {by} is unknown: a best learning rate is at the edge of what was tried."]
    sentence = (
        f"The slope of log best learning rate against log {by} is {fit.slope:.2f}, over {fit.values} values"
    )
    if np.isnan(fit.low):
        return [f"{sentence}; with fewer than three seeds its uncertainty is unknown."]
    interval = f"95 % from {fit.low:.2f} to {fit.high:.2f}, bootstrapped over seeds and between rates"
    return [f"{sentence} ({interval}){': a slope of 0 is possible' if fit.low <= 0 <= fit.high else ''}."]


def _sensitivity_table(data: ReportData, by: str | None, best: pd.DataFrame) -> Rows:
    """Return the best learning rate for each value of an axis, and the sensitivity to it."""
    loss = data.loss
    table = lr_sensitivity(data.trials, data.start, loss, by) if loss else pd.DataFrame()
    sensitivities = {
        row["by"]: [format_with_error(row["sensitivity"], row["sem"]), _range(row)] for row in rows_of(table)
    }
    rows = [
        [
            format_value(row["by"]) or "all",
            format_value(row["lr"]) + (" (edge)" if row["at_edge"] else ""),
            "" if pd.isna(row["low"]) else _range(row),
            format_with_error(row["mean"], row["sem"]),
            *sensitivities.get(row["by"], ["", ""]),
        ]
        for row in rows_of(best)
    ]
    first = data.names[by] if by else "cells"
    title = "The best learning rate, and the sensitivity to it" + (f", by {by}" if by else "")
    columns = [
        first,
        "best lr",
        "tied with it (95 %)",
        data.metric,
        f"lr sensitivity ({loss})",
        "range of lr",
    ]
    return Rows(title, columns, rows, best["cell"].tolist())


def _range(row: Mapping[str, Any]) -> str:
    return f"{format_value(row['low'])} to {format_value(row['high'])}"
