"""Locks that let one process at a time write a sweep's directory."""

import errno
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, OwnerRecord, SoftFileLease, Timeout

from vsweep.errors import ConfigError, show_message
from vsweep.store.enclosing import enclosing_sweep
from vsweep.store.files import LOCK_FILES, Files

# The file that the system locks, and the marker that stands for it on a file system without locks.
_NAME, _LEASE = LOCK_FILES
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# A marker without a heartbeat for so long was left by a dead process. NFS shows a heartbeat after seconds.
_LEASE_S, _HEARTBEAT_S = 60.0, 15.0
# A marker of a dead process on this host is taken over within this time.
_TAKE_OVER_S = 0.5


class Lock:
    """The right to write a directory, until `close`, or until the process ends in any way.

    The system releases the lock of a process that ends. On a file system without locks, a marker with a
    heartbeat takes the lock's place: other processes take it over once its process is gone from this host,
    or once the heartbeat has stopped for a minute.
    """

    def __init__(self, directory: Path, does: str = "is training in") -> None:
        """Take the lock.

        Args:
            directory: The directory to be written.
            does: The holder's activity in the directory, for the message to a second process.

        Raises:
            ConfigError: If another process holds the lock, or the directory cannot be written.
        """
        Files(directory).refuse_links()
        try:
            self._lock = _acquire(directory)
        except Timeout as error:
            got = f"{_holder(Path(error.lock_file))} {does} {str(directory)!r}"
            raise ConfigError("dir", got, "wait for it, or stop it: one process at a time") from error
        except OSError as error:
            got = f"cannot write in {str(directory)!r} ({error.strerror})"
            raise ConfigError("dir", got, "it takes a directory that can be written") from error

    def check(self) -> None:
        """Raise `OSError` where another process has taken the lock over, after a pause of this process."""
        if isinstance(self._lock, SoftFileLease) and self._lock.compromise:
            raise OSError("another process has taken over the directory's lock")

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()


def _acquire(directory: Path) -> BaseFileLock:
    """Return a lock that is held. Raises `Timeout` where another process holds it, and `OSError`."""
    lock: BaseFileLock = FileLock(
        directory / _NAME, blocking=False, thread_local=False, fallback_to_soft=False, preserve_lock_file=True
    )
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return _acquire_lease(directory / _LEASE)
    # On a full disk the file cannot name the holder, but the lock is held all the same.
    with suppress(OSError):
        handle = os.open(directory / _NAME, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "w") as file:
            json.dump({"pid": os.getpid(), "host": platform.node()}, file)
    return lock


def _acquire_lease(path: Path) -> SoftFileLease:
    """Return a marker with a heartbeat that is held. Raises as `_acquire` does."""
    lease = SoftFileLease(path, lease_duration=_LEASE_S, heartbeat_interval=_HEARTBEAT_S, thread_local=False)
    try:
        lease.acquire(timeout=_TAKE_OVER_S)
    except Timeout:
        if lease.owner is None or _host(lease.owner) == platform.node():
            raise
        # Only the heartbeat tells whether a process on another host is alive.
        wait_s = _LEASE_S + _HEARTBEAT_S
        show_message(f"vsweep: waiting {wait_s:.0f} s for a heartbeat of {path}, from another host")
        lease.acquire(timeout=wait_s, poll_interval=min(1.0, _HEARTBEAT_S))
    return lease


def _host(owner: OwnerRecord) -> str:
    """Return the host of a marker's process, without the namespace of its container."""
    return owner.hostname.partition("?")[0]


def _holder(path: Path) -> str:
    """Describe the process that holds a lock file."""
    owner = SoftFileLease(path).owner
    if owner is not None:
        return f"process {owner.pid} on {_host(owner)}"
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def check_inside(directory: Path) -> None:
    """Raise `ConfigError` if the working directory is in a sweep's directory, which others may have made.

    W&B's client reads in the working directory which server gets the key.
    """
    if Path.cwd().resolve().is_relative_to(directory.resolve()):
        raise ConfigError(
            "dir", "the working directory is the sweep's own directory", "leave it first: cd .."
        )
    if (other := enclosing_sweep(Path.cwd())) is not None:
        got = f"the working directory lies in another sweep's directory, {str(other)!r}"
        raise ConfigError("dir", got, "leave it first: cd ..")
