"""No override is dropped in silence: it is refused, or the plan says for which cells it is."""

import hashlib
import json

import pytest

import vsweep
from vsweep.config.spec import make_spec
from vsweep.errors import ConfigError

BASE = ["data=iris", "tracker=none", "verify=false", "steps=4", "record_every=2"]


def refusal(config, own=None):
    with pytest.raises(ConfigError) as error:
        make_spec(config, own)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "word", "field"),
    [
        (["sweep=digits"], "optimizer.lr=0.5", "grid.optimizer.lr"),
        (["sweep=digits"], "model=logistic", "grid.model.name"),
        (["sweep=digits"], "model.width=7", "grid.model.width"),
        (["sweep=goldfield"], "steps=5", "grid.steps"),
        (["sweep=polynomial"], "loss=quartic", "grid.loss.name"),
        (["data=iris", "grid.optimizer.lr=[1,2]"], "optimizer.lr=0.5", "grid.optimizer.lr"),
        (["data=iris", "grid={optimizer:{lr:[1,2]}}"], "optimizer.lr=0.5", "grid.optimizer.lr"),
        (["data=iris", "draws.optimizer.lr=[1,2]"], "optimizer.lr=0.5", "draws.optimizer.lr"),
        (["data=iris", "draws.model=[mlp,logistic]"], "model=mlp", "draws.model.name"),
        (["grid.data=[iris,wine]"], "data=iris", "grid.data.name"),
    ],
)
def test_a_fixed_value_of_an_axis_is_refused_with_the_way_out(words, word, field):
    path = word.partition("=")[0].removesuffix(".name")
    takes = f"to fix it give ~{field} {word}; to keep the axis leave {path} out"
    for order in ([*words, word], [word, *words]):
        said = refusal([*order, "tracker=none"])
        assert said == f"{path}: got {word}, but its values are those of the axis {field}; {takes}"
    # The way out is one.
    spec = make_spec([*words, f"~{field}", word, "tracker=none"])
    assert path not in [axis.path for axis in spec.grid.axes]


def test_the_name_of_a_group_is_its_choice():
    said = refusal(["sweep=digits", "model.name=logistic"])
    assert said.startswith(
        "model: got model.name=logistic, but its values are those of the axis grid.model.name"
    )
    assert "give ~grid.model.name model=logistic; " in said


def test_a_mapping_is_told_the_same():
    config = {"data": "iris", "grid": {"optimizer": {"lr": [1, 2]}}, "optimizer": {"lr": 0.5}}
    assert refusal(config).startswith("optimizer.lr: got optimizer.lr=0.5, but its values are those of")


def test_a_sweep_file_is_told_the_same(here):
    (here / "sweeps").mkdir()
    both = "data: iris\ngrid: {optimizer.lr: [1, 2]}\noptimizer: {lr: 0.5}\n"
    (here / "sweeps" / "both.yaml").write_text(both)
    said = "optimizer.lr: in sweeps/both.yaml: is fixed, and is an axis too, grid.optimizer.lr; leave one"
    assert refusal(["sweep=both"]) == f"{said} of them out"
    (here / "sweeps" / "inner.yaml").write_text("data: iris\ngrid: {optimizer.lr: [1, 2]}\n")
    (here / "sweeps" / "outer.yaml").write_text("defaults: [inner]\noptimizer: {lr: 0.5}\n")
    assert refusal(["sweep=outer"]).startswith("optimizer.lr: got optimizer.lr=0.5, but its values are those")


