"""The content of a sweep's dashboard, in sections of panels, independent of W&B's client."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, is_log_spaced, plottable_axes
from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import LR, default_metric, higher_is_better, is_parameter
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb.granularity import Level

WIDTH = "model.width"
TABLES = "cells", "trials"
_MOST_PARAMETERS = 6
# Steps are on a log scale if the last is this many times the first step after 0.
_DECADES = 1000.0


class Field(NamedTuple):
    """A number of a run, in its config under a dotted path or in its summary."""

    key: str
    name: str
    log: bool = False
    summary: bool = False


class CurvesPanel(NamedTuple):
    """Metrics over steps: the mean and the spread of the runs for each value of a field.

    Attributes:
        metrics: Names of the metrics.
        by: The field; None draws one line of all runs.
        spread: W&B's name of the spread.
        log_x: Whether the steps have a log scale.
        log_y: Whether the metric has a log scale.
        lines: The number of lines.
    """

    metrics: tuple[str, ...]
    by: Field | None
    spread: Literal["stddev", "minmax"]
    log_x: bool
    log_y: bool
    lines: int = 1

    @property
    def title(self) -> str:
        """The title of the panel."""
        return self.metrics[0] + (f" by {self.by.name}" if self.by else "")


class ParallelPanel(NamedTuple):
    """A line for each run through parallel axes."""

    columns: tuple[Field, ...]


class ImportancePanel(NamedTuple):
    """The importance of each field of the config for a metric."""

    target: str


class ScatterPanel(NamedTuple):
    """A point for each run in two or three dimensions."""

    x: Field
    y: Field
    z: Field | None = None

    @property
    def title(self) -> str:
        """The title of the panel."""
        return f"{self.y.name} against {self.x.name}" + (f" and {self.z.name}" if self.z else "")


class ImagesPanel(NamedTuple):
    """Pictures that the overview has logged."""

    title: str
    keys: tuple[str, ...]


class TablePanel(NamedTuple):
    """A table that the overview has logged."""

    key: str


Panel = CurvesPanel | ParallelPanel | ImportancePanel | ScatterPanel | ImagesPanel | TablePanel


def describe_panel(panel: Panel) -> str:
    """Describe a panel in a line."""
    match panel:
        case CurvesPanel():
            spread = "standard deviation" if panel.spread == "stddev" else "range"
            several = len(panel.metrics) > 1
            shown = "mean, minimum and maximum over seeds" if several else f"mean and {spread} of the runs"
            return f"{panel.title}: {shown}{_describe_logs(x=panel.log_x, y=panel.log_y)}"
        case ParallelPanel(columns):
            names = [column.name + (" (log)" if column.log else "") for column in columns]
            return f"parallel coordinates: {', '.join(names)}"
        case ImportancePanel(target):
            return f"parameter importance for {target}"
        case ScatterPanel(x, y, z):
            return panel.title + _describe_logs(x=x.log, y=y.log, z=z is not None and z.log)
        case ImagesPanel(title, keys):
            return f"{title}: {', '.join(key.partition('/')[2] for key in keys)}"
        case TablePanel(key):
            return f"table of {key}"


def _describe_logs(**axes: bool) -> str:
    names = [name for name, log in axes.items() if log]
    return f", log {' and '.join(names)}" if names else ""


def heatmap_key(x: str, y: str) -> str:
    """Return the key under which the overview logs the heat map over two axes."""
    return f"heatmap/{x} by {y}"


def curves_key(axis: str) -> str:
    """Return the key under which the overview logs the curves by an axis."""
    return f"curves/{axis}"


def config_path(sweep: StoredSweep, axis: str) -> str:
    """Return the path of an axis's value in a run's config; a group's value is its name."""
    return f"{axis}.name" if isinstance(sweep.config.get(axis), dict) else axis


