"""Devices are set up before JAX starts, and a person is told where it had started."""

import os
import subprocess
import sys

CODE = """
import os, sys
if "late" in sys.argv:
    import jax
    jax.local_devices()
import vsweep
words = ["data=iris", "model=logistic", "steps=2", "tracker=none", "dir=kept"]
vsweep.sweep(words)
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


def test_where_jax_runs_already_it_is_said(tmp_path, environment):
    out, err = run(tmp_path, environment, "late")
    devices = int(out.split()[0])
    # On one core there is nothing to say.
    assert ("call vsweep.devices() before anything else uses JAX" in err) == (devices < (os.cpu_count() or 1))
    assert "1 of" in err or devices > 1 or os.cpu_count() == 1
