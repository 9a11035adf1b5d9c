"""The sweeps that are shipped, and how often a sweep compiles."""

from functools import cache

import jax
import numpy as np
import pytest

import vsweep
from vsweep.config.groups import CONF
from vsweep.config.schema import GROUPS
from vsweep.engine import compiler, executor
from vsweep.engine.devices import trial_mesh
from vsweep.metrics import axes_of

FILES = sorted((CONF.parent / "sweeps").glob("*.yaml"))
COMPILE = "/jax/core/compile/backend_compile_duration"


def test_there_are_sweeps():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sweep_file_begins_with_its_command(file):
    lines = file.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].split()[:4] == ["#", "vsweep", "run", f"sweep={file.stem}"]


@cache
def planned(name):
    """The spec and the plan of a sweep file as it is."""
    return vsweep.plan([f"sweep={name}", "tracker=none"])


def shrunk(name):
    """The words of a sweep of which each axis has its last value alone, the learning rate two."""
    made, _ = planned(name)
    words = []
    for axis in made.grid.axes:
        nested = axis.path in GROUPS and isinstance(made.raw["grid"][axis.path], dict)
        path = f"{axis.path}.name" if nested else axis.path
        kept = axis.values[-2:] if axis.path == "optimizer.lr" else axis.values[-1:]
        # Out first, since a list does not go where the file has a mapping.
        words += [f"~grid.{path}"]
        if path != "steps":
            written = ",".join("null" if value is None else str(value) for value in kept)
            words += [f"+grid.{path}=[{written}]"]
    return made, [f"sweep={name}", "tracker=none", *words, "steps=2", "record_every=1", "seeds=1"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sweep_file_plans_as_it_is(file):
    made, plan = planned(file.stem)
    assert made.name == file.stem
    assert len(plan.grid) > 1
    rows = np.concatenate([program.rows for program in plan.programs])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(plan.grid)))


# One file of numbers, one of classes, one of functions and one of optimizers; the others train alike.
TRAINED = ("diabetes", "food_water", "polynomial", "optimizers")


@pytest.mark.parametrize(
    "file",
    [pytest.param(f, marks=() if f.stem in TRAINED else pytest.mark.tail, id=f.stem) for f in FILES],
)
def test_a_sweep_file_trains_two_steps(file, here):
    made, words = shrunk(file.stem)
    # Adam, in optax, is not strict.
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    try:
        trained = vsweep.sweep([*words, "dir=kept", "pictures=[]"], quiet=True)
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    curves = trained.curves
    assert {axis.path for axis in made.grid.axes} - {"steps"} == set(axes_of(trained.trials))
    assert sorted(curves["step"].unique()) == [0, 1, 2]
    assert len(curves) == 3 * len(trained.trials)
    assert set(curves["trial"]) == set(trained.trials["trial"])
    first = curves[curves["step"] == 0]
    assert np.isfinite(first["train_loss"]).all()
    moved = curves[curves["step"] == 2]["train_loss"].to_numpy() != first["train_loss"].to_numpy()
    assert moved.any()


@pytest.fixture
def compiles(monkeypatch):
    """Counts: the programs compiled in `.programs`, and all that XLA compiled in `.events`."""

    class Count:
        programs = 0
        events = 0

    compile_block = compiler.compile_block

    def counted(*rest, **options):
        Count.programs += 1
        return compile_block(*rest, **options)

    def listen(event, *_, **__):
        Count.events += event == COMPILE

    monkeypatch.setattr(compiler, "compile_block", counted)
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield Count
    jax.monitoring.unregister_event_duration_listener(listen)


def test_each_program_is_compiled_once_whatever_the_number_of_blocks(small, compiles):
    words = ["data=iris", "tracker=none", "seeds=3", "steps=3", "block=2", "data.batch_size=50"]
    words += ["grid.model.name=[logistic,mlp]", "grid.model.width=[2,4]", "grid.optimizer.lr=[0.1,0.3,1]"]
    words += ["grid.model.init_scale=[0.5,1]", "model.init=he_normal"]
    _, plan = vsweep.plan(words)
    assert len(plan.programs) == 2
    assert sum(program.blocks for program in plan.programs) == 27
    assert compiles.events == 0
    blocks = executor.train(plan, trial_mesh())
    seen = []
    for _ in blocks:
        seen.append((compiles.programs, compiles.events))
    assert len(seen) == 27
    # The programs ahead are compiled while the first one trains.
    assert seen[-1] == (2, 2)
