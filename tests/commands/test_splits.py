"""Splits are replicates: every cell is trained on each, and each is what it would be alone."""

import json

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.sharding import Mesh
from sklearn.datasets import load_iris

import vsweep
from vsweep.analysis.decision_boundary import boundaries_of
from vsweep.analysis.errors import describe_errors
from vsweep.analysis.ranking import describe_test
from vsweep.analysis.response import rank_response
from vsweep.analysis.significance import values_by_seed
from vsweep.commands.directory import trial_table
from vsweep.config import spec as specs
from vsweep.config.spec import make_spec
from vsweep.engine import autotune, compiler, executor, inputs
from vsweep.engine import plan as plans
from vsweep.engine.plan_record import as_text
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import ConfigError
from vsweep.metrics import axes_of, followers_of, replicates
from vsweep.tasks.data.splits import split
from vsweep.trackers.check_tables import print_verification
from vsweep.trackers.wandb.runs import Runs

QUIET = ["tracker=none", "verify=false"]
WORDS = [
    "data=iris",
    "model=logistic",
    "model.init=normal",
    "grid.optimizer.lr=[0.1,1.0]",
    "seeds=2",
    "steps=6",
    "record_every=3",
    "keep.params=all",
    *QUIET,
]


def sweep(directory, *words):
    return vsweep.sweep([*WORDS, *words, f"dir='{directory}'"], quiet=True)


def of_trials(made, chosen):
    """The trials without their numbers, and their curves, by row."""
    trials = made.trials[chosen]
    named = [name for name in trials if name == "identity" or name.startswith(("final_", "best_"))]
    curves = [made.curves_of([trial]).drop(columns="trial") for trial in trials["trial"]]
    return trials[named].reset_index(drop=True), curves


def assert_same(one, other):
    pd.testing.assert_frame_equal(one[0], other[0], check_exact=True)
    for first, second in zip(one[1], other[1], strict=True):
        pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("splits") / "kept", "data.splits=3")


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("folds") / "kept", "data.folds=4", "data.split_seed=5")


@pytest.fixture
def trained(monkeypatch):
    """The number of the trials that were trained."""
    seen = []
    whole = executor.trained_block

    def count(program, block, curves, **options):
        seen.extend(block.rows.tolist())
        return whole(program, block, curves, **options)

    monkeypatch.setattr(executor, "trained_block", count)
    return seen


def test_trials_go_by_axes_then_splits_then_seeds(held_out):
    trials = held_out.trials
    assert trials.columns[:5].tolist() == ["trial", "cell", "split", "seed", "optimizer.lr"]
    assert trials["split"].dtype == np.int64
    assert axes_of(trials) == ["optimizer.lr"]
    assert followers_of(trials) == []
    want = [(lr, split, seed) for lr in (0.1, 1.0) for split in range(3) for seed in range(2)]
    assert list(zip(trials["optimizer.lr"], trials["split"], trials["seed"], strict=True)) == want
    assert trials["trial"].tolist() == list(range(12))
    assert trials["cell"].tolist() == [0] * 6 + [1] * 6
    assert held_out.cells()["seeds"].tolist() == [6, 6]


def test_splits_stand_between_followers_and_seeds_whatever_cells_are_collapsed():
    words = ["data=iris", "grid.model.name=[logistic,mlp]", "grid.model.width=[2,3]", "seeds=[7,3]"]
    words += ["grid.optimizer.lr=[0.1,1.0]", "optimizer.weight_decay=${optimizer.lr}", "data.splits=3"]
    rows = trial_table(vsweep.plan([*words, "tracker=none"])[1]).rows
    assert rows.columns[:5].tolist() == ["trial", "cell", "optimizer.weight_decay", "split", "seed"]
    assert followers_of(rows) == ["optimizer.weight_decay"]
    assert rows["cell"].unique().tolist() == [0, 1, 4, 5, 6, 7]
    place = rows["seed"].map({7: 0, 3: 1})
    assert rows["trial"].tolist() == ((rows["cell"] * 3 + rows["split"]) * 2 + place).tolist()
    assert rows["trial"].is_monotonic_increasing
    assert len(rows) == 6 * 3 * 2


