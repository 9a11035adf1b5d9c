"""A task that has stopped for ever ends the sweep; one that is slow, or was paused, does not."""

import re
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_executor import plan_of

from vsweep.commands.directory import explained_failures
from vsweep.engine import autotune, compiler, executor, watchdog
from vsweep.engine.devices import trial_mesh
from vsweep.engine.tuning.timings import TimingCache
from vsweep.engine.watchdog import Task, Watchdog, ways_out
from vsweep.errors import StuckError

TASK = Task("training program 1", 0.01, on_host=True)


@pytest.fixture
def impatient(monkeypatch):
    """Limits of fractions of a second, in a process that goes on."""
    monkeypatch.setattr(watchdog, "_LEAST_S", 0.4)
    monkeypatch.setattr(watchdog, "_TIMES", 0.02)
    monkeypatch.setattr(watchdog, "_exit_without_waiting", lambda: None)


@pytest.fixture
def hung():
    """A function that waits until the test ends."""
    released = threading.Event()
    yield lambda *_, **__: released.wait()
    released.set()


def spin(seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass
    return "done"


def test_a_task_that_stopped_is_named_with_what_to_try(impatient, hung):
    with pytest.raises(StuckError, match=r"training program 1 made no progress for 0\.\d s, and used no"):
        Watchdog(TASK).call(hung)
    with pytest.raises(StuckError, match=r"; try this or that$"):
        Watchdog(TASK._replace(ways=("this", "that"))).call(hung)


@pytest.mark.parametrize(
    ("platform", "devices", "block", "ways"),
    [
        ("cpu", 2, 8, ["block=8", "JAX_NUM_CPU_DEVICES=1"]),
        ("cpu", 2, None, ["JAX_NUM_CPU_DEVICES=1"]),
        ("cpu", 1, 8, ["block=8"]),
        ("gpu", 2, 8, ["block=8"]),
        ("cpu", 1, None, []),
    ],
)
def test_only_what_can_change_is_advised(platform, devices, block, ways):
    mesh = SimpleNamespace(devices=np.array([SimpleNamespace(platform=platform)] * devices))
    assert [re.findall(r"\((.*)\)", way) for way in ways_out(mesh, block)] == [[way] for way in ways]


def test_a_task_that_takes_long_by_its_prediction_is_waited_for(impatient):
    assert Watchdog(TASK._replace(predicted_s=100.0)).call(time.sleep, 0.8) is None


def test_a_task_that_takes_the_processors_is_waited_for(impatient):
    assert Watchdog(TASK).call(spin, 1.0) == "done"


def test_an_accelerator_is_not_busy_because_the_host_is(impatient, hung):
    threading.Thread(target=spin, args=(1.0,), daemon=True).start()
    with pytest.raises(StuckError, match=r"no progress for 0\.\d s; 0\.0 s were predicted$"):
        Watchdog(TASK._replace(on_host=False)).call(hung)


def test_a_new_task_is_progress(impatient):
    watched, future = Watchdog(TASK), Future()

    def begin():
        for _ in range(8):
            time.sleep(0.1)
            watched.begin(TASK)
        future.set_result("done")

    threading.Thread(target=begin).start()
    assert watched.result(future) == "done"


def test_a_process_that_was_paused_had_no_time_to_make_progress(impatient, monkeypatch):
    """Each look comes a day after the one before."""
    days, future = count(step=86400.0), Future()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: next(days))
    looks = []

    def wait(futures, timeout):
        looks.append(timeout)
        if len(looks) == watchdog._LOOKS // 3:
            future.set_result("done")
        return watchdog_wait(futures, 0.0)

    watchdog_wait = watchdog.wait
    monkeypatch.setattr(watchdog, "wait", wait)
    assert Watchdog(TASK).result(future) == "done"


@pytest.mark.parametrize("error", [TimeoutError("its own"), MemoryError("its own")])
def test_an_error_of_the_task_is_its_own(impatient, error):
    future = Future()
    future.set_exception(error)
    with pytest.raises(type(error), match="its own"):
        Watchdog(TASK).result(future)


def test_a_compilation_that_hangs_ends_the_training(impatient, hung, monkeypatch):
    monkeypatch.setattr(compiler, "compile_block", hung)
    with pytest.raises(StuckError, match=r"compiling program 1 \(iris logistic\) made no progress"):
        list(executor.train(plan_of(), trial_mesh()))


def test_a_result_that_never_comes_ends_the_training(impatient, hung, monkeypatch):
    """As on an accelerator, where a call returns before its results are there."""
    monkeypatch.setattr(executor, "fetch", hung)
    with pytest.raises(StuckError, match=r"training program 1 \(iris logistic\) made no progress"):
        list(executor.train(plan_of(), trial_mesh()))


