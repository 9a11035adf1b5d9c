"""Write files so that each appears whole or not at all, and compute their checksums."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name and rename it when it is complete.

    The file survives a power failure once this function returns. If `write` fails, nothing is left of it.

    Args:
        path: The final path.
        write: Function that writes the content to the path it is given.
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


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, record: Any) -> None:
    """Write plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False))


def write_yaml(path: Path, record: Any) -> None:
    """Write plain values as YAML, whole or not at all."""
    # The engine writes files too, and runs where YAML is not installed.
    import yaml

    # The code in C, where YAML was built with it, is ten times as fast on a hundred thousand values.
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    write_text(path, yaml.dump(record, Dumper=dumper, sort_keys=False))


def read_yaml(path: Path) -> Any:
    """Return the plain values in a YAML file. Raises `OSError` and `yaml.YAMLError`."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), loader)


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to the disk, where the file system supports it."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM until the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[tuple[int, Any]] = []
    # A signal without a Python handler ends the process at once, as kill -9 does.
    handlers: dict[int, Any] = {
        int(number): handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, frame: deferred.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in deferred:
        handlers[number](number, frame)
