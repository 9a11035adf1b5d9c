"""Write the report as one HTML file, which needs no network."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vsweep.analysis.errors import describe_replicates
from vsweep.analysis.labels import (
    describe_target_scales,
    format_bytes,
    format_count,
    format_distinct_values,
    short_axis_names,
)
from vsweep.analysis.marginals import sorted_values
from vsweep.analysis.report_data import ReportData
from vsweep.charts.style import PALETTE, Chart
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of
from vsweep.reports.blocks import Choice, Section
from vsweep.reports.sections import sections
from vsweep.reports.task_section import task_sections
from vsweep.store.atomic import write_whole
from vsweep.store.checks import describe_verification
from vsweep.store.files import REPORT
from vsweep.store.reader import StoredSweep

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
    text = page(sweep, metric)
    if path is None:
        sweep.files.write_bytes(REPORT, text.encode())
        return sweep.files.path(REPORT)
    target = Path(path)
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
        best=_first_cell(subject),
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


def _first_cell(subject: ReportData) -> str:
    """Name the cell whose command the report shows."""
    cells = subject.cells
    if cells["mean"].isna().all():
        return "the first cell"
    return "the best cell" if (cells["rank"] == 1).sum() == 1 else "the first of these cells"


def _summary(subject: ReportData) -> str:
    """Describe the sweep in a line."""
    cells, trials = len(subject.cells), len(subject.trials)
    repeated, each = describe_replicates(subject.trials)
    # An axis with one value that some cells lack counts as two.
    counts = {axis: max(2, subject.trials[axis].nunique()) for axis in subject.axes}
    axes = ", ".join(f"{subject.names[axis]} ({count})" for axis, count in counts.items())
    times = "×" if cells * each == trials else "of up to"
    text = f"{trials:,} trials: {cells:,} cells {times} {repeated}"
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


def packed(values: Any, kind: str) -> dict[str, str]:
    """Return numbers as base64 of little-endian bytes, of the kind `f8` or `i4`."""
    array = np.asarray(values).astype(f"<{kind}")
    return {"kind": kind, "data": b64encode(array.tobytes()).decode()}


def cell_data(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any]:
    """Return the page's data on each cell, best first.

    Args:
        sweep: The sweep.
        cells: The table of cells, as `rank_cells` returns it.
    """
    # The number of cells that each is ranked among.
    cells = cells.assign(ranked=cells.groupby((cells["rank"] == 1).cumsum())["rank"].transform("size"))
    kinds = dict.fromkeys(["cell", "seeds", "diverged", "rank", "ranked"], "i4")
    kinds |= {"mean": "f8", "error": "f8"}
    names = short_axis_names(axes_of(sweep.trials))
    return {
        **{column: packed(cells[column], kind) for column, kind in kinds.items()},
        "axes": [_axis(cells[axis], axis, name) for axis, name in names.items()],
        "spelling": _spelling(sweep, cells),
    }


def _axis(column: pd.Series, axis: str, name: str) -> dict[str, Any]:
    """Return an axis's values as texts, and the index of each cell's value."""
    values = sorted_values(column)
    place = pd.Index(values).get_indexer(pd.Index(column))
    if values.isna().any():
        # Some kinds of index do not find missing values.
        place = np.where(column.isna(), len(values) - 1, place)
    return {
        "path": axis,
        "name": name,
        "values": format_distinct_values(values),
        "place": packed(place, "i4"),
    }


def _spelling(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any] | str:
    """Return the overrides of each cell, or the reason why they are unknown."""
    try:
        overrides = sweep.cell_overrides
        rows = overrides.rows(cells["cell"].to_numpy())
    except (ConfigError, KeyError, RuntimeError) as error:
        return f"the overrides are unknown: {error}"
    seeds = sorted(sweep.trials["seed"].unique().tolist())
    return {
        "kinds": overrides.templates,
        "kind": packed(overrides.template[rows], "i4"),
        "words": overrides.values,
        "index": [packed(overrides.places[rows, axis], "i4") for axis in range(overrides.places.shape[1])],
        "seeds": f"seeds=[{','.join(map(str, seeds))}]",
    }


def sweep_facts(sweep: StoredSweep) -> list[tuple[str, str]]:
    """Return a row for each fact: the command, time, devices, versions, data, and the verification."""
    plan, trials = sweep.plan, sweep.trials
    cells = format_count(trials["cell"].nunique(), "cell")
    devices = plan["devices"]
    device = f"{devices['devices']} × {devices['kind']} ({devices['platform']})"
    found = f"{cells} of {describe_replicates(trials)[0]}"
    # Directories of earlier versions do not record the commit.
    commit = [("commit", plan["commit"] or "not in a git repository")] if "commit" in plan else []
    return [
        ("command", plan["command"]),
        ("started", plan["started"]),
        ("trials", f"{len(trials):,} finished of {plan['trials']:,}: {found}"),
        *_performance(plan),
        ("devices", f"{device}, {format_count(len(plan['programs']), 'program')}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in plan["versions"].items())),
        ("Python", plan["python"]),
        *commit,
        *(("data", _data(records)) for records in sweep.named_data_sets),
        *([("units", unit)] if (unit := describe_target_scales(sweep.target_scales)) else []),
        ("verified", describe_verification(sweep.verified) if sweep.verified else "not yet: vsweep verify"),
    ]


def warnings(sweep: StoredSweep) -> list[str]:
    """Return the warnings that readers should know before they rely on a number."""
    plan, trials = sweep.plan, sweep.trials
    # The name of a single data set is a long list of its fields, which the note does not need.
    named = len(plan["data"]) > 1
    notes = {name: record["note"] for name, record in plan["data"].items() if record.get("note")}
    texts = [f"{name}: {note}" if named else note for name, note in notes.items()]
    missing = plan["trials"] - len(trials)
    if missing > 0 and not sweep.only:
        texts.append(f"{missing:,} of {plan['trials']:,} trials are not finished; the report leaves them out")
    diverged = int((trials["status"] == "diverged").sum())
    if diverged:
        texts.append(f"{diverged:,} of {len(trials):,} trials diverged")
    verified = sweep.verified or {}
    if any(verified.get(key) for key in ("failed", "wrong", "changed", "chaotic")):
        texts.append(describe_verification(verified))
    return texts


def _performance(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on time, speed and memory; none for a sweep that is not finished."""
    record = plan.get("happened")
    if not record:
        return []
    seconds, predicted = record["seconds"], record["predicted"]
    parts = [
        f"{name} {spent:.1f} s" + (f" (predicted {predicted[name]:.1f} s)" if name in predicted else "")
        for name, spent in seconds.items()
    ]
    speed, total = record["trials"] / seconds["total"], seconds["total"]
    used, expected = (format_bytes(record[name]) for name in ("device_bytes", "predicted_device_bytes"))
    return [
        ("time", ", ".join(parts) + "; these overlap in part"),
        ("speed", f"{speed:,.3g} trials per second: {record['trials']:,} in {total:.1f} s"),
        ("memory", f"{used} per device (predicted {expected})"),
    ]


def _data(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe a data set, by the first of its splits."""
    name, record = next(iter(records.items()))
    rows = {part: record.get(f"{part}_rows") for part in ("train", "val", "test")}
    parts = [f"{count:,} {part}" for part, count in rows.items() if count]
    parts += [format_count(len(record["features"]), "feature")] if record.get("features") else []
    # Directories of earlier versions lack the description of the targets.
    classes = f"{len(record['classes'])} classes" if record.get("classes") else ""
    parts += filter(None, [record.get("target", classes)])
    parts += [f"the first of {len(records)} splits"] if len(records) > 1 else []
    return f"{name}: {', '.join(parts)}".removesuffix(": ")
