"""Arrange the results of cells for tests, and estimate the errors of their means.

A mean has up to three sources of error: the seeds, the held-out examples, and the splits, which include both.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from vsweep.analysis.labels import format_count
from vsweep.analysis.minima import is_function
from vsweep.analysis.significance import ALPHA, Results, smallest_step, values_by_seed
from vsweep.analysis.variances import group_effects, mean_over_seeds, own_interactions
from vsweep.metrics import (
    final_values,
    higher_is_better,
    is_accuracy,
    is_share,
    part_values,
    replicates,
    split_count,
)

_SURE = ", so they do not show how sure the order is"
# The number of held-out examples of a split for each one that it trains on, as by default.
_HELD_OUT = 0.2 / 0.7
# Degrees of freedom are multiplied by the square of this at most.
_MOST_SURE = 1e3


def arrange(trials: pd.DataFrame, cells: pd.DataFrame, metric: str) -> Results:
    """Return the results of cells, with `cell`, `seeds` and `diverged`, for tests."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    numbers = cells["cell"].tolist()
    counts = cells["seeds"].to_numpy(np.int64), cells["diverged"].to_numpy(np.int64)
    values = values_by_seed(trials, final_values(trials, metric), numbers)
    parts = part_values(trials, metric)
    if splits := split_count(trials):
        step, of_test = _share_of_splits(trials, metric), metric.startswith("test_")
        shared = _parts_of_splits(trials, metric, numbers)
        return Results(
            sign * values,
            *counts,
            None if shared is None else sign * shared,
            step,
            step if of_test else 0.0,
            overlap=overlap(splits),
        )
    step = _example_share(trials, metric)
    return Results(
        sign * values,
        *counts,
        None if parts is None else sign * _parts_by_seed(trials, parts, numbers),
        step,
        step,
        np.isin(numbers, fixed_cells(trials)),
    )


def _example_share(trials: pd.DataFrame, metric: str) -> float:
    """Return the share of one example in a metric that counts examples; 0 for other metrics."""
    if not is_share(metric):
        return 0.0
    # Other scores move by other steps; the accuracy on the same examples shows how many there are.
    accuracy = f"{metric.partition('_')[0]}_accuracy"
    metric = accuracy if f"final_{accuracy}" in trials else metric
    parts = part_values(trials, metric)
    steps = [smallest_step(final_values(trials, metric).to_numpy())]
    if parts is not None:
        # Few trials may have few values, and each has many without a group of examples.
        steps.append(smallest_step(parts) * (1.0 - 1.0 / parts.shape[1]))
    return min((step for step in steps if step > 0.0), default=0.0)


def _share_of_splits(trials: pd.DataFrame, metric: str) -> float:
    """Return the share of one example of a split, whose sizes may differ by one; 0 where it is not known."""
    shares = [_example_share(split, metric) for _, split in trials.groupby("split")]
    known = [share for share in shares if share > 0.0]
    # The values of a split alone may be few, and differ by many examples.
    is_counted = part_values(trials, metric) is not None
    return min(known) if known and is_counted else _example_share(trials, metric)


def _parts_by_seed(trials: pd.DataFrame, parts: np.ndarray, cells: list[int]) -> np.ndarray:
    """Arrange the values without each group of held-out examples as float64 `(cells, replicates, groups)`."""
    seed, seeds = pd.factorize(replicates(trials), sort=True)
    place = pd.Index(cells).get_indexer(pd.Index(trials["cell"]))
    counted = (place >= 0) & (trials["status"] == "ok").to_numpy()
    shape = len(cells), len(seeds)
    sums, counts = np.zeros((*shape, parts.shape[1])), np.zeros((*shape, 1))
    places = place[counted], seed[counted]
    # A split has several seeds.
    np.add.at(sums, places, parts[counted])
    np.add.at(counts, places, 1.0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0.0)


