"""The metric that ranks means the same in every cell, and stands beside a constant guess."""

import json
from base64 import b64decode

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import f1_score, r2_score, root_mean_squared_error
from store_helpers import forge

import vsweep
from vsweep.analysis.errors import is_seedless
from vsweep.analysis.ranking import describe_baseline, leading_cells
from vsweep.config.spec import make_spec
from vsweep.engine.plan import make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.errors import ConfigError
from vsweep.reports.page import cell_data
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.splits import split

QUIET = ["tracker=none", "verify=false"]


def sweep(folder, *words, **more):
    return vsweep.sweep([*words, *QUIET, f"dir='{folder / 'kept'}'"], quiet=True, **more)


def parts_of(made, x, y):
    """The rows of each part."""
    classes = tuple(map(str, np.unique(y))) if y.dtype.kind == "i" else ()
    config = made.config["data"]
    options = {name: config[name] for name in ("test_fraction", "standardize", "stratify")}
    dataset = Dataset(x, y, classes, tuple(map(str, range(x.shape[1]))))
    return split(dataset, config["val_fraction"], config["split_seed"], **options).places


def test_losses_are_ranked_by_the_error_of_their_predictions(tmp_path):
    """The smaller of two losses is no better model: a huber of far residuals is small by definition."""
    words = [
        "data=diabetes",
        "model=linear",
        "grid.loss=[squared_error,huber]",
        "grid.optimizer.lr=[0.01,0.1]",
    ]
    made = sweep(tmp_path, *words, "steps=50", "seeds=2", "keep.params=all")
    x, y = load_diabetes(return_X_y=True)
    _, val, _ = parts_of(made, x, y)
    for trial in made.trials.to_dict("records"):
        predicted = made.predictor(trial["trial"])(x[val])
        assert trial["final_val_rmse"] == pytest.approx(root_mean_squared_error(y[val], predicted), rel=1e-5)
        assert trial["final_val_r2"] == pytest.approx(r2_score(y[val], predicted), rel=1e-4)
        assert trial["final_val_mae"] == pytest.approx(np.abs(y[val] - predicted).mean(), rel=1e-5)
    assert made.metric == "val_rmse"
    assert made.best()["loss"] == "squared_error"
    assert made.cells()["mean"].is_monotonic_increasing
    assert made.cells("val_r2")["cell"].tolist() == made.cells()["cell"].tolist()


@pytest.mark.parametrize("axis", ["grid.loss=[squared_error,huber]", "grid.loss.delta=[0.1,1.0]"])
def test_a_loss_that_differs_between_cells_ranks_within_each_value(tmp_path, axis):
    words = [
        "data=diabetes",
        "model=linear",
        axis,
        "grid.optimizer.lr=[0.01,0.1]",
        "metric=val_loss",
        "steps=20",
    ]
    made = sweep(tmp_path, *words, *([] if "=[s" in axis else ["loss=huber"]), "seeds=2")
    cells, name = made.cells(), axis.removeprefix("grid.").partition("=")[0]
    assert made.metric == "val_loss"
    for _, part in cells.groupby(name):
        assert part["rank"].tolist() == [1, 2]
        assert part["mean"].is_monotonic_increasing
    with pytest.raises(ValueError, match=f"another quantity for each value of {name}"):
        made.best()
    with pytest.raises(KeyError, match=r"sweep\.where"):
        made.tables.effects("optimizer.lr")
    assert made.tables.effects(name)["trials"].tolist() == [4, 4]
    one = made.where({name: cells[name].iloc[0]})
    assert one.best()["cell"] == cells["cell"].iloc[0]
    # By the error, all cells can be compared.
    assert made.cells("val_rmse")["rank"].tolist() == [1, 2, 3, 4]
    assert "cells are ranked within each" in made.report().read_text()


def test_each_function_has_its_own_ranking_and_its_own_parameters(tmp_path, capsys):
    words = ["data=none", "model=point", "grid.loss=[parabola,quartic]", "grid.model.x=[-1.0,0.5]", "steps=5"]
    made = sweep(tmp_path, *words, "keep.params=1")
    cells = made.cells()
    assert cells["rank"].tolist() == [1, 2, 1, 2]
    for cell in cells.loc[cells["rank"] == 1, "cell"]:
        (trial,) = made.trials.loc[made.trials["cell"] == cell, "trial"]
        assert made.params(trial)
    page = cell_data(made, cells)
    ranks, among = (
        np.frombuffer(b64decode(page[name]["data"]), "<i4").tolist() for name in ("rank", "ranked")
    )
    assert (ranks, among) == ([1, 2, 1, 2], [2, 2, 2, 2])


