"""Data that are drawn by a formula: against what they are said to be, and against JAX's own draws."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vsweep
from vsweep.errors import ConfigError
from vsweep.tasks.data import jax_normal
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.data.splits import split
from vsweep.tasks.data.synthetic import DrawCurve, curve, line

LINE = {"rows": 100, "slope": 3.0, "intercept": 2.0, "noise": 0.5, "seed": 0}
CURVE = {"rows": 256, "noise": 0.02, "seed": 0, "fresh": True}


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31 - 1, 2**32 - 1])
def test_threefry_is_that_of_jax(seed):
    mine = jax_normal.split(jax_normal.key(seed), 3)
    with jax.threefry_partitionable(True):
        theirs = random.split(random.PRNGKey(seed, impl="threefry2x32"), 3)
        normal = np.asarray(random.normal(theirs[1], (5000,), jnp.float32))
    np.testing.assert_array_equal(mine, theirs)
    drawn = jax_normal.normal(mine[1], 5000)
    assert (drawn.dtype, drawn.shape) == (np.float32, (5000,))
    # As near as JAX's own inverse error function is to the exact one.
    np.testing.assert_allclose(drawn, normal, rtol=1e-5)
    # A longer draw begins as a shorter one.
    np.testing.assert_array_equal(jax_normal.normal(mine[1], 7), drawn[:7])


def test_normal_draws_are_normal():
    drawn = jax_normal.normal(jax_normal.key(3), 200_000).astype(np.float64)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1.0) < 0.01
    for within, share in [(1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)]:
        assert abs((np.abs(drawn) < within).mean() - share) < 0.005


def test_a_line_is_made_of_jaxs_draws():
    made = line(**LINE)
    with jax.threefry_partitionable(True):
        for_x, for_noise = random.split(random.PRNGKey(0, impl="threefry2x32"))
        x, noise = (np.asarray(random.normal(key, (100,), jnp.float32)) for key in (for_x, for_noise))
    np.testing.assert_allclose(made.x[:, 0], x, rtol=1e-6)
    np.testing.assert_allclose(made.truth, 3.0 * x + 2.0, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(made.y, 3.0 * x + 2.0 + 0.5 * noise, rtol=1e-6, atol=1e-6)
    for array in (made.x, made.y, made.truth):
        assert array.dtype == np.float64
        # Float32 as they are.
        np.testing.assert_array_equal(array, array.astype(np.float32))
    assert (made.classes, made.features, made.draw, made.note) == ((), ("x",), None, "")


def test_the_usual_line_has_its_known_descent():
    made = line(**LINE)
    x, y = made.x[:, 0], made.y
    exact = np.linalg.lstsq(np.stack([np.ones(100), x], axis=1), y, rcond=None)[0]
    np.testing.assert_allclose(exact, [1.896376, 2.989072], atol=1e-6)
    known = {10: (1.837028, 2.919836), 50: (1.896370, 2.989074)}
    intercept, slope = 1.0, 1.0
    for step in range(1, 51):
        off = slope * x + intercept - y
        intercept, slope = intercept - 0.2 * off.mean(), slope - 0.2 * (off * x).mean()
        if step in known:
            np.testing.assert_allclose((intercept, slope), known[step], atol=1e-6)


def test_a_line_without_noise_is_straight():
    made = line(**LINE | {"noise": 0.0, "slope": -2.0})
    np.testing.assert_array_equal(made.y, made.truth)
    np.testing.assert_allclose(made.y, 2.0 - 2.0 * made.x[:, 0], rtol=1e-6, atol=1e-6)


def test_noise_has_its_standard_deviation():
    for made, std in [
        (line(**LINE | {"rows": 20_000}), 0.5),
        (curve(**CURVE | {"rows": 20_000, "noise": 0.1}), 0.1),
    ]:
        noise = made.y - made.truth
        np.testing.assert_allclose(noise.std(), std, rtol=0.03)
        np.testing.assert_allclose(noise.mean(), 0.0, atol=0.03 * std)


@pytest.mark.parametrize(("name", "fields"), [("line", LINE), ("curve", CURVE)])
def test_they_follow_their_seed(name, fields):
    first, again, other = (DATASETS[name](**fields | {"seed": seed}) for seed in (1, 1, 2))
    for part in ("x", "y", "truth"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
        assert (getattr(first, part) != getattr(other, part)).any()


def test_the_same_data_whatever_jax_is_set_to():
    first, again = line(**LINE), None
    with jax.threefry_partitionable(False), jax.enable_x64(True), jax.default_prng_impl("rbg"):
        again = line(**LINE)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)


def test_a_line_that_float32_cannot_hold_is_refused():
    for change in ({"slope": 1e300}, {"slope": -1e39}, {"intercept": 1e39}, {"noise": 1e39}):
        with pytest.raises(ConfigError, match=r"^data\.target: not finite in row 0"):
            split(line(**LINE | change), 0.0, 0, standardize=False)


def test_to_look_at_a_sweep_of_a_line_starts_no_device():
    # The number of devices is refused once there are some.
    script = (
        "import jax; from vsweep.commands.plan import try_plan\n"
        "try_plan(['data=line', 'model=linear', 'tracker=none'])\n"
        "try_plan(['data=curve', 'model=linear', 'tracker=none'])\n"
        "jax.config.update('jax_num_cpu_devices', 3); assert len(jax.devices()) == 3"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def height(x):
    x = np.asarray(x, np.float64)
    return x**3 - 0.3 * x**4 - 2.0 * np.sin(x)


def test_a_curve_lies_on_its_formula():
    made = curve(**CURVE)
    assert made.x.shape == (256, 1)
    assert -1.5 <= made.x.min() < -1.4
    assert 3.4 < made.x.max() <= 3.5
    np.testing.assert_allclose(made.truth, height(made.x[:, 0]), rtol=1e-12)
    assert 0.0 < np.abs(made.y - made.truth).max() < 0.1
    assert (made.classes, made.features) == ((), ("x",))
    assert made.draw == DrawCurve(0.02)
    assert curve(**CURVE | {"fresh": False}).draw is None


def test_fresh_examples_lie_about_the_curve():
    x, y = DrawCurve(0.3)(random.key(4), 20_000)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((1, 20_000), (20_000,), jnp.float32, jnp.float32)
    x, noise = np.asarray(x[0], np.float64), np.asarray(y, np.float64) - height(x[0])
    # As a uniform distribution has them: a quarter of the points in each quarter.
    np.testing.assert_allclose(np.histogram(x, 4, (-1.5, 3.5))[0], 5000, rtol=0.05)
    np.testing.assert_allclose(noise.std(), 0.3, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(x, noise)[0, 1], 0.0, atol=0.03)
    x, y = DrawCurve(0.0)(random.key(4), 1000)
    np.testing.assert_allclose(y, height(x[0]), atol=1e-5)


def test_fresh_examples_follow_their_key_alone():
    draw = DrawCurve(0.1)
    key = random.key(5, impl="threefry2x32")
    plain = draw(key, 8)
    drawn = jax.jit(draw, static_argnums=1)
    for got in (
        draw(random.PRNGKey(5, impl="threefry2x32"), 8),
        drawn(key, 8),
        jax.tree.map(lambda leaf: leaf[0], jax.vmap(lambda k: drawn(k, 8))(key[None])),
    ):
        for a, b in zip(got, plain, strict=True):
            assert a.dtype == jnp.float32
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    with jax.threefry_partitionable(False), jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(draw(key, 8)[0], plain[0])
    with jax.enable_x64(True):
        np.testing.assert_array_equal(draw(key, 8)[0], plain[0])
        assert draw(key, 8)[1].dtype == jnp.float32
        assert drawn(key, 8)[1].dtype == jnp.float32
    assert (draw(random.key(6), 8)[0] != plain[0]).all()


def test_a_draw_is_known_by_its_value():
    assert DrawCurve(0.1) == DrawCurve(0.1) != DrawCurve(0.2)
    assert hash(DrawCurve(0.1)) == hash(DrawCurve(0.1))
    assert repr(DrawCurve(0.1)) == "DrawCurve(noise=0.1)"


def test_a_part_of_the_fixed_rows_can_be_held_out():
    made = split(curve(**CURVE), 0.25, 0, test_fraction=0.25, standardize=False)
    assert [len(part) for part in made.y] == [128, 64, 64]
    assert made.dataset.draw == DrawCurve(0.02)


def test_a_trained_line_has_its_known_descent(here):
    def at_one():
        return vsweep.Model(
            lambda key, n_features, n_outputs: {"slope": 1.0, "intercept": 1.0},
            lambda params, x: params["slope"] * x + params["intercept"],
        )

    words = ["data=line", "optimizer=sgd", "optimizer.lr=0.1", "tracker=none", "verify=false"]
    for steps, intercept, slope in [(10, 1.837028, 2.919836), (50, 1.896370, 2.989074)]:
        params = vsweep.sweep([*words, f"steps={steps}"], model=at_one, quiet=True).params(0)
        np.testing.assert_allclose(params["intercept"], intercept, atol=2e-6)
        np.testing.assert_allclose(params["slope"], slope, atol=2e-6)
