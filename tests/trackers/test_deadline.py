"""The wait for W&B's server ends soon after the user's patience, whatever the server does."""

import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from stand_in import MISBEHAVIOURS, StandIn
from store_helpers import forge

import vsweep
from vsweep.errors import ServiceError
from vsweep.trackers.wandb import options, worker_process
from vsweep.trackers.wandb.options import Options
from vsweep.trackers.wandb.worker_process import Report, Waiting, WorkerProcess

KEY = "0123456789abcdef0123456789abcdef01234567"
WORDS = ["data=iris", "model=logistic", "seeds=2", "steps=2", "verify=false", "tracker.wandb.level=cell"]
# Faults of a server; those without a mark stand for the kinds that a client of its own handles differently.
STATUSES = ["400", "401", "403", "404", "413", "429", "500"]
ELSEWHERE = ["no TLS", "accepts no connection", "refuses connections"]
FIRST = ["hang", "redirect", "accepts no connection"]
FAULTS = [
    fault if fault in FIRST else pytest.param(fault, marks=pytest.mark.tail)
    for fault in (*MISBEHAVIOURS, *STATUSES, *ELSEWHERE)
]
PATIENCE_S, STOP_S = 0.5, 0.5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("deadline") / "sweep"
    return vsweep.sweep([*WORDS, "tracker=none", f"dir='{directory}'"], quiet=True).directory


@pytest.fixture
def kept(trained, tmp_path):
    """The directory of a sweep that was trained and never sent."""
    return shutil.copytree(trained, tmp_path / "kept")


@pytest.fixture
def waits(monkeypatch, tmp_path):
    """Short waits; returns the times of progress, by which a wait is measured."""
    times = []

    class Noted(Waiting):
        def restart(self):
            super().restart()
            times.append(time.monotonic())

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(worker_process, "Waiting", Noted)
    monkeypatch.setattr(worker_process, "_STOP_S", STOP_S)
    monkeypatch.setattr(options, "_SHORTEST_WAIT_S", PATIENCE_S)
    return times


@contextmanager
def faulty(fault, monkeypatch, **where):
    """A server with a fault."""
    with StandIn() as server, socket.socket() as other:
        url = server.url
        if fault in MISBEHAVIOURS:
            server.misbehave(fault, **where)
        elif fault.isdigit():
            server.fail(int(fault), **where)
        elif fault == "no TLS":
            url = url.replace("http", "https")
        else:
            other.bind(("127.0.0.1", 0))
            if fault == "accepts no connection":
                other.listen(0)
            url = f"http://127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        yield server


def soon(times):
    """Return whether the last wait took no longer than the patience and the moment of a stop."""
    return time.monotonic() - times[-1] < PATIENCE_S + STOP_S + 1.5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sync_ends_and_says_what_to_do(kept, waits, monkeypatch, fault):
    with faulty(fault, monkeypatch), pytest.raises(ServiceError) as raised:
        vsweep.sync(kept, quiet=True, patience=PATIENCE_S)
    assert soon(waits)
    assert str(raised.value).startswith("W&B: no run is at ")
    assert f"every curve is in the store: vsweep sync {kept} " in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.tail
@pytest.mark.parametrize("where", ["file_stream", "files"])
@pytest.mark.parametrize("fault", [*MISBEHAVIOURS, *STATUSES])
def test_a_fault_in_the_middle_loses_nothing(kept, waits, monkeypatch, fault, where):
    with faulty(fault, monkeypatch, where=where) as server:
        with pytest.raises(ServiceError, match=f"vsweep sync {kept} .*sends the rest"):
            vsweep.sync(kept, quiet=True, patience=PATIENCE_S)
        assert soon(waits)
        server.heal()
        monkeypatch.undo()
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert vsweep.sync(kept, quiet=True).startswith("http")
        assert [run.state for run in server.runs.values()] == ["finished"] * 2


@pytest.mark.tail
@pytest.mark.parametrize("fault", ["hang", "redirect", "400", "accepts no connection"])
def test_a_dashboard_ends(kept, waits, monkeypatch, fault):
    config = (kept / "config.yaml").read_text()
    (kept / "config.yaml").write_text(config.replace("patience: 45", f"patience: {PATIENCE_S}"))
    forge(kept)
    with faulty(fault, monkeypatch), pytest.raises(ServiceError, match=r"^W&B saved no dashboard \("):
        vsweep.dashboard(kept, quiet=True)
    assert soon(waits)


def test_the_end_of_a_sweep_is_as_short(tmp_path, waits, monkeypatch):
    with faulty("hang", monkeypatch):
        words = [*WORDS, "tracker.wandb.mode=online", f"tracker.wandb.patience={PATIENCE_S}"]
        sweep = vsweep.sweep([*words, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    assert soon(waits)
    assert len(sweep.trials) == 2
    assert f"vsweep sync {tmp_path / 'kept'} sends the rest" in sweep.unsent


@pytest.fixture
def stuck(tmp_path, monkeypatch):
    """A worker that neither stops when it is told to nor says why."""
    (tmp_path / "stuck.py").write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'print(\'{"end": "start", "complete": 1}\\n{"sent": 3}\\n{"reach": "finish"}\', flush=True)\n'
        "time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(worker_process, "_WORKER", "stuck")


def test_a_process_that_does_not_stop_is_killed_and_leaves_nothing(tmp_path, waits, stuck):
    shown = []
    process = WorkerProcess(
        tmp_path, Options(patience=PATIENCE_S), Report("online", 3), shown.append, task="sync"
    )
    temporary = Path(process._folder)
    assert temporary.is_dir()
    report = process.finish()
    assert soon(waits)
    assert report == Report("online", 3, complete=1, why="no progress for 0.5 s")
    assert shown == [1, 3], "the bar shows runs that were sent and not confirmed"
    assert process._process.returncode
    assert not temporary.exists()
