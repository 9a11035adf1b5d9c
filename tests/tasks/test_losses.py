"""Each loss against its closed form, at ordinary and at huge outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_helpers import CLASSES, EPS, np_loss

from vsweep.tasks.losses import (
    LOSSES,
    default_loss,
    gradient_in_one_pass,
    in_one_pass,
    join_sums,
    own_loss,
    softmax_cross_entropy,
)


def _case(loss, rows=40, scale=3.0):
    rng = np.random.default_rng(1)
    outputs = scale * rng.standard_normal((LOSSES[loss].n_outputs(CLASSES[loss]), rows))
    classes = CLASSES[loss]
    targets = rng.integers(0, classes, rows, dtype=np.int32) if classes else rng.standard_normal(rows)
    return outputs, targets


def _fields(loss, number):
    """The loss's fields, as numbers of this kind."""
    return {"huber": {"delta": number(0.7)}, "clipped_cross_entropy": {"eps": number(EPS)}}.get(loss, {})


@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_of_each_example(loss):
    outputs, targets = _case(loss)
    with jax.enable_x64(True):
        fields = _fields(loss, jnp.float64)
        value, pull = jax.vjp(lambda z: LOSSES[loss].value(z, jnp.asarray(targets), **fields), outputs)
        (gradient,) = pull(jnp.ones_like(value))
    want, want_gradient = np_loss(loss, outputs, targets, 0.7)
    np.testing.assert_allclose(value, want, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_huge_outputs_stay_finite(loss):
    outputs, targets = _case(loss)
    outputs = (np.sign(outputs) * 1e4).astype(np.float32)
    outputs[:, -5:] = 0.0
    targets = targets if targets.dtype == np.int32 else targets.astype(np.float32)
    fields = _fields(loss, jnp.float32)
    value, pull = jax.vjp(lambda z: LOSSES[loss].value(z, jnp.asarray(targets), **fields), outputs)
    (gradient,) = pull(jnp.ones_like(value))
    want, want_gradient = np_loss(loss, outputs.astype(np.float64), targets, 0.7)
    # A float32 of 1e4 is known to 1e-3, and so is its difference with another.
    np.testing.assert_allclose(value, want, rtol=1e-6, atol=2e-3)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-5, atol=1e-6)
    assert value.max() > (18.0 if loss == "clipped_cross_entropy" else 1e3)


def test_a_clipped_loss_is_bounded_and_stops_teaching_where_it_is():
    z = jnp.asarray([-np.inf, -200.0, -90.0, -40.0, -5.0, 0.0, 5.0, 40.0, 200.0, np.inf], jnp.float32)
    value, pull = jax.vjp(
        lambda z: LOSSES["clipped_cross_entropy"].value(
            z[None], jnp.ones(10, jnp.int32), eps=jnp.float32(1e-8)
        ),
        z,
    )
    (gradient,) = pull(jnp.ones(10))
    p = np.exp(-np.logaddexp(0.0, -np.asarray(z, np.float64)))
    np.testing.assert_allclose(value, -np.log(p + 1e-8), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, -p * (1.0 - p) / (p + 1e-8), rtol=1e-5, atol=1e-6)
    assert abs(gradient[1]) < 1e-6 < 0.9 < abs(gradient[4])


def test_clipped_and_exact_agree_where_eps_is_nothing():
    outputs, targets = _case("clipped_cross_entropy")
    outputs, targets = jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)
    clipped = LOSSES["clipped_cross_entropy"].value(outputs, targets, eps=jnp.float32(1e-30))
    exact = LOSSES["sigmoid_cross_entropy"].value(outputs, targets)
    np.testing.assert_allclose(clipped, exact, rtol=1e-5, atol=1e-6)


def test_huber_is_smooth_where_it_turns():
    z = jnp.asarray([[-2.5, -2.0, -1.5, 0.0, 1.5, 2.0, 2.5]])
    y, delta = jnp.zeros(7), jnp.float32(2.0)
    value, pull = jax.vjp(lambda z: LOSSES["huber"].value(z, y, delta=delta), z)
    np.testing.assert_array_equal(value, [3.0, 2.0, 1.125, 0.0, 1.125, 2.0, 3.0])
    np.testing.assert_array_equal(pull(jnp.ones(7))[0][0], [-2.0, -2.0, -1.5, 0.0, 1.5, 2.0, 2.0])


def test_classes_that_the_outputs_say():
    outputs = jnp.asarray([[0.1, 3.0, -1.0], [0.2, 2.0, -1.5], [0.0, 5.0, -2.0]])
    np.testing.assert_array_equal(LOSSES["softmax_cross_entropy"].classify(outputs), [1, 2, 0])
    for name in ("sigmoid_cross_entropy", "clipped_cross_entropy"):
        np.testing.assert_array_equal(LOSSES[name].classify(jnp.asarray([[0.1, -0.1, 0.0]])), [1, 0, 0])
    assert LOSSES["squared_error"].classify is LOSSES["huber"].classify is None


