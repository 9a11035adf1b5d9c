"""Write the report as one HTML file, which needs no network."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import plotly.io as pio
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vsweep.analysis.labels import format_count
from vsweep.analysis.report_data import ReportData
from vsweep.charts.style import PALETTE, Chart
from vsweep.reports.blocks import Choice, Section
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
    loader = PackageLoader("vsweep.reports", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("page.html")
    return template.render(
        title=", ".join(filter(None, (sweep.plan["name"], sweep.only))),
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
        plotly=Markup(get_plotlyjs()),
    )


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
        block = Choice((), {(): block}) if isinstance(block, Chart) else block
        blocks.append({"kind": type(block).__name__, "key": key, "block": block})
        if isinstance(block, Choice):
            by_key = {f"{key}-{i}": chart for i, chart in enumerate(block.charts.values())}
            keys = dict(zip(map("|".join, block.charts), by_key, strict=True))
            captions = {name: {"title": chart.title, "note": chart.note} for name, chart in by_key.items()}
            blocks[-1]["chart"] = next(iter(by_key.values()))
            blocks[-1]["choices"] = _embedded({"charts": keys, "captions": captions})
            charts |= by_key
    return {"name": section.name, "title": section.title, "sentences": section.sentences, "blocks": blocks}


def _embedded(value: Any) -> Markup:
    """Return JSON for a page.

    Raises:
        ValueError: If a number is not finite; such numbers have to be packed.
    """
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _escaped(text: str) -> Markup:
    """Return JSON that cannot end a script."""
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
