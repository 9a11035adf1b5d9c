"""Arrange the ranks of a sweep's trials as a tensor over its axes and seeds."""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_distinct_values, format_value
from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import final_values, higher_is_better, replicates, strata, stratum_of

# The largest tensor.
_MOST_ENTRIES = 2_000_000
# Numbers of bins that are tried on numeric axes if the tensor would be too large or mostly empty.
_BINS = (8, 4)
# With fewer cells, or fewer entries of a seed, missing entries cannot be predicted.
_FEWEST_CELLS, _FEWEST_ENTRIES = 20, 10
# Each tree of a forest sees at most this many entries; with more, it takes longer and predicts no better.
_MOST_SAMPLES = 1_000


@dataclass(frozen=True)
class Coverage:
    """The part of the grid that was trained.

    Attributes:
        filled: The share of entries that were predicted.
        fit: R² of the predictions (out of bag, the mean over seeds), or NaN.
        binned: The axes whose values were grouped into bins.
        drawn: Whether most combinations of the original values were not trained.
    """

    filled: float
    fit: float
    binned: tuple[str, ...]
    drawn: bool


class Response(NamedTuple):
    """The ranks of trials over the axes that vary.

    Attributes:
        axes: The axes.
        levels: The labels of each axis's values, in the order of the tensor; a bin has those of its ends.
        values: Float64 `(values of axis 1, …, values of axis k, seeds)`.
        complete: Bool `(seeds,)`: whether all entries of a seed were trained, so that none is predicted.
        coverage: The part of these values that was trained.
    """

    axes: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    values: np.ndarray
    complete: np.ndarray
    coverage: Coverage


def rank_response(trials: pd.DataFrame, metric: str) -> Response:
    """Build the tensor of ranks by the final values of a metric.

    A trial that lacks an axis stands for all its values. Seeds with fewer than half of the cells are dropped,
    and so are incomplete seeds with too few entries to predict the others. Missing entries are predicted seed
    by seed by a random forest (Breiman 2001).

    Raises:
        KeyError: If the tensor cannot be built, or the metric was not recorded.
    """
    stratum = stratum_of(trials, strata(trials, metric))
    ranks = normalized_ranks(final_values(trials, metric), higher=higher_is_better(metric), stratum=stratum)
    if not varied_axes(trials):
        raise KeyError("no axis varies")
    if np.ptp(ranks) == 0.0:
        raise KeyError("all trials have the same rank")
    has_enough = 2 * trials.groupby(replicates(trials))["trial"].transform("size") >= trials["cell"].nunique()
    trials, ranks = trials[has_enough], ranks[has_enough]
    if not varied_axes(trials):
        raise KeyError("too few cells are done with any one seed")
    codes, levels, binned, drawn = _place(trials)
    if codes.empty:
        raise KeyError("no axis varies")
    values = _scatter(codes, pd.factorize(replicates(trials), sort=True)[0], ranks)
    missing = np.isnan(values).reshape(-1, values.shape[-1])
    usable = (missing.mean(axis=0) == 0.0) | ((~missing).sum(axis=0) >= _FEWEST_ENTRIES)
    if not usable.any():
        raise KeyError(f"too few cells are done: {trials['cell'].nunique()}")
    values, missing = values[..., usable], missing[:, usable]
    filled = float(missing.mean())
    fit = _fill(values) if filled else np.nan
    coverage = Coverage(filled, fit, binned, drawn)
    return Response(tuple(map(str, codes)), levels, values, ~missing.any(axis=0), coverage)


def normalized_ranks(values: pd.Series, *, higher: bool, stratum: np.ndarray | None = None) -> np.ndarray:
    """Rank the trials of each stratum from 0, the best, to 1, the worst; ties share their mean rank.

    Ranks do not depend on the metric's scale (Conover and Iman 1981), and diverged trials have one too.

    Args:
        values: A value per trial; NaN is worse than any other.
        stratum: Int64 `(trials,)`; trials of different strata are not compared. None for one stratum.
        higher: Whether higher values are better.

    Returns:
        Float64 `(trials,)`.
    """
    groups = np.zeros(len(values)) if stratum is None else stratum
    losses = (-values if higher else values).fillna(np.inf).groupby(groups)
    others = losses.transform("size").to_numpy() - 1
    return (losses.rank().to_numpy() - 1.0) / np.maximum(others, 1)


