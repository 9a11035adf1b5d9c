"""Short labels for axes, values and cells, and colours that everyone can tell apart."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# Told apart by every kind of sight (Okabe and Ito 2008), the darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def evenly_spaced_indices(count: int, most: int) -> np.ndarray:
    """Places among so many, spread: all of them, or as many as are shown, the first and the last included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def cell_label(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """A cell in words: `lr=0.1 width=32`, of the axes that it has."""
    names = short_axis_names(axes)
    return " ".join(f"{names[axis]}={format_value(row[axis])}" for axis in axes if pd.notna(row[axis]))


def short_axis_names(axes: Sequence[str]) -> dict[str, str]:
    """Each axis by the last part of its path, where no other axis has the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {axis: name if last.count(name) == 1 else axis for axis, name in zip(axes, last, strict=True)}


def format_value(value: object) -> str:
    """A value as briefly as it can be read."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_distinct_values(values: Iterable[Any]) -> list[str]:
    """Values as briefly as they can be read and told apart."""
    known = list(values)
    for digits in range(4, 18):
        found = [
            f"{value:.{digits}g}" if isinstance(value, float) and value == value else format_value(value)
            for value in known
        ]
        if len(set(found)) == len(set(map(str, known))):
            break
    return found


def format_with_error(mean: float, sem: float) -> str:
    """A mean and its standard error, where there is one."""
    return format_value(mean) + ("" if pd.isna(sem) else f" ± {sem:.2g}")
