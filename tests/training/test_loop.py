"""Records, minibatches, metrics, divergence and dtypes against descents written out in NumPy."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_helpers import (
    as_layers,
    assert_same_bits,
    examples,
    make_hparams,
    make_static,
    np_gradients,
    np_metrics,
    train_block,
    trial_of,
)

from vsweep.tasks.task import Data, Examples, Task
from vsweep.training import loop
from vsweep.training.loop import TrainingLength, recorded_steps
from vsweep.training.program import precision_context
from vsweep.training.vectorize import train_one

ROWS, LR, DECAY = 10, 0.2, 0.05


def _descent(layers, part, loss, activation, steps, batches=None):
    """The layers at each step of gradient descent in NumPy, the first ones included."""
    path = [layers]
    for k in range(steps):
        seen = part if batches is None else Examples(part.x[:, batches[k]], part.y[batches[k]])
        _, grads = np_gradients(layers, seen, loss, activation)
        layers = [
            (w - LR * (gw + DECAY * w), b - LR * gb) for (w, b), (gw, gb) in zip(layers, grads, strict=True)
        ]
        path.append(layers)
    return path


def _assert_metrics(curve, length, path, train, val, loss, activation, rtol):
    assert set(curve.metrics) == {
        *(f"{p}_{m}" for p in ("train", "val") for m in ("loss", "accuracy")),
        "grad_norm",
        "param_norm",
    }
    for i, k in enumerate(recorded_steps(length)):
        want = np_metrics(path[k], train, loss, activation)
        held_out = np_metrics(path[k], val, loss, activation)
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(curve.metrics[f"train_{name}"][i], want[name], rtol=rtol)
            np.testing.assert_allclose(curve.metrics[f"val_{name}"][i], held_out[name], rtol=rtol)
        for name in ("grad_norm", "param_norm"):
            np.testing.assert_allclose(curve.metrics[name][i], want[name], rtol=rtol)


@pytest.mark.parametrize(
    ("steps", "every", "want"),
    [(12, 5, [0, 5, 10, 12]), (10, 5, [0, 5, 10]), (3, 1, [0, 1, 2, 3]), (4, 9, [0, 4]), (1, 1, [0, 1])],
)
def test_recorded_steps(steps, every, want):
    assert recorded_steps(TrainingLength(steps, every, None)).tolist() == want


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize(("steps", "every"), [(12, 4), (12, 5), (3, 9), (4, 1), (1, 1)])
def test_a_training_without_branches_is_the_same(steps, every, batch_size):
    """A GPU and a TPU train so. A rate of 300 diverges."""
    train, val = examples("softmax_cross_entropy"), examples("softmax_cross_entropy", rows=9, seed=1)
    static = make_static(steps=steps, record_every=every, batch_size=batch_size, dtype="float64")
    hparams = make_hparams(static, lr=[0.2, 300.0], diverge_above=3.0)
    found = []
    for branches in (True, False):
        with precision_context(static):
            data = jax.tree.map(jnp.asarray, Data(train, val))
            one = partial(train_one, static, data=data, branches=branches)
            found.append(jax.device_get(jax.jit(jax.vmap(one))(hparams)))
    assert steps < 12 or found[0].diverged_at[1] > 0 > found[0].diverged_at[0]
    assert found[0].metrics["train_loss"].shape == (2, len(recorded_steps(static.length)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), *found)


def test_the_norm_of_a_devices_single_sum_is_that_of_all_leaves():
    rng = np.random.default_rng(0)
    tree = {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(4), "c": np.float64(2.0)}
    flat = np.concatenate([tree["b"], [2.0], tree["w"].ravel()])
    for norm in (loop._norm, loop._norm_by_leaf):
        found, finite = norm(jax.tree.map(jnp.float32, tree))
        np.testing.assert_allclose(found, np.linalg.norm(flat), rtol=1e-6)
        assert finite
        for value in (np.nan, np.inf):
            assert not norm(jax.tree.map(jnp.float32, tree | {"c": value}))[1]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_record_every_changes_no_value(batch_size):
    train, val = examples("softmax_cross_entropy"), examples("softmax_cross_entropy", rows=9, seed=1)
    curves = {}
    for every in (1, 5):
        static = make_static(
            "logistic", steps=12, record_every=every, batch_size=batch_size, inits=("zeros",)
        )
        curves[every] = trial_of(train_block(static, make_hparams(static, lr=[0.2]), train, val), 0)
    assert_same_bits(curves[5].params, curves[1].params)
    assert_same_bits(curves[5].metrics, {name: m[[0, 5, 10, 12]] for name, m in curves[1].metrics.items()})


@pytest.mark.parametrize(
    ("model", "loss", "activation"),
    [("logistic", "sigmoid_cross_entropy", "identity"), ("mlp", "softmax_cross_entropy", "gelu")],
)
def test_float64_curve_is_that_of_numpy(model, loss, activation):
    train, val = examples(loss), examples(loss, rows=11, seed=1)
    static = make_static(
        model,
        loss,
        depth=2,
        width=5,
        activation=activation,
        inits=("lecun_uniform",),
        dtype="float64",
        steps=22,
        record_every=4,
    )
    hparams = make_hparams(static, lr=[0.0, LR], weight_decay=DECAY)
    curve = train_block(static, hparams, train, val)
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves((curve.metrics, curve.params)))
    path = _descent(as_layers(curve.params, 0), train, loss, activation, 22)
    _assert_metrics(trial_of(curve, 1), static.length, path, train, val, loss, activation, 1e-12)
    for got, want in zip(as_layers(curve.params, 1), path[-1], strict=True):
        np.testing.assert_allclose(got[0], want[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(got[1], want[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("model", "optimizer"), [("mlp", "sgd"), ("logistic", "adam")])
def test_bfloat16_runs_and_stays_finite(model, optimizer):
    train, val = examples("softmax_cross_entropy"), examples("softmax_cross_entropy", rows=11, seed=1)
    static = make_static(model, width=5, optimizer=optimizer, dtype="bfloat16", inits=("lecun_uniform",))
    numbers = {"weight_decay": 0.01} if optimizer == "sgd" else {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
    hparams = make_hparams(static, lr=[0.05], **numbers)
    with jax.numpy_dtype_promotion("standard" if optimizer == "adam" else "strict"):
        curve = trial_of(train_block(static, hparams, train, val), 0)
    assert all(np.isfinite(m.astype(np.float32)).all() for m in curve.metrics.values())
    assert curve.diverged_at == -1
    assert curve.metrics["train_loss"][-1] < curve.metrics["train_loss"][0]


class _Visits(NamedTuple):
    """A weight per example, whose gradient says that the example was in the batch."""

    metrics: tuple[str, ...] = ("loss",)
    static: tuple = ()
    recorded: tuple = ()
    draw: None = None

    def __call__(self, hparams):
        def apply(params, x):
            return params["w"] @ x

        def loss(params, part):
            return -jnp.mean(apply(params, part.x)), {}

        return Task(lambda key: {"w": jnp.zeros((1, ROWS), jnp.float64)}, loss, apply)


def _visits(size, seeds, steps=18, vmap_size=1, draw=None):
    """`(trials, steps, examples)`: whether the example was in the step's batch.

    The rate halves at every step, so that the bits of a weight are the steps that saw its example.
    """
    static = replace(
        make_static("linear", "squared_error", dtype="float64", inits=("zeros",)),
        task=_Visits(draw=draw),
        schedule="exponential",
        length=TrainingLength(steps, steps, size),
    )
    base = make_static("linear", "squared_error", dtype="float64", inits=("zeros",))
    hparams = make_hparams(base, seed=seeds, lr=float(size), diverge_above=10.0)
    hparams = hparams._replace(
        task={},
        schedule={name: np.full(len(seeds), v) for name, v in (("decay_rate", 0.5), ("decay_steps", 1.0))},
    )
    curve = train_block(static, hparams, Examples(np.eye(ROWS), np.zeros(ROWS)), vmap_size=vmap_size)
    bits = np.rint(curve.params["w"][:, 0, :] * 2.0 ** (steps - 1)).astype(np.int64)
    return (bits[:, None, :] >> np.arange(steps)[::-1][None, :, None]) & 1


def test_an_epoch_sees_each_example_at_most_once():
    seen = _visits(3, [0, 0, 1, 2])
    assert (seen.sum(axis=2) == 3).all()
    epochs = seen.reshape(4, 6, 3, ROWS)
    assert (epochs.sum(axis=2) <= 1).all()
    # Who is left out changes from epoch to epoch, and so does the order.
    assert len(np.unique(epochs[0].sum(axis=1), axis=0)) > 1
    assert len(np.unique(epochs[0][:, 0], axis=0)) > 1
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()
    assert (seen[2] != seen[3]).any()
    np.testing.assert_array_equal(seen, _visits(3, [0, 0, 1, 2], vmap_size=4))


def _one_of_the_rows(key, size):
    """Fresh examples of `_Visits`: of so many rows, each step has some, drawn anew."""
    rows = jax.random.randint(key, (size,), 0, ROWS, jnp.int32)
    return jax.nn.one_hot(rows, ROWS, dtype=jnp.float32).T, jnp.zeros(size, jnp.float32)


def test_every_step_draws_fresh_examples_from_the_seed():
    seen = _visits(1, [0, 0, 1, 2, 3, 4, 5, 6], draw=_one_of_the_rows)
    assert (seen.sum(axis=2) == 1).all()
    row = seen.argmax(axis=2)
    np.testing.assert_array_equal(row[0], row[1])
    # Uniform and independent: of 7 seeds and 18 steps, 126 draws of 10 rows; neighbors agree by chance.
    counts = np.bincount(row[1:].ravel(), minlength=ROWS)
    assert ((counts - 12.6) ** 2 / 12.6).sum() < 27.9
    assert (row[1:, 1:] == row[1:, :-1]).mean() < 0.25
    assert (row[1:-1] == row[2:]).mean() < 0.25
    np.testing.assert_array_equal(
        seen, _visits(1, [0, 0, 1, 2, 3, 4, 5, 6], vmap_size=4, draw=_one_of_the_rows)
    )


def _the_same_ten(key, size):
    part = examples("softmax_cross_entropy", rows=size, seed=5)
    return jnp.asarray(part.x, jnp.float32), jnp.asarray(part.y)


def test_a_step_descends_on_its_fresh_examples_and_records_on_those_that_stay():
    loss = "softmax_cross_entropy"
    train, val = examples(loss, rows=ROWS), examples(loss, rows=11, seed=1)
    static = make_static("logistic", batch_size=7, steps=9, record_every=4, dtype="float64")
    static = replace(static, task=replace(static.task, draw=_the_same_ten))
    curve = train_block(static, make_hparams(static, lr=[LR], weight_decay=DECAY, init="zeros"), train, val)
    drawn = examples(loss, rows=7, seed=5)
    drawn = Examples(drawn.x.astype(np.float32).astype(np.float64), drawn.y)
    path = _descent([(np.zeros((3, 3)), np.zeros(3))], drawn, loss, "identity", 9)
    _assert_metrics(trial_of(curve, 0), static.length, path, train, val, loss, "identity", 1e-12)


def test_minibatch_descent_is_that_of_numpy():
    """The order depends on the seed alone, so that it is the one that another task showed."""
    loss = "softmax_cross_entropy"
    train, val = examples(loss, rows=ROWS), examples(loss, rows=11, seed=1)
    static = make_static(
        "logistic", batch_size=3, steps=14, record_every=4, dtype="float64", inits=("lecun_uniform",)
    )
    hparams = make_hparams(static, seed=[0, 0, 1], lr=[0.0, LR, LR], weight_decay=DECAY)
    curve = train_block(static, hparams, train, val)
    batches = [np.flatnonzero(step) for step in _visits(3, [0, 0, 1, 2])[0]]
    path = _descent(as_layers(curve.params, 0), train, loss, "identity", 14, batches)
    _assert_metrics(trial_of(curve, 1), static.length, path, train, val, loss, "identity", 1e-12)
    assert np.abs(curve.metrics["train_loss"][1] - curve.metrics["train_loss"][2]).min() > 1e-6


def test_a_batch_of_all_is_the_full_batch():
    train = examples("softmax_cross_entropy")
    curves = []
    for size in (None, len(train.y)):
        static = make_static("logistic", batch_size=size, inits=("zeros",))
        curves.append(train_block(static, make_hparams(static, lr=[0.3]), train))
    for name, values in curves[0].metrics.items():
        np.testing.assert_allclose(values, curves[1].metrics[name], rtol=1e-5, err_msg=name)


def _quadratic(steps, lr):
    """The losses of a linear model on squared error, with a rate too large, in NumPy."""
    part = examples("squared_error", rows=16)
    layers = [(np.zeros((1, 3)), np.zeros(1))]
    losses = []
    for _ in range(steps + 1):
        value, ((gw, gb),) = np_gradients(layers, part, "squared_error")
        losses.append(value)
        layers = [(layers[0][0] - lr * gw, layers[0][1] - lr * gb)]
    return part, np.array(losses)


@pytest.mark.parametrize("vmap_size", [4, pytest.param(1, marks=pytest.mark.tail)])
def test_diverged_at_the_first_step_past_the_limit(vmap_size):
    steps, lr = 18, 1.4
    part, losses = _quadratic(steps, lr)
    growth = losses / losses[0]
    first = int(np.argmax(growth > 1.0))
    limits = np.sqrt(growth[first:-1] * growth[first + 1 :])
    limits = np.concatenate([limits, growth[-1] * np.array([1.5, 2.0]), growth[first : first + 1] * 0.999])
    limits = np.append(limits, [limits[0]] * (-len(limits) % 4))
    want = [int(np.argmax(growth > m)) if (growth > m).any() else -1 for m in limits]
    static = make_static(
        "linear", "squared_error", steps=steps, record_every=7, dtype="float64", inits=("zeros",)
    )
    curve = train_block(static, make_hparams(static, lr=lr, diverge_above=limits), part, vmap_size=vmap_size)
    assert curve.diverged_at.tolist() == want
    assert {-1, steps, first} <= set(want)


def test_diverged_where_the_loss_is_no_longer_finite():
    """In float32 squares overflow before the limit of 3e38 times the first loss is passed."""
    part, _ = _quadratic(1, 1.0)
    static = make_static("linear", "squared_error", steps=9, record_every=4, inits=("zeros",))
    rates = [1e-1, 1e8, 1e14, 1e30]
    hparams = make_hparams(static, lr=rates, diverge_above=3e38)
    curve = train_block(static, hparams, part)
    want = []
    for lr in rates:
        with np.errstate(over="ignore", invalid="ignore"):
            losses = _quadratic(9, lr)[1]
        over = losses > 3.4e38
        want.append(int(np.argmax(over)) if over.any() else -1)
    assert curve.diverged_at.tolist() == want
    assert len(set(want)) == 4