def dashboard_sections(sweep: StoredSweep, level: Level) -> dict[str, list[Panel]]:
    """Return the panels of a sweep's dashboard by section, without empty sections."""
    overview: list[Panel] = []
    if pairs := heatmap_pairs(sweep.trials):
        overview.append(ImagesPanel("heat maps", tuple(heatmap_key(x, y) for x, y in pairs)))
    if axes := plottable_axes(sweep.trials):
        overview.append(ImagesPanel("curves, best over all other axes", tuple(map(curves_key, axes))))
    overview += map(TablePanel, TABLES)
    sections = {} if level == "sweep" else _run_sections(sweep, level)
    return {name: panels for name, panels in {**sections, "Overview": overview}.items() if panels}


def _run_sections(sweep: StoredSweep, level: Level) -> dict[str, list[Panel]]:
    axes = {axis: _axis_field(sweep, axis) for axis in varied_axes(sweep.trials)}
    metrics = [name for name in map(str, sweep.curves) if name not in ("trial", "step")]
    metrics = [name for name in metrics if sweep.curves[name].notna().any()]
    ranking = default_metric(sweep.trials)
    loss = next((name for name in ("val_loss", "train_loss") if name in metrics), ranking)
    shown = [name for name in dict.fromkeys([ranking, loss]) if name in metrics]
    by: list[str | None] = [*axes] or [None]
    parameters = [name for name in metrics if is_parameter(name)][:_MOST_PARAMETERS]
    return {
        "Curves": [_curves(sweep, level, name, axis) for name in shown for axis in by],
        "Parameters": [_curves(sweep, level, name, by[0]) for name in parameters],
        "Axes": _axis_panels(sweep.trials, axes, ranking, loss),
    }


def _axis_panels(trials: pd.DataFrame, axes: dict[str, Field], ranking: str, loss: str) -> list[Panel]:
    if not axes or f"final_{ranking}" not in trials:
        return []
    target = _final_field(trials, ranking)
    panels: list[Panel] = [ParallelPanel((*axes.values(), target)), ImportancePanel(target.key)]
    numeric = [axis for axis in axes if pd.api.types.is_numeric_dtype(trials[axis])]
    if not numeric or f"final_{loss}" not in trials:
        return panels
    x = LR if LR in numeric else numeric[0]
    panels.append(ScatterPanel(axes[x], _final_field(trials, loss)))
    if WIDTH in numeric and x != WIDTH:
        panels.append(ScatterPanel(axes[x], _final_field(trials, loss), axes[WIDTH]))
    return panels


def _curves(sweep: StoredSweep, level: Level, metric: str, axis: str | None) -> CurvesPanel:
    trials, values = sweep.trials, sweep.curves[metric].to_numpy(float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    log_y = positive and not (higher_is_better(metric) or is_parameter(metric))
    metrics: tuple[str, ...] = (metric,)
    # A line of a single run shows no spread, so the spread over a cell's seeds is drawn as lines.
    if level == "cell" and len(varied_axes(trials)) <= 1 and trials["seed"].nunique() > 1:
        metrics = metric, f"{metric}_min", f"{metric}_max"
    lines = trials[axis].nunique(dropna=False) if axis else 1
    return CurvesPanel(
        metrics,
        by=_axis_field(sweep, axis) if axis else None,
        # The mean less a deviation may be negative, which a log axis cannot show.
        spread="minmax" if log_y else "stddev",
        log_x=_has_log_steps(np.unique(sweep.curves["step"])),
        log_y=log_y,
        lines=lines * len(metrics),
    )


def _has_log_steps(steps: np.ndarray) -> bool:
    later = steps[steps > 0]
    return len(later) > 1 and (bool(later[-1] >= _DECADES * later[0]) or is_log_spaced(later.tolist()))


def _axis_field(sweep: StoredSweep, axis: str) -> Field:
    name = short_axis_names(varied_axes(sweep.trials))[axis]
    return Field(config_path(sweep, axis), name, is_log_spaced(sweep.trials[axis].unique()))


def _final_field(trials: pd.DataFrame, metric: str) -> Field:
    """Return a metric at the last step, on a log axis if it is a loss that spans a decade."""
    key = f"final_{metric}"
    values = trials.loc[trials["status"] == "ok", key].dropna().astype(float)
    log = not values.empty and values.min() > 0 and values.max() >= 10 * values.min()
    return Field(key, f"final {metric}", bool(log) and not higher_is_better(metric), summary=True)