@pytest.mark.parametrize("number", range(3))
def test_a_split_is_what_it_is_alone(held_out, tmp_path, number):
    """Split 0 has the seed of the split of before, so that its trials are those of before."""
    alone = sweep(tmp_path / "alone", f"data.split_seed={number}")
    assert "split" not in alone.trials
    assert_same(
        of_trials(held_out, held_out.trials["split"] == number), of_trials(alone, alone.trials["cell"] >= 0)
    )


@pytest.mark.parametrize(("name", "trial"), [("held_out", 9), ("folded", 13)])
def test_a_trial_is_trained_again_on_its_own_split(request, tmp_path, name, trial):
    made = request.getfixturevalue(name)
    again = vsweep.reproduce(made.directory, trial, to=tmp_path / "again")
    assert_same(
        of_trials(made, made.trials["trial"] == trial),
        of_trials(again.sweep, again.sweep.trials["cell"] >= 0),
    )
    for key, array in made.params(trial).items():
        np.testing.assert_array_equal(again.params[key], array)
    x = load_iris().data
    np.testing.assert_array_equal(again.predictor.outputs(x), made.predictor(trial).outputs(x))
    # The words alone compose the same trial.
    assert make_spec(again.overrides).variants == again.sweep._spec.variants


def test_an_axis_over_the_seed_of_the_split_is_its_splits(tmp_path, held_out):
    made = sweep(tmp_path / "axis", "grid.data.split_seed=[2,0]")
    assert axes_of(made.trials) == ["optimizer.lr"]
    assert len(made.cells()) == 2
    for place, number in enumerate([2, 0]):
        assert_same(
            of_trials(made, made.trials["split"] == place),
            of_trials(held_out, held_out.trials["split"] == number),
        )
    again = sweep(tmp_path / "axis", "grid.data.split_seed=[2,0,1]")
    assert set(again.trials["identity"]) == set(held_out.trials["identity"])


def test_a_directory_of_before_has_its_axis(tmp_path, monkeypatch, trained):
    """An earlier version ranked the seeds of splits."""
    with monkeypatch.context() as earlier:
        earlier.setattr(specs, "split_overrides", lambda *_: [])
        made = sweep(tmp_path / "before", "grid.data.split_seed=[0,1]")
    text = (made.directory / "trials.parquet").read_bytes()
    del trained[:]
    loaded = vsweep.load(made.directory)
    assert axes_of(loaded.trials) == ["optimizer.lr", "data.split_seed"]
    assert len(loaded.cells()) == 4
    x, outputs = load_iris().data, made.predictor(2).outputs(load_iris().data)
    np.testing.assert_array_equal(loaded.predictor(2).outputs(x), outputs)
    assert "data.split_seed=1" in loaded.overrides(1)
    assert vsweep.verify(made.directory, k=1, quiet=True)["wrong"] == []
    del trained[:]
    assert vsweep.resume(made.directory, quiet=True).trials.equals(loaded.trials)
    assert (made.directory / "trials.parquet").read_bytes() == text
    assert not trained
    grown = vsweep.resume(made.directory, ["seeds=3"], quiet=True)
    assert len(trained) == 4
    assert axes_of(grown.trials) == ["optimizer.lr"]
    assert grown.trials["split"].tolist() == [0, 0, 0, 1, 1, 1] * 2


def test_more_splits_and_more_seeds_are_added(tmp_path, trained, held_out):
    directory = sweep(tmp_path / "grown", "seeds=1").directory
    assert len(trained) == 2
    assert "split" not in vsweep.load(directory).trials
    vsweep.resume(directory, ["data.splits=2"], quiet=True)
    assert len(trained) == 4
    vsweep.resume(directory, ["seeds=2"], quiet=True)
    assert len(trained) == 8
    made = vsweep.resume(directory, {"data": {"splits": 3}}, quiet=True)
    assert len(trained) == 12
    same = made.trials.drop(columns="identity").equals(held_out.trials.drop(columns="identity"))
    assert same
    assert made.trials["identity"].tolist() == held_out.trials["identity"].tolist()
    pd.testing.assert_frame_equal(made.curves, held_out.curves, check_exact=True)
    with pytest.raises(ConfigError, match="trials that are not in this sweep"):
        vsweep.resume(directory, ["data.split_seed=1"], quiet=True)


