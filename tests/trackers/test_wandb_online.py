"""Runs reach a stand-in for W&B's server, whatever happens on the way."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest
from fault_helpers import when
from stand_in import StandIn
from store_helpers import forge

import vsweep
from vsweep.errors import ServiceError
from vsweep.trackers.console import Bar
from vsweep.trackers.wandb import worker
from vsweep.trackers.wandb.options import Options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.tracker import describe_result
from vsweep.trackers.wandb.worker_process import Report

KEY = "0123456789abcdef0123456789abcdef01234567"
WORDS = [
    "data=iris",
    "model=logistic",
    "model.init=normal",
    "grid.optimizer.lr=[0.1,1.0,1.0e30]",
    "seeds=4",
    "steps=6",
    "record_every=2",
    "verify=false",
    "tracker.wandb.mode=online",
    # Long enough for a machine that does other things too.
    "tracker.wandb.patience=30",
]
# The patience in seconds for a server that does not come back.
SHORT = 3


@pytest.fixture
def server(tmp_path, monkeypatch):
    with StandIn() as started:
        monkeypatch.setenv("WANDB_BASE_URL", started.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield started
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def train(directory, *words):
    return vsweep.sweep([*WORDS, *words, f"dir='{directory}'"], quiet=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("online") / "sweep"
    return train(directory, "tracker.wandb.mode=disabled").directory


@pytest.fixture
def kept(trained, tmp_path):
    """The directory of a sweep that was trained and never sent."""
    directory = shutil.copytree(trained, tmp_path / "kept")
    config = (directory / "config.yaml").read_text()
    (directory / "config.yaml").write_text(config.replace("mode: disabled", "mode: online"))
    forge(directory)
    return directory


def send(directory, **options):
    """Send what W&B lacks of a sweep, and return the message on what it did not get."""
    try:
        vsweep.sync(directory, quiet=True, **options)
    except ServiceError as error:
        return str(error)
    return ""


def everything_once(server, directory, level="trial"):
    """Assert that the server has the runs of the store once, with their configs, rows and summaries."""
    stored = Runs(Path(directory), level)
    there = dict(server.runs)
    overview = there.pop(stored.overview_id)
    assert overview.state == "finished"
    assert set(there) == set(stored.ids)
    for run in stored.build(list(stored.ids.values()), 200):
        found = there[run.id]
        assert found.state == "finished"
        assert (found.name, found.group, found.job_type) == (run.name, run.group, run.job_type)
        assert tuple(found.tags) == run.tags
        assert {k: v for k, v in found.config.items() if k != "_wandb"} == run.config
        assert [row["_step"] for row in found.rows] == [step for step, _ in run.rows]
        for row, (_, values) in zip(found.rows, run.rows, strict=True):
            assert {k: v for k, v in row.items() if not k.startswith("_")} == values
        assert found.summary.items() >= run.summary.items()


def whole(directory, trials=12):
    sweep = vsweep.load(directory)
    assert len(sweep.trials) == trials
    assert len(sweep.curves) == trials * 4


def test_runs_and_an_overview_are_sent_once(server, tmp_path):
    sweep = train(tmp_path / "kept")
    assert sweep.unsent == ""
    everything_once(server, tmp_path / "kept")
    files = {name for artifact in server.artifacts.values() for name in artifact.files}
    assert "trials.parquet" in files
    assert any(re.fullmatch(r"curves/part-\d+\.parquet", name) for name in files)
    assert not list((tmp_path / "kept" / "wandb").glob("*run-*")), "what is on the server is not kept twice"
    before = len(server.requests)
    (tmp_path / "kept" / "wandb" / "runs.jsonl").unlink()
    assert vsweep.sync(tmp_path / "kept", quiet=True).startswith("http")
    everything_once(server, tmp_path / "kept")
    assert [one for one in server.requests[before:] if "file_stream" in one.path] == []


@pytest.mark.tail
def test_what_a_server_lacks_of_a_finished_run_is_sent_behind_what_it_has(server, kept):
    assert send(kept) == ""
    torn = server.runs[next(iter(Runs(kept, "trial").ids))]
    history = torn.lines["wandb-history.jsonl"]
    whole, history[2:] = list(history), []
    # The client goes on behind the last step that either of them knows.
    torn.raw_summary = json.dumps({**torn.summary, "_step": torn.rows[-1]["_step"]})
    (kept / "wandb" / "runs.jsonl").unlink()
    assert send(kept) == ""
    everything_once(server, kept)
    assert torn.lines["wandb-history.jsonl"][:2] == whole[:2]


def test_offline_runs_are_sent_from_the_store_alone(server, kept):
    assert send(kept, mode="offline", level="cell") == ""
    assert server.runs == {}
    files = list((kept / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 3 + 1
    for path in files:
        path.write_bytes(b"")
    assert send(kept, level="cell") == ""
    everything_once(server, kept, "cell")
    assert not list((kept / "wandb").glob("offline-run-*"))


@pytest.mark.tail
def test_more_seeds_take_the_place_of_what_was_shown(server, kept):
    assert send(kept, level="cell") == ""
    before = set(server.runs)
    vsweep.resume(kept, ["seeds=5", "tracker.wandb.mode=online", "tracker.wandb.level=cell"], quiet=True)
    everything_once(server, kept, "cell")
    assert not before & set(server.runs)


@pytest.mark.tail
def test_no_run_is_taken_away_that_is_not_of_the_sweep(server, tmp_path):
    """`runs.jsonl` may come from someone else, and name any run."""
    train(tmp_path / "kept", "tracker.wandb.level=cell")
    train(tmp_path / "other", "tracker.wandb.level=cell")
    theirs = set(Runs(tmp_path / "other", "cell").ids)
    log = (tmp_path / "other" / "wandb" / "runs.jsonl").read_text()
    with (tmp_path / "kept" / "wandb" / "runs.jsonl").open("a") as file:
        file.write(log)
    vsweep.sync(tmp_path / "kept", quiet=True)
    assert theirs <= set(server.runs)


def test_a_server_that_is_down_before_the_start_and_then_refuses_the_key(server, tmp_path):
    server.stop()
    sweep = train(tmp_path / "kept", f"tracker.wandb.patience={SHORT}")
    whole(tmp_path / "kept")
    rest = f"every curve is in the store: vsweep sync {tmp_path / 'kept'} sends the rest"
    assert sweep.unsent == f"W&B: no run is at W&B ({server.url} does not answer); {rest}"
    server.start()
    server.fail(401)
    message = send(tmp_path / "kept", patience=60)
    assert "no run is at W&B" in message
    assert "401" in message or "nauthorized" in message or "API key" in message


def gone_for(server, seconds, after):
    """Stop the server after some requests, for some seconds, or for good if `seconds` is None."""

    def watch():
        when(lambda: len(server.requests) > after)
        server.stop()
        if seconds is not None:
            time.sleep(seconds)
            server.start()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_server_that_is_lost_in_the_middle_and_comes_back(server, tmp_path):
    thread = gone_for(server, 2.0, after=40)
    sweep = train(tmp_path / "kept", "tracker.wandb.patience=60")
    thread.join()
    whole(tmp_path / "kept")
    assert sweep.unsent == ""
    everything_once(server, tmp_path / "kept")


@pytest.mark.tail
def test_a_server_that_is_lost_for_good(server, kept):
    thread = gone_for(server, None, after=40)
    message = send(kept, patience=SHORT)
    thread.join()
    assert re.search(r"(no run is|\d+ of 13 runs are) at http", message)
    assert f"vsweep sync {kept} patience={SHORT} sends the rest" in message
    server.start()
    assert send(kept) == ""
    everything_once(server, kept)


@pytest.mark.tail
@pytest.mark.parametrize(
    ("status", "more"),
    [
        (500, {"times": 12}),
        (429, {"times": 12, "retry_after": 1}),
        (500, {"where": "graphql", "times": 6}),
    ],
)
def test_a_server_that_has_enough_for_a_while(server, kept, status, more):
    server.fail(status, after=25, **more)
    assert send(kept, patience=60) == ""
    everything_once(server, kept)


@pytest.mark.tail
@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_in_the_middle_of_the_stream(server, kept, status, capfd):
    server.fail(status, where="file_stream", after=4)
    with pytest.raises(ServiceError) as raised:
        vsweep.sync(kept, patience=SHORT)
    assert re.search(r"W&B: (no run is|\d+ of 13 runs are) at http\S+ \(.+\); every curve", str(raised.value))
    assert KEY not in str(raised.value)
    assert KEY not in "".join(capfd.readouterr())
    server.heal()
    assert send(kept) == ""
    everything_once(server, kept)


@pytest.mark.tail
def test_an_artifact_that_never_gets_through_is_not_waited_for_for_ever(server, kept):
    server.fail(500, where="graphql", operation="CommitArtifact")
    assert "W&B: 12 of 13 runs are at http" in send(kept, patience=SHORT)
    server.heal()
    assert send(kept) == ""
    everything_once(server, kept)


@pytest.mark.tail
def test_a_slow_server(server, kept):
    server.slow(0.2)
    assert send(kept) == ""
    everything_once(server, kept)


def start(folder, *words, files=None):
    """Start the command line as a process in a folder; files: the number of files that it may open."""
    limit = f"ulimit -n {files}; " if files else ""
    # Tests in the background ignore Ctrl-C, and their child processes inherit that.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from vsweep.cli.main import main; main()"
    command = shlex.join([sys.executable, "-c", code, *words])
    return subprocess.Popen(
        ["bash", "-c", f"{limit}exec {command}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.tail
def test_few_open_files(server, tmp_path):
    # Four are open for each run, until W&B's service starts anew.
    ran = start(tmp_path, "run", *WORDS, "seeds=30", "dir=kept", files=256)
    out, err = ran.communicate(timeout=240)
    assert (ran.returncode, out) == (0, "kept\n"), err
    everything_once(server, tmp_path / "kept")


@pytest.mark.tail
def test_ctrl_c_while_runs_are_sent(server, tmp_path):
    server.slow(0.5)
    ran = start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: any("file_stream" in one.path for one in list(server.requests)))
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate(timeout=120)
    assert (ran.returncode, out) == (130, "")
    assert "vsweep sync kept sends the rest" in err
    assert "stopped; " in err.splitlines()[-1]
    server.heal()
    vsweep.sync(tmp_path / "kept", quiet=True)
    everything_once(server, tmp_path / "kept")


@pytest.mark.tail
def test_ctrl_c_twice_while_runs_are_sent_ends_at_once_with_a_word(server, kept, tmp_path):
    server.slow(1.0)
    ran = start(tmp_path, "sync", "kept")
    when(lambda: any("file_stream" in one.path for one in list(server.requests)))
    ran.send_signal(signal.SIGINT)
    time.sleep(0.3)
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate(timeout=60)
    assert (ran.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "vsweep: stopped"


@pytest.mark.tail
def test_the_commands_that_go_on_say_where_too(server, kept, monkeypatch, capsys):
    vsweep.sync(kept, project="other", level="cell")
    assert capsys.readouterr().err.splitlines()[-1].endswith("/kept project=other level=cell")
    vsweep.dashboard(kept, project="other", level="cell")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ServiceError, match=r"vsweep sync \S+/kept project=third patience=3 sends the rest$"):
        vsweep.sync(kept, project="third", patience=3)


@pytest.mark.tail
def test_the_bar_of_a_sweep_that_was_stopped_comes_to_its_end(server, kept, monkeypatch):
    plan = json.loads((kept / "plan.json").read_text())
    (kept / "plan.json").write_text(json.dumps({**plan, "trials": 24, "cells": 6}))
    forge(kept)
    totals = []
    add_task = Bar.add_task

    def noted(self, *words, total, **more):
        totals.append(total)
        return add_task(self, *words, total=total, **more)

    monkeypatch.setattr(Bar, "add_task", noted)
    vsweep.sync(kept, quiet=True)
    assert totals == [len(server.runs)] == [13]


@pytest.mark.parametrize(("mode", "sync"), [("auto", False), ("online", True)])
def test_what_is_no_key_is_said(tmp_path, monkeypatch, mode, sync):
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    monkeypatch.setenv("HOME", str(tmp_path))
    told, commands = {}, SimpleNamespace(ended=threading.Event(), stop=threading.Event())
    commands.ended.set()
    worker.make_runs(tmp_path, Options(mode=mode, level="trial"), commands, told.update, sync=sync)
    line, complete = describe_result(Report(mode, 3)._replace(**told), tmp_path, {})
    assert "(WANDB_API_KEY is not a valid API key)" in line
    assert not complete


@pytest.mark.tail
def test_kill_9_of_the_process(server, tmp_path):
    server.slow(0.5)
    ran = start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: any("file_stream" in one.path for one in list(server.requests)))
    ran.kill()
    ran.communicate(timeout=60)
    server.heal()
    vsweep.resume(tmp_path / "kept", quiet=True)
    when_free(tmp_path / "kept")
    everything_once(server, tmp_path / "kept")


def when_free(directory):
    """Send the rest, as soon as the process that was left behind has ended."""

    def sent():
        try:
            vsweep.sync(directory, quiet=True)
        except ServiceError as error:
            if "makes W&B runs in" not in str(error):
                raise
            return False
        return True

    when(sent)


@pytest.mark.tail
def test_kill_9_of_what_makes_the_runs(server, kept):
    def kill():
        when(lambda: any("file_stream" in one.path for one in list(server.requests)))
        found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "worker"], capture_output=True)
        (worker,) = found.stdout.split()
        os.kill(int(worker), signal.SIGKILL)

    server.slow(0.5)
    thread = threading.Thread(target=kill)
    thread.start()
    message = send(kept)
    thread.join()
    killed = (
        r"W&B: (no run is|\d+ of 13 runs are) at http\S+ \(the worker ended with status -9\); every curve"
    )
    assert re.match(killed, message)
    server.heal()
    assert send(kept) == ""
    everything_once(server, kept)


@pytest.mark.tail
def test_a_service_of_ones_own_is_left_alone(server, kept, monkeypatch):
    # W&B's client sets this variable for its service; no service listens at this port.
    monkeypatch.setenv("WANDB_SERVICE", f"3-{os.getpid()}-tcp-localhost-9")
    assert send(kept, level="cell") == ""
    everything_once(server, kept, "cell")


@pytest.mark.tail
@pytest.mark.parametrize("fault", [{"where": "files"}, {"operation": "CreateRunFiles"}])
def test_pictures_that_do_not_come_are_sent_again(server, kept, fault):
    server.fail(401, **fault)
    assert "no run is at" in send(kept, level="sweep", patience=SHORT)
    server.heal()
    assert send(kept, level="sweep") == ""
    everything_once(server, kept, "sweep")
    (overview,) = server.runs.values()
    named = {one["path"] for one in overview.summary.values() if isinstance(one, dict) and "path" in one}
    assert len(named) >= 3
    assert named <= set(overview.files)


def test_what_is_left_behind_and_hangs_ends_by_itself(monkeypatch):
    ends = Queue()
    monkeypatch.setattr(sys, "stdin", StringIO())
    monkeypatch.setattr(worker, "_STOPS_S", 0.1)
    monkeypatch.setattr(os, "_exit", ends.put)
    assert worker.Commands().stop.wait(10)
    assert ends.get(timeout=10) == 1