def test_parameters_that_never_come_end_the_training(impatient, hung, monkeypatch):
    """As on an accelerator, which copies them after the block that it trains meanwhile."""
    made = executor.trained_block
    monkeypatch.setattr(executor, "trained_block", lambda *a, **k: made(*a, **k)._replace(params=hung))
    block, *_ = executor.train(plan_of(), trial_mesh())
    with pytest.raises(StuckError, match=r"training program 1 \(iris logistic\) made no progress"):
        block.params(np.arange(1))


def test_a_block_is_waited_for_as_long_as_it_is_predicted_whatever_follows_it(impatient, monkeypatch):
    """On an accelerator, a short block is dispatched while a long one trains."""
    watchdogs, fetch, planned = [], executor.fetch, plan_of()

    def late(*arguments):
        watchdogs[0].begin(TASK)
        time.sleep(0.8)
        return fetch(*arguments)

    monkeypatch.setattr(
        executor, "Watchdog", lambda *task: watchdogs.append(Watchdog(*task)) or watchdogs[-1]
    )
    monkeypatch.setattr(executor, "call_s", lambda *_: 100.0)
    monkeypatch.setattr(executor, "fetch", late)
    rows = [block.rows for block in executor.train(planned, trial_mesh())]
    assert len(np.concatenate(rows)) == len(planned.grid)


def test_a_sweep_within_another_is_explained_once(tmp_path):
    inner = tmp_path / "confirm"
    inner.mkdir()
    outer = explained_failures(tmp_path, lambda: "2 trials are kept")
    with pytest.raises(StuckError) as caught, outer, explained_failures(inner, lambda: "1 trial is kept"):
        raise StuckError("training made no progress")
    stacks = f"the stacks of all threads are in {inner / 'stuck.txt'}"
    assert str(caught.value) == f"training made no progress; {stacks}; 1 trial is kept"
    assert not (tmp_path / "stuck.txt").exists()


def test_a_candidate_that_hangs_ends_the_tuning(impatient, hung, monkeypatch):
    monkeypatch.setattr(autotune, "_WORTH", 0)
    monkeypatch.setattr(autotune, "_run_s", hung)
    planned = plan_of()
    with pytest.raises(StuckError, match=f"trying blocks .*block={planned.programs[0].arrangement.block}"):
        autotune.autotune(planned, trial_mesh(), TimingCache())


OWN = """
import os
import threading

import jax
import jax.numpy as jnp

from vsweep import Model


def wait(offset):
    if offset > 1.5 and "HANG" in os.environ:
        threading.Event().wait()
    return offset


def model(offset=1.0):
    shape = jax.ShapeDtypeStruct((), jnp.float32)

    def init(key, n_features, n_outputs):
        offset_again = jax.pure_callback(wait, shape, offset, vmap_method="sequential")
        return {"w": jnp.zeros((n_outputs, n_features)) + 0.0 * offset_again}

    return Model(init, lambda params, x: params["w"] @ x + offset)
"""
IMPATIENT = """
import sys
from vsweep.cli.main import main
from vsweep.engine import watchdog

watchdog._LEAST_S = 1.0
main()
"""


def run_impatiently(environment, *words):
    """Run a sweep whose first block hangs, in a process of its own that waits for a second."""
    return subprocess.run(
        [sys.executable, "-c", IMPATIENT, "run", *words],
        env={**environment, "HANG": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.tail
def test_no_job_follows_one_that_hangs(here, environment):
    (here / "hanging.py").write_text(OWN)
    words = ["-m", "data=iris", "model=own", "model._target_=hanging.model", "allow_targets=[hanging]"]
    words += ["model.offset=2.0", "seeds=2", "steps=5,6", "tracker=none", "hydra.sweep.dir=jobs"]
    done = run_impatiently(environment, *words)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("made no progress") == 1
    assert (here / "jobs" / "0" / "stuck.txt").exists()
    assert not (here / "jobs" / "1" / "plan.json").exists()


def test_a_block_that_hangs_ends_the_sweep_and_the_process_and_the_rest_is_kept(here, cli, environment):
    (here / "hanging.py").write_text(OWN)
    words = ["data=iris", "model=own", "model._target_=hanging.model", "allow_targets=[hanging]", "seeds=2"]
    words += ["grid.model.offset=[1.0,2.0]", "block=2", "steps=5", "tracker=none", "dir=kept"]
    # The process ends by itself, although threads of its hang in native code.
    done = run_impatiently(environment, *words)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *_, message = done.stderr.splitlines()
    assert message.startswith("vsweep: training program 1 (iris own) made no progress for 1.")
    assert "the stacks of all threads are in kept/stuck.txt; 2 of 4 trials are kept in kept" in message
    stacks = (here / "kept" / "stuck.txt").read_text()
    assert re.search(r'hanging\.py", line \d+ in wait', stacks)
    assert "block_until_ready" in stacks
    assert pd.read_parquet("kept/trials.parquet")["model.offset"].tolist() == [1.0, 1.0]
    # The lock is free, and the rest is trained.
    resumed = cli("resume", "kept", "verify=false", "allow_targets=[hanging]")
    assert resumed.status == 0, resumed.err
    assert len(pd.read_parquet("kept/trials.parquet")) == 4
