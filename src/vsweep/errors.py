"""What a person is told when a config cannot be run."""

import difflib
import re
from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """A field that cannot be used: names the field, what came, and what is taken."""

    def __init__(self, field: str, got: str, takes: str) -> None:
        """One sentence on one line: `field: got; takes`."""
        field, got, takes = map(_one_line, (field, got, takes))
        self.field, self.got, self.takes = _cut(field, 120) or "''", _cut(got, 600), takes
        super().__init__(f"{self.field}: {self.got}; {takes}" if takes else f"{self.field}: {self.got}")


class StoreError(OSError):
    """A sweep's directory that can no longer be written: says what is kept, and how to go on."""


class ServiceError(RuntimeError):
    """What a service on the network did not do: says why."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM in the middle of a sweep: says what is kept, and where."""

    def __init__(self, message: str, status: int = 130) -> None:
        """status: what the process ends with."""
        super().__init__(message)
        self.status = status


class Terminated(KeyboardInterrupt):
    """SIGTERM."""

    status = 143


def _one_line(text: str) -> str:
    """Text without what ends a line on some terminal, or moves its cursor."""
    return re.sub(r" +$", "", "".join(one if one.isprintable() else " " for one in text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def short_repr(value: Any) -> str:
    """A value as a message shows it, of bounded length."""
    try:
        return _cut(repr(value), 200)
    except (ValueError, RecursionError):
        # An integer of more digits than Python writes, or what holds itself.
        return f"a {type(value).__name__} too long to show"


def suggest(word: str, known: Iterable[str]) -> str:
    """A question that offers the nearest of the known words, or all of them where none is near."""
    known, word = list(known), word[:120]
    last = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    # `lr`, or `learner.lr`, for `optimizer.lr`.
    if not close or close[0].partition(".")[0] != word.partition(".")[0]:
        close = [last[word.rpartition(".")[2]]] if word.rpartition(".")[2] in last else close
    return f"did you mean {close[0]}?" if close else "it takes one of " + ", ".join(known)
