"""Sweeps from Python, with a person's own models, losses and data."""

import inspect
import textwrap

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.commands.sweep import sweep
from vsweep.engine import compiler
from vsweep.errors import ConfigError
from vsweep.store.files import Files
from vsweep.tasks.models import Model

X = np.linspace(-1.0, 2.0, 12)
Y = 0.7 - 1.3 * X + 0.1 * np.sin(9.0 * X)


def line(start=0.0):
    def init(key, n_features, n_outputs):
        return {"a": jnp.float32(start), "b": jnp.float32(start)}

    def apply(params, x):
        return params["a"] + params["b"] * x

    return Model(init, apply)


def descent(start, lr, steps, slope=lambda r: 2 * r, loss=np.square):
    """The line's curve by hand: the training loss at steps 0 to `steps`."""
    a = b = start
    curve = []
    for _ in range(steps + 1):
        r = a + b * X - Y
        curve.append(loss(r).mean())
        a, b = a - lr * slope(r).mean(), b - lr * (slope(r) * X).mean()
    return curve


def words(**more):
    return {
        "data": {"val_fraction": 0.0, "standardize": False},
        "tracker": "none",
        "steps": 6,
        "record_every": 1,
        "seeds": 1,
        **more,
    }


def follow(made, **by):
    """The curves of a sweep of lines are those by hand."""
    for _, trial in made.trials.iterrows():
        curve = made.curves.loc[made.curves["trial"] == trial["trial"], "train_loss"]
        expected = descent(trial["model.start"], trial["optimizer.lr"], 6, **by)
        np.testing.assert_allclose(curve, expected, rtol=1e-4)


GRID = {"optimizer": {"lr": [0.05, 0.2]}, "model": {"start": [0.0, 1.0, -0.5]}}


def test_a_line_of_ones_own(here):
    made = vsweep.sweep(words(grid=GRID, dir="kept"), model=line, data=(X, Y), quiet=True)
    assert len(made.trials) == 6
    assert len(made.plan["programs"]) == 1
    follow(made)
    best = made.best("train_loss")
    finals = {(lr, start): descent(start, lr, 6)[-1] for lr in (0.05, 0.2) for start in (0.0, 1.0, -0.5)}
    assert (best["optimizer.lr"], best["model.start"]) == min(finals, key=finals.get)
    np.testing.assert_allclose(best["mean"], min(finals.values()), rtol=1e-4)
    assert (best["seeds"], best["diverged"]) == (1, 0)
    again = vsweep.load("kept")
    pd.testing.assert_frame_equal(again.trials, made.trials)
    pd.testing.assert_frame_equal(again.curves, made.curves)
    assert repr(again) == "<Sweep of 6 of 6 trials in kept>"


def absolute(outputs, targets, weight=1.0):
    return weight * jnp.abs(outputs[0] - targets)


def examples(rows=12):
    return X[:rows], Y[:rows]


@pytest.fixture
def module(here, monkeypatch):
    """A module of one's own, `mine`, where one stands."""
    parts = [inspect.getsource(part) for part in (line, absolute, examples)]
    head = "import jax.numpy as jnp\nimport numpy as np\nfrom vsweep import Model\n"
    arrays = f"X = np.array({X.tolist()})\nY = np.array({Y.tolist()})"
    (here / "mine.py").write_text("\n\n".join([head, arrays, *parts]))
    monkeypatch.syspath_prepend(here)


def test_the_same_by_dotted_paths_and_a_loss_of_ones_own(module):
    made = vsweep.sweep(
        [
            "model=own",
            "model._target_=mine.line",
            "grid.model.start=[0.0,1.0]",
            "loss=own",
            "loss._target_=mine.absolute",
            "loss.weight=3.0",
            "data=own",
            "data._target_=mine.examples",
            "data.val_fraction=0",
            "data.standardize=false",
            "grid.optimizer.lr=[0.05]",
            "tracker=none",
            "steps=6",
            "record_every=1",
        ],
        quiet=True,
    )
    follow(made, slope=lambda r: 3 * np.sign(r), loss=lambda r: 3 * np.abs(r))
    assert made.config["model"]["_target_"] == "mine.line"


def test_data_and_loss_of_ones_own_as_functions(here):
    grid = {"data": {"rows": [6, 12]}, "loss": {"weight": [1.0, 2.0]}}
    made = vsweep.sweep(words(grid=grid), model=line, loss=absolute, data=examples, quiet=True)
    first = made.curves[made.curves["step"] == 0]["train_loss"].to_numpy()
    expected = [w * np.abs(Y[:rows]).mean() for rows in (6, 12) for w in (1.0, 2.0)]
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    assert sorted(record["train_rows"] for record in made.plan["data"].values()) == [6, 12]


