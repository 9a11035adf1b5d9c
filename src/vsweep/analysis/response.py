"""Arrange the ranks of a sweep's trials as a tensor over its axes and seeds."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_value
from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import final_values, higher_is_better

# The largest tensor.
_MOST_ENTRIES = 2_000_000
# Numbers of bins that are tried on numeric axes if the tensor would be too large or mostly empty.
_BINS = (8, 4)
# With fewer cells, or fewer entries of a seed, missing entries cannot be predicted.
_FEWEST_CELLS, _FEWEST_ENTRIES = 20, 10
# A tree of a forest that sees more entries takes longer and predicts no better.
_MOST_SAMPLES = 1_000


class Response(NamedTuple):
    """The ranks of trials over the axes that vary.

    Attributes:
        axes: The axes.
        values: Float64 `(values of axis 1, …, values of axis k, seeds)`.
        filled: The share of entries that were predicted.
        fit: R² of the predictions (out of bag, the mean over seeds), or NaN.
        binned: The axes whose values were grouped into bins.
        drawn: Whether most combinations of the original values were not trained.
    """

    axes: tuple[str, ...]
    values: np.ndarray
    filled: float
    fit: float
    binned: tuple[str, ...]
    drawn: bool


class _Places(NamedTuple):
    """The position of each trial in the tensor.

    Attributes:
        axes: The axes.
        codes: Int64 `(trials, axes)`, the index of the value; -1 if the trial stands for all values.
        sizes: The number of values of each axis.
        binned: The axes whose values were grouped into bins.
    """

    axes: tuple[str, ...]
    codes: np.ndarray
    sizes: tuple[int, ...]
    binned: tuple[str, ...]

    @property
    def entries(self) -> float:
        """The number of entries that the trials stand for."""
        return float(np.where(self.codes < 0, np.array(self.sizes, float), 1.0).prod(axis=1).sum())


def rank_response(trials: pd.DataFrame, metric: str) -> Response:
    """Build the tensor of ranks by the final values of a metric.

    A trial that lacks an axis stands for all its values. Seeds with fewer than half of the cells are dropped,
    and so are incomplete seeds with too few entries to predict the others. Missing entries are predicted seed
    by seed by a random forest (Breiman 2001).

    Raises:
        KeyError: If the tensor cannot be built, or the metric was not recorded.
    """
    ranks = normalized_ranks(final_values(trials, metric), higher=higher_is_better(metric))
    if not varied_axes(trials):
        raise KeyError("no axis varies")
    if np.ptp(ranks) == 0.0:
        raise KeyError("all trials have the same rank")
    cells_of_seed = trials.groupby("seed")["trial"].transform("size").to_numpy()
    kept = 2 * cells_of_seed >= trials["cell"].nunique()
    trials, ranks = trials[kept], ranks[kept]
    if not varied_axes(trials):
        raise KeyError("too few cells are done with any one seed")
    seed = pd.factorize(trials["seed"], sort=True)[0]
    places, drawn = _place(trials, int(seed.max()) + 1)
    if not places.axes:
        raise KeyError("no axis varies")
    values = _scatter(places, seed, ranks)
    missing = np.isnan(values).reshape(-1, values.shape[-1])
    usable = (missing.mean(axis=0) == 0.0) | ((~missing).sum(axis=0) >= _FEWEST_ENTRIES)
    if not usable.any():
        raise KeyError(f"too few cells are done: {trials['cell'].nunique()}")
    values, filled = values[..., usable], float(missing[:, usable].mean())
    fit = _fill(values) if filled else np.nan
    return Response(places.axes, values, filled, fit, places.binned, drawn)


def normalized_ranks(values: pd.Series, *, higher: bool) -> np.ndarray:
    """Rank trials from 0, the best, to 1, the worst; ties share their mean rank.

    Ranks do not depend on the metric's scale (Conover and Iman 1981), and diverged trials have one too.

    Args:
        values: A value per trial; NaN is worse than any other.
        higher: Whether higher values are better.

    Returns:
        Float64 `(trials,)`.
    """
    losses = (-values if higher else values).fillna(np.inf)
    return (losses.rank().to_numpy() - 1.0) / max(len(values) - 1, 1)


def _place(trials: pd.DataFrame, seeds: int) -> tuple[_Places, bool]:
    """Return the positions of trials, binned if necessary, and whether most combinations were not trained."""
    places = _encode(trials)
    drawn = places.entries < 0.5 * prod(places.sizes) * seeds
    if not drawn and prod(places.sizes) * seeds <= _MOST_ENTRIES:
        return places, drawn
    cells = trials["cell"].nunique()
    if drawn and cells < _FEWEST_CELLS:
        raise KeyError(f"too few cells are done: {cells} of {prod(places.sizes):,}")
    for bins in _BINS:
        places = _encode(trials, bins)
        if prod(places.sizes) * seeds <= _MOST_ENTRIES:
            return places, drawn
    raise KeyError(f"the grid is too large: {prod(places.sizes):,} combinations")


def _encode(trials: pd.DataFrame, bins: int | None = None) -> _Places:
    """Encode the values of each axis; a numeric axis with more values than `bins` is grouped into bins."""
    codes, binned = {}, []
    for axis, lacks in _lacking(trials).items():
        code, known = pd.factorize(trials[axis], sort=True)
        if bins and len(known) > bins and pd.api.types.is_numeric_dtype(trials[axis]):
            code = _bin(code, bins)
            binned.append(axis)
        # A null that is a value comes last.
        code[(code < 0) & ~lacks] = code.max() + 1
        if code.max() > 0:
            codes[axis] = code
    table = np.array([*codes.values()], np.int64).reshape(len(codes), len(trials)).T
    sizes = tuple(int(code.max()) + 1 for code in codes.values())
    return _Places(tuple(codes), table, sizes, tuple(binned))


def _lacking(trials: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return which trials lack each axis that varies, bool `(trials,)`.

    Choices by name (of model, optimizer and so on) decide which fields a cell has. A null therefore means a
    missing axis if all trials with the same names have a null, and is a value otherwise.
    """
    axes = varied_axes(trials)
    names = [axis for axis in axes if not pd.api.types.is_numeric_dtype(trials[axis])]
    lacks = {}
    for axis in axes:
        null = trials[axis].isna()
        by = [trials[name] for name in names if name != axis]
        all_null = null.groupby(by, dropna=False).transform("all") if by and null.any() else null & False
        lacks[axis] = all_null.to_numpy(bool)
    return lacks