def test_an_axis_may_replace_what_comes_before_it(here):
    (here / "sweeps").mkdir()
    text = "defaults: [{override /data: iris}, {override /model: mlp}]\noptimizer: {lr: 0.5}\n"
    (here / "sweeps" / "fixed.yaml").write_text(text)
    axes = ["grid.optimizer.lr=[1,2]", "grid.model=[mlp,logistic]"]
    assert len(make_spec(["sweep=fixed", *axes]).grid) == 4
    # The choices of a mapping are defaults, as those of a sweep file are.
    assert len(make_spec({"data": "iris", "model": "mlp", "grid": {"model": ["mlp", "logistic"]}}).grid) == 2
    assert refusal({"sweep": "digits", "model": "mlp"}).startswith("model: got model=mlp, but its values")
    # A function that is given in Python is a choice among others.
    spec = make_spec(["data=iris", "grid.model=[own,mlp]"], {"model": lambda h=3: None})
    assert [axis.values for axis in spec.grid.axes] == [("own", "mlp")]


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (
            ["grid.optimizer=[sgd,adam,rmsprop]", "optimizer.weight_decay=0.5"],
            "optimizer.weight_decay=0.5 is for the cells of optimizer=sgd; "
            "adam and rmsprop have no such field",
        ),
        (
            ["grid.model=[logistic,mlp]", "+model.width=7"],
            "model.width=7 is for the cells of model=mlp; logistic has no such field",
        ),
        (
            ["draws.schedule=[constant,cosine]", "schedule.final=0.1"],
            "schedule.final=0.1 is for the cells of schedule=cosine; constant has no such field",
        ),
        (
            ["model=logistic", "model.init_scale=2"],
            "model.init_scale=2 changes nothing, since model.init=zeros; give another model.init, such as "
            "lecun_normal",
        ),
        (
            ["model=logistic", "model.init_scale=2", "grid.model.init=[zeros,normal]"],
            "model.init_scale=2 changes nothing in the cells of model.init=zeros",
        ),
    ],
)
def test_a_field_of_some_cells_is_said(cli, words, note):
    done = cli("plan", *BASE, *words)
    assert done.status == 0
    assert [line for line in done.out.splitlines() if line.startswith("note: ")] == [f"note: {note}"]


@pytest.mark.parametrize(
    "words",
    [
        ["grid.optimizer=[sgd,momentum]", "optimizer.weight_decay=0.5"],
        ["grid.model=[logistic,mlp]", "grid.model.width=[2,3]"],
        ["model.init_scale=2"],
    ],
)
def test_what_all_cells_have_is_not_said(words):
    assert make_spec([*BASE, *words]).notes == ()


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["optimizer.lr=0.5", "optimizer.lr=0.6"], "optimizer.lr=0.5 is replaced by optimizer.lr=0.6"),
        (
            ["grid.optimizer.lr=[1,2]", "++grid.optimizer.lr=[3]"],
            "grid.optimizer.lr=[1,2] is replaced by grid.optimizer.lr=[3]",
        ),
        (["optimizer=adam", "optimizer=sgd"], "optimizer=adam is replaced by optimizer=sgd"),
        (["seeds=2", "seeds=3"], "seeds=2 is replaced by seeds=3"),
    ],
)
def test_a_word_that_a_later_word_replaces_is_said(words, note):
    assert make_spec([*BASE, *words]).notes == (note,)
    assert make_spec([*BASE, *words[1:], *words[1:]]).notes == ()


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("~optimizer.lr", "grid.optimizer.lr"),
        ("~model", "grid.model.name"),
        ("~model.width", "grid.model.width"),
    ],
)
def test_a_deleted_field_that_is_an_axis_names_the_axis(word, field):
    said = refusal(["sweep=digits", word])
    path = word.removeprefix("~")
    got = f"got {word}, but its values are those of the axis {field}"
    assert said == f"{path}: {got}; to remove the axis give ~{field}"
    assert path not in [axis.path for axis in make_spec(["sweep=digits", f"~{field}"]).grid.axes]


@pytest.mark.parametrize("config", [["sweep=digits", "grid={}"], {"sweep": "digits", "grid": {}}])
def test_an_empty_grid_is_not_dropped(config):
    said = refusal(config)
    assert said == "grid: got grid={}, which removes no axis; to remove the axes give grid=null"
    # The way out is one, and a mapping without axes is none.
    removed = make_spec([*config, "grid=null"] if isinstance(config, list) else config | {"grid": None})
    assert len(removed.grid.cells) == 1
    assert len(make_spec({"data": "iris", "grid": {}}).grid) == 1


@pytest.mark.parametrize(
    ("config", "begins"),
    [
        (["data=iris", "model=mlp"], "model: got model=mlp, and a function or arrays of your own in Python"),
        ({"data": "iris", "model": {"name": "mlp", "h": 5}}, "model: got model=mlp, and a function"),
        (
            ["sweep=digits"],
            "model: got a function or arrays of your own, but its choices are those of grid.model.name",
        ),
        (["data=iris", "grid.model=[mlp]"], "model: got a function or arrays of your own, but its choices"),
        (["data=iris", "draws.model=[mlp,mlp]"], "model: got a function or arrays of your own, but its ch"),
    ],
)
def test_a_function_of_python_is_not_dropped(config, begins):
    assert refusal(config, {"model": lambda h=3: None}).startswith(begins)


