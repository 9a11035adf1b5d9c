"""Choose the axes and pairs of axes to plot, and whether values lie on a logarithmic scale."""

from collections.abc import Iterable
from itertools import combinations
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import LR

_MOST_PAIRS = 15
# A picture with more values than this on an axis cannot be read.
MOST_VALUES = 64


def plottable_axes(trials: pd.DataFrame) -> list[str]:
    """Return the axes that vary and have few enough values to be plotted."""
    return [axis for axis in varied_axes(trials) if trials[axis].nunique() <= MOST_VALUES]


def heatmap_pairs(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """Return at most 15 pairs of axes `(x, y)` to draw heat maps of, the learning rate as x.

    A pair whose map would be mostly empty, because its axes were drawn together, is left out.
    """
    pairs = combinations(sorted(plottable_axes(trials), key=lambda axis: axis != LR), 2)
    return [(x, y) for x, y in pairs if _mostly_trained(trials, x, y)][:_MOST_PAIRS]


def _mostly_trained(trials: pd.DataFrame, x: str, y: str) -> bool:
    trained = len(trials[[x, y]].dropna().drop_duplicates())
    return 2 * trained > trials[x].nunique() * trials[y].nunique()


def is_log_spaced(values: Iterable[Any]) -> bool:
    """Return whether numbers are spaced more evenly on a log scale than on a linear one, as 0.01, 0.1, 1.

    Two numbers must differ by a factor of 10, more by a factor of 4 from the first to the last. Missing
    values are ignored. Text, booleans and values that are not positive have no log scale.
    """
    known = [value for value in values if not pd.isna(value)]
    if any(isinstance(value, bool | np.bool_) or not isinstance(value, Real) for value in known):
        return False
    numbers = np.asarray(sorted({float(value) for value in known if isfinite(value)}))
    if len(numbers) < 2 or numbers[0] <= 0:
        return False
    if len(numbers) == 2:
        return bool(numbers[1] >= 10 * numbers[0])
    linear, log = np.diff(numbers), np.diff(np.log(numbers))
    return bool(numbers[-1] >= 4 * numbers[0] and log.std() / log.mean() < linear.std() / linear.mean())
