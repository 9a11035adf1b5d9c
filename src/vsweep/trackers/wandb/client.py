"""The client of W&B: its login, its errors without the API key, and when to ask a failed server again."""

import os
import re
import threading
import time
from contextlib import suppress

import wandb

_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{40,}")


def is_logged_in() -> bool:
    """Return whether W&B has an API key for the user, without asking for one."""
    with suppress(Exception):
        return bool(wandb.login(prompt=False, verify=False))
    return False


def describe_missing_login() -> str:
    """Describe why the user is not logged in."""
    return "WANDB_API_KEY is not a valid API key" if has_api_key() else "not logged in: wandb login"


def has_api_key() -> bool:
    """Return whether the environment has an API key, which the client ignores if its length is wrong."""
    return bool(os.environ.get("WANDB_API_KEY"))


def redact_key(text: object) -> str:
    """Return a message in one line, without the API key and any word long enough to be one."""
    message, key = str(text), os.environ.get("WANDB_API_KEY", "")
    # W&B does not accept keys of up to 7 characters.
    message = message.replace(key, "…") if len(key) > 7 else message
    return " ".join(_LONG_WORD.sub("…", message).split())


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
