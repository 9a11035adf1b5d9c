"""The experiments on data: a line, a curve, two words, and what is recorded of their parameters."""

import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.errors import ConfigError

BASE = ["tracker=none", "verify=false"]


def run(folder, *words, **more):
    return vsweep.sweep([*BASE, *words, f"dir='{folder / 'kept'}'"], quiet=True, **more)


def at(sweep, step, *names):
    """Recorded values of the one trial, or of all, at a step."""
    rows = sweep.curves[sweep.curves["step"] == step]
    return rows[list(names)].to_numpy().squeeze()


def test_the_lines_known_numbers(tmp_path):
    """Points of PRNGKey(0): least squares, and the descent at 0.1 from (1, 1) after 10 and 50 steps."""
    words = ["data=line", "model=linear", "model.start=[1.0,1.0]", "optimizer.lr=0.1", "steps=50"]
    sweep = run(tmp_path, *words, "record_every=1", "record_params=true")
    (trial,) = sweep.trials.to_dict("records")
    solved = [trial["least_squares_b"], trial["least_squares_w"]]
    np.testing.assert_allclose(solved, [1.896376, 2.989072], atol=1e-6)
    np.testing.assert_allclose(at(sweep, 0, "param.b", "param.w"), [1.0, 1.0])
    np.testing.assert_allclose(at(sweep, 10, "param.b", "param.w"), [1.837028, 2.919836], atol=2e-6)
    np.testing.assert_allclose(at(sweep, 50, "param.b", "param.w"), [1.896370, 2.989074], atol=2e-6)


def test_least_squares_are_numpys_on_what_is_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) * [1.0, 5.0, 0.2] + 2.0
    y = x @ [1.0, -2.0, 3.0] + rng.normal(size=40)
    words = [
        "model=linear",
        "record_params=true",
        "data.val_fraction=0.25",
        "data.test_fraction=0",
        "steps=1",
    ]
    sweep = run(tmp_path, *words, "loss=squared_error", data=(x, y))
    held_out = np.random.default_rng(0).permutation(40)[:10]
    train = np.setdiff1d(np.arange(40), held_out)
    z = (x[train] - x[train].mean(axis=0)) / x[train].std(axis=0)
    want = np.linalg.lstsq(np.c_[z, np.ones(30)], y[train], rcond=None)[0]
    names = ["least_squares_w.0", "least_squares_w.1", "least_squares_w.2", "least_squares_b"]
    np.testing.assert_allclose(sweep.trials[names].to_numpy()[0], want, rtol=1e-10)


def test_no_least_squares_beside_another_loss_or_unrecorded_parameters(tmp_path):
    words = ["data=line", "model=linear", "steps=1"]
    for i, more in enumerate((["loss=huber", "record_params=true"], [])):
        trials = run(tmp_path / str(i), *words, *more).trials
        assert not [name for name in trials if name.startswith("least_squares")]


def test_recorded_parameters_end_as_those_that_are_kept(tmp_path):
    words = ["data=iris", "model=logistic", "model.init=normal", "seeds=2", "steps=7", "record_params=true"]
    sweep = run(tmp_path, *words, "record_every=3")
    for trial in (0, 1):
        kept = sweep.params(trial)
        last = sweep.curves[(sweep.curves["trial"] == trial) & (sweep.curves["step"] == 7)].iloc[0]
        row = sweep.trials.set_index("trial").loc[trial]
        for i, j in np.ndindex(3, 4):
            assert last[f"param.w.{i}.{j}"] == row[f"final_param.w.{i}.{j}"] == kept["0.w"][i, j]
        for i in range(3):
            assert last[f"param.b.{i}"] == kept["0.b"][i]
    assert sum(name.startswith("param.") for name in sweep.curves) == 15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=iris", "model=mlp", "record_params=true"], "record_params: model=mlp has hidden layers"),
        (
            ["data=digits", "model=logistic", "record_params=true"],
            "record_params: model=logistic has 650 param",
        ),
        (
            ["data=line", "model=linear", "model.start=[1]"],
            "model.start: got 1 numbers; it takes 2: 1 × 1 weights",
        ),
        (
            ["data=line", "model=linear", "model.start=[1,1e39]"],
            "model.start: got 1e+39; float32 holds 0, and from",
        ),
        (["data=line", "model=linear", "grid.model.start=[[1,2],3]"], "grid.model.start: got 3"),
        (
            ["data=curve", "model=mlp", "data.batch_size=null"],
            "data.batch_size: got null; it takes the number of",
        ),
        (["data=iris", "pictures=[fit]"], "pictures: no picture 'fit'"),
        (["data=iris", "pictures=[curves]"], "pictures: curves lacks 'by'; give {curves: {by: …}}"),
        (
            ["data=iris", "pictures=[{curves:{of:1}}]"],
            "pictures: curves has no argument 'of'; it takes by, metric, cells, where",
        ),
    ],
)
def test_what_does_not_go_together_is_told(here, words, message):
    with pytest.raises(ConfigError) as error:
        vsweep.sweep([*BASE, *words, "dir=kept"], quiet=True)
    assert str(error.value).startswith(message)
    assert not list(here.iterdir())


