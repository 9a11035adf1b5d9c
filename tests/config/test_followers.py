"""Fields that follow axes by an interpolation have in every cell the value that the axes have there."""

import json

import numpy as np
import pandas as pd
import pytest
from store_helpers import forge

import vsweep
from vsweep.commands.reproduce import overrides
from vsweep.config.spec import make_spec, spec_from_record
from vsweep.engine.plan import plan_sweep
from vsweep.engine.plan_record import as_text
from vsweep.engine.trial_id import identities
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of, followers_of
from vsweep.trackers.wandb.runs import cell_config

BASE = ["data=iris", "model=logistic", "tracker=none", "verify=false", "steps=6", "record_every=2"]
WARMUP = ["schedule=warmup_cosine"]
DECAY = ["schedule=exponential"]


def with_base(*words):
    """The words, with those of `BASE` that are no axes."""
    axes = {
        word.partition("=")[0].partition(".")[2] for word in words if word.startswith(("grid.", "draws."))
    }
    return [*(word for word in BASE if word.partition("=")[0] not in axes), *words]


def planned(*words):
    """The values of every cell on the axes and in the fields that follow them, and its identity."""
    plan, _ = plan_sweep(make_spec(with_base(*words)), TimingCache(), {})
    columns = {axis.path: list(plan.grid.column(i)) for i, axis in enumerate(plan.grid.axes)}
    return columns, identities(plan).tolist()