def _place(trials: pd.DataFrame) -> tuple[pd.DataFrame, tuple[tuple[str, ...], ...], tuple[str, ...], bool]:
    """Return the place of each trial's values, in bins if necessary.

    Returns:
        A column per axis with the index of each trial's value, -1 if the trial stands for all values; the
        labels of these values; the axes that are in bins; and whether most combinations were not trained.

    Raises:
        KeyError: If too few combinations were trained, or there are too many.
    """
    seeds, cells = replicates(trials).nunique(), trials["cell"].nunique()
    drawn = False
    for bins in (None, *_BINS):
        codes, levels, binned = _encode(trials, bins)
        sizes = codes.max().to_numpy(float) + 1.0
        if bins is None:
            stands_for = np.where(codes < 0, sizes, 1.0).prod(axis=1).sum()
            drawn = bool(stands_for < 0.5 * sizes.prod() * seeds)
            if drawn and cells < _FEWEST_CELLS:
                raise KeyError(f"too few cells are done: {cells} of {sizes.prod():,.0f}")
        if sizes.prod() * seeds <= _MOST_ENTRIES and not (drawn and bins is None):
            return codes, levels, binned, drawn
    raise KeyError(f"the grid is too large: {sizes.prod():,.0f} combinations")


def _encode(
    trials: pd.DataFrame, bins: int | None
) -> tuple[pd.DataFrame, tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Encode the values of each axis; a numeric axis with more values than `bins` is grouped into bins."""
    codes, levels, binned = {}, [], []
    for axis, lacks in _lacking(trials).items():
        code, known = pd.factorize(trials[axis], sort=True)
        texts = format_distinct_values(known.tolist())
        if bins and len(known) > bins and pd.api.types.is_numeric_dtype(trials[axis]):
            edges = np.quantile(code[code >= 0], np.arange(1, bins) / bins)
            bin_of = pd.factorize(np.searchsorted(edges, np.arange(len(known))), sort=True)[0]
            code[code >= 0] = bin_of[code[code >= 0]]
            first, last = (np.searchsorted(bin_of, np.unique(bin_of), side) for side in ("left", "right"))
            texts = [f"{texts[i]} to {texts[j - 1]}" for i, j in zip(first, last, strict=True)]
            binned.append(axis)
        # A null that is a value comes last.
        if (null := (code < 0) & ~lacks).any():
            code[null] = code.max() + 1
            texts.append("null")
        if code.max() > 0:
            codes[axis] = code
            levels.append(tuple(texts))
    return pd.DataFrame(codes, trials.index), tuple(levels), tuple(binned)


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
    labeled = {}
    for axis, lacks in _lacking(trials).items():
        column = trials[axis]
        if (column.isna() & ~lacks).any():
            text = column.map(format_value).astype(object).where(column.notna(), "null")
            labeled[axis] = text.where(~pd.Series(lacks, column.index), None)
    return trials.assign(**labeled)


def _scatter(codes: pd.DataFrame, seed: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Average the ranks of the trials of each entry; NaN where there are none."""
    sizes = (*(codes.max() + 1), int(seed.max()) + 1)
    total, count = np.zeros((2, *sizes))
    lacks = codes.to_numpy() < 0
    for pattern in pd.DataFrame(lacks).drop_duplicates().to_numpy():
        rows = (lacks == pattern).all(axis=1)
        # Length 1 on the axes that these trials lack broadcasts them to all values.
        shape = (*np.where(pattern, 1, sizes[:-1]), sizes[-1])
        flat = np.ravel_multi_index((*codes[rows].clip(lower=0).to_numpy().T, seed[rows]), shape)
        total += np.bincount(flat, ranks[rows], prod(shape)).reshape(shape)
        count += np.bincount(flat, minlength=prod(shape)).reshape(shape)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _fill(values: np.ndarray) -> float:
    """Predict the NaN entries in place, and return the R² of the predictions."""
    # scikit-learn takes a second to import.
    from sklearn.ensemble import RandomForestRegressor

    places = np.argwhere(np.ones(values.shape[:-1], bool))
    scores = []
    for column in values.reshape(len(places), -1).T:
        known = ~np.isnan(column)
        if known.all():
            continue
        samples = _MOST_SAMPLES if known.sum() > _MOST_SAMPLES else None
        forest = RandomForestRegressor(100, oob_score=True, random_state=0, n_jobs=1, max_samples=samples)
        forest.fit(places[known], column[known])
        column[~known] = forest.predict(places[~known])
        scores.append(forest.oob_score_)
    return float(np.mean(scores))
