"""The overrides of every cell of a sweep, held so that a hundred thousand cells are small."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class CellOverrides(NamedTuple):
    """The exact config of each cell, as overrides: all of its fields.

    cells: int64 `(cells,)`, rising. places: int64 `(cells, axes)`, the place of each cell's value on each
    axis, -1 where it lacks the axis. words: of each axis, an override for each of its values. kind: int64
    `(cells,)`, which of `kinds` a cell is. kinds: the overrides of cells that differ in these values alone;
    one that is an axis's is that axis's number and the override of a cell that lacks it.
    """

    cells: np.ndarray
    places: np.ndarray
    words: Sequence[Sequence[str]]
    kind: np.ndarray
    kinds: Sequence[Sequence[str | tuple[int, str]]]

    def rows(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """The row of each of some cells, int64. Raises `KeyError` where there is none of a number."""
        rows = np.searchsorted(self.cells, cells)
        there = np.append(self.cells, -1)[rows] == cells
        if not np.all(there):
            raise KeyError(f"no cell {np.asarray(cells)[~there][0]}")
        return rows

    def of(self, cell: int) -> list[str]:
        """The overrides of a cell. Raises `KeyError` where there is none of this number."""
        (row,) = self.rows([cell])
        found = []
        for word in self.kinds[int(self.kind[row])]:
            if isinstance(word, str):
                found.append(word)
                continue
            axis, lacking = word
            place = int(self.places[row, axis])
            found.append(self.words[axis][place] if place >= 0 else lacking)
        return found