def test_many_starts_are_one_program_and_a_start_beside_none_are_two(tmp_path):
    words = ["data=line", "model=linear", "steps=2", "record_params=true", "record_every=1"]
    one = run(tmp_path / "one", *words, "grid.model.start=[[1,1],[0,-2],[5,3]]")
    assert len(one.plan["programs"]) == 1
    starts = one.curves[one.curves["step"] == 0][["param.w", "param.b"]].to_numpy()
    np.testing.assert_array_equal(starts, [[1, 1], [0, -2], [5, 3]])
    assert one.trials["model.start"].tolist() == ["(1.0, 1.0)", "(0.0, -2.0)", "(5.0, 3.0)"]
    two = run(tmp_path / "two", *words, "model.init=normal", "grid.model.start=[null,[1,1]]", "seeds=2")
    assert len(two.plan["programs"]) == 2
    first = two.curves[two.curves["step"] == 0]["param.w"].to_numpy()
    assert len(set(first)) == 3


def test_a_wider_network_is_nearer_to_the_curve(tmp_path):
    """Every step draws its own points, so that there is nothing to overfit; widths share their seeds."""
    words = ["data=curve", "model=mlp", "model.init=normal", "model.bias_init=normal", "optimizer.lr=3e-4"]
    sweep = run(tmp_path, *words, "grid.model.width=[20,200]", "seeds=4", "steps=300", "record_every=100")
    cells = sweep.cells("train_loss").set_index("model.width")
    assert (
        cells.loc[200, "mean"] + 2 * cells.loc[200, "sem"] < cells.loc[20, "mean"] - 2 * cells.loc[20, "sem"]
    )
    # The loss that is recorded is that of the rows that stay, on the true curve but for its noise.
    best = int(sweep.trials.sort_values("final_train_loss")["trial"].iloc[0])
    frame = sweep.examples
    off = sweep.predictor(best)(frame[["x"]].to_numpy()) - frame["target"].to_numpy()
    final = sweep.trials.set_index("trial").loc[best, "final_train_loss"]
    np.testing.assert_allclose(np.mean(off**2), final, rtol=1e-4)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@pytest.mark.parametrize("lr", [0.1, 0.5])
def test_one_neuron_descends_as_numpy_does(tmp_path, lr):
    """From w = (-0.9, 0.9), b = 0.5, on the clipped loss, of which all is written out here."""
    words = ["data=food_water", "data.standardize=false", "data.val_fraction=0", "model=logistic"]
    words += ["loss=clipped_cross_entropy", "model.start=[-0.9,0.9,0.5]", f"optimizer.lr={lr}", "steps=10"]
    sweep = run(tmp_path, *words, "record_every=1", "record_params=true", "dtype=float64")
    x, y = sweep.examples.iloc[:, :2].to_numpy(), sweep.examples["target"].to_numpy()
    w, b = np.array([-0.9, 0.9]), 0.5
    for step in range(11):
        p = sigmoid(x @ w + b)
        loss = -np.mean(y * np.log(p + 1e-8) + (1 - y) * np.log(1 - p + 1e-8))
        recorded = at(sweep, step, "param.w.0", "param.w.1", "param.b", "train_loss", "train_accuracy")
        right = np.mean((p > 0.5) == (y == 1))
        np.testing.assert_allclose(recorded, [*w, b, loss, right], rtol=2e-6)
        slope = (
            (p - y)
            * (p * (1 - p))
            * (y / (p + 1e-8) + (1 - y) / (1 - p + 1e-8))
            / (np.where(y == 1, 1 - p, p) * np.ones_like(p))
        )
        w, b = w - lr * (x * slope[:, None]).mean(axis=0), b - lr * slope.mean()


