"""How well each combination of a sweep's values did, as a tensor over its axes and seeds."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_value
from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import final_values, higher_is_better

# Entries of a tensor, at most; bins of a numeric axis, where there would be more, or most would be empty.
_MOST, _BINS = 2_000_000, (8, 4)
# Cells that were drawn, and entries of a seed, from which the others can be predicted at all.
_FEWEST_CELLS, _FEWEST_ENTRIES = 20, 10
# Entries that each tree of a forest sees, at most: with more it takes longer and predicts no better.
_SEEN = 1_000


class Response(NamedTuple):
    """The ranks of trials over the axes that vary.

    values: float64 `(values of axis 1, …, values of axis k, seeds)`. filled: the share of its entries that
    were predicted. fit: R² of such predictions (out of bag, the mean over seeds), or NaN. binned: the axes
    whose values are taken together. drawn: whether most combinations of the values as they are were not
    trained.
    """

    axes: tuple[str, ...]
    values: np.ndarray
    filled: float
    fit: float
    binned: tuple[str, ...]
    drawn: bool


class _Places(NamedTuple):
    """Where trials stand: int64 `(trials, axes)`, -1 for every value of an axis; and how many values."""

    axes: tuple[str, ...]
    codes: np.ndarray
    sizes: tuple[int, ...]
    binned: tuple[str, ...]

    @property
    def entries(self) -> float:
        """How many entries the trials are."""
        return float(np.where(self.codes < 0, np.array(self.sizes, float), 1.0).prod(axis=1).sum())


def rank_response(trials: pd.DataFrame, metric: str) -> Response:
    """The tensor of ranks of a metric's final values.

    A trial without an axis stands for all its values. Seeds of which less than half of the cells are done
    are left out, and so are those that are not whole and too small to predict from. What is missing is
    predicted, seed by seed, by a random forest (Breiman 2001). Raises `KeyError` where there is no such
    tensor, and for a metric that was not recorded.
    """
    ranks = normalized_ranks(final_values(trials, metric), higher=higher_is_better(metric))
    if not varied_axes(trials):
        raise KeyError("no axis varies")
    if np.ptp(ranks) == 0.0:
        raise KeyError("all trials are alike")
    done = trials.groupby("seed")["trial"].transform("size").to_numpy()
    kept = 2 * done >= trials["cell"].nunique()
    trials, ranks = trials[kept], ranks[kept]
    if not varied_axes(trials):
        raise KeyError("too few cells are done with any one seed")
    seed = pd.factorize(trials["seed"], sort=True)[0]
    places, drawn = _placed(trials, int(seed.max()) + 1)
    if not places.axes:
        raise KeyError("no axis varies")
    values = _scattered(places, seed, ranks)
    missing = np.isnan(values).reshape(-1, values.shape[-1])
    able = (missing.mean(axis=0) == 0.0) | ((~missing).sum(axis=0) >= _FEWEST_ENTRIES)
    if not able.any():
        raise KeyError(f"too few cells are done: {trials['cell'].nunique()}")
    values, filled = values[..., able], float(missing[:, able].mean())
    fit = _fill(values) if filled else np.nan
    return Response(places.axes, values, filled, fit, places.binned, drawn)


def normalized_ranks(values: pd.Series, *, higher: bool) -> np.ndarray:
    """Ranks from 0, the best, to 1, the worst, float64 `(trials,)`; equal ones share their mean rank.

    values: NaN for the worst, which are equal. Ranks do not hang on a metric's scale (Conover and Iman 1981),
    and there is one for a trial that diverged.
    """
    worst = (-values if higher else values).fillna(np.inf)
    return (worst.rank().to_numpy() - 1.0) / max(len(values) - 1, 1)


def _placed(trials: pd.DataFrame, seeds: int) -> tuple[_Places, bool]:
    """Where trials stand, in bins if it must be; and whether most combinations were not trained."""
    places = _coded(trials)
    drawn = places.entries < 0.5 * prod(places.sizes) * seeds
    if not drawn and prod(places.sizes) * seeds <= _MOST:
        return places, drawn
    cells = trials["cell"].nunique()
    if drawn and cells < _FEWEST_CELLS:
        raise KeyError(f"too few cells are done: {cells} of {prod(places.sizes):,}")
    for bins in _BINS:
        places = _coded(trials, bins)
        if prod(places.sizes) * seeds <= _MOST:
            return places, drawn
    raise KeyError(f"the grid is too large: {prod(places.sizes):,} combinations")


def _coded(trials: pd.DataFrame, bins: int | None = None) -> _Places:
    """Where trials stand by the places of their values, or by bins of values that are more."""
    axes, codes, sizes, binned = [], [], [], []
    for axis, lacks in _lacking(trials).items():
        column = trials[axis]
        code, known = pd.factorize(column, sort=True)
        if bins and len(known) > bins and pd.api.types.is_numeric_dtype(column):
            code = _binned(code, bins)
            binned.append(axis)
        # A null that is a value comes last.
        code[(code < 0) & ~lacks] = code.max() + 1
        if code.max() > 0:
            axes.append(axis)
            codes.append(code)
            sizes.append(int(code.max()) + 1)
    table = np.array(codes, np.int64).reshape(len(axes), len(trials)).T
    return _Places(tuple(axes), table, tuple(sizes), tuple(binned))


def _lacking(trials: pd.DataFrame) -> dict[str, np.ndarray]:
    """By axis that varies, which trials lack it; bool `(trials,)`.

    What a cell has is chosen by name, so nulls are a lack where all trials of the same names have them;
    elsewhere they are a value.
    """
    axes = varied_axes(trials)
    names = [axis for axis in axes if not pd.api.types.is_numeric_dtype(trials[axis])]
    lacks = {}
    for axis in axes:
        null = trials[axis].isna()
        by = [trials[name] for name in names if name != axis]
        every = null.groupby(by, dropna=False).transform("all") if by and null.any() else null & False
        lacks[axis] = every.to_numpy(bool)
    return lacks


def label_nulls(trials: pd.DataFrame) -> pd.DataFrame:
    """The table with an axis's values as text where a null is one of them, and not the lack of the axis."""
    named = {}
    for axis, lacks in _lacking(trials).items():
        column = trials[axis]
        if (column.isna() & ~lacks).any():
            text = column.map(format_value).astype(object).where(column.notna(), "null")
            named[axis] = text.where(~pd.Series(lacks, column.index), None)
    return trials.assign(**named)