def test_classes_of_ones_own_have_an_output_each(here):
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = np.where(x[:, 0] > 0, "warm", np.where(x[:, 1] > 0, "cold", "mild"))
    made = vsweep.sweep(
        {"model": {"name": "logistic"}, "tracker": "none", "steps": 2, "data": {"val_fraction": 0.0}},
        data=(x, y),
        quiet=True,
    )
    (record,) = made.plan["data"].values()
    assert record["classes"] == ["cold", "mild", "warm"]
    np.testing.assert_allclose(made.curves["train_loss"][0], np.log(3), rtol=1e-6)
    assert "val_loss" not in made.curves


def test_words_and_nested_fields_are_the_same(here):
    nested = {
        "data": {"name": "iris", "val_fraction": 0.5},
        "model": "logistic",
        "optimizer": {"name": "momentum", "lr": 0.01},
        "grid": {"optimizer": {"momentum": [0.5, 0.9], "weight_decay": {"logspace": [1e-8, 1e-2, 2]}}},
        "seeds": [3, 1],
        "steps": 2,
        "tracker": "none",
    }
    flat = [
        "data=iris",
        "data.val_fraction=0.5",
        "model=logistic",
        "optimizer=momentum",
        "optimizer.lr=0.01",
        "grid.optimizer.momentum=[0.5,0.9]",
        "grid.optimizer.weight_decay={logspace:[1e-8,1e-2,2]}",
        "seeds=[3,1]",
        "steps=2",
        "tracker=none",
    ]
    first, second = (vsweep.sweep(config, quiet=True) for config in (nested, flat))
    assert first.config == second.config
    assert first.directory != second.directory
    pd.testing.assert_frame_equal(first.trials, second.trials)
    pd.testing.assert_frame_equal(first.curves, second.curves)
    assert first.directory.parent == second.directory.parent
    assert first.directory.parent.parts == ("outputs", "iris-logistic")


def test_numpy_values_are_taken():
    made, _ = vsweep.plan(
        {
            "data": "iris",
            "tracker": "none",
            "grid": {"optimizer": {"lr": np.array([0.1, 0.2])}, "model": {"width": range(2, 5)}},
            "steps": np.int64(3),
        }
    )
    assert [axis.values for axis in made.grid.axes] == [(0.1, 0.2), (2, 3, 4)]


def test_plan_writes_nothing(here):
    _, planned = vsweep.plan(["data=iris", "tracker=none", "seeds=3"])
    assert len(planned.grid) == 3
    assert list(here.iterdir()) == []


def test_a_quiet_sweep_says_nothing(small, capsys, here):
    vsweep.sweep(words(), model=line, data=(X, Y), quiet=True)
    assert capsys.readouterr() == ("", "")


# Faults of a user's own function are reported before anything is written.


def raising(*_, **__):
    raise ZeroDivisionError("of my own")


def no_model(start=0.0):
    return start


def raising_model():
    return Model(lambda key, n_features, n_outputs: 1 / 0, lambda params, x: x)


def raising_apply():
    return line()._replace(apply=raising)


def flat_apply():
    """Outputs `(examples,)`, where `(n_outputs, examples)` are asked for."""
    return line()._replace(apply=lambda params, x: params["a"] + params["b"] * x[0])


def wide_loss(outputs, targets):
    """A loss of `(examples, examples)`."""
    return jnp.square(outputs[0][:, None] - targets[None, :])


def mean_of_pairs(x):
    return X, Y


