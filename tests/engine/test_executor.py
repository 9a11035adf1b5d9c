"""Blocks that do not fit are halved and nothing is lost; what is learned changes no curve."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from vsweep.config.spec import make_spec
from vsweep.engine import autotune, compiler, executor
from vsweep.engine.devices import trial_mesh
from vsweep.engine.plan import make_plan
from vsweep.engine.tuning import timings
from vsweep.engine.tuning.cost_model import Arrangement, UserLimits
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import TimingCache
from vsweep.store.blocks import PartialBlock, TrainedBlock

WORDS = ["data=iris", "model=logistic", "model.init=normal", "steps=4", "seeds=12", "tracker=none"]
WORDS += ["grid.optimizer.lr=[0.1,0.3]"]


def plan_of(*words, known=None, block=None, segment=None):
    made = make_spec([*WORDS, *words])
    mesh = trial_mesh()
    hardware = Hardware("cpu", mesh.devices.size)
    return make_plan(made, hardware, UserLimits(block, segment), known)


def curves_of(planned):
    blocks = list(executor.train(planned, trial_mesh()))
    rows = np.concatenate([block.rows for block in blocks])
    losses = np.concatenate([block.metrics["train_loss"] for block in blocks])
    return rows, losses[np.argsort(rows)], blocks


@pytest.fixture(scope="module")
def whole():
    return curves_of(plan_of())


def test_every_trial_once_in_order(whole):
    assert whole[0].tolist() == list(range(24))


@pytest.mark.parametrize("block", [7, *(pytest.param(size, marks=pytest.mark.tail) for size in (1, 24))])
def test_any_block_gives_the_same_curves(whole, block):
    rows, losses, _ = curves_of(plan_of(block=block))
    assert rows.tolist() == list(range(24))
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "lion"])
def test_no_weight_decay_is_one_of_zero(optimizer):
    """A program in which no trial has decay computes none."""
    words = [f"optimizer={optimizer}", "optimizer.weight_decay=0.0", "seeds=2"]
    without, among = plan_of(*words), plan_of(words[0], words[2], "grid.optimizer.weight_decay=[0.0,0.1]")
    decays = [
        program.hparams.optimizer.get("weight_decay") for program in (*without.programs, *among.programs)
    ]
    assert decays[0] is None
    assert sorted(set(decays[1].tolist())) == pytest.approx([0.0, 0.1])
    # By learning rate, decay and seed.
    losses = curves_of(among)[1].reshape(2, 2, 2, -1)
    np.testing.assert_allclose(curves_of(without)[1].reshape(2, 2, -1), losses[:, 0], rtol=1e-6)
    assert not np.allclose(losses[:, 1], losses[:, 0], rtol=1e-3)


SEGMENTED = ["optimizer=momentum", "data.batch_size=16", "steps=10", "record_every=2", "seeds=3"]


@pytest.fixture(scope="module")
def uncut():
    """6 trials of minibatches and 6 records, whole."""
    return curves_of(plan_of(*SEGMENTED, segment=1000))


def test_a_segment_as_long_as_the_training_is_no_segment(uncut):
    assert plan_of(*SEGMENTED, segment=1000).programs[0].segment == 0
    assert [type(block) for block in uncut[2]] == [TrainedBlock]


@pytest.mark.parametrize("segment", [4, *(pytest.param(steps, marks=pytest.mark.tail) for steps in (1, 7))])
def test_any_segment_gives_the_same_curves_and_its_rest_to_the_bit(uncut, segment):
    """A block is on its way to the host after each; from any of these moments on, the rest is as it was."""
    planned = plan_of(*SEGMENTED, segment=segment)
    size = planned.programs[0].segment
    assert size == max(1, segment // 2)
    *moments, last = list(executor.train(planned, trial_mesh()))
    assert [moment.records for moment in moments] == list(range(size, 6, size))
    assert {type(moment) for moment in moments} == {PartialBlock}
    assert isinstance(last, TrainedBlock)
    np.testing.assert_array_equal(last.rows, uncut[0])
    for name, values in uncut[2][0].metrics.items():
        np.testing.assert_allclose(last.metrics[name], values, rtol=1e-6, atol=1e-7, err_msg=name)
    for moment in moments:
        *later, again = list(executor.train(planned, trial_mesh(), underway=[moment]))
        assert [each.records for each in later] == list(range(moment.records + size, 6, size))
        assert again.rows.tolist() == last.rows.tolist()
        for kind in ("metrics", "final"):
            for name, values in getattr(last, kind).items():
                assert getattr(again, kind)[name].tobytes() == values.tobytes(), name


def test_a_block_that_runs_out_of_memory_is_halved(whole, monkeypatch):
    sizes = []
    compile_block = compiler.compile_block

    def small_device(static, hparams, data, *more, **options):
        size = len(hparams.seed)
        executable = compile_block(static, hparams, data, *more, **options)

        def call(*arguments):
            sizes.append(size)
            if size > 8:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return executable(*arguments)

        return call

    monkeypatch.setattr(compiler, "compile_block", small_device)
    planned = plan_of(block=12)
    # Two of them are under way when the first one fails.
    rows, losses, blocks = curves_of(planned)
    assert sorted(rows.tolist()) == list(range(24))
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)
    assert max(sizes) > 8 >= min(sizes)
    assert 2 * min(sizes) > 8
    # A block that was halved is still one part of the store.
    assert len(blocks) == planned.programs[0].blocks == 2


def test_any_other_failure_is_raised(monkeypatch):
    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(compiler, "compile_block", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        list(executor.train(plan_of(), trial_mesh()))


def test_what_the_compiler_predicts_above_the_memory_is_compiled_smaller(monkeypatch):
    (program,) = plan_of().programs
    predicted = iter([2e9, 5e8])
    monkeypatch.setattr(compiler, "free_bytes", lambda mesh: 1e9)
    monkeypatch.setattr(compiler, "device_bytes", lambda executable: next(predicted))
    ready = compiler.Compiler(trial_mesh()).compile(program, program.arrangement)
    assert ready.arrangement.block < program.arrangement.block


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("vmap_size", [1, 4, 32])
def test_halves_are_whole_vmaps_on_every_device(devices, vmap_size):
    arrangement = Arrangement(devices * vmap_size * 4, vmap_size)
    while (smaller := arrangement.smaller(devices)) is not None:
        assert 0 < smaller.block < arrangement.block
        assert smaller.block % (devices * smaller.vmap_size) == 0
        arrangement = smaller
    assert arrangement == (devices, 1, False)


def test_the_fastest_arrangement_is_kept_and_not_tried_again(monkeypatch, tmp_path):
    known = TimingCache(tmp_path / "measured.json")
    monkeypatch.setattr(autotune, "_WORTH", 0)
    monkeypatch.setitem(autotune._VMAP_SIZES, "cpu", (1, 4))
    seconds = {1: 3.0, 4: 1.0, 8: 2.0}
    tried = []

    def run_s(program, ready):
        tried.append(ready.arrangement.vmap_size)
        return seconds[ready.arrangement.vmap_size] * ready.arrangement.block

    monkeypatch.setattr(autotune, "_run_s", run_s)
    planned = autotune.autotune(plan_of(), trial_mesh(), known)
    assert set(tried) >= {1, 4}
    assert planned.programs[0].arrangement.vmap_size == 4
    known.save()
    again = TimingCache(tmp_path / "measured.json")
    tried.clear()
    planned = autotune.autotune(plan_of(known=again), trial_mesh(), again)
    assert (tried, planned.programs[0].arrangement.vmap_size) == ([], 4)


ODD_TABLES = {
    "empty": b"",
    "a list": b"[1]",
    "cut": b'{"a": {"lanes": 4}',
    "null": b"null",
    "no entry": b'{"a": 1}',
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
    "NaN": b'{"b": {"lanes": NaN}, "c": {"lanes": Infinity}}',
    "a huge integer": b'{"b": {"lanes": ' + b"9" * 6000 + b"}}",
    "too large": b'{"b": {"lanes": 1e13}, "c": {"lanes": -1}, "d": {"lanes": "4"}}',
}


@pytest.mark.parametrize("odd", [*ODD_TABLES, "missing", "a directory"])
def test_a_table_that_cannot_be_read_is_begun_anew(tmp_path, odd):
    path = tmp_path / "measured.json"
    if odd in ODD_TABLES:
        path.write_bytes(ODD_TABLES[odd])
    elif odd == "a directory":
        path.mkdir()
    known = TimingCache(path)
    known.note("a", lanes=2)
    known.save()
    assert json.loads(path.read_text()) == {"a": {"lanes": 2}}


def test_processes_that_share_a_table_lose_no_measurement(tmp_path, monkeypatch):
    path, write = tmp_path / "measured.json", timings.write_whole

    def write_slowly(*arguments):
        time.sleep(0.02)
        write(*arguments)

    def measure(name):
        for i in range(5):
            known = TimingCache(path)
            known.note(f"{name}{i}", lanes=i)
            known.save()

    monkeypatch.setattr(timings, "write_whole", write_slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(measure, "abcd"))
    assert len(json.loads(path.read_text())) == 20


def test_a_table_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    TimingCache(tmp_path / "file" / "measured.json").save()
    TimingCache().save()


def test_where_jax_runs_already_a_person_is_told(monkeypatch):
    from vsweep.engine import devices

    monkeypatch.setattr(devices, "cores", lambda: 64)
    monkeypatch.setattr(devices, "_is_count_set", lambda: False)
    one = SimpleNamespace(devices=np.array([SimpleNamespace(platform="cpu")]))
    assert "1 of 64 cores" in devices.shortcoming(one)
    monkeypatch.setattr(devices, "cores", lambda: 1)
    assert devices.shortcoming(one) == ""


def test_a_number_of_devices_that_a_person_asked_for_is_no_shortcoming(monkeypatch):
    from vsweep.engine import devices

    monkeypatch.setattr(devices, "cores", lambda: 64)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    one = SimpleNamespace(devices=np.array([SimpleNamespace(platform="cpu")]))
    assert "64 cores" not in devices.shortcoming(one)
