"""Measure how results depend on the learning rate, for each value of another axis."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from vsweep.analysis.errors import arrange, overlap
from vsweep.analysis.ranking import check_axis, check_comparable, rank_cells
from vsweep.analysis.significance import ALPHA, compare, values_by_seed
from vsweep.metrics import LR, axes_of, default_metric, final_values, split_count

_LINES = ["by", "lr", "cell", "mean", "error", "seeds", "diverged", "best", "same"]
# Halves of the seeds are drawn if there are more than this many.
_HALVES = 24


def lr_lines(trials: pd.DataFrame, metric: str | None = None, by: str | None = None) -> pd.DataFrame:
    """Return, for each value of an axis, its best cell and the cells that differ only in the learning rate.

    Args:
        trials: The table of trials.
        metric: The metric that ranks cells; by default `default_metric`.
        by: The axis; None for one line, that of the best of all cells.

    Returns:
        A row per cell of a line, sorted by `by` (the value, or "") and `lr`. `cell`, `mean`, `error`, `seeds`
        and `diverged` are those of `rank_cells`. `best` is whether the cell is its line's best; no cell is if
        all diverged. `same` is nullable boolean: whether the cell may be the truly best one of its line, with
        95 % confidence (see `vsweep.analysis.significance`); NA where no test is possible. Values with fewer
        than two positive learning rates are left out.

    Raises:
        KeyError: If there is no such axis or metric, or the learning rate does not vary.
    """
    metric = metric or default_metric(trials)
    lines = _best_lines(_all_lines(trials, metric, by))
    return lines.assign(same=_same_as_best(trials, lines, metric)).sort_values(
        ["by", "lr"], ignore_index=True
    )[_LINES]


def _all_lines(trials: pd.DataFrame, metric: str, by: str | None) -> pd.DataFrame:
    """Rank the cells that have a positive learning rate, with their values `by`, `lr` and `line`."""
    cells = rank_cells(trials, metric)
    if by is not None:
        check_axis(trials, by)
    check_comparable(trials, metric, *([] if by is None else [by]))
    if by == LR:
        raise KeyError("expected an axis other than the learning rate, got by=optimizer.lr")
    rates = cells[LR] if LR in cells else pd.Series(np.nan, cells.index)
    rates = pd.to_numeric(rates, errors="coerce").astype("Float64").astype("float64")
    # A log scale cannot show rates that are zero or negative.
    rates = rates.where((rates > 0.0) & np.isfinite(rates))
    cells = cells.assign(by="" if by is None else cells[by], lr=rates)
    cells = cells.dropna(subset=["by", "lr"])
    if cells["lr"].nunique() < 2:
        raise KeyError("the learning rate does not vary")
    others = [axis for axis in axes_of(trials) if axis != LR]
    return cells.assign(line=cells.groupby(others, dropna=False).ngroup() if others else 0)


def _best_lines(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the line of the best cell of each value, with `best`; lines of one cell are left out."""
    best = cells.drop_duplicates("by")
    lines = cells[cells["line"].isin(best["line"])]
    lines = lines[lines.groupby("line")["lr"].transform("size") > 1]
    return lines.assign(best=lines["cell"].isin(best["cell"]) & lines["mean"].notna())


def _same_as_best(trials: pd.DataFrame, lines: pd.DataFrame, metric: str) -> pd.Series:
    """Return which of the ranked cells may be the truly best ones of their lines, nullable boolean."""
    same = pd.Series(pd.NA, lines.index, dtype="boolean")
    results = arrange(trials, lines, metric)
    for rows in lines.groupby("line").indices.values():
        p = compare(results.of(rows)).p
        same.iloc[rows] = pd.array(p > ALPHA, "boolean")
        same.iloc[rows[np.isnan(p)]] = pd.NA
    same[lines["best"]] = True
    return same


