"""Facts about metric names and about the table of trials, needed by every other room."""

from collections.abc import Iterable

import pandas as pd

# The axis of the learning rate.
LR = "optimizer.lr"
_PREFERRED = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: of accuracies it is, of losses and norms it is not."""
    return metric.endswith("accuracy")


def is_parameter(metric: str) -> bool:
    """Whether what is recorded is one of the parameters."""
    return metric.startswith("param.")


def preferred_metric(metrics: Iterable[str]) -> str:
    """Of metrics that are recorded, the one that ranks: of held-out examples, and accuracy before loss."""
    known = set(metrics)
    return next((name for name in _PREFERRED if name in known), "train_loss")


def axes_of(trials: pd.DataFrame) -> list[str]:
    """The axes among the columns of a table of trials: those between `seed` and `status`."""
    columns = list(trials.columns)
    return columns[columns.index("seed") + 1 : columns.index("status")]


def default_metric(trials: pd.DataFrame) -> str:
    """The metric that ranks: of the held-out examples where there are any, accuracy before loss."""
    for name in _PREFERRED:
        columns = {f"final_{name}", f"best_{name}"} & set(trials)
        if any(trials[column].notna().any() for column in columns):
            return name
    return next((name for name in _PREFERRED if f"final_{name}" in trials), "train_loss")


def final_values(trials: pd.DataFrame, metric: str) -> pd.Series:
    """The final value of a metric by trial, float64; NaN where it diverged.

    Raises `KeyError` for a metric that was not recorded.
    """
    column = f"final_{metric}"
    if column not in trials:
        known = [c.removeprefix("final_") for c in map(str, trials) if c.startswith("final_")]
        raise KeyError(f"no metric {metric!r}: there are {', '.join(known)}")
    return trials[column].where(trials["status"] == "ok").astype(float)
