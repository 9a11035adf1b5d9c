"""Choose the axes and pairs of axes to plot, and whether values lie on a logarithmic scale."""

from collections.abc import Iterable
from itertools import combinations
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import LR, strata

_MOST_PAIRS = 15
# A picture with more values than this on an axis cannot be read.
MOST_VALUES = 64


def plottable_axes(trials: pd.DataFrame, metric: str) -> list[str]:
    """Return the axes that vary, have few enough values to be plotted, and by which a metric can be shown."""
    apart = set(strata(trials, metric))
    return [axis for axis in _few_valued_axes(trials) if apart <= {axis}]


def _few_valued_axes(trials: pd.DataFrame) -> list[str]:
    return [axis for axis in varied_axes(trials) if trials[axis].nunique() <= MOST_VALUES]


def heatmap_pairs(trials: pd.DataFrame, metric: str) -> list[tuple[str, str]]:
    """Return at most 15 pairs of axes `(x, y)` to draw heat maps of a metric over, the learning rate as x.

    A pair whose map would be mostly empty, because its axes were drawn together, is left out, and so is one
    whose tiles would stand for cells between which the metric cannot be compared.
    """
    pairs = []
    apart = set(strata(trials, metric))
    for x, y in combinations(sorted(_few_valued_axes(trials), key=lambda axis: axis != LR), 2):
        trained = len(trials[[x, y]].dropna().drop_duplicates())
        if 2 * trained > trials[x].nunique() * trials[y].nunique() and apart <= {x, y}:
            pairs.append((x, y))
    return pairs[:_MOST_PAIRS]


def is_log_spaced(values: Iterable[Any]) -> bool:
    """Return whether the scale that fits some values is logarithmic: see `scale`."""
    return scale(values) == "log"


def scale(values: Iterable[Any]) -> str:
    """Return the scale that fits some values: `log`, `linear`, or `category` if they are not numbers.

    Numbers such as 0.01, 0.1, 1 are spaced more evenly on a log scale than on a linear one. Two numbers must
    also differ by a factor of 10, more by a factor of 4 from the first to the last. Missing values are
    ignored. Text, booleans and values that are not positive have no log scale.
    """
    known = [value for value in values if not pd.isna(value)]
    if not known or any(isinstance(v, bool | np.bool_) or not isinstance(v, Real) for v in known):
        return "category"
    numbers = np.unique([float(value) for value in known if isfinite(value)])
    if len(numbers) < 2 or numbers[0] <= 0:
        return "linear"
    ratio = numbers[-1] / numbers[0]
    if len(numbers) == 2:
        return "log" if ratio >= 10 else "linear"
    linear, log = np.diff(numbers), np.diff(np.log(numbers))
    more_even = log.std() / log.mean() < linear.std() / linear.mean()
    return "log" if ratio >= 4 and more_even else "linear"
