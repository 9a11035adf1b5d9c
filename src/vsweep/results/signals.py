"""What belongs together is written together: signals wait until it is."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, Any]] = []
    # A signal without a handler of Python's ends the process at once, as kill -9 does.
    before: dict[int, Any] = {
        int(n): h for n in (signal.SIGINT, signal.SIGTERM) if callable(h := signal.getsignal(n))
    }
    for number in before:
        signal.signal(number, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number, frame in held:
        before[number](number, frame)
