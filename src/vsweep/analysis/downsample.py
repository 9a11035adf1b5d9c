"""Choose which rows of a curve to show when there are more than a chart needs."""

from collections.abc import Iterable
from functools import cache

import numpy as np


def downsample(rows: int, keep: Iterable[int], most: int) -> np.ndarray:
    """Choose at most `most` rows of a curve, denser at the start, where curves change fastest.

    Args:
        rows: Number of rows of the curve.
        keep: Rows to include besides the first and the last; if they exceed `most`, the first ones.
        most: The largest number of rows, at least 2.

    Returns:
        Int64 `(chosen,)`, ascending row indices, evenly spaced in their logarithm apart from `keep`.
    """
    if rows <= most:
        return np.arange(rows)
    ends = (0, rows - 1)
    required = [row for row in dict.fromkeys(keep) if row not in ends][: most - len(ends)]
    return np.unique([*_log_spaced_rows(rows, most - len(required)), *required])


@cache
def _log_spaced_rows(rows: int, most: int) -> tuple[int, ...]:
    """Return nearly `most` rows; since early ones coincide when rounded, more points are tried."""
    chosen, points = _rounded(rows, most), most
    while len(more := _rounded(rows, points + max(1, points // 50))) <= most:
        chosen, points = more, points + max(1, points // 50)
    return tuple(chosen.tolist())


def _rounded(rows: int, points: int) -> np.ndarray:
    return np.unique(np.geomspace(1, rows, points).round().astype(np.int64) - 1)
