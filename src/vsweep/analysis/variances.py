"""Estimate the variances of cells' means: over seeds, over held-out examples, and of both together.

Seeds and examples are two random factors that cross: value = mean + seed + example + both. The variance of a
mean over `S` seeds and `n` examples is `seed / S + example / n + both / (S n)`. The variance of the seeds'
means estimates the first and the third term, and the jackknife over examples the second and the third, so
their sum less the interaction's is that of the mean (Searle, Casella and McCulloch 1992, Variance
Components).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, polygamma

# The effect of a seed on all cells is estimated from at least this many cells, and robustly from more.
FEWEST_FOR_SEEDS, _FEWEST_FOR_MEDIAN = 5, 8
# Variances are moderated from this many cells, and by those of about the same rank from more.
_FEWEST_TO_MODERATE, _FEWEST_BY_RANK = 3, 24
# The spread of variances is taken to be larger than it seems by so many standard errors of its estimate.
_CAUTION = 1.5
# Newton's method ends with a relative change of this size.
_SOLVED = 1e-10


class Examples(NamedTuple):
    """The error over held-out examples of the difference of each pair of a cell and a rival.

    Attributes:
        variance: Float64 `(cells, rivals)`, that of the mean of the difference over examples.
        dofs: Float64 `(cells, rivals)`, its degrees of freedom.
        both: Float64 `(cells, rivals)`, the part of it that differs from seed to seed.
        groups: Float64 `(cells, groups)`, the part of each group of examples in the mean of each cell, whose
            sum of squares is the variance over examples.
    """

    variance: np.ndarray
    dofs: np.ndarray
    both: np.ndarray
    groups: np.ndarray

    def of(self, place: int) -> "Examples":
        """Return the errors of all cells' differences to one rival."""
        return self._replace(
            variance=self.variance[:, place], dofs=self.dofs[:, place], both=self.both[:, place]
        )


def mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """Return the means of `(cells, seeds, …)` over the known seeds; NaN where none is known."""
    known = np.isfinite(values)
    total, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)


