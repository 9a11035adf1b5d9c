"""Which axes and pairs of axes a picture is worth, and which scale their values lie on."""

from collections.abc import Iterable
from itertools import combinations
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import varied_axes
from vsweep.metrics import LR

# What is paged through rather than looked at, and a picture of more values is none to look at.
_MOST_PAIRS, MOST_VALUES = 15, 64


def plottable_axes(trials: pd.DataFrame) -> list[str]:
    """The axes that a picture is worth: those that vary, of few enough values."""
    return [axis for axis in varied_axes(trials) if trials[axis].nunique() <= MOST_VALUES]


def heatmap_pairs(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs of axes `(x, y)` that a heat map is worth: at most 15, the learning rate as x.

    Axes that were drawn together, of which most pairs of values have no cell, are none.
    """
    pairs = combinations(sorted(plottable_axes(trials), key=lambda axis: axis != LR), 2)
    return [(x, y) for x, y in pairs if _filled(trials, x, y)][:_MOST_PAIRS]


def _filled(trials: pd.DataFrame, x: str, y: str) -> bool:
    there = len(trials[[x, y]].dropna().drop_duplicates())
    return 2 * there > trials[x].nunique() * trials[y].nunique()


def is_log_spaced(values: Iterable[Any]) -> bool:
    """Whether numbers lie on a log scale: more evenly there than on a linear one, as 0.01, 0.1, 1 do.

    Two do where one is ten times the other, and more where the last is four times the first. What is
    missing is left out; text, booleans and what is not positive lie on none.
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