def _parts_of_splits(trials: pd.DataFrame, metric: str, cells: list[int]) -> np.ndarray | None:
    """Return the values of splits without each group of what all splits share, `(cells, splits, groups)`.

    The spread over splits includes those over seeds and examples, as far as these differ from split to split.
    All folds share the test examples, and all splits the seeds. None where there is one seed.
    """
    parts = part_values(trials, metric)
    if parts is not None and metric.startswith("test_"):
        return _parts_by_seed(trials, parts, cells)
    split, splits = pd.factorize(trials["split"], sort=True)
    seed, seeds = pd.factorize(trials["seed"], sort=True)
    if len(seeds) < 2:
        return None
    place = pd.Index(cells).get_indexer(pd.Index(trials["cell"]))
    chosen = place >= 0
    arranged = np.full((len(cells), len(splits), len(seeds)), np.nan)
    arranged[place[chosen], split[chosen], seed[chosen]] = final_values(trials, metric)[chosen]
    known = np.isfinite(arranged)
    values, counts = np.where(known, arranged, 0.0), known.sum(axis=2, keepdims=True)
    others = counts - known
    without = values.sum(axis=2, keepdims=True) - values
    return np.divide(without, others, out=np.full(arranged.shape, np.nan), where=(others > 0) & (counts > 0))


def fixed_cells(trials: pd.DataFrame) -> np.ndarray:
    """Return the numbers of the cells whose seeds cannot differ: all their final values are the same."""
    names = [name for name in map(str, trials) if name.startswith("final_")]
    split = trials["split"] if "split" in trials else pd.Series(0, trials.index)
    grouped = trials.groupby([trials["cell"], split.rename("split")])
    least, most = grouped[names].min(), grouped[names].max()
    same = ((least == most) | least.isna()).all(axis=1) & (grouped.size() > 1)
    ok = (trials["status"] == "ok").groupby(trials["cell"]).all()
    return np.asarray(ok.index[same.groupby(level="cell").all() & ok])


def overlap(splits: int) -> float:
    """Return the factor on the variance of a mean over splits, 1 for one split (Nadeau and Bengio 2003).

    The table does not say whether the splits are folds, so the larger factor of both counts.
    """
    return 1.0 + splits * max(_HELD_OUT, 1.0 / (splits - 1)) if splits > 1 else 1.0


