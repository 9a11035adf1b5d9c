"""Test which cells may be the best, from their values over seeds and over the held-out examples.

A cell is worse than the best if some other cell is better than it. For every pair of cells there are three
tests, each one-sided:

- The means differ, by Welch's t-test (1947) after the effect that a seed has on all cells is taken off. The
  variances are moderated: each is drawn to those of the cells of about the same rank, the more so the more
  alike all variances are (Smyth 2004), and never below the cell's own.
- The means differ, by the paired t-test over the seeds that both cells have (Student 1908), since seed s
  gives the same data order and the same draw in every cell.
- The cell diverges more often, by Fisher's exact test.

Both t-tests include the error of the finite held-out set, by the delete-a-group jackknife of the pair's
difference, which compares two cells example by example. A cell's p-value is the smallest of all its tests,
times the number of tests (Bonferroni, the three kinds with unequal weights). The cell that is truly best has
a p-value of 0.05 or less in at most 5 % of sweeps, whichever comes first in them, so the cells above 0.05
include it with a confidence of 95 % (as in Hsu's multiple comparisons with the best, 1984).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chdtrc, digamma, ndtri, polygamma, stdtr, stdtrit
from scipy.stats import hypergeom

from vsweep.analysis.labels import format_count
from vsweep.metrics import replicates

ALPHA = 0.05
# The shares of the error that the tests of divergence, of means, and of paired means may make.
_DIVERGENCE, _MEANS, _PAIRS = 0.1, 0.5, 0.4
# Cells are taken to diverge equally often above this p-value.
_EQUAL = 0.02
# Each cell is held against this many of the best by their means; others are seldom the ones that exclude it.
_RIVALS = 16
# The effect of a seed on all cells is estimated from at least this many cells, and robustly from more.
_FEWEST_FOR_SEEDS, _FEWEST_FOR_MEDIAN = 5, 8
# Variances are moderated from this many cells, and by those of about the same rank from more.
_FEWEST_TO_MODERATE, _FEWEST_BY_RANK = 3, 24
# The spread of variances is taken to be larger than it seems by so many standard errors of its estimate.
_CAUTION = 1.5
_MOST_SEEDS = 1_000_000
_MOST_DOFS = 1e6


class Results(NamedTuple):
    """The results of comparable cells, arranged for tests.

    Attributes:
        values: Float64 `(cells, seeds)`, higher is better; NaN where there is no value.
        seeds: Int64 `(cells,)`, the number of trained seeds.
        diverged: Int64 `(cells,)`, the number of them that diverged.
        parts: Float64 `(cells, groups)`, the mean over seeds without each group of held-out examples; None
            where it is not known.
        step: The least step between two values, of shares of examples; 0 for other metrics.
        fixed: Bool `(cells,)`, whether all seeds of a cell give the same; None where those of no cell do.
        overlap: The factor on the variance of a mean over splits, whose training examples overlap; 1 where
            the values are those of seeds.
    """

    values: np.ndarray
    seeds: np.ndarray
    diverged: np.ndarray
    parts: np.ndarray | None = None
    step: float = 0.0
    fixed: np.ndarray | None = None
    overlap: float = 1.0

    def of(self, cells: Any) -> "Results":
        """Return the results of some cells, by their places."""
        return self._replace(
            values=self.values[cells],
            seeds=self.seeds[cells],
            diverged=self.diverged[cells],
            parts=None if self.parts is None else self.parts[cells],
            fixed=None if self.fixed is None else self.fixed[cells],
        )


class Comparison(NamedTuple):
    """The comparison of cells with the best.

    Attributes:
        p: Float64 `(cells,)`, the p-value of the hypothesis that the cell is the best; NaN where no test is
            possible.
        more_seeds: Float64 `(cells,)`, the number of further seeds that would separate the cell from the
            first, 0 where it is separated, NaN where no number is known to.
    """

    p: np.ndarray
    more_seeds: np.ndarray


def values_by_seed(trials: pd.DataFrame, values: pd.Series, cells: Sequence[int]) -> np.ndarray:
    """Arrange the values of trials as float64 `(cells, replicates)`; NaN where a trial is missing."""
    table = trials[["cell"]].assign(seed=replicates(trials), value=values.astype(float))
    wide = table[table["cell"].isin(cells)].pivot(index="cell", columns="seed", values="value")
    return wide.reindex(list(cells)).to_numpy(np.float64)


def smallest_step(values: np.ndarray) -> float:
    """Return the smallest step between two values; 0 for fewer than two."""
    steps = np.diff(np.unique(values[np.isfinite(values)]))
    return float(steps.min()) if len(steps) else 0.0


def compare(results: Results) -> Comparison:
    """Test which cells may be the best; the first cell is the one that is ranked first."""
    values = np.where(np.isfinite(results.values), results.values, np.nan)
    counts = np.isfinite(values).sum(axis=1)
    unknown = np.full(len(values), np.nan)
    fixed = np.zeros(len(values), bool) if results.fixed is None else results.fixed
    if len(values) < 2 or counts.max() < 2 or (fixed.all() and results.parts is None):
        return Comparison(unknown, unknown)
    means = _means(values, counts)
    order = np.argsort(np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable"), kind="stable")
    rivals = np.flatnonzero((order < _RIVALS) & (counts > 0))
    variances, dofs = _seed_variances(values, counts, means, order, results.step)
    variances, dofs = np.where(fixed, 0.0, variances), np.where(fixed, np.inf, dofs)
    ahead = means[rivals][None, :] - means[:, None]
    examples = _example_variances(results, rivals, ahead)
    variances = variances * results.overlap
    by_means = _p_of_means(ahead, variances / np.maximum(counts, 1), dofs, rivals, examples)
    by_pairs = _p_of_pairs(values, rivals, examples, results)
    by_divergence, rival_diverges = _p_of_divergence(results, rivals)
    # A rival that diverges more often is not better for its higher mean.
    by_value = np.where(rival_diverges < ALPHA, 1.0, np.fmin(by_means / _MEANS, by_pairs / _PAIRS))
    smallest = np.fmin(by_value, by_divergence / _DIVERGENCE)
    smallest[np.arange(len(values))[:, None] == rivals[None, :]] = 1.0
    p = np.minimum(smallest.min(axis=1, initial=1.0) * (len(values) - 1), 1.0)
    # A cell without a value has diverged with every seed, which may be chance where all cells diverge alike.
    p = np.where(counts > 0, p, min(_p_of_equal_divergence(results) * ALPHA / _EQUAL, 1.0))
    first = _against_first(results, means, variances, counts)
    return Comparison(p, np.where(p <= ALPHA, 0.0, _more_seeds(first, counts, len(values))))


def _means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = np.nansum(values, axis=1)
    return np.divide(total, counts, out=np.full(len(values), np.nan), where=counts > 0)


def _seed_variances(
    values: np.ndarray, counts: np.ndarray, means: np.ndarray, order: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moderated variance over seeds of each cell, and its degrees of freedom."""
    cells = len(values)
    rest, scale = values - means[:, None], 1.0
    if cells >= _FEWEST_FOR_SEEDS:
        known = np.isfinite(rest).any(axis=0)
        common = np.zeros(values.shape[1])
        middle = np.nanmedian if cells >= _FEWEST_FOR_MEDIAN else np.nanmean
        common[known] = middle(rest[:, known], axis=0)
        rest = rest - common
        rest = rest - _means(rest, counts)[:, None]
        scale = cells / (cells - 1)
    dofs = np.maximum(counts - 1, 0)
    squares = scale * np.nansum(rest**2, axis=1)
    own = np.divide(squares, dofs, out=np.full(cells, np.nan), where=dofs > 0)
    # A value that is a multiple of one example's share is rounded to it.
    own = np.maximum(own, step**2 / 12.0)
    moderated, all_dofs = _moderate(own, dofs, order)
    return np.fmax(moderated, own), all_dofs


