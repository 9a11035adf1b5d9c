"""Rank cells and select trials: pure functions of the table of trials."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from vsweep.analysis.labels import cell_label, format_value, format_with_error
from vsweep.analysis.minima import is_function
from vsweep.analysis.significance import (
    ALPHA,
    Results,
    compare,
    interval,
    smallest_step,
    values_by_seed,
)
from vsweep.metrics import (
    axes_of,
    default_metric,
    final_values,
    followers_of,
    higher_is_better,
    is_parameter,
    is_share,
    part_values,
    preferred_metric,
    strata,
    stratum_of,
)
from vsweep.store.reader import StoredSweep

# At most this many constant guesses are listed.
_MOST_GUESSES = 5
_SURE = ", so they do not show how sure the order is"
# The number of held-out examples of a split for each one that it trains on, as by default.
_HELD_OUT = 0.2 / 0.7
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


def arrange(trials: pd.DataFrame, cells: pd.DataFrame, metric: str) -> Results:
    """Return the results of cells, with `cell`, `seeds` and `diverged`, for tests."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    numbers = cells["cell"].tolist()
    counts = cells["seeds"].to_numpy(np.int64), cells["diverged"].to_numpy(np.int64)
    if splits := split_count(trials):
        # The spread over splits includes that over seeds and over held-out examples.
        by_split = means_by_split(trials, metric).reindex(numbers).to_numpy(np.float64)
        return Results(sign * by_split, *counts, overlap=_overlap(splits))
    by_seed = values_by_seed(trials, final_values(trials, metric), numbers)
    parts = _mean_parts(trials, metric)
    return Results(
        sign * by_seed,
        *counts,
        None if parts is None else sign * parts.reindex(numbers).to_numpy(np.float64),
        _example_share(by_seed, part_values(trials, metric), metric),
        np.isin(numbers, fixed_cells(trials)),
    )


def _example_share(values: np.ndarray, parts: np.ndarray | None, metric: str) -> float:
    """Return the share of one example in a metric that counts examples; 0 for other metrics."""
    if not is_share(metric):
        return 0.0
    steps = [smallest_step(values)]
    if parts is not None:
        # Few trials may have few values, and each has many without a group of examples.
        steps.append(smallest_step(parts) * (1.0 - 1.0 / parts.shape[1]))
    return min((step for step in steps if step > 0.0), default=0.0)


def _mean_parts(trials: pd.DataFrame, metric: str) -> pd.DataFrame | None:
    """Return the mean over seeds of each cell's values without each group of held-out examples."""
    parts = part_values(trials, metric)
    if parts is None:
        return None
    return pd.DataFrame(parts, trials.index).where(trials["status"] == "ok").groupby(trials["cell"]).mean()


def fixed_cells(trials: pd.DataFrame) -> np.ndarray:
    """Return the numbers of the cells whose seeds cannot differ: all their final values are the same."""
    names = [name for name in map(str, trials) if name.startswith("final_")]
    split = trials["split"] if "split" in trials else pd.Series(0, trials.index)
    grouped = trials.groupby([trials["cell"], split.rename("split")])
    least, most = grouped[names].min(), grouped[names].max()
    same = ((least == most) | least.isna()).all(axis=1) & (grouped.size() > 1)
    ok = (trials["status"] == "ok").groupby(trials["cell"]).all()
    return np.asarray(ok.index[same.groupby(level="cell").all() & ok])


def split_count(trials: pd.DataFrame) -> int:
    """Return the number of splits; 0 for one."""
    splits = trials["split"].nunique() if "split" in trials else 1
    return splits if splits > 1 else 0