def errors(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return how sure the mean of each cell is, indexed by `cell`.

    Returns:
        `sem`, `examples_sem`, `splits_sem`, `error`, `low` and `high`, see `rank_cells`.
    """
    found = _errors_of_splits(trials, metric) if split_count(trials) else _errors_of_seeds(trials, metric)
    return found[["sem", "examples_sem", "splits_sem", "error", "low", "high"]]


def _errors_of_splits(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the errors over splits, which differ in their examples and in their seeds' luck."""
    values = final_values(trials, metric)
    within = values.groupby([trials["cell"], trials["split"]])
    of_splits = within.mean().groupby(level="cell")
    known = of_splits.count().astype(float)
    of_seeds = (within.var() / within.count()).groupby(level="cell").mean() / known
    fixed = known.index.isin(fixed_cells(trials))
    mean, stretch = values.groupby(trials["cell"]).mean(), overlap(split_count(trials))
    variance = stretch * of_splits.var() / known
    share = _share_of_splits(trials, metric)
    # The share of one example in the mean.
    step = stretch * share / split_count(trials)
    parts = _parts_of_splits(trials, metric, mean.index.tolist())
    if parts is not None:
        # The error over what all splits share is no part of the spread over splits.
        effects = group_effects(parts)
        of_shared = np.nan_to_num((mean_over_seeds(effects) ** 2).sum(axis=1))
        apart = np.maximum(of_shared - own_interactions(effects), 0.0)
        variance = np.maximum(variance + apart, of_shared)
        step = share if metric.startswith("test_") else step
    if not step:
        # Values that all agree say nothing about their error.
        variance = variance.where(variance > 0.0)
    low, high = interval(mean.to_numpy(), np.sqrt(variance.to_numpy()), (known - 1.0).to_numpy(), step)
    error = pd.Series(np.sqrt(np.maximum(variance, _least_variance(mean, step))))
    found = pd.DataFrame({"sem": pd.Series(np.sqrt(of_seeds)).mask(fixed)})
    return found.assign(examples_sem=np.nan, splits_sem=error, error=error, low=low, high=high)


def _errors_of_seeds(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the errors over seeds and, where it is known, over the held-out examples."""
    values = final_values(trials, metric)
    grouped = values.groupby(trials["cell"])
    mean, counts = grouped.mean(), grouped.count().to_numpy(np.float64)
    fixed = mean.index.isin(fixed_cells(trials))
    of_seeds = np.where(fixed, 0.0, grouped.var().to_numpy() / np.maximum(counts, 1.0))
    parts = part_values(trials, metric)
    step = _example_share(trials, metric)
    # Equal shares of seeds that differ hide their rounding to one example.
    total = np.where(fixed, 0.0, np.maximum(of_seeds, step**2 / 12.0 / np.maximum(counts, 1.0)))
    dofs = np.maximum(counts - 1.0, 1.0)
    of_examples = np.full(len(mean), np.nan)
    if parts is not None:
        effects = group_effects(_parts_by_seed(trials, parts, mean.index.tolist()))
        both, example_dofs = own_interactions(effects), parts.shape[1] - 1.0
        known, of_examples = np.nan_to_num(total), (mean_over_seeds(effects) ** 2).sum(axis=1)
        estimated, most = of_examples, np.full(len(mean), np.inf)
        if is_accuracy(metric):
            most = mean.to_numpy() * (1.0 - mean.to_numpy()) * step
            # A mean over seeds keeps one part of the interaction in as many as there are seeds.
            estimated = np.minimum(
                (counts - 1.0).clip(min=0.0) * both, most * (1.0 - 1.0 / counts.clip(min=1.0))
            )
            of_examples = most - estimated
            example_dofs *= np.maximum(counts - 1.0, 1.0)
        total = np.maximum(known + of_examples - both, np.fmax(known, of_examples))
        total, dofs = _surer(
            (total, _degrees(total, (known, dofs), (estimated, example_dofs))),
            (known + most, _degrees(known + most, (known, dofs))),
        )
    error = np.sqrt(total)
    if parts is None or not step:
        # Values that all agree say nothing about their error.
        error[error == 0.0] = np.nan
    low, high = interval(mean.to_numpy(), error, dofs, step, counts)
    if parts is not None and step:
        least = _least_variance(mean.to_numpy(), step)
        of_examples, error = np.maximum(of_examples, least), np.sqrt(np.maximum(total, least))
    found = pd.DataFrame({"sem": pd.Series(np.sqrt(of_seeds), mean.index).mask(fixed)})
    return found.assign(examples_sem=np.sqrt(of_examples), splits_sem=np.nan, error=error, low=low, high=high)


def _degrees(total: np.ndarray, *parts: tuple[np.ndarray, Any]) -> np.ndarray:
    """Return the degrees of freedom of a variance whose estimated parts have these (Satterthwaite 1946)."""
    squares = sum((variance**2 / dofs for variance, dofs in parts), start=np.zeros(len(total)))
    return np.divide(total**2, squares, out=np.full(len(total), np.inf), where=squares > 0.0)


def _surer(*estimates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances and degrees of freedom that give the shortest intervals.

    A variance that is an upper bound may be surer than an estimate of few degrees of freedom.
    """
    variances, dofs = np.stack([each[0] for each in estimates]), np.stack([each[1] for each in estimates])
    lengths = stdtrit(np.maximum(dofs, 1.0), 1.0 - ALPHA / 2.0) ** 2 * variances
    shortest = np.expand_dims(np.nan_to_num(lengths, nan=np.inf).argmin(axis=0), 0)
    return tuple(np.take_along_axis(each, shortest, axis=0)[0] for each in (variances, dofs))


def _least_variance(mean: Any, step: float) -> Any:
    """Return the variance of a share over examples that all have the same outcome (Agresti and Coull 1998).

    Args:
        mean: The share, floating `(cells,)`.
        step: The share of one example; 0 for means that are no shares.
    """
    share = (mean + 2.0 * step) / (1.0 + 4.0 * step)
    return share * (1.0 - share) * step


def interval(
    mean: np.ndarray, error: np.ndarray, dofs: np.ndarray, step: float, seeds: Any = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return 95 % intervals of means; those of shares are Wilson's (1927), which stay between 0 and 1.

    Args:
        mean: Float64 `(cells,)`.
        error: Float64 `(cells,)`, the standard errors; NaN where they are unknown.
        dofs: Float64 `(cells,)`, their degrees of freedom.
        step: The share of one example; 0 for means that are no shares.
        seeds: Float64 `(cells,)`, the number of seeds, each of which may be right on other examples.
    """
    dofs = np.maximum(dofs, 1.0)
    if step <= 0.0:
        quantile = stdtrit(dofs, 1.0 - ALPHA / 2.0)
        return mean - quantile * error, mean + quantile * error
    # The number of independent examples that would have this error; no error is no larger set of them.
    mean, variance = np.clip(mean, 0.0, 1.0), error**2
    spread = mean * (1.0 - mean)
    known = (spread > 0.0) & (variance > 0.0)
    size = np.divide(spread, variance, out=np.full(len(mean), np.inf), where=known)
    most = np.where(known, np.maximum(seeds, 1.0), 1.0) / step
    # The variance of all examples is known, so it has more degrees of freedom than an estimate.
    quantile = stdtrit(dofs * np.clip(size / most, 1.0, _MOST_SURE) ** 2, 1.0 - ALPHA / 2.0)
    size = np.where(np.isfinite(variance), np.minimum(np.maximum(size, 1.0), most), np.nan)
    square = quantile**2 / size
    center = (mean + square / 2.0) / (1.0 + square)
    half = quantile / (1.0 + square) * np.sqrt(mean * (1.0 - mean) / size + square / (4.0 * size))
    return np.minimum(center - half, mean), np.maximum(center + half, mean)


def describe_replicates(trials: pd.DataFrame) -> tuple[str, int]:
    """Say how often each cell was trained, as in `5 splits × 3 seeds`, and return the number."""
    seeds, splits = trials["seed"].nunique(), split_count(trials)
    text = format_count(seeds, "seed")
    return (f"{splits} splits × {text}", splits * seeds) if splits else (text, seeds)


def is_seedless(trials: pd.DataFrame, cells: pd.DataFrame) -> bool:
    """Return whether all seeds of every cell give the same result, as where training starts from zeros."""
    # The seeds of a split may be alike, but its examples are not those of another.
    if split_count(trials):
        return False
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
    if pd.notna(first["splits_sem"]):
        part = " and the luck of seeds"
        text = f"± is the standard error over splits ({first['splits_sem']:.2g} for the best cell)"
        return f"{text}, which covers the held-out examples{part if pd.notna(first['sem']) else ''}"
    sources = [
        f"{source} ({first[name]:.2g}"
        for source, name in (("seeds", "sem"), ("held-out examples", "examples_sem"))
        if pd.notna(first[name])
    ]
    if not sources:
        return ""
    named = ") and over ".join([f"{sources[0]} for the best cell", *sources[1:]])
    both = ", together" if len(sources) > 1 else ""
    missing = ", not over held-out examples" if pd.isna(first["examples_sem"]) else ""
    return f"± is the standard error over {named}){both}{missing}"


def describe_seedless(trials: pd.DataFrame) -> str:
    """Say what seeds show that all give the same result."""
    shown = "; model.spread varies the starting points" if is_function(trials) else _SURE
    return f"all seeds give the same result{shown}"
