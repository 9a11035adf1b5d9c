"""Decide whether targets are classes or numbers."""

import re
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np

from vsweep.errors import ConfigError, short_repr

AUTO, CLASSES, NUMBERS, BY_TYPE = "auto", "classes", "numbers", "by_type"
# The kinds of targets that `data.targets` takes.
KINDS = (AUTO, CLASSES, NUMBERS, BY_TYPE)
# Whole numbers are classes up to this many different values, and if there are so many rows for each.
_MOST_VALUES, _ROWS_EACH = 20, 3
_SIGN = r"[\s$€£¥₹%+()-]*"
_DRESSED_NUMBER = re.compile(rf"{_SIGN}\d[\d.,' ]*{_SIGN}")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")


def read_targets(
    values: Any, targets: str, field: str = "data", subject: str = "y"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert targets to classes, in the order of their sorted labels, or to numbers.

    Args:
        values: `(examples,)`: an array, a column of a table, or a list.
        targets: One of `KINDS`. With `auto`, text, booleans and categories are classes, and so are whole
            numbers of at most 20 different values with three rows for each on average, or of two values that
            repeat; all other numbers are numbers. With `by_type`, floats are numbers and all else is classes.
        field: The config field that the targets come from, for messages.
        subject: The name of the targets, for messages.

    Returns:
        Float64 numbers `(examples,)` and None, or int64 classes `(examples,)` and the label of each class, in
        the targets' own type.

    Raises:
        ConfigError: If the targets cannot be read so, or if `auto` leaves open what they are.
    """
    if targets == AUTO and str(getattr(values, "dtype", "")) == "category":
        targets = CLASSES
    raw = np.asarray(values)
    column = _plain(raw)
    if targets == BY_TYPE:
        if raw.dtype.kind == "f":
            return raw.astype(np.float64), None
        return _classes(column if column.dtype.kind in "biuU" else raw.astype(str))
    kind = column.dtype.kind
    if kind == "f" and not np.isfinite(column).all():
        row = int((~np.isfinite(column)).argmax())
        raise ConfigError("data.target", f"not finite in row {row}", "it takes finite numbers or classes")
    if targets == CLASSES:
        return _classes(column if kind in "biufU" else column.astype(str))
    if kind in "biuf":
        is_number = targets == NUMBERS or not (kind == "b" or _are_few_whole_numbers(column))
        return (column.astype(np.float64), None) if is_number else _classes(column)
    if kind != "U":
        name = "dates" if kind in "mM" else f"values of the type {type(column.flat[0]).__name__}"
        raise ConfigError(field, f"{subject} holds {name}", "it takes numbers or text; convert them first")
    return _read_text(column, targets, field, subject)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return objects of one kind as an array of numbers, booleans, text or dates."""
    if values.dtype.kind != "O":
        return values.astype(str) if values.dtype.kind == "T" else values
    kinds: list[tuple[Any, Any]] = [
        (bool | np.bool_, bool),
        (int | np.integer, np.int64),
        (int | float | Decimal | np.integer | np.floating, np.float64),
        (str, str),
        (date | time, "datetime64[D]"),
    ]
    items = values.tolist()
    for types, dtype in kinds:
        if all(isinstance(item, types) for item in items):
            if dtype == "datetime64[D]":
                return np.zeros(len(items), dtype)
            try:
                return values.astype(dtype)
            except OverflowError:
                # Integers beyond int64 are numbers still.
                continue
    return values


def _classes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, y = np.unique(values, return_inverse=True)
    return y.astype(np.int64), labels


def _are_few(different: int, rows: int) -> bool:
    """Return whether few different values repeat."""
    return different < rows and different <= max(2, min(_MOST_VALUES, rows // _ROWS_EACH))


def _are_few_whole_numbers(values: np.ndarray) -> bool:
    whole = values.dtype.kind != "f" or bool((values == np.floor(values)).all())
    return whole and _are_few(len(np.unique(values)), len(values))


def _read_text(
    values: np.ndarray, targets: str, field: str, subject: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read text as classes or as numbers, and refuse numbers or dates that are written as text."""
    labels, y, counts = np.unique(values, return_inverse=True, return_counts=True)
    plain = np.asarray([_is_number(label) for label in labels.tolist()])
    rows, numeric = len(values), int(counts[plain].sum())

    def refuse(got: str, odd: np.ndarray, takes: str) -> ConfigError:
        """Return the error that names the first example whose label is odd."""
        row = int(odd[y].argmax())
        return ConfigError(field, f"{subject} holds {got}{short_repr(str(values[row]))} in row {row}", takes)

    if numeric == rows:
        numbers = labels.astype(np.float64)[y]
        if targets == NUMBERS or not _are_few_whole_numbers(numbers):
            return numbers, None
    elif targets == NUMBERS:
        raise refuse("text, such as ", ~plain, "give data.targets=classes, or write plain numbers, as 1234.5")
    elif 2 * numeric >= rows:
        takes = "drop or fill such rows, or give data.targets=classes"
        raise refuse("numbers, but also ", ~plain, takes)
    dressed = np.asarray([bool(_DRESSED_NUMBER.fullmatch(t) or _DATE.fullmatch(t)) for t in labels.tolist()])
    if 2 * int(counts[dressed].sum()) >= rows and not _are_few(len(labels), rows):
        takes = "write plain numbers, as 1234.5, or give data.targets=classes"
        raise refuse("numbers or dates as text, such as ", dressed & ~plain, takes)
    if len(labels) > 2 and 2 * int((counts == 1).sum()) > rows:
        got = f"{subject} has {len(labels):,} different texts in {rows:,} rows"
        raise ConfigError(field, got, "it takes classes that repeat; or give data.targets=classes")
    return y.astype(np.int64), labels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