def test_examples_are_kept_as_they_came(tmp_path):
    """Examples of two features are stored unscaled with their parts; examples of more features are not."""
    sweep = run(tmp_path / "two", "data=moons", "model=logistic", "steps=1")
    frame = sweep.examples
    assert frame["part"].value_counts().to_dict() == {
        part: sweep.plan["data"][next(iter(sweep.plan["data"]))][f"{part}_rows"]
        for part in ("train", "val", "test")
    }
    from sklearn.datasets import make_moons

    data = sweep.config["data"]
    x, y = make_moons(data["rows"], noise=data["noise"], random_state=data["seed"])
    np.testing.assert_array_equal(frame[["x0", "x1"]], x)
    np.testing.assert_array_equal(frame["target"], y)
    pd.testing.assert_frame_equal(vsweep.load(sweep.directory).examples, frame)
    with pytest.raises(KeyError, match="more than two features"):
        _ = run(tmp_path / "four", "data=iris", "model=logistic", "steps=1").examples


def test_pictures_are_made_at_the_end_and_what_cannot_be_made_is_said(tmp_path, capsys):
    words = ["data=moons", "model=logistic", "grid.optimizer.lr=[0.1,1.0]", "steps=2"]
    asked = "pictures=[{curves:{by:optimizer.lr,metric:train_loss}},basin]"
    sweep = vsweep.sweep([*BASE, *words, asked, f"dir='{tmp_path / 'kept'}'"])
    made = tmp_path / "kept" / "pictures" / "curves-optimizer.lr-train_loss.png"
    assert made.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in made.parent.iterdir()) == [made.name]
    said = capsys.readouterr().err
    assert "curves-optimizer.lr-train_loss.png" in said
    assert "picture basin.png skipped: expected a sweep of functions to minimize: model=point" in said
    assert sweep.plan["pictures"][made.name] == ""


@pytest.mark.parametrize("name", ["part", "target", "truth"])
def test_a_feature_may_be_called_as_a_column_of_the_examples(here, name):
    pd.DataFrame({name: [0.1, 0.2, 0.3, 0.4] * 5, "b": range(20), "label": ["a", "b"] * 10}).to_csv("t.csv")
    words = [
        "data=csv",
        "data.path=t.csv",
        "data.target=label",
        f"data.features=[{name},b]",
        "model=logistic",
    ]
    sweep = vsweep.sweep([*BASE, *words, "steps=3", "dir=kept"], quiet=True)
    assert list(sweep.examples.columns) == [f"x.{name}", "b", "target", "part"]
    axes = sweep.plot.boundaries().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (name, "b")


def fresh(key, size):
    from jax import random

    x = random.randint(key, (2, size), 0, 5)
    return x, (x[0] - x[1]).astype("float32")


