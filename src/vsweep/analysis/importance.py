"""Estimate which axes matter most, and which interact, by functional ANOVA over the grid and its seeds.

References: Hooker 2007; Hutter, Hoos and Leyton-Brown 2014. The response is decomposed into the effect of
each axis alone (the mean over the other axes), the effect of each pair beyond that, and higher orders. A true
effect of the axes is repeated with another seed, and luck is not. The variance of an effect f is therefore
estimated by the part that two seeds s ≠ t have in common,

    mean over s ≠ t of mean over values of f_s f_t,

which is unbiased. Its standard error is the jackknife's over seeds (Efron 1982).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.response import Coverage, rank_response
from vsweep.metrics import default_metric

# Differences up to this are rounding errors.
_ROUNDING = 1e-9
# Smaller shares of pairs are not mentioned.
_SMALL_SHARE = 0.02
_FEWEST_SEEDS = 3


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
    """

    effects: pd.DataFrame
    rest: float
    seed: float
    seeds: int
    first: str


def importance(trials: pd.DataFrame, metric: str | None = None) -> Importance:
    """Compute the importance of the axes that vary for the rank of a trial.

    Ranks do not depend on the scale of the metric (Conover and Iman 1981). Trials that diverged share the
    worst rank. All values of an axis have the same weight, and a trial that lacks an axis stands for all its
    values; see `rank_response` for trials that are missing. Standard errors cover only seeds. If most
    combinations were not trained, no axis is named first, because the choice of cells adds an error of its
    own.

    Args:
        trials: The table of trials.
        metric: The metric whose final value ranks trials; by default `default_metric`.

    Raises:
        KeyError: If the importance cannot be estimated, or the metric was not recorded.
    """
    axes, values, coverage = rank_response(trials, metric or default_metric(trials))
    values = values - values.mean()
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
    effects = pd.DataFrame({"axes": list(parts), "share": shares[:, 0], "sem": _jackknife(shares)})
    mains, pairs = np.split(shares, [len(axes)])
    return Importance(
        **vars(coverage),
        effects=effects.sort_values("share", ascending=False, ignore_index=True, kind="stable"),
        rest=float(common - shares[:, 0].sum()),
        seed=float(1.0 - common) if seeds > 1 else np.nan,
        seeds=seeds,
        first="" if coverage.drawn else _first(axes, mains, pairs[:, 0].max(initial=0.0)),
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


def _first(axes: tuple[str, ...], mains: np.ndarray, pair: float) -> str:
    """Return the axis with the largest share if it exceeds zero and the second axis with 97.5 % confidence.

    Args:
        axes: The axes.
        mains: Their shares, as `_common_variance` returns them.
        pair: The largest share of a pair; if it is larger, no axis is first.
    """
    seeds = mains.shape[1] - 1
    order = np.argsort(-mains[:, 0], kind="stable")
    best = mains[order[0]]
    if seeds < _FEWEST_SEEDS or best[0] < pair:
        return ""
    # Both shares leave out the same seeds, so the jackknife applies to their difference.
    claims = np.stack([best, *(best - mains[i] for i in order[1:2])])
    least = np.maximum(stdtrit(seeds - 1, 0.975) * _jackknife(claims), _ROUNDING)
    return axes[order[0]] if (claims[:, 0] > least).all() else ""


def describe(importance: Importance) -> list[str]:
    """Describe the known shares in sentences."""
    effects = importance.effects
    names = short_axis_names(list(dict.fromkeys(axis for axes in effects["axes"] for axis in axes)))
    text = [_describe_first(importance, names)]
    pairs = effects[effects["axes"].map(len) == 2]
    # The largest of many pairs exceeds twice its standard error by chance (Bonferroni, 95 %).
    critical = stdtrit(max(importance.seeds - 1, 1), 1.0 - 0.025 / max(len(pairs), 1))
    significant = pairs[(pairs["share"] > _SMALL_SHARE) & (pairs["share"] > critical * pairs["sem"])]
    for _, pair in significant.head(1).iterrows():
        a, b = (names[axis] for axis in pair["axes"])
        beyond = f"{_share_with_error(pair)} beyond what each explains alone"
        text.append(f"{a} and {b} interact: their interaction explains {beyond}")
    # Predictions are smoother than results, so if most entries are predictions, the share of luck is too low.
    if not np.isnan(importance.seed) and importance.filled <= 0.5:
        text.append(f"{_percent(importance.seed)} is luck: it differs from seed to seed")
    if importance.filled:
        unseen = "" if np.isnan(importance.fit) else f" (R² {importance.fit:.2f} on unseen trials)"
        text.append(f"{_percent(importance.filled)} of the grid is predicted by a random forest{unseen}")
    if importance.binned:
        binned = ", ".join(names[axis] for axis in importance.binned)
        text.append(f"values of {binned} are grouped into bins of about equally many trials")
    return text


def _describe_first(importance: Importance, names: dict[str, str]) -> str:
    """Describe the axis that matters most."""
    first, effects = importance.first, importance.effects
    if first:
        share = _share_with_error(effects[effects["axes"] == (first,)].iloc[0])
        return f"{names[first]} matters most: by itself it explains {share} of the variance of ranks"
    if importance.seeds < _FEWEST_SEEDS:
        return "with fewer than three seeds, luck may decide which axis matters most"
    if importance.drawn:
        return "too few combinations were trained to show which axis matters most"
    return "these seeds do not show which axis matters most"


def _percent(share: float) -> str:
    """Format a share, clipped to the range from zero to one."""
    percent = 100.0 * min(max(share, 0.0), 1.0)
    return "less than 1 %" if 0.0 < percent < 0.5 else f"{percent:.0f} %"


def _share_with_error(row: pd.Series) -> str:
    return f"{_percent(row['share'])} ± {100.0 * row['sem']:.1f} %"