def test_two_data_sets_are_not_compared(tmp_path):
    made = sweep(
        tmp_path, "grid.data=[iris,wine]", "model=logistic", "steps=3", "grid.optimizer.lr=[0.1,0.2]"
    )
    assert made.cells()["rank"].tolist() == [1, 2, 1, 2]
    assert made.cells()["data"].tolist() == ["iris", "iris", "wine", "wine"]


def test_the_metric_that_is_asked_for_is_recorded_and_ranks(tmp_path):
    words = [
        "data=breast_cancer",
        "model=logistic",
        "grid.optimizer.lr=[0.001,1.0]",
        "steps=20",
        "metric=val_f1",
    ]
    made = sweep(tmp_path, *words, "keep.params=all")
    x, y = load_breast_cancer(return_X_y=True)
    _, val, _ = parts_of(made, x, y)
    names = load_breast_cancer().target_names
    for trial in made.trials.to_dict("records"):
        predicted = made.predictor(trial["trial"])(x[val])
        assert trial["final_val_f1"] == pytest.approx(f1_score(names[y[val]], predicted, average="macro"))
    assert {"train_f1", "val_f1"} <= set(made.curves)
    assert made.metric == "val_f1"
    assert "val_f1" in made.report().read_text()


@pytest.mark.parametrize(
    ("words", "got"),
    [
        (["data=diabetes", "metric=val_accuracy"], "got val_accuracy, which diabetes linear does not have"),
        (["data=iris", "model=logistic", "metric=val_auc"], "got val_auc, which iris logistic does not have"),
        (["data=iris", "model=logistic", "data.val_fraction=0", "metric=val_loss"], "got val_loss"),
        (["data=iris", "model=logistic", "metric=test_accuracy"], "it takes one of auto"),
        (["data=iris", "model=logistic", "grid.metric=[val_loss,val_f1]"], "not an axis"),
    ],
)
def test_a_metric_that_the_task_does_not_have(words, got):
    words = [*words, "model=linear"] if "data=diabetes" in words else words
    with pytest.raises(ConfigError, match=got):
        vsweep.plan([*words, *QUIET])


def test_after_divergence_there_is_no_metric(tmp_path):
    made = sweep(tmp_path, "data=iris", "model=mlp", "optimizer.lr=1e38", "steps=4", "record_every=1")
    rows = made.curves[made.curves["step"] > made.trials["diverged_at"].iloc[0]]
    assert len(rows)
    assert rows.drop(columns=["trial", "step"]).isna().all(axis=None)
    final = made.trials.filter(like="final_")
    assert final.isna().all(axis=None)


@pytest.mark.parametrize("data", ["breast_cancer", "diabetes"])
def test_the_constant_guess_is_that_of_scikit_learn(tmp_path, data):
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    # Where all weights are zero, only the last bias is learned: the model is a constant guess itself.
    made = sweep(tmp_path, f"data={data}", "model=mlp", "model.init=zeros", "optimizer.lr=0.1", "steps=50")
    train, val, _ = parts_of(made, x, y)
    if data != "diabetes":
        guess = DummyClassifier(strategy="most_frequent").fit(x[train], y[train])
        want = {
            "accuracy": guess.score(x[val], y[val]),
            "f1": f1_score(y[val], guess.predict(x[val]), average="macro"),
        }
    else:
        guess = DummyRegressor().fit(x[train], y[train])
        want = {
            "rmse": root_mean_squared_error(y[val], guess.predict(x[val])),
            "r2": guess.score(x[val], y[val]),
        }
    for name, value in want.items():
        assert made.baseline[f"val_{name}"] == pytest.approx(value)
    assert "The best cell is no better than a constant guess" in made.report().read_text()


def test_a_target_far_from_zero_keeps_its_digits(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 1))
    x, y = z + 0.1 * rng.normal(size=(200, 1)), 1.7e9 + 10.0 * z[:, 0]
    words = ["model=linear", "optimizer.lr=0.1", "steps=200", "record_params=true", "keep.params=all"]
    made = sweep(tmp_path, *words, data=(x, y))
    train, val, _ = parts_of(made, x, y)
    exact = LinearRegression().fit(x[train], y[train])
    (trial,) = made.trials.to_dict("records")
    error = root_mean_squared_error(y[val], exact.predict(x[val]))
    assert trial["final_val_rmse"] == pytest.approx(error, rel=1e-3)
    predicted = vsweep.load(made.directory, data=(x, y)).predictor(0)(x[val])
    assert root_mean_squared_error(y[val], predicted) == pytest.approx(error, rel=1e-3)
    assert trial["final_param.w"] == pytest.approx(trial["least_squares_w"], rel=1e-3)