def test_the_plan_has_a_line_for_all_programs_that_share_an_executable():
    spec, planned = vsweep.plan([*WORDS, "data.splits=40"])
    lines = as_text(spec.name, planned).splitlines()
    programs = [line for line in lines if line.startswith("  program")]
    assert len(programs) == 2
    assert programs[0].startswith("  program 1: ")
    assert programs[1].startswith("  programs 2 to 40: the same on other splits, ")


@pytest.mark.parametrize(
    ("words", "compilations"),
    [
        (["data.splits=2"], 1),
        (["data.splits=6"], 1),
        (["data.folds=4"], 1),
        (["data.folds=5"], 1),
        (["data.folds=4", "data.test_fraction=0"], 1),
        (["data.folds=4", "data.test_fraction=0.2", "data.batch_size=16"], 1),
        (["data.folds=4", "data.test_fraction=0", "data.batch_size=16"], 2),
    ],
)
def test_splits_of_one_shape_share_one_compilation(tmp_path, monkeypatch, words, compilations):
    seen = []
    compile_block = compiler.compile_block

    def count(*arguments, **options):
        seen.append(arguments)
        return compile_block(*arguments, **options)

    monkeypatch.setattr(compiler, "compile_block", count)
    _, planned = vsweep.plan([*WORDS, *words])
    assert planned.compilations == compilations
    sweep(tmp_path / "counted", *words)
    assert len(seen) == compilations


def test_a_loss_of_the_user_sees_no_padding():
    def spread(outputs, targets):
        return jnp.broadcast_to(jnp.var(outputs), targets.shape)

    spec = make_spec([*WORDS, "data.folds=4", "data.test_fraction=0"], {"loss": spread})
    planned = plans.make_plan(spec, plans.Hardware("cpu", 1))
    assert planned.compilations == 2
    assert all(program.inputs.arrays.train.count is None for program in planned.programs)


@pytest.mark.parametrize(
    "words",
    [
        ["data.folds=4", "data.test_fraction=0"],
        ["data.folds=7", "data.test_fraction=0.2", "model=mlp", "grid.model.width=[2,5]", "metric=val_f1"],
        ["data=diabetes", "model=linear", "data.folds=3", "data.test_fraction=0.1"],
        ["data=moons", "data.rows=50", "data.folds=3", "metric=val_auc", "dtype=float64"],
        ["data.folds=4", "data.test_fraction=0", "data.fold=2"],
    ],
)
def test_unequal_folds_are_what_they_are_alone(tmp_path, monkeypatch, words):
    made = sweep(tmp_path / "padded", *words)
    with monkeypatch.context() as alone:
        alone.setattr(inputs.Inputs, "is_padded", False)
        want = sweep(tmp_path / "alone", *words)
    assert made.trials["identity"].tolist() == want.trials["identity"].tolist()
    values = [name for name in want.trials if name.startswith(("final_", "best_"))]
    assert any(name.startswith("final_val_") for name in values)
    for column in (name for name in made.trials if name.startswith("parts_")):
        assert made.trials[column].map(len).nunique() == 1
    # Folds share the test examples, which have the same groups with padding and without.
    for column in (name for name in made.trials if name.startswith("parts_test_")):
        for one, other in zip(made.trials[column], want.trials[column], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3)
    errors = ["sem", "examples_sem", "splits_sem", "error"]
    np.testing.assert_allclose(made.cells()[errors], want.cells()[errors], rtol=0.35)
    for one, other in ((made.trials[values], want.trials[values]), (made.curves, want.curves)):
        pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-6)
    assert vsweep.verify(made.directory, k=2, quiet=True)["wrong"] == []


def test_the_fastest_arrangement_is_that_of_all_splits(monkeypatch):
    tried = []

    def fastest(program, arrangements, _):
        tried.append(program.number)
        return 1e-9, arrangements[-1]

    monkeypatch.setattr(autotune, "_WORTH", 0)
    monkeypatch.setattr(autotune, "_fastest", fastest)
    planned = plans.make_plan(make_spec([*WORDS, "data.splits=3", "seeds=200"]), plans.Hardware("cpu", 1))
    tuned = autotune.autotune(planned, None, TimingCache())
    assert tried == [0]
    assert planned.programs[0].arrangement != tuned.programs[0].arrangement
    assert len({(program.arrangement, program.segment) for program in tuned.programs}) == 1


