"""Each initializer against its definition and against `jax.nn.initializers`; padded draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_helpers import INITS
from jax import random
from scipy.stats import ks_2samp, kstest, truncnorm

from vsweep.tasks.initializers import draw_weights

OUT, IN = 600, 200
PADDED = 9, 7
TRUE = [(6, 4), (4, 7), (5, 5), (1, 7)]
GAIN_BY_FAN = {
    "lecun_normal": 1.0 / IN,
    "lecun_uniform": 1.0 / IN,
    "he_normal": 2.0 / IN,
    "he_uniform": 2.0 / IN,
    "glorot_normal": 2.0 / (IN + OUT),
    "glorot_uniform": 2.0 / (IN + OUT),
    "normal": 1.0,
    "uniform": 1.0 / 3.0,
}
# The standard deviation of a standard normal cut at 2, from its closed form.
CUT_STD = float(truncnorm.std(-2.0, 2.0))
JAX = {
    "lecun_normal": jax.nn.initializers.lecun_normal(),
    "lecun_uniform": jax.nn.initializers.lecun_uniform(),
    "he_normal": jax.nn.initializers.he_normal(),
    "he_uniform": jax.nn.initializers.he_uniform(),
    "glorot_normal": jax.nn.initializers.glorot_normal(),
    "glorot_uniform": jax.nn.initializers.glorot_uniform(),
    "normal": jax.nn.initializers.normal(1.0),
    "uniform": lambda key, shape: 2.0 * jax.nn.initializers.uniform(1.0)(key, shape) - 1.0,
}


@partial(jax.jit, static_argnums=2)
def _draw(index, key, shape, fan_out, fan_in):
    return draw_weights(INITS, index, key, shape, fan_out, fan_in)


def draw(name, shape, true=None, seed=0):
    """Weights as a program draws them: the initializer's index and the true fans are traced."""
    fan_out, fan_in = true or shape
    weights = _draw(
        jnp.int32(INITS.index(name)), random.key(seed), shape, jnp.int32(fan_out), jnp.int32(fan_in)
    )
    return np.asarray(weights)


@pytest.mark.parametrize("name", GAIN_BY_FAN)
def test_variance_limits_and_shape_of_the_distribution(name):
    weights = draw(name, (OUT, IN))
    assert weights.shape == (OUT, IN)
    assert weights.dtype == np.float32
    std = GAIN_BY_FAN[name] ** 0.5
    flat = weights.ravel().astype(np.float64) / std
    # 120,000 draws: the standard error of the mean is 0.003, of the standard deviation under 0.002.
    assert abs(flat.mean()) < 0.012
    assert abs(flat.std() - 1.0) < 0.009
    if "uniform" in name:
        limit, law = 3.0**0.5, ("uniform", (-(3.0**0.5), 2.0 * 3.0**0.5))
    elif name == "normal":
        limit, law = np.inf, ("norm", ())
        assert 4.0 < np.abs(flat).max() < 6.0
    else:
        limit, law = 2.0 / CUT_STD, ("truncnorm", (-2.0, 2.0, 0.0, 1.0 / CUT_STD))
    assert np.abs(flat).max() <= limit * (1.0 + 1e-6)
    assert np.isinf(limit) or np.abs(flat).max() > 0.999 * limit
    assert kstest(flat, law[0], law[1]).pvalue > 1e-3


@pytest.mark.parametrize("name", JAX)
def test_same_law_as_in_jax(name):
    theirs = np.asarray(JAX[name](random.key(7), (IN, OUT))).ravel()
    ours = draw(name, (OUT, IN), seed=3).ravel()
    assert abs(ours.std() / theirs.std() - 1.0) < 0.01
    assert ks_2samp(ours, theirs).pvalue > 1e-3


def test_zeros():
    np.testing.assert_array_equal(draw("zeros", (7, 5)), np.zeros((7, 5), np.float32))