def test_the_ways_out_for_a_function_of_python_are_some():
    own = {"model": lambda h=3: None}
    for words in (["~grid.model.name"], ["grid.model=[own,mlp]"], ["data=iris", "~grid.model", "model=own"]):
        spec = make_spec(["sweep=digits", *words], own)
        assert any(config.model.name == "own" for config in spec.variants.values())


def test_long_values_are_left_out_of_messages():
    rates = {"data": "iris", "grid": {"optimizer": {"lr": [1, 2]}}}
    said = refusal(rates | {"optimizer": {"lr": list(range(1000))}})
    assert said.startswith(
        "optimizer.lr: got optimizer.lr=…, but its values are those of the axis grid.optimizer.lr"
    )


def files(directory):
    """Each file of a directory, and when and to what it was written."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(".lock")
    }


def test_a_finished_directory_is_not_written_without_training(cli, here):
    words = [*BASE, "model=mlp", "grid.model.width=[2,3]", "seeds=2", "report=true", "dir=kept"]
    assert cli("run", *words).status == 0
    before = files(here / "kept")
    refused = cli("resume", "kept", "model.width=7")
    assert refused.status == 2
    assert "~grid.model.width model.width=7" in refused.err
    for again in (
        ["run", *words],
        ["run", *words, "report=false"],
        ["resume", "kept"],
        ["resume", "kept", "seeds=[0,1]"],
        ["resume", "kept", "grid.model.width=[2,3]"],
        ["resume", "kept", "tracker.wandb.level=cell"],
    ):
        done = cli(*again)
        assert done.status == 0, done.err
        assert "all 4 trials are already in kept" in done.err
        assert done.out.splitlines()[-1] == "kept"
        assert files(here / "kept") == before, again
    for words, fields in (
        (["keep.params=1", "block=3"], "block, keep.params"),
        (["metric=val_loss"], "metric; to rank by another metric give vsweep report kept metric=…"),
        (["tracker.wandb.project=other"], "tracker.wandb.project"),
        (["segment=2", "keep.state=true"], "segment, keep.state"),
    ):
        done = cli("resume", "kept", *words)
        assert f"nothing is trained, so these fields have no effect: {fields}\n" in done.err
        assert files(here / "kept") == before
    # A directory that a word names is the sweep's own.
    refused = cli("resume", "kept", "seeds=3", "dir=other")
    assert refused.status == 2
    assert refused.err.startswith("vsweep: dir: got dir=other, and the sweep is in 'kept'; leave it out")
    assert cli("resume", "kept", "dir=./kept").status == 0
    assert files(here / "kept") == before
    # A picture is asked for, and is drawn.
    assert cli("resume", "kept", "pictures=[{curves:{by:model.width}}]").status == 0
    assert len(list((here / "kept" / "pictures").iterdir())) == 1
    # More is trained, and the command says all of it.
    assert cli("resume", "kept", "seeds=3").status == 0
    assert "seeds=3" in json.loads((here / "kept" / "plan.json").read_text())["command"]


def test_what_a_recorded_sweep_dropped_does_not_keep_it_from_growing(tmp_path, monkeypatch):
    words = [*BASE, "model=logistic", "grid.optimizer.lr=[0.1,0.2]", f"dir='{tmp_path / 'kept'}'"]
    # An earlier version took such words.
    monkeypatch.setattr("vsweep.config.spec.refuse_replaced", lambda *_: None)
    vsweep.sweep([*words, "optimizer.lr=0.5"], quiet=True)
    monkeypatch.undo()
    more = vsweep.resume(tmp_path / "kept", ["seeds=2"], quiet=True)
    assert sorted(more.trials["optimizer.lr"]) == [0.1, 0.1, 0.2, 0.2]
    with pytest.raises(ConfigError, match=r"~grid\.optimizer\.lr optimizer\.lr=0\.1"):
        vsweep.resume(tmp_path / "kept", ["optimizer.lr=0.1"], quiet=True)
    # A fixed field may become an axis, and is then no longer part of the command.
    fixed = [*BASE, "model=logistic", "optimizer.lr=0.1", f"dir='{tmp_path / 'fixed'}'"]
    vsweep.sweep(fixed, quiet=True)
    grown = vsweep.resume(tmp_path / "fixed", ["grid.optimizer.lr=[0.1,0.3]"], quiet=True)
    assert len(grown.trials) == 2
    assert " optimizer.lr=0.1" not in grown.plan["command"]
