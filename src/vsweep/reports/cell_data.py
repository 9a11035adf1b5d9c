"""Pack the values, scores and overrides of all cells, so that a page can hold a hundred thousand of them."""

from base64 import b64encode
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_distinct_values, short_axis_names
from vsweep.analysis.marginals import sorted_values
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of
from vsweep.store.reader import StoredSweep


def packed(values: Any, kind: str) -> dict[str, str]:
    """Return numbers as base64 of little-endian bytes, of the kind `f4` or `i4`."""
    array = np.asarray(values).astype(f"<{kind}")
    return {"kind": kind, "data": b64encode(array.tobytes()).decode()}


def cell_data(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any]:
    """Return the page's data on each cell, best first.

    Args:
        sweep: The sweep.
        cells: The table of cells, as `rank_cells` returns it.
    """
    kinds = {"cell": "i4", "mean": "f4", "sem": "f4", "seeds": "i4", "diverged": "i4"}
    names = short_axis_names(axes_of(sweep.trials))
    return {
        **{column: packed(cells[column], kind) for column, kind in kinds.items()},
        "axes": [_axis(cells[axis], axis, name) for axis, name in names.items()],
        "spelling": _spelling(sweep, cells),
    }


def _axis(column: pd.Series, axis: str, name: str) -> dict[str, Any]:
    """Return an axis's values as texts, and the index of each cell's value."""
    values = sorted_values(column)
    place = pd.Index(values).get_indexer(pd.Index(column))
    if values.isna().any():
        # Some kinds of index do not find missing values.
        place = np.where(column.isna(), len(values) - 1, place)
    return {
        "path": axis,
        "name": name,
        "values": format_distinct_values(values),
        "place": packed(place, "i4"),
    }


def _spelling(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any] | str:
    """Return the overrides of each cell, or the reason why they are unknown."""
    try:
        overrides = sweep.cell_overrides
        rows = overrides.rows(cells["cell"].to_numpy())
    except (ConfigError, KeyError, RuntimeError) as error:
        return f"the overrides are unknown: {error}"
    seeds = sorted(sweep.trials["seed"].unique().tolist())
    return {
        "kinds": overrides.templates,
        "kind": packed(overrides.template[rows], "i4"),
        "words": overrides.values,
        "index": [packed(overrides.places[rows, axis], "i4") for axis in range(overrides.places.shape[1])],
        "seeds": f"seeds=[{','.join(map(str, seeds))}]",
    }
