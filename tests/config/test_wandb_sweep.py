"""A W&B sweep file as it stands becomes a grid, or draws, that need the file no more."""

import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

import vsweep
from vsweep.config.spec import make_spec
from vsweep.config.user_input import as_overrides
from vsweep.engine.plan_record import as_text
from vsweep.errors import ConfigError

GRID = """\
program: train.py
name: my sweep
method: grid
project: irises
metric: {name: val_loss, goal: minimize}
parameters:
  optimizer: {values: [sgd, adam]}
  learning_rate: {values: [1e-2, 0.1]}
  model:
    parameters:
      width: {min: 2, max: 4}
      init: {value: he_normal}
  batch_size: {value: 16}
  seed: {values: [3, 5]}
command: ["${env}", python, "${program}", "${args}"]
"""
RANDOM = """\
method: random
run_cap: 12
parameters:
  lr: {distribution: log_uniform_values, min: 0.01, max: 1.0}
  width: {values: [2, 3, 4]}
"""
SHORT = ["data=iris", "steps=4", "record_every=2", "tracker=none", "verify=false"]


@pytest.fixture
def wandb(here):
    """`wandb(text, *words)`: what the words of a file are composed to."""

    def call(text, *words):
        (here / "wandb.yaml").write_text(text)
        return make_spec(["wandb_sweep=wandb.yaml", "data=iris", *words])

    return call


def cells_of(made, *paths):
    """The values of each cell on these axes, as plain values."""
    at = {axis.path: i for i, axis in enumerate(made.grid.axes)}
    return list(zip(*(made.grid.column(at[path]).tolist() for path in paths), strict=True))


def test_a_grid_is_the_product_of_its_values(wandb):
    made = wandb(GRID)
    assert [axis.path for axis in made.grid.axes] == ["optimizer", "optimizer.lr", "model.width"]
    paths = [axis.path for axis in made.grid.axes]
    assert cells_of(made, *paths) == list(product(["sgd", "adam"], [0.01, 0.1], [2, 3, 4]))
    assert made.grid.seeds == (3, 5)
    assert {made.cell(cell).model.fields["init"] for cell in made.grid.cells.tolist()} == {"he_normal"}
    assert made.cell(0).batch_size == 16
    assert made.raw["tracker"]["wandb"]["project"] == "irises"


def test_random_is_as_many_draws_of_all_together(wandb):
    made = wandb(RANDOM.replace("12", "2000"))
    found = np.asarray(cells_of(made, "optimizer.lr", "model.width"))
    assert len(found) == 2000
    assert stats.kstest(found[:, 0], stats.loguniform(0.01, 1.0).cdf).pvalue > 0.01
    widths, counts = np.unique(found[:, 1], return_counts=True)
    assert widths.tolist() == [2, 3, 4]
    assert stats.chisquare(counts).pvalue > 0.01
    assert stats.spearmanr(found[:, 0], found[:, 1]).pvalue > 0.01


def test_the_same_file_is_the_same_draws_and_another_seed_is_others(wandb):
    first, again, other = wandb(RANDOM), wandb(RANDOM), wandb(RANDOM, "wandb_sweep.seed=1")
    paths = "optimizer.lr", "model.width"
    assert cells_of(first, *paths) == cells_of(again, *paths) != cells_of(other, *paths)
    assert len({lr for lr, _ in cells_of(first, *paths)} & {lr for lr, _ in cells_of(other, *paths)}) == 0


def test_more_runs_are_the_same_and_more(wandb):
    more = wandb(RANDOM, "wandb_sweep.run_cap=30")
    paths = "optimizer.lr", "model.width"
    assert len(more.grid) == 30
    assert cells_of(more, *paths)[:12] == cells_of(wandb(RANDOM), *paths)


def test_draws_that_are_the_same_are_trained_once(wandb):
    made = wandb(
        "method: random\nrun_cap: 200\nparameters: {width: {values: [2, 3]}, lr: {values: [0.1, 1]}}\n"
    )
    assert sorted(cells_of(made, "model.width", "optimizer.lr")) == list(product([2, 3], [0.1, 1]))
    assert made.grid.collapsed == 196


