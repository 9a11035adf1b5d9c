"""Decide when to ask a failed server again, and when to give up."""

import re
import threading
import time

from vsweep.trackers.wandb.client import redact_key

_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 30.0
# These answers of a server are final; the request is repeated only once, to be sure.
_FINAL = re.compile(r"\b40[134]\b|unauthori[sz]ed|forbidden|permission|not found|created and deleted", re.I)


class Backoff:
    """The waiting times of one upload.

    Attributes:
        why: The last error, without an API key.
        last: Whether all trials are trained, so that the user waits for the upload only.
    """

    def __init__(self, patience: float, stop: threading.Event, *, last: bool = False) -> None:
        """Start without a wait.

        Args:
            patience: The time to keep trying without success after training, in seconds.
            stop: Event that ends a wait.
            last: Whether all trials are trained.
        """
        self.why, self.last = "", last
        self._patience, self._stop, self._not_before = patience, stop, 0.0
        self.came_through()

    def waits(self) -> bool:
        """Return whether it is too early to ask again, after a short wait if so."""
        remaining = self._not_before - time.monotonic()
        return remaining > 0 and not self._stop.wait(min(0.2, remaining))

    def came_through(self) -> None:
        """Note that the server accepted a run."""
        self._reached, self._wait, self._refused = time.monotonic(), _FIRST_WAIT_S, 0

    def failed(self, error: object) -> bool:
        """Note a failure and return whether to try again."""
        self.why = redact_key(error) or type(error).__name__
        now = time.monotonic()
        self._not_before = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        self._refused += bool(_FINAL.search(self.why))
        return not self.last or (self._refused < 2 and now - self._reached < self._patience)
