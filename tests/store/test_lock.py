"""The lock of a sweep's directory: the system's, and the marker with a heartbeat that stands for it."""

import errno
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

import vsweep.store.lock as locks
from vsweep.errors import ConfigError
from vsweep.store.lock import Lock

HOLD = """
import errno, fcntl, sys, time
from pathlib import Path

def refuse(*args):
    raise OSError(int(sys.argv[2]), "no locks")

if int(sys.argv[2]):
    fcntl.flock = refuse
from vsweep.store import lock
lock._LEASE_S, lock._HEARTBEAT_S = 3.0, 0.2
held = lock.Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
NATIVE, SOFT = 0, errno.ENOLCK


@pytest.fixture
def other(tmp_path):
    """Start another process that holds the lock of `tmp_path`, by the system (0) or without its locks."""
    started = []

    def start(number):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def lockless(monkeypatch):
    """A file system without locks, with a short heartbeat."""

    def refuse(number):
        def flock(*args):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(locks, "_LEASE_S", 3.0)
        monkeypatch.setattr(locks, "_HEARTBEAT_S", 0.2)

    return refuse


def names(folder):
    return {path.name for path in folder.iterdir()}


def held_by(pid, folder):
    return f"dir: process {pid} on {platform.node()} is training in '{folder}'; wait for it, or stop it: one"


@pytest.mark.parametrize("number", [NATIVE, SOFT])
def test_a_second_process_is_refused_until_the_first_is_killed(other, lockless, tmp_path, number):
    if number:
        lockless(number)
    process = other(number)
    begun = time.monotonic()
    with pytest.raises(ConfigError) as refusal:
        Lock(tmp_path)
    assert str(refusal.value).startswith(held_by(process.pid, tmp_path))
    # The process is on this host and alive, so nobody waits for its heartbeat.
    assert time.monotonic() - begun < 2.5
    process.kill()
    process.wait()
    begun = time.monotonic()
    Lock(tmp_path).close()
    assert time.monotonic() - begun < 2.5


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_the_systems_locks_a_marker_holds_and_is_taken_away(lockless, tmp_path, number):
    lockless(number)
    lock = Lock(tmp_path)
    assert names(tmp_path) == {".lock", ".lock-lease"}
    with pytest.raises(ConfigError, match=f"^dir: process {os.getpid()} on "):
        Lock(tmp_path)
    lock.check()
    lock.close()
    assert names(tmp_path) == {".lock"}
    Lock(tmp_path).close()


def test_another_error_of_the_lock_is_no_missing_lock(lockless, tmp_path):
    lockless(errno.EIO)
    with pytest.raises(ConfigError, match=r"^dir: cannot write in .* \(Input/output error\)"):
        Lock(tmp_path)


def test_the_lock_can_be_taken_again_after_it_is_released(tmp_path):
    for _ in range(2):
        lock = Lock(tmp_path)
        with pytest.raises(ConfigError, match=f"^dir: process {os.getpid()} on "):
            Lock(tmp_path)
        lock.close()
        lock.close()
    assert names(tmp_path) == {".lock"}
    assert json.loads((tmp_path / ".lock").read_text()) == {"pid": os.getpid(), "host": platform.node()}


def test_a_lock_that_is_dropped_is_released(tmp_path):
    Lock(tmp_path)
    Lock(tmp_path).close()


def test_who_holds_it_is_another_process_where_the_file_does_not_say(tmp_path):
    lock = Lock(tmp_path)
    for text in ("", "{", "[]", "{}"):
        (tmp_path / ".lock").write_text(text)
        with pytest.raises(ConfigError, match=r"^dir: another process is training in "):
            Lock(tmp_path)
    lock.close()


def elsewhere(folder):
    """The marker says that its process is on another host."""
    text = (folder / ".lock-lease").read_text()
    (folder / ".lock-lease").write_text(text.replace(f"host={platform.node()}", "host=elsewhere"))


def test_a_heartbeat_on_another_host_is_waited_for_and_refused(other, lockless, tmp_path, capsys):
    lockless(SOFT)
    process = other(SOFT)
    elsewhere(tmp_path)
    with pytest.raises(ConfigError, match=f"^dir: process {process.pid} on elsewhere is training in"):
        Lock(tmp_path)
    assert f"waiting 3 s for a heartbeat of {tmp_path / '.lock-lease'}" in capsys.readouterr().err


def test_a_marker_whose_heartbeat_has_stopped_on_another_host_is_taken_over(other, lockless, tmp_path):
    lockless(SOFT)
    process = other(SOFT)
    elsewhere(tmp_path)
    process.kill()
    process.wait()
    begun = time.monotonic()
    lock = Lock(tmp_path)
    assert 2.5 < time.monotonic() - begun < 10
    assert f"pid={os.getpid()}" in (tmp_path / ".lock-lease").read_text()
    lock.close()
    assert names(tmp_path) == {".lock"}


def test_a_process_that_slept_through_a_take_over_writes_no_more(lockless, tmp_path):
    lockless(SOFT)
    lock = Lock(tmp_path)
    (tmp_path / ".lock-lease").unlink()
    # The heartbeat, every 0.2 s, notices it.
    time.sleep(2)
    with pytest.raises(OSError, match="another process has taken over the directory's lock"):
        lock.check()
    lock.close()


def test_the_lock_of_a_stopped_process_on_this_host_holds(other, lockless, tmp_path):
    process = other(NATIVE)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ConfigError, match=f"^dir: process {process.pid} "):
        Lock(tmp_path)


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(
        ConfigError, match=r"^dir: cannot write in .* \(Is a directory\); it takes a directory"
    ):
        Lock(tmp_path)