def test_the_data_are_read_once(monkeypatch):
    read = []

    def data(**_):
        read.append(1)
        return load_iris(return_X_y=True)

    plans.make_plan(make_spec([*WORDS[1:], "data.splits=4"], {"data": data}), plans.Hardware("cpu", 1))
    assert len(read) == 1


def test_the_plan_counts_splits_and_trainings():
    from vsweep.engine.plan_record import as_text

    text = as_text("x", vsweep.plan([*WORDS, "data.splits=3"])[1])
    assert "x: 12 trials = 2 cells × 3 splits × 2 seeds, in 3 programs that share 1 compilation" in text
    assert text.count("baseline: ") == text.count("\n  data ") == 1
    text = as_text("x", vsweep.plan([*WORDS, "data.folds=3"])[1])
    assert "x: 12 trials = 2 cells × 3 folds × 2 seeds" in text


def test_a_predictor_standardizes_as_its_own_split_does(folded):
    x, y = load_iris(return_X_y=True)
    for trial in (0, 3, 15):
        dataset = vsweep.plan(WORDS)[1].programs[0].inputs.split.dataset
        options = {"test_fraction": "auto", "standardize": False, "stratify": True}
        fold = int(folded.trials["split"][trial])
        train, val, _ = split(dataset, None, 5, folds=4, fold=fold, **options).places
        params = folded.params(trial)
        scaled = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
        outputs = scaled @ params["0.w"].T + params["0.b"]
        np.testing.assert_allclose(folded.predictor(trial).outputs(x), outputs, atol=1e-5)
        accuracy = np.mean(outputs[val].argmax(axis=1) == y[val])
        assert folded.trials["final_val_accuracy"][trial] == pytest.approx(accuracy)


def test_the_overrides_of_a_cell_train_all_its_splits(held_out, folded):
    for made in (held_out, folded):
        again = make_spec(made.overrides(1))
        assert again.grid.splits * 2 == len(again.grid) == len(made.trials) / 2
        assert again.cell(0) == made._spec.cell(1)


def test_a_fold_alone_grows_to_all(tmp_path, trained, folded):
    made = sweep(tmp_path / "fold", "data.folds=4", "data.split_seed=5", "data.fold=2")
    assert_same(of_trials(made, made.trials["cell"] >= 0), of_trials(folded, folded.trials["split"] == 2))
    del trained[:]
    made = vsweep.resume(made.directory, ["data.fold=null"], quiet=True)
    assert len(trained) == 12
    assert made.trials.equals(folded.trials)


def test_the_constant_guess_is_the_mean_over_splits(tmp_path):
    from sklearn.datasets import load_diabetes

    words = ["data=diabetes", "model=linear", "data.folds=3", "steps=1", *QUIET, f"dir='{tmp_path / 'kept'}'"]
    made = vsweep.sweep(words, quiet=True)
    y, planned = load_diabetes().target, vsweep.plan(words[:-1])[1]
    rmse = []
    for part in planned.splits.values():
        train, val, _ = part.places
        rmse.append(np.sqrt(np.mean((y[val] - y[train].mean()) ** 2)))
    assert len(set(rmse)) == 3
    assert made.baseline_of(0)["val_rmse"] == pytest.approx(np.mean(rmse))
    assert made.baseline == made.baseline_of(0)


def test_replicates_of_two_splits_are_not_mixed(held_out):
    trials = held_out.trials
    assert replicates(trials).tolist() == [0, 0, 1, 1, 2, 2] * 2
    values = values_by_seed(trials, trials["final_val_loss"], [1, 0])
    losses = trials["final_val_loss"].to_numpy(np.float64).reshape(2, 3, 2)
    np.testing.assert_allclose(values, losses.mean(axis=2)[::-1], rtol=1e-15)
    assert rank_response(trials, "val_loss").values.shape == (2, 3)
    plain = trials[trials["split"] == 0].drop(columns="split")
    assert replicates(plain).tolist() == plain["seed"].tolist()


