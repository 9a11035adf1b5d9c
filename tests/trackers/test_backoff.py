"""The times at which a failed server is asked again, by a clock of the test's own."""

import threading

import pytest

from vsweep.trackers.wandb import client as backoff


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
    made = backoff.Backoff(1e9, stop, last=True)
    assert made.failed(OSError(why))
    assert not made.failed(OSError(why))
    assert made.why == why


def test_while_it_trains_nothing_is_given_up(clock, stop):
    made = backoff.Backoff(0.0, stop)
    assert all(made.failed(OSError("401")) for _ in range(20))
    made = backoff.Backoff(0.0, stop, last=True)
    assert not made.failed(OSError("no answer")), "without patience, one attempt is all"


def test_patience_counts_from_what_came_through_last(clock, stop):
    made = backoff.Backoff(45.0, stop, last=True)
    clock[0] += 44
    assert made.failed(OSError("no answer"))
    clock[0] += 2
    assert not made.failed(OSError("no answer"))
    made.came_through()
    clock[0] += 44
    assert made.failed(OSError("no answer"))


def test_waits_grow_to_a_bound_and_end_with_a_stop(clock, stop, monkeypatch):
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.is_set())
    made = backoff.Backoff(1e9, stop)
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
