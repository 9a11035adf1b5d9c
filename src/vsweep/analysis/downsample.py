"""Which of a curve's rows are shown, where it has more than a chart needs."""

from collections.abc import Iterable
from functools import cache

import numpy as np


def downsample(rows: int, keep: Iterable[int], most: int) -> np.ndarray:
    """The places of at most so many rows of a curve, rising: int64 `(kept,)`.

    rows: of the curve. keep: places that are among them, beside the first and the last. The others are spread
    evenly over the logarithm of the place, since a curve tells most where it begins. most: at least 2; where
    `keep` alone is more, the first of it.
    """
    if rows <= most:
        return np.arange(rows)
    ends = (0, rows - 1)
    wanted = [place for place in dict.fromkeys(keep) if place not in ends][: most - len(ends)]
    return np.unique([*_spread(rows, most - len(wanted)), *wanted])


@cache
def _spread(rows: int, most: int) -> tuple[int, ...]:
    """As many places as come near to `most` without passing it; early ones coincide when rounded."""
    found, points = _rounded(rows, most), most
    while len(more := _rounded(rows, points + max(1, points // 50))) <= most:
        found, points = more, points + max(1, points // 50)
    return tuple(found.tolist())


def _rounded(rows: int, points: int) -> np.ndarray:
    return np.unique(np.geomspace(1, rows, points).round().astype(np.int64) - 1)
