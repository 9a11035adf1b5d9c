"""Trials are grouped into programs and blocks; only shapes, nothing is trained."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from vsweep.config.spec import make_spec
from vsweep.engine.checks.verify import lone_programs
from vsweep.engine.plan import make_plan
from vsweep.engine.plan_record import as_record, as_text
from vsweep.engine.tuning.cost_model import Costs, UserLimits
from vsweep.engine.tuning.shape import Hardware, program_shape
from vsweep.engine.tuning.timings import TimingCache

CPU, GPU = Hardware("cpu", 2), Hardware("gpu", 1)


def plan(*words, hardware=CPU, block=None, before=None):
    made = make_spec(["tracker=none", *words])
    return make_plan(made, hardware, UserLimits(block=block), before=before)


def test_every_trial_is_in_one_program():
    made = plan("data=iris", "grid.model.name=[logistic,mlp]", "grid.model.depth=[1,2]", "seeds=3")
    rows = np.concatenate([program.rows for program in made.programs])
    assert sorted(rows.tolist()) == list(range(len(made.grid)))
    assert len(made.programs) == 3


def test_traced_fields_share_a_program():
    fields = ["optimizer.lr=[0.1,1.0]", "model.init=[zeros,he_normal]", "model.init_scale=[1.0,2.0]"]
    made = plan("data=iris", *(f"grid.{field}" for field in fields), "grid.diverge_above=[10.0,20.0]")
    assert len(made.programs) == 1


def test_widths_are_split_where_padding_costs_more_than_a_compile():
    widths = ["data=digits", "grid.model.width=[4,512]", "steps=300"]
    few, many = plan(*widths, "seeds=1"), plan(*widths, "seeds=200")
    assert [program.width for program in few.programs] == [512]
    assert [program.width for program in many.programs] == [4, 512]
    # Work goes with the width here: of two trials at 512, one needs 4 / 512 of it.
    assert few.programs[0].padding_fraction == pytest.approx(1 - (4 / 512 + 1) / 2)
    assert [program.padding_fraction for program in many.programs] == [0.0, 0.0]


def test_the_plan_says_how_widths_are_padded():
    text = as_text("sweep", plan("data=digits", "grid.model.width=[4,512]"))
    assert "padded to width 512: 50% of the work is padding" in text


def test_an_axis_that_no_cell_has_is_collapsed_and_said():
    made = plan("data=iris", "model=logistic", "grid.model.width=[4,8]", "grid.optimizer.lr=[0.1,1.0]")
    assert len(made.grid) == 2
    assert made.grid.collapsed == 2
    assert "model.width: 4, 8 (2), collapsed: no cell has this field" in as_text("sweep", made)


@pytest.mark.parametrize("hardware", [CPU, GPU, Hardware("cpu", 16), Hardware("tpu", 8)])
@pytest.mark.parametrize(
    "words",
    [
        ["data=iris", "seeds=100000", "steps=100000", "record_every=1"],
        ["data=iris", "seeds=100000", "model.width=8192", "model.depth=4"],
        ["data=spirals", "seeds=100000", "steps=1"],
    ],
)
def test_blocks_are_bounded(words, hardware):
    (program,) = plan(*words, hardware=hardware).programs
    length = program.static.length
    records = length.steps / length.record_every
    one = program.arrangement.block == hardware.devices
    assert one or program.arrangement.block * records * 6 * 4 <= 64 * 2**20
    weights = program.shape.weights * 4
    assert program.arrangement.vmap_size == 1 or program.arrangement.vmap_size * weights * 6 <= 4 * 2**30
    assert program.arrangement.block <= 8192 * hardware.devices
    assert program.arrangement.block % (hardware.devices * program.arrangement.vmap_size) == 0


@pytest.mark.parametrize(("asked", "block"), [(1, 2), (3, 4), (7, 8), (100, 10)])
def test_a_block_that_is_asked_for(asked, block):
    (program,) = plan("data=digits", "model.width=512", "seeds=10", block=asked).programs
    assert program.arrangement.vmap_size == 1
    assert program.arrangement.block == block
    assert program.blocks == -(-10 // block)


@pytest.mark.parametrize("trials", [1, 5, 6, 17, 145])
def test_few_trials_go_in_one_block(trials):
    (program,) = plan("data=iris", "model=logistic", "model.init=normal", f"seeds={trials}").programs
    assert program.blocks == 1
    assert trials <= program.arrangement.block < trials + 2 * program.arrangement.vmap_size


@pytest.mark.parametrize("axis", ["data.split_seed=[0,1,2]", "model.activation=[tanh,relu]"])
def test_an_earlier_plan_is_kept_where_programs_share_their_widths(axis):
    words = ["data=iris", "model=mlp", "grid.model.width=[2,64]", f"grid.{axis}", "seeds=300"]
    first = plan(*words)
    record = json.loads(json.dumps(as_record(first)))
    again = plan(*words, before=record)
    assert again.pinned
    assert as_record(again) == as_record(first)
    record["programs"][1]["block"] = 2
    assert plan(*words, before=record).programs[1].arrangement.block == 2
    assert not plan(*words, before=record, block=4).pinned


def test_a_kept_plan_does_not_move_with_measurements():
    """A curve keeps its bits only in the arrangement that trained it."""
    words = ["data=moons", "model=mlp", "model.width=4", "seeds=8"]
    first, known = plan(*words, block=4), TimingCache()
    record = json.loads(json.dumps(as_record(first)))
    (program,) = first.programs
    assert program.arrangement.single_kernel
    known.note(program.name, lanes=4, fused=False, room=64)
    limits = UserLimits(4)
    again = make_plan(make_spec(["tracker=none", *words]), CPU, limits, known, record)
    assert again.pinned
    assert again.programs[0].arrangement == program.arrangement
    # A record of an earlier version has fewer limits; one without any is not kept.
    older = {**record, "asked": record["asked"][:3]}
    assert make_plan(make_spec(["tracker=none", *words]), CPU, limits, known, older).pinned
    del older["asked"]
    for asked in (limits, UserLimits()):
        assert not make_plan(make_spec(["tracker=none", *words]), CPU, asked, known, older).pinned


def test_programs_are_numbered_by_their_place():
    made = plan("data=iris", "grid.model.name=[logistic,mlp]", "grid.model.depth=[1,2]", "seeds=3")
    assert [program.number for program in made.programs] == [0, 1, 2]
    lone = lone_programs(made, [0, 3, 6], Costs(made.hardware, TimingCache()))
    assert [program.number for program in lone] == list(range(len(lone)))


def test_a_programs_shape_is_that_of_its_widest_trial():
    (program,) = plan("data=digits", "grid.model.width=[4,512]", "model=mlp", "seeds=1").programs
    assert program.shape.width == program.width == 512
    assert program.shape.weights == (64 + 10) * 512
    assert program.name == program.shape.key
    narrow = program_shape(program.inputs, 4, CPU)
    assert narrow.key != program.name
    assert narrow.live_bytes < program.shape.live_bytes


@pytest.mark.parametrize(
    ("hardware", "single_kernel"), [(CPU, True), (GPU, False), (Hardware("cpu", 2, "", False), False)]
)
def test_a_small_model_is_one_kernel_on_a_cpu_that_was_told_so(hardware, single_kernel):
    (program,) = plan("data=spirals", "model=mlp", "model.width=8", "seeds=1", hardware=hardware).programs
    assert program.shape.single_kernel is single_kernel


@pytest.mark.parametrize(
    ("kind", "megabytes"), [("TPU v5 lite", 128), ("TPU v6 lite", 128), ("TPU v4", 128), ("TPU v5", 64)]
)
def test_trials_side_by_side_fit_in_the_fast_memory_of_a_tpu(kind, megabytes):
    """The activations of a step take most of it. Other devices have none to fit in."""
    words = "data=spirals", "model=mlp", "model.width=32", "seeds=4096"
    (program,) = plan(*words, hardware=Hardware("tpu", 1, kind)).programs
    examples = program.inputs.split.x[0].shape[1]
    activations = 2 * 4 * examples * (32 + program.inputs.n_outputs)
    used = program.arrangement.vmap_size * activations / (megabytes * 2**20)
    assert 0.5 < used < 0.85
    for other in (Hardware("tpu", 1, "TPU v2"), Hardware("gpu", 1, "NVIDIA H100")):
        assert plan(*words, hardware=other).programs[0].arrangement.vmap_size == 4096


def test_a_record_keeps_the_keys_that_older_directories_have():
    made = plan("data=digits", "grid.model.width=[4,512]")
    record = as_record(made)["programs"][0]
    program = made.programs[0]
    assert (record["block"], record["lanes"], record["fused"]) == program.arrangement
    assert record["padding_waste"] == round(program.padding_fraction, 4)


def test_a_plan_says_that_classes_are_not_scaled():
    words = ["grid.data=[iris,diabetes]", "data.standardize_target=true"]
    note = "note: data.standardize_target=true changes nothing, since data=iris has classes"
    assert [line for line in as_text("x", plan(*words)).splitlines() if line.startswith("note:")] == [note]
    assert "note:" not in as_text("x", plan("data=iris"))


def test_a_plan_says_what_targets_are(here):
    assert "\n  data iris: 3 classes: setosa 50, versicolor 50, virginica 50\n" in as_text(
        "x", plan("data=iris")
    )
    y = load_diabetes().target
    number = f"number, {np.mean(y):.4g} ± {np.std(y):.4g} (mean ± sd)"
    made = plan("data=diabetes")
    assert f"\n  data diabetes: {number}\n" in as_text("x", made)
    assert [data["target"] for data in as_record(made)["data"].values()] == [number]
    table = pd.DataFrame({"a": range(30), "kind": ["p"] * 28 + ["q", "r"], "many": range(30)})
    table.to_csv("cars.csv", index=False)
    cars = ["data=csv", "data.path=cars.csv", "data.features=[a]"]
    text = as_text("x", plan(*cars, "data.target=kind"))
    assert "  data cars: 3 classes: p 28, q 1, r 1; absent from val: q, r; absent from test: q, r\n" in text
    text = as_text("x", plan(*cars, "data.target=many", "data.targets=classes"))
    assert (
        "  data cars: 30 classes: 0 1, 1 1, 2 1, 3 1, 4 1, 5 1, 6 1, 7 1, 8 1, …, 29 1; absent from train:"
        in text
    )
    assert "  data " not in as_text("x", plan("model=point", "data=none", "loss=quartic", "model.x=1.0"))


def test_many_data_sets_are_counted():
    text = as_text("x", plan("data=line", "model=linear", "grid.data.seed=[0,1,2,3,4,5,6,7]"))
    assert text.count("\n  data line: number, ") == 5
    assert "\n  and 3 more data sets\n" in text
    text = as_text("x", plan("data=iris", "grid.data.split_seed=[0,1,2]"))
    assert text.count("\n  data ") == 1
