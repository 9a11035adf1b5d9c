"""JAX's gradients against central differences: right ones pass, and wrong ones are found and named."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vsweep
from vsweep.engine.checks.gradients import THRESHOLD, _draw_scalars, _positions
from vsweep.errors import ConfigError
from vsweep.store.checks import GradientCheck
from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.models import ACTIVATIONS, Model

QUIET = ["tracker=none"]
CLASSES = {"softmax_cross_entropy": 3, "sigmoid_cross_entropy": 2, "clipped_cross_entropy": 2}
LINEAR = dict.fromkeys(CLASSES, "logistic")


def arrays(loss):
    """Twenty examples of three features, and targets that go with a loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3))
    score = x @ rng.standard_normal((3, 3)) + rng.standard_normal((20, 3))
    classes = CLASSES.get(loss, 0)
    return x, score[:, :classes].argmax(axis=1) if classes else score[:, 0]


def assert_right(found, left_open=0):
    assert not found.wrong
    # Two ways of the same number are never the same to the bit everywhere.
    assert 0.0 < found.error < THRESHOLD
    assert found.open == left_open
    assert 0.0 < found.doubt < 1e-6


# Every activation with one loss, and every loss with one activation; the tail has all pairs.
SOME = {
    "softmax_cross_entropy": list(ACTIVATIONS),
    "sigmoid_cross_entropy": ["gelu"],
    "clipped_cross_entropy": ["sigmoid"],
    "squared_error": ["tanh"],
    "huber": ["relu"],
}


@pytest.mark.parametrize(
    ("loss", "activations"),
    [
        *SOME.items(),
        *(
            pytest.param(loss, [name for name in ACTIVATIONS if name not in some], marks=pytest.mark.tail)
            for loss, some in SOME.items()
            if len(some) < len(ACTIVATIONS)
        ),
    ],
)
def test_every_activation_and_loss(loss, activations):
    assert set(SOME) == set(LOSSES)
    axes = [f"grid.model.activation=[{','.join(activations)}]", "grid.model.width=[2,5]", "model.depth=2"]
    words = ["model=mlp", f"loss={loss}", "data.stratify=false", *axes, *QUIET]
    found = vsweep.check(words, data=arrays(loss))
    # A unit of which an example silences all that is below lies on the kink of relu, its bias being 0.
    kinked = found.programs[activations.index("relu")].open if "relu" in activations else 0
    assert kinked <= 2
    assert_right(found, kinked)
    assert len(found.programs) == len(activations)
    outputs = LOSSES[loss].n_outputs(CLASSES.get(loss, 0))
    # The narrow network's padding is not counted; the wide one has 30 scalars and more, and some are drawn.
    narrow = 2 * (3 + 1) + 2 * (2 + 1) + outputs * (2 + 1)
    wide = 5 * (3 + 1) + 5 * (5 + 1) + outputs * (5 + 1)
    for program in found.programs:
        assert 2 * narrow + 2 * 40 <= program.scalars <= 2 * (narrow + wide)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_initializer_of_an_affine_model(loss):
    """Weights of zero among them."""
    axis = "grid.model.init=[" + ",".join(INITIALIZERS) + "]"
    words = [f"model={LINEAR.get(loss, 'linear')}", f"loss={loss}", axis, *QUIET]
    assert_right(vsweep.check(words, data=arrays(loss)))


@pytest.mark.parametrize("init", ["zeros", pytest.param("normal", marks=pytest.mark.tail)])
def test_relu_on_digits(init):
    """With weights of zero every unit is on its kink at first, with nothing behind it, and off it nearby."""
    words = ["data=digits", "model=mlp", "model.width=16", "model.depth=2", "model.activation=relu"]
    found = vsweep.check([*words, f"model.init={init}", *QUIET])
    assert not found.wrong
    assert found.open <= 2
    assert found.scalars == 2 * sum(
        min(size, max(4, round(50 * size / 1482))) for size in (64 * 16, 16, 256, 16, 160, 10)
    )


def test_precision_and_dtype_of_the_sweep_do_not_matter():
    for word in ("dtype=bfloat16", "dtype=float64", "precision=default"):
        assert_right(vsweep.check(["data=iris", "model=logistic", word, *QUIET]))


# A person's own.


@jax.custom_vjp
def _square(r, off):
    return r * r


_square.defvjp(lambda r, off: (r * r, (r, off)), lambda kept, g: (2.0 * kept[1] * kept[0] * g, None))