def seed_variances(values: np.ndarray, order: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the variance over seeds of each cell, without the effect that a seed has on all cells.

    Args:
        values: Float64 `(cells, seeds)`, NaN where there is no value.
        order: Int64 `(cells,)`, the rank of each cell by its mean.
        step: The share of one example; 0 for a metric that is no share.

    Returns:
        The variances, moderated but no smaller than the cells' own, and their degrees of freedom.
    """
    cells, counts = len(values), np.isfinite(values).sum(axis=1)
    rest, scale = values - mean_over_seeds(values)[:, None], 1.0
    if cells >= FEWEST_FOR_SEEDS:
        known = np.isfinite(rest).any(axis=0)
        common = np.zeros(values.shape[1])
        middle = np.nanmedian if cells >= _FEWEST_FOR_MEDIAN else np.nanmean
        common[known] = middle(rest[:, known], axis=0)
        rest = rest - common
        rest = rest - mean_over_seeds(rest)[:, None]
        scale = cells / (cells - 1)
    dofs = np.maximum(counts - 1, 0)
    squares = scale * np.nansum(rest**2, axis=1)
    own = np.divide(squares, dofs, out=np.full(cells, np.nan), where=dofs > 0)
    # A value that is a multiple of one example's share is rounded to it.
    own = np.maximum(own, step**2 / 12.0)
    moderated, all_dofs = moderate(own, dofs, order)
    return np.fmax(moderated, own), all_dofs


def example_variances(
    parts: np.ndarray | None,
    rivals: np.ndarray,
    ahead: np.ndarray,
    order: np.ndarray,
    step: float,
) -> Examples:
    """Estimate the error over held-out examples of the difference of each pair, by the jackknife.

    Args:
        parts: Float64 `(cells, seeds, groups)`, the value without each group of examples; None where it is
            not known, which gives no error.
        rivals: Int64 `(rivals,)`, the places of the cells to compare with.
        ahead: Float64 `(cells, rivals)`, how far the mean of the rival is ahead.
        order: Int64 `(cells,)`, the rank of each cell by its mean.
        step: The share of one example; 0 for a metric that is no share.

    Returns:
        The errors. The variances are moderated, but no smaller than the pairs' own.
    """
    if parts is None:
        none = np.zeros(ahead.shape)
        return Examples(none, np.full(ahead.shape, np.inf), none, np.zeros((len(ahead), 1)))
    effects = group_effects(parts)
    groups = mean_over_seeds(effects)
    variance = _of_differences(groups, rivals)
    counts, both = _known(effects).sum(axis=1), interactions(effects, rivals)
    # Two shares that differ by d differ on a share d of the examples at least, of each seed. Less of this is
    # left in a mean over seeds that differ on other examples.
    seeds = np.maximum(np.maximum(counts[:, None], counts[rivals][None]), 1)
    least = (np.abs(ahead) + step) * step
    variance = np.fmax(variance, np.maximum(least - (seeds - 1) * both, least / seeds))
    dofs = np.full(ahead.shape, parts.shape[2] - 1.0)
    for place, rival in enumerate(rivals.tolist()):
        own = variance[:, place].copy()
        own[rival] = np.nan
        moderated, dofs[:, place] = moderate(own, np.where(np.isfinite(own), dofs[:, place], 0), order)
        variance[:, place] = np.fmax(moderated, own)
    return Examples(variance, dofs, both, np.nan_to_num(groups))


def group_effects(parts: np.ndarray) -> np.ndarray:
    """Return what each group of examples adds to a value; the sum of squares is the jackknife's variance.

    Args:
        parts: Float64 `(…, groups)`, the value without each group.
    """
    count = parts.shape[-1]
    return np.sqrt((count - 1) / count) * (parts.mean(axis=-1, keepdims=True) - parts)


def _of_differences(groups: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Return the variance over examples of the difference of each pair, `(cells, rivals)`."""
    # A rival at a time needs no memory for the groups of all.
    return np.stack([((groups[rival] - groups) ** 2).sum(axis=1) for rival in rivals], axis=1)


def own_interactions(effects: np.ndarray) -> np.ndarray:
    """Estimate the variance of each mean that is of a seed and an example together, float64 `(cells,)`.

    Args:
        effects: Float64 `(cells, seeds, groups)`, see `group_effects`; NaN where there is no value.
    """
    return _of_mean((_apart(effects) ** 2).sum(axis=1), _known(effects).sum(axis=1))


def interactions(effects: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Estimate the variance of the difference of each pair that is of a seed and an example together.

    Args:
        effects: Float64 `(cells, seeds, groups)`, see `group_effects`; NaN where there is no value.
        rivals: Int64 `(rivals,)`, the places of the cells to compare with.

    Returns:
        Float64 `(cells, rivals)`; 0 where fewer than two seeds are known.
    """
    apart, known = _apart(effects), _known(effects).astype(float)
    own = _of_mean((apart**2).sum(axis=1), known.sum(axis=1))
    shared = _of_mean(apart @ apart[rivals].T, known @ known[rivals].T)
    return np.maximum(own[:, None] + own[rivals][None] - 2.0 * shared, 0.0)


def _known(effects: np.ndarray) -> np.ndarray:
    """Return which seeds of each cell have a value, bool `(cells, seeds)`."""
    return np.isfinite(effects[:, :, 0])


def _apart(effects: np.ndarray) -> np.ndarray:
    """Return how far the effects of a seed are from those of the mean, `(cells, seeds * groups)`."""
    apart = np.where(_known(effects)[:, :, None], effects - mean_over_seeds(effects)[:, None], 0.0)
    return apart.reshape(len(apart), -1)


def _of_mean(products: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the variance of a mean of so many, from the sum of the products of deviations."""
    return np.divide(products, (counts - 1) * counts, out=np.zeros(products.shape), where=counts > 1)


def correlations(of_seeds: np.ndarray, rivals: np.ndarray, examples: Examples) -> np.ndarray:
    """Estimate how alike the differences of a cell to its rivals are, float64 `(cells,)`.

    All differences have the luck of the cell itself, and all cells have the same hard examples.

    Args:
        of_seeds: Float64 `(cells,)`, the variance over seeds of each mean.
        rivals: Int64 `(rivals,)`, the places of the rivals.
        examples: The error over examples.

    Returns:
        The mean correlation of two differences; 0 where it is unknown.
    """
    total = of_seeds[rivals][None] + of_seeds[:, None] + examples.variance
    total[rivals, np.arange(len(rivals))] = np.inf
    scale = np.divide(1.0, np.sqrt(total), out=np.zeros(total.shape), where=total > 0.0)
    squares = scale**2 * _of_differences(examples.groups, rivals)
    summed = scale @ examples.groups[rivals] - scale.sum(axis=1)[:, None] * examples.groups
    # The sum over pairs of two rivals is the square of the sum less the sum of squares.
    pairs = (summed**2).sum(axis=1) - squares.sum(axis=1)
    pairs += of_seeds * (scale.sum(axis=1) ** 2 - (scale**2).sum(axis=1))
    count = (scale > 0.0).sum(axis=1)
    return np.divide(pairs, count * (count - 1), out=np.zeros(len(pairs)), where=count > 1)


def moderate(own: np.ndarray, dofs: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw variances to those of the cells of about the same rank (Smyth 2004, section 6.2).

    Args:
        own: Float64 `(cells,)`, NaN where there are no degrees of freedom.
        dofs: Int64 `(cells,)`, the degrees of freedom.
        order: Int64 `(cells,)`, the rank of each cell by its mean.

    Returns:
        The variances and their degrees of freedom.
    """
    by_rank = np.empty_like(order)
    by_rank[order] = np.arange(len(order))
    known = by_rank[((dofs > 0) & (own > 0.0))[by_rank]]
    if len(known) < _FEWEST_TO_MODERATE:
        return own, dofs.astype(float)
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
    halves, weights = np.unique(half, return_counts=True)
    by_chance = np.average(polygamma(1, halves), weights=weights)
    kurtosis = np.average(polygamma(3, halves), weights=weights)
    error = np.sqrt(kurtosis / count + 2.0 * by_chance**2 / spread_dofs)
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
        change = trigamma * (1.0 - trigamma / value) / polygamma(2, x)
        x += change
        if abs(change) <= _SOLVED * x:
            break
    return float(x)