def label_nulls(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the text "null" for nulls that are values, on axes that have such nulls."""
    labelled = {}
    for axis, lacks in _lacking(trials).items():
        column = trials[axis]
        if (column.isna() & ~lacks).any():
            text = column.map(format_value).astype(object).where(column.notna(), "null")
            labelled[axis] = text.where(~pd.Series(lacks, column.index), None)
    return trials.assign(**labelled)


def _bin(code: np.ndarray, bins: int) -> np.ndarray:
    """Group codes into bins of about equally many trials; -1 stays."""
    known = code >= 0
    edges = np.quantile(code[known], np.arange(1, bins) / bins)
    binned = np.full(len(code), -1, np.int64)
    binned[known] = np.unique(np.searchsorted(edges, code[known]), return_inverse=True)[1]
    return binned


def _scatter(places: _Places, seed: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Average the ranks of the trials of each entry; NaN where there are none."""
    seeds = int(seed.max()) + 1
    total, count = np.zeros((2, *places.sizes, seeds))
    lacks = places.codes < 0
    pattern = lacks @ (1 << np.arange(lacks.shape[1]))
    for value in np.unique(pattern):
        rows = np.flatnonzero(pattern == value)
        # Length 1 on the axes that these trials lack broadcasts them to all values.
        shape = (*np.where(lacks[rows[0]], 1, places.sizes).tolist(), seeds)
        index = (*np.maximum(places.codes[rows], 0).T, seed[rows])
        flat = np.ravel_multi_index(index, shape)
        total += np.bincount(flat, ranks[rows], prod(shape)).reshape(shape)
        count += np.bincount(flat, minlength=prod(shape)).reshape(shape)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _fill(values: np.ndarray) -> float:
    """Predict the NaN entries in place, and return the R² of the predictions."""
    # scikit-learn takes a second to import.
    from sklearn.ensemble import RandomForestRegressor

    shape: Sequence[int] = values.shape[:-1]
    flat = values.reshape(-1, values.shape[-1])
    scores = []
    for column in flat.T:
        missing = np.isnan(column)
        if not missing.any():
            continue
        known = np.flatnonzero(~missing)
        samples = _MOST_SAMPLES if len(known) > _MOST_SAMPLES else None
        forest = RandomForestRegressor(100, oob_score=True, random_state=0, n_jobs=1, max_samples=samples)
        forest.fit(np.column_stack(np.unravel_index(known, shape)), column[known])
        column[missing] = forest.predict(np.column_stack(np.unravel_index(np.flatnonzero(missing), shape)))
        scores.append(forest.oob_score_)
    return float(np.mean(scores))
