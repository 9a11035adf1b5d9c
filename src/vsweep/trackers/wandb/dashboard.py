"""Build the dashboard of a sweep, a W&B workspace of panels in sections."""

import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, is_log_spaced, plottable_axes
from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.ranking import varied_axes
from vsweep.errors import ServiceError
from vsweep.metrics import LR, higher_is_better, is_parameter, replicates
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb.options import Level
from vsweep.trackers.wandb.runs import OVERVIEW, config_path, curves_key, heatmap_key, sweep_id

try:
    with warnings.catch_warnings():
        # The library's own deprecations do not concern the user.
        warnings.simplefilter("ignore")
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
except ImportError as error:
    need = "pip install wandb-workspaces"
    raise ServiceError(f"wandb-workspaces cannot be imported ({error}): {need}") from error

_WIDTH = "model.width"
_MOST_PARAMETERS = 6
# Steps are on a log scale if the last is this many times the first step after 0.
_DECADES = 1000.0
# W&B draws ten lines of a panel by default, and more than a hundred badly.
_FEWEST_LINES, _MOST_LINES = 10, 100
# Unicode categories that W&B does not allow in the name of a view.
_FORBIDDEN_CATEGORIES = "So", "Sk", "Sm", "Sc", "Cs"
_SPREADS = {"stddev": "standard deviation", "minmax": "range"}
# Panels of W&B by their descriptions.
Panels = dict[str, Any]


class _Field(NamedTuple):
    """A number of a run: W&B's reference to it, its name, and whether it is shown on a log scale."""

    metric: Any
    name: str
    log: bool


def build_workspace(
    sweep: StoredSweep, level: Level, entity: str, project: str, *, one_group: bool = False
) -> ws.Workspace:
    """Build a sweep's dashboard without saving it; it has only runs that are tagged with the sweep's id.

    Args:
        sweep: The sweep.
        level: The level of the sweep's runs.
        entity: W&B's entity.
        project: W&B's project.
        one_group: Whether the user has put all runs into one group, so that only their config has the cell.
    """
    uid = sweep_id(sweep.plan)
    kinds = [OVERVIEW] if level == "sweep" else [level, OVERVIEW]
    trials, ranking = sweep.trials, sweep.metric
    final = ws.Summary(f"final_{ranking}")
    cell = ws.Config("cell") if one_group else ws.Metric("Group")
    name = str(sweep.plan.get("name", "sweep"))
    allowed = ["-" if unicodedata.category(char) in _FORBIDDEN_CATEGORIES else char for char in name]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{''.join(allowed)} {uid}",
        sections=[_section(name, panels) for name, panels in dashboard_sections(sweep, level).items()],
        settings=ws.WorkspaceSettings(max_runs=_MOST_LINES),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Tags().isin([uid]), ws.Metric("JobType").isin(kinds)),
            # A group is a cell, so with one trial it adds nothing to a run's name.
            groupby=[cell] if level == "trial" and replicates(trials).nunique() > 1 else [],
            order=[ws.Ordering(final, ascending=not higher_is_better(ranking))],
            pinned_columns=[f"summary:{final.name}"] if final.name in trials else [],
        ),
    )


def _section(name: str, panels: Panels) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=min(3, len(panels)), rows=2 if len(panels) > 3 else 1)
    return ws.Section(name=name, panels=list(panels.values()), is_open=True, layout_settings=layout)


def describe_panels(sweep: StoredSweep, level: Level) -> list[str]:
    """Return a line for each panel of the dashboard, with the name of its section."""
    sections = dashboard_sections(sweep, level).items()
    return [f"{name}: {description}" for name, panels in sections for description in panels]


def dashboard_sections(sweep: StoredSweep, level: Level) -> dict[str, Panels]:
    """Return the panels of a sweep's dashboard by section, without empty sections."""
    sections = {} if level == "sweep" else _run_sections(sweep, level)
    sections["Overview"] = dict(_overview_panels(sweep))
    return {name: panels for name, panels in sections.items() if panels}


def _overview_panels(sweep: StoredSweep) -> Iterator[tuple[str, Any]]:
    """Yield panels with the pictures and the tables that the overview has logged."""
    trials, ranking = sweep.trials, sweep.metric
    pictures = {
        "heat maps": [heatmap_key(x, y) for x, y in heatmap_pairs(trials, ranking)],
        "curves, best over all other axes": [curves_key(axis) for axis in plottable_axes(trials, ranking)],
    }
    for title, keys in pictures.items():
        if keys:
            names = ", ".join(key.partition("/")[2] for key in keys)
            yield f"{title}: {names}", wr.MediaBrowser(title=title, media_keys=keys)
    for table in ("cells", "trials"):
        yield f"table of {table}", wr.WeavePanelSummaryTable(table_name=table)