WRONG = {
    "a model that is no model": ({"model": no_model}, "model._target_"),
    "a model that raises": ({"model": raising_model}, "model._target_"),
    "an apply that raises": ({"model": raising_apply}, "model._target_"),
    "an apply of another shape": ({"model": flat_apply}, "model._target_"),
    "a loss that raises": ({"model": line, "loss": raising}, "._target_"),
    "a loss of another shape": ({"model": line, "loss": wide_loss}, "._target_"),
    "data that raise": ({"model": line, "data": raising}, "data._target_"),
    "data of other shapes": ({"model": line, "data": (X, Y[:3])}, "data"),
    "data that are not finite": ({"model": line, "data": (X, Y * np.nan)}, "data.target"),
    "no function": ({"model": 3}, "model"),
    "an own loss that is no function": ({"model": line, "loss": "huber"}, "loss"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_ones_own_is_told_and_nothing_is_written(case, here):
    own, field = WRONG[case]
    with pytest.raises(ConfigError) as error:
        vsweep.sweep(words(), **{"data": (X, Y), **own}, quiet=True)
    assert error.value.field.endswith(field)
    assert "\n" not in str(error.value)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"model": {"stat": 1.0}},
            "model.stat: no such field; did you mean model.start?",
        ),
        ({"grid": {"model": {"stat": [1.0]}}}, "grid.model.stat: no such field"),
        ({"model": {"start": "far"}}, "model._target_: cannot be trained"),
    ],
)
def test_a_field_that_ones_own_does_not_take_is_told(more, message, here):
    with pytest.raises(ConfigError) as error:
        vsweep.sweep(words(**more), model=line, data=(X, Y), quiet=True)
    assert str(error.value).startswith(message)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(): pass", "model._target_: cannot import 'broken.line'"),
        ("import no_such_module", "model._target_: cannot import 'broken.line'"),
        ("def line(:", "model._target_: cannot import 'broken.line'"),
        ("1 / 0", "model._target_: cannot import 'broken.line'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(here, monkeypatch, body, message):
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(__import__("sys").modules, "broken", raising=False)
    (here / "broken.py").write_text(textwrap.dedent(body))
    with pytest.raises(ConfigError) as error:
        vsweep.plan(["model=own", "model._target_=broken.line", "data=iris", "tracker=none"])
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_devices_are_those_that_a_plan_counts():
    _, planned = vsweep.plan(["data=iris", "tracker=none"])
    found = vsweep.devices()
    assert planned.hardware[:2] == (found[0].platform, len(found))


def test_the_public_names():
    assert set(vsweep.__all__) >= {
        "ConfigError",
        "Dataset",
        "Model",
        "Sweep",
        "devices",
        "load",
        "plan",
        "sweep",
    }
    assert all(hasattr(vsweep, name) for name in vsweep.__all__)
    with pytest.raises(AttributeError, match="no attribute 'swoop'"):
        vsweep.swoop  # noqa: B018


def test_one_executable_for_data_sets_that_differ_in_values_alone(tmp_path, monkeypatch):
    compiled = []
    compile_block = compiler.compile_block
    monkeypatch.setattr(
        compiler, "compile_block", lambda *a, **k: compiled.append(a) or compile_block(*a, **k)
    )

    def absolute(outputs, targets):
        return jnp.abs(outputs[0] - (targets == 1).astype(outputs.dtype))

    words = ["data=moons", "data.rows=20", "model=logistic", "grid.data.noise=[0.1,0.2,0.3]", "steps=2"]
    sweep([*words, "tracker=none", f"dir='{tmp_path / 'a'}'"], loss=absolute_of_first(absolute), quiet=True)
    assert len(compiled) == 1


def absolute_of_first(loss):
    def both(outputs, targets):
        return loss(outputs[1:] - outputs[:1], targets)

    return both


def test_a_program_that_fails_keeps_the_block_ahead_of_it(tmp_path, monkeypatch):
    compile_block = compiler.compile_block

    def fails_second(static, *args, **kwargs):
        if dict(static.task.static)["depth"] == 2:
            raise RuntimeError("no memory")
        return compile_block(static, *args, **kwargs)

    monkeypatch.setattr(compiler, "compile_block", fails_second)
    words = ["data=iris", "model=mlp", "grid.model.depth=[1,2]", "steps=2", "tracker=none"]
    with pytest.raises(RuntimeError, match="no memory"):
        sweep([*words, f"dir='{tmp_path / 'a'}'"], quiet=True)
    kept = vsweep.load(tmp_path / "a")
    assert kept.trials["model.depth"].tolist() == [1]
    assert len(kept.curves) == 2


def test_a_data_set_with_targets_outside_its_classes_is_refused(tmp_path):
    x, y = np.zeros((4, 1)), np.array([1, 2, 1, 2])
    data = vsweep.Dataset(x, y, ("one", "two"), ("x",))
    with pytest.raises(vsweep.ConfigError, match="it takes the integers from 0 to 1"):
        sweep(["tracker=none", f"dir='{tmp_path / 'a'}'"], data=lambda: data, quiet=True)


@pytest.mark.parametrize("word", ["optimizer.lr=1e39", "grid.optimizer.lr=[0.1,1e-50]"])
def test_a_number_that_the_dtype_cannot_hold_is_refused(tmp_path, word):
    with pytest.raises(vsweep.ConfigError, match=r"^optimizer\.lr: got 1e.*float32 holds"):
        sweep(["tracker=none", word, f"dir='{tmp_path / 'a'}'"], quiet=True)


def test_no_cell_has_a_collapsed_number():
    made, _ = vsweep.plan(["grid.model.name=[logistic,mlp]", "grid.model.width=[4,8]"])
    assert made.grid.cells.tolist() == [0, 2, 3]
    assert made.cell(2).model.name == "mlp"
    for number in (1, 4):
        with pytest.raises(KeyError):
            made.cell(number)


def test_a_sweep_with_pictures_and_a_report_reads_its_trials_once(here, monkeypatch):
    """`trials.parquet` grows with the sweep, and the plan changes when the pictures are drawn."""
    read, names = Files.read, []
    monkeypatch.setattr(Files, "read", lambda files, name: names.append(name) or read(files, name))
    words = ["data=iris", "model=logistic", "steps=2", "seeds=2", "tracker=none", "dir=kept", "report=true"]
    sweep = vsweep.sweep(
        [*words, "pictures=[{curves: {by: optimizer.lr}}]", "grid.optimizer.lr=[0.1,0.3]"], quiet=True
    )
    assert names.count("trials.parquet") == 1
    ((name, reason),) = sweep.plan["pictures"].items()
    assert reason == ""
    assert sweep.plan == vsweep.load("kept").plan
    assert (here / "kept" / "pictures" / name).is_file()
