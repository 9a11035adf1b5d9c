"""The times at which a failed server is asked again, and given up, by a clock of the test's own."""

import threading

import pytest

from vsweep.trackers.wandb import client as backoff
from vsweep.trackers.wandb.worker_process import Waiting


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def stop():
    return threading.Event()


@pytest.mark.parametrize("why", ["HTTP 401", "status 403: no", "404", "Unauthorized", "permission denied"])
def test_a_refusal_is_asked_about_once_more_and_no_longer(clock, stop, why):
    made = backoff.Backoff(stop, last=True)
    assert made.failed(OSError(why))
    assert not made.failed(OSError(why))
    assert made.why == why


def test_while_it_trains_nothing_is_given_up(clock, stop):
    made = backoff.Backoff(stop)
    assert all(made.failed(OSError("401")) for _ in range(20))


@pytest.fixture
def waiting(clock):
    """The clock of a worker that has started."""
    made = Waiting()
    assert made.seconds < 0, "the start needs no server"
    clock[0] += 99
    made.end("start")
    return made


def test_patience_counts_from_the_last_progress(clock, waiting):
    clock[0] += 44
    assert waiting.seconds == 44
    waiting.reach("server")
    assert waiting.seconds == 0


def test_what_is_repeated_is_no_progress(clock, waiting):
    for _ in range(3):
        waiting.reach("server")
        waiting.begin("draw")
        waiting.end("draw")
        clock[0] += 20
    assert waiting.seconds == 60


def test_work_that_needs_no_server_does_not_count(clock, waiting):
    waiting.begin("draw")
    waiting.begin("build")
    clock[0] += 1000
    waiting.end("build")
    assert waiting.seconds < 0
    waiting.end("draw")
    clock[0] += 3
    assert waiting.seconds == 3


def test_large_files_have_the_time_that_they_need(clock, waiting):
    waiting.reach("send files", 400.0)
    clock[0] += 300
    waiting.reach("finish another run")
    clock[0] += 300
    assert waiting.seconds < 0
    waiting.reach("sent files", 0.0)
    clock[0] += 10
    assert waiting.seconds == 10


def test_waits_grow_to_a_bound_and_end_with_a_stop(clock, stop, monkeypatch):
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.is_set())
    made = backoff.Backoff(stop)
    waits = []
    for _ in range(8):
        made.failed(OSError("no answer"))
        before = clock[0]
        while made.waits():
            clock[0] += 0.5
        waits.append(clock[0] - before)
    assert waits == [2, 4, 8, 16, 30, 30, 30, 30]
    made.failed(OSError("no answer"))
    stop.set()
    assert not made.waits()
