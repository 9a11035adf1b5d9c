"""Short labels for axes, values and cells, and a color palette that is safe for color-blind readers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# The palette of Okabe and Ito (2008), the darkest first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def evenly_spaced_indices(count: int, most: int) -> np.ndarray:
    """Return at most `most` indices spread evenly over `range(count)`, the first and the last included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def cell_label(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """Label a cell by its values on the axes that it has, as in `lr=0.1 width=32`."""
    names = short_axis_names(axes)
    return " ".join(f"{names[axis]}={format_value(row[axis])}" for axis in axes if pd.notna(row[axis]))


def replicate_label(row: Mapping[str, Any]) -> str:
    """Label a trial of a cell by its seed, and by its split if there are several: `split=1 seed=3`."""
    return " ".join(f"{name}={row[name]}" for name in ("split", "seed") if name in row)


def short_axis_names(axes: Sequence[str]) -> dict[str, str]:
    """Name each axis by the last part of its path, or by its path if two axes share the last part."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {axis: name if last.count(name) == 1 else axis for axis, name in zip(axes, last, strict=True)}


def format_value(value: object, digits: int = 4) -> str:
    """Format a value briefly: floats to some significant digits, missing values as a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def format_distinct_values(values: Iterable[Any]) -> list[str]:
    """Format values with as few digits, at least 4, as distinguish them."""
    known = list(values)
    distinct = len(set(map(str, known)))
    for digits in range(4, 18):
        texts = [format_value(value, digits) for value in known]
        if len(set(texts)) == distinct:
            break
    return texts


def format_with_error(mean: float, error: float) -> str:
    """Format a mean and its standard error, which is left out if it is NaN.

    Final zeros are kept, so that the numbers of a column end at the same digit.
    """
    if pd.isna(mean) or pd.isna(error):
        return format_value(mean)
    return f"{_format_digits(mean, 4)} ± {_format_digits(error, 2)}"


def _format_digits(value: float, digits: int) -> str:
    """Format a number to so many significant digits; whole digits of large numbers are all shown."""
    if value == 0.0:
        return "0"
    text = f"{value:#.{digits}g}".removesuffix(".")
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e6 else text


def format_p(value: float) -> str:
    """Format a p-value to two decimals, or a smaller one as a bound."""
    if pd.isna(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.095 else f"{value:.2f}"


def format_bytes(n: float) -> str:
    """Format a number of bytes in KiB, MiB or GiB."""
    power = min(3, max(1, int(np.log2(max(n, 1)) // 10)))
    n /= 2 ** (10 * power)
    return f"{n:.{0 if n >= 9.5 else 1}f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def format_count(count: int, noun: str) -> str:
    """Format a number of things, as in `1 run` and `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_target_scales(scales: Iterable[float]) -> str:
    """Say in which units losses are where targets are scaled; return nothing where none is.

    Args:
        scales: The number by which each program divides the targets; 1 where they stay as they are.
    """
    units = sorted({f"{scale:.4g}" for scale in scales if scale != 1.0})
    if not units:
        return ""
    unit = f"the target's standard deviation, {' or '.join(units)}"
    return (
        f"losses (and loss.delta, where the loss has it) are in units of {unit}; errors, predictions and"
        " lines are in the target's own"
    )
