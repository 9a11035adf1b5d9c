"""Sweeps of functions to minimize, as a person runs them."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

import vsweep
from vsweep.analysis.minima import describe_ends, ending_labels
from vsweep.errors import ConfigError

BASE = ["data=none", "model=point", "tracker=none", "dtype=float64", "verify=false"]


def run(folder, *words, **more):
    return vsweep.sweep([*BASE, *words, f"dir='{folder / 'kept'}'"], quiet=True, **more)


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["loss=narrow_parabola", "model.x=4.2", "steps=300", "optimizer.lr=5e-3"], {"x": -0.6661434}),
        (["loss=quartic", "model.x=-5", "steps=1000", "optimizer.lr=1e-3"], {"x": -1.1679630}),
        (
            ["loss=gold_field", "model.x=0", "model.y=-2", "steps=1000", "optimizer.lr=0.01"],
            {"x": 0.0, "y": -3.1415927},
        ),
        (
            [
                "loss=gold_field",
                "model.x=1",
                "model.y=1",
                "model.fixed=[x]",
                "steps=1000",
                "optimizer.lr=0.01",
            ],
            {"x": 1.0, "y": 0.0},
        ),
    ],
)
def test_a_descent_ends_where_it_is_known_to(tmp_path, words, ends):
    (trial,) = run(tmp_path, *words).trials.to_dict("records")
    for name, value in ends.items():
        # The known values have seven digits, and a curve is float32.
        assert abs(trial[f"final_param.{name}"] - value) < 1.2e-7 * max(1.0, abs(value))
    assert (trial["status"], trial["kind"]) == ("ok", "minimum")


@pytest.fixture(scope="module")
def basins(tmp_path_factory):
    """The quartic from 21 starts with 7 learning rates, in one program."""
    words = ["loss=quartic", "grid.model.x={linspace:[-5.0,5.0,21]}", "steps=300", "record_every=7"]
    return run(tmp_path_factory.mktemp("basins"), *words, "grid.optimizer.lr={logspace:[1e-4,0.1,7]}")


def test_many_starts_are_one_program(basins):
    assert len(basins.plan["programs"]) == 1
    assert len(basins.trials) == 147


def test_every_descent_is_that_of_numpy(basins):
    """Where it ended, which minimum that is, and whether it left, by a loop in float64."""
    roots = sorted(np.roots([8.0, -9.0, -18.0, 4.0]))
    names = {f"x={root:.4g}": root for root in (roots[0], roots[2])}
    seen = set()
    for trial in basins.trials.to_dict("records"):
        at, path = trial["model.x"], []
        first = 2 * at**4 - 3 * at**3 - 9 * at**2 + 4 * at + 3
        left = None
        for step in range(301):
            with np.errstate(all="ignore"):
                value = np.float64(2 * at**4 - 3 * at**3 - 9 * at**2 + 4 * at + 3)
                if left is None and not value <= 1000.0 * max(abs(first), 1.0):
                    left = step
                if step % 7 == 0 or step == 300:
                    path.append(at)
                at = np.float64(at) - trial["optimizer.lr"] * (8 * at**3 - 9 * at**2 - 18 * at + 4)
        assert (None if trial["status"] == "ok" else trial["diverged_at"]) == left
        curve = basins.curves.loc[basins.curves["trial"] == trial["trial"], "param.x"].to_numpy()
        if left is None:
            np.testing.assert_allclose(curve, path, rtol=1e-5, atol=1e-5)
        if trial["kind"] == "minimum":
            assert abs(path[-1] - names[trial["minimum"]]) < 0.03 * (1.0 + abs(path[-1]))
        seen.add(trial["minimum"] if trial["status"] == "ok" else "left")
    assert {*names, "left"} <= seen


def test_it_is_said_how_many_ended_where(basins):
    ended = ending_labels(basins.trials)
    assert (ended == "went to infinity").sum() == (basins.trials["status"] == "diverged").sum() > 0
    text = describe_ends(basins.trials)
    for name, count in ended.value_counts().items():
        assert f"{count} {'at the minimum ' if '=' in name else ''}{name}" in text
    assert "minimum x=-1.168" in text


def test_no_value_of_a_coordinate_is_the_best(basins):
    assert "final_param.x" in basins.trials
    assert "best_param.x" not in basins.trials


def test_a_function_is_had_back_from_the_directory(basins):
    again = vsweep.load(basins.directory)
    x = np.linspace(-2.0, 3.0, 11)
    np.testing.assert_allclose(
        again.landscape(0)(x[:, None]), 2 * x**4 - 3 * x**3 - 9 * x**2 + 4 * x + 3, rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"expected \(examples, 1\): x"):
        again.landscape(0)(np.zeros((3, 2)))


def rosenbrock(x, y, *, a=1.0, b=100.0):
    return (a - x) ** 2 + b * (y - x**2) ** 2


def test_a_function_of_ones_own_with_fields_of_its_own(tmp_path):
    """Its fields are axes, its minimum is where algebra has it: (a, a^2)."""
    words = ["grid.loss.a=[0.5,1.0,1.5]", "model.x=0.4", "model.y=0.2", "optimizer=momentum"]
    sweep = run(tmp_path, *words, "optimizer.lr=1e-3", "steps=8000", "record_every=500", loss=rosenbrock)
    assert len(sweep.plan["programs"]) == 1
    for trial in sweep.trials.to_dict("records"):
        a = trial["loss.a"]
        np.testing.assert_allclose([trial["final_param.x"], trial["final_param.y"]], [a, a**2], rtol=1e-4)
        assert (trial["kind"], trial["minimum"]) == ("minimum", f"x={a:.4g}, y={a**2:.4g}")
        hessian = [[2 + 800 * a**2, -400 * a], [-400 * a, 200]]
        eigenvalues = [trial["hessian_0"], trial["hessian_1"]]
        np.testing.assert_allclose(eigenvalues, np.linalg.eigvalsh(hessian), rtol=1e-3)
    assert sweep.directory.name == "kept"


def test_any_number_of_dimensions(tmp_path):
    scales = np.arange(1.0, 7.0)

    def bowl(v, shift):
        return jnp.sum(scales * (v - shift) ** 2)

    words = ["grid.model.v=[[1,2,3,4,5,6],[0,0,0,0,0,1]]", "model.shift=0.5", "model.fixed=[shift]"]
    sweep = run(tmp_path, *words, "steps=400", "optimizer.lr=0.05", loss=bowl)
    assert len(sweep.plan["programs"]) == 1
    assert sweep.trials["model.v"].tolist() == [
        "(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)",
        "(0.0, 0.0, 0.0, 0.0, 0.0, 1.0)",
    ]
    np.testing.assert_allclose(sweep.trials["final_param.v.5"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(sweep.trials["final_param.shift"], 0.5)
    assert sweep.trials["hessian_5"].tolist() == [12.0, 12.0]
    assert sweep.params(0)["v"].shape == (6,)


def test_spread_moves_the_start_by_the_seed(tmp_path):
    words = ["loss=gold_field", "model.x=1.0", "model.y=-0.5", "model.fixed=[y]", "steps=1", "record_every=1"]
    sweep = run(tmp_path, *words, "seeds=400", "grid.model.spread=[0.0,0.3]")
    first = sweep.curves[sweep.curves["step"] == 0].merge(sweep.trials[["trial", "seed", "model.spread"]])
    still, moved = (first[first["model.spread"] == spread].sort_values("seed") for spread in (0.0, 0.3))
    assert (still["param.x"] == 1.0).all()
    assert (first["param.y"] == -0.5).all()
    assert abs(moved["param.x"].mean() - 1.0) < 0.05
    assert abs(moved["param.x"].std() - 0.3) < 0.04
    assert moved["param.x"].nunique() == 400


def test_two_functions_of_different_coordinates(tmp_path):
    """A column that only one of the tasks has is missing for the other."""
    words = ["grid.loss=[quartic,gold_field]", "model.x=0.7", "model.y=0.4", "steps=900", "optimizer.lr=0.01"]
    trials = run(tmp_path, *words).trials.set_index("loss")
    assert np.isnan(trials.loc["quartic", "final_param.y"])
    assert np.isnan(trials.loc["quartic", "hessian_1"])
    assert trials["minimum"].to_dict() == {"quartic": "x=2.088", "gold_field": "x=0, y=0"}


def test_more_starts_into_the_same_directory(tmp_path):
    words = ["loss=quartic", "grid.model.x=[-2.0,1.0]", "steps=40", "optimizer.lr=1e-3"]
    before = run(tmp_path, *words).trials.set_index("identity")
    again = vsweep.resume(tmp_path / "kept", ["grid.model.x=[-2.0,-1.0,1.0]"], quiet=True)
    trials = again.trials.set_index("identity")
    assert trials["model.x"].tolist() == [-2.0, -1.0, 1.0]
    for identity, row in before.iterrows():
        assert trials.loc[identity, "final_param.x"] == row["final_param.x"]
        assert trials.loc[identity, "minimum"] is row["minimum"] or (
            trials.loc[identity, "minimum"] == row["minimum"]
        )


def test_a_long_descent_is_cut_into_segments(tmp_path):
    words = ["loss=quartic", "grid.model.x=[-2.0,1.0]", "steps=40", "optimizer.lr=1e-3"]
    whole = run(tmp_path, *words)
    parts = vsweep.sweep([*BASE, *words, "segment=10", f"dir='{tmp_path / 'parts'}'"], quiet=True)
    assert parts.plan["programs"][0]["segment"] > 0
    for name in ("final_param.x", "hessian_0", "kind", "minimum"):
        assert parts.trials[name].tolist() == whole.trials[name].tolist()


def vector(v):
    return v


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=quartic"], "model.x: got nothing; give the start of x: model.x=…"),
        (["loss=quartic", "model.x=near"], "model.x: got 'near'; it takes a number, or a list of numbers"),
        (["loss=quartic", "model.x=1", "model.y=1"], "model.y: no such field; did you mean model.x?"),
        (
            ["loss=quartic", "model.x=1", "model.fixed=[x]"],
            "model.fixed: got x; it takes some of x, but not all",
        ),
        (["loss=gold_field", "model.x=1", "model.y=1", "model.fixed=[z]"], "model.fixed: got z"),
        (["loss=quartic", "grid.model.x=[1,a]"], "grid.model.x: got 'a'; it takes a number"),
        (["loss=quartic", "grid.model.x=[1,1.0]"], "grid.model.x: 1.0 is given twice"),
        (
            ["loss=auto", "model.x=1"],
            "loss: got auto, and model=point; it takes a function of a point: parabola",
        ),
        (["loss=huber"], "loss: got huber, and model=point"),
        (["loss=quartic", "model.x=1", "data=iris"], "data: got iris, and model=point is trained"),
        (["model=mlp"], "data: got none, and model=mlp needs data to train on"),
        (["model=mlp", "data=iris", "loss=quartic"], "loss: got quartic, a function of a point"),
        (["loss=quartic", "model.x=1", "data.batch_size=2"], "data.batch_size: got 2"),
    ],
)
def test_what_does_not_go_together_is_told(here, words, message):
    with pytest.raises(ConfigError) as error:
        vsweep.sweep([*BASE, *words, "dir=kept"], quiet=True)
    assert str(error.value).startswith(message)
    assert not list(here.iterdir())


def test_a_function_of_ones_own_that_cannot_be_minimized_is_told(here):
    for function, start, message in [
        (vector, "[1,2]", "loss._target_: cannot be trained (ValueError: the function returned the"),
        (lambda v: np.sin(v), "1", "loss._target_: cannot be trained (it uses numpy; use jax.numpy"),
        (lambda *, v: v, "1", "loss: loss=own has the coordinates none"),
        (lambda spread: spread, "1", "loss: loss=own has the coordinates spread"),
    ]:
        with pytest.raises(ConfigError) as error:
            vsweep.sweep([*BASE, f"model.v={start}", "dir=kept"], loss=function, quiet=True)
        assert str(error.value).startswith(message)
    assert not list(here.iterdir())


def test_a_trial_is_reproduced_alone(basins, tmp_path):
    number = int(basins.trials["trial"].iloc[40])
    made = vsweep.reproduce(basins.directory, number, to=tmp_path / "alone")
    mine = basins.trials.set_index("trial").loc[number]
    (alone,) = made.sweep.trials.to_dict("records")
    assert alone["identity"] == mine["identity"]
    np.testing.assert_allclose(alone["final_param.x"], mine["final_param.x"], rtol=1e-6)


def test_a_descent_and_its_twin_are_held_against_each_other(basins):
    found = vsweep.verify(basins.directory, k=4)
    assert found["largest_difference"] < 1e-5
    assert found["changed"] == []


def test_a_coordinate_may_be_called_as_a_field_of_another_model(tmp_path):
    def bowl(width, depth, init, init_scale, start, bias_init, activation):
        coordinates = jnp.stack([width, depth, init, init_scale, start, bias_init, activation])
        return jnp.sum((coordinates - 3.0) ** 2)

    names = inspect.signature(bowl).parameters
    words = [*(f"grid.model.{name}=[1.0,5.5]" for name in names), "steps=60", "optimizer.lr=0.1"]
    sweep = run(tmp_path, *words, loss=bowl)
    first = sweep.curves[sweep.curves["step"] == 0]
    assert len(sweep.trials) == 2**7
    for name in names:
        assert set(sweep.trials[f"model.{name}"]) == {1.0, 5.5}
        np.testing.assert_allclose(sweep.trials[f"final_param.{name}"], 3.0, atol=1e-4)
        assert first[f"param.{name}"].tolist() == sweep.trials[f"model.{name}"].tolist()


def test_coordinates_may_be_positional_alone_and_fields_keywords(tmp_path):
    def bowl(x, y, /, *, a=1.0):
        return (x - a) ** 2 + (y + a) ** 2

    words = ["model.x=0.0", "model.y=0.0", "grid.loss.a=[1.0,2.0]", "steps=200", "optimizer.lr=0.1"]
    trials = run(tmp_path, *words, loss=bowl).trials
    np.testing.assert_allclose(trials["final_param.x"], [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(trials["final_param.y"], [-1.0, -2.0], rtol=1e-6)


def test_a_cube_has_no_minimum_and_a_long_valley_has_one(tmp_path):
    """An eigenvalue that goes to 0 on the way is flat; one that is small but far from rounding is not."""
    cube = run(tmp_path / "cube", "model.x=0.5", "steps=1000", "optimizer.lr=0.1", loss=lambda x: x**3)
    assert cube.trials["kind"].tolist() == ["flat"]
    assert cube.trials["minimum"].isna().all()

    def valley(x, y):
        return 0.5 * (1e-3 * x**2 + 1e5 * y**2)

    words = ["model.x=1e-6", "model.y=0.0", "steps=5", "optimizer.lr=1e-6"]
    (found,) = run(tmp_path / "valley", *words, loss=valley).trials.to_dict("records")
    assert (found["kind"], found["minimum"]) == ("minimum", "x=0, y=0")


def test_very_many_coordinates_are_minimized_and_not_recorded(tmp_path):
    start = ",".join(["1.0"] * 300)
    words = [f"model.v=[{start}]", "steps=50", "optimizer.lr=0.1", "keep.params=all"]
    sweep = run(tmp_path, *words, loss=lambda v: jnp.sum((v - 0.5) ** 2))
    assert not [name for name in sweep.curves if name.startswith("param.")]
    np.testing.assert_allclose(sweep.params(0)["v"], 0.5, atol=1e-4)
    assert sweep.trials["kind"].isna().all()
    few = run(
        tmp_path / "few",
        f"model.v=[{start[:39]}]",
        "steps=90",
        "optimizer.lr=0.1",
        loss=lambda v: jnp.sum(v**2),
    )
    assert few.trials["minimum"].tolist() == ["v.0=0, v.1=0, v.2=0, … (norm 0)"] or few.trials[
        "minimum"
    ].iloc[0].startswith("v.0=0, v.1=0, v.2=0, … (norm ")


@pytest.mark.parametrize("word", ["model.z=3", "model.spraed=0.5"])
def test_what_no_function_of_an_axis_has_is_refused(here, word):
    with pytest.raises(ConfigError) as error:
        vsweep.sweep([*BASE, "grid.loss=[quartic,parabola]", "model.x=1", word, "dir=kept"], quiet=True)
    assert error.value.field == word.partition("=")[0]
    assert not list(here.iterdir())


def test_a_seed_that_changes_nothing_is_told(tmp_path, capsys):
    words = ["loss=quartic", "model.x=1.0", "steps=40", "seeds=2", f"dir='{tmp_path / 'kept'}'"]
    vsweep.sweep([*BASE, *words])
    said_ = capsys.readouterr().err
    assert "all seeds give the same result; model.spread varies the starting points" in said_


def test_trials_side_by_side_have_the_eigenvalues_of_trials_alone(tmp_path):
    """A person's own function has lanes on a CPU too."""
    words = ["model.y=1.0", "grid.model.x={linspace:[-2.0,2.0,8]}", "steps=30", "optimizer.lr=1e-3"]
    many = run(tmp_path / "many", *words, "block=8", loss=rosenbrock)
    alone = run(tmp_path / "alone", *words, "block=1", loss=rosenbrock)
    assert many.plan["programs"][0]["lanes"] > 1
    for name in ("hessian_0", "hessian_1", "final_param.x"):
        np.testing.assert_allclose(many.trials[name], alone.trials[name], rtol=1e-9)
    assert many.trials["kind"].tolist() == alone.trials["kind"].tolist()


def test_where_a_function_is_zero_at_its_start_it_may_rise(tmp_path):
    """A first value of 0 says nothing of how large the function is: a rise to 1 is no divergence."""

    def lopsided(x):
        return jnp.where(x > 0.0, 1.0, 50.0) * x**2 - 1.0

    words = ["model.x=1.0", "optimizer.lr=0.6", "steps=1", "record_every=1"]
    sweep = run(tmp_path, *words, loss=lopsided)
    np.testing.assert_allclose(sweep.curves["train_loss"], [0.0, 1.0], rtol=1e-6)
    assert sweep.trials["status"].tolist() == ["ok"]
