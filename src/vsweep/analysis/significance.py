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
corrected for their number: by Bonferroni between the three kinds, with unequal weights, and between the cells
as the maximum of normal variables that are correlated (Dunnett 1955). The cell that is truly best has a
p-value of 0.05 or less in at most 5 % of sweeps, so the cells above 0.05 include it with a confidence of 95 %
(as in Hsu's multiple comparisons with the best, 1984).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chdtrc, log_ndtr, ndtri, stdtr
from scipy.stats import hypergeom

from vsweep.analysis.labels import format_count
from vsweep.analysis.variances import (
    FEWEST_FOR_SEEDS,
    Examples,
    correlations,
    example_variances,
    mean_over_seeds,
    seed_variances,
)
from vsweep.metrics import replicates

ALPHA = 0.05
# The shares of the error that the tests of divergence and of paired means may make; the rest is that of the
# test of means. Few cells do not show the effects of seeds, which only their differences are free of.
_DIVERGENCE, _PAIRS, _PAIRS_OF_FEW = 0.1, 0.2, 0.7
# Cells are taken to diverge equally often above this p-value.
_EQUAL = 0.02
# Each cell is held against this many of the best by their means; others are seldom the ones that exclude it.
_RIVALS = 16
# Tests that are more alike than this are few, whose correlation is not known so well.
_MOST_ALIKE = 0.95
_MOST_SEEDS = 1_000_000
# The integral over a normal variable is a sum (Gauss and Hermite).
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS /= _WEIGHTS.sum()
_MOST_DOFS = 1e6


class Results(NamedTuple):
    """The results of comparable cells, arranged for tests.

    Attributes:
        values: Float64 `(cells, seeds)`, higher is better; NaN where there is no value.
        seeds: Int64 `(cells,)`, the number of trained seeds.
        diverged: Int64 `(cells,)`, the number of them that diverged.
        parts: Float64 `(cells, seeds, groups)`, the value without each group of held-out examples; None where
            it is not known.
        step: The share of one example in a value; 0 for metrics that are no shares.
        part_step: The share of one example among those that `parts` leaves out; 0 where it leaves out seeds.
        fixed: Bool `(cells,)`, whether all seeds of a cell give the same; None where those of no cell do.
        overlap: The factor on the variance of a mean over splits, whose training examples overlap; 1 where
            the values are those of seeds.
    """

    values: np.ndarray
    seeds: np.ndarray
    diverged: np.ndarray
    parts: np.ndarray | None = None
    step: float = 0.0
    part_step: float = 0.0
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
    """Arrange the values of trials as float64 `(cells, replicates)`; NaN where a trial is missing.

    The replicates are seeds, or splits, whose values are the means over seeds.
    """
    table = trials[["cell"]].assign(seed=replicates(trials), value=values.astype(float))
    wide = table[table["cell"].isin(cells)].groupby(["cell", "seed"])["value"].mean().unstack()
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
    means = mean_over_seeds(values)
    order = np.argsort(np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable"), kind="stable")
    rivals = np.flatnonzero((order < _RIVALS) & (counts > 0))
    variances, dofs = seed_variances(values, order, results.step)
    variances, dofs = np.where(fixed, 0.0, variances), np.where(fixed, np.inf, dofs)
    ahead = means[rivals][None, :] - means[:, None]
    examples = example_variances(results.parts, rivals, ahead, order, results.part_step)
    variances = variances * results.overlap
    of_means = variances / np.maximum(counts, 1)
    least = _least_of_splits(results, ahead)
    by_means = _p_of_means(ahead, of_means, dofs, rivals, examples, least)
    by_pairs = _p_of_pairs(values, rivals, examples, results, least)
    by_divergence, rival_diverges = _p_of_divergence(results, rivals)
    share = _shares(len(values))
    # A rival that diverges more often is not better for its higher mean.
    by_value = np.where(rival_diverges < ALPHA, 1.0, np.fmin(by_means, by_pairs * share.means / share.pairs))
    own = np.arange(len(values))[:, None] == rivals[None, :]
    by_value[own], by_divergence[own] = 1.0, 1.0
    correlation = correlations(of_means, rivals, examples)
    others = len(values) - 1
    p = np.minimum(
        p_of_smallest(by_value.min(axis=1, initial=1.0), others, correlation) / share.means,
        by_divergence.min(axis=1, initial=1.0) * others / share.divergence,
    )
    p = np.minimum(p, 1.0)
    # A cell without a value has diverged with every seed, which may be chance where all cells diverge alike,
    # and is none where seeds cannot differ.
    chance = 0.0 if fixed[counts > 0].all() else min(_p_of_equal_divergence(results) * ALPHA / _EQUAL, 1.0)
    p = np.where(counts > 0, p, chance)
    first = _against_first(results._replace(values=values), means, variances, order)
    return Comparison(p, np.where(p <= ALPHA, 0.0, _more_seeds(first, counts)))


def _least_of_splits(results: Results, ahead: np.ndarray) -> np.ndarray:
    """Return the least variance of a difference over splits, which may agree by chance; 0 for one split.

    Where a share is less by d, a share d of the examples of each split differs at least.
    """
    if results.overlap == 1.0:
        return np.zeros(ahead.shape)
    per_split = (np.nan_to_num(np.abs(ahead)) + results.step) * results.step
    return results.overlap * per_split / results.values.shape[1]


class _Shares(NamedTuple):
    means: float
    pairs: float
    divergence: float


def _shares(cells: int) -> _Shares:
    """Return the shares of the error that each kind of test may make."""
    pairs = _PAIRS if cells >= FEWEST_FOR_SEEDS else _PAIRS_OF_FEW
    return _Shares(1.0 - pairs - _DIVERGENCE, pairs, _DIVERGENCE)


def p_of_smallest(p: np.ndarray, tests: int, correlation: np.ndarray) -> np.ndarray:
    """Return the probability that one of so many tests has such a p-value by chance (Dunnett 1955).

    Args:
        p: Float64 `(cells,)`, the smallest p-value of each cell.
        tests: The number of tests.
        correlation: Float64 `(cells,)`, that of two of the tests of a cell.
    """
    # Given what all tests have in common, the rest of each is independent.
    shared = np.clip(correlation, 0.0, _MOST_ALIKE)[:, None]
    score = -ndtri(np.maximum(p, np.finfo(float).tiny))[:, None]
    some = -np.expm1(tests * log_ndtr((score - np.sqrt(shared) * _POINTS) / np.sqrt(1.0 - shared)))
    return np.minimum(some @ _WEIGHTS, np.minimum(tests * p, 1.0))


def _p_of_means(
    ahead: np.ndarray,
    errors: np.ndarray,
    dofs: np.ndarray,
    rivals: np.ndarray,
    examples: Examples,
    least: np.ndarray,
) -> np.ndarray:
    """Return the p-value of Welch's t-test for each pair, with the least degrees of freedom of both."""
    variance = np.fmax(errors[rivals][None, :] + errors[:, None], least)
    return _one_sided(ahead, variance, np.minimum(dofs[rivals][None, :], dofs[:, None]), examples)


def _p_of_pairs(
    values: np.ndarray, rivals: np.ndarray, examples: Examples, results: Results, least: np.ndarray
) -> np.ndarray:
    """Return the p-value of the paired t-test for each pair over the seeds that both have."""
    p = np.ones((len(values), len(rivals)))
    for place, rival in enumerate(rivals.tolist()):
        difference = values[rival] - values
        counts = np.isfinite(difference).sum(axis=1)
        mean = np.divide(
            np.nansum(difference, axis=1), counts, out=np.full(len(values), np.nan), where=counts > 0
        )
        squares = np.nansum((difference - mean[:, None]) ** 2, axis=1)
        variance = np.divide(squares, counts - 1, out=np.full(len(values), np.nan), where=counts > 1)
        # Equal differences of shares may hide the rounding of both.
        variance = results.overlap * np.maximum(variance, results.step**2 / 6.0) / np.maximum(counts, 1)
        variance = np.fmax(variance, least[:, place])
        p[:, place] = _one_sided(mean, variance, counts - 1.0, examples.of(place))
    return p


def _one_sided(ahead: np.ndarray, variance: np.ndarray, dofs: np.ndarray, examples: Examples) -> np.ndarray:
    """Return the probability of a mean that is so far ahead by chance; 1 where it is unknown.

    The degrees of freedom of the sum of both variances are those of Welch and Satterthwaite (1946).
    """
    separate = np.fmax(variance, examples.variance)
    total = np.fmax(variance + examples.variance - examples.both, separate)
    error = np.sqrt(total)
    score = np.divide(ahead, error, out=np.where(ahead > 0, np.inf, 0.0), where=error > 0)
    p = np.ones_like(score)
    known = (dofs > 0) & (examples.dofs > 0) & np.isfinite(total) & np.isfinite(ahead)
    reciprocal = np.zeros_like(score)
    for part, part_dofs in ((variance, dofs), (examples.variance, examples.dofs)):
        share = np.divide(part, total, out=np.zeros_like(score), where=known & (total > 0))
        reciprocal += share**2 / np.where(part_dofs > 0, part_dofs, 1.0)
    p[known] = stdtr(1.0 / np.maximum(reciprocal[known], 1.0 / _MOST_DOFS), -score[known])
    return p


def _p_of_divergence(results: Results, rivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values of Fisher's test that a cell diverges more often than a rival, and the reverse."""
    # SciPy takes long for each table, and most tables are the same.
    base = results.seeds.max() + 1
    counts, place = np.unique(results.diverged * base + results.seeds, return_inverse=True)
    rival_counts, rival_place = np.unique(counts[place[rivals]], return_inverse=True)
    (a, n), (b, m) = np.divmod(counts[:, None], base), np.divmod(rival_counts[None, :], base)
    more, less = hypergeom.sf(a - 1, n + m, a + b, n), hypergeom.sf(b - 1, n + m, a + b, m)
    pairs = place[:, None], rival_place[None, :]
    return more[pairs], less[pairs]


def _p_of_equal_divergence(results: Results) -> float:
    """Return the p-value of the hypothesis that all cells diverge equally often (Pearson's test)."""
    rate = results.diverged.sum() / results.seeds.sum()
    expected = results.seeds * rate * (1.0 - rate)
    if not 0.0 < rate < 1.0:
        return 1.0
    statistic = ((results.diverged - results.seeds * rate) ** 2 / expected).sum()
    return float(chdtrc(len(expected) - 1, statistic))


class _Lead(NamedTuple):
    """The lead of the first cell over each.

    Attributes:
        mean: Float64 `(cells,)`, the difference of both means.
        seed: Float64 `(cells,)`, the variance of the difference with one seed, or one split.
        remains: Float64 `(cells,)`, the variance that more seeds, or splits, leave.
    """

    mean: np.ndarray
    seed: np.ndarray
    remains: np.ndarray


def _against_first(results: Results, means: np.ndarray, variances: np.ndarray, order: np.ndarray) -> _Lead:
    first = np.zeros(1, np.int64)
    ahead = means[first][None, :] - means[:, None]
    examples = example_variances(results.parts, first, ahead, order, results.part_step)
    # The variance over seeds includes the interaction, which vanishes with more seeds.
    remains = np.nan_to_num(np.maximum(examples.variance - examples.both, 0.0))
    counts = np.isfinite(results.values).sum(axis=1)
    seed = (variances[0] * counts / max(counts[0], 1) + variances) / results.overlap
    # Splits share training examples, however many there are.
    shared = seed * (results.overlap - 1.0) / results.values.shape[1]
    return _Lead(ahead[:, 0], seed, remains[:, 0] + shared)


def _more_seeds(lead: _Lead, counts: np.ndarray) -> np.ndarray:
    """Estimate how many further seeds would separate each cell from the first; NaN where none are known to.

    The difference of two means is larger than the true one on average, by its own variance in the square.
    """
    seeds = np.maximum(counts, 1)
    true = np.sqrt(np.maximum(lead.mean**2 - lead.seed / seeds - lead.remains, 0.0))
    critical = -ndtri(ALPHA * max(_shares(len(counts))[:2]) / (len(counts) - 1))
    left = (true / critical) ** 2 - lead.remains
    helps = (left > 0.0) & (lead.mean > 0.0) & (lead.seed > 0.0)
    needed = np.divide(lead.seed, left, out=np.full(len(left), np.nan), where=helps)
    more = np.maximum(np.ceil(needed) - counts, 1.0)
    return np.where(needed < _MOST_SEEDS, more, np.nan)


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
        has_splits = "splits_sem" in cells and cells["splits_sem"].notna().any()
        more = format_count(int(second["more_seeds"]), f"more {'split' if has_splits else 'seed'}")
        text += f"; about {more} would separate the first two"
    elif second["mean"] == cells["mean"].iloc[0]:
        text += "; the first two are equal"
    return text
