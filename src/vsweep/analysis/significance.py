"""Test whether the best cell is really better than the others, by comparing them seed by seed.

Seed s gives the same data order and the same draw in every cell, so cells are compared by the differences
over the seeds that they share, as in the paired t-test (Student 1908). With a flat prior, the probability
that the mean difference is positive is the t distribution's with n - 1 degrees of freedom, at
`mean / (sd / sqrt n)`.

That probability is valid for one pair. The best cell was selected from many, so another cell counts as worse
only above a probability of `1 - 0.05 / (cells - 1)` (Bonferroni). The cell that is truly best is then among
those tied with the first with a probability of 95 % (Gupta 1965).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from vsweep.analysis.labels import format_count

_ALPHA = 0.05
_MOST_SEEDS = 1_000_000


def required_confidence(cells: int) -> float:
    """Return the probability above which a cell counts as worse than the best of this many cells."""
    return 1.0 - _ALPHA / max(cells - 1, 1)


def values_by_seed(trials: pd.DataFrame, values: pd.Series, cells: Sequence[int]) -> np.ndarray:
    """Arrange the values of trials as float64 `(cells, seeds)`; NaN where a trial is missing."""
    table = trials[["cell", "seed"]].assign(value=values.astype(float))
    wide = table[table["cell"].isin(cells)].pivot(index="cell", columns="seed", values="value")
    return wide.reindex(list(cells)).to_numpy(np.float64)


def prob_first_better(
    values: np.ndarray, *, higher: bool, counts: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the probability that the first cell is better than each cell.

    Args:
        values: Float64 `(cells, seeds)`, NaN where there is no value.
        higher: Whether higher values are better.
        counts: Whether higher values are shares of examples, see `is_share`.

    Returns:
        Two float64 arrays `(cells,)`. The probability is NaN for the first cell and where fewer than two
        seeds are shared. The number of further seeds that would separate the two cells is 0 where they are
        separated, and NaN where it cannot be estimated.
    """
    sign = 1.0 if higher else -1.0
    with np.errstate(invalid="ignore"):
        difference = sign * (values[0][None, :] - values)
    difference[~np.isfinite(difference)] = np.nan
    count = np.isfinite(difference).sum(axis=1)
    unknown = np.full(len(values), np.nan)
    mean = np.divide(np.nansum(difference, axis=1), count, out=unknown.copy(), where=count > 0)
    square = np.nansum((difference - mean[:, None]) ** 2, axis=1)
    sd = np.sqrt(np.divide(square, count - 1, out=unknown.copy(), where=count > 1))
    if higher and counts:
        # An accuracy is a multiple of one example's share, so equal differences may hide a rounding error.
        sd = np.maximum(sd, _resolution(values) * np.sqrt(2 / 12))
    error = sd / np.sqrt(np.maximum(count, 1))
    score = np.divide(mean, error, out=np.copysign(np.inf, mean), where=error > 0)
    score[mean == 0] = 0.0
    chance = np.where(count > 1, stdtr(np.maximum(count - 1, 1), score), np.nan)
    chance[0] = np.nan
    confidence = required_confidence(len(values))
    return chance, _more_seeds(count, np.abs(mean), error * np.sqrt(count), chance >= confidence, confidence)


def _resolution(values: np.ndarray) -> float:
    """Return the smallest step between two values."""
    steps = np.diff(np.unique(values[np.isfinite(values)]))
    return float(steps.min()) if len(steps) else 0.0


def _more_seeds(
    count: np.ndarray, mean: np.ndarray, sd: np.ndarray, separated: np.ndarray, confidence: float
) -> np.ndarray:
    """Estimate how many further seeds would separate two cells with this mean difference and deviation."""
    tied = (count > 1) & ~separated & (mean > 0) & (sd > 0)
    more = np.where(separated, 0.0, np.nan)
    if not tied.any():
        return more
    mean, sd = mean[tied], sd[tied]
    low, high = np.full(len(mean), 2), np.full(len(mean), _MOST_SEEDS)
    while (low < high).any():
        middle = (low + high) // 2
        enough = stdtrit(middle - 1, confidence) * sd / np.sqrt(middle) <= mean
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    # The mean difference of a pair may have the wrong sign, so at least one more seed is needed to change it.
    seeds = np.maximum(low - count[tied], 1).astype(float)
    seeds[low >= _MOST_SEEDS] = np.nan
    more[tied] = seeds
    return more


def tied_with_best(cells: pd.DataFrame) -> pd.Series:
    """Return which cells are statistically tied with the first, itself included if there is another.

    A cell of which more seeds diverged is not tied.

    Args:
        cells: Cells that can be compared, ranked, with their `chance`: see `rank_cells`.
    """
    tied = cells["chance"] < required_confidence(len(cells))
    tied &= cells["diverged"] == cells["diverged"].iloc[0]
    tied.iloc[0] = tied.iloc[1:].any()
    return tied


def describe_lead(cells: pd.DataFrame) -> str:
    """Say in a sentence whether the first cell is really the best; return nothing for one cell."""
    if len(cells) < 2 or cells["mean"].isna().iloc[0] or (cells["rank"] == 1).sum() > 1:
        return ""
    first, second = cells.iloc[0], cells.iloc[1]
    if first["diverged"] != second["diverged"]:
        from scipy.stats import hypergeom

        # Fisher's exact test, one-sided.
        diverged, seeds = (first[name] + second[name] for name in ("diverged", "seeds"))
        p_value = hypergeom.cdf(first["diverged"], seeds, diverged, first["seeds"])
        chance = ", which may be chance" if p_value > _ALPHA else ""
        return f"the best cell diverges less often than the second{chance}"
    if pd.isna(second["chance"]):
        return "too few seeds to show whether the best cell is better or lucky: set seeds=8"
    count = int(cells["tied"].sum())
    if not count:
        chance = second["chance"]
        # A probability that is rounded to 1 would be a certainty.
        text = f"{chance:.3g}" if chance <= 0.999 else "above 0.999"
        return f"the best cell beats the second with probability {text}"
    text = f"{count:,} of {len(cells):,} cells are statistically tied with the best (≈, 95 %)"
    if pd.notna(second["more_seeds"]) and second["more_seeds"] > 0:
        seeds = format_count(int(second["more_seeds"]), "more seed")
        text += f"; about {seeds} would separate the best from the second"
    elif second["mean"] == first["mean"]:
        text += "; the first two are equal, and no number of seeds separates them"
    return text
