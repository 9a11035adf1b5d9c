"""Devices are set up before JAX starts, and a person is told where it had started."""

import os
import subprocess
import sys
import time
import warnings
import zlib
from socket import socket

import numpy as np
import pytest

import vsweep
from vsweep.engine import devices

CODE = """
import os, sys
if "late" in sys.argv:
    import jax
    jax.local_devices()
import vsweep
model = [] if any(word.startswith("grid.model") for word in sys.argv) else ["model=logistic"]
words = ["data=iris", *model, "steps=2", "tracker=none", "dir=kept", *sys.argv[1:]]
if "late" in sys.argv:
    # This is the text that a sweep shows first.
    from vsweep.commands.plan import describe, plan
    print(describe(*plan(words[:-1])), file=sys.stderr)
else:
    vsweep.sweep([*words, "verify=false"])
import jax
print(jax.local_device_count(), os.environ.get("XLA_FLAGS"), jax.config.jax_compilation_cache_dir)
"""


def run(tmp_path, environment, *words, **more):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=tmp_path,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_a_device_per_core_and_no_flag_left_behind(tmp_path, environment):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kept = {k: v for k, v in environment.items() if k not in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")}
    out, err = run(tmp_path, kept, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert out == f"{cores} None {tmp_path / 'cache' / 'vsweep' / 'compiled'}"
    assert "cores" not in err
    assert any((tmp_path / "cache" / "vsweep" / "compiled").iterdir())


def damage(path, how, age_s=3600.0):
    """Damage a file that was written so many seconds ago."""
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes(
        {"cut": data[:middle], "empty": b"", "garbage": b"\0garbage" * 9, "flipped": flipped}[how]
    )
    os.utime(path, (time.time() - age_s, time.time() - age_s))


@pytest.fixture
def warned(tmp_path, monkeypatch):
    """Warnings that a person sees, where the folder is a cache of programs."""
    seen = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: seen.append(str(message)))
    devices._replace_damaged(tmp_path)
    monkeypatch.setattr(warnings, "filters", [("default", None, UserWarning, None, 0)])
    return seen


@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "flipped"])
def test_damaged_programs_of_the_cache_are_deleted_when_one_is_read(tmp_path, warned, how):
    """JAX writes no program whose file exists, so that a damaged one would be compiled at every start."""
    good = zlib.compress(bytes(range(256)) * 9)
    for name in ("good", "old", "future", "young"):
        (tmp_path / f"{name}-cache").write_bytes(good)
    damage(tmp_path / "old-cache", how)
    # The clock was set back.
    damage(tmp_path / "future-cache", how, -3600.0)
    # Another process may be writing this one.
    damage(tmp_path / "young-cache", how, 0.0)
    warnings.warn("something else", UserWarning, stacklevel=1)
    assert len(list(tmp_path.iterdir())) == 4
    warnings.warn("Error reading persistent compilation cache entry for 'jit_f'", UserWarning, stacklevel=1)
    assert {path.name for path in tmp_path.iterdir()} == {"good-cache", "young-cache"}
    assert warned == ["something else"]


@pytest.mark.tail
def test_a_damaged_cache_of_programs_is_replaced(tmp_path, environment):
    kept = {k: v for k, v in environment.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    kept |= {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    programs = tmp_path / "cache" / "vsweep" / "compiled"

    def train(name):
        _, err = run(tmp_path, kept, f"dir={name}")
        assert "Error reading" not in err
        return {path.name: path.read_bytes() for path in programs.glob("*-cache")}

    before = train("first")
    for path in programs.glob("*-cache"):
        damage(path, "cut")
    damaged = {path.name: path.read_bytes() for path in programs.glob("*-cache")}
    after = train("second")
    assert before.keys() == after.keys()
    assert not any(after[name] == damaged[name] for name in after)
    assert train("third") == after


def test_where_jax_runs_already_it_is_said(tmp_path, environment):
    out, err = run(tmp_path, environment, "late")
    devices = int(out.split()[0])
    # On one core there is nothing to say.
    assert ("call vsweep.devices() before anything else uses JAX" in err) == (devices < (os.cpu_count() or 1))
    assert "1 of" in err or devices > 1 or os.cpu_count() == 1


@pytest.mark.parametrize("devices", [8, pytest.param(1, marks=pytest.mark.tail)])
def test_the_same_curves_on_any_number_of_devices(tmp_path, environment, small, devices):
    words = ["grid.model.name=[logistic,mlp]", "grid.model.width=[2,3]", "grid.optimizer.lr=[0.1,1e6]"]
    words += ["seeds=[5,3]", "steps=5", "record_every=2"]
    out, _ = run(tmp_path, environment, *words, JAX_NUM_CPU_DEVICES=str(devices))
    assert out.split()[0] == str(devices)
    other = vsweep.load(tmp_path / "kept")
    ok = small.trials["status"] == "ok"
    assert other.trials["status"].tolist() == small.trials["status"].tolist()
    assert other.trials["diverged_at"].equals(small.trials["diverged_at"])
    both = [sweep.curves[sweep.curves["trial"].isin(small.trials["trial"][ok])] for sweep in (small, other)]
    here, there = (curves.sort_values(["trial", "step"])["train_loss"].to_numpy() for curves in both)
    assert len(here) == ok.sum() * 4
    np.testing.assert_allclose(there, here, rtol=1e-5)


DISTRIBUTED = """
import sys
from socket import socket
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import vsweep
try:
    vsweep.sweep(["data=iris", "model=logistic", "steps=2", "tracker=none", "dir=kept"])
except vsweep.ConfigError as error:
    print(error)
"""


@pytest.mark.tail
def test_processes_that_jax_connects_do_not_each_train_the_sweep(tmp_path, environment):
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, address, str(number)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in started:
        said, _ = process.communicate(timeout=120)
        assert said.startswith("devices: jax.distributed connects 2 processes, and each of them would train")
    assert not (tmp_path / "kept").exists()


def test_many_orthogonal_layers_side_by_side_end_on_every_device(tmp_path, environment):
    """A batched factorization in a library's threads would wait for ever on two devices."""
    words = ["data=wine", "grid.model.init=[he_normal,orthogonal]", "grid.model.width=[3,17,50]", "block=32"]
    out, _ = run(tmp_path, environment, *words, "seeds=16", JAX_NUM_CPU_DEVICES="2")
    assert out.split()[0] == "2"