def test_errors_and_tests_name_the_splits(held_out, folded):
    text = describe_errors(held_out.cells())
    assert text.startswith("± is the standard error over splits (")
    assert "which covers the held-out examples and the luck of seeds" in text
    text = describe_test(held_out, "val_accuracy")
    assert text.startswith("test sets: the best cell has test_accuracy ")
    assert ", the mean over 3 splits; the test examples of one may be validation examples of another" in text
    assert "no part in choosing" not in text
    text = describe_test(folded, "val_accuracy")
    assert " (± over 4 folds, not over examples); these examples had no part in choosing it" in text


def test_checks_train_on_every_split(tmp_path, folded, capsys):
    verified = vsweep.verify(folded.directory, k=16, quiet=True)
    assert verified["wrong"] == []
    retrained = pd.DataFrame(verified["trials"]).sort_values("trial", ignore_index=True)
    columns = ["trial", "cell", "split", "seed"]
    pd.testing.assert_frame_equal(retrained[columns], folded.trials[columns], check_dtype=False)
    print_verification(verified)
    shown = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["trial", "split", "seed"] in [row[:3] for row in shown]
    assert ["13", "2", "1"] in [row[:3] for row in shown]
    confirmed = vsweep.confirm(folded.directory, top=1, seeds=2, quiet=True)
    (folder,) = (folded.directory / "confirm").iterdir()
    trials = vsweep.load(folder).trials
    assert trials["split"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert trials["seed"].tolist() == [2, 3] * 4
    values = trials[f"final_{confirmed.metric}"].astype(float)
    assert confirmed.cells["confirmed"].tolist() == pytest.approx([values.mean()])


def test_runs_of_wandb_name_the_split(held_out):
    runs = list(Runs(held_out.directory, "trial").build([2, 9], 10))
    assert [run.name for run in runs] == ["lr=0.1 split=1 seed=0", "lr=1 split=1 seed=1"]
    assert runs[0].config["split"] == 1
    assert runs[0].config["data"]["split_seed"] == 1
    assert runs[0].config["data"]["splits"] == 1
    assert "split" not in runs[0].summary
    assert len({run.id for run in runs}) == 2
    assert len(Runs(held_out.directory, "cell").ids) == 2


def test_pictures_and_the_report_show_each_model_as_its_split_has_it(tmp_path):
    words = ["data=moons", "model=logistic", "data.splits=3", "steps=5", "keep.params=all", *QUIET]
    made = vsweep.sweep([*words, f"dir='{tmp_path / 'moons'}'"], quiet=True)
    assert len(made.plan["data"]) == 3
    boundaries = boundaries_of(made)
    assert "split 0" in boundaries.caption
    lines = boundaries.panels[0].seeds
    assert len(lines) == 3
    for trial, line in enumerate(lines):
        outputs = made.predictor(trial).outputs(line)
        np.testing.assert_allclose(outputs[:, -1] - outputs[:, 0] * (outputs.shape[1] > 1), 0.0, atol=1e-4)
    assert "split 0" in made.report().read_text()
    examples = made.examples
    assert (examples["part"] == "val").sum() == round(0.2 * len(examples))


def test_python_and_sweep_files_of_wandb_give_splits(tmp_path):
    made = make_spec({"data": {"name": "iris", "splits": 3}, "tracker": "none"})
    assert made.grid.splits == 3
    axis = make_spec({"grid": {"data": {"split_seed": {"range": [3, 6]}}}, "tracker": "none"})
    assert axis.grid.splits == 3
    assert not axis.grid.axes
    assert axis.cell(0).of_split(2).split_seed == 5
    assert make_spec({"data": {"name": "iris", "splits": [4, 7]}}).cell(0).of_split(1).split_seed == 7
    content = {"method": "grid", "parameters": {"data.split_seed": {"values": [0, 1]}}}
    assert make_spec({"wandb_sweep": content, "tracker": "none"}).grid.splits == 2
    content = {"method": "grid", "parameters": {"data.folds": {"value": 4}, "seeds": {"value": 2}}}
    assert len(make_spec({"wandb_sweep": content, "tracker": "none"}).grid) == 8


def test_another_number_of_devices_gives_the_same(tmp_path, monkeypatch, held_out):
    mesh = plans.trial_mesh()
    if mesh.devices.size < 2:
        pytest.skip("this machine has one device")
    monkeypatch.setattr(plans, "trial_mesh", lambda: Mesh(mesh.devices[:1], mesh.axis_names))
    alone = sweep(tmp_path / "one", "data.splits=3")
    assert json.loads((alone.directory / "plan.json").read_text())["devices"]["devices"] == 1
    assert alone.trials["identity"].tolist() == held_out.trials["identity"].tolist()
    pd.testing.assert_frame_equal(alone.curves, held_out.curves, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.folds=1"], "data.folds: got 1; it takes an integer of at least 2, or null"),
        (
            ["data.folds=149"],
            "data.folds: got 149, and there are 135 rows without the test's;"
            " it takes an integer from 2 to 135",
        ),
        (
            ["data.folds=3", "data.splits=2"],
            "data.splits: got 2, and data.folds=3;"
            " give either repeated splits or folds, and leave the other out",
        ),
        (
            ["data.folds=3", "data.val_fraction=0.2"],
            "data.val_fraction: got 0.2, and data.folds=3, whose validation part is a fold;"
            " leave one of them out",
        ),
        (
            ["data.folds=3", "grid.data.val_fraction=[0.1,0.2]"],
            "grid.data.val_fraction: got 0.1, and data.folds=3, whose validation part is a fold;"
            " leave one of them out",
        ),
        (
            ["data.val_fraction=null"],
            "data.val_fraction: got null, and no data.folds; it takes a number from 0 to below 1, or"
            " data.folds in its place",
        ),
        (
            ["data.fold=1"],
            "data.fold: got 1, and no data.folds; give data.folds=… with it, or leave it out",
        ),
        (
            ["data.folds=3", "data.fold=3"],
            "data.fold: got 3 of 3 folds; it takes an integer from 0 to 2, or null",
        ),
        (
            ["data.splits=2", "data.val_fraction=0", "data.test_fraction=0"],
            "data.splits: got 2, and data=iris holds no examples out, so all splits are the same;"
            " leave it out, or hold examples out with data.val_fraction=…",
        ),
        (
            ["data.splits=2", "data.split_seed=2147483647"],
            "data.splits: got 2 from data.split_seed=2147483647 on; seeds of splits are below 2147483648",
        ),
        *(
            ([f"{part}.{path}=[2,3]"], f"{part}.{path}: not an axis; give one value of {path} for all cells")
            for part in ("grid", "draws")
            for path in ("data.splits", "data.folds", "data.fold")
        ),
        (
            ["grid.data.split_seed=[0,-1]"],
            "grid.data.split_seed: got -1; it takes an integer of at least 0",
        ),
        (
            ["grid.data.split_seed=[0,1]", "data.splits=2"],
            "grid.data.split_seed: got [0, 1], each a split of every cell, and data.splits=2;"
            " leave one of them out; ~grid.data.split_seed removes the axis",
        ),
        (
            ["grid.data.split_seed=[0,1]", "data.folds=3"],
            "grid.data.split_seed: got [0, 1], each a split of every cell, and data.folds=3;"
            " leave one of them out; ~grid.data.split_seed removes the axis",
        ),
        (
            ["grid.data.split_seed=[2,3]", "steps=${data.split_seed}"],
            "steps: follows grid.data.split_seed, whose values are the splits of every cell, and no axis;"
            " give draws.data.split_seed=[…] for an axis",
        ),
        (
            ["draws.data.split_seed=[0,1]", "data.splits=2"],
            "data.split_seed: got values that differ between cells, which are trained on 2 splits each;"
            " give one value, or no splits",
        ),
    ],
)  # fmt: skip
def test_what_describes_no_splits_is_refused(words, message):
    with pytest.raises(ConfigError) as error:
        vsweep.plan(["data=iris", "model=logistic", "tracker=none", *words])
    assert str(error.value) == message


@pytest.mark.parametrize("word", ["data.splits=2", "data.folds=2"])
def test_a_function_to_minimize_has_no_splits(word):
    with pytest.raises(
        ConfigError, match=f"{word.partition('=')[0]}: got 2, and data=none holds no examples"
    ):
        vsweep.plan(["model=point", "data=none", "loss=quartic", "model.x=1.0", "tracker=none", word])
