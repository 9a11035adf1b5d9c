"""A disk that is full in the middle of a write, or cannot be written at all: real, small file systems."""

import shutil
import subprocess
import sys

import pytest
from fault_helpers import WORDS, same

import vsweep


@pytest.fixture(scope="module")
def in_namespace():
    """The words before a command that may mount file systems of its own; skipped where none may."""
    words = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of one's own here")
    return words


def run_script(in_namespace, environment, folder, script):
    """Run a shell script with `vsweep` in it, in a folder with an empty `disk`."""
    (folder / "disk").mkdir()
    vsweep_is = f'vsweep() {{ "{sys.executable}" -m vsweep "$@"; }}\n'
    words = [*in_namespace, "sh", "-c", vsweep_is + script, "sh", *WORDS]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("kilobytes", [pytest.param(60, marks=pytest.mark.tail), 150])
def test_a_full_disk_loses_nothing(in_namespace, environment, undisturbed, tmp_path, kilobytes):
    script = f"""
        mount -t tmpfs -o size={kilobytes}k tmpfs disk
        vsweep run "$@" dir=disk/kept > out 2> err; echo $? > status
        cp -r disk/kept before
        mount -o remount,size=64m disk
        vsweep resume disk/kept > out2 2> err2; echo $? > status2
        cp -r disk/kept after
    """
    ran = run_script(in_namespace, environment, tmp_path, script)
    assert ran.returncode == 0, ran.stderr
    err = (tmp_path / "err").read_text()
    assert (tmp_path / "status").read_text() == "1\n", err
    last = err.splitlines()[-1]
    assert last.startswith("vsweep: cannot write in disk/kept (No space left on device); ")
    assert last.endswith("to continue: vsweep resume disk/kept")
    assert "Traceback" not in err
    assert not list((tmp_path / "before").rglob("*.part"))
    kept = int(last.split("; ")[1].split()[0])
    parts = list((tmp_path / "before" / "curves").glob("*.parquet"))
    assert len(parts) >= kept / 4
    assert (tmp_path / "status2").read_text() == "0\n", (tmp_path / "err2").read_text()
    same(tmp_path / "after", undisturbed)


READ_ONLY = """
import sys
import vsweep
from vsweep.cli.main import main

print(len(vsweep.load("disk/kept").curves), flush=True)
words = sys.argv[1:]
for command in (
    ["run", *words, "dir=disk/kept"],
    ["run", *words, "dir=disk/new"],
    ["resume", "disk/kept"],
    ["verify", "disk/kept"],
    ["confirm", "disk/kept"],
):
    sys.argv = ["vsweep", *command]
    try:
        main()
    except SystemExit as stop:
        print(stop.code, flush=True)
"""


def test_a_directory_that_cannot_be_written_is_told_and_can_be_read(
    in_namespace, environment, undisturbed, tmp_path
):
    shutil.copytree(undisturbed, tmp_path / "source")
    (tmp_path / "commands.py").write_text(READ_ONLY)
    script = f"""
        mount -t tmpfs tmpfs disk && cp -r source disk/kept && mount -o remount,ro disk
        "{sys.executable}" commands.py "$@" > out 2> err
    """
    ran = run_script(in_namespace, environment, tmp_path, script)
    assert ran.returncode == 0, (tmp_path / "err").read_text()
    err = (tmp_path / "err").read_text().splitlines()
    curves, *statuses = (tmp_path / "out").read_text().split()
    assert int(curves) == len(vsweep.load(undisturbed).curves)
    assert statuses == ["2"] * 5, err
    assert len(err) == 5
    for line in err:
        assert line.startswith("vsweep: dir: cannot ")
        assert line.endswith("(Read-only file system); it takes a directory that can be written")
