"""Sweeps with kernel=fused, on a CPU that stands in for a GPU and emulates the kernel."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from emulation import COMPILER, emulate

import vsweep
from vsweep.config.spec import make_spec
from vsweep.engine import compiler, kernel_launch
from vsweep.engine import plan as plans
from vsweep.engine.plan_record import as_text
from vsweep.engine.tuning.cost_model import NO_LIMITS, Costs, UserLimits
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import ConfigError

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")

WORDS = [
    "data=moons",
    "data.rows=60",
    "grid.model.name=[logistic,mlp]",
    "grid.model.width=[3,6]",
    "grid.optimizer.lr=[0.1,1.0]",
    "optimizer=momentum",
    "seeds=2",
    "steps=7",
    "record_every=3",
    "tracker=none",
]
calls = []


@pytest.fixture
def gpu(monkeypatch):
    """The CPU is a GPU to the plan, and its kernels are emulated."""
    stand_in(monkeypatch)


def stand_in(monkeypatch):
    del calls[:]

    def call(kernel, length, devices):
        calls.append(kernel)
        return emulate(kernel, length)

    monkeypatch.setattr(plans, "Hardware", lambda platform, *more: Hardware("gpu", *more))
    monkeypatch.setattr(plans, "shared_memory", lambda: 64 * 1024)
    monkeypatch.setattr(plans, "shortcoming_of_kernels", lambda platform: "")
    monkeypatch.setattr(compiler, "fused_call", call)


def sweep(directory, *words):
    return vsweep.sweep([*WORDS, *words, f"dir='{directory}'"], quiet=True)


def test_a_sweep_is_what_it_is_without_the_kernel(tmp_path, gpu):
    made = sweep(tmp_path / "fused", "kernel=fused", "keep.params=all", "verify=false")
    assert len(calls) == 2
    assert {kernel.units for kernel in calls} == {0, 6}
    # XLA trains the trials again that the kernel trained.
    checked = vsweep.verify(made.directory, k=4, quiet=True)
    assert checked["wrong"] == []
    assert len(calls) == 2
    want = sweep(tmp_path / "xla", "kernel=xla", "keep.params=all", "verify=false")
    assert len(calls) == 2
    assert made.trials["identity"].tolist() == want.trials["identity"].tolist()
    values = [name for name in made.trials if name.startswith(("final_", "best_", "diverged_at"))]
    pd.testing.assert_frame_equal(made.trials[values], want.trials[values], rtol=1e-4, atol=1e-5)
    pd.testing.assert_frame_equal(made.curves, want.curves, rtol=1e-4, atol=1e-5)
    x = np.random.default_rng(0).normal(size=(5, 2))
    last = int(made.trials["trial"].iloc[-1])
    outputs = [one.predictor(last).outputs(x) for one in (made, want)]
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-4)
    programs = json.loads((made.directory / "plan.json").read_text())["programs"]
    assert [program["fused"] for program in programs] == [True, True]


def test_segments_and_blocks_change_no_bit(tmp_path, gpu):
    whole = sweep(tmp_path / "whole", "kernel=fused", "verify=false")
    pieces = sweep(tmp_path / "pieces", "kernel=fused", "verify=false", "segment=3", "block=2")
    pd.testing.assert_frame_equal(whole.curves, pieces.curves, check_exact=True)
    grown = vsweep.resume(whole.directory, ["seeds=3"], quiet=True)
    columns = ["optimizer.lr", "seed", "final_train_loss"]
    for made in (grown, sweep(tmp_path / "more", "kernel=fused", "verify=false", "seeds=3")):
        of_two = made.trials[made.trials["seed"] < 2]
        assert of_two[columns].reset_index(drop=True).equals(whole.trials[columns])


def test_the_plan_says_which_programs_xla_trains_and_why(gpu):
    spec, planned = vsweep.plan([*WORDS, "kernel=fused", "data.batch_size=8"])
    text = as_text(spec.name, planned)
    assert "note: kernel=fused: XLA trains moons logistic, since the kernel takes full batches" in text
    assert "fused" not in text.partition("program 1")[2]
    spec, planned = vsweep.plan([*WORDS, "kernel=fused"])
    assert as_text(spec.name, planned).count("fused,") == 2
    for program in planned.programs:
        assert program.kernel.shared_bytes <= 64 * 1024
    _, planned = vsweep.plan(WORDS)
    assert {program.kernel for program in planned.programs} == {None}


def test_a_kernel_that_does_not_fit_the_gpu_is_left_to_xla(gpu, monkeypatch):
    monkeypatch.setattr(plans, "shared_memory", lambda: 1000)
    spec, planned = vsweep.plan([*WORDS, "kernel=fused"])
    assert "since a trial does not fit the shared memory of this GPU" in as_text(spec.name, planned)


def test_xla_trains_where_there_is_no_gpu(tmp_path, monkeypatch):
    """Also a directory that a GPU trained: it can be verified, grown and confirmed elsewhere."""
    with monkeypatch.context() as patched:
        stand_in(patched)
        made = sweep(tmp_path / "made", "kernel=fused", "verify=false")
        assert len(calls) == 2
    spec, planned = vsweep.plan([*WORDS, "kernel=fused"])
    assert "kernel=fused: XLA trains moons mlp, since the kernel needs an NVIDIA GPU" in as_text(
        spec.name, planned
    )
    assert vsweep.verify(made.directory, k=4, quiet=True)["wrong"] == []
    assert len(vsweep.resume(made.directory, ["seeds=3"], quiet=True).trials) == 18
    vsweep.confirm(made.directory, seeds=2, quiet=True)
    assert len(calls) == 2
    with pytest.raises(ConfigError, match="kernel: got 'fast'; it takes one of auto, xla, fused"):
        sweep(tmp_path / "none", "kernel=fast")
    assert not (tmp_path / "none").exists()


def test_what_a_machine_lacks_is_named(monkeypatch):
    def fail(error):
        raise error

    shortcoming = kernel_launch.shortcoming_of_kernels.__wrapped__
    assert shortcoming("tpu") == shortcoming("cpu") == "the kernel needs an NVIDIA GPU"
    for error in (OSError("no libcuda"), RuntimeError("cuInit returned the CUDA error 100")):
        monkeypatch.setattr(kernel_launch, "shared_memory", partial(fail, error))
        assert shortcoming("gpu") == f"there is no CUDA driver that works ({error})"
    monkeypatch.setattr(kernel_launch, "shared_memory", lambda: 1)
    monkeypatch.setattr(kernel_launch, "find_nvrtc", lambda: None)
    assert shortcoming("gpu").startswith("there is no NVRTC")
    monkeypatch.setattr(kernel_launch, "find_nvrtc", lambda: 1)
    assert shortcoming("gpu") == ""


def test_measurements_of_the_kernel_tell_nothing_of_xlas_programs(gpu):
    spec, known = make_spec([*WORDS]), TimingCache()
    hardware = Hardware("gpu", 1)
    fused = plans.make_plan(spec, hardware, UserLimits(fused=True), known)
    before = plans.make_plan(spec, hardware, NO_LIMITS, known)
    costs = Costs(hardware, known)
    costs.learn("step", [(program.shape, 7.0) for program in fused.programs])
    after = plans.make_plan(spec, hardware, NO_LIMITS, known)
    assert [p.step_s for p in after.programs] == [p.step_s for p in before.programs]
    again = plans.make_plan(spec, hardware, UserLimits(fused=True), known)
    for first, second in zip(fused.programs, again.programs, strict=True):
        assert second.step_s == pytest.approx(7.0 * first.step_s)
