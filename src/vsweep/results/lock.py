"""One process at a time writes a sweep's directory."""

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from vsweep.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

_NAME = ".lock"


class Lock:
    """Held until it is released, or its process ends, however it ends: the system lets go of it then."""

    def __init__(self, directory: Path) -> None:
        """Raises `ConfigError` where another process holds it, or the directory cannot be written."""
        self._file: IO[Any] | None = None
        refuse_links(directory)
        if fcntl is None:
            return
        try:
            handle = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            file = os.fdopen(handle, "r+", encoding="utf-8")
        except OSError as error:
            got = f"cannot write in {str(directory)!r} ({error.strerror})"
            raise ConfigError("dir", got, "it takes a directory that can be written") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = _said(file.read())
            file.close()
            got = f"{holder} is training in {str(directory)!r}"
            raise ConfigError("dir", got, "wait for it, or stop it: one process at a time") from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        # On a full disk, who holds it cannot be said, and it is held all the same.
        with suppress(OSError):
            file.flush()
        self._file = file

    def close(self) -> None:
        """Let go."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def refuse_links(directory: Path) -> None:
    """Raise `ConfigError` where a name in a sweep's directory leads elsewhere: it may come from others."""
    for path in (*directory.glob("*"), *directory.glob(".*"), *directory.glob("ledger/*")):
        if path.is_symlink():
            got = f"{str(path)!r} is a link, through which files elsewhere would be written"
            raise ConfigError("dir", got, "it takes a directory that holds its own files")


def _said(text: str) -> str:
    try:
        said = json.loads(text)
        return f"process {said['pid']} on {said['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
