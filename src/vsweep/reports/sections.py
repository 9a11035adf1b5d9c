"""The questions that a report answers, in their order, each with its sentences, charts and tables."""

import re
from collections.abc import Iterable

import pandas as pd

from vsweep.analysis import significance
from vsweep.analysis.axis_scale import heatmap_pairs
from vsweep.analysis.cells import rows_of
from vsweep.analysis.convergence import curves_of, downsample_steps
from vsweep.analysis.importance import describe
from vsweep.analysis.labels import cell_label, format_value, format_with_error
from vsweep.analysis.marginals import heat_map
from vsweep.analysis.ranking import describe_test
from vsweep.analysis.report_data import ReportData
from vsweep.charts import curves as curve_charts
from vsweep.charts import effects as effect_charts
from vsweep.charts import heatmaps as heatmap_charts
from vsweep.charts import leading_cells as leading_charts
from vsweep.metrics import final_values
from vsweep.reports.blocks import Charts, Choice, Rows, Section
from vsweep.reports.lr_section import sensitivity

# The number of cells in the table, at most.
_ROWS = 20


def sections(data: ReportData) -> list[Section]:
    """Return all sections; one without an answer says why."""
    return [answer(data) for answer in (best, matters, good_region, got_there, sensitivity)]


def best(data: ReportData) -> Section:
    """Answer the first question: the best cell, and how sure that is."""
    section = Section("best", "What is best, and is it sure?")
    cells, metric, sentences = data.cells, data.metric, section.sentences
    first = rows_of(cells.head(1))[0]
    if pd.isna(first["mean"]):
        all_diverged = data.diverged == len(data.trials)
        reason = "every trial diverged" if all_diverged else "it was not recorded, or is not finite"
        sentences.append(f"No cell has a {metric}: {reason}.")
    else:
        name = cell_label(first, data.axes) or "The one cell"
        own = data.trials[data.trials["cell"] == first["cell"]]
        n = int(final_values(own, metric).notna().sum())
        over = f"the mean ± standard error over {n} seeds" if n > 1 else "for one seed"
        value = format_with_error(first["mean"], first["sem"])
        sentences.append(f"{name}: {metric} {value} at the last step, {over}.")
        if first["diverged"]:
            sentences.append(f"{first['diverged']} of its {first['seeds']} seeds diverged.")
        test = describe_test(data.sweep.trials, metric)
        sentences.extend(filter(None, [_describe_lead(data), _sentence(test) if test else ""]))
    section.blocks.append(_table(data))
    if cells["mean"].notna().any() and len(cells) > 1:
        section.blocks.append(leading_charts.leading(data.trials, cells, metric))
    return section


def _describe_lead(data: ReportData) -> str:
    """Say in a sentence whether the first cell is really the best."""
    if len(data.cells) == 1:
        return "There is only one cell, so there is nothing to compare it with."
    if data.is_seedless:
        ties = int((data.cells["mean"] == data.cells["mean"].iloc[0]).sum())
        shared = f", and {ties:,} cells share the best value" if ties > 1 else ""
        return f"The seed changes nothing here: there is no luck in it{shared}."
    lead = significance.describe_lead(data.cells)
    return _sentence(lead) if lead else ""


def _table(data: ReportData) -> Rows:
    shown, tied = data.cells.head(_ROWS), significance.tied_with_best(data.cells).tolist()
    rows = [
        [
            str(i + 1),
            *(format_value(row[axis]) for axis in data.axes),
            format_with_error(row["mean"], row["sem"]),
            f"{row['diverged']}/{row['seeds']}",
            "" if i == 0 or data.is_seedless or pd.isna(row["chance"]) else _probability(row["chance"]),
            "≈" if tied[i] and not data.is_seedless else "",
        ]
        for i, row in enumerate(rows_of(shown))
    ]
    cells = f"{len(data.cells):,} cells"
    title = f"The best {len(shown)} of {cells}" if len(data.cells) > len(shown) else "All cells"
    note = (
        "P(worse) is the probability that a cell is really worse than the first, by the paired t-test over "
        "seeds; ≈ marks the cells that are statistically tied with the first, allowing for its choice among "
        "all (Bonferroni, 95 %). A cell of which fewer seeds diverged comes first."
    )
    axes = [data.names[axis] for axis in data.axes]
    columns = ["", *axes, f"{data.metric}, mean ± se", "diverged", "P(worse)", "≈"]
    return Rows(title, columns, rows, shown["cell"].tolist(), note)


