"""Which axis matters most, and which act together: functional ANOVA over the grid and its seeds.

Hooker 2007; Hutter, Hoos and Leyton-Brown 2014. The response is split into what each axis does alone (the
mean over the other axes), what each pair does beyond that, and more. An effect that is of the axes comes back
with another seed, and luck does not: so an effect f has the variance that two seeds s ≠ t have in common,

    mean over s ≠ t of mean over values of f_s f_t,

which is without bias, as chance has no part in it. Its error is the jackknife's over seeds (Efron 1982).
"""

from collections.abc import Iterator
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.response import rank_response
from vsweep.metrics import default_metric

# Differences that are rounding; pairs that are too small to speak of.
_ROUNDING, _SMALL = 1e-9, 0.02
_FEWEST_SEEDS = 3


class Importance(NamedTuple):
    """The shares of the variance of ranks, over all cells and seeds.

    effects: `axes` (one or two), `share`, `sem` (NaN of fewer than three seeds), the largest first. rest:
    what comes back with other seeds and is of more than two axes. seed: what does not; NaN of one seed.
    Shares and these two sum to one, and none is cut off at zero: what is nothing is as often just below.
    seeds: how many. filled, fit, binned, drawn: see `Response`. first: the axis that matters most, if that
    can be told from luck; "" if not.
    """

    effects: pd.DataFrame
    rest: float
    seed: float
    seeds: int
    filled: float
    fit: float
    binned: tuple[str, ...]
    first: str
    drawn: bool


def importance(trials: pd.DataFrame, metric: str | None = None) -> Importance:
    """The importance of the axes that vary, for the rank of a trial by a metric's final value.

    metric: None for `default_metric`. Ranks do not hang on the metric's scale (Conover and Iman 1981), and
    trials that diverged have one: they share the worst. All values of an axis weigh the same; a trial that
    lacks an axis stands for all its values. See `rank_response` for trials that are missing. The errors are
    of seeds alone, and no axis is said to be first where most combinations were not trained: which cells were
    drawn is luck too.

    Raises `KeyError` where there is nothing to tell, and for a metric that was not recorded.
    """
    found = rank_response(trials, metric or default_metric(trials))
    values = found.values - found.values.mean()
    seeds = values.shape[-1]
    total = _total(values.reshape(-1, seeds))
    if total[0] <= _ROUNDING**2:
        raise KeyError("all trials are alike")
    parts = dict(_effects(found.axes, values))
    variances = np.array([_common(part) for part in parts.values()])
    # Without seed 1, without seed 2, and so on, after the first column.
    shares = np.divide(variances, total, out=np.full(variances.shape, np.nan), where=total > 0.0)
    common = _common(values.reshape(-1, seeds) - values.reshape(-1, seeds).mean(axis=0))[0] / total[0]
    effects = pd.DataFrame({"axes": list(parts), "share": shares[:, 0], "sem": _jackknife(shares)})
    mains = shares[: len(found.axes)]
    return Importance(
        effects.sort_values("share", ascending=False, ignore_index=True, kind="stable"),
        rest=float((common if seeds > 1 else 1.0) - shares[:, 0].sum()),
        seed=float(1.0 - common) if seeds > 1 else np.nan,
        seeds=seeds,
        filled=found.filled,
        fit=found.fit,
        binned=found.binned,
        first="" if found.drawn else _first(found.axes, mains, shares[len(mains) :, 0].max(initial=0.0)),
        drawn=found.drawn,
    )


def _effects(axes: tuple[str, ...], values: np.ndarray) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Each axis, then each pair, with its effect `(values, seeds)`. values: as `Response`'s."""
    *sizes, seeds = values.shape
    grand = values.reshape(-1, seeds).mean(axis=0)
    mains, left = [], values
    means = {}
    for a, size in enumerate(sizes):
        # Over the axes before, `left` is a mean already.
        for b in range(a + 1, len(sizes)):
            between, after = prod(sizes[a + 1 : b]), prod(sizes[b + 1 :])
            shape = (size, between, sizes[b], after, seeds)
            means[a, b] = left.reshape(shape).mean(axis=3).mean(axis=1) - grand
        mains.append(left.reshape(size, -1, seeds).mean(axis=1) - grand)
        left = left.mean(axis=0)
    yield from (((axis,), main) for axis, main in zip(axes, mains, strict=True))
    for a, b in combinations(range(len(sizes)), 2):
        pair = means[a, b] - mains[a][:, None] - mains[b][None, :]
        yield (axes[a], axes[b]), pair.reshape(-1, seeds)


def _common(effect: np.ndarray) -> np.ndarray:
    """The variance of an effect `(values, seeds)` that seeds have in common; of one seed, its variance.

    Float64 `(1 + seeds,)`: of all seeds, then of all but each; `(1,)` of fewer than three seeds.
    """
    seeds = effect.shape[1]
    own = np.mean(effect**2, axis=0)
    if seeds == 1:
        return own
    # The sum over s != t of f_s f_t is |sum f|^2 - sum |f|^2.
    cross = np.mean(effect * effect.sum(axis=1, keepdims=True), axis=0)
    both = cross.sum() - own.sum()
    every = [both / (seeds * (seeds - 1))]
    if seeds < _FEWEST_SEEDS:
        return np.array(every)
    return np.append(every, (both - 2.0 * (cross - own)) / ((seeds - 1) * (seeds - 2)))


