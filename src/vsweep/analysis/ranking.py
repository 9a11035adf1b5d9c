"""Rank cells and select trials: pure functions of the table of trials."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from vsweep.analysis.errors import arrange, errors
from vsweep.analysis.labels import cell_label, format_value, format_with_error
from vsweep.analysis.significance import ALPHA, Results, compare
from vsweep.metrics import (
    axes_of,
    default_metric,
    final_values,
    followers_of,
    higher_is_better,
    is_parameter,
    preferred_metric,
    split_count,
    strata,
    stratum_of,
)
from vsweep.store.reader import StoredSweep

# At most this many constant guesses are listed.
_MOST_GUESSES = 5
# Means that differ by less, relative to their size, are equal in float32.
_ROUNDING = 1e-5

AnySweep = TypeVar("AnySweep", bound=StoredSweep)


def check_axis(trials: pd.DataFrame, axis: str) -> None:
    """Check that a table of trials has an axis.

    Raises:
        KeyError: If it does not.
    """
    if axis not in axes_of(trials):
        raise KeyError(f"no axis {axis!r}: the axes are {', '.join(axes_of(trials))}")


def has_value(trials: pd.DataFrame, axis: str, value: Any) -> pd.Series:
    """Return which trials have a value on an axis, given as stored or as printed; bool `(trials,)`.

    Args:
        trials: The table of trials.
        axis: Dotted path of the axis, or of a field that follows one.
        value: The value; None selects trials whose value is null or that lack the axis.

    Raises:
        KeyError: If there is no such axis, or no trial has the value.
    """
    if axis not in followers_of(trials):
        check_axis(trials, axis)
    column = trials[axis]
    if value is None:
        matches = column.isna()
    elif isinstance(value, list | tuple):
        # The table holds lists as the text of tuples of floats.
        matches = column.astype(str) == str(tuple(float(v) if isinstance(v, int) else v for v in value))
    else:
        matches = column == value
        matches = matches if matches.any() else column.map(format_value) == format_value(value)
    matches = matches.fillna(value=False).astype(bool)
    if not matches.any():
        known = ", ".join(map(format_value, column.drop_duplicates()))
        raise KeyError(f"no trial has {axis}={value}: the values are {known}")
    return matches


def rank_cells(trials: pd.DataFrame, metric: str | None = None, report: str | None = None) -> pd.DataFrame:
    """Rank the cells, best first.

    A cell with fewer diverged seeds comes before one with more. Where the metric cannot be compared between
    the values of an axis (see `strata`), the cells of each value are ranked among themselves, one value after
    another.

    Args:
        trials: The table of trials.
        metric: The metric whose mean final value, over the seeds that did not diverge, ranks; by default
            `default_metric`.
        report: Another metric, whose mean and standard error are included.

    Returns:
        A row per cell with the columns `cell`, the axes, `mean`, `std` (over seeds, n - 1; NaN for one seed);
        the standard errors `sem` (over seeds; NaN where seeds cannot differ), `examples_sem` (over the
        held-out examples; NaN where it is not known), `splits_sem` (over splits, where there are several) and
        `error` (over all of these); `low` and `high` (a 95 % interval), `seeds`, `diverged`, `rank` (from 1,
        among the cells that can be compared), `p` (the p-value of the hypothesis that the cell is the best of
        these, see `vsweep.analysis.significance`), `more_seeds` (the number of further seeds that would
        separate it from the first; 0 where it is separated), and `tied` (whether the cell may be the best:
        `p` above 0.05, or the first). `report` adds a column of its name and `<report>_error`.

    Raises:
        KeyError: If a metric was not recorded.
    """
    metric = metric or default_metric(trials)
    values = final_values(trials, metric)
    grouped = trials.assign(_value=values, _diverged=trials["status"] == "diverged").groupby("cell")
    cells = grouped[axes_of(trials)].first() if axes_of(trials) else pd.DataFrame(index=grouped.size().index)
    cells[["mean", "std"]] = grouped["_value"].agg(["mean", "std"])
    cells = cells.join(errors(trials, metric))
    cells["seeds"], cells["diverged"] = grouped.size(), grouped["_diverged"].sum()
    higher = higher_is_better(metric)
    cells = cells.reset_index()
    stratum = pd.Series(stratum_of(trials, strata(trials, metric)), trials["cell"].to_numpy())
    first = stratum[~stratum.index.duplicated()]
    cells = cells.assign(_stratum=cells["cell"].map(first)).sort_values(
        ["_stratum", "diverged", "mean"],
        ascending=[True, True, not higher],
        na_position="last",
        ignore_index=True,
        kind="stable",
    )
    results = arrange(trials, cells, metric)
    parts = [_compare(part, results.of(part.index)) for _, part in cells.groupby("_stratum")]
    cells = pd.concat(parts).drop(columns="_stratum")
    if report is not None:
        other = trials.assign(_value=final_values(trials, report)).groupby("cell")["_value"]
        cells[report] = other.mean().loc[cells["cell"]].to_numpy()
        error = errors(trials, report)["error"]
        cells[f"{report}_error"] = error.loc[cells["cell"]].to_numpy()
    return cells


def _compare(cells: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Compare ranked cells with the best of them."""
    p, more = compare(results)
    more_seeds = pd.array(more, "Float64").astype("Int64")
    tied = p > ALPHA
    # The first is among those that may be the best, if there are others.
    tied[0] = tied[1:].any()
    return cells.assign(rank=np.arange(1, len(cells) + 1), p=p, more_seeds=more_seeds, tied=tied)


