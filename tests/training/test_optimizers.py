"""Optimizers and schedules with traced numbers against optax with plain ones, and against NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core_helpers import NUMBERS, np_update

from vsweep.training.optimizers import OPTIMIZERS, make_optimizer
from vsweep.training.schedules import SCHEDULES

STEPS, LR, RATE, EVERY = 12, 0.05, 0.5, 4


def _is_weight(params):
    return {name: name == "w" for name in params}


def _optax(name, lr):
    """optax's own, of Python floats."""
    n = NUMBERS[name]
    penalty = optax.add_decayed_weights(n.get("weight_decay", 0.0), _is_weight)
    return {
        "sgd": lambda: optax.chain(penalty, optax.sgd(lr)),
        "momentum": lambda: optax.chain(penalty, optax.sgd(lr, n["momentum"])),
        "nesterov": lambda: optax.chain(penalty, optax.sgd(lr, n["momentum"], nesterov=True)),
        "adam": lambda: optax.adam(lr, n["b1"], n["b2"], n["eps"]),
        "adamw": lambda: optax.adamw(
            lr, n["b1"], n["b2"], n["eps"], weight_decay=n["weight_decay"], mask=_is_weight
        ),
        "rmsprop": lambda: optax.rmsprop(lr, n["decay"], n["eps"]),
        "lion": lambda: optax.lion(lr, n["b1"], n["b2"], weight_decay=n["weight_decay"], mask=_is_weight),
    }[name]()


def _promotion(name):
    """optax's Adam raises a traced number to the power of an integer count."""
    return "standard" if name in ("adam", "adamw") else "strict"


def _problem():
    """A quadratic: its start, its curvature and its optimum, for weights and biases."""
    rng = np.random.default_rng(0)
    shapes = {"w": (3, 2), "b": (3,)}
    start = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    curvature = {name: rng.uniform(0.2, 5.0, shape) for name, shape in shapes.items()}
    optimum = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return start, curvature, optimum


def _path(optimizer, start, curvature, optimum):
    """The parameters after each of the steps."""

    def step(state, _):
        params, kept = state
        grads = jax.tree.map(lambda p, c, o: c * (p - o), params, curvature, optimum)
        updates, kept = optimizer.update(grads, kept, params)
        params = optax.apply_updates(params, updates)
        return (params, kept), params

    start = jax.tree.map(jnp.asarray, start)
    return jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)[1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_against_optax_and_numpy(name):
    problem = _problem()
    start, curvature, optimum = problem
    assert set(NUMBERS[name]) == set(inspect.signature(OPTIMIZERS[name]).parameters) - {"lr"}

    def traced(optimizer_numbers, schedule_numbers, problem):
        made = make_optimizer(name, "exponential", STEPS, optimizer_numbers, schedule_numbers)
        return _path(made, *problem)

    with jax.enable_x64(True), jax.numpy_dtype_promotion(_promotion(name)):
        numbers = jax.tree.map(np.float64, {"lr": LR, **NUMBERS[name]})
        schedule = jax.tree.map(np.float64, {"decay_rate": RATE, "decay_steps": EVERY})
        ours = jax.device_get(jax.jit(traced)(numbers, schedule, problem))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        decay = optax.exponential_decay(LR, EVERY, RATE)
        plain = _optax(name, lambda count: decay(count.astype(jnp.float64)))
        theirs = jax.device_get(jax.jit(lambda problem: _path(plain, *problem))(problem))
    for key, p in start.items():
        kept = {}
        for t in range(1, STEPS + 1):
            lr = LR * RATE ** ((t - 1) / EVERY)
            gradient = curvature[key] * (p - optimum[key])
            p = np_update(name, NUMBERS[name], t, p, gradient, kept, lr, weight=key == "w")
            np.testing.assert_allclose(ours[key][t - 1], theirs[key][t - 1], rtol=1e-11)
            np.testing.assert_allclose(ours[key][t - 1], p, rtol=1e-11)


@pytest.mark.parametrize("name", [n for n, numbers in NUMBERS.items() if "weight_decay" in numbers])
def test_weight_decay_leaves_biases_alone(name):
    numbers = {key: jnp.float32(value) for key, value in {"lr": LR, **NUMBERS[name]}.items()}
    optimizer = make_optimizer(name, "constant", STEPS, numbers, {})
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}
    grads = jax.tree.map(jnp.zeros_like, params)
    with jax.numpy_dtype_promotion(_promotion(name)):
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_array_equal(updates["b"], np.zeros(3))
    nesterov = 1.0 + numbers["momentum"] if name == "nesterov" else 1.0
    want = -LR * NUMBERS[name]["weight_decay"] * nesterov
    np.testing.assert_allclose(updates["w"], np.full((3, 2), want), rtol=1e-6)


