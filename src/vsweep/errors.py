"""The errors that users see, and the parts of their messages."""

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """A field cannot be used; the message names the field, the value received, and the accepted values."""

    def __init__(self, field: str, got: str, takes: str) -> None:
        """Make the message, on one line: `field: got; takes`."""
        field, got, takes = map(_one_line, (field, got, takes))
        self.field, self.got, self.takes = _cut(field, 120) or "''", _cut(got, 600), takes
        super().__init__(f"{self.field}: {self.got}; {takes}" if takes else f"{self.field}: {self.got}")


class StoreError(OSError):
    """A sweep's directory can no longer be used; the message says what is kept, and how to continue."""


class DamagedError(StoreError):
    """A file of a sweep's directory is damaged or lost; the message says how to restore it."""


class StuckError(RuntimeError):
    """A compilation or a block has stopped for ever; the message says what to try, and what is kept."""


class ServiceError(RuntimeError):
    """A service on the network failed; the message says why."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a sweep early; the message says what is kept, and where."""

    def __init__(self, message: str, status: int = 130) -> None:
        """Take the message, and the exit status of the process."""
        super().__init__(message)
        self.status = status


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""

    status = 143


def printable(text: str, most: int = 10**6) -> str:
    """Return text of a person, a file or a directory for a terminal.

    Control characters, which could move the cursor or change colors, are escaped as in Python; line ends
    stay. At most `most` characters are returned.
    """
    shown = (c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return _cut("".join(shown), most)


def show_message(text: str) -> None:
    """Print a message on standard error, with control characters escaped."""
    print(printable(text), file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    """Replace characters that would end the line or move the terminal's cursor with spaces."""
    return re.sub(r" +$", "", "".join(char if char.isprintable() else " " for char in text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def short_repr(value: Any) -> str:
    """Return the text of a value for a message, of bounded length."""
    try:
        return _cut(repr(value), 200)
    except (ValueError, RecursionError):
        # The value is an integer of more digits than Python writes, or it contains itself.
        return f"a {type(value).__name__} too long to show"


def suggest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return a question that offers the nearest known word, or a list of all of them if none is near."""
    known, word = list(known), word[:120]
    by_last_part = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    # `lr` and `learner.lr` stand for `optimizer.lr`.
    if not close or close[0].partition(".")[0] != word.partition(".")[0]:
        close = [match] if (match := by_last_part.get(word.rpartition(".")[2])) else close
    return f"did you mean {close[0]}?" if close else "it takes one of " + ", ".join(known)
