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
# The names of missing values: None, and those of floats, decimals and pandas.
_MISSING = ("None", "nan", "NaN", "NaT", "<NA>")
# A number with signs, a currency before it or a unit behind it, or several as in ranges, times and fractions.
_DIGITS = r"\d[\d.,'\s]*"
_DRESSED_NUMBER = re.compile(
    rf"([a-z]{{1,3}}\.?\s+|[a-z]{{1,2}}(?=\$))?\W*{_DIGITS}([-–/:]\s*{_DIGITS})*\W*([a-z/]{{1,9}}[²³.]?)?",
    re.IGNORECASE,
)
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}([T ].*)?|(?=.*\d)[\d\W]*{_MONTH}[\d\W]*", re.IGNORECASE
)


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
    if targets == BY_TYPE:
        if raw.dtype.kind == "f":
            return raw.astype(np.float64), None
        column = _plain(raw)
        return _classes(column if column.dtype.kind in "biuU" else raw.astype(str))
    if raw.dtype.kind == "U" and isinstance(values, list | tuple):
        # NumPy has made text of numbers and of missing values in a list of text.
        raw = np.asarray(values, object)
    _check_missing(raw, field, subject)
    column = _plain(raw)
    kind = column.dtype.kind
    if kind == "f" and not np.isfinite(column).all():
        row = int((~np.isfinite(column)).argmax())
        raise ConfigError("data.target", f"not finite in row {row}", "it takes finite numbers or classes")
    if kind not in "biufU":
        types = sorted({type(item).__name__ for item in column.flat})[:3]
        name = (
            "dates" if kind in "mM" else f"values of the type{'s' * (len(types) > 1)} {' and '.join(types)}"
        )
        raise ConfigError(field, f"{subject} holds {name}", "it takes numbers or text; convert them first")
    if targets == CLASSES:
        return _classes(column)
    if kind != "U":
        is_number = targets == NUMBERS or not (kind == "b" or _are_few_whole_numbers(column))
        return (column.astype(np.float64), None) if is_number else _classes(column)
    return _read_text(column, targets, field, subject)


def _check_missing(values: np.ndarray, field: str, subject: str) -> None:
    """Raise `ConfigError` for missing values among objects."""
    if values.dtype.kind != "O":
        return
    missing = [not isinstance(item, str) and str(item) in _MISSING for item in values.tolist()]
    if any(missing):
        got = f"{subject} has {sum(missing)} missing values (first in row {missing.index(True)})"
        raise ConfigError(field, got, "fill or drop them")


def _plain(values: np.ndarray) -> np.ndarray:
    """Return objects of one kind as an array of numbers, booleans, text or dates."""
    if values.dtype.kind == "f":
        # Labels are stored as floats of 64 bits at most.
        return values.astype(np.float64) if values.dtype.itemsize > 8 else values
    if values.dtype.kind not in "OT":
        return values
    items = values.tolist()
    kinds: list[tuple[Any, Any]] = [
        (bool | np.bool_, bool),
        (int | np.integer, np.int64),
        (int | float | Decimal | np.integer | np.floating, np.float64),
        (str, str),
        (date | time, "datetime64[D]"),
    ]
    for types, dtype in kinds:
        if all(isinstance(item, types) for item in items):
            if dtype == "datetime64[D]":
                return np.zeros(len(items), dtype)
            try:
                return np.asarray(items, dtype)
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
    dressed = np.asarray([_is_dressed(label) for label in labels.tolist()])
    rows, numeric, measured = len(values), int(counts[plain].sum()), plain | dressed

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
    # Where most values are missing, most of the different texts are numbers still.
    most = 2 * int(counts[measured].sum()) >= rows or 2 * int(measured.sum()) > len(labels)
    if numeric < rows and (2 * numeric >= rows or (most and not _are_few(len(labels), rows))):
        if 2 * numeric >= rows or 2 * int(plain.sum()) > int(measured.sum()):
            raise refuse("numbers, but also ", ~plain, "drop or fill such rows, or give data.targets=classes")
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


def _is_dressed(text: str) -> bool:
    """Return whether text is a number with its unit, a date, a time or a range."""
    return len(text) <= 40 and bool(_DRESSED_NUMBER.fullmatch(text) or _DATE.fullmatch(text))
