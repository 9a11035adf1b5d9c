"""Write files so that each appears whole or not at all, and the formats of those that people can read."""

import json
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
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


def yaml_text(record: Any) -> str:
    """Return plain values as YAML."""
    # The engine writes files too, and runs where YAML is not installed.
    import yaml

    # The code in C, where YAML was built with it, is ten times as fast on a hundred thousand values.
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(record, Dumper=dumper, sort_keys=False)


def parse_yaml(text: str) -> Any:
    """Return the plain values of YAML. Raises `yaml.YAMLError`."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, loader)


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line with a checksum, for a file that is appended to."""
    text = json.dumps(record)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def decode_lines(content: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the records of a file's valid lines, and the lines that are not valid."""
    records: list[dict[str, Any]] = []
    invalid = []
    for line in content.splitlines(keepends=True):
        crc, _, text = line.rstrip(b"\n").partition(b" ")
        if line.endswith(b"\n") and crc == b"%08x" % zlib.crc32(text):
            with suppress(ValueError, RecursionError):
                record = json.loads(text)
                if isinstance(record, dict):
                    records.append(record)
                    continue
        invalid.append(line)
    return records, invalid


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to the disk, where the file system supports it."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