def absolute(outputs, targets):
    return abs(outputs[0] - targets)


@pytest.mark.parametrize(
    "words", [["data=line"], ["data=diabetes", "loss=own"], ["data=diabetes", "data.standardize=false"]]
)
def test_targets_of_formulas_and_of_own_losses_stay_as_they_are(words):
    own = {"loss": absolute} if "loss=own" in words else {}
    planned = make_plan(make_spec([*words, "model=linear", *QUIET], own), Hardware("cpu", 1))
    assert planned.programs[0].inputs.target == (0.0, 1.0)


def line():
    """A straight line that starts at 0."""

    def init(key, n_features, n_outputs):
        return {"w": jnp.zeros((n_outputs, n_features)), "b": jnp.zeros((n_outputs, 1))}

    return vsweep.Model(init, lambda params, x: params["w"] @ x + params["b"])


@pytest.mark.parametrize("group", ["loss", "model"])
def test_own_functions_have_the_targets_as_they_are_beside_others_that_scale_them(tmp_path, group):
    """Programs of one data set share its arrays on the devices, but not those of another unit."""
    own = {"loss": absolute} if group == "loss" else {"model": line}
    axis = f"grid.{group}=[{'squared_error' if group == 'loss' else 'linear'},own]"
    words = ["data=diabetes", axis, *(["model=linear"] if group == "loss" else [])]
    made = sweep(tmp_path, *words, "metric=val_loss", "steps=1", **own)
    y = load_diabetes().target
    train, val, _ = parts_of(made, load_diabetes().data, y)
    first = made.curves[made.curves["step"] == 0].set_index("trial")
    of_own = made.trials.set_index("trial")[group] == "own"
    error = np.abs if group == "loss" else np.square
    assert first.loc[of_own, "val_loss"].item() == pytest.approx(error(y[val]).mean(), rel=1e-6)
    scaled = np.square((y[val] - y[train].mean()) / y[train].std()).mean()
    assert first.loc[~of_own, "val_loss"].item() == pytest.approx(scaled, rel=1e-6)
    assert made.cells()["rank"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "axis",
    ["grid.data.standardize=[true,false]", "grid.data.val_fraction=[0.2,0.4]", "draws.data.split_seed=[0,1]"],
)
def test_losses_in_units_of_other_deviations_are_not_compared(tmp_path, axis):
    words = [
        "data=diabetes",
        "model=linear",
        axis,
        "metric=val_loss",
        "grid.optimizer.lr=[0.1,0.01]",
    ]
    made = sweep(tmp_path, *words, "steps=3", "keep.params=1")
    assert made.cells()["rank"].tolist() == [1, 2, 1, 2]
    assert made.cells("val_rmse")["rank"].tolist() == [1, 2, 3, 4]
    # The best of each are kept.
    for trial in made.trials.merge(made.cells().query("rank == 1")["cell"])["trial"]:
        assert made.params(trial)


@pytest.mark.parametrize("data", ["diabetes", "iris"])
def test_seeds_that_all_give_the_same_result_show_no_certainty(tmp_path, capsys, data):
    """A straight line starts at zeros: its seeds are one training, however many there are."""
    words = [f"data={data}", f"model={'linear' if data == 'diabetes' else 'logistic'}", "steps=5", "seeds=3"]
    words += ["grid.optimizer.lr=[0.01,0.1]", *QUIET, f"dir='{tmp_path / 'kept'}'"]
    made = vsweep.sweep(words)
    assert not made.cells()["std"].any()
    shown = capsys.readouterr().err
    assert "all seeds give the same result, so they do not show how sure the order is" in shown
    # The held-out examples are luck still.
    assert made.cells()["sem"].isna().all()
    assert "± is the standard error over held-out examples (" in shown
    assert "All seeds give the same result, so they do not show" in made.report().read_text()