@pytest.mark.parametrize("name", GAIN_BY_FAN)
def test_rows_columns_and_seeds_are_independent(name):
    weights = draw(name, (OUT, IN)).astype(np.float64)
    other = draw(name, (OUT, IN), seed=1)
    assert abs(np.corrcoef(weights.ravel(), other.ravel())[0, 1]) < 0.015
    between = np.corrcoef(weights[:60])
    assert np.abs(between - np.eye(60)).max() < 5.0 / IN**0.5
    between = np.corrcoef(weights.T[:60])
    assert np.abs(between - np.eye(60)).max() < 5.0 / OUT**0.5


@pytest.mark.parametrize("name", INITS)
def test_padded_draw_begins_as_the_unpadded(name):
    for true in TRUE:
        alone = draw(name, true)
        padded = draw(name, PADDED, true)[: true[0], : true[1]]
        np.testing.assert_array_equal(alone, padded, strict=True)
        assert name == "zeros" or len(np.unique(alone)) == alone.size


@pytest.mark.parametrize("name", ["lecun_normal", "lecun_uniform", "normal", "uniform"])
def test_narrower_draw_is_a_prefix_of_the_wider(name):
    """With the fan-in that scales them alike, a layer of fewer units has the first units of a wider."""
    np.testing.assert_array_equal(draw(name, (4, 7)), draw(name, PADDED)[:4])


@pytest.mark.parametrize(
    ("true", "shape"),
    [(true, shape) for true in TRUE for shape in (true, PADDED)]
    + [((100, 100), (130, 100)), ((60, 200), (60, 200)), ((200, 60), (256, 100))],
)
def test_orthogonal_is_orthonormal(true, shape):
    weights = draw("orthogonal", shape, true).astype(np.float64)
    np.testing.assert_array_equal(weights[: true[0], : true[1]], draw("orthogonal", true, true))
    inside = weights[: true[0], : true[1]]
    product = inside.T @ inside if true[0] >= true[1] else inside @ inside.T
    np.testing.assert_allclose(product, np.eye(min(true)), atol=1e-6)
    # NumPy's factorization of the same draw, in float64, with the signs that make it unique.
    normal = draw("normal", true).astype(np.float64)
    q, r = np.linalg.qr(normal if true[0] >= true[1] else normal.T)
    q *= np.sign(np.diagonal(r))
    # The last rows of a large square draw are nearly dependent on the others.
    atol = 1e-4 if min(true) > 60 else 2e-6
    np.testing.assert_allclose(inside, q if true[0] >= true[1] else q.T, atol=atol)


def test_orthogonal_has_the_law_of_jax():
    """A QR factorization without fixed signs is not uniform over the orthonormal matrices."""
    keys = random.split(random.key(5), 3000)
    fans = jnp.int32(4), jnp.int32(3)
    one = partial(draw_weights, ("orthogonal",), jnp.int32(0))
    ours = np.asarray(jax.jit(jax.vmap(lambda k: one(k, (4, 3), *fans)))(keys))
    theirs = np.asarray(jax.jit(jax.vmap(lambda k: jax.nn.initializers.orthogonal()(k, (4, 3))))(keys))
    for place in np.ndindex(4, 3):
        assert ks_2samp(ours[:, *place], theirs[:, *place]).pvalue > 1e-4
        assert abs(ours[:, *place].mean()) < 5.0 * 0.5 / 3000**0.5


def test_index_chooses_the_initializer():
    """Under `vmap`, where every draw is made, each trial has that of its own initializer."""
    index = jnp.arange(len(INITS), dtype=jnp.int32)
    many = jax.vmap(lambda i: draw_weights(INITS, i, random.key(2), PADDED, jnp.int32(6), jnp.int32(4)))
    drawn = jax.jit(many)(index)
    for i, name in enumerate(INITS):
        alone = draw(name, PADDED, (6, 4), seed=2)
        np.testing.assert_array_equal(drawn[i][:6, :4], alone[:6, :4], err_msg=name)
