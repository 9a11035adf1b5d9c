"""Which cells are best: pure functions of the table of trials."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vsweep.results.compare import against_first, by_seed

# The axis of the learning rate.
LR = "optimizer.lr"
_PREFERRED = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: of accuracies it is, of losses and norms it is not."""
    return metric.endswith("accuracy")


def is_parameter(metric: str) -> bool:
    """Whether what is recorded is one of the parameters."""
    return metric.startswith("param.")


def preferred(metrics: Iterable[str]) -> str:
    """Of metrics that are recorded, the one that ranks: of held-out examples, and accuracy before loss."""
    known = set(metrics)
    return next((name for name in _PREFERRED if name in known), "train_loss")


def axes_of(trials: pd.DataFrame) -> list[str]:
    """The axes among the columns of a table of trials: those between `seed` and `status`."""
    columns = list(trials.columns)
    return columns[columns.index("seed") + 1 : columns.index("status")]


def known_axis(trials: pd.DataFrame, axis: str) -> None:
    """Raise `KeyError` for an axis that a table of trials does not have."""
    if axis not in axes_of(trials):
        raise KeyError(f"no axis {axis!r}: there are {', '.join(axes_of(trials))}")


def having(trials: pd.DataFrame, axis: str, value: Any) -> pd.Series:
    """Which trials have a value on an axis, as it is, or else as it is printed; bool.

    value: None for the trials whose value is null, or that lack the axis. Raises `KeyError` for an axis that
    there is not, or where no trial has the value.
    """
    known_axis(trials, axis)
    column = trials[axis]
    if value is None:
        found = column.isna()
    elif isinstance(value, list | tuple):
        # As lists stand in the table.
        found = column.astype(str) == str(tuple(float(v) if isinstance(v, int) else v for v in value))
    else:
        found = column == value
        found = found if found.any() else column.map(short) == short(value)
    found = found.fillna(value=False).astype(bool)
    if not found.any():
        there = ", ".join(short(each) for each in column.drop_duplicates())
        raise KeyError(f"no trial has {axis}={value}: there are {there}")
    return found


def default_metric(trials: pd.DataFrame) -> str:
    """The metric that ranks: of the held-out examples where there are any, accuracy before loss."""
    for name in _PREFERRED:
        columns = {f"final_{name}", f"best_{name}"} & set(trials)
        if any(trials[column].notna().any() for column in columns):
            return name
    return next((name for name in _PREFERRED if f"final_{name}" in trials), "train_loss")


def rank_cells(trials: pd.DataFrame, metric: str | None = None, report: str | None = None) -> pd.DataFrame:
    """One row per cell, best first.

    metric: ranks by its mean final value over the seeds that did not diverge; None is
    `default_metric`. A cell of which fewer seeds diverged comes before one of which more did. report:
    another metric, whose mean and standard error are given too.

    Columns: `cell`, the axes, `mean`, `std` (over seeds, n - 1; NaN for one seed), `sem` (the mean's
    standard error, `std / sqrt n`), `seeds`, `diverged`, `chance` (that the first cell is really better than
    this one) and `more_seeds` (that would tell them apart; 0 where they are): see `compare`. Of `report`,
    its own name and `<report>_sem`. Raises `KeyError` for a metric that was not recorded.
    """
    metric = metric or default_metric(trials)
    ok = final_values(trials, metric)
    grouped = trials.assign(_value=ok, _diverged=trials["status"] == "diverged").groupby("cell")
    cells = grouped[axes_of(trials)].first() if axes_of(trials) else pd.DataFrame(index=grouped.size().index)
    cells["mean"], cells["std"] = grouped["_value"].mean(), grouped["_value"].std()
    cells["sem"] = cells["std"] / np.sqrt(grouped["_value"].count())
    cells["seeds"] = grouped.size()
    cells["diverged"] = grouped["_diverged"].sum()
    ascending = [True, not higher_is_better(metric)]
    cells = cells.reset_index().sort_values(
        ["diverged", "mean"], ascending=ascending, na_position="last", ignore_index=True, kind="stable"
    )
    values = by_seed(trials, f"final_{metric}", cells["cell"].tolist())
    cells["chance"], more = against_first(values, higher=higher_is_better(metric))
    cells["more_seeds"] = pd.array(more, "Float64").astype("Int64")
    if report is not None:
        other = trials.assign(_value=final_values(trials, report)).groupby("cell")["_value"]
        sem: pd.Series = other.std() / np.sqrt(other.count())
        cells[report] = cells["cell"].map(other.mean())
        cells[f"{report}_sem"] = cells["cell"].map(sem)
    return cells


def final_values(trials: pd.DataFrame, metric: str) -> pd.Series:
    """The final value of a metric by trial, float64; NaN where it diverged.

    Raises `KeyError` for a metric that was not recorded.
    """
    column = f"final_{metric}"
    if column not in trials:
        known = [c.removeprefix("final_") for c in map(str, trials) if c.startswith("final_")]
        raise KeyError(f"no metric {metric!r}: there are {', '.join(known)}")
    return trials[column].where(trials["status"] == "ok").astype(float)


def test_metric(trials: pd.DataFrame, metric: str) -> str | None:
    """The same metric on the test's examples, where there are any: `val_accuracy`'s is `test_accuracy`."""
    name = "test_" + metric.partition("_")[2]
    known = name != metric and f"final_{name}" in trials and trials[f"final_{name}"].notna().any()
    return name if known else None


def loss_of(trials: pd.DataFrame, metric: str) -> str | None:
    """The loss that goes with a metric: itself, or `val_loss` of `val_accuracy`; None where there is none."""
    name = metric.replace("accuracy", "loss")
    return name if name.endswith("loss") and f"final_{name}" in trials else None


def recorded_parameters(trials: pd.DataFrame) -> list[str]:
    """The parameters that were recorded, as curves name them; of functions too."""
    names = [name.removeprefix("final_") for name in map(str, trials) if name.startswith("final_")]
    return [name for name in names if is_parameter(name)]


def sampled(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """All of the trials, or as many, drawn at random but ever the same."""
    if len(trials) <= most:
        return trials
    return trials.iloc[np.sort(np.random.default_rng(0).choice(len(trials), most, replace=False))]


def label(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """A cell in words: `lr=0.1 width=32`, of the axes that it has."""
    names = short_names(axes)
    return " ".join(f"{names[axis]}={short(row[axis])}" for axis in axes if pd.notna(row[axis]))


def varied(trials: pd.DataFrame) -> list[str]:
    """The axes on which these trials differ."""
    return [axis for axis in axes_of(trials) if trials[axis].nunique(dropna=False) > 1]


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """Each axis by the last part of its path, where no other axis has the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {axis: name if last.count(name) == 1 else axis for axis, name in zip(axes, last, strict=True)}


def short(value: object) -> str:
    """A value as briefly as it can be read."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shorts(values: Iterable[Any]) -> list[str]:
    """Values as briefly as they can be read and told apart."""
    known = list(values)
    for digits in range(4, 18):
        found = [
            f"{value:.{digits}g}" if isinstance(value, float) and value == value else short(value)
            for value in known
        ]
        if len(set(found)) == len(set(map(str, known))):
            break
    return found


def with_error(mean: float, sem: float) -> str:
    """A mean and its standard error, where there is one."""
    return short(mean) + ("" if pd.isna(sem) else f" ± {sem:.2g}")
