"""Facts about metric names and about the table of trials, shared by all other packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    # The core reads names alone, and runs where pandas is not installed.
    import pandas as pd

# The axis of the learning rate.
LR = "optimizer.lr"
# The share of the variance of the targets that is explained, which is computed from `rmse`.
R2 = "r2"
# A metric on held-out examples comes before one on training examples, and a score before the loss.
_PREFERRED = tuple(f"{part}_{name}" for part in ("val", "train") for name in ("accuracy", "rmse", "loss"))
_HIGHER = ("_accuracy", "_f1", "_auc", f"_{R2}")
# The scores that have the same definition whatever the loss is.
_SCORES = (*_HIGHER, "_rmse", "_mae")
# Fields of the data that change neither the examples nor the meaning of a score.
SAME_EXAMPLES = (
    "batch_size",
    "val_fraction",
    "test_fraction",
    "split_seed",
    "standardize",
    "standardize_target",
    "stratify",
    "splits",
    "folds",
    "fold",
)
# The columns of a table of trials that hold leave-out values.
PARTS = "parts_"
# The choice of a group that is a function of the user's own.
OWN = "own"


def higher_is_better(metric: str) -> bool:
    """Return whether a higher value is better, which holds for accuracies but not for losses and norms."""
    return metric.endswith(_HIGHER) and not is_parameter(metric)


def is_share(metric: str) -> bool:
    """Return whether a metric counts examples, so that one of them moves it by a step."""
    return higher_is_better(metric) and not metric.endswith(f"_{R2}")


def is_accuracy(metric: str) -> bool:
    """Return whether a metric is the share of the examples that a model is right on."""
    return metric.partition("_")[2] == "accuracy"


def is_parameter(metric: str) -> bool:
    """Return whether a recorded quantity is one of the model's parameters."""
    return metric.startswith("param.")


def preferred_metric(metrics: Iterable[str]) -> str:
    """Return the metric that ranks the cells: validation before training metrics, scores before the loss."""
    recorded = set(metrics)
    return next((name for name in _PREFERRED if name in recorded), "train_loss")


def chosen_metric(config: Mapping[str, Any]) -> str | None:
    """Return the metric that a sweep's config names, or None if it leaves the choice to vsweep."""
    metric = config.get("metric")
    return None if metric in (None, "auto") else metric


def with_derived(names: Iterable[str]) -> list[str]:
    """Return names of metrics with those that the host computes from them, each `mae` followed by an `r2`."""
    derived = {name: name.removesuffix("mae") + R2 for name in names if name.endswith("_mae")}
    return [metric for name in names for metric in (name, derived.get(name)) if metric]


def axes_of(trials: pd.DataFrame) -> list[str]:
    """Return the axes of a table of trials, its columns between `seed` and `status`, if it has a status."""
    columns = list(trials.columns)
    end = columns.index("status") if "status" in columns else None
    return columns[columns.index("seed") + 1 : end]


def followers_of(trials: pd.DataFrame) -> list[str]:
    """Return the fields that follow axes in a table of trials, its columns between `cell` and `seed`."""
    columns = list(trials.columns)
    return [name for name in columns[columns.index("cell") + 1 : columns.index("seed")] if name != "split"]


def replicates(trials: pd.DataFrame) -> pd.Series:
    """Return the number of the replicate that each trial is of: its split, or its seed if there is one split.

    Cells are compared replicate by replicate, since they have the same examples there, or the same draws. The
    seeds of a split have the same examples, so they are no replicates of it.
    """
    return trials[replicate_name(trials)].rename("seed")


def replicate_name(trials: pd.DataFrame) -> str:
    """Return what the replicates of a cell are: `split`, or `seed` if there is one split."""
    return "split" if split_count(trials) else "seed"


def split_count(trials: pd.DataFrame) -> int:
    """Return the number of splits; 0 for one."""
    splits = trials["split"].nunique() if "split" in trials else 1
    return splits if splits > 1 else 0


def default_metric(trials: pd.DataFrame) -> str:
    """Return the metric that ranks a table of trials: the preferred one that most trials have."""
    known = {
        name: max(
            int(trials[column].notna().sum())
            for column in (f"final_{name}", f"best_{name}")
            if column in trials
        )
        for name in _PREFERRED
        if {f"final_{name}", f"best_{name}"} & set(trials)
    }
    # A score that only some of the losses have ranks only some of the cells.
    most = max(known.values(), default=0)
    return preferred_metric(name for name, count in known.items() if count == most or not most)


def strata(trials: pd.DataFrame, metric: str) -> list[str]:
    """Return the fields that vary, and between whose values a metric cannot be compared.

    A loss is not the same quantity for two losses, or for two values of a loss's field, and no metric is for
    two data sets or two functions. Losses of numbers are in the unit in which a program has its targets:
    their deviation in the training rows, or, for your own models, the targets' own.
    """
    is_score = metric.endswith(_SCORES)
    # Versions that did not scale targets had no such score.
    scaled = not is_score and "final_train_rmse" in trials

    def differs(axis: str) -> bool:
        group, _, field = axis.partition(".")
        if group == "loss":
            return not is_score
        if axis == "model":
            names = trials[axis] == OWN
            return bool(scaled and names.any() and not names.all())
        if group != "data" or field == "batch_size":
            return False
        return scaled or field not in SAME_EXAMPLES

    fields = [*axes_of(trials), *followers_of(trials)]
    return [path for path in fields if differs(path) and trials[path].nunique(dropna=False) > 1]


def stratum_of(table: pd.DataFrame, axes: list[str]) -> np.ndarray:
    """Return the number of each row's values on some axes, int64 `(rows,)`, in the order of the table."""
    if not axes:
        return np.zeros(len(table), np.int64)
    return table.groupby(axes, sort=False, dropna=False).ngroup().to_numpy(np.int64)


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


def part_values(trials: pd.DataFrame, metric: str) -> np.ndarray | None:
    """Return the leave-out values of a metric, which the error of the held-out examples is computed from.

    Args:
        trials: The table of trials.
        metric: A metric of held-out examples, such as `val_accuracy`.

    Returns:
        Float64 `(trials, groups)`, the final value without the examples of each group; NaN for a trial that
        diverged or has none. None if no trial has any, or trials have different numbers of groups.
    """
    column = f"{PARTS}{metric}"
    values = trials[column].tolist() if column in trials else []
    known = [group for group in values if group is not None]
    if len({len(group) for group in known}) != 1:
        return None
    missing = np.full(len(known[0]), np.nan)
    return np.asarray([missing if group is None else group for group in values], np.float64)


def without_parts(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a table of trials without the leave-out values, as it is shown to people."""
    return trials[[name for name in trials if not str(name).startswith(PARTS)]]