def test_seeds_of_which_some_diverge_differ():
    trials = pd.DataFrame({"cell": [0, 0, 0, 1, 1, 1], "seed": [0, 1, 2] * 2, "final_val_loss": 0.5})
    trials["status"] = ["ok"] * 3 + ["diverged"] * 3
    cells = pd.DataFrame({"cell": [0, 1], "std": [0.0, np.nan], "seeds": 3, "diverged": [0, 2]})
    assert not is_seedless(trials, cells)
    assert is_seedless(trials, cells.assign(diverged=[0, 3]))
    assert not is_seedless(trials, cells.assign(std=np.nan, diverged=3))
    # Two models may be right on equally many examples.
    trials["final_train_loss"] = np.arange(6.0)
    assert not is_seedless(trials, cells.assign(diverged=[0, 3]))


def test_losses_of_classes_are_compared_over_splits_and_models(tmp_path):
    words = ["data=iris", "draws.data.split_seed=[0,1]", "metric=val_loss", "steps=3"]
    made = sweep(tmp_path, *words, "grid.model=[logistic,own]", model=line)
    assert made.cells()["rank"].tolist() == [1, 2, 3, 4]


def test_a_report_of_comparable_cells_leaves_out_the_sensitivity_of_other_losses(tmp_path):
    """All cells have an error, but the two losses of a learning rate are not the same quantity."""
    words = ["data=diabetes", "model=linear", "grid.loss=[squared_error,huber]", "steps=3", "seeds=2"]
    made = sweep(tmp_path, *words, "grid.optimizer.lr=[0.01,0.1]", "grid.model.init_scale=[1.0,2.0]")
    page = made.report().read_text()
    assert "The best learning rate, and the sensitivity to it" in page
    with pytest.raises(KeyError, match="val_loss is another quantity for each value of loss"):
        made.tables.lr_sensitivity("model.init_scale")
    assert made.tables.lr_sensitivity("loss")["rates"].tolist() == [2, 2]


def test_the_cells_of_each_loss_are_confirmed(tmp_path):
    words = ["data=diabetes", "model=linear", "grid.loss.delta=[0.1,1.0]", "metric=val_loss", "loss=huber"]
    made = sweep(tmp_path, *words, "grid.optimizer.lr=[0.01,0.03,0.1]", "steps=5")
    table, metric = vsweep.confirm(made.directory, top=4, seeds=2, quiet=True)
    assert metric == "val_loss"
    assert table["loss.delta"].tolist() == [0.1, 0.1, 1.0, 1.0]
    assert table["rank"].tolist() == [1, 2, 1, 2]


def test_a_value_of_a_follower_restricts_a_sweep(tmp_path):
    """The way out that the refusal names is one that can be taken."""
    words = ["data=diabetes", "model=linear", "loss=huber", "grid.optimizer.lr=[0.01,0.1]", "metric=val_loss"]
    made = sweep(tmp_path, *words, "loss.delta=${optimizer.lr}", "grid.model.init=[zeros,normal]", "steps=2")
    with pytest.raises(ValueError, match=r"where\(\{'loss.delta': 0.01\}\).best\(\)"):
        made.best()
    assert made.where({"loss.delta": 0.01}).best()["optimizer.lr"] == 0.01


@pytest.mark.parametrize("depth", [1, 2])
def test_outputs_that_are_not_numbers_have_no_score(tmp_path, depth):
    """Weights of 1e25 are finite, and products of them are not: infinity less infinity is no class."""
    words = ["data=iris", "model=mlp", "model.init_scale=1e25", "model.activation=relu", "steps=1"]
    made = sweep(tmp_path, *words, f"model.depth={depth}", "record_every=1")
    first = made.curves.iloc[0]
    for part in ("train", "val"):
        assert np.isfinite(first[f"{part}_loss"]) == np.isfinite(first[f"{part}_accuracy"])
    assert np.isnan(first["train_accuracy"])


def test_the_constant_guess_of_each_data_set_stands_beside_its_best_cell(tmp_path):
    words = ["grid.data=[iris,wine]", "model=logistic", "optimizer.lr=1e-9", "model.init=zeros"]
    made = sweep(tmp_path, *words, "grid.data.val_fraction=[0.2,0.4]", "steps=1")
    text = describe_baseline(made, "val_accuracy", made.cells())
    for _, row in made.cells().query("rank == 1").iterrows():
        (record,) = (
            data["baseline"]
            for data in made.plan["data"].values()
            if data["fields"]["data"] == row["data"]
            and data["fields"]["data.val_fraction"] == row["data.val_fraction"]
        )
        assert f" {record['val_accuracy']:.4g} for data={row['data']}" in text
    assert made.baseline == {}
    assert "onstant guess" in made.report().read_text()


