"""The benchmark of a GPU runs on any device, keeps within its time, and writes what it found."""

import json

import bench
import bench_gpu
import jax
import pytest
from emulation import COMPILER, emulate

from vsweep.engine import compiler, plan
from vsweep.engine.tuning.shape import Hardware


@pytest.fixture
def small(monkeypatch):
    """Rows that a CPU trains in no time."""
    monkeypatch.setattr(bench_gpu, "CASES", (("spirals", "mlp", 4), ("breast_cancer", "logistic", 0)))
    monkeypatch.setattr(bench_gpu, "SIZES", ((8, 20),))
    monkeypatch.setattr(bench_gpu, "_FRACTAL_STEPS", 5)
    # Programs by hand are compiled in threads, which know no context of this one.
    ours = {
        f"jax_numpy_{kind}_promotion": value for kind, value in (("rank", "allow"), ("dtype", "standard"))
    }
    before = {name: jax.config.values[name] for name in ours}
    for name, value in ours.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_every_row_has_its_figures(small, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert bench_gpu.main([f"--out={out}", "--rounds=1", "--fractal=0.1"]) == 0
    found = json.loads(out.read_text())
    assert list(found["rows"]) == ["spirals mlp 4, 8 × 20", "breast_cancer logistic, 8 × 20"]
    for row in found["rows"].values():
        assert set(row) == {"vsweep", "vmap", "highest"}
        ratio = row["vmap"]["us"] / row["vsweep"]["us"]
        assert row["vmap"]["vsweep_is_faster"] == pytest.approx(ratio)
        assert row["vsweep"]["vsweep_is_faster"] == 1.0
    fractal = found["fractal"]
    assert fractal["extrapolated_s"] * fractal["share"] == pytest.approx(fractal["seconds"])
    assert fractal["share"] * 4096**2 == pytest.approx(fractal["trained"])
    # The device is the CPU.
    assert found["cpu"] == {"first_norms_equal": True, "first_norms_apart": 0.0, "losses_apart": 0.0}
    assert found["left_out"] == []
    assert str(out) in capsys.readouterr().out


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("fails", [False, True])
def test_the_kernel_is_timed_where_it_takes_a_row(small, tmp_path, monkeypatch, capsys, fails):
    def call(kernel, length, devices):
        if fails:
            raise RuntimeError("no GPU")
        return emulate(kernel, length)

    monkeypatch.setattr(bench_gpu, "CASES", (("spirals", "mlp", 4), ("digits", "mlp", 4)))
    monkeypatch.setattr(bench_gpu, "contenders", lambda: ["vsweep", "fused", "vmap", "highest"])
    monkeypatch.setattr(bench, "Hardware", lambda platform, count: Hardware("gpu", count))
    monkeypatch.setattr(plan, "shared_memory", lambda: 64 * 1024)
    monkeypatch.setattr(plan, "shortcoming_of_kernels", lambda platform: "")
    monkeypatch.setattr(compiler, "fused_call", call)
    out = tmp_path / "figures.json"
    assert bench_gpu.main([f"--out={out}", "--rounds=1", "--fractal=0"]) == 0
    found, shown = json.loads(out.read_text())["rows"], capsys.readouterr().out
    assert "fused" not in found["digits mlp 4, 8 × 20"]
    first = found["spirals mlp 4, 8 × 20"]
    assert ("fused" in first) != fails
    if fails:
        assert "spirals mlp 4, 8 × 20: the fused kernel failed: no GPU" in shown
        return
    assert first["kernel"]["same_bits_twice"]
    assert first["kernel"]["as_many_nan"]
    assert first["kernel"]["most_apart"] < 1e-4


def test_no_row_starts_too_late(small, tmp_path, capsys):
    out = tmp_path / "figures.json"
    bench_gpu.main([f"--out={out}", "--limit=0", "--fractal=0"])
    found = json.loads(out.read_text())
    assert found["left_out"] == ["spirals mlp 4, 8 × 20", "breast_cancer logistic, 8 × 20"]
    assert not found["rows"]
    assert "left out for lack of time: spirals mlp 4, 8 × 20; breast_cancer" in capsys.readouterr().out