def _moderate(own: np.ndarray, dofs: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw variances to those of the cells of about the same rank (Smyth 2004, section 6.2).

    Args:
        own: Float64 `(cells,)`, NaN where there are no degrees of freedom.
        dofs: Int64 `(cells,)`, the degrees of freedom.
        order: Int64 `(cells,)`, the rank of each cell by its mean.

    Returns:
        The variances and their degrees of freedom.
    """
    known = np.flatnonzero((dofs > 0) & (own > 0.0))
    if len(known) < _FEWEST_TO_MODERATE:
        return own, dofs.astype(float)
    known = known[np.argsort(order[known])]
    half, count = dofs[known] / 2.0, len(known)
    logs = np.log(own[known]) - digamma(half) + np.log(half)
    # A window has a quarter of the cells.
    width = max(6, count // 8) if count >= _FEWEST_BY_RANK else count
    low, high = np.maximum(np.arange(count) - width, 0), np.minimum(np.arange(count) + width + 1, count)
    sums, size = np.append(0.0, np.cumsum(logs)), high - low
    center = (sums[high] - sums[low]) / size
    spread_dofs = max(count - max(count / (2.0 * width), 1.0), 1.0)
    spread = ((logs - center) ** 2 * size / (size - 1.0)).sum() / spread_dofs
    if width == count:
        spread *= (count - 1.0) / count
    by_chance = polygamma(1, half).mean()
    error = np.sqrt(polygamma(3, half).mean() / count + 2.0 * by_chance**2 / spread_dofs)
    prior_dofs = 2.0 * _inverse_trigamma(max(spread + _CAUTION * error - by_chance, 1e-3))
    prior = np.exp(center + digamma(prior_dofs / 2.0) - np.log(prior_dofs / 2.0))
    prior = np.interp(order, order[known], prior)
    total = prior_dofs + dofs
    return (prior_dofs * prior + np.where(dofs > 0, dofs * own, 0.0)) / total, total


def _inverse_trigamma(value: float) -> float:
    """Solve `trigamma(x) = value` by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1.0 / value
    for _ in range(50):
        trigamma = polygamma(1, x)
        x += trigamma * (1.0 - trigamma / value) / polygamma(2, x)
    return float(x)


class _Examples(NamedTuple):
    """The variance of the difference of each pair over held-out examples, `(cells, rivals)`."""

    variance: np.ndarray
    dofs: float

    def of(self, place: int) -> "_Examples":
        return self._replace(variance=self.variance[:, place])


def _example_variances(results: Results, rivals: np.ndarray, ahead: np.ndarray) -> _Examples:
    if results.parts is None:
        return _Examples(np.zeros_like(ahead), np.inf)
    groups = results.parts.shape[1]
    difference = results.parts[rivals][None, :, :] - results.parts[:, None, :]
    variance = (groups - 1) * difference.var(axis=2)
    # Two shares that differ by d differ on a share d of the examples at least.
    floor = (np.abs(ahead) + results.step) * results.step
    return _Examples(np.fmax(variance, floor), groups - 1.0)


def _p_of_means(
    ahead: np.ndarray, errors: np.ndarray, dofs: np.ndarray, rivals: np.ndarray, examples: _Examples
) -> np.ndarray:
    """Return the p-value of Welch's t-test for each pair, with the least degrees of freedom of both."""
    variance = errors[rivals][None, :] + errors[:, None]
    return _one_sided(ahead, variance, np.minimum(dofs[rivals][None, :], dofs[:, None]), examples)


def _p_of_pairs(values: np.ndarray, rivals: np.ndarray, examples: _Examples, results: Results) -> np.ndarray:
    """Return the p-value of the paired t-test for each pair over the seeds that both have."""
    p = np.ones((len(values), len(rivals)))
    for place, rival in enumerate(rivals.tolist()):
        difference = values[rival] - values
        counts = np.isfinite(difference).sum(axis=1)
        mean = _means(difference, counts)
        squares = np.nansum((difference - mean[:, None]) ** 2, axis=1)
        variance = np.divide(squares, counts - 1, out=np.full(len(values), np.nan), where=counts > 1)
        # Equal differences of shares may hide the rounding of both.
        variance = results.overlap * np.maximum(variance, results.step**2 / 6.0) / np.maximum(counts, 1)
        p[:, place] = _one_sided(mean, variance, counts - 1.0, examples.of(place))
    return p


def _one_sided(
    ahead: np.ndarray, variance: np.ndarray, dofs: np.ndarray, examples: "_Examples"
) -> np.ndarray:
    """Return the probability of a mean that is so far ahead by chance; 1 where it is unknown.

    The degrees of freedom of the sum of both variances are those of Welch and Satterthwaite (1946).
    """
    total = variance + examples.variance
    error = np.sqrt(total)
    score = np.divide(ahead, error, out=np.where(ahead > 0, np.inf, 0.0), where=error > 0)
    p = np.ones_like(score)
    known = (dofs > 0) & np.isfinite(total) & np.isfinite(ahead)
    share = np.divide(variance, total, out=np.zeros_like(score), where=known & (total > 0))
    reciprocal = share**2 / np.where(dofs > 0, dofs, 1.0) + (1.0 - share) ** 2 / examples.dofs
    p[known] = stdtr(1.0 / np.maximum(reciprocal[known], 1.0 / _MOST_DOFS), -score[known])
    return p


def _p_of_divergence(results: Results, rivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values of Fisher's test that a cell diverges more often than a rival, and the reverse."""
    shape = len(results.seeds), len(rivals)
    lost, seeds = (np.broadcast_to(counts[:, None], shape) for counts in (results.diverged, results.seeds))
    rival_lost, rival_seeds = (
        np.broadcast_to(counts[rivals][None, :], shape) for counts in (results.diverged, results.seeds)
    )
    # SciPy takes long for each table, and most tables are the same.
    counts = np.stack([lost, seeds, rival_lost, rival_seeds], axis=-1).reshape(-1, 4)
    tables, place = np.unique(counts, axis=0, return_inverse=True)
    a, n, b, m = tables.T
    more, less = hypergeom.sf(a - 1, n + m, a + b, n), hypergeom.sf(b - 1, n + m, a + b, m)
    return more[place].reshape(shape), less[place].reshape(shape)


def _p_of_equal_divergence(results: Results) -> float:
    """Return the p-value of the hypothesis that all cells diverge equally often (Pearson's test)."""
    rate = results.diverged.sum() / results.seeds.sum()
    expected = results.seeds * rate * (1.0 - rate)
    if not 0.0 < rate < 1.0:
        return 1.0
    statistic = ((results.diverged - results.seeds * rate) ** 2 / expected).sum()
    return float(chdtrc(len(expected) - 1, statistic))


class _Lead(NamedTuple):
    """The lead of the first cell over each: its mean, and its variances of one seed and over examples."""

    mean: np.ndarray
    seed: np.ndarray
    examples: np.ndarray


def _against_first(results: Results, means: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> _Lead:
    first = np.zeros(1, np.int64)
    ahead = means[first][None, :] - means[:, None]
    examples = _example_variances(results, first, ahead).variance[:, 0]
    seed = variances[0] * counts / max(counts[0], 1) + variances
    return _Lead(ahead[:, 0], seed, examples)


def _more_seeds(lead: _Lead, counts: np.ndarray, cells: int) -> np.ndarray:
    """Estimate how many further seeds would separate each cell from the first; NaN where none are known to.

    The difference of two means is larger than the true one on average, by its own variance in the square.
    """
    seeds = np.maximum(counts, 1)
    true = np.sqrt(np.maximum(lead.mean**2 - lead.seed / seeds - lead.examples, 0.0))
    critical = -ndtri(ALPHA * _MEANS / (cells - 1))
    left = (true / critical) ** 2 - lead.examples
    helps = (left > 0.0) & (lead.mean > 0.0) & (lead.seed > 0.0)
    needed = np.divide(lead.seed, left, out=np.full(len(left), np.nan), where=helps)
    more = np.maximum(np.ceil(needed) - counts, 1.0)
    return np.where(needed < _MOST_SEEDS, more, np.nan)


def interval(
    mean: np.ndarray, error: np.ndarray, dofs: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return 95 % intervals of means; those of shares are Wilson's (1927), which stay between 0 and 1.

    Args:
        mean: Float64 `(cells,)`.
        error: Float64 `(cells,)`, the standard errors; NaN where they are unknown.
        dofs: Float64 `(cells,)`, their degrees of freedom.
        step: The share of one example; 0 for means that are no shares.
    """
    quantile = stdtrit(np.maximum(dofs, 1.0), 1.0 - ALPHA / 2.0)
    if step <= 0.0:
        return mean - quantile * error, mean + quantile * error
    # The number of independent examples that would have this error; no error is no larger set of them.
    variance = error**2
    mean = np.clip(mean, 0.0, 1.0)
    size = np.divide(mean * (1.0 - mean), variance, out=np.full(len(mean), 1.0 / step), where=variance > 0)
    size = np.where(np.isfinite(variance), np.minimum(np.maximum(size, 1.0), 1.0 / step), np.nan)
    square = quantile**2 / size
    center = (mean + square / 2.0) / (1.0 + square)
    half = quantile / (1.0 + square) * np.sqrt(mean * (1.0 - mean) / size + square / (4.0 * size))
    return center - half, center + half


def describe_lead(cells: pd.DataFrame) -> str:
    """Say in a sentence whether the first cell is really the best; return nothing for one cell."""
    if len(cells) < 2 or cells["mean"].isna().iloc[0] or (cells["rank"] == 1).sum() > 1:
        return ""
    if cells["p"].isna().all():
        return "too few seeds to show whether the best cell is better or lucky: set seeds=8"
    count = int(cells["tied"].sum())
    second = cells.iloc[1]
    if count <= 1:
        largest = cells["p"].iloc[1:].max()
        text = f"= {largest:.2g}" if largest >= 0.001 else "< 0.001"
        return f"the best cell is better than each of the others (p {text}, for all together)"
    text = f"{count:,} of {len(cells):,} cells may be the best (≈, with 95 % confidence)"
    if pd.notna(second["more_seeds"]) and second["more_seeds"] > 0:
        seeds = format_count(int(second["more_seeds"]), "more seed")
        text += f"; about {seeds} would separate the first two"
    elif second["mean"] == cells["mean"].iloc[0]:
        text += "; the first two are equal"
    return text
