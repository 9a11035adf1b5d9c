"""Which cells are best: pure functions of the table of trials."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_value
from vsweep.analysis.significance import prob_first_better, values_by_seed
from vsweep.metrics import axes_of, default_metric, final_values, higher_is_better, is_parameter
from vsweep.store.reader import StoredSweep

AnySweep = TypeVar("AnySweep", bound=StoredSweep)


def check_axis(trials: pd.DataFrame, axis: str) -> None:
    """Raise `KeyError` for an axis that a table of trials does not have."""
    if axis not in axes_of(trials):
        raise KeyError(f"no axis {axis!r}: there are {', '.join(axes_of(trials))}")


def has_value(trials: pd.DataFrame, axis: str, value: Any) -> pd.Series:
    """Which trials have a value on an axis, as it is, or else as it is printed; bool.

    value: None for the trials whose value is null, or that lack the axis. Raises `KeyError` for an axis that
    there is not, or where no trial has the value.
    """
    check_axis(trials, axis)
    column = trials[axis]
    if value is None:
        found = column.isna()
    elif isinstance(value, list | tuple):
        # As lists stand in the table.
        found = column.astype(str) == str(tuple(float(v) if isinstance(v, int) else v for v in value))
    else:
        found = column == value
        found = found if found.any() else column.map(format_value) == format_value(value)
    found = found.fillna(value=False).astype(bool)
    if not found.any():
        there = ", ".join(format_value(each) for each in column.drop_duplicates())
        raise KeyError(f"no trial has {axis}={value}: there are {there}")
    return found


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
    values = values_by_seed(trials, f"final_{metric}", cells["cell"].tolist())
    cells["chance"], more = prob_first_better(values, higher=higher_is_better(metric))
    cells["more_seeds"] = pd.array(more, "Float64").astype("Int64")
    if report is not None:
        other = trials.assign(_value=final_values(trials, report)).groupby("cell")["_value"]
        sem: pd.Series = other.std() / np.sqrt(other.count())
        cells[report] = cells["cell"].map(other.mean())
        cells[f"{report}_sem"] = cells["cell"].map(sem)
    return cells


def best_cell(trials: pd.DataFrame, metric: str | None = None, report: str | None = None) -> pd.Series:
    """Return the best cell: its axes, `mean`, `std`, `sem`, `seeds`, `diverged`, and more.

    Args:
        trials: The table of trials.
        metric: The metric that chooses the cell; by default the one that ranks.
        report: Another metric, given for the cell alone; by default the same metric on the test's examples,
            which have no part in choosing.

    Returns:
        The first row of `rank_cells`, except that `chance` is the probability that the cell is really better
        than the second one; NaN where there is no second cell, or one seed.

    Raises:
        KeyError: If a metric was not recorded.
    """
    metric = metric or default_metric(trials)
    cells = rank_cells(trials, metric, report or test_metric(trials, metric))
    chance = cells["chance"].iloc[1] if len(cells) > 1 else np.nan
    more = cells["more_seeds"].iloc[1] if len(cells) > 1 else pd.NA
    first = cells.astype(object).iloc[0].copy()
    first["chance"], first["more_seeds"] = chance, more
    return first


def restrict(sweep: AnySweep, values: Mapping[str, Any]) -> AnySweep:
    """Return the sweep restricted to the cells that have these values: see `Sweep.where`."""
    kept = sweep.trials
    for axis, value in values.items():
        kept = kept[has_value(kept, axis, value)]
    named = " ".join(f"{axis}={value}" for axis, value in values.items())
    return sweep.restricted(kept.reset_index(drop=True), " ".join(filter(None, (sweep.only, named))))


def test_metric(trials: pd.DataFrame, metric: str) -> str | None:
    """The same metric on the test's examples, where there are any: `val_accuracy`'s is `test_accuracy`."""
    name = "test_" + metric.partition("_")[2]
    known = name != metric and f"final_{name}" in trials and trials[f"final_{name}"].notna().any()
    return name if known else None


def matching_loss(trials: pd.DataFrame, metric: str) -> str | None:
    """The loss that goes with a metric: itself, or `val_loss` of `val_accuracy`; None where there is none."""
    name = metric.replace("accuracy", "loss")
    return name if name.endswith("loss") and f"final_{name}" in trials else None


def recorded_parameters(trials: pd.DataFrame) -> list[str]:
    """The parameters that were recorded, as curves name them; of functions too."""
    names = [name.removeprefix("final_") for name in map(str, trials) if name.startswith("final_")]
    return [name for name in names if is_parameter(name)]


def sample_trials(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """All of the trials, or as many, drawn at random but ever the same."""
    if len(trials) <= most:
        return trials
    return trials.iloc[np.sort(np.random.default_rng(0).choice(len(trials), most, replace=False))]


def varied_axes(trials: pd.DataFrame) -> list[str]:
    """The axes on which these trials differ."""
    return [axis for axis in axes_of(trials) if trials[axis].nunique(dropna=False) > 1]
