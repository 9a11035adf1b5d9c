"""The questions that a report answers, in their order, each with its sentences, charts and tables."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from vsweep.analysis import significance
from vsweep.analysis.axis_scale import heatmap_pairs, plottable_axes
from vsweep.analysis.cells import Row, rows_of
from vsweep.analysis.convergence import curves_of, downsample_steps
from vsweep.analysis.errors import describe_errors, describe_replicates, describe_seedless
from vsweep.analysis.importance import describe
from vsweep.analysis.labels import cell_label, format_p, format_value, format_with_error
from vsweep.analysis.lr_sensitivity import best_lr, lr_lines, lr_sensitivity
from vsweep.analysis.marginals import heat_map
from vsweep.analysis.ranking import (
    describe_baseline,
    describe_divergence,
    describe_strata,
    describe_test,
    leading_cells,
    recorded_parameters,
)
from vsweep.analysis.report_data import ReportData
from vsweep.charts import curves as curve_charts
from vsweep.charts import effects as effect_charts
from vsweep.charts import heatmaps as heatmap_charts
from vsweep.charts import lr_sensitivity as lr_charts
from vsweep.metrics import LR, final_values, split_count, strata
from vsweep.reports.blocks import Charts, Choice, Content, Rows, Section

# The number of cells in the table, at most.
_ROWS = 20
# The number of axes that are shown, at most.
_MOST_AXES = 4
_NOTE = (
    "The truly best of the rates that were tried is in its range with 95 % confidence, by the tests that "
    "tell which cells may be the best. (edge) marks a range that reaches the smallest or the largest "
    "rate, so that a better rate may lie beyond. Learning-rate sensitivity is the expected loss above the "
    "least, E[min(loss(lr), loss at step 0) − least loss], for log-uniform learning rates over the range "
    f"in the last column ({lr_charts.CITED}). The cell of the least loss is chosen on half of the seeds "
    "and measured on the others, so that its luck does not count. ± is one standard error: of the metric, "
    "as in the table of cells; of the sensitivity, over seeds, whose 95 % interval takes Student's quantile "
    "with one degree of freedom less than seeds. With several splits, splits take the place of seeds here. "
    "A trial that diverged counts with its loss at step 0. All other fields are those of the cell that is "
    f"best, by that loss, among the cells with the value. At most {_MOST_AXES} axes are shown, the most "
    "important ones."
)


def sections(data: ReportData) -> list[Section]:
    """Return all sections; one without an answer says why."""
    return [Section(name, title, list(answer(data))) for name, (title, answer) in _QUESTIONS.items()]


def best(data: ReportData) -> Iterator[Content]:
    """Answer the first question: the best cell, and how sure that is."""
    cells, metric = data.cells, data.metric
    if cells["mean"].isna().all():
        divergence = describe_divergence(data.trials, data.sweep.config.get("diverge_above"))
        yield f"No cell has a {metric}: {divergence or 'it was not recorded, or is not finite'}."
    else:
        firsts = rows_of(cells[(cells["rank"] == 1) & cells["mean"].notna()])
        for first in firsts[:_ROWS]:
            yield from _describe_first(data, first)
        texts = (
            _sentence(describe_strata(data.trials, metric), [metric]),
            _describe_lead(data) if len(firsts) == 1 else "",
            _sentence(describe_errors(data.cells)),
            _sentence(describe_baseline(data.sweep, metric, cells)),
            _sentence(describe_test(data.sweep, metric)),
        )
        yield from filter(None, texts)
    yield _table(data)


def _describe_first(data: ReportData, first: Row) -> Iterator[str]:
    name = cell_label(first, data.axes) or "The one cell"
    own = data.trials[data.trials["cell"] == first["cell"]]
    n = int(final_values(own, data.metric).notna().sum())
    repeated = describe_replicates(own)[0] if split_count(own) else f"{n} seeds"
    over = f"the mean over {repeated}" if n > 1 else "for one seed"
    value = format_with_error(first["mean"], first["error"])
    yield f"{name}: {data.metric} {value} at the last step, {over}."
    if first["diverged"]:
        yield f"{first['diverged']} of its {first['seeds']} trials diverged."


def _describe_lead(data: ReportData) -> str:
    """Describe in a sentence whether the first cell is really the best."""
    if len(data.cells) == 1:
        return "There is only one cell, so there is nothing to compare it with."
    if data.is_seedless:
        ties = int((data.cells["mean"] == data.cells["mean"].iloc[0]).sum())
        shared = f", and {ties:,} cells share the best value" if ties > 1 else ""
        text = _sentence(describe_seedless(data.trials) + shared)
        return f"{text} {_sentence(significance.describe_lead(data.cells))}" if data.is_compared else text
    return _sentence(significance.describe_lead(data.cells))


def _table(data: ReportData) -> Rows:
    shown = leading_cells(data.cells, _ROWS)
    rows = [
        [
            str(row["rank"]),
            *(format_value(row[axis]) for axis in data.axes),
            format_with_error(row["mean"], row["error"]),
            f"{row['diverged']}/{row['seeds']}",
            "" if row["rank"] == 1 or pd.isna(row["p"]) else format_p(row["p"]),
            "≈" if row["tied"] else "",
        ]
        for row in rows_of(shown)
    ]
    cells = f"{len(data.cells):,} cells"
    title = f"The best {len(shown)} of {cells}" if len(data.cells) > len(shown) else "All cells"
    note = (
        "p is the p-value of the hypothesis that a cell is the best. If it is small, another cell is better "
        f"in its mean, in its mean {data.replicate} by {data.replicate}, or in how often it diverges; it "
        "allows for the number of cells. "
        "≈ marks the cells that may be the best: the truly best one is among them with 95 % confidence. A "
        "cell with fewer diverged trials comes first."
    )
    axes = [data.names[axis] for axis in data.axes]
    columns = ["", *axes, f"{data.metric}, mean ± se", "diverged", "p", "≈"]
    return Rows(title, columns, rows, shown["cell"].tolist(), note)


def matters(data: ReportData) -> Iterator[Content]:
    """Answer the second question: the effect of each axis."""
    if not data.axes:
        yield "No axis varies, so there is nothing to compare."
        return
    if isinstance(data.importance, str):
        yield f"The importance of the axes is unknown: {data.importance}."
    else:
        lines = describe(data.importance, data.replicate)
        # If the seed changes nothing, sentences about seeds and luck do not apply.
        lines = [line for line in lines if not (data.is_seedless and re.search("seeds|luck", line))]
        yield from (_sentence(line, data.names.values()) for line in lines)
        yield effect_charts.importance_bars(data.importance, data.names, data.replicate)
    apart = set(strata(data.trials, data.metric))
    comparable = [axis for axis in data.by_importance if apart <= {axis}]
    shown = [axis for axis in comparable if effect_charts.can_show(data.trials[axis])]
    if data.cells["mean"].notna().any() and shown:
        yield Choice(("axis",), {(axis,): effect_charts.effect(data, axis) for axis in shown})
    if omitted := [data.names[axis] for axis in comparable if axis not in shown]:
        yield f"Axes with too many names to be drawn: {', '.join(omitted)}."


def _sentence(text: str, names: Iterable[str] = ()) -> str:
    """Return text with a capital and a full stop; a name that it begins with stays as it is."""
    capital = text if text.startswith(tuple(names)) else text[:1].upper() + text[1:]
    return capital.rstrip(".") + "." if text else ""


def good_region(data: ReportData) -> Iterator[Content]:
    """Answer the third question: maps over two axes."""
    count, size = data.diverged, len(data.trials)
    yield (
        f"{count:,} of {size:,} trials diverged ({100 * count / size:.0f} %)."
        if count
        else "No trial diverged."
    )
    place = data.by_importance.index
    pairs = sorted(heatmap_pairs(data.trials, data.metric), key=lambda pair: place(pair[0]) + place(pair[1]))
    total = len(data.axes) * (len(data.axes) - 1) // 2
    if not total:
        yield "There is no map: it needs two axes that vary."
    elif not pairs and (kept := strata(data.trials, data.metric)):
        # A field that follows an axis is none, and has no short name.
        names = " and ".join(data.names.get(path, path) for path in kept)
        yield f"Maps are drawn for one value of {names} at a time: load(…).where(…).report('part.html')."
    elif not pairs:
        yield "There is no map: the axes were drawn together, or have too many values."
    elif len(pairs) < total:
        yield f"{len(pairs)} of {total} pairs of axes have maps: those with few values, most of them trained."
    charts: Charts = {
        (f"{x} × {y}", show): chart
        for x, y in pairs
        for show, chart in heatmap_charts.maps(heat_map(data.trials, data.cells, x, y, data.metric)).items()
    }
    if charts:
        yield Choice(("axes", "tiles"), charts)


def got_there(data: ReportData) -> Iterator[Content]:
    """Answer the fourth question: curves."""
    trials, curves, cells = data.trials, data.curves, data.shown_cells
    thinned = downsample_steps(curves, curve_charts.STEPS)
    charts: Charts = {
        (name,): curve_charts.curve_chart(data, curves, curves_of(trials, thinned, name, cells))
        for name in data.metrics
        if curves[name].notna().any()
    }
    if not charts:
        yield "No curve is finite."
        return
    yield Choice(("metric",), charts)
    if len(cells) < len(data.cells):
        share = f"{len(cells):,} of {len(data.cells):,} cells are shown"
        yield f"The curves of {share}: the best ones, and others spread over all places."
    if f"best_{data.metric}" in trials and data.diverged < len(trials):
        ok = trials[trials["status"] == "ok"]
        earlier = int((ok[f"best_{data.metric}"] != ok[f"final_{data.metric}"]).sum())
        yield f"{data.metric} was better before the last step in {earlier:,} of {len(ok):,} trials."


def sensitivity(data: ReportData) -> Iterator[Content]:
    """Answer the fifth question: the learning rate."""
    rates: Charts = {}
    rows, cells = [], []
    for by, lines in _lines(data):
        best = best_lr(lines)
        rows += _rows(data, by, best)
        cells += best["cell"].tolist()
        rates[by or "none: all cells",] = lr_charts.rates(lines, data.metric, by)
    if not rates:
        if LR not in data.axes:
            yield "The learning rate does not vary, so there is no sensitivity to report."
        elif strata(data.trials, data.metric):
            yield f"Learning rates are not compared between cells whose {data.metric} is another quantity."
        else:
            yield "No cell has finite values at several learning rates."
        return
    yield Choice(("by",), rates)
    if data.loss and (apart := strata(data.trials, data.loss)):
        names = " and ".join(data.names.get(path, path) for path in apart)
        mixed = "rows that mix them have no sensitivity"
        yield f"{data.loss} is another quantity for each value of {names}: {mixed}."
    columns = ["cells with", "best lr", "range of the best (95 %)", data.metric]
    columns += [f"lr sensitivity ({data.loss})", "range of lr"]
    yield Rows("The best learning rate, and the sensitivity to it", columns, rows, cells, _NOTE)


def _lines(data: ReportData) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Yield the lines along the learning rate for some axes, and for all cells."""
    axes = [axis for axis in data.by_importance if axis in plottable_axes(data.trials, data.metric)]
    # Readers do not tune the starting points of descents, so these axes are left out.
    starts = [name.replace("param.", "model.") for name in recorded_parameters(data.trials)]
    others = [axis for axis in axes if axis not in (LR, *starts)]
    for by in [*others[:_MOST_AXES], None]:
        try:
            lines = lr_lines(data.trials, data.metric, by)
        except KeyError:
            # The learning rate does not vary among the cells that have the axis.
            continue
        # A single value offers no comparison, and the line of all cells shows it.
        if lines["mean"].notna().any() and (by is None or lines["by"].nunique() > 1):
            yield by, lines


