"""Facts about metric names and about the table of trials, shared by all other packages."""

from collections.abc import Iterable

import pandas as pd

# The axis of the learning rate.
LR = "optimizer.lr"
_PREFERRED = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")


def higher_is_better(metric: str) -> bool:
    """Return whether a higher value is better, which holds for accuracies but not for losses and norms."""
    return metric.endswith("accuracy")


def is_parameter(metric: str) -> bool:
    """Return whether a recorded quantity is one of the model's parameters."""
    return metric.startswith("param.")


def preferred_metric(metrics: Iterable[str]) -> str:
    """Return the metric that ranks the cells: validation before training metrics, accuracy before loss."""
    recorded = set(metrics)
    return next((name for name in _PREFERRED if name in recorded), "train_loss")


def axes_of(trials: pd.DataFrame) -> list[str]:
    """Return the axes of a table of trials, its columns between `seed` and `status`."""
    columns = list(trials.columns)
    return columns[columns.index("seed") + 1 : columns.index("status")]


def default_metric(trials: pd.DataFrame) -> str:
    """Return the metric that ranks a table of trials: the preferred one among those that have values."""
    for name in _PREFERRED:
        columns = {f"final_{name}", f"best_{name}"} & set(trials)
        if any(trials[column].notna().any() for column in columns):
            return name
    return preferred_metric(name for name in _PREFERRED if f"final_{name}" in trials)


def final_values(trials: pd.DataFrame, metric: str) -> pd.Series:
    """Return the final value of a metric for each trial, float64; NaN where the trial diverged.

    Raises:
        KeyError: If the metric was not recorded.
    """
    column = f"final_{metric}"
    if column not in trials:
        recorded = [c.removeprefix("final_") for c in map(str, trials) if c.startswith("final_")]
        raise KeyError(f"no metric {metric!r}: this sweep recorded {', '.join(recorded)}")
    return trials[column].where(trials["status"] == "ok").astype(float)
