"""When a server that failed is asked again, and when it is given up."""

import re
import threading
import time

from vsweep.trackers.wandb.client import redact_key

# Seconds between two attempts, the first and the longest.
_FIRST_S, _LONGEST_S = 2.0, 30.0
# What a server says that will say the same again; it is asked once more all the same.
_FINAL = re.compile(r"\b40[134]\b|unauthori[sz]ed|forbidden|permission|not found|created and deleted", re.I)


class Backoff:
    """Of one upload. why: what stood in the way last, without an API key."""

    def __init__(self, patience: float, stop: threading.Event) -> None:
        """patience: how long nothing may come through once all is trained, in seconds. stop: ends a wait."""
        self.why = ""
        self._patience, self._stop = patience, stop
        self._wait, self._not_before, self._refused = _FIRST_S, 0.0, 0
        self._reached = time.monotonic()
        self.last = False

    def hurry(self) -> None:
        """All is trained, and nobody waits for anything else: begin afresh."""
        self.last, self._reached = True, time.monotonic()
        self._wait, self._not_before, self._refused = _FIRST_S, 0.0, 0

    def waits(self) -> bool:
        """Whether it is too early to ask again; waits for a moment then."""
        left = self._not_before - time.monotonic()
        return left > 0 and not self._stop.wait(min(0.2, left))

    def came_through(self) -> None:
        """Something reached the server."""
        self._reached, self._wait, self._refused = time.monotonic(), _FIRST_S, 0

    def failed(self, error: object) -> bool:
        """Whether to try again after this."""
        self.why = redact_key(error) or type(error).__name__
        now = time.monotonic()
        self._not_before = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_S)
        self._refused += bool(_FINAL.search(self.why))
        if not self.last:
            return True
        return self._refused < 2 and now - self._reached < self._patience