def test_outputs_and_defaults_by_the_number_of_classes():
    assert [LOSSES["softmax_cross_entropy"].n_outputs(n) for n in (2, 7)] == [2, 7]
    assert [LOSSES[default_loss(n)].n_outputs(n) for n in (0, 2, 5)] == [1, 1, 5]
    assert [default_loss(n) for n in (0, 2, 3)] == [
        "squared_error",
        "sigmoid_cross_entropy",
        "softmax_cross_entropy",
    ]


def test_own_loss_has_an_output_per_class():
    def mine(outputs, targets):
        return outputs[0]

    assert own_loss(mine, 0).n_outputs(0) == 1
    assert own_loss(mine, 0).classify is None
    assert own_loss(mine, 2).n_outputs(2) == 2
    np.testing.assert_array_equal(own_loss(mine, 2).classify(jnp.asarray([[1.0, 0.0], [0.0, 1.0]])), [0, 1])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("margin", [0.0, 3.0, 9.0, 15.0, 40.0])
@pytest.mark.parametrize("right", [True, False])
def test_small_losses_keep_their_digits(name, margin, right):
    """log(1 + exp(-margin)) and its gradient, in float32 to a few units in the last place."""
    signed = margin if right else -margin
    target = jnp.asarray([1], jnp.int32)

    def loss(z):
        outputs = jnp.stack([jnp.float32(0.0), z]) if name.startswith("softmax") else z[None]
        return LOSSES[name].value(outputs[:, None], target)[0]

    value, slope = jax.value_and_grad(loss)(jnp.float32(signed))
    np.testing.assert_allclose(value, np.logaddexp(0.0, -signed), rtol=1e-6)
    np.testing.assert_allclose(slope, -1.0 / (1.0 + np.exp(signed)), rtol=1e-6)


def _cross_entropy_by_hand(outputs, targets):
    """The losses and their gradient, in float64."""
    z = outputs.astype(np.float64)
    own = z[targets, np.arange(len(targets))]
    wrong = np.arange(len(z))[:, None] != targets
    ahead = np.where(wrong, z - own, -np.inf)
    top = np.maximum(ahead.max(axis=0), 0.0)
    rest = np.exp(ahead - top).sum(axis=0)
    # log(1 + sum), and its terms as shares of 1 + sum.
    losses = top + np.log1p(rest + np.expm1(-top))
    shares = np.exp(ahead - top) / (np.exp(-top) + rest)
    return losses, np.where(wrong, shares, -shares.sum(axis=0))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0, 1e4])
def test_one_pass_over_the_outputs_is_the_cross_entropy(classes, scale):
    """The form for GPUs and TPUs, which runs on a CPU as well."""
    rng = np.random.default_rng(classes)
    outputs = (scale * rng.standard_normal((classes, 50))).astype(np.float32)
    targets, g = rng.integers(classes, size=50), rng.standard_normal(50).astype(np.float32)
    losses, gradient = _cross_entropy_by_hand(outputs, targets)
    found, *sums = jax.jit(in_one_pass)(outputs, jnp.asarray(targets, jnp.int32))
    np.testing.assert_allclose(found, losses, rtol=2e-6, atol=1e-37)
    own = jax.jit(gradient_in_one_pass)(outputs, jnp.asarray(targets, jnp.int32), *sums, g)
    np.testing.assert_allclose(own, g * gradient, rtol=2e-5, atol=1e-37)
    # The form for CPUs has the same losses and gradient, up to rounding.
    value, back = jax.vjp(lambda z: softmax_cross_entropy(z, jnp.asarray(targets, jnp.int32)), outputs)
    np.testing.assert_allclose(value, found, rtol=2e-6, atol=1e-37)
    np.testing.assert_allclose(back(jnp.asarray(g))[0], own, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_no_number_is_no_loss_in_one_pass(bad):
    outputs = np.zeros((3, 6), np.float32)
    outputs[np.arange(3), np.arange(3)] = bad
    targets = jnp.asarray([0, 0, 1, 0, 0, 0], jnp.int32)
    losses = np.asarray(in_one_pass(outputs, targets)[0])
    assert not np.isfinite(losses[:3]).any()
    np.testing.assert_allclose(losses[3:], np.log(3.0), rtol=1e-6)


def test_starting_values_that_are_joined_with_one_another_change_nothing():
    """A GPU or a TPU pads a reduction with them."""
    start = tuple(jnp.asarray(value, jnp.float32) for value in (-np.inf, 0.0, 0.0))
    np.testing.assert_array_equal(join_sums(start, start), start)
    some = tuple(jnp.asarray(value, jnp.float32) for value in (-3.0, 2.5, 7.0))
    for joined in (join_sums(start, some), join_sums(some, start)):
        np.testing.assert_array_equal(joined, some)