def test_the_first_runs_of_a_grid_are_those_of_wandb(wandb):
    made = wandb(GRID, "wandb_sweep.run_cap=7")
    # learning_rate, model.width, optimizer: W&B goes by their names.
    paths = "optimizer.lr", "model.width", "optimizer"
    assert cells_of(made, *paths) == list(product([0.01, 0.1], [2, 3, 4], ["sgd", "adam"]))[:7]
    assert len(wandb(GRID, "wandb_sweep.run_cap=500").grid) == 24


def test_a_thousand_draws_of_many_parameters(wandb):
    names = ["optimizer.lr", "optimizer.weight_decay", "init_scale", "diverge_above"]
    bounds = "{min: 1.5, max: 2.5}"
    parameters = "".join(f"  {name}: {bounds}\n" for name in names)
    made = wandb(f"method: random\nrun_cap: 1000\nparameters:\n{parameters}")
    assert made.grid.trials()[0].tolist() == list(range(1000))
    assert len(set(cells_of(made, *(axis.path for axis in made.grid.axes)))) == 1000


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("optimizer.lr", "optimizer.lr"),
        ("opt.lr", "optimizer.lr"),
        ("optimizer.learning_rate", "optimizer.lr"),
        ("network.hidden_size", "model.width"),
        ("hidden", "model.width"),
        ("width", "model.width"),
        ("momentum", "optimizer.momentum"),
        ("weight_decay", "optimizer.weight_decay"),
        ("steps", "steps"),
        ("data.batch_size", "data.batch_size"),
        ("batch_size", "data.batch_size"),
        ("init_scale", "model.init_scale"),
    ],
)
def test_names_count_alone_and_under_the_name_of_their_group(wandb, name, path):
    values = [0.25, 0.5] if path.rpartition(".")[2] in ("lr", "momentum", "weight_decay") else [4, 8]
    made = wandb(f"method: grid\nparameters: {{{name}: {{values: {values}}}}}\n", "optimizer=momentum")
    assert [axis.path for axis in made.grid.axes] == [path]
    assert list(made.grid.axes[0].values) == values


@pytest.mark.parametrize(
    "name",
    ["ema.decay", "augment.noise", "checkpoint.steps", "teacher.width", "config.lr", "teacher.model.width",
     "train.seed", "early_stopping.steps", "data.augment.noise", "optimizer.ema.decay"],
)  # fmt: skip
def test_a_name_of_something_else_is_not_guessed(wandb, name):
    for parameter in ("{values: [4, 8]}", "{value: 4}"):
        with pytest.raises(ConfigError) as error:
            wandb(f"method: grid\nparameters: {{lr: {{values: [1, 2]}}, {name}: {parameter}}}\n")
        assert "no such field" in str(error.value)
        assert name in str(error.value)
    left_out = wandb(
        f"method: grid\nparameters: {{lr: {{values: [1, 2]}}, {name}: {{value: 4}}}}\n",
        f"wandb_sweep.names.{name}=null",
    )
    assert [axis.path for axis in left_out.grid.axes] == ["optimizer.lr"]


def test_all_unknown_names_are_said_at_once(wandb):
    teacher = "teacher: {parameters: {width: {value: 3}}}"
    text = f"{{ema.decay: {{value: 0.9}}, lr: {{values: [1, 2]}}, {teacher}, epochs: {{value: 4}}}}"
    with pytest.raises(ConfigError) as error:
        wandb(f"method: grid\nparameters: {text}\n")
    said, way_out = str(error.value).split("; name the field of each, or null to leave it out: ")
    assert said == "parameters: in wandb.yaml: no such fields ema.decay, teacher.width, epochs"
    # The words of the message are a way out.
    assert wandb(f"method: grid\nparameters: {text}\n", *way_out.split()).cell(0).steps == 4