# Words, the field that follows, and its values written out, one for each cell.
KINDS = {
    "traced": (["grid.optimizer.lr=[0.1,0.01]"], "optimizer.weight_decay", "optimizer.lr", [0.1, 0.01]),
    "static": (["grid.steps=[4,8]", *WARMUP], "schedule.warmup_steps", "steps", [4, 8]),
    "drawn": (
        ["draws.optimizer.lr=[0.1,0.2,0.1]", "draws.steps=[4,8,8]"],
        "optimizer.weight_decay",
        "optimizer.lr",
        [0.1, 0.2, 0.1],
    ),
    "choice": (["grid.loss=[auto,softmax_cross_entropy]", "grid.optimizer.lr=[0.1,0.3]"],
               "optimizer.weight_decay", "optimizer.lr", [0.1, 0.3, 0.1, 0.3]),
    "data": (["grid.data.val_fraction=[0.2,0.4]"], "data.test_fraction", "data.val_fraction", [0.2, 0.4]),
    "width": (["model=mlp", "grid.model.width=[3,5]", *DECAY], "schedule.decay_steps", "model.width", [3, 5]),
    "follows width": (["model=mlp", "grid.steps=[4,8]"], "model.width", "steps", [4, 8]),
    "text": (
        ["model=mlp", "grid.model.init=[zeros,normal]", "model.depth=2"],
        "model.bias_init",
        "model.init",
        ["zeros", "normal"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_follows_an_axis_has_its_value_in_every_cell(kind):
    words, path, axis, expected = KINDS[kind]
    columns, found = planned(*words, f"{path}=${{{axis}}}")
    assert columns[path] == columns[axis] == expected
    # Each trial is the trial of a config in which the value is written out.
    for i, identity in enumerate(found):
        cell = [f"{p}={c[i]}" for p, c in columns.items() if p != path]
        alone = [word for word in words if not word.startswith(("grid.", "draws."))]
        assert planned(*alone, *cell, f"{path}={expected[i]}")[1] == [identity]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("optimizer.weight_decay=${.lr}", [0.1, 0.2]),
        ("optimizer.weight_decay=${oc.select:optimizer.lr}", [0.1, 0.2]),
        ("optimizer.weight_decay='${oc.decode:1${optimizer.lr}}'", [10.1, 10.2]),
    ],
)
def test_the_form_of_the_interpolation_does_not_matter(word, values):
    columns, _ = planned("grid.optimizer.lr=[0.1,0.2]", word)
    assert columns.get("optimizer.weight_decay") == values


def test_a_field_may_follow_one_axis_by_way_of_another(here):
    (here / "sweeps").mkdir()
    text = (
        "data: iris\nmodel: mlp\nschedule: exponential\nschedule.decay_steps: ${model.width}\n"
        "steps: ${schedule.decay_steps}\ngrid: {model.width: [3, 5]}\n"
    )
    (here / "sweeps" / "mine.yaml").write_text(text)
    made = make_spec(["sweep=mine", "tracker=none"])
    columns = {axis.path: list(made.grid.column(i)) for i, axis in enumerate(made.grid.axes)}
    assert columns == {"model.width": [3, 5], "steps": [3, 5], "schedule.decay_steps": [3, 5]}


def test_the_value_of_an_axis_may_lead_to_another_axis():
    def points(which="lr"):
        return np.eye(20), np.arange(20.0)

    axes = ["grid.data.which=[weight_decay,lr]", "grid.optimizer.lr=[0.1,0.2]", "optimizer.weight_decay=7.0"]
    words = ["model=linear", "tracker=none", *axes, "diverge_above='${optimizer.${data.which}}'"]
    with pytest.raises(ConfigError, match=r"^diverge_above: got 0\.1; it takes a number above 1"):
        make_spec(words, {"data": points})
    made = make_spec([*words, "grid.optimizer.lr=[2,3]"], {"data": points})
    assert [made.cell(number).diverge_above for number in range(4)] == [7.0, 7.0, 2.0, 3.0]


def test_a_mapping_in_python_is_interpolated_where_it_names_a_field():
    fields = {"data": "iris", "model": "logistic", "tracker": "none"}
    follows = {"grid": {"optimizer.lr": [0.1, 0.2]}, "optimizer": {"weight_decay": "${optimizer.lr}"}}
    made = make_spec(fields | follows)
    assert made.cell(1).optimizer.fields["weight_decay"] == 0.2
    listed = {"grid": {"optimizer.lr": [0.1, "${optimizer.weight_decay}"]}, "optimizer.weight_decay": 0.3}
    assert make_spec(fields | listed).cell(1).optimizer.fields["lr"] == 0.3
    # The word that is recorded composes to the same.
    again = make_spec(made.words)
    assert again.cell(1) == made.cell(1)
    # Other text is what it is.
    made = make_spec(fields | {"data": {"name": "csv", "path": "it's ${HOME}", "target": "${y}"}})
    assert made.cell(0).data.fields["path"] == "it's ${HOME}"


def test_curves_are_those_of_the_values_written_out(tmp_path):
    words = [*BASE, "grid.optimizer.lr=[0.5,0.05]", "seeds=2", "block=4"]
    follows = vsweep.sweep(
        [*words, "optimizer.weight_decay=${optimizer.lr}", f"dir='{tmp_path / 'a'}'"], quiet=True
    )
    draws = ["draws.optimizer.lr=[0.5,0.05]", "draws.optimizer.weight_decay=[0.5,0.05]"]
    written = [word for word in words if not word.startswith("grid.")]
    tied = vsweep.sweep([*written, *draws, f"dir='{tmp_path / 'b'}'"], quiet=True)
    pd.testing.assert_frame_equal(follows.curves, tied.curves)
    assert follows.trials["optimizer.weight_decay"].tolist() == [0.5, 0.5, 0.05, 0.05]
    assert follows.trials["identity"].tolist() == tied.trials["identity"].tolist()
    # The axis alone is ranked.
    assert list(follows.cells()["optimizer.lr"]) == list(tied.cells()["optimizer.lr"])
    assert "optimizer.weight_decay" not in follows.cells()
    loaded = vsweep.load(tmp_path / "a")
    assert "optimizer.weight_decay=0.05" in loaded.overrides(1)
    assert "optimizer.weight_decay=0.05" in overrides(tmp_path / "a", 3)
    checked = vsweep.verify(tmp_path / "a", k=1)
    assert all(row["difference"] < 1e-4 for row in checked["trials"])
    again = vsweep.reproduce(tmp_path / "a", 3, to=tmp_path / "c")
    np.testing.assert_allclose(
        again.sweep.curves["train_loss"], loaded.curves.query("trial == 3")["train_loss"], rtol=1e-5
    )
    more = vsweep.resume(tmp_path / "a", ["seeds=3"], quiet=True)
    assert more.trials["optimizer.weight_decay"].tolist() == [0.5] * 3 + [0.05] * 3


def test_a_directory_of_before_grows_as_it_was_trained(tmp_path):
    words = [
        *BASE,
        "grid.optimizer.lr=[0.5,0.05]",
        "optimizer.weight_decay=0.1",
        f"dir='{tmp_path / 'kept'}'",
    ]
    before = set(vsweep.sweep(words, quiet=True).trials["identity"])
    # An earlier version recorded the interpolation, and trained every cell with the default rate.
    path = tmp_path / "kept" / "plan.json"
    record = json.loads(path.read_text())
    words = [word.replace("decay=0.1", "decay=${optimizer.lr}") for word in record["study"]["words"]]
    variants = [{k: v for k, v in old.items() if k != "followers"} for old in record["study"]["variants"]]
    path.write_text(json.dumps(record | {"study": record["study"] | {"words": words, "variants": variants}}))
    forge(tmp_path / "kept")
    grown = vsweep.resume(tmp_path / "kept", ["seeds=2"], quiet=True)
    assert before < set(grown.trials["identity"])
    assert all("optimizer.weight_decay=0.1" in grown.overrides(cell) for cell in (0, 1))


def test_a_directory_of_before_grows_with_the_interpolation_of_its_sweep_file(here):
    (here / "sweeps").mkdir()
    file = here / "sweeps" / "mine.yaml"
    text = "data: iris\nmodel: logistic\nsteps: 6\ngrid: {optimizer.lr: [0.5, 0.05]}\n"
    text += "optimizer.weight_decay: WD\n"
    file.write_text(text.replace("WD", "0.1"))
    trained = vsweep.sweep(["sweep=mine", "tracker=none", "verify=false", "dir=kept"], quiet=True)
    before = set(trained.trials["identity"])
    file.write_text(text.replace("WD", "${optimizer.lr}"))
    path = here / "kept" / "plan.json"
    record = json.loads(path.read_text())
    for variant in record["study"]["variants"]:
        del variant["followers"]
    path.write_text(json.dumps(record))
    forge(here / "kept")
    grown = vsweep.resume(here / "kept", ["seeds=2"], quiet=True)
    assert before < set(grown.trials["identity"])
    assert all("optimizer.weight_decay=0.1" in grown.overrides(cell) for cell in (0, 1))


def test_plans_and_runs_show_what_follows(tmp_path):
    words = [*BASE, "grid.optimizer.lr=[0.5,0.05]", "optimizer.weight_decay=${optimizer.lr}"]
    spec, plan = vsweep.plan(words)
    assert "  optimizer.weight_decay: 0.5, 0.05 (2), follows optimizer.lr\n" in as_text(spec.name, plan)
    sweep = vsweep.sweep([*words, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    fields = [*axes_of(sweep.trials), *followers_of(sweep.trials)]
    assert fields == ["optimizer.lr", "optimizer.weight_decay"]
    rows = sweep.trials.astype(object).to_dict("records")
    shown = [cell_config(sweep.plan, row, fields)["optimizer"]["weight_decay"] for row in rows]
    assert shown == [0.5, 0.05]


def test_jobs_of_hydra_follow_too(cli):
    words = [*BASE, "grid.optimizer.lr=[0.5,0.05]", "optimizer.weight_decay=${optimizer.lr}"]
    done = cli("plan", "-m", "seeds=1,2", *words)
    assert done.status == 0, done.err
    assert done.out.count("follows optimizer.lr") == 2


def test_cells_that_lack_a_field_or_an_axis():
    words = ["grid.optimizer=[sgd,adam]", "grid.optimizer.lr=[0.1,0.2]"]
    columns, _ = planned(*words, "optimizer.weight_decay=${optimizer.lr}")
    assert columns["optimizer.weight_decay"] == [0.1, 0.2, None, None]
    # The scale of zero weights tells cells apart where another field follows it.
    words = ["model=mlp", "grid.model.init=[zeros,normal]", "grid.model.init_scale=[1.0,2.0]"]
    assert len(planned(*words)[1]) == 3
    columns, found = planned(*words, "optimizer.weight_decay=${model.init_scale}")
    assert columns["optimizer.weight_decay"] == [1.0, 2.0, 1.0, 2.0]
    assert len(set(found)) == 4


def test_a_top_field_follows_the_choice_of_a_group():
    words = ["data.rows=30", "grid.data=[moons,spirals]", "steps=${data.rows}", "data.noise=0.1"]
    made = make_spec(with_base(*words))
    assert [made.cell(number).steps for number in (0, 1)] == [30, 30]


def test_what_is_recorded_reads_the_same():
    words = ["grid.optimizer=[sgd,adam]", "grid.optimizer.lr=[0.1,0.2]", "steps=7"]
    made = make_spec(with_base(*words, "optimizer.weight_decay=${optimizer.lr}", "diverge_above=${steps}"))
    read = spec_from_record(made.raw, made.record())
    assert read.grid.axes == made.grid.axes
    assert read.grid.index.tolist() == made.grid.index.tolist()
    assert [read.cell(n) for n in read.grid.cells] == [made.cell(n) for n in made.grid.cells]
    # A directory of before holds cells of one value.
    record = made.record()
    for variant in record["variants"]:
        del variant["followers"]
    old = spec_from_record(made.raw, record)
    assert [axis.path for axis in old.grid.axes] == ["optimizer", "optimizer.lr"]


def test_a_hundred_thousand_values_are_followed():
    words = ["grid.optimizer.lr={linspace:[0.1,1.0,100000]}", "optimizer.weight_decay=${optimizer.lr}"]
    made = make_spec(with_base(*words))
    lr, decay = (made.grid.column(i) for i in range(2))
    assert (lr == decay).all()


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["tracker.wandb.project='x-${optimizer.lr}'"], "tracker.wandb.project: follows the axis"),
        (["dir='${optimizer.lr}'"], "dir: follows the axis optimizer.lr; it takes one value, the same"),
        (["seeds=${optimizer.lr}"], "seeds: follows the axis optimizer.lr"),
        (["optimizer.weight_decay=-${optimizer.lr}"], "optimizer.weight_decay: got '-0.1'; it takes"),
        (["grid.steps=[1,'${optimizer.lr}']"], "grid.steps: follows the axis optimizer.lr; an axis has the"),
        (["grid.data=[iris,wine]", "tracker.wandb.project=${data.name}"],
         "tracker.wandb.project: is 'iris' in some cells and 'wine' in others; it takes one value"),
        (["grid.data=[iris,wine]", "dir='out/${data.name}'"], "dir: is 'out/iris' in some cells"),
        (["grid.model=[mlp,logistic]", "grid.model.width=[2,3]", "diverge_above=${model.width}"],
         "diverge_above: Interpolation key 'model.width' not found, in the cells of model=logistic"),
    ],
)  # fmt: skip
def test_what_cannot_follow_is_refused(words, begins):
    with pytest.raises(ConfigError) as error:
        make_spec(with_base("grid.optimizer.lr=[0.1,0.2]", *words))
    assert str(error.value).startswith(begins)
