"""Estimate which axes matter most, and which interact, by functional ANOVA over the grid and its seeds.

References: Hooker 2007; Hutter, Hoos and Leyton-Brown 2014. The response is decomposed into the effect of
each axis alone (the mean over the other axes), the effect of each pair beyond that, and higher orders. A true
effect of the axes is repeated with another seed, and luck is not. The variance of an effect f is therefore
estimated by the part that two seeds s ≠ t have in common,

    mean over s ≠ t of mean over values of f_s f_t,

which is unbiased. Its variance is the jackknife's over seeds (Efron 1982), to which that of luck alone is
added: where an effect is small, its estimate is skewed, and the jackknife's interval covers too little.

Ranks bend a response that is additive in the metric, or in its logarithm, so the share of a pair shows no
interaction. Two axes interact if the order of one's values changes with the other's, which no monotone scale
of the metric removes (a qualitative interaction, Gail and Simon 1985).
"""

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from vsweep.analysis.errors import overlap
from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.response import Coverage, Response, rank_response
from vsweep.metrics import default_metric, split_count

# Differences up to this are rounding errors.
_ROUNDING = 1e-9
_ALPHA = 0.05
_FEWEST_SEEDS = 3
# The estimate of a small effect is skewed, like a squared normal variable. With this multiple of the error of
# luck, its interval covers some 95 % in simulation.
_SKEWNESS = 1.6
# The order of the values of an axis with more of them is not examined.
_MOST_LEVELS = 200


class Crossing(NamedTuple):
    """Two values of an axis whose order changes with the value of another axis.

    Attributes:
        axis: The axis.
        values: Labels of two of its values.
        by: The other axis.
        at: Labels of two of its values: at the first one, the first of `values` has the better mean rank,
            over the other axes and seeds, and at the second one the worse.
    """

    axis: str
    values: tuple[str, str]
    by: str
    at: tuple[str, str]


@dataclass(frozen=True)
class Importance(Coverage):
    """The shares of the variance of ranks over all cells and seeds.

    The shares, `rest` and `seed` sum to one. They are not clipped, so an estimate of a zero share is negative
    half of the time.

    Attributes:
        effects: `axes` (one or two), `share`, `sem` (NaN for fewer than three seeds), largest share first.
        rest: The share that is repeated with other seeds and belongs to more than two axes.
        seed: The share that is not repeated with other seeds; NaN for one seed.
        seeds: The number of seeds.
        first: The axis that matters most, if it is significant; else "".
        crossing: The most significant change of order between two axes; None if no change is significant.
    """

    effects: pd.DataFrame
    rest: float
    seed: float
    seeds: int
    first: str
    crossing: Crossing | None


def importance(trials: pd.DataFrame, metric: str | None = None) -> Importance:
    """Compute the importance of the axes that vary for the rank of a trial.

    Ranks do not depend on the scale of the metric (Conover and Iman 1981). Trials that diverged share the
    worst rank. All values of an axis have the same weight, and a trial that lacks an axis stands for all its
    values; see `rank_response` for trials that are missing. Standard errors cover only seeds. If most
    combinations were not trained, no axis is named first and no crossing, because the choice of cells adds an
    error of its own. With several splits, splits take the place of seeds.

    Args:
        trials: The table of trials.
        metric: The metric whose final value ranks trials; by default `default_metric`.

    Raises:
        KeyError: If the importance cannot be estimated, or the metric was not recorded.
    """
    response = rank_response(trials, metric or default_metric(trials))
    axes, coverage = response.axes, response.coverage
    values = response.values - response.values.mean()
    seeds = values.shape[-1]
    flat = values.reshape(-1, seeds)
    counted = _counted_seeds(seeds)
    total = _total_variance(flat, counted)
    if total[0] <= _ROUNDING**2:
        raise KeyError("all trials have the same rank")
    parts = _effects(axes, values)
    variances = np.array([_common_variance(part, counted) for part in parts.values()])
    shares = np.divide(variances, total, out=np.full(variances.shape, np.nan), where=total > 0.0)
    common = _common_variance(flat - flat.mean(axis=0), counted)[0] / total[0] if seeds > 1 else 1.0
    luck = np.array([_error_of_luck(part) for part in parts.values()]) / total[0]
    # Splits whose training examples overlap vary less than independent ones.
    stretch = np.sqrt(overlap(split_count(trials)))
    sem = stretch * np.hypot(_jackknife(shares), _SKEWNESS * luck)
    effects = pd.DataFrame({"axes": list(parts), "share": shares[:, 0], "sem": sem})
    mains, pairs = np.split(shares, [len(axes)])
    return Importance(
        **vars(coverage),
        effects=effects.sort_values("share", ascending=False, ignore_index=True, kind="stable"),
        rest=float(common - shares[:, 0].sum()),
        seed=float(1.0 - common) if seeds > 1 else np.nan,
        seeds=seeds,
        first="" if coverage.drawn else _first(axes, mains, pairs[:, 0].max(initial=0.0), stretch),
        crossing=None if coverage.drawn else _crossing(response, stretch),
    )