def off_by_some(outputs, targets, off=1.0):
    """A squared error whose gradient is `off` times what it is."""
    return _square(outputs[0] - targets, off)


def absolute(outputs, targets):
    return jnp.abs(outputs[0] - targets)


def line(start=1.0):
    def init(key, n_features, n_outputs):
        return {"slope": start, "intercept": jnp.zeros(())}

    def apply(params, x):
        return params["slope"] * x + params["intercept"]

    return Model(init, apply)


X = np.linspace(-1.0, 2.0, 15)
LINE = ["data.val_fraction=0", "data.standardize=false", *QUIET]


def check_line(*words, loss=None, model=line):
    return vsweep.check([*words, *LINE], model=model, loss=loss, data=(X, 3.0 * X + 2.0))


def test_ones_own_that_are_right():
    for loss in (None, off_by_some, absolute):
        assert_right(check_line("grid.model.start=[-1.0,0.5]", loss=loss))


@pytest.mark.parametrize("off", [1.00001, 0.5, -1.0, 0.0])
def test_ones_own_gradient_that_is_wrong_is_found_by_its_parameter_and_cell(off):
    """It is wrong in the last cell alone."""
    found = check_line(f"grid.loss.off=[1.0,{off}]", loss=off_by_some)
    assert found.wrong
    assert found.error == pytest.approx(abs(1.0 - off) / max(1.0, abs(off)), rel=1e-3)
    worst = found.worst
    assert worst.parameter in ("slope", "intercept")
    assert worst.cell == {"loss.off": off}
    assert (worst.trial, worst.seed) == (1, 0)
    assert worst.gradient == pytest.approx(off * worst.difference, rel=1e-6)
    # By hand, where it is taken at the first parameters.
    residual = 1.0 * X - (3.0 * X + 2.0)
    slopes = {"slope": 2.0 * np.mean(residual * X), "intercept": 2.0 * np.mean(residual)}
    if not worst.moved:
        assert worst.difference == pytest.approx(slopes[worst.parameter], rel=1e-7)


@jax.custom_jvp
def _wrong_tanh(x):
    return jnp.tanh(x)


_wrong_tanh.defjvp(lambda x, dx: (jnp.tanh(x[0]), dx[0] * (1.0 - jnp.tanh(x[0]))))


def shallow(wrong=False):
    """A network whose gradient through `tanh` is wrong, while that of `out` is right."""

    def init(key, n_features, n_outputs):
        ramp = jnp.linspace(-1.0, 1.0, 2 * n_features).reshape(2, n_features)
        return {"layers": [ramp, jnp.full((n_outputs, 2), 0.3)]}

    def apply(params, x):
        into, out = params["layers"]
        return out @ (_wrong_tanh if wrong else jnp.tanh)(into @ x)

    return Model(init, apply)


def test_ones_own_model_that_is_wrong_in_one_layer_is_found_there():
    words = ["data=iris", "grid.model.wrong=[false,true]", *QUIET]
    found = vsweep.check(words, model=shallow)
    right, wrong = found.programs
    assert right.worst.error < THRESHOLD < wrong.worst.error
    assert re.fullmatch(r"layers\.0\[[01], [0-3]\]", found.worst.parameter)
    assert found.worst.cell == {"model.wrong": True}
    assert right.scalars == wrong.scalars == 2 * (8 + 6)


def test_a_gradient_that_weights_of_zero_hide_is_found_near_them():
    def hidden(wrong=True):
        model = shallow(wrong)

        def init(key, n_features, n_outputs):
            return jax.tree.map(jnp.zeros_like, model.init(key, n_features, n_outputs))

        return Model(init, model.apply)

    found = vsweep.check(["data=iris", *QUIET], model=hidden)
    assert found.wrong
    assert found.worst.moved


def plain_relu(outputs, targets):
    return jax.nn.relu(outputs[0])


@jax.custom_jvp
def _steep(z):
    return jnp.maximum(z, 0.0)


_steep.defjvp(lambda z, dz: (_steep(z[0]), dz[0] * jnp.where(z[0] > 0, 1.0, jnp.where(z[0] < 0, 0.0, 7.0))))


def steep_on_the_kink(outputs, targets):
    return _steep(outputs[0])


