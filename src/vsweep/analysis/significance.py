"""Is the first cell really better, or is it luck? Cells held against the first, seed by seed.

Seed s gives the same data order and the same draw in every cell, so cells are compared by the differences
over the seeds that they share, as in the paired t-test (Student 1908): with a flat prior, the chance that the
mean difference is above zero is the t distribution's, of n - 1 degrees of freedom, at `mean / (sd / sqrt n)`.

That is of a pair alone. The first was chosen for being first, among many, and so a cell is told apart from
it only above `1 - 0.05 / (cells - 1)` (Bonferroni): then the cell that is really best is among those that are
not told apart, with a chance of 95 % (Gupta 1965).
"""

from collections.abc import Iterable
from math import comb

import numpy as np
import pandas as pd

# The chance with which the best cell may be missed.
_MISSED = 0.05
_MOST_SEEDS = 1_000_000


def required_confidence(cells: int) -> float:
    """The chance from which a cell is told apart from the first, of so many cells."""
    return 1.0 - _MISSED / max(cells - 1, 1)


def values_by_seed(trials: pd.DataFrame, column: str, cells: Iterable[int]) -> np.ndarray:
    """A column's value for each cell and seed, float64 `(cells, seeds)`; NaN where a trial diverged."""
    ok = trials.loc[trials["status"] == "ok", ["cell", "seed", column]]
    wide = ok.pivot(index="cell", columns="seed", values=column)
    return wide.reindex(list(cells)).to_numpy(np.float64)


def prob_first_better(values: np.ndarray, *, higher: bool) -> tuple[np.ndarray, np.ndarray]:
    """The chance that the first row is really better than each, and how many more seeds would tell.

    values: float64 `(cells, seeds)`, NaN for none. higher: whether more is better. Both results are float64
    `(cells,)`: the chance is NaN of the first itself and where fewer than two seeds are shared; the seeds are
    0 where the two are told apart, and NaN where no number of seeds can be named.
    """
    from scipy.special import stdtr

    sign = 1.0 if higher else -1.0
    with np.errstate(invalid="ignore"):
        apart = sign * (values[0][None, :] - values)
    apart[~np.isfinite(apart)] = np.nan
    count = np.isfinite(apart).sum(axis=1)
    total = np.nansum(apart, axis=1)
    mean = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    square = np.nansum((apart - mean[:, None]) ** 2, axis=1)
    sd = np.sqrt(np.divide(square, count - 1, out=np.full(len(values), np.nan), where=count > 1))
    error = sd / np.sqrt(np.maximum(count, 1))
    if higher:
        # Accuracies come in steps of one example: differences that are all the same may be a step apart.
        error = np.maximum(error, _resolution(values) * np.sqrt(2 / 12) / np.sqrt(np.maximum(count, 1)))
    score = np.divide(mean, error, out=np.copysign(np.inf, mean), where=error > 0)
    score[mean == 0] = 0.0
    chance = np.where(count > 1, stdtr(np.maximum(count - 1, 1), score), np.nan)
    chance[0] = np.nan
    told = required_confidence(len(values))
    return chance, _more(count, np.abs(mean), error * np.sqrt(count), chance >= told, told)


def _resolution(values: np.ndarray) -> float:
    """The smallest step between two values."""
    steps = np.diff(np.unique(values[np.isfinite(values)]))
    return float(steps.min()) if len(steps) else 0.0


def _more(count: np.ndarray, mean: np.ndarray, sd: np.ndarray, told: np.ndarray, level: float) -> np.ndarray:
    """The fewest seeds with which a difference so large would be told apart, less those that there are."""
    from scipy.special import stdtrit

    open_ = (count > 1) & ~told & (mean > 0) & (sd > 0)
    more = np.where(told, 0.0, np.nan)
    if not open_.any():
        return more
    mean, sd = mean[open_], sd[open_]
    low, high = np.full(len(mean), 2), np.full(len(mean), _MOST_SEEDS)
    while (low < high).any():
        middle = (low + high) // 2
        enough = stdtrit(middle - 1, level) * sd / np.sqrt(middle) <= mean
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    # Of one that is better by the mean alone in the wrong direction, at least one more seed is needed.
    found = np.maximum(low - count[open_], 1).astype(float)
    found[low >= _MOST_SEEDS] = np.nan
    more[open_] = found
    return more


def tied_with_best(cells: pd.DataFrame) -> pd.Series:
    """Which cells cannot be told apart from the first; it is one of them if there is another.

    cells: as `rank_cells` gives them, with their `chance`. A cell of which more seeds diverged is another.
    """
    near = cells["chance"] < required_confidence(len(cells))
    near &= cells["diverged"] == cells["diverged"].iloc[0]
    near.iloc[0] = near.iloc[1:].any()
    return near


def describe_significance(cells: pd.DataFrame) -> str:
    """Whether the first cell is really the best, in a sentence; empty of one cell."""
    if len(cells) < 2 or cells["mean"].isna().iloc[0]:
        return ""
    first, second = cells.iloc[0], cells.iloc[1]
    if first["diverged"] != second["diverged"]:
        text = "the first diverges less often than the second"
        return text + (", which may be chance" if _fewer_by_chance(first, second) > _MISSED else "")
    if pd.isna(second["chance"]):
        return "with so few seeds nothing says whether the first is better or lucky; give seeds=8"
    count = int(tied_with_best(cells).sum())
    if not count:
        return f"the first is really better than the second with a chance of {second['chance']:.3g}"
    text = f"{count:,} cells (≈), the first itself counted, cannot be told from it (95%)"
    if pd.notna(second["more_seeds"]) and second["more_seeds"] > 0:
        seeds = int(second["more_seeds"])
        text += f"; some {seeds:,} more seed{'' if seeds == 1 else 's'} would tell the first from the second"
    elif second["mean"] == first["mean"]:
        text += "; the first two are equal, and no number of seeds can be named"
    return text


def _fewer_by_chance(first: pd.Series, second: pd.Series) -> float:
    """How probable so few diverged seeds of the first are, were both the same (Fisher's exact test)."""
    n, m = int(first["seeds"]), int(second["seeds"])
    total = int(first["diverged"] + second["diverged"])
    ways = [comb(n, k) * comb(m, total - k) for k in range(int(first["diverged"]) + 1)]
    return sum(ways) / comb(n + m, total)
