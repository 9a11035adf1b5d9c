"""What a sweep's dashboard shows, in sections of panels: pure, and knowing nothing of W&B's client."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, is_log_spaced, plottable_axes
from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import LR, default_metric, higher_is_better, is_parameter
from vsweep.results import Sweep
from vsweep.trackers.wandb.granularity import Level


@dataclass(frozen=True)
class Field:
    """One number of a run: of its config, by dotted path, or of its summary."""

    key: str
    name: str
    log: bool = False
    summary: bool = False


@dataclass(frozen=True)
class CurvesPanel:
    """Metrics over steps, a line for each value of a config's field: the mean of its runs, and their spread.

    by: None for one line of all runs. spread: as W&B calls it. lines: how many there are.
    """

    metrics: tuple[str, ...]
    by: Field | None
    spread: Literal["stddev", "minmax"]
    log_x: bool
    log_y: bool
    lines: int = 1

    @property
    def title(self) -> str:
        """What stands above it."""
        return self.metrics[0] + (f" by {self.by.name}" if self.by else "")

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        if len(self.metrics) > 1:
            return f"{self.title}: mean, least and greatest over seeds{_logs(x=self.log_x, y=self.log_y)}"
        spread = "standard deviation" if self.spread == "stddev" else "range"
        return f"{self.title}: mean and {spread} of the runs{_logs(x=self.log_x, y=self.log_y)}"


@dataclass(frozen=True)
class ParallelPanel:
    """A line for each run through parallel axes."""

    columns: tuple[Field, ...]

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        names = [column.name + (" (log)" if column.log else "") for column in self.columns]
        return f"parallel coordinates: {', '.join(names)}"


@dataclass(frozen=True)
class ImportancePanel:
    """How much of a metric each field of the config tells."""

    target: str

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"parameter importance for {self.target}"


@dataclass(frozen=True)
class ScatterPanel:
    """A point for each run. z: a third axis."""

    x: Field
    y: Field
    z: Field | None = None

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{self.y.name} against {self.x.name}" + (f" and {self.z.name}" if self.z else "")

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return self.title + _logs(x=self.x.log, y=self.y.log, z=self.z is not None and self.z.log)


@dataclass(frozen=True)
class ImagesPanel:
    """Pictures that the overview has logged."""

    title: str
    keys: tuple[str, ...]

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"{self.title}: {', '.join(key.partition('/')[2] for key in self.keys)}"


@dataclass(frozen=True)
class TablePanel:
    """A table that the overview has logged."""

    key: str

    @property
    def words(self) -> str:
        """What it shows, in a line."""
        return f"table of {self.key}"


Panel = CurvesPanel | ParallelPanel | ImportancePanel | ScatterPanel | ImagesPanel | TablePanel


def _logs(**axes: bool) -> str:
    named = [name for name, log in axes.items() if log]
    return f", log {' and '.join(named)}" if named else ""


WIDTH = "model.width"
TABLES = "cells", "trials"
_MOST_PARAMETERS = 6
# Steps are on a log scale where the last is so many times the first after 0.
_DECADES = 1000.0


def heatmap_key(x: str, y: str) -> str:
    """Under what name the overview logs the heat map over two axes."""
    return f"heatmap/{x} by {y}"


def curves_key(axis: str) -> str:
    """Under what name the overview logs the curves by an axis."""
    return f"curves/{axis}"


def config_path(sweep: Sweep, axis: str) -> str:
    """Where a run's config has an axis's value: of a whole group, its name."""
    return f"{axis}.name" if isinstance(sweep.config.get(axis), dict) else axis


def dashboard_sections(sweep: Sweep, level: Level) -> dict[str, list[Panel]]:
    """The panels of a sweep's dashboard, by the section that they are in; no section is empty."""
    trials = sweep.trials
    pairs = heatmap_pairs(trials)
    overview: list[Panel] = [TablePanel(name) for name in TABLES]
    if plottable_axes(trials):
        pictures = tuple(map(curves_key, plottable_axes(trials)))
        overview.insert(0, ImagesPanel("curves, best over all other axes", pictures))
    if pairs:
        overview.insert(0, ImagesPanel("heat maps", tuple(heatmap_key(x, y) for x, y in pairs)))
    made = {"Curves": [], "Parameters": [], "Axes": []} if level == "sweep" else _of_runs(sweep, level)
    return {name: panels for name, panels in {**made, "Overview": overview}.items() if panels}


