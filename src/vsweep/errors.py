"""What a person is told when a config cannot be run."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A field that cannot be used: names the field, what came, and what is taken."""

    def __init__(self, field: str, got: str, takes: str) -> None:
        """One sentence: `field: got; takes`."""
        self.field, self.got, self.takes = field, got, takes
        super().__init__(f"{field}: {got}; {takes}" if takes else f"{field}: {got}")


class StoreError(OSError):
    """A sweep's directory that can no longer be written: says what is kept, and how to go on."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM in the middle of a sweep: says what is kept, and where."""

    def __init__(self, message: str, status: int = 130) -> None:
        """status: what the process ends with."""
        super().__init__(message)
        self.status = status


class Terminated(KeyboardInterrupt):
    """SIGTERM."""

    status = 143


def nearest(word: str, known: Iterable[str]) -> str:
    """A question that offers the nearest of the known words, or all of them where none is near."""
    known = list(known)
    last = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    # `lr`, or `learner.lr`, for `optimizer.lr`.
    if not close or close[0].partition(".")[0] != word.partition(".")[0]:
        close = [last[word.rpartition(".")[2]]] if word.rpartition(".")[2] in last else close
    return f"did you mean {close[0]}?" if close else "it takes one of " + ", ".join(known)
