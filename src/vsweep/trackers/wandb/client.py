"""The client of W&B: its settings and login, its errors without the API key, and when to try again."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import wandb

from vsweep.errors import ServiceError
from vsweep.trackers.wandb.options import DEFAULT_PROJECT, MODES, OFFLINE, Options

_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{40,}")
NOT_LOGGED_IN = "not logged in: wandb login"


def complete_options(options: Options) -> Options:
    """Return options with the project and entity of the client's settings, if the config has none.

    The client reads its settings from the environment and from files. Where a file turns W&B off, and the
    mode is `auto`, the runs stay offline.

    Raises:
        ServiceError: If the client refuses the value of a variable.
    """
    for name, value in os.environ.items():
        if name.startswith("WANDB_"):
            try:
                wandb.Settings().update_from_env_vars({name: value})
            except Exception as error:
                raise ServiceError(f"{name} has a value that W&B's client does not accept") from error
    settings = wandb.setup().settings
    mode = OFFLINE if options.mode == "auto" and MODES[settings.mode] != "online" else options.mode
    project, entity = options.project or settings.project, options.entity or settings.entity
    return options._replace(mode=mode, project=project or DEFAULT_PROJECT, entity=entity or None)


def login_problem() -> str:
    """Return why W&B has no login for the user, or ""; neither the user nor the server is asked."""
    problem = "WANDB_API_KEY is not a valid API key" if os.environ.get("WANDB_API_KEY") else NOT_LOGGED_IN
    try:
        return "" if wandb.login(prompt=False, verify=False) else problem
    except Exception as error:
        return problem if "WANDB_API_KEY invalid" in str(error) else redact_key(error)


@contextmanager
def alone(tell: Callable[..., None], name: str) -> Iterator[None]:
    """Tell the parent that a step needs no server, so that it does not count as waiting."""
    tell(begin=name)
    try:
        yield
    finally:
        tell(end=name)


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
    """The waiting times of one upload; the parent process bounds their sum at the end.

    Attributes:
        why: The last error, without an API key.
        last: Whether all trials are trained, so that the user waits for the upload only.
    """

    def __init__(self, stop: threading.Event, *, last: bool = False) -> None:
        """Start without a wait.

        Args:
            stop: Event that ends a wait.
            last: Whether all trials are trained.
        """
        self.why, self.last = "", last
        self._stop, self._not_before = stop, 0.0
        self.came_through()

    def waits(self) -> bool:
        """Return whether it is too early to ask again, after a short wait if so."""
        remaining = self._not_before - time.monotonic()
        return remaining > 0 and not self._stop.wait(min(0.2, remaining))

    def came_through(self) -> None:
        """Note that the server accepted a run."""
        self._wait, self._refused = _FIRST_WAIT_S, 0

    def failed(self, error: object) -> bool:
        """Note a failure and return whether to try again."""
        self.why = redact_key(error) or type(error).__name__
        self._not_before = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        self._refused += bool(_FINAL.search(self.why))
        return not self.last or self._refused < 2