def test_every_name_is_said_with_its_field(wandb):
    made = wandb(GRID, "wandb_sweep.names.batch_size=null", "model.init=normal")
    (note,) = [note for note in made.notes if note.startswith("parameters of ")]
    assert note == (
        "parameters of wandb.yaml: optimizer is optimizer; learning_rate is optimizer.lr; model.width is "
        "model.width; model.init is model.init, replaced; seed is seeds; batch_size is left out"
    )
    assert "batch_size is data.batch_size=16" in " ".join(wandb(GRID).notes)


def test_values_are_replaced_as_names_are(wandb):
    parameters = "{optimizer: {values: [nag, sgd]}, act: {value: ReLU}, lr: {values: [0.1, big]}}"
    text = f"method: grid\nparameters: {parameters}\n"
    words = ["names.act=model.activation", "values.act.ReLU=relu", "values.optimizer.nag=nesterov"]
    made = wandb(
        text, *(f"wandb_sweep.{word}" for word in [*words, "values.lr.big=0.5", "values.lr.0.1=0.2"])
    )
    assert [axis.values for axis in made.grid.axes] == [("nesterov", "sgd"), (0.2, 0.5)]
    assert made.cell(0).model.fields["activation"] == "relu"


def test_a_word_replaces_what_cannot_be_done(wandb):
    text = RANDOM.replace("random", "bayes") + "early_terminate: {type: hyperband}\n"
    made = wandb(text, "wandb_sweep.method=random", "wandb_sweep.early_terminate=null")
    paths = "optimizer.lr", "model.width"
    assert cells_of(made, *paths) == cells_of(wandb(RANDOM), *paths)


PAIRS = "{values: [{lr: 0.1, width: 8}, {lr: 0.01, width: 16}, {lr: 0.1, width: 4}]}"


@pytest.mark.parametrize("name", ["pair", "lr_and_width"])
def test_mappings_are_values_that_vary_together(wandb, name):
    rows = [(0.1, 8), (0.01, 16), (0.1, 4)]
    paths = "optimizer.lr", "model.width", "model.activation"
    more = "activation: {values: [relu, tanh]}"
    made = wandb(f"method: grid\nparameters: {{{name}: {PAIRS}, {more}}}\n")
    assert cells_of(made, *paths) == [(*row, act) for row in rows for act in ("relu", "tanh")]
    # W&B takes the parameters by their names, and the last of them is the fastest.
    made = wandb(f"method: grid\nrun_cap: 4\nparameters: {{{name}: {PAIRS}, {more}}}\n")
    assert cells_of(made, *paths) == [(*row, act) for act in ("relu", "tanh") for row in rows][:4]
    made = wandb(f"method: random\nrun_cap: 300\nparameters: {{{name}: {PAIRS}, {more}}}\n")
    assert set(cells_of(made, *paths)) == {(*row, act) for row in rows for act in ("relu", "tanh")}
    assert made.grid.collapsed == 294
    # One of them can be fixed.
    made = wandb(f"method: grid\nparameters: {{{name}: {PAIRS}}}\n", "model.width=3")
    assert cells_of(made, "optimizer.lr") == [(0.1,), (0.01,)]


def test_pairs_of_a_group_and_products_of_pairs(wandb):
    group = "optimizer: {values: [{name: sgd, lr: 0.1}, {name: adam, lr: 0.01}]}"
    other = "size: {values: [{width: 2, depth: 1}, {width: 3, depth: 2}]}"
    made = wandb(
        f"method: grid\nparameters: {{{group}, {other}, misc: {{value: {{init: normal, steps: 7}}}}}}\n"
    )
    paths = "optimizer", "optimizer.lr", "model.width", "model.depth"
    expected = [(*one, *two) for one in (("sgd", 0.1), ("adam", 0.01)) for two in ((2, 1), (3, 2))]
    assert cells_of(made, *paths) == expected
    assert (made.cell(0).steps, made.cell(0).model.fields["init"]) == (7, "normal")


