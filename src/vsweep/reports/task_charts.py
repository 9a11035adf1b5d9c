"""The charts that belong to what a sweep trained: regions, fits, boundaries, descents, basins."""

from collections.abc import Callable
from typing import Any

from vsweep.analysis.ranking import restrict, varied_axes
from vsweep.reports.charts import basins, boundaries, parameters, predictions, trajectories
from vsweep.reports.charts.style import Chart
from vsweep.store.reader import StoredSweep

Maker = Callable[[StoredSweep, dict[str, Any]], Chart]
# A picture that a config asks for several times, of parts of it, is as many charts, at most.
_MOST = 4


def task_charts(sweep: StoredSweep) -> list[Chart]:
    """The charts of a sweep's task; none for tasks that have none, as data of many features."""
    return drawn(sweep)[0]


def drawn(sweep: StoredSweep) -> tuple[list[Chart], list[str]]:
    """The same, and what should have been drawn but failed, a sentence each."""
    by = _telling(sweep)
    makers: dict[str, Maker] = {
        "regions": lambda of, given: predictions.regions(of, given.get("by", by)),
        "fits": lambda of, given: predictions.fits(of, given.get("by", by)),
        "boundaries": lambda of, given: boundaries.boundaries(of),
        "first_steps": lambda of, given: boundaries.first_steps(of, given.get("steps", 10)),
        "loss_surface": lambda of, given: parameters.loss_surface(of),
        "parameters": lambda of, given: parameters.parameters(of),
        "paths": lambda of, given: trajectories.paths(of),
        "surface": lambda of, given: trajectories.surface(of),
        "basin": lambda of, given: basins.basin(of, given.get("x"), given.get("y")),
    }
    charts: list[Chart] = []
    failed = []
    for name, make in makers.items():
        for given in _asked(sweep, name)[:_MOST] or [{}]:
            try:
                of = restrict(sweep, given["where"]) if given.get("where") else sweep
                charts.append(make(of, given))
            except Exception as error:
                # What is not of this task, or not of this part of it, says so in a sentence.
                if not (isinstance(error, KeyError) and " " in str(error.args[0])):
                    failed.append(f"The {name} cannot be drawn ({type(error).__name__}: {error}).")
    return charts, failed


def _asked(sweep: StoredSweep, name: str) -> list[dict[str, Any]]:
    """The arguments of each picture of this name that the config asks for."""
    found = []
    for entry in sweep.config.get("pictures") or []:
        entry = {entry: {}} if isinstance(entry, str) else entry
        if name in entry:
            found.append(dict(entry[name] or {}))
    return found


def _telling(sweep: StoredSweep) -> str | None:
    """The axis whose values differ most to the eye: how wide models are, or which they are."""
    axes = varied_axes(sweep.trials)
    first = [axis for axis in ("model.width", "model") if axis in axes]
    return next(iter(first + axes), None)
