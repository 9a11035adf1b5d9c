"""One process at a time writes a sweep's directory."""

import json
import os
import platform
from contextlib import suppress
from pathlib import Path

from vsweep.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

_NAME = ".lock"
# Where files lie that are written, or sent elsewhere.
_FOLDERS = "ledger", "curves", "pictures"


class Lock:
    """Held until it is closed, or its process ends, however it ends: the system lets go of it then."""

    def __init__(self, directory: Path, does: str = "is training in") -> None:
        """does: what its holder does there, in words.

        Raises `ConfigError` where another process holds it, or the directory cannot be written.
        """
        self._handle: int | None = None
        check_no_links(directory)
        if fcntl is None:
            return
        try:
            handle = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            got = f"cannot write in {str(directory)!r} ({error.strerror})"
            raise ConfigError("dir", got, "it takes a directory that can be written") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _said(os.read(handle, 1000))
            os.close(handle)
            got = f"{holder} {does} {str(directory)!r}"
            raise ConfigError("dir", got, "wait for it, or stop it: one process at a time") from error
        self._handle = handle
        # On a full disk, who holds it cannot be said, and it is held all the same.
        with suppress(OSError):
            os.truncate(handle, 0)
            os.write(handle, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())

    def close(self) -> None:
        """Let go."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        self.close()


def check_no_links(directory: Path) -> None:
    """Raise `ConfigError` where a name in a sweep's directory leads elsewhere: it may come from others."""
    folders = (directory, *(directory / name for name in _FOLDERS))
    for path in (path for folder in folders for path in folder.glob("*")):
        if path.is_symlink():
            got = f"{str(path)!r} is a link, through which files elsewhere would be read or written"
            raise ConfigError("dir", got, "it takes a directory that holds its own files")


def check_inside(directory: Path) -> None:
    """Raise `ConfigError` where one stands in a sweep's directory, which may come from others.

    From where one stands functions are imported, and W&B's client reads which server to send the key to.
    """
    if Path.cwd().resolve().is_relative_to(directory.resolve()):
        raise ConfigError("dir", "you stand in the sweep's own directory", "go out of it: cd ..")


def _said(text: bytes) -> str:
    try:
        said = json.loads(text)
        return f"process {said['pid']} on {said['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