def _factors(name, steps, dtype=np.float64, **numbers):
    numbers = {key: dtype(value) for key, value in numbers.items()}

    def all_steps(numbers):
        at = jnp.arange(steps + 1).astype(dtype)
        return jax.vmap(lambda step: SCHEDULES[name](step, jnp.asarray(steps, dtype), **numbers))(at)

    with jax.enable_x64(dtype == np.float64):
        return np.asarray(jax.jit(all_steps)(numbers))


SCHEDULE_CASES = [
    ("constant", {}, lambda n: optax.constant_schedule(LR)),
    ("cosine", {"final": 0.1}, lambda n: optax.cosine_decay_schedule(LR, n, 0.1)),
    ("cosine", {"final": 0.0}, lambda n: optax.cosine_decay_schedule(LR, n)),
    *(
        (
            "warmup_cosine",
            {"warmup_steps": w, "final": 0.2},
            lambda n, w=w: optax.warmup_cosine_decay_schedule(0.0, LR, w, n, 0.2 * LR),
        )
        for w in (1, 5, 22)
    ),
    (
        "exponential",
        {"decay_rate": 0.7, "decay_steps": 5},
        lambda n: optax.exponential_decay(LR, 5, 0.7),
    ),
    (
        "step",
        {"decay_rate": 0.7, "decay_steps": 5},
        lambda n: optax.exponential_decay(LR, 5, 0.7, staircase=True),
    ),
]


@pytest.mark.parametrize(("name", "numbers", "make"), SCHEDULE_CASES)
def test_schedule_against_optax(name, numbers, make):
    steps = 23
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        schedule = make(steps)
        theirs = [float(schedule(jnp.float64(i))) for i in range(steps + 1)]
    np.testing.assert_allclose(LR * _factors(name, steps, **numbers), theirs, rtol=1e-12, atol=1e-17)


def test_every_schedule_is_held_against_optax():
    assert {name for name, _, _ in SCHEDULE_CASES} == set(SCHEDULES)


def test_warmup_at_its_ends():
    none = _factors("warmup_cosine", 10, warmup_steps=0, final=0.1)
    np.testing.assert_allclose(none, _factors("cosine", 10, final=0.1), rtol=1e-14)
    for warmup in (10, 25):
        rise = _factors("warmup_cosine", 10, warmup_steps=warmup, final=0.1)
        np.testing.assert_allclose(rise[:10], np.arange(10) / warmup, rtol=1e-14)
        assert np.isfinite(rise).all()


def test_steps_fall_where_they_should_in_float32():
    def factor(step, every):
        return SCHEDULES["step"](step, jnp.float32(0), decay_rate=jnp.float32(0.5), decay_steps=every)

    at, every = np.meshgrid(np.arange(400), np.arange(4, 60))
    got = jax.jit(factor)(jnp.asarray(at, jnp.float32), jnp.asarray(every, jnp.float32))
    np.testing.assert_allclose(got, np.float32(0.5) ** (at // every), rtol=1e-5)