def _rows(data: ReportData, by: str | None, best: pd.DataFrame) -> list[list[str]]:
    """Return a row for each value of an axis: the best learning rate, and the sensitivity to it."""
    loss, sensitivities = data.loss, {}
    # The loss may be another quantity in cells whose metric can be compared.
    if loss and not set(strata(data.trials, loss)) <= {by}:
        loss = None
    for row in rows_of(lr_sensitivity(data.trials, data.start, loss, by)) if loss else ():
        # Seeds that are all alike show no error.
        sem = math.nan if row["sem"] == 0.0 else row["sem"]
        sensitivities[row["by"]] = [format_with_error(row["sensitivity"], sem), _range(row)]
    return [
        [
            f"{data.names[by]} = {format_value(row['by'])}" if by else "any values",
            format_value(row["lr"]) + (" (edge)" if row["at_edge"] and pd.isna(row["low"]) else ""),
            "" if pd.isna(row["low"]) else _range(row) + (" (edge)" if row["at_edge"] else ""),
            format_with_error(row["mean"], row["error"]),
            *sensitivities.get(row["by"], ["", ""]),
        ]
        for row in rows_of(best)
    ]


def _range(row: Mapping[str, Any]) -> str:
    low, high = format_value(row["low"]), format_value(row["high"])
    return low if low == high else f"{low} to {high}"


_QUESTIONS: dict[str, tuple[str, Callable[[ReportData], Iterator[Content]]]] = {
    "best": ("What is best, and is it sure?", best),
    "matters": ("What matters?", matters),
    "where": ("Where is the good region, and where does training break?", good_region),
    "how": ("How did it get there?", got_there),
    "sensitive": ("How sensitive is it to the learning rate?", sensitivity),
}
