"""Write the report as one HTML file, which needs no network."""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vsweep.analysis.labels import format_count
from vsweep.analysis.report_data import ReportData
from vsweep.charts.style import PALETTE, Chart
from vsweep.reports.blocks import Choice, Picture, Rows, Section
from vsweep.reports.cell_data import cell_data
from vsweep.reports.provenance import sweep_facts, warnings
from vsweep.reports.sections import sections
from vsweep.reports.task_section import task_sections
from vsweep.store.atomic import write_whole
from vsweep.store.reader import REPORT, StoredSweep

# The number of cells whose curves are drawn before the reader chooses others.
_DRAWN = 3
_THEMES = {"light": "plotly_white", "dark": "plotly_dark"}


def write_report(sweep: StoredSweep, path: str | Path | None = None, metric: str | None = None) -> Path:
    """Write a sweep's report and return its path.

    Args:
        sweep: The sweep.
        path: The file; by default `report.html` in the sweep's directory.
        metric: The metric that ranks.

    Raises:
        KeyError: If the metric was not recorded.
        OSError: If the file cannot be written.
    """
    target = Path(path) if path is not None else sweep.directory / REPORT
    text = page(sweep, metric)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, lambda part: part.write_text(text, encoding="utf-8"))
    return target


def page(sweep: StoredSweep, metric: str | None = None) -> str:
    """Return the report's HTML; raise as `write_report` does."""
    subject = ReportData(sweep, metric)
    charts: dict[str, Chart] = {}
    contents = [_section(section, charts) for section in (*sections(subject), *task_sections(sweep))]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("vsweep.reports")
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    return template.render(
        title=_title(sweep),
        summary=_summary(subject),
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        best="the best cell" if subject.cells["mean"].notna().any() else "the first cell",
        warnings=warnings(sweep),
        sections=contents,
        happened=sweep_facts(sweep),
        config=yaml.safe_dump(sweep.config, sort_keys=False),
        charts={key: _escaped(pio.to_json(chart.figure)) for key, chart in charts.items()},
        data=_embedded(
            {
                **cell_data(sweep, subject.cells),
                "metric": subject.metric,
                "varied": subject.axes,
                "curves": subject.shown_cells,
                "drawn": subject.shown_cells[:_DRAWN],
                "palette": list(PALETTE),
                "themes": {
                    name: pio.templates[theme].layout.to_plotly_json() for name, theme in _THEMES.items()
                },
            }
        ),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def _title(sweep: StoredSweep) -> str:
    return f"{sweep.plan['name']}" + (f", {sweep.only}" if sweep.only else "")


def _summary(subject: ReportData) -> str:
    """Describe the sweep in a line."""
    cells, seeds = len(subject.cells), subject.trials["seed"].nunique()
    # An axis with one value that some cells lack counts as two.
    counts = {axis: max(2, subject.trials[axis].nunique()) for axis in subject.axes}
    axes = ", ".join(f"{subject.names[axis]} ({count})" for axis, count in counts.items())
    times = "×" if cells * seeds == len(subject.trials) else "of up to"
    text = f"{len(subject.trials):,} trials: {cells:,} cells {times} {format_count(seeds, 'seed')}"
    return f"{text} over {axes}" if axes else text


def _section(section: Section, charts: dict[str, Chart]) -> dict[str, Any]:
    """Return a section as the template takes it, and add its charts by their keys."""
    blocks: list[dict[str, Any]] = []
    for i, block in enumerate(section.blocks):
        key = f"{section.name}-{i}"
        if isinstance(block, Rows):
            cells = [*block.cells] or [None] * len(block.rows)
            blocks.append({"kind": "rows", "key": key, "rows": block, "cells": cells})
        elif isinstance(block, Picture):
            blocks.append({"kind": "picture", "key": key, "picture": block})
        elif isinstance(block, Chart):
            charts[key] = block
            choosable = _has_cells(block.figure)
            blocks.append({"kind": "chart", "key": key, "chart": block, "steps": "y", "choosable": choosable})
        else:
            blocks.append(_choice(block, key, charts))
    return {"name": section.name, "title": section.title, "sentences": section.sentences, "blocks": blocks}


def _choice(block: Choice, key: str, charts: dict[str, Chart]) -> dict[str, Any]:
    """Return charts to choose among as the template takes them, and add them by their keys."""
    keys = {"|".join(options): f"{key}-{i}" for i, options in enumerate(block.charts)}
    own = dict(zip(keys.values(), block.charts.values(), strict=True))
    charts |= own
    first = next(iter(own.values()))
    captions = {name: {"title": chart.title, "note": chart.note} for name, chart in own.items()}
    return {
        "kind": "choice",
        # Charts to choose among that have steps have them along x.
        "steps": "x",
        "key": key,
        "names": block.names,
        "options": block.options,
        "keys": _embedded({"charts": keys, "captions": captions}),
        "chart": first,
        "first": next(iter(own)),
        "choosable": _has_cells(first.figure),
    }


def _has_cells(figure: go.Figure) -> bool:
    """Return whether a figure has traces of cells that the reader chooses among."""
    return any(isinstance(trace.meta, Mapping) and "cell" in trace.meta for trace in figure.data)


def _embedded(value: Any) -> Markup:
    """Return JSON for a page.

    Raises:
        ValueError: If a number is not finite; such numbers have to be packed.
    """
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _escaped(text: str) -> Markup:
    """Return JSON that cannot end a script."""
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
