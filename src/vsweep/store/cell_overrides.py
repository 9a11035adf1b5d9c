"""The config overrides of every cell, stored compactly enough for a hundred thousand cells."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class CellOverrides(NamedTuple):
    """The full config of each cell as overrides.

    Attributes:
        cells: Int64 `(cells,)`, cell numbers in ascending order.
        places: Int64 `(cells, axes)`, the index of each cell's value on each axis; -1 if the cell lacks the
            axis.
        values: For each axis, the override for each of its values.
        template: Int64 `(cells,)`, the index of each cell's entry in `templates`.
        templates: Overrides shared by cells that differ only in axis values. An entry is an override, or a
            pair of an axis number and the override used by cells that lack the axis.
    """

    cells: np.ndarray
    places: np.ndarray
    values: Sequence[Sequence[str]]
    template: np.ndarray
    templates: Sequence[Sequence[str | tuple[int, str]]]

    def rows(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the row of each cell, int64 `(cells,)`.

        Raises:
            KeyError: If there is no cell of some number.
        """
        rows = np.searchsorted(self.cells, cells)
        known = np.append(self.cells, -1)[rows] == cells
        if not np.all(known):
            raise KeyError(f"no cell {np.asarray(cells)[~known][0]}")
        return rows

    def of_cell(self, cell: int) -> list[str]:
        """Return the overrides of a cell.

        Raises:
            KeyError: If there is no cell of this number.
        """
        (row,) = self.rows([cell])
        overrides = []
        for entry in self.templates[int(self.template[row])]:
            if isinstance(entry, str):
                overrides.append(entry)
                continue
            axis, fallback = entry
            place = int(self.places[row, axis])
            overrides.append(self.values[axis][place] if place >= 0 else fallback)
        return overrides