def _total(values: np.ndarray) -> np.ndarray:
    """The variance over all entries `(cells, seeds)`, as `_common` gives it."""
    seeds = values.shape[1]
    mean, square = values.mean(axis=0), (values**2).mean(axis=0)
    every = [square.mean() - mean.mean() ** 2]
    if seeds < _FEWEST_SEEDS:
        return np.array(every)
    without = (square.sum() - square) / (seeds - 1) - ((mean.sum() - mean) / (seeds - 1)) ** 2
    return np.append(every, without)


def _jackknife(estimates: np.ndarray) -> np.ndarray:
    """The standard error of each row's first from the others, in which one seed each is left out."""
    without = estimates[:, 1:]
    seeds = without.shape[1]
    if not seeds:
        return np.full(len(estimates), np.nan)
    apart = without - without.mean(axis=1, keepdims=True)
    return np.sqrt((seeds - 1) / seeds * (apart**2).sum(axis=1))


def _first(axes: tuple[str, ...], mains: np.ndarray, pair: float) -> str:
    """The axis of the largest share, if it is above zero and above the second's, with a chance of 97.5 %.

    pair: the largest share of a pair; where that is larger, no axis matters most by itself.
    """
    from scipy.special import stdtrit

    seeds = mains.shape[1] - 1
    if seeds < _FEWEST_SEEDS:
        return ""
    order = np.argsort(-mains[:, 0], kind="stable")
    best = mains[order[0]]
    if best[0] < pair:
        return ""
    # The same seeds are left out of both, so the difference is jackknifed as one.
    claims = np.stack([best, *(best - mains[i] for i in order[1:2])])
    least = np.maximum(stdtrit(seeds - 1, 0.975) * _jackknife(claims), _ROUNDING)
    return axes[order[0]] if (claims[:, 0] > least).all() else ""


def describe_importance(found: Importance) -> list[str]:
    """What the shares say, in sentences; nothing of what is not known."""
    effects = found.effects
    names = short_axis_names(list(dict.fromkeys(axis for axes in effects["axes"] for axis in axes)))
    text = [_of_first(found, names), *_of_pair(effects[effects["axes"].map(len) == 2], names, found.seeds)]
    # Predictions are smoother than luck is: where most are predictions, its share is too small.
    if not np.isnan(found.seed) and found.filled <= 0.5:
        text.append(f"{_percent(found.seed)} is luck: it differs from seed to seed")
    if found.filled:
        unseen = "" if np.isnan(found.fit) else f" (R² {found.fit:.2f} on what it has not seen)"
        text.append(f"{_percent(found.filled)} of the grid is predicted by a random forest{unseen}")
    if found.binned:
        binned = ", ".join(names[axis] for axis in found.binned)
        text.append(f"values of {binned} are taken together, in bins of about as many trials each")
    return text


def _of_first(found: Importance, names: dict[str, str]) -> str:
    """What is said of the axis that matters most."""
    if found.first:
        row = found.effects[found.effects["axes"] == (found.first,)].iloc[0]
        share = _with_error(row["share"], row["sem"])
        return f"{names[found.first]} matters most: by itself it carries {share} of the variance of ranks"
    if found.seeds < _FEWEST_SEEDS:
        return "fewer than three seeds: which axis matters most cannot be told from luck"
    if found.drawn:
        return "which axis matters most is not told where most combinations are not trained"
    return "which axis matters most is not told by these seeds"


def _of_pair(pairs: pd.DataFrame, names: dict[str, str], seeds: int) -> list[str]:
    """What is said of the pair that does most together, if it is above chance (Bonferroni, 95 %)."""
    from scipy.special import stdtrit

    # The largest of many pairs is above twice its error by chance.
    least = stdtrit(max(seeds - 1, 1), 1.0 - 0.025 / max(len(pairs), 1))
    told = pairs[(pairs["share"] > _SMALL) & (pairs["share"] > least * pairs["sem"])]
    if told.empty:
        return []
    a, b = (names[axis] for axis in told["axes"].iloc[0])
    share = _with_error(told["share"].iloc[0], told["sem"].iloc[0])
    return [f"{a} and {b} act together: {share} is theirs, beyond what each does alone"]


def _percent(share: float) -> str:
    """A share in words, none below zero or above one."""
    percent = 100.0 * min(max(share, 0.0), 1.0)
    return "less than 1 %" if 0.0 < percent < 0.5 else f"{percent:.0f} %"


def _with_error(share: float, sem: float) -> str:
    """A share and its error."""
    return f"{_percent(share)} ± {100.0 * sem:.1f} %"