def test_a_draw_of_ones_own(tmp_path):
    """Whole numbers too are standardized as the rows that stay: the loss goes to 0 on both."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (40, 2)).astype(float)
    made = vsweep.Dataset(x, x[:, 0] - x[:, 1], (), ("a", "b"), draw=fresh)
    words = ["model=linear", "optimizer.lr=0.1", "data.batch_size=16", "steps=300", "data.val_fraction=0"]
    sweep = run(tmp_path, *words, "data.test_fraction=0", data=lambda: made)
    assert sweep.trials["final_train_loss"].iloc[0] < 1e-9


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda key, size: fresh(key, size - 1),
            "data: its draw returned the shapes (2, 15) and (15,); expected (2, 16)",
        ),
        (lambda key, size: fresh(key, size)[0], "data: its draw cannot be traced (ValueError"),
    ],
)
def test_a_draw_that_cannot_be_used_is_told(here, draw, message):
    made = vsweep.Dataset(np.zeros((20, 2)), np.zeros(20), (), ("a", "b"), draw=draw)
    with pytest.raises(ConfigError) as error:
        vsweep.sweep([*BASE, "model=linear", "data.batch_size=16", "dir=kept"], data=lambda: made, quiet=True)
    assert str(error.value).startswith(message)
    assert not list(here.iterdir())


def test_what_fails_in_ones_own_model_is_told_as_that_though_parameters_are_recorded(here):
    def broken():
        def init(key, n_features, n_outputs):
            raise NameError("nothing")

        return vsweep.Model(init, lambda params, x: x)

    with pytest.raises(ConfigError, match="cannot be trained"):
        vsweep.sweep([*BASE, "data=line", "record_params=true", "dir=kept"], model=broken, quiet=True)
    assert not list(here.iterdir())


def test_a_field_of_ones_own_model_called_width_is_no_hidden_layer(tmp_path):
    def wide(width=2.0):
        def init(key, n_features, n_outputs):
            return {"w": 1.0}

        return vsweep.Model(init, lambda params, x: params["w"] * x * width)

    sweep = run(tmp_path, "data=line", "record_params=true", "steps=2", model=wide)
    assert "param.w" in sweep.curves


def test_null_is_a_value_that_cells_can_be_chosen_by(tmp_path):
    words = ["data=line", "model=linear", "model.init=normal", "grid.model.start=[null,[1,2]]", "steps=2"]
    sweep = run(
        tmp_path, *words, "grid.data.batch_size=[null,10]", "grid.optimizer.lr={logspace:[1e-3,1.0,4]}"
    )
    assert len(sweep.where({"model.start": None}).trials) == 8
    assert len(sweep.where({"model.start": [1, 2]}).trials) == 8
    assert len(sweep.where({"data.batch_size": None, "model.start": [1.0, 2.0]}).trials) == 4
    assert len(sweep.where({"data.batch_size": 10}).trials) == 8
    # As tables print it.
    assert set(sweep.where({"optimizer.lr": 0.1}).trials["optimizer.lr"]) == {0.1}


def test_pictures_follow_what_the_sweep_becomes(tmp_path):
    words = ["data=moons", "model=logistic", "grid.optimizer.lr=[0.1,1.0]", "steps=2"]
    asked = "pictures=[{curves:{by:optimizer.lr}}]"
    sweep = run(tmp_path, *words, asked)
    picture = sweep.directory / "pictures" / "curves-optimizer.lr.png"
    assert picture.is_file()
    # Gone: made again, with nothing to train.
    picture.unlink()
    again = vsweep.resume(sweep.directory, quiet=True)
    assert picture.is_file()
    assert again.plan["pictures"] == {picture.name: ""}
    # Extended without: the old one is of what there was.
    more = vsweep.resume(sweep.directory, ["grid.optimizer.lr=[0.1,0.5,1.0]", "pictures=[]"], quiet=True)
    assert not picture.exists()
    assert more.plan["pictures"] == {}


@pytest.mark.parametrize("axis", ["optimizer.rl", "model.width"])
def test_a_picture_over_what_is_no_axis_is_refused_before_anything_is_trained(here, axis):
    words = [
        "data=moons",
        "model=logistic",
        "grid.optimizer.lr=[0.1,1.0]",
        f"pictures=[{{curves:{{by:{axis}}}}}]",
    ]
    with pytest.raises(ConfigError, match=f"^pictures: curves: '{axis}' is not an axis"):
        vsweep.sweep([*BASE, *words, "dir=kept"], quiet=True)
    assert not list(here.iterdir())


@pytest.mark.tail
def test_the_lesson_of_the_curve(tmp_path):
    """One hidden layer of 1,600 against 20, as the sweep trains them."""
    words = [
        "sweep=curve",
        "~grid.model.width",
        "+grid.model.width=[20,1600]",
        "~grid.model.depth",
        "seeds=4",
    ]
    sweep = run(tmp_path, *words, "pictures=[]", "keep.params=0")
    cells = sweep.cells("train_loss").set_index("model.width")
    assert cells["diverged"].sum() == 0
    narrow, wide = cells.loc[20], cells.loc[1600]
    assert wide["mean"] + 3 * wide["sem"] < narrow["mean"] - 3 * narrow["sem"]
    assert wide["mean"] < 0.4 < 0.6 < narrow["mean"]
