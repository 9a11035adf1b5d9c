"""The report's section on the learned functions: regions, fits, boundaries, descents and basins."""

from typing import Any

from vsweep.analysis.cells import Row
from vsweep.analysis.minima import is_function
from vsweep.analysis.ranking import restrict, varied_axes
from vsweep.plots.task import TASK_PICTURES, page_images
from vsweep.reports.blocks import Picture, Section
from vsweep.store.reader import StoredSweep


def task_sections(sweep: StoredSweep) -> list[Section]:
    """Return the section of the task's pictures; no section if it has none, as for data of many features."""
    pictures, failures = [], []
    for name in TASK_PICTURES:
        for requested in _requested(sweep, name) or [{}]:
            try:
                pictures.append(_picture(sweep, name, dict(requested)))
            except Exception as error:
                # A picture that does not apply to the sweep says so in a sentence, and is left out.
                if not (isinstance(error, KeyError) and " " in str(error.args[0])):
                    failures.append(f"The {name} cannot be drawn ({type(error).__name__}: {error}).")
    if not pictures and not failures:
        return []
    return [Section("task", "What was learned?", [*failures, *pictures])]


def _picture(sweep: StoredSweep, name: str, requested: Row) -> Picture:
    """Draw a picture; raise `KeyError`, with a sentence, if the sweep has none of its name."""
    where = requested.pop("where", None)
    part = restrict(sweep, where) if where else sweep
    if name == "parameters" and is_function(sweep.trials):
        raise KeyError("descents on the function show its coordinates")
    if name in ("regions", "fits"):
        requested = {"by": _main_axis(sweep)} | requested
    data: Any = TASK_PICTURES[name].data(part, **requested)
    title = f"{data.title}, only {part.only}" if part.only else data.title
    panels = "; ".join(" ".join(filter(None, panel.title)) for panel in data.panels)
    alt = ": ".join(filter(None, (title, panels)))
    return Picture(title, page_images(name, data), alt, data.caption)


def _requested(sweep: StoredSweep, name: str) -> list[dict[str, Any]]:
    """Return the arguments of each picture of this name that the config asks for."""
    entries = [
        {entry: {}} if isinstance(entry, str) else entry for entry in sweep.config.get("pictures") or []
    ]
    return [dict(entry[name] or {}) for entry in entries if name in entry]


def _main_axis(sweep: StoredSweep) -> str | None:
    """Return the axis whose values differ most to the eye: the width of models, or else the model."""
    axes = varied_axes(sweep.trials)
    return next((axis for axis in ("model.width", "model", *axes) if axis in axes), None)