def test_a_dict_is_what_its_file_is(here):
    for text in (GRID, RANDOM):
        (here / "wandb.yaml").write_text(text)
        file, given = (
            make_spec({"wandb_sweep": sweep, "data": "iris", "wandb_sweep.seed": 3})
            for sweep in ("wandb.yaml", yaml.safe_load(text))
        )
        assert file.grid.axes == given.grid.axes
        assert file.grid.index.tolist() == given.grid.index.tolist()
    # Values of Python are taken as they are.
    parameters = {"lr": {"values": np.geomspace(0.1, 1.0, 3)}, "width": {"values": (2, 3)}}
    made = make_spec({"wandb_sweep": {"method": "grid", "parameters": parameters}, "data": "iris"})
    assert [len(axis.values) for axis in made.grid.axes] == [3, 2]


def test_a_word_says_what_a_name_is_of(wandb):
    text = (
        "method: grid\nparameters: {net.size: {values: [2, 4]}, dropout: {value: 0.1}, epochs: {value: 9}}\n"
    )
    words = ["net.size=model.width", "dropout=null", "epochs=steps"]
    made = wandb(text, *(f"wandb_sweep.names.{word}" for word in words))
    assert cells_of(made, "model.width") == [(2,), (4,)]
    assert made.cell(0).steps == 9


def test_text_is_a_number_where_a_field_takes_numbers_alone(wandb):
    text = (
        "method: grid\nparameters: {lr: {values: ['1e-3', '0.1', 1]}, width: {values: ['8', 16]},"
        " data.standardize: {value: 'False'}, test_fraction: {value: auto}}\n"
    )
    made = wandb(text)
    assert [axis.values for axis in made.grid.axes] == [(0.001, 0.1, 1), (8, 16)]
    assert made.raw["data"]["standardize"] is False


def test_nested_parameters_are_dotted_ones(wandb):
    nested = "{optimizer: {parameters: {name: {values: [sgd, adam]}, lr: {values: [0.1]}}}}"
    dotted = "{optimizer.name: {values: [sgd, adam]}, optimizer.lr: {values: [0.1]}}"
    one, other = (wandb(f"method: grid\nparameters: {text}\n") for text in (nested, dotted))
    assert one.grid.axes == other.grid.axes
    assert [axis.path for axis in one.grid.axes] == ["optimizer", "optimizer.lr"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("seed: {value: 7}", (7,)),
        ("seeds: {value: 3}", (0, 1, 2)),
        ("seed: {values: [4, 2]}", (4, 2)),
        ("seed: {min: 1, max: 3}", (1, 2, 3)),
    ],
)
def test_seed_is_seeds(wandb, text, seeds):
    assert wandb(f"method: grid\nparameters: {{{text}, lr: {{values: [0.1]}}}}\n").grid.seeds == seeds


def test_words_stand_for_what_the_file_says(wandb):
    made = wandb(GRID, "optimizer.lr=0.5", "seeds=2", "grid.model.width=[8,9]", "~grid.optimizer", "steps=7")
    assert [axis.path for axis in made.grid.axes] == ["model.width"]
    assert made.grid.axes[0].values == (8, 9)
    assert made.grid.seeds == (0, 1)
    assert made.cell(0).optimizer.fields["lr"] == 0.5
    assert made.cell(0).steps == 7
    # The draws of the other fields do not change.
    alone = wandb(RANDOM, "model.width=4")
    assert cells_of(alone, "optimizer.lr") == cells_of(wandb(RANDOM), "optimizer.lr")
    crossed = wandb(RANDOM, "grid.model.width=[4,8]")
    assert len(crossed.grid) == 24
    assert len(wandb(RANDOM, "model=logistic").grid) == 12