def _of_runs(sweep: Sweep, level: Level) -> dict[str, list[Panel]]:
    axes = {axis: _field(sweep, axis) for axis in varied_axes(sweep.trials)}
    metrics = [name for name in map(str, sweep.curves) if name not in ("trial", "step")]
    metrics = [name for name in metrics if sweep.curves[name].notna().any()]
    ranking = default_metric(sweep.trials)
    loss = next((name for name in ("val_loss", "train_loss") if name in metrics), ranking)
    wanted = [name for name in dict.fromkeys([ranking, loss]) if name in metrics]
    by: list[str | None] = [*axes] or [None]
    parameters = [name for name in metrics if is_parameter(name)][:_MOST_PARAMETERS]
    return {
        "Curves": [_curves(sweep, level, name, axis) for name in wanted for axis in by],
        "Parameters": [_curves(sweep, level, name, by[0]) for name in parameters],
        "Axes": _of_axes(sweep.trials, axes, ranking, loss),
    }


def _of_axes(trials: pd.DataFrame, axes: dict[str, Field], ranking: str, loss: str) -> list[Panel]:
    if not axes or f"final_{ranking}" not in trials:
        return []
    target = _final(trials, ranking)
    panels: list[Panel] = [ParallelPanel((*axes.values(), target)), ImportancePanel(target.key)]
    numbers = [axis for axis in axes if pd.api.types.is_numeric_dtype(trials[axis])]
    if not numbers or f"final_{loss}" not in trials:
        return panels
    x = LR if LR in numbers else numbers[0]
    panels.append(ScatterPanel(axes[x], _final(trials, loss)))
    if WIDTH in numbers and x != WIDTH:
        panels.append(ScatterPanel(axes[x], _final(trials, loss), axes[WIDTH]))
    return panels


def _curves(sweep: Sweep, level: Level, metric: str, axis: str | None) -> CurvesPanel:
    trials, values = sweep.trials, sweep.curves[metric].to_numpy(float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    log_y = positive and not (higher_is_better(metric) or is_parameter(metric))
    metrics: tuple[str, ...] = (metric,)
    # A run of a cell has the spread over its seeds, which a line of one run would not show.
    if level == "cell" and len(varied_axes(trials)) <= 1 and trials["seed"].nunique() > 1:
        metrics = metric, f"{metric}_min", f"{metric}_max"
    lines = trials[axis].nunique(dropna=False) if axis else 1
    return CurvesPanel(
        metrics,
        by=_field(sweep, axis) if axis else None,
        # Less a deviation, a mean may be below zero, where a log axis ends.
        spread="minmax" if log_y else "stddev",
        log_x=_log_steps(np.unique(sweep.curves["step"])),
        log_y=log_y,
        lines=lines * len(metrics),
    )


def _log_steps(steps: np.ndarray) -> bool:
    later = steps[steps > 0]
    return len(later) > 1 and (bool(later[-1] >= _DECADES * later[0]) or is_log_spaced(later.tolist()))


def _field(sweep: Sweep, axis: str) -> Field:
    """An axis that varies."""
    name = short_axis_names(varied_axes(sweep.trials))[axis]
    return Field(config_path(sweep, axis), name, is_log_spaced(sweep.trials[axis].unique()))


def _final(trials: pd.DataFrame, metric: str) -> Field:
    """A metric at the last step, on a log axis where it is a loss that spans a decade."""
    values = trials.loc[trials["status"] == "ok", f"final_{metric}"].dropna().astype(float)
    spans = not values.empty and values.min() > 0 and values.max() >= 10 * values.min()
    return Field(
        f"final_{metric}", f"final {metric}", bool(spans) and not higher_is_better(metric), summary=True
    )