def leading_cells(cells: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` of ranked cells, equally many of the best in each stratum."""
    strata_count = int((cells["rank"] == 1).sum())
    return cells[cells["rank"] <= max(1, most // strata_count)].head(most)


def check_comparable(trials: pd.DataFrame, metric: str, *apart: str) -> None:
    """Check that a metric can be compared between all cells that agree on some axes.

    Args:
        trials: The table of trials.
        metric: The metric.
        *apart: Axes whose values are kept apart.

    Raises:
        KeyError: If it cannot.
    """
    axes = [axis for axis in strata(trials, metric) if axis not in apart]
    if axes:
        raise KeyError(
            f"{metric} is another quantity for each value of {' and '.join(axes)}; choose one of them, as in"
            f" sweep.where({_some_values(trials, axes)})"
        )


def _some_values(trials: pd.DataFrame, axes: list[str]) -> dict[str, Any]:
    """Return a value of each axis, as `Sweep.where` takes it."""
    return {axis: trials[axis].dropna().astype(object).iloc[0] for axis in axes}


def describe_strata(trials: pd.DataFrame, metric: str) -> str:
    """Say between which cells a metric cannot be compared; return nothing where it can between all."""
    axes = strata(trials, metric)
    if not axes:
        return ""
    return (
        f"{metric} is another quantity for each value of {' and '.join(axes)}: cells are ranked within each, "
        "and not between them"
    )


def best_cell(trials: pd.DataFrame, metric: str | None = None, report: str | None = None) -> pd.Series:
    """Return the best cell: its axes, `mean`, `std`, `sem`, `seeds`, `diverged`, and more.

    Args:
        trials: The table of trials.
        metric: The metric that chooses the cell; by default `default_metric`.
        report: Another metric to report for the cell; by default the same metric on the test examples,
            which have no part in choosing.

    Returns:
        The first row of `rank_cells`, except that `p` and `more_seeds` are those of the second cell: the
        p-value of the hypothesis that it is the best; NaN where there is no second cell, or one seed.

    Raises:
        KeyError: If a metric was not recorded.
        ValueError: If the metric cannot be compared between all cells.
    """
    metric = metric or default_metric(trials)
    if axes := strata(trials, metric):
        raise ValueError(
            f"no best cell: {describe_strata(trials, metric)}; take the cells() of rank 1, or one value, as"
            f" in sweep.where({_some_values(trials, axes)}).best()"
        )
    cells = rank_cells(trials, metric, report or test_metric(trials, metric))
    first = cells.astype(object).iloc[0].copy()
    several = len(cells) > 1
    first["p"] = cells["p"].iloc[1] if several else np.nan
    first["more_seeds"] = cells["more_seeds"].iloc[1] if several else pd.NA
    return first


def restrict(sweep: AnySweep, values: Mapping[str, Any]) -> AnySweep:
    """Return the sweep restricted to the cells that have these values: see `Sweep.where`."""
    trials = sweep.trials
    for axis, value in values.items():
        trials = trials[has_value(trials, axis, value)]
    description = " ".join(f"{axis}={value}" for axis, value in values.items())
    return sweep.restricted(trials.reset_index(drop=True), f"{sweep.only} {description}".strip())


def test_metric(trials: pd.DataFrame, metric: str) -> str | None:
    """Return the same metric on the test examples, such as `test_accuracy`, or None if there are none."""
    name = "test_" + metric.partition("_")[2]
    known = name != metric and f"final_{name}" in trials and trials[f"final_{name}"].notna().any()
    return name if known else None


def describe_test(sweep: StoredSweep, metric: str) -> str:
    """Describe the best cell's value on the test examples; return nothing if there are none."""
    trials = sweep.trials
    name = test_metric(trials, metric)
    if strata(trials, metric):
        return ""
    best = best_cell(trials, metric)
    if name is None or pd.isna(best[name]):
        return ""
    text = f"the best cell has {name} {format_with_error(best[name], best[f'{name}_error'])}"
    splits = split_count(trials)
    if splits and (sweep.config.get("data") or {}).get("folds"):
        text += f" (± over {splits} folds, not over examples)"
    elif splits:
        part = (
            "the test examples of one may be validation examples of another, and have had a part in choosing"
        )
        return f"test sets: {text}, the mean over {splits} splits; {part} it"
    return f"test set: {text}; these examples had no part in choosing it"


def matching_loss(trials: pd.DataFrame, metric: str) -> str | None:
    """Return the loss that matches a metric, such as `val_loss` for `val_accuracy`, or None."""
    name = f"{metric.partition('_')[0]}_loss"
    return name if f"final_{name}" in trials else None


def describe_divergence(trials: pd.DataFrame, limit: float | None) -> str:
    """Say why all trials of a table diverged; return nothing if some did not.

    Args:
        trials: The table of trials.
        limit: The multiple of the first loss above which a trial diverges; None for the default.
    """
    if (trials["status"] == "ok").any():
        return ""
    unknown = pd.Series(np.nan, trials.index)
    grown = int(np.isfinite(trials.get("final_train_loss", unknown).astype(float)).sum())
    reasons = [
        (grown, f"the loss of {grown:,} grew past the limit (diverge_above={limit or 1000.0:g})"),
        (len(trials) - grown, f"the loss of {len(trials) - grown:,} is not finite in the end"),
    ]
    text = " and ".join(reason for count, reason in reasons if count)
    return f"all {len(trials):,} trials diverged: {text}; try lower learning rates"


def describe_baseline(sweep: StoredSweep, metric: str, cells: pd.DataFrame) -> str:
    """Compare the best cell of each stratum with a constant guess; return nothing if no guess is known.

    Where a guess has no value of the metric, as of a loss, both are compared by the preferred metric that
    the guess and the cell have.

    Args:
        sweep: The sweep.
        metric: The metric that ranks.
        cells: The cells, ranked by the metric.
    """
    guesses, beaten = [], []
    apart = strata(sweep.trials, metric)
    rows: Any = cells[(cells["rank"] == 1) & cells["mean"].notna()].to_dict("records")
    for row in rows:
        own = sweep.trials[sweep.trials["cell"] == row["cell"]]
        baseline = sweep.baseline_of(int(row["cell"]))
        name = metric if metric in baseline else _preferred_of_both(own, baseline)
        guess = baseline.get(name, np.nan)
        if pd.isna(guess):
            continue
        mean = final_values(own, name).mean()
        label = cell_label(row, [axis for axis in apart if axis in row])
        where = f" for {label}" if label else ""
        guesses.append(f"{name} {format_value(guess)}{where}")
        ahead = mean - guess if higher_is_better(name) else guess - mean
        # A model that is the constant guess differs from it by rounding.
        if ahead <= _ROUNDING * abs(guess):
            beaten.append(where)
    if not guesses:
        return ""
    more = [f"{len(guesses) - _MOST_GUESSES} more"] if len(guesses) > _MOST_GUESSES else []
    listed = ", ".join([*guesses[:_MOST_GUESSES], *more])
    text = f"a constant guess (the most frequent class, or the mean) has {listed}"
    return f"the best cell is no better than a constant guess{','.join(beaten)}: {text}" if beaten else text


def _preferred_of_both(trials: pd.DataFrame, baseline: Mapping[str, float]) -> str:
    """Return the preferred metric that these trials and their constant guess have."""
    return preferred_metric(
        name for name in baseline if f"final_{name}" in trials and final_values(trials, name).notna().any()
    )


def recorded_parameters(trials: pd.DataFrame) -> list[str]:
    """Return the recorded model parameters by the names that they have in the curves."""
    names = [name.removeprefix("final_") for name in map(str, trials) if name.startswith("final_")]
    return [name for name in names if is_parameter(name)]


def sample_trials(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` of the trials, drawn with a fixed seed and in their order."""
    if len(trials) <= most:
        return trials
    return trials.iloc[np.sort(np.random.default_rng(0).choice(len(trials), most, replace=False))]


def varied_axes(trials: pd.DataFrame) -> list[str]:
    """Return the axes on which these trials differ."""
    return [axis for axis in axes_of(trials) if trials[axis].nunique(dropna=False) > 1]