def test_on_a_kink_what_is_between_the_sides_is_open_and_what_is_not_is_wrong():
    found = check_line("model.start=0.0", loss=plain_relu)
    assert not found.wrong
    # Slope and intercept, at the first parameters alone.
    assert (found.open, found.scalars) == (2, 4)
    found = check_line("model.start=0.0", loss=steep_on_the_kink)
    assert found.wrong
    assert not found.worst.moved
    slope = {"intercept": 7.0, "slope": 7.0 * X.mean()}
    assert found.worst.gradient == pytest.approx(slope[found.worst.parameter])


def not_a_number(outputs, targets):
    """Finite, with a gradient that is not: the branch that is not taken has none."""
    nothing = outputs[0] - outputs[0]
    return outputs[0] + jnp.where(nothing > 0, jnp.sqrt(nothing), 0.0)


def infinite(outputs, targets):
    return jnp.log(jnp.zeros_like(outputs[0])) + outputs[0]


@pytest.mark.parametrize("loss", [not_a_number, infinite])
def test_what_is_not_finite_is_wrong(loss):
    found = check_line(loss=loss)
    assert found.wrong
    assert found.error == np.inf


def test_one_entry_of_many_that_is_not_finite_is_found():
    def many():
        def init(key, n_features, n_outputs):
            return {"w": jnp.linspace(-1.0, 1.0, 2001)}

        def apply(params, x):
            # At 0 the branch that is not taken has an infinite slope.
            w = params["w"].at[777].set(0.0)
            held = params["w"][777] - params["w"][777]
            return jnp.sum(jnp.sin(w)) * x + jnp.where(held > 0, jnp.sqrt(held), 0.0)

        return Model(init, apply)

    found = check_line(model=many)
    assert found.error == np.inf
    assert found.worst.parameter == "w[777]"


def test_a_loss_that_is_not_defined_near_the_first_parameters_is_checked_there_alone():
    def narrow(outputs, targets):
        """Be finite for outputs within a thousandth of 0 alone."""
        return jnp.where(jnp.abs(outputs[0]) < 1e-3, jnp.exp(outputs[0]), jnp.nan)

    found = check_line("model.start=0.0", loss=narrow)
    assert not found.wrong
    assert found.scalars == 2


def rough(outputs, targets, off=1.0):
    single = [one.astype(jnp.float32) for one in (outputs[0], targets)]
    return _square(single[0] - single[1], jnp.asarray(off).astype(jnp.float32)).astype(outputs.dtype)


def test_a_loss_in_float32_is_no_error_and_is_known_less_well():
    found = check_line(loss=rough)
    assert not found.wrong
    assert found.open == 0
    assert 1e-5 < found.doubt < 1e-2
    assert check_line("loss.off=1.1", loss=rough).wrong


def stopped(outputs, targets):
    """The gradient of half of it."""
    return outputs[0] * jax.lax.stop_gradient(outputs[0])


def test_a_gradient_that_is_stopped_is_no_gradient_of_the_loss():
    found = check_line(loss=stopped)
    assert found.error == pytest.approx(0.5, rel=1e-6)


def test_a_function_that_cannot_be_had_in_float64_is_told():
    def fixed(outputs, targets):
        return jax.lax.add(outputs[0], jnp.zeros(15, jnp.float32))

    with pytest.raises(ConfigError, match=r"^loss\._target_: cannot be trained \(TypeError: "):
        vsweep.check(["model=linear", *LINE], loss=fixed, data=(X, X))


# The scalars that are drawn.


@pytest.mark.parametrize("seed", range(3))
def test_some_of_every_array_are_drawn_by_their_names(seed):
    params = {"a": np.ones((40, 30)), "b": [np.ones(3), np.ones(())], "c": np.ones((2, 2, 2))}
    names, at = _draw_scalars(params, 0, np.random.default_rng(seed), np.zeros(1212, bool))
    arrays_ = dict(_positions(params, 0))
    assert len(set(names)) == len(names) == len(set(at.tolist()))
    drawn = {name: [n for n in names if n.partition("[")[0] == name] for name in arrays_}
    assert {name: len(found) for name, found in drawn.items()} == {"a": 50, "b.0": 3, "b.1": 1, "c": 4}
    assert drawn["b.0"] == ["b.0[0]", "b.0[1]", "b.0[2]"]
    assert drawn["b.1"] == ["b.1"]
    for name, place in zip(names, at.tolist(), strict=True):
        array, _, index = name.partition("[")
        where = tuple(int(i) for i in index.rstrip("]").split(", ") if i)
        assert arrays_[array][where] == place