def _probability(chance: float) -> str:
    return "> 0.999" if chance > 0.999 else f"{chance:.3f}"


def matters(data: ReportData) -> Section:
    """Answer the second question: the effect of each axis."""
    section = Section("matters", "What matters?")
    if not data.axes:
        section.sentences.append("No axis varies, so there is nothing to compare.")
        return section
    if isinstance(data.importance, str):
        section.sentences.append(f"The importance of the axes is unknown: {data.importance}.")
    else:
        lines = describe(data.importance)
        # Where the seed changes nothing, luck is no explanation.
        kept = [line for line in lines if not (data.is_seedless and re.search("seeds|luck", line))]
        section.sentences.extend(_sentence(line, data.names.values()) for line in kept)
        section.blocks.append(effect_charts.importance_bars(data.importance, data.axes))
    shown = [axis for axis in data.by_importance if effect_charts.can_show(data.trials[axis])]
    if data.cells["mean"].notna().any() and shown:
        trials, cells, metric = data.trials, data.cells, data.metric
        charts: Charts = {(axis,): effect_charts.effect(trials, cells, axis, metric) for axis in shown}
        section.blocks.append(Choice(("axis",), charts))
    if omitted := [data.names[axis] for axis in data.axes if axis not in shown]:
        section.sentences.append(f"Axes with too many names to be drawn: {', '.join(omitted)}.")
    return section


def _sentence(text: str, names: Iterable[str] = ()) -> str:
    """Return text with a capital and a full stop; a name that it begins with stays as it is."""
    capital = text if text.startswith(tuple(names)) else text[:1].upper() + text[1:]
    return capital.rstrip(".") + "."


def good_region(data: ReportData) -> Section:
    """Answer the third question: maps over two axes."""
    section = Section("where", "Where is the good region, and where does training break?")
    share = (
        f"{data.diverged:,} of {len(data.trials):,} trials diverged ({data.diverged / len(data.trials):.0%})."
    )
    section.sentences.append(share if data.diverged else "No trial diverged.")
    place = data.by_importance.index
    pairs = sorted(heatmap_pairs(data.trials), key=lambda pair: place(pair[0]) + place(pair[1]))
    if not pairs:
        section.sentences.append(
            "A map takes two axes that vary."
            if len(data.axes) < 2
            else "There is no map: the axes were drawn together, or have too many values."
        )
        return section
    total = len(data.axes) * (len(data.axes) - 1) // 2
    if len(pairs) < total:
        section.sentences.append(
            f"{len(pairs)} of {total} pairs of axes have maps: those with few values, mostly trained."
        )
    charts: Charts = {
        (f"{x} × {y}", show): chart
        for x, y in pairs
        for show, chart in heatmap_charts.maps(heat_map(data.trials, data.cells, x, y, data.metric)).items()
    }
    section.blocks.append(Choice(("axes", "tiles"), charts))
    return section


def got_there(data: ReportData) -> Section:
    """Answer the fourth question: curves."""
    section = Section("how", "How did it get there?")
    trials, curves, cells = data.trials, data.curves, data.shown_cells
    metrics = [name for name in data.metrics if curves[name].notna().any()]
    if not metrics:
        section.sentences.append("No curve is finite.")
        return section
    if len(cells) < len(data.cells):
        section.sentences.append(
            f"The curves of {len(cells):,} of {len(data.cells):,} cells are shown: the best ones, and others "
            "spread over all places."
        )
    few = downsample_steps(curves, curve_charts.STEPS)
    charts: Charts = {
        (name,): curve_charts.curve_chart(
            curves_of(trials, few, name, cells), trials, curves, data.faint_trials
        )
        for name in metrics
    }
    section.blocks.append(Choice(("metric",), charts))
    if data.metric in metrics:
        chart = curve_charts.steps_to_target(trials, curves, data.metric, cells)
        if chart.figure.data:
            section.blocks.append(chart)
        else:
            section.sentences.append(
                f"{data.metric} never improved on step 0, so there is no target to reach."
            )
    if f"best_{data.metric}" in trials and data.diverged < len(trials):
        section.blocks.append(curve_charts.final_against_best(trials, data.metric))
    return section