def _run_sections(sweep: StoredSweep, level: Level) -> dict[str, Panels]:
    axes = _axis_fields(sweep)
    metrics = [name for name in map(str, sweep.curves) if name not in ("trial", "step")]
    metrics = [name for name in metrics if sweep.curves[name].notna().any()]
    ranking = sweep.metric
    loss = next((name for name in ("val_loss", "train_loss") if name in metrics), ranking)
    shown = [name for name in dict.fromkeys([ranking, loss]) if name in metrics]
    by: list[str | None] = [*axes] or [None]
    parameters = [name for name in metrics if is_parameter(name)][:_MOST_PARAMETERS]
    return {
        "Curves": dict(_curves(sweep, level, name, axis) for name in shown for axis in by),
        "Parameters": dict(_curves(sweep, level, name, by[0]) for name in parameters),
        "Axes": dict(_axis_panels(sweep.trials, axes, ranking, loss)),
    }


def _axis_panels(
    trials: pd.DataFrame, axes: dict[str, _Field], ranking: str, loss: str
) -> Iterator[tuple[str, Any]]:
    """Yield panels of the metrics at the last step over the axes."""
    if not axes or f"final_{ranking}" not in trials:
        return
    fields = [*axes.values(), _final_field(trials, ranking)]
    names = ", ".join(field.name + (" (log)" if field.log else "") for field in fields)
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=field.metric, display_name=field.name, log=field.log)
        for field in fields
    ]
    yield f"parallel coordinates: {names}", wr.ParallelCoordinatesPlot(columns=columns, title="axes")
    target = f"final_{ranking}"
    yield f"parameter importance for {target}", wr.ParameterImportancePlot(with_respect_to=target)
    numeric = [axis for axis in axes if pd.api.types.is_numeric_dtype(trials[axis])]
    if numeric and f"final_{loss}" in trials:
        x, y = LR if LR in numeric else numeric[0], _final_field(trials, loss)
        yield _scatter(axes[x], y)
        if _WIDTH in numeric and x != _WIDTH:
            yield _scatter(axes[x], y, axes[_WIDTH])


def _scatter(x: _Field, y: _Field, z: _Field | None = None) -> tuple[str, Any]:
    """Return a panel with a point for each run in two or three dimensions."""
    title = f"{y.name} against {x.name}" + (f" and {z.name}" if z else "")
    third = {"z": z.metric, "log_z": z.log} if z else {}
    panel = wr.ScatterPlot(title=title, x=x.metric, y=y.metric, log_x=x.log, log_y=y.log, **third)
    return title + _describe_logs(x=x.log, y=y.log, z=z is not None and z.log), panel


def _curves(sweep: StoredSweep, level: Level, metric: str, axis: str | None) -> tuple[str, Any]:
    """Return a panel of a metric over steps: the mean and spread of the runs for each value of an axis."""
    trials, values = sweep.trials, sweep.curves[metric].to_numpy(float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    log_x = _has_log_steps(np.unique(sweep.curves["step"]))
    log_y = positive and not (higher_is_better(metric) or is_parameter(metric))
    # The mean less a deviation may be negative, which a log axis cannot show.
    spread = "minmax" if log_y else "stddev"
    metrics, shown = [metric], f"mean and {_SPREADS[spread]} of the runs"
    # A line of a single run shows no spread, so the spread over a cell's seeds is drawn as lines.
    if level == "cell" and len(varied_axes(trials)) <= 1 and replicates(trials).nunique() > 1:
        metrics += [f"{metric}_min", f"{metric}_max"]
        shown = "mean, minimum and maximum of each cell"
    field = _axis_fields(sweep)[axis] if axis else None
    lines = len(metrics) * (trials[axis].nunique(dropna=False) if axis else 1)
    title = metric + (f" by {field.name}" if field else "")
    panel = wr.LinePlot(
        title=title,
        x="Step",
        y=metrics,
        log_x=log_x,
        log_y=log_y,
        title_x="step",
        title_y=metric,
        groupby=field.metric if field else None,
        aggregate=True,
        groupby_aggfunc="mean",
        groupby_rangefunc=spread,
        max_runs_to_show=min(max(lines, _FEWEST_LINES), _MOST_LINES),
    )
    return f"{title}: {shown}{_describe_logs(x=log_x, y=log_y)}", panel


def _describe_logs(**axes: bool) -> str:
    names = [name for name, log in axes.items() if log]
    return f", log {' and '.join(names)}" if names else ""


def _has_log_steps(steps: np.ndarray) -> bool:
    later = steps[steps > 0]
    return len(later) > 1 and (bool(later[-1] >= _DECADES * later[0]) or is_log_spaced(later.tolist()))


def _axis_fields(sweep: StoredSweep) -> dict[str, _Field]:
    """Return the axes that vary."""
    names = short_axis_names(varied_axes(sweep.trials))
    return {
        axis: _Field(wr.Config(config_path(sweep, axis)), name, is_log_spaced(sweep.trials[axis].unique()))
        for axis, name in names.items()
    }


def _final_field(trials: pd.DataFrame, metric: str) -> _Field:
    """Return a metric at the last step, on a log axis if it is a loss that spans a decade."""
    key = f"final_{metric}"
    values = trials.loc[trials["status"] == "ok", key].dropna().astype(float)
    log = not values.empty and values.min() > 0 and values.max() >= 10 * values.min()
    return _Field(wr.SummaryMetric(key), f"final {metric}", bool(log) and not higher_is_better(metric))
