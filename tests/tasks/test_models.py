"""Gradients of every model and loss, and a step along them, against hand-written backpropagation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core_helpers import (
    INITS,
    as_layers,
    examples,
    make_hparams,
    make_static,
    np_gradients,
    np_metrics,
    take,
)
from jax import random

from vsweep.tasks.models import ACTIVATIONS, Within, logistic, mlp
from vsweep.tasks.task import Examples
from vsweep.training.optimizers import make_optimizer

FEATURES, WIDTH, PADDED, LR, DECAY, DELTA = 4, 5, 8, 0.3, 0.05, 0.7
CASES = [
    ("logistic", "sigmoid_cross_entropy", 0, "identity"),
    ("logistic", "softmax_cross_entropy", 0, "identity"),
    ("linear", "squared_error", 0, "identity"),
    ("linear", "huber", 0, "identity"),
    ("mlp", "sigmoid_cross_entropy", 1, "tanh"),
    ("mlp", "squared_error", 1, "gelu"),
    ("mlp", "huber", 1, "sigmoid"),
    *(("mlp", "softmax_cross_entropy", 2, activation) for activation in ACTIVATIONS),
    *(
        pytest.param("mlp", "softmax_cross_entropy", 1, activation, marks=pytest.mark.tail)
        for activation in ACTIVATIONS
    ),
    pytest.param("mlp", "squared_error", 3, "tanh", marks=pytest.mark.tail),
]


def _random_layers(static, depth):
    """Weights and biases of the true width, and the same with zeros around."""
    rng = np.random.default_rng(depth)
    true = [FEATURES, *[WIDTH] * depth, static.task.n_outputs]
    room = [FEATURES, *[PADDED] * depth, static.task.n_outputs]
    layers = [(rng.standard_normal((o, i)) / i**0.5, rng.standard_normal(o)) for i, o in _pairs(true)]
    params = []
    for (w, b), (i, o) in zip(layers, _pairs(room), strict=True):
        widen = {"w": np.zeros((o, i)), "b": np.zeros(o)}
        widen["w"][: w.shape[0], : w.shape[1]], widen["b"][: len(b)] = w, b
        params.append(widen)
    return layers, params


def _pairs(sizes):
    return list(itertools.pairwise(sizes))


def _assert_padded(params, layers, rtol=1e-12):
    """The leading parts are the layers, and all around them is zero."""
    for got, (w, b) in zip(params, layers, strict=True):
        for padded, true in ((np.array(got["w"]), w), (np.array(got["b"]), b)):
            inside = tuple(slice(n) for n in true.shape)
            np.testing.assert_allclose(padded[inside], true, rtol=rtol, atol=1e-14)
            padded[inside] = 0.0
            assert not padded.any()


@pytest.mark.parametrize(("model", "loss", "depth", "activation"), CASES)
def test_gradient_and_step(model, loss, depth, activation):
    static = make_static(
        model, loss, features=FEATURES, width=PADDED, depth=depth, activation=activation, dtype="float64"
    )
    width = WIDTH if model == "mlp" else None
    delta = DELTA if loss == "huber" else None
    hparams = take(make_hparams(static, width=width, delta=delta), 0)
    part = examples(loss, features=FEATURES)
    layers, params = _random_layers(static, depth)

    def step(params, hparams, part):
        task = static.task(hparams.task)
        (value, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, part)
        numbers = {"lr": jnp.float64(LR), "weight_decay": jnp.float64(DECAY)}
        optimizer = make_optimizer("sgd", "constant", 10, numbers, {})
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return value, grads, optax.apply_updates(params, updates)

    with jax.enable_x64(True):
        value, grads, stepped = jax.jit(step)(params, hparams, part)
    want, want_grads = np_gradients(layers, part, loss, activation, DELTA)
    np.testing.assert_allclose(value, want, rtol=1e-13)
    _assert_padded(grads, want_grads, rtol=1e-11)
    moved = [
        (w - LR * (gw + DECAY * w), b - LR * gb) for (w, b), (gw, gb) in zip(layers, want_grads, strict=True)
    ]
    _assert_padded(stepped, moved, rtol=1e-11)


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_accuracy_is_the_share_of_right_classes(loss):
    static = make_static("logistic", loss, features=FEATURES)
    part = examples(loss, features=FEATURES, rows=37)
    layers, params = _random_layers(static, 0)
    params = jax.tree.map(np.float32, params)
    part32 = Examples(part.x.astype(np.float32), part.y)
    _, metrics = static.task(take(make_hparams(static), 0).task).loss(params, part32)
    want = np_metrics(layers, part, loss)["accuracy"]
    assert 0.0 < want < 1.0
    np.testing.assert_allclose(metrics["accuracy"], want, rtol=1e-6)


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_huge_weights_keep_the_gradient_finite(model):
    static = make_static(model, activation="relu", width=4, inits=("lecun_normal",))
    task = static.task(take(make_hparams(static), 0).task)
    part = examples("softmax_cross_entropy")
    part = Examples(part.x.astype(np.float32), part.y)

    def at_start(key):
        params = jax.tree.map(lambda p: p * 1e4, task.init(key))
        return jax.value_and_grad(task.loss, has_aux=True)(params, part)

    (value, _), grads = jax.jit(at_start)(random.key(0))
    assert value > 1e3
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, grads)))


@pytest.fixture(scope="module")
def start():
    """The first parameters of an MLP of two hidden layers, by initializer, scale and seed."""
    static = make_static("mlp", features=FEATURES, width=PADDED, depth=2)
    made = jax.jit(lambda hparams, seed: static.task(hparams.task).init(random.key(seed)))

    def start(init, *, scale=1.0, seed=0):
        hparams = make_hparams(static, width=WIDTH, init=init, init_scale=scale)
        return as_layers(jax.device_get(made(take(hparams, 0), np.uint32(seed))))

    return start


@pytest.mark.parametrize("init", INITS)
def test_first_weights(start, init):
    true = [FEATURES, WIDTH, WIDTH, 3]
    once, thrice = start(init), start(init, scale=3.0)
    for (w, b), (scaled, _), (i, o) in zip(once, thrice, _pairs(true), strict=True):
        assert not b.any()
        assert not w[o:].any()
        assert not w[:, i:].any()
        assert init == "zeros" or (w[:o, :i] != 0).all()
        np.testing.assert_allclose(scaled, 3.0 * w, rtol=1e-6)
    if init != "zeros":
        assert np.abs(once[1][0][:3, :4] - once[2][0][:3, :4]).max() > 1e-3
        assert np.abs(once[1][0] - start(init, seed=1)[1][0]).max() > 1e-3


@pytest.mark.parametrize("bias_init", ["normal", "uniform"])
def test_first_biases_do_not_hang_on_the_width_that_is_padded_to(bias_init):
    """They are drawn, masked like the weights, and leave the weights what they are."""
    made = {}
    for room, bias in itertools.product((WIDTH, PADDED), ("zeros", bias_init)):
        width, init = Within(jnp.int32(WIDTH), room), Within(jnp.int32(0), ("lecun_normal",))
        model = mlp(
            width=width, depth=2, activation="tanh", init=init, init_scale=jnp.float32(1.0), bias_init=bias
        )
        made[room, bias] = model.init(random.key(3), FEATURES, 2)
    for exact, padded, zeros in zip(
        made[WIDTH, bias_init], made[PADDED, bias_init], made[PADDED, "zeros"], strict=True
    ):
        out, into = exact["w"].shape
        np.testing.assert_array_equal(padded["b"][:out], exact["b"])
        np.testing.assert_array_equal(padded["b"][out:], 0.0)
        np.testing.assert_array_equal(padded["w"][:out, :into], exact["w"])
        np.testing.assert_array_equal(padded["w"], zeros["w"])
        assert (exact["b"] != 0.0).all()
    assert not set(made[WIDTH, bias_init][0]["b"].tolist()) & set(made[WIDTH, bias_init][1]["b"].tolist())


def test_many_first_biases_are_of_their_distribution():
    for bias_init, std in (("normal", 1.0), ("uniform", 3.0**-0.5)):
        init = Within(jnp.int32(0), ("zeros",))
        model = logistic(init=init, init_scale=jnp.float32(1.0), bias_init=bias_init)
        (layer,) = model.init(random.key(0), 1, 4000)
        assert abs(float(layer["b"].mean())) < 4.0 * std / 4000**0.5
        np.testing.assert_allclose(float(layer["b"].std()), std, rtol=0.05)
        np.testing.assert_array_equal(layer["w"], 0.0)


def test_a_start_is_the_weights_row_by_row_and_then_the_biases():
    init = Within(jnp.int32(0), ("normal",))
    given = jnp.arange(8.0, dtype=jnp.float32)
    model = logistic(init=init, init_scale=jnp.float32(1.0), start=given)
    (layer,) = model.init(random.key(0), 3, 2)
    np.testing.assert_array_equal(layer["w"], [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    np.testing.assert_array_equal(layer["b"], [6.0, 7.0])


def test_first_biases_are_no_weights():
    """They have a key of their own: standard normal weights and biases have no number in common."""
    init = Within(jnp.int32(0), ("normal",))
    model = logistic(init=init, init_scale=jnp.float32(1.0), bias_init="normal")
    (layer,) = model.init(random.key(0), 3, 50)
    assert not set(layer["w"].ravel().tolist()) & set(layer["b"].tolist())
