"""What a sweep's dashboard shows, in sections of panels: pure, and knowing nothing of W&B's client."""

import numpy as np
import pandas as pd

from vsweep.analysis.axis_scale import heatmap_pairs, log_spaced, pictured
from vsweep.analysis.labels import short_names
from vsweep.analysis.ranking import varied
from vsweep.metrics import LR, default_metric, higher_is_better, is_parameter
from vsweep.results import Sweep
from vsweep.trackers.wandb.levels import Level
from vsweep.trackers.wandb.panels import Curves, Field, Importance, Panel, Parallel, Pictures, Rows, Scatter

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


def sections(sweep: Sweep, level: Level) -> dict[str, list[Panel]]:
    """The panels of a sweep's dashboard, by the section that they are in; no section is empty."""
    trials = sweep.trials
    pairs = heatmap_pairs(trials)
    overview: list[Panel] = [Rows(name) for name in TABLES]
    if pictured(trials):
        pictures = tuple(map(curves_key, pictured(trials)))
        overview.insert(0, Pictures("curves, best over all other axes", pictures))
    if pairs:
        overview.insert(0, Pictures("heat maps", tuple(heatmap_key(x, y) for x, y in pairs)))
    made = {"Curves": [], "Parameters": [], "Axes": []} if level == "sweep" else _of_runs(sweep, level)
    return {name: panels for name, panels in {**made, "Overview": overview}.items() if panels}


def _of_runs(sweep: Sweep, level: Level) -> dict[str, list[Panel]]:
    axes = {axis: _field(sweep, axis) for axis in varied(sweep.trials)}
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
    panels: list[Panel] = [Parallel((*axes.values(), target)), Importance(target.key)]
    numbers = [axis for axis in axes if pd.api.types.is_numeric_dtype(trials[axis])]
    if not numbers or f"final_{loss}" not in trials:
        return panels
    x = LR if LR in numbers else numbers[0]
    panels.append(Scatter(axes[x], _final(trials, loss)))
    if WIDTH in numbers and x != WIDTH:
        panels.append(Scatter(axes[x], _final(trials, loss), axes[WIDTH]))
    return panels


def _curves(sweep: Sweep, level: Level, metric: str, axis: str | None) -> Curves:
    trials, values = sweep.trials, sweep.curves[metric].to_numpy(float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    log_y = positive and not (higher_is_better(metric) or is_parameter(metric))
    metrics: tuple[str, ...] = (metric,)
    # A run of a cell has the spread over its seeds, which a line of one run would not show.
    if level == "cell" and len(varied(trials)) <= 1 and trials["seed"].nunique() > 1:
        metrics = metric, f"{metric}_min", f"{metric}_max"
    lines = trials[axis].nunique(dropna=False) if axis else 1
    return Curves(
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
    return len(later) > 1 and (bool(later[-1] >= _DECADES * later[0]) or log_spaced(later.tolist()))


def _field(sweep: Sweep, axis: str) -> Field:
    """An axis that varies."""
    name = short_names(varied(sweep.trials))[axis]
    return Field(config_path(sweep, axis), name, log_spaced(sweep.trials[axis].unique()))


def _final(trials: pd.DataFrame, metric: str) -> Field:
    """A metric at the last step, on a log axis where it is a loss that spans a decade."""
    values = trials.loc[trials["status"] == "ok", f"final_{metric}"].dropna().astype(float)
    spans = not values.empty and values.min() > 0 and values.max() >= 10 * values.min()
    return Field(
        f"final_{metric}", f"final {metric}", bool(spans) and not higher_is_better(metric), summary=True
    )