def test_where_a_loss_ranks_the_constant_guess_is_compared_by_a_score(tmp_path):
    """The losses of two data sets have nothing in common, and a guess has scores alone."""
    made = sweep(tmp_path, "grid.data=[iris,diabetes]", "model=mlp", "model.width=4", "steps=20")
    text = describe_baseline(made, made.metric, made.cells())
    guesses = [data["baseline"] for data in made.plan["data"].values()]
    want = {name: guess[name] for guess in guesses for name in ("val_accuracy", "val_rmse") if name in guess}
    assert made.metric == "val_loss"
    for name, value in want.items():
        assert f"{name} {value:.4g} for data=" in text


@pytest.mark.parametrize(
    "axes", [["draws.data.split_seed=[0,1]", "steps=3"], ["grid.steps=[2,3]", "data.split_seed=${steps}"]]
)
def test_splits_of_one_data_set_have_a_constant_guess(tmp_path, axes):
    made = sweep(tmp_path, "data=diabetes", "model=linear", *axes)
    best = made.trials.set_index("cell").loc[made.best()["cell"], "data.split_seed"]
    y = load_diabetes().target
    dataset = Dataset(load_diabetes().data, y, (), tuple("0123456789"))
    options = {"test_fraction": "auto", "standardize": True, "stratify": True}
    at = split(dataset, 0.2, int(best), **options).places
    guess = root_mean_squared_error(y[at[1]], np.full(len(at[1]), y[at[0]].mean()))
    assert f"has val_rmse {guess:.4g}" in describe_baseline(made, "val_rmse", made.cells())


def test_targets_of_tables_are_scaled_by_those_of_the_training():
    _, planned = vsweep.plan(["data=diabetes", "model=linear", *QUIET])
    y = planned.programs[0].inputs.split.y[0]
    assert planned.programs[0].inputs.target == pytest.approx((y.mean(), y.std()))


def test_a_directory_of_before_these_metrics_goes_on_as_it_was(tmp_path):
    """Its config has none of the fields, and its trials have the identity that they had."""
    words = ["data=diabetes", "model=linear", "optimizer.lr=0.1", "steps=3"]
    later = ["metric=null", "data.standardize_target=false"]
    made = sweep(tmp_path, *words, *later)
    assert made.trials["identity"].tolist() == ["9d074497a99f1b3a79c0292d931b6def"]
    text = (made.directory / "config.yaml").read_text()
    lines = [line for line in text.splitlines() if "metric:" not in line and "standardize_target" not in line]
    (made.directory / "config.yaml").write_text("\n".join(lines) + "\n")
    forge(made.directory)
    plan = json.loads((made.directory / "plan.json").read_text())
    plan["study"]["words"] = [word for word in plan["study"]["words"] if word not in later]
    (made.directory / "plan.json").write_text(json.dumps(plan))
    forge(made.directory)
    more = vsweep.resume(made.directory, ["seeds=2"], quiet=True)
    assert len(more.trials) == 2
    assert more.trials["identity"][0] == "9d074497a99f1b3a79c0292d931b6def"
    assert [name for name in more.trials if "rmse" in name] == []
    assert more.metric == "val_loss"
    pd.testing.assert_frame_equal(more.trials.head(1), made.trials)


def test_a_follower_that_changes_the_loss_keeps_cells_apart(tmp_path, capsys):
    words = ["data=diabetes", "model=linear", "loss=huber", "grid.optimizer.lr=[0.01,0.1]", "metric=val_loss"]
    words += ["loss.delta=${optimizer.lr}", "grid.model.init=[zeros,normal]"]
    made = sweep(tmp_path, *words, "steps=5", "seeds=2")
    assert made.cells()["rank"].tolist() == [1, 2, 1, 2]
    assert "another quantity for each value of loss.delta" in made.report().read_text()


def test_the_leading_cells_are_some_of_each_that_can_be_compared():
    cells = pd.DataFrame({"rank": [*range(1, 11), *range(1, 11)]})
    assert leading_cells(cells, 6)["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    assert leading_cells(cells.head(10), 6)["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert leading_cells(pd.DataFrame({"rank": [1] * 9}), 4)["rank"].tolist() == [1] * 4


def test_a_trial_that_is_trained_again_keeps_the_metric(tmp_path):
    made = sweep(tmp_path, "data=iris", "model=logistic", "metric=val_f1", "steps=2")
    again = vsweep.reproduce(made.directory, 0, to=tmp_path / "again")
    assert again.sweep.metric == "val_f1"
    assert "metric=val_f1" in again.overrides
