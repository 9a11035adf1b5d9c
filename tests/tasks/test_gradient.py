"""The gradient itself: of one point by hand, by a reverse mode of scalars, and by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scalar_autodiff import Value

from vsweep.tasks.losses import LOSSES, sigmoid_cross_entropy
from vsweep.tasks.models import MODELS
from vsweep.tasks.task import Examples, Supervised

# Binary cross-entropy at one point whose class is 1.
X, W, B = (-1.0, -2.0), (2.0, -3.0), -3.0
SCORE, PROBABILITY, LOSS = 1.0, 0.7310586, 0.3132617
GRADIENT = (0.26894142, 0.53788284, -0.26894142)


def by_hand():
    """Score, probability, loss, and gradient: `(p - 1) x` by the weights, and `p - 1` by the bias."""
    score = W[0] * X[0] + W[1] * X[1] + B
    p = 1.0 / (1.0 + np.exp(-score))
    return score, p, -np.log(p), [(p - 1.0) * X[0], (p - 1.0) * X[1], p - 1.0]


def by_scalars():
    w, b = [Value(one) for one in W], Value(B)
    score = w[0] * X[0] + w[1] * X[1] + b
    p = 1.0 / (1.0 + (-score).exp())
    loss = -p.log()
    loss.backward()
    return score.number, p.number, loss.number, [w[0].slope, w[1].slope, b.slope]


def by_jax(dtype):
    """The gradient of the loss alone."""

    def loss(params):
        score = params[:2] @ jnp.asarray(X, dtype) + params[2]
        return sigmoid_cross_entropy(score[None, None], jnp.asarray([1], jnp.int32))[0], score

    (value, score), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray([*W, B], dtype))
    return score, jax.nn.sigmoid(score), value, gradient


def by_the_task(dtype):
    """The gradient of logistic regression as it is trained."""
    make = Supervised(
        MODELS["logistic"], LOSSES["sigmoid_cross_entropy"], 2, 1, (("init", ("zeros",)),), (), dtype
    )
    task = make({"model": {"init": jnp.int32(0), "init_scale": jnp.asarray(1.0, dtype)}, "loss": {}})
    params = [{"w": jnp.asarray([W], dtype), "b": jnp.asarray([B], dtype)}]
    examples = Examples(jnp.asarray(X, dtype)[:, None], jnp.asarray([1], jnp.int32))
    score = task.apply(params, examples.x)[0, 0]
    (value, _), (gradient,) = jax.value_and_grad(task.loss, has_aux=True)(params, examples)
    return score, jax.nn.sigmoid(score), value, [*gradient["w"][0], gradient["b"][0]]


def assert_is_the_point(score, probability, loss, gradient):
    assert float(score) == SCORE
    assert float(probability) == pytest.approx(PROBABILITY, abs=5e-8)
    assert float(loss) == pytest.approx(LOSS, abs=5e-8)
    np.testing.assert_allclose(gradient, GRADIENT, rtol=0.0, atol=2e-8)


def test_by_hand():
    assert_is_the_point(*by_hand())


def test_by_a_reverse_mode_of_scalars():
    assert_is_the_point(*by_scalars())


@pytest.mark.parametrize("made", [by_jax, by_the_task])
def test_by_jax_and_all_of_them_agree(made):
    with jax.enable_x64(True):
        found = made("float64")
        assert_is_the_point(*found)
        for other in (by_hand(), by_scalars()):
            for one, two in zip(found, other, strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-14)


@pytest.mark.parametrize("made", [by_jax, by_the_task])
def test_in_the_precision_that_is_trained_in(made):
    score, probability, loss, gradient = made("float32")
    assert float(score) == SCORE
    np.testing.assert_allclose(probability, PROBABILITY, rtol=2e-7)
    np.testing.assert_allclose(loss, LOSS, rtol=2e-7)
    np.testing.assert_allclose(gradient, GRADIENT, rtol=5e-7)


def test_a_scalar_that_is_used_twice_counts_twice():
    """`x^2 y + x / y - y` by both, where each is met on several ways."""
    x, y = Value(3.0), Value(-2.0)
    made = x * x * y + x / y - y
    made.backward()
    assert made.number == 9.0 * -2.0 - 1.5 + 2.0
    assert x.slope == pytest.approx(2.0 * 3.0 * -2.0 + 1.0 / -2.0)
    assert y.slope == pytest.approx(9.0 - 3.0 / 4.0 - 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_network_by_a_reverse_mode_of_scalars(seed):
    """Two sigmoid units over two features, three examples of a number, as they are trained."""
    rng = np.random.default_rng(seed)
    w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in ((2, 2), 2, (1, 2), 1))
    x, y = rng.standard_normal((2, 3)), rng.standard_normal(3)
    values = [[Value(one) for one in array.ravel()] for array in (w1, b1, w2, b2)]
    total = Value(0.0)
    for i in range(3):
        hidden = [
            1.0
            / (1.0 + (-(values[0][2 * j] * x[0, i] + values[0][2 * j + 1] * x[1, i] + values[1][j])).exp())
            for j in range(2)
        ]
        output = values[2][0] * hidden[0] + values[2][1] * hidden[1] + values[3][0]
        total = total + (output - y[i]) ** 2
    (total / 3.0).backward()
    static = (("init", ("zeros",)), ("width", 2), ("depth", 1), ("activation", "sigmoid"))
    make = Supervised(MODELS["mlp"], LOSSES["squared_error"], 2, 1, static, (), "float64")
    with jax.enable_x64(True):
        fields = {"init": jnp.int32(0), "width": jnp.int32(2), "init_scale": jnp.float64(1.0)}
        params = [{"w": jnp.asarray(w1), "b": jnp.asarray(b1)}, {"w": jnp.asarray(w2), "b": jnp.asarray(b2)}]
        examples = Examples(jnp.asarray(x), jnp.asarray(y))
        task = make({"model": fields, "loss": {}})
        found = jax.grad(lambda p: task.loss(p, examples)[0])(params)
    got = [found[0]["w"], found[0]["b"], found[1]["w"], found[1]["b"]]
    for array, scalars in zip(got, values, strict=True):
        np.testing.assert_allclose(array.ravel(), [one.slope for one in scalars], rtol=1e-12)