def _binned(code: np.ndarray, bins: int) -> np.ndarray:
    """Places by bins of about as many trials each, -1 as it was."""
    known = code >= 0
    edges = np.quantile(code[known], np.arange(1, bins) / bins)
    found = np.full(len(code), -1, np.int64)
    found[known] = np.unique(np.searchsorted(edges, code[known]), return_inverse=True)[1]
    return found


def _scattered(places: _Places, seed: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The mean rank of the trials of each entry, NaN where there are none."""
    seeds = int(seed.max()) + 1
    total, count = np.zeros((2, *places.sizes, seeds))
    lacks = places.codes < 0
    pattern = lacks @ (1 << np.arange(lacks.shape[1]))
    for one in np.unique(pattern):
        rows = np.flatnonzero(pattern == one)
        # Of one value on the axes that these trials lack, and so added to all.
        shape = (*np.where(lacks[rows[0]], 1, places.sizes).tolist(), seeds)
        index = (*np.maximum(places.codes[rows], 0).T, seed[rows])
        flat = np.ravel_multi_index(index, shape)
        total += np.bincount(flat, ranks[rows], prod(shape)).reshape(shape)
        count += np.bincount(flat, minlength=prod(shape)).reshape(shape)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _fill(values: np.ndarray) -> float:
    """Predict what is NaN, in place, and return the predictions' R²."""
    # Only here: it takes a second to import.
    from sklearn.ensemble import RandomForestRegressor

    shape: Sequence[int] = values.shape[:-1]
    flat = values.reshape(-1, values.shape[-1])
    scores = []
    for column in flat.T:
        missing = np.isnan(column)
        if not missing.any():
            continue
        known = np.flatnonzero(~missing)
        seen = _SEEN if len(known) > _SEEN else None
        forest = RandomForestRegressor(100, oob_score=True, random_state=0, n_jobs=1, max_samples=seen)
        forest.fit(np.column_stack(np.unravel_index(known, shape)), column[known])
        column[missing] = forest.predict(np.column_stack(np.unravel_index(np.flatnonzero(missing), shape)))
        scores.append(forest.oob_score_)
    return float(np.mean(scores))
