"""A sweep's directory that is damaged, moved, copied, older than it says, or written by another process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from fault_helpers import WORDS, parts, same, when
from store_helpers import forge

import vsweep


@pytest.fixture
def kept(undisturbed, tmp_path):
    """A copy of the finished sweep."""
    return shutil.copytree(undisturbed, tmp_path / "kept")


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def corrupt(path):
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0x10
    path.write_bytes(bytes(body))


def remove(path):
    path.unlink()


HARMS = [("curves", corrupt), ("curves", remove), ("ledger", truncate)]
MORE_HARMS = [("curves", truncate), ("ledger", corrupt), ("ledger", remove)]


@pytest.mark.parametrize(
    ("folder", "harm"), [*HARMS, *(pytest.param(*harm, marks=pytest.mark.tail) for harm in MORE_HARMS)]
)
def test_a_damaged_part_is_set_aside_by_name_and_trained_again(
    zygote, undisturbed, kept, tmp_path, folder, harm
):
    part = "part-000003.parquet"
    harm(kept / folder / part)
    harmed = (kept / folder / part).read_bytes() if harm is not remove else None
    assert zygote.run(tmp_path, "resume", "kept") == 0
    err = (tmp_path / "err").read_text()
    assert "44 of 48 trials are already in kept" in err
    assert "damaged files were set aside and are trained again" in err
    if harmed is not None:
        assert f"damaged/{folder}-{part}" in err
        assert (kept / "damaged" / f"{folder}-{part}").read_bytes() == harmed
    same(kept, undisturbed)


def test_a_damaged_log_keeps_what_its_other_lines_say(zygote, undisturbed, kept, tmp_path):
    log = kept / "ledger" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:2], "x" + lines[2][1:], *lines[3:-1], lines[-1][:40]]))
    assert zygote.run(tmp_path, "resume", "kept") == 0
    assert "40 of 48 trials are already in kept" in (tmp_path / "err").read_text()
    same(kept, undisturbed)


def test_a_damaged_table_of_trials_is_made_again(zygote, undisturbed, kept, tmp_path):
    corrupt(kept / "trials.parquet")
    remove(kept / "curves" / "part-000000.parquet")
    assert zygote.run(tmp_path, "resume", "kept") == 0
    same(kept, undisturbed)


def test_a_directory_that_was_moved_goes_on(zygote, undisturbed, tmp_path):
    pid = zygote.start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: parts(tmp_path / "kept") >= 3)
    zygote.kill(pid, signal.SIGKILL)
    zygote.ended(pid)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "kept", tmp_path / "elsewhere" / "copy")
    (tmp_path / "kept").rename(tmp_path / "moved")
    assert zygote.run(tmp_path, "resume", "moved") == 0
    assert zygote.run(tmp_path / "elsewhere", "resume", "copy") == 0
    assert not (tmp_path / "kept").exists()
    same(tmp_path / "moved", undisturbed)
    same(tmp_path / "elsewhere" / "copy", undisturbed)


@pytest.fixture
def years_ago(tmp_path, environment):
    """The environment of a process whose clock is set back by ten years."""
    shim = tmp_path / "clock.so"
    source = Path(__file__).with_name("clock.c")
    if not shutil.which("cc"):
        pytest.skip("no compiler for the clock")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    env = {**environment, "LD_PRELOAD": str(shim)}
    clock = [sys.executable, "-c", "import time; print(time.time())"]
    if time.time() - float(subprocess.run(clock, env=env, capture_output=True, text=True).stdout) < 3e8:
        pytest.skip("the clock cannot be set back here")
    return env


@pytest.mark.tail
def test_a_clock_that_is_set_back_changes_nothing(zygote, undisturbed, tmp_path, years_ago):
    pid = zygote.start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: parts(tmp_path / "kept") >= 3)
    zygote.kill(pid, signal.SIGKILL)
    zygote.ended(pid)
    # All that was written is of a time that is still to come. And a new sweep finds a name of its own.
    script = f"import vsweep; vsweep.resume('kept'); print(vsweep.sweep({WORDS}).directory)"
    words = [sys.executable, "-c", script]
    ran = subprocess.run(words, cwd=tmp_path, env=years_ago, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    same(tmp_path / "kept", undisturbed)
    same(tmp_path / ran.stdout.splitlines()[-1], undisturbed)


def test_a_second_process_is_told_and_a_dead_ones_lock_is_taken_over(zygote, undisturbed, tmp_path):
    first = zygote.start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: parts(tmp_path / "kept") >= 1)
    os.kill(first, signal.SIGSTOP)
    for words in (["resume", "kept"], ["run", *WORDS, "dir=kept"]):
        assert zygote.run(tmp_path, *words) == 2
        said = (tmp_path / "err").read_text()
        assert said.startswith(f"vsweep: dir: process {first} on ")
        assert said.endswith("is training in 'kept'; wait for it, or stop it: one process at a time\n")
        assert (tmp_path / "out").read_text() == ""
    zygote.kill(first, signal.SIGKILL)
    zygote.ended(first)
    assert (tmp_path / "kept" / ".lock").read_text() != ""
    assert zygote.run(tmp_path, "resume", "kept") == 0
    same(tmp_path / "kept", undisturbed)


def test_a_finished_sweep_trains_nothing(zygote, undisturbed, kept, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (kept / "curves").iterdir()}
    for words in (["resume", "kept"], ["run", *WORDS, "dir=kept"]):
        assert zygote.run(tmp_path, *words) == 0
        assert (tmp_path / "out").read_text().splitlines()[-1] == "kept"
        assert "48 trials are already in kept" in (tmp_path / "err").read_text()
    assert {path: path.stat().st_mtime_ns for path in (kept / "curves").iterdir()} == before
    same(kept, undisturbed)


@pytest.mark.parametrize("change", [{"format": 1}, {"format": None}, {"numerics": 0}])
def test_a_directory_of_another_version_is_refused(kept, cli, change):
    plan = json.loads((kept / "plan.json").read_text()) | change
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    before = {path: path.read_bytes() for path in kept.rglob("*.parquet")}
    for words in (["resume", "kept"], ["run", *WORDS, "dir=kept", "seeds=13"]):
        done = cli(*words)
        assert done.status == 2
        assert done.err.startswith(f"vsweep: dir: 'kept' was made by vsweep {version('vsweep')}, whose ")
        assert "give another dir, or continue with that version" in done.err
    assert {path: path.read_bytes() for path in kept.rglob("*.parquet")} == before
    assert len(vsweep.load(kept).trials) == 48
