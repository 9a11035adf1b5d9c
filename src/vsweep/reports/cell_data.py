"""Every cell of a sweep, its values, score and overrides, small enough for a page of a hundred thousand."""

from base64 import b64encode
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_distinct_values, short_axis_names
from vsweep.analysis.marginals import sort_by_value
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of
from vsweep.store.reader import StoredSweep


def packed(values: Any, kind: str) -> dict[str, str]:
    """Numbers as base64 of little-endian bytes. kind: `f4` or `i4`."""
    array = np.asarray(values).astype(f"<{kind}")
    return {"kind": kind, "data": b64encode(array.tobytes()).decode()}


def cell_data(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any]:
    """What the page knows of each cell, best first. cells: as `rank_cells` gives them."""
    axes = axes_of(sweep.trials)
    found: dict[str, Any] = {
        "cell": packed(cells["cell"], "i4"),
        "mean": packed(cells["mean"], "f4"),
        "sem": packed(cells["sem"], "f4"),
        "seeds": packed(cells["seeds"], "i4"),
        "diverged": packed(cells["diverged"], "i4"),
        "axes": [_axis(cells[axis], axis, short_axis_names(axes)[axis]) for axis in axes],
    }
    return found | {"spelling": _spelling(sweep, cells)}


def _axis(column: pd.Series, axis: str, name: str) -> dict[str, Any]:
    """An axis's values as they are read, and which of them each cell has."""
    values = sort_by_value(pd.DataFrame({"value": column.drop_duplicates()}))["value"]
    place = pd.Index(values).get_indexer(pd.Index(column))
    if values.isna().any():
        # What is missing is not found by an index of every kind.
        place = np.where(column.isna(), len(values) - 1, place)
    return {
        "path": axis,
        "name": name,
        "values": format_distinct_values(values),
        "place": packed(place, "i4"),
    }


def _spelling(sweep: StoredSweep, cells: pd.DataFrame) -> dict[str, Any] | str:
    """The overrides of each cell, or why they cannot be told."""
    try:
        spelled = sweep.cell_overrides
        rows = spelled.rows(cells["cell"].to_numpy())
    except (ConfigError, KeyError, RuntimeError) as error:
        return f"the overrides cannot be told: {error}"
    seeds = sorted(sweep.trials["seed"].unique().tolist())
    return {
        "kinds": [
            [word if isinstance(word, str) else list(word) for word in kind] for kind in spelled.templates
        ],
        "kind": packed(spelled.template[rows], "i4"),
        "words": [list(words) for words in spelled.values],
        "index": [packed(spelled.places[rows, axis], "i4") for axis in range(spelled.places.shape[1])],
        "seeds": f"seeds=[{','.join(map(str, seeds))}]",
    }
