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
from vsweep.analysis.report_data import ReportData
from vsweep.charts import curves as curve_charts
from vsweep.charts import effects as effect_charts
from vsweep.charts import heatmaps as heatmap_charts
from vsweep.charts import leading_cells as leading_charts
from vsweep.metrics import final_values
from vsweep.reports.blocks import Charts, Choice, Rows, Section
from vsweep.reports.lr_section import sensitivity

# Cells that a page has room for.
_ROWS = 20


def sections(subject: ReportData) -> list[Section]:
    """Return all sections; one without an answer says why."""
    return [make(subject) for make in (best, matters, good_region, got_there, sensitivity)]


def best(of: ReportData) -> Section:
    """Answer the first question: the best cell, and how sure that is."""
    section = Section("best", "What is best, and is it sure?")
    cells, metric, words = of.cells, of.metric, section.words
    first = rows_of(cells.head(1))[0]
    if pd.isna(first["mean"]):
        words.append(
            f"No cell has a {metric}: "
            + (
                "every trial diverged."
                if of.diverged == len(of.trials)
                else "it was not recorded, or is not finite."
            )
        )
    else:
        name = cell_label(first, of.axes) or "The one cell"
        mine = of.trials[of.trials["cell"] == first["cell"]]
        n = int(final_values(mine, metric).notna().sum())
        words.append(
            f"{name}: {metric} {format_with_error(first['mean'], first['sem'])} at the last step, "
            + (f"the mean ± standard error over {n} seeds." if n > 1 else "of one seed.")
        )
        if first["diverged"]:
            words.append(f"{first['diverged']} of its {first['seeds']} seeds diverged.")
        words.extend(filter(None, [_sure(of), of.tested]))
    section.blocks.append(_table(of))
    if cells["mean"].notna().any() and len(cells) > 1:
        section.blocks.append(leading_charts.leading(of.trials, cells, metric))
    return section


def _sure(of: ReportData) -> str:
    """Say in a sentence whether the first cell is really the best."""
    if len(of.cells) == 1:
        return "There is one cell: nothing to compare it with."
    ties = int((of.cells["mean"] == of.cells["mean"].iloc[0]).sum())
    if of.still:
        shared = f", and {ties:,} cells share the best value" if ties > 1 else ""
        return f"The seed changes nothing here: there is no luck in it{shared}."
    lead = significance.describe_lead(of.cells)
    return _sentence(lead) if lead else ""


def _table(of: ReportData) -> Rows:
    shown, near = of.cells.head(_ROWS), significance.tied_with_best(of.cells).tolist()
    rows = []
    for i, row in enumerate(rows_of(shown)):
        chance = "" if i == 0 or of.still or pd.isna(row["chance"]) else _chance(row["chance"])
        rows.append(
            [
                str(i + 1),
                *(format_value(row[axis]) for axis in of.axes),
                format_with_error(row["mean"], row["sem"]),
                f"{row['diverged']}/{row['seeds']}",
                chance,
                "≈" if near[i] and not of.still else "",
            ]
        )
    title = f"The best {len(shown)} of {len(of.cells):,} cells" if len(of.cells) > len(shown) else "All cells"
    note = (
        "P(worse) is the probability that a cell is really worse than the first, by the paired t-test over "
        "seeds; ≈ marks the cells that are statistically tied with the first, allowing for its choice among "
        "all (Bonferroni, 95 %). A cell of which fewer seeds diverged comes first."
    )
    names = of.names
    columns = ["", *(names[axis] for axis in of.axes), f"{of.metric}, mean ± se", "diverged", "P(worse)", "≈"]
    return Rows(title, columns, rows, shown["cell"].tolist(), note)


def _chance(chance: float) -> str:
    return "> 0.999" if chance > 0.999 else f"{chance:.3f}"


def matters(of: ReportData) -> Section:
    """Answer the second question: the effect of each axis."""
    section = Section("matters", "What matters?")
    if not of.axes:
        section.words.append("No axis varies, so there is nothing to compare.")
        return section
    if isinstance(of.importance, str):
        section.words.append(f"No importance: {of.importance}.")
    else:
        # Where the seed changes nothing, luck is no explanation.
        kept = [line for line in describe(of.importance) if not (of.still and re.search("seeds|luck", line))]
        section.words.extend(_sentence(line, of.names.values()) for line in kept)
        section.blocks.append(effect_charts.importance_bars(of.importance, of.axes))
    shown = [axis for axis in of.by_importance if effect_charts.can_show(of.trials[axis])]
    if of.cells["mean"].notna().any() and shown:
        charts: Charts = {
            (axis,): effect_charts.effect(of.trials, of.cells, axis, of.metric) for axis in shown
        }
        section.blocks.append(Choice(("axis",), charts))
    if lost := [of.names[axis] for axis in of.axes if axis not in shown]:
        section.words.append(f"Too many names to be looked at: {', '.join(lost)}.")
    return section


def _sentence(text: str, names: Iterable[str] = ()) -> str:
    """Return a sentence with its capital and its full stop; a name that it begins with stays as it is."""
    capital = text if text.startswith(tuple(names)) else text[:1].upper() + text[1:]
    return capital.rstrip(".") + "."


def good_region(of: ReportData) -> Section:
    """Answer the third question: maps over two axes."""
    section = Section("where", "Where is the good region, and where does training break?")
    share = of.diverged / len(of.trials)
    if not of.diverged:
        section.words.append("No trial diverged.")
    else:
        section.words.append(f"{of.diverged:,} of {len(of.trials):,} trials diverged ({share:.0%}).")
    place = of.by_importance.index
    axes = sorted(heatmap_pairs(of.trials), key=lambda pair: place(pair[0]) + place(pair[1]))
    if not axes:
        text = "A map takes two axes that vary, and their values together." if len(of.axes) < 2 else ""
        section.words.append(text or "Its axes were drawn together, or have too many values for a map.")
        return section
    every = len(of.axes) * (len(of.axes) - 1) // 2
    if len(axes) < every:
        section.words.append(
            f"Maps are of {len(axes)} of {every} pairs of axes: of few enough values, and mostly trained."
        )
    charts: Charts = {
        (f"{x} × {y}", show): chart
        for x, y in axes
        for show, chart in heatmap_charts.maps(heat_map(of.trials, of.cells, x, y, of.metric)).items()
    }
    section.blocks.append(Choice(("axes", "tiles"), charts))
    return section


def got_there(of: ReportData) -> Section:
    """Answer the fourth question: curves."""
    section = Section("how", "How did it get there?")
    curves, cells = of.curves, of.shown_cells
    metrics = [name for name in of.metrics if curves[name].notna().any()]
    if not metrics:
        section.words.append("No curve is finite.")
        return section
    if len(cells) < len(of.cells):
        section.words.append(
            f"Of {len(of.cells):,} cells the curves of {len(cells):,} are here: the best, and others spread "
            "over all places."
        )
    few = downsample_steps(curves, curve_charts.STEPS)
    charts: Charts = {
        (name,): curve_charts.curve_chart(
            curves_of(of.trials, few, name, cells), of.trials, curves, of.behind
        )
        for name in metrics
    }
    section.blocks.append(Choice(("metric",), charts))
    if of.metric in metrics:
        found = curve_charts.steps_to_target(of.trials, curves, of.metric, cells)
        if found.figure.data:
            section.blocks.append(found)
        else:
            section.words.append(
                f"No {of.metric} was ever better than at step 0: there is no target to reach."
            )
    if f"best_{of.metric}" in of.trials and of.diverged < len(of.trials):
        section.blocks.append(curve_charts.final_against_best(of.trials, of.metric))
    return section