def _effects(axes: tuple[str, ...], values: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Return the effect `(values, seeds)` of each axis, then of each pair; values: see `rank_response`."""
    seeds = values.shape[-1]
    grand = values.reshape(-1, seeds).mean(axis=0)
    mains, means = {}, {}
    for a, axis in enumerate(axes):
        others = range(1, values.ndim - 1)
        mains[axis,] = values.mean(axis=tuple(others)) - grand
        for i in others:
            means[axis, axes[a + i]] = values.mean(axis=tuple(set(others) - {i})) - grand
        # Averaging over each axis once it is done makes the later pairs cheaper.
        values = values.mean(axis=0)
    pairs = {(a, b): mean - mains[a,][:, None] - mains[b,][None, :] for (a, b), mean in means.items()}
    return mains | {names: pair.reshape(-1, seeds) for names, pair in pairs.items()}


def _counted_seeds(seeds: int) -> np.ndarray:
    """Return which seeds estimates count, `(estimates, seeds)`: all, then all but one (of three or more)."""
    everyone = np.ones((1, seeds))
    return np.vstack([everyone, 1.0 - np.eye(seeds)]) if seeds >= _FEWEST_SEEDS else everyone


def _common_variance(effect: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Estimate the variance of an effect `(values, seeds)` that seeds share; for one seed, its variance.

    Returns:
        Float64 `(estimates,)`, over the seeds that `_counted_seeds` returns.
    """
    products = effect.T @ effect / len(effect)
    if len(products) == 1:
        return products[0]
    count = counted.sum(axis=1)
    all_pairs = ((counted @ products) * counted).sum(axis=1)
    return (all_pairs - counted @ products.diagonal()) / (count * (count - 1))


def _error_of_luck(effect: np.ndarray) -> float:
    """Estimate the standard error of `_common_variance` where the effect `(values, seeds)` is luck alone."""
    effect = effect - effect.mean(axis=1, keepdims=True)
    seeds = effect.shape[1]
    products = effect.T @ effect / len(effect)
    return float(np.linalg.norm(products) * np.sqrt(2.0 / max(seeds * (seeds - 1), 1)) / max(seeds - 1, 1))


def _total_variance(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Compute the variance over all entries `(cells, seeds)`, in the form of `_common_variance`."""
    count = counted.sum(axis=1)
    return counted @ (values**2).mean(axis=0) / count - (counted @ values.mean(axis=0) / count) ** 2


def _jackknife(estimates: np.ndarray) -> np.ndarray:
    """Compute the standard error of each row's first estimate from the others, which leave out one seed."""
    without = estimates[:, 1:]
    if not without.size:
        return np.full(len(estimates), np.nan)
    return np.sqrt((without.shape[1] - 1) * without.var(axis=1))


def _first(axes: tuple[str, ...], mains: np.ndarray, pair: float, stretch: float) -> str:
    """Return the axis with the largest share if it exceeds zero and the second axis with 97.5 % confidence.

    Args:
        axes: The axes.
        mains: Their shares, as `_common_variance` returns them.
        pair: The largest share of a pair; if it is larger, no axis is first.
        stretch: The factor on standard errors.
    """
    seeds = mains.shape[1] - 1
    order = np.argsort(-mains[:, 0], kind="stable")
    best = mains[order[0]]
    if seeds < _FEWEST_SEEDS or best[0] < pair:
        return ""
    # Both shares leave out the same seeds, so the jackknife applies to their difference.
    claims = np.stack([best, *(best - mains[i] for i in order[1:2])])
    least = np.maximum(stdtrit(seeds - 1, 0.975) * stretch * _jackknife(claims), _ROUNDING)
    return axes[order[0]] if (claims[:, 0] > least).all() else ""


def _crossing(response: Response, stretch: float) -> Crossing | None:
    """Return the most significant change of order between two axes, from the seeds without predictions.

    Two values cross if the first is better at some value of another axis and worse at another one, each by a
    one-sided paired t-test. Without an interaction, one of the two is false for every such pair. Bonferroni
    corrects for the comparisons that can be false: those of a pair of values at all but one of the places.
    """
    values = response.values[..., response.complete]
    sizes, seeds = values.shape[:-1], values.shape[-1]
    if seeds < _FEWEST_SEEDS:
        return None
    compared = [
        (a, b) for a, b in permutations(range(len(sizes)), 2) if max(sizes[a], sizes[b]) <= _MOST_LEVELS
    ]
    comparisons = sum(sizes[a] * (sizes[a] - 1) // 2 * (sizes[b] - 1) for a, b in compared)
    most, crossing = 1.0, None
    for a, b in compared:
        means = np.moveaxis(values, (a, b), (0, 1)).reshape(sizes[a], sizes[b], -1, seeds).mean(axis=2)
        critical = stdtrit((sizes[a] - 1) * sizes[b] * (seeds - 1), 1.0 - _ALPHA / comparisons)
        # The mean over all pairs of values of the variance of their difference.
        pooled = 2.0 * (means - means.mean(axis=0)).var(axis=2, ddof=1).sum(axis=0).mean() / (sizes[a] - 1)
        for i in range(sizes[a] - 1):
            difference = means[i] - means[i + 1 :]
            # A pair that varies more than others has its own variance, as where one value often diverges.
            error = stretch * np.sqrt(np.maximum(difference.var(axis=2, ddof=1), pooled) / seeds)
            score = difference.mean(axis=2) / np.maximum(error, _ROUNDING)
            both = np.minimum(score.max(axis=1), -score.min(axis=1)) / critical
            if both.max() > most:
                most, other = both.max(), int(both.argmax())
                values_of, values_at = response.levels[a], response.levels[b]
                pair = values_of[i], values_of[i + 1 + other]
                at = values_at[score[other].argmin()], values_at[score[other].argmax()]
                crossing = Crossing(response.axes[a], pair, response.axes[b], at)
    return crossing


def describe(importance: Importance, replicate: str = "seed") -> list[str]:
    """Describe the known shares in sentences; replicate: what the cells are repeated with, seed or split."""
    effects = importance.effects
    names = short_axis_names(list(dict.fromkeys(axis for axes in effects["axes"] for axis in axes)))
    text = [_describe_first(importance, names, replicate)]
    if importance.crossing:
        text.append(_describe_crossing(importance.crossing, names))
    # Predictions are smoother than results, so if most entries are predictions, the share of luck is too low.
    if not np.isnan(importance.seed) and importance.filled <= 0.5:
        text.append(f"{_percent(importance.seed)} is luck: it differs from {replicate} to {replicate}")
    if importance.filled:
        unseen = "" if np.isnan(importance.fit) else f" (R² {importance.fit:.2f} on unseen trials)"
        text.append(f"{_percent(importance.filled)} of the grid is predicted by a random forest{unseen}")
    if importance.binned:
        binned = ", ".join(names[axis] for axis in importance.binned)
        text.append(f"values of {binned} are grouped into bins of about equally many trials")
    return text


def _describe_first(importance: Importance, names: dict[str, str], replicate: str) -> str:
    """Describe the axis that matters most."""
    first, effects = importance.first, importance.effects
    if first:
        row = effects[effects["axes"] == (first,)].iloc[0]
        # Seeds that are all alike show no error.
        error = f" (± {100.0 * row['sem']:.2g} % over {replicate}s)" if row["sem"] > _ROUNDING else ""
        share = f"{_percent(row['share'])} of the variance of ranks{error}"
        return f"{names[first]} matters most: by itself it explains {share}"
    if importance.seeds < _FEWEST_SEEDS:
        return f"with fewer than three {replicate}s, luck may decide which axis matters most"
    if importance.drawn:
        return "too few combinations were trained to show which axis matters most"
    return f"these {replicate}s do not show which axis matters most"


def _describe_crossing(crossing: Crossing, names: dict[str, str]) -> str:
    """Describe how the order of two values of an axis changes with another axis."""
    axis, by = names[crossing.axis], names[crossing.by]
    one, other = (f"{axis}={value}" for value in crossing.values)
    here, there = (f"{by}={value}" for value in crossing.at)
    order = f"{one} is better than {other} at {here}, and worse at {there}"
    return f"{axis} and {by} interact: by mean rank, {order}"


def _percent(share: float) -> str:
    """Format a share, clipped to the range from zero to one."""
    percent = 100.0 * min(max(share, 0.0), 1.0)
    return "less than 1 %" if 0.0 < percent < 0.5 else f"{percent:.0f} %"