def best_lr(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the best learning rate of each line; lines whose cells all diverged are left out.

    Args:
        lines: Lines as `lr_lines` returns them.

    Returns:
        Columns: `by`, `lr`; `low` and `high`, the smallest and the largest learning rate that may be the
        truly best one with 95 % confidence (NaN where no test is possible); `at_edge`, whether this
        range, or the best if there is none, reaches the smallest or the largest rate that was tried, so that
        a better one may lie beyond; `cell`, `mean`, `error`.
    """
    lines = lines.sort_values(["by", "lr"])
    groups = lines.groupby("by", sort=False)
    # A cell that was not compared may be as good as the best, so it counts as the same.
    tied = lines["lr"].where(lines["same"].fillna(value=True).astype(bool)).groupby(lines["by"], sort=False)
    known = lines["same"].notna().groupby(lines["by"], sort=False).transform("sum") > 1
    low, high = (tied.transform(end).where(known) for end in ("min", "max"))
    smallest, largest = (groups["lr"].transform(end) for end in ("min", "max"))
    at_edge = (low.fillna(lines["lr"]) == smallest) | (high.fillna(lines["lr"]) == largest)
    lines = lines.assign(low=low, high=high, at_edge=at_edge)
    columns = ["by", "lr", "low", "high", "at_edge", "cell", "mean", "error"]
    return lines.loc[lines["best"], columns].reset_index(drop=True)


def lr_sensitivity(
    trials: pd.DataFrame, start: pd.Series, metric: str, by: str | None = None
) -> pd.DataFrame:
    """Compute the learning-rate sensitivity of each line (Wortsman et al. 2023, arXiv:2309.14322).

    It is the mean over log-uniform learning rates, from the line's smallest to its largest, of
    `min(loss(lr), loss at the start)`, by the trapezoid rule, less the least such loss, both in expectation
    over seeds. A trial that diverged has the loss at the start. Seeds that lack a learning rate or diverged
    at all of them are left out, and so are lines without a seed. With several splits, splits take the place
    of seeds, and losses are means over the seeds of a split.

    The least of several means is too low by luck, and so is the line that was chosen. The cell of the least
    loss is therefore chosen on half of the seeds and measured on the others, for many halves (cross-fitting);
    half of the seeds choose worse than all, so two thirds of this estimate are added to a third of the one
    that chooses and measures on all seeds.

    Args:
        trials: The table of trials.
        start: The loss at step 0, indexed by trial.
        metric: Name of the loss.
        by: The axis; None for one line, that of the best of all cells.

    Returns:
        Columns: `by`, `sensitivity`, `sem` (NaN for one seed, whose sensitivity is too high by luck), `low`
        and `high` (the smallest and largest learning rate), `rates` (their number) and `seeds`.

    Raises:
        KeyError: If there is no such axis or metric, the metric is not a loss, or the learning rate does not
            vary.
    """
    if not metric.endswith("loss"):
        raise KeyError(f"expected a loss, got {metric!r}")
    cells = _all_lines(trials, metric, by)
    lines = _best_lines(cells).sort_values(["by", "lr"], ignore_index=True)
    cells = cells[cells.groupby("line")["lr"].transform("size") > 1].sort_values(["line", "lr"])
    initial = trials["trial"].map(start.astype(float))
    final = final_values(trials, metric)
    clipped = final.where(final < initial, initial)
    numbers = cells["cell"].tolist()
    loss, trained = (values_by_seed(trials, values, numbers) for values in (clipped, final.notna()))
    rows = []
    for value, line in lines.groupby("by"):
        own = cells["line"].isin(line["line"]).to_numpy()
        rates = line["lr"].to_numpy()
        seeds = ~np.isnan(loss[own]).any(axis=0) & (trained[own] > 0.0).any(axis=0)
        if seeds.any():
            complete = ~np.isnan(loss[:, seeds]).any(axis=1)
            complete &= (cells["by"] == value).to_numpy()
            complete = pd.Series(complete).groupby(cells["line"].to_numpy()).transform("all").to_numpy()
            estimate, sem = _sensitivity(cells[complete], loss[complete][:, seeds], own[complete])
            sem *= np.sqrt(overlap(split_count(trials)))
            rows.append([value, estimate, sem, rates[0], rates[-1], len(rates), seeds.sum()])
    table = pd.DataFrame(rows, columns=["by", "sensitivity", "sem", "low", "high", "rates", "seeds"])
    return table.astype({"by": lines["by"].dtype})


def _sensitivity(cells: pd.DataFrame, loss: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Estimate the sensitivity of a line, and its standard error.

    Args:
        cells: The cells of the line and of those that might have been chosen in its place, with their `line`
            and `lr`, sorted by both.
        loss: Their losses, float64 `(cells, seeds)`.
        own: Which cells are those of the line, bool `(cells,)`.
    """
    line = pd.factorize(cells["line"])[0]
    gap = np.diff(np.log(cells["lr"].to_numpy())) * (np.diff(line) == 0)
    weight = (np.append(gap, 0.0) + np.append(0.0, gap)) / 2.0
    starts = np.flatnonzero(np.diff(line, prepend=-1))
    mean = np.add.reduceat(weight[:, None] * loss, starts) / np.add.reduceat(weight, starts)[:, None]
    excess = mean[line] - loss
    seeds = loss.shape[1]
    least = np.flatnonzero(own)[loss[own].mean(axis=1).argmin()]
    whole = excess[least]
    if seeds == 1:
        return float(whole[0]), np.nan
    chosen_on = _halves(seeds)
    measured_on = 1.0 - chosen_on
    choices = (loss @ chosen_on.T).argmin(axis=0)
    crossed = (excess[choices] * measured_on).sum(axis=0) / measured_on.sum(axis=0)
    error = max(estimate.std(ddof=1) for estimate in (whole, crossed)) / np.sqrt(seeds)
    # The estimates differ by what the choice is worth, which is as uncertain.
    error = np.hypot(error, (whole.mean() - crossed.mean()) / 2.0)
    return float(2.0 * crossed.mean() + whole.mean()) / 3.0, float(error)


def _halves(seeds: int) -> np.ndarray:
    """Return halves of the seeds, float64 `(halves, seeds)`: all of them, or a fixed and balanced draw."""
    size = seeds // 2
    if comb(seeds, size) <= _HALVES:
        members = np.array(list(combinations(range(seeds), size)))
    else:
        rng = np.random.default_rng(0)
        orders = np.array([rng.permutation(seeds) for _ in range(_HALVES // 2)])
        members = np.concatenate([orders[:, :size], orders[:, -size:]])
    halves = np.zeros((len(members), seeds))
    np.put_along_axis(halves, members, 1.0, axis=1)
    return halves