@pytest.mark.parametrize("word", ["+wandb_sweep=", "++wandb_sweep="])
def test_a_plus_before_the_word_changes_nothing(here, word):
    (here / "wandb.yaml").write_text(RANDOM)
    plain, plus = (as_overrides([f"{key}wandb.yaml", "seeds=2"]) for key in ("wandb_sweep=", word))
    assert plain == plus


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a sweep of a W&B sweep file that is there no more."""
    folder = tmp_path_factory.mktemp("wandb")
    file = folder / "wandb.yaml"
    file.write_text(RANDOM)
    vsweep.sweep([f"wandb_sweep={file}", *SHORT, f"dir='{folder / 'kept'}'", "seeds=2"], quiet=True)
    file.unlink()
    return folder / "kept"


def test_what_is_recorded_needs_no_file(here, cli, trained):
    shutil.copytree(trained, here / "kept")
    raw = yaml.safe_load((here / "kept" / "config.yaml").read_text())
    record = json.loads((here / "kept" / "plan.json").read_text())
    assert "wandb.yaml" not in record["command"]
    table = vsweep.load("kept").trials
    assert table[["optimizer.lr", "model.width"]].iloc[::2].to_numpy().T.tolist() == [
        raw["draws"]["optimizer"]["lr"],
        raw["draws"]["model"]["width"],
    ]
    done = cli("resume", "kept", "seeds=3")
    assert (done.status, done.out) == (0, "kept\n"), done.err
    assert "24 of 36 trials are already in kept" in done.err
    grown = vsweep.load("kept").trials
    both = grown[grown["seed"] < 2].reset_index(drop=True)
    assert both["identity"].tolist() == table["identity"].tolist()
    assert both["final_val_loss"].tolist() == table["final_val_loss"].tolist()


def test_more_runs_go_on_from_those_that_are_there(here, trained):
    shutil.copytree(trained, here / "kept")
    (here / "wandb.yaml").write_text(RANDOM)
    more = ["wandb_sweep=wandb.yaml", "wandb_sweep.run_cap=20"]
    before = vsweep.load("kept").trials
    grown = vsweep.resume("kept", more, quiet=True).trials
    assert grown["identity"].tolist()[:24] == before["identity"].tolist()
    assert grown["final_val_loss"].tolist()[:24] == before["final_val_loss"].tolist()
    assert len(grown) == 40


def test_what_is_not_used_is_said(here, cli):
    (here / "wandb.yaml").write_text(GRID)
    _, planned = vsweep.plan({"wandb_sweep": "wandb.yaml", "data": "iris", "tracker": "none"})
    text = as_text("x", planned)
    for key in ("program", "command", "metric"):
        assert f"note: {key} of wandb.yaml is not used: " in text
    done = cli("plan", "+wandb_sweep=wandb.yaml", "wandb_sweep.run_cap=5", *SHORT)
    assert done.status == 0
    assert "note: run_cap of wandb.yaml counts cells: each is trained with every seed" in done.out


def test_a_path_may_be_any_text(here):
    (here / "my sweeps").mkdir()
    (here / "my sweeps" / "it's a=1, b.yaml").write_text(RANDOM)
    path = "my sweeps/it's a=1, b.yaml"
    for given in ([f"wandb_sweep={path}", "data=iris"], {"wandb_sweep": path, "data": "iris"}):
        assert len(make_spec(given).grid) == 12


def test_gradients_of_a_wandb_sweep_are_checked(here, cli):
    (here / "wandb.yaml").write_text(RANDOM)
    done = cli("check", "wandb_sweep=wandb.yaml", "model=logistic", *SHORT)
    assert done.status == 0, done.err
    assert "gradients agree" in done.out


@pytest.mark.tail
def test_multirun_makes_a_sweep_of_each_job(here, cli):
    (here / "wandb.yaml").write_text(RANDOM)
    words = ["wandb_sweep=wandb.yaml", "wandb_sweep.run_cap=3", *SHORT, "hydra.sweep.dir=jobs"]
    done = cli("run", "-m", "model=logistic", "seeds=1,2", *words)
    assert done.status == 0, done.err
    tables = [vsweep.load(here / "jobs" / name).trials for name in "01"]
    assert tables[0]["optimizer.lr"].tolist() == tables[1]["optimizer.lr"].tolist()[::2]
    assert [len(table) for table in tables] == [3, 6]


@pytest.mark.tail
def test_the_example_of_the_documentation_as_it_is_written(here, cli):
    page = (Path(__file__).parents[2] / "docs" / "wandb.md").read_text()
    section = page.partition("## Run a W&B sweep file\n")[2].partition("\n## ")[0]
    (here / "sweep.yaml").write_text(re.search("```yaml\n(.*?)```", section, re.DOTALL)[1])
    commands = re.findall("^vsweep (.*?)(?: +#.*)?$", section, re.MULTILINE)
    assert [words.split()[0] for words in commands] == ["plan", "run", "resume"]
    done = cli(*commands[0].split())
    assert done.status == 0, done.err
    assert "50 trials = 50 cells × 1 seed" in done.out
    done = cli(*commands[1].split(), "tracker=none")
    assert done.status == 0, done.err
    words = commands[2].replace("DIR", done.out.strip()).split()
    done = cli(*words)
    assert done.status == 0, done.err
    assert "50 of 80 trials are already in" in done.err


@pytest.mark.parametrize(
    "parameter",
    [
        "ema: {values: [{decay: 0.8}, {decay: 0.9}]}",
        "teacher: {value: {width: 3}}",
        "augment: {values: [{noise: 0.1}]}",
        "checkpoint: {value: {steps: 3}}",
    ],
)
def test_a_mapping_of_one_field_is_no_pair(wandb, parameter):
    with pytest.raises(ConfigError, match="no such field") as error:
        wandb(f"method: grid\nparameters: {{{parameter}, lr: {{values: [1, 2]}}}}\n")
    name = error.value.field.removeprefix("parameters.")
    assert f"wandb_sweep.names.{name}=" in str(error.value)


@pytest.mark.parametrize(
    "name", ["optimizer.wd", "scheduler.gamma", "optimizer.rho", "optimizer.nag", "opt.alpha"]
)
def test_a_name_that_is_only_like_a_field_is_not_guessed_in_its_group(wandb, name):
    with pytest.raises(ConfigError, match=rf"^parameters\.{name}: in wandb\.yaml: no such field"):
        wandb(f"method: grid\nparameters: {{{name}: {{values: [0.1, 0.2]}}}}\n")


def test_unknown_fields_of_groups_are_said_with_the_others(wandb):
    names = ["optimizer.nag", "schedule.patience", "epochs", "ema.decay"]
    text = ", ".join(f"{name}: {{value: 3}}" for name in names)
    with pytest.raises(ConfigError, match="no such fields " + ", ".join(names)):
        wandb(f"method: grid\nparameters: {{{text}}}\n")


def test_all_unknown_choices_are_said_at_once(wandb):
    text = "method: grid\nparameters: {optimizer: {values: [Adam, SGD]}, model: {value: MLP}}\n"
    with pytest.raises(ConfigError) as error:
        wandb(text)
    words = str(error.value).partition("give another choice for each: ")[2].split()
    made = wandb(text, *words)
    assert [axis.values for axis in made.grid.axes] == [("adam", "sgd")]


def test_values_are_named_as_the_file_writes_them(wandb):
    text = "method: grid\nparameters: {batch_size: {values: [8, null]}, record_params: {value: true}}\n"
    made = wandb(text, "wandb_sweep.values.batch_size.null=16", "wandb_sweep.values.record_params.true=false")
    assert made.grid.axes[0].values == (8, 16)
    assert made.cell(0).record_params is False
    uniform = "method: random\nrun_cap: 2\nparameters: {lr: {min: 0.1, max: 0.2}}\n"
    with pytest.raises(ConfigError, match=r"lr has no such value; it has a distribution$"):
        wandb(uniform, "wandb_sweep.values.lr.3=4")


@pytest.mark.parametrize(
    ("seed", "said"),
    [("seed: {value: 42}", "seed is seeds=[42]"), ("seeds: {value: 3}", "seeds is seeds=3"),
     ("seed: {values: [1, 2]}", "seed is seeds;")],
)  # fmt: skip
def test_a_constant_seed_is_said(wandb, seed, said):
    made = wandb(f"method: grid\nparameters: {{{seed}, lr: {{values: [0.1]}}}}\n")
    assert said in made.notes[-1]


def test_an_empty_dict_is_no_sweep():
    with pytest.raises(ConfigError, match=r"^method: got nothing"):
        make_spec({"wandb_sweep": {}, "data": "iris"})
