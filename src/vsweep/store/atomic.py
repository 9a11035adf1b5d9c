"""Files that appear whole or not at all, and what they hold in a few digits."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file under a name that no reader looks at, then give it its own at once.

    When it returns, the file outlives a loss of power too. Where `write` fails, nothing is left of it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, record: Any) -> None:
    """Write plain values as JSON, whole or not at all."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def sync_directory(directory: Path) -> None:
    """Make sure that the names in a directory are on the disk; not every file system can."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        digest = sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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