def test_nothing_that_pads_is_drawn():
    params = [{"b": np.ones(8), "w": np.ones((8, 3))}, {"b": np.ones(2), "w": np.ones((2, 8))}]
    found = {name: places.tolist() for name, places in _positions(params, 2)}
    assert found["0.w"] == [[8, 9, 10], [11, 12, 13]]
    assert (found["0.b"], found["1.b"]) == ([0, 1], [32, 33])
    assert found["1.w"] == [[34, 35], [42, 43]]


def test_the_same_every_time():
    words = ["data=iris", "model=mlp", "model.width=20", "grid.optimizer.lr=[0.1,1.0]", *QUIET]
    one, two = vsweep.check(words), vsweep.check(words)
    assert isinstance(one, GradientCheck)
    assert one == two
    assert one.worst.cell in ({"optimizer.lr": 0.1}, {"optimizer.lr": 1.0})


# The command line.

MINE = """
import jax
import jax.numpy as jnp


@jax.custom_vjp
def square(r):
    return r * r


square.defvjp(lambda r: (r * r, r), lambda r, g: ({factor} * r * g,))


def f(outputs, targets):
    return square(outputs[0] - targets)
"""


def check_mine(cli, here, name, factor):
    (here / f"{name}.py").write_text(MINE.replace("{factor}", factor))
    words = ["data=diabetes", "model=mlp", "grid.model.width=[2,3]", "loss=own", f"loss._target_={name}.f"]
    done = cli("check", *words)
    assert [path.name for path in here.iterdir() if path.name != "__pycache__"] == [f"{name}.py"]
    return done


def test_the_command_says_that_gradients_agree(cli, here):
    done = check_mine(cli, here, "mine_right", "2.0")
    assert done.status == 0
    (line_,) = done.out.splitlines()
    number = r"(\d\.\de-\d\d)"
    said = re.fullmatch(
        rf"gradients agree: worst relative error {number}, at [01]\.[bw]\[\d(?:, \d)?\] of model\.width=[23]"
        r" \(1 program, (\d+) derivatives\)",
        line_,
    )
    assert said, line_
    assert 0.0 < float(said[1]) < THRESHOLD
    # 2 and 3 units of 10 features, each trial at two points.
    assert int(said[2]) == 2 * (2 * 11 + 3 + 3 * 11 + 4)
    (of_program,) = done.err.splitlines()
    assert of_program.startswith(f"diabetes mlp, {said[2]} derivatives: worst relative error {said[1]}, at ")


def test_the_command_names_a_gradient_that_is_wrong_and_fails(cli, here):
    done = check_mine(cli, here, "mine_wrong", "1.9")
    assert done.status == 1
    (line_,) = done.out.splitlines()
    number = r"(-?[\d.]+(?:e[-+]\d\d)?)"
    said = re.fullmatch(
        r"a gradient is wrong: at [01]\.[bw]\[\d(?:, \d)?\] of model\.width=[23] \(trial [01]\) the gradient"
        rf" is {number}, and central differences give {number}, relative error 5\.0e-02"
        r" \(1 program, 124 derivatives\)",
        line_,
    )
    assert said, line_
    assert float(said[1]) == pytest.approx(0.95 * float(said[2]), rel=1e-6)


@pytest.mark.tail
def test_the_command_in_a_process_of_its_own(command, tmp_path):
    done = command(tmp_path, "check", "sweep=optimizers", "grid.model.width=[4]")
    assert done.status == 0, done.err
    assert done.out.startswith("gradients agree: worst relative error ")
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["modle.width=3"], "modle.width: no such field; did you mean model.width?"),
        (["data=iris", "model=linear"], "model: got linear, and data=iris has 3 classes; "),
        (["loss=own", "loss._target_=nowhere.f"], "loss._target_: "),
        (["--multirun"], "--multirun: no such flag; it takes one of --help"),
    ],
)
def test_what_cannot_be_checked_is_one_line(cli, here, words, said):
    done = cli("check", *words)
    assert (done.status, done.out) == (2, "")
    (line_,) = done.err.splitlines()
    assert line_.startswith(f"vsweep: {said}")
    assert list(here.iterdir()) == []


def test_the_help_has_it(cli):
    assert re.search(r"^ +check +\w", cli("help").out, re.MULTILINE)
    assert "usage: vsweep check [FIELD=VALUE …]" in cli("check", "--help").out
    assert vsweep.check is vsweep.commands.check.check
