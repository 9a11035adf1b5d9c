"""What a field can take: in words for a person, and as the type that it becomes.

The functions here that are given a value give it as its type, and raise ValueError for any other.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple


class Constraint(NamedTuple):
    """What a field takes. text: in words. parse: the value as its type; raises ValueError."""

    text: str
    parse: Callable[[Any], Any]


def number(given: Any, low: float, high: float, *, ends: tuple[bool, bool], whole: bool) -> float | int:
    """A finite number between these, the ends included or not."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError
    above = given > low or (ends[0] and given == low)
    below = given < high or (ends[1] and given == high)
    if not (above and below) or (whole and given != int(given)):
        raise ValueError
    return int(given) if whole else float(given)


def real(
    text: str, low: float, high: float = math.inf, ends: tuple[bool, bool] = (True, False)
) -> Constraint:
    """A number between these."""
    return Constraint(f"a number {text}", partial(number, low=low, high=high, ends=ends, whole=False))


def integer(low: int, high: int = 2**31 - 1) -> Constraint:
    """An integer from one to another."""
    text = f"an integer of at least {low}" if high == 2**31 - 1 else f"an integer from {low} to {high}"
    return Constraint(text, partial(number, low=low, high=high, ends=(True, True), whole=True))


def text(given: Any) -> str:
    """Text that is not empty."""
    if not isinstance(given, str) or not given:
        raise ValueError
    return given


def directory(given: Any) -> str:
    """A path that a directory can have."""
    if "\x00" in text(given):
        raise ValueError
    return str(given)


def flag(given: Any) -> bool:
    """True or false."""
    if not isinstance(given, bool):
        raise ValueError
    return given


def one_of(names: Any) -> Constraint:
    """One of some names."""

    def parse(given: Any) -> str:
        if given not in names:
            raise ValueError
        return str(given)

    return Constraint("one of " + ", ".join(names), parse)


def examples(given: Any) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers; of one feature, the numbers alone will do."""
    if not isinstance(given, list) or not given:
        raise ValueError
    flat = not any(isinstance(row, list) for row in given)
    rows = tuple(map(numbers, [[one] for one in given] if flat else given))
    if len(set(map(len, rows))) > 1:
        raise ValueError
    return rows


def numbers(given: Any) -> tuple[float, ...]:
    """At least one number."""
    if not isinstance(given, list) or not given:
        raise ValueError
    return tuple(map(ANY.parse, given))


def classes(given: Any) -> tuple[str, ...]:
    """At least two names, all different."""
    found = names(given)
    if len(found) < 2 or len(set(found)) < len(found):
        raise ValueError
    return found


def names(given: Any) -> tuple[str, ...]:
    """At least one name."""
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise ValueError
    return tuple(given)


def some_names(given: Any) -> tuple[str, ...]:
    """Names, or none."""
    return () if given is None or given == [] else names(given)


def coordinate(given: Any) -> float | tuple[float, ...]:
    """A number, or several."""
    return numbers(given) if isinstance(given, list) else float(ANY.parse(given))


def pictures(given: Any) -> tuple[dict[str, dict[str, Any]], ...]:
    """Of a list of names, and of mappings from a name to its arguments, all as mappings."""
    made: list[dict[str, dict[str, Any]]] = []
    for entry in given if isinstance(given, list) else [given]:
        named = {entry: {}} if isinstance(entry, str) else entry
        if not isinstance(named, Mapping) or not all(isinstance(v, Mapping) for v in named.values()):
            raise ValueError
        made.append({str(name): dict(arguments) for name, arguments in named.items()})
    return tuple(made)


def modules(given: Any) -> tuple[str, ...]:
    """Modules' dotted names, or none."""
    if given is None:
        return ()
    found = given if isinstance(given, list) else [None]
    if not all(isinstance(name, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) for name in found):
        raise ValueError
    return tuple(found)


def project(given: Any) -> str:
    """A name that W&B takes for a project."""
    if not isinstance(given, str) or not re.fullmatch(r"[^/\\#?%:\x00-\x1f\x7f]{1,128}", given):
        raise ValueError
    return given


def or_null(takes: Constraint) -> Constraint:
    """The same, or null."""
    return Constraint(f"{takes.text}, or null", lambda v: None if v is None else takes.parse(v))


def share_or_auto(given: Any) -> float | str:
    """A share below 1, or `auto`."""
    return given if given == "auto" else UNIT.parse(given)


def count_or_all(given: Any) -> int | str:
    """A count, or `all`."""
    return given if given == "all" else int(integer(0).parse(given))


PATH = Constraint("text", text)
ANY = Constraint("a number", partial(number, low=-math.inf, high=math.inf, ends=(False, False), whole=False))
# Where a coordinate of a point starts: a field by its name, whatever function it is of.
COORDINATE = Constraint("a number, or a list of numbers", coordinate)
UNIT = real("from 0 to below 1", 0.0, 1.0)
POSITIVE = real("above 0", 0.0, ends=(False, False))
NOT_NEGATIVE = real("of at least 0", 0.0)