def means_by_split(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the mean over seeds of each cell and split, `(cells, splits)`."""
    return final_values(trials, metric).groupby([trials["cell"], trials["split"]]).mean().unstack()


def _overlap(splits: int) -> float:
    """Return the factor on the variance of a mean over splits (Nadeau and Bengio 2003).

    The table does not say whether the splits are folds, so the larger factor of both counts.
    """
    return 1.0 + splits * max(_HELD_OUT, 1.0 / (splits - 1))


def errors(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return how sure the mean of each cell is, indexed by `cell`.

    Seeds and held-out examples are two random factors that cross, so the variance of a mean over both is the
    sum of those over each, less that of their interaction, which both include (Searle, Casella and McCulloch
    1992). The variances over examples are the jackknife's, which leaves out one group at a time. Several
    splits differ in both and in the training examples, so the variance over splits covers all.

    Returns:
        `sem`, `examples_sem`, `splits_sem`, `error`, `low` and `high`, see `rank_cells`.
    """
    fixed = fixed_cells(trials)
    values = final_values(trials, metric)
    grouped = values.groupby(trials["cell"])
    mean, count = grouped.mean(), grouped.count()
    is_fixed = mean.index.isin(fixed)
    if splits := split_count(trials):
        means = means_by_split(trials, metric)
        known = means.count(axis=1).astype(float)
        within = values.groupby([trials["cell"], trials["split"]])
        of_splits = (within.var() / within.count()).unstack()
        sem = pd.Series(np.sqrt(of_splits.sum(axis=1, min_count=1)) / known).mask(is_fixed)
        error = pd.Series(np.sqrt(_overlap(splits) * means.var(axis=1) / known))
        low, high = interval(mean.to_numpy(), error.to_numpy(), (known - 1.0).to_numpy(), 0.0)
        columns = {"sem": sem, "examples_sem": np.nan, "splits_sem": error, "error": error}
        return pd.DataFrame(columns | {"low": low, "high": high}, mean.index)
    over_seeds = (grouped.var() / count).mask(is_fixed, 0.0)
    parts = part_values(trials, metric)
    step = _example_share(values.to_numpy(), parts, metric)
    dofs = (count - 1.0).clip(lower=1.0)
    if parts is None:
        over_examples, total = pd.Series(np.nan, mean.index), over_seeds
    else:
        own = pd.DataFrame(parts, trials.index).where(values.notna())
        groups = parts.shape[1]
        of_cells = own.groupby(trials["cell"]).mean()
        over_examples = (groups - 1) * of_cells.var(axis=1, ddof=0)
        apart = own - of_cells.loc[trials["cell"]].to_numpy()
        both = ((groups - 1) * apart.var(axis=1, ddof=0)).groupby(trials["cell"]).sum()
        both = both / ((count - 1.0).clip(lower=1.0) * count)
        known = over_seeds.fillna(0.0)
        total = (known + over_examples - both).clip(lower=np.fmax(known, over_examples))
        dofs = total**2 / (known**2 / dofs + over_examples**2 / (groups - 1))
    error = pd.Series(np.sqrt(total))
    if parts is None:
        error = error.mask(error == 0.0)
    low, high = interval(mean.to_numpy(), error.to_numpy(), pd.Series(dofs).to_numpy(), step)
    if parts is not None and step:
        # Examples that all have the same outcome have an error, too (Agresti and Coull 1998).
        share = (mean + 2.0 * step) / (1.0 + 4.0 * step)
        least = share * (1.0 - share) * step
        over_examples = over_examples.clip(lower=least)
        error = pd.Series(np.sqrt(total.clip(lower=least)))
    return pd.DataFrame(
        {
            "sem": pd.Series(np.sqrt(over_seeds)).mask(is_fixed),
            "examples_sem": np.sqrt(over_examples),
            "splits_sem": np.nan,
            "error": error,
            "low": low,
            "high": high,
        },
        mean.index,
    )


def is_seedless(trials: pd.DataFrame, cells: pd.DataFrame) -> bool:
    """Return whether all seeds of every cell give the same result, as where training starts from zeros."""
    known = cells["std"].dropna()
    partly = (cells["diverged"] > 0) & (cells["diverged"] < cells["seeds"])
    alike = np.isin(cells.loc[known.index, "cell"], fixed_cells(trials)).all()
    # Descents of a function that have no deviation are of one seed, or all diverge.
    return bool(alike) and not partly.any() and (not known.empty or is_function(trials))


def describe_errors(cells: pd.DataFrame) -> str:
    """Say what the standard errors of cells cover; return nothing where none is known."""
    known = cells[cells["error"].notna() & cells["mean"].notna()]
    if known.empty:
        return ""
    first = known.iloc[0]
    sources = [
        (f"seeds ({first['sem']:.2g} for the best cell)", pd.notna(first["sem"])),
        (f"held-out examples ({first['examples_sem']:.2g})", pd.notna(first["examples_sem"])),
    ]
    if pd.notna(first["splits_sem"]):
        part = f", of which seeds make {first['sem']:.2g}" if pd.notna(first["sem"]) else ""
        return f"± is the standard error over splits ({first['splits_sem']:.2g} for the best cell){part}"
    named = " and over ".join(source for source, is_known in sources if is_known)
    missing = "" if sources[1][1] else ", not over held-out examples"
    return f"± is the standard error over {named}{missing}" if named else ""


def describe_seedless(trials: pd.DataFrame) -> str:
    """Say what seeds show that all give the same result."""
    shown = "; model.spread varies the starting points" if is_function(trials) else _SURE
    return f"all seeds give the same result{shown}"


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


def describe_test(trials: pd.DataFrame, metric: str) -> str:
    """Describe the best cell's value on the test examples; return nothing if there are none."""
    name = test_metric(trials, metric)
    if strata(trials, metric):
        return ""
    best = best_cell(trials, metric)
    if name is None or pd.isna(best[name]):
        return ""
    value = format_with_error(best[name], best[f"{name}_error"])
    return f"test set: the best cell has {name} {value}; these examples had no part in choosing it"


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
