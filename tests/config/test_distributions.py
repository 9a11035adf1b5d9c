"""W&B's distributions, held against SciPy's."""

from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from vsweep.config.grid import axis_values
from vsweep.config.wandb.distributions import distribution
from vsweep.errors import ConfigError

N = 4000
LOG = np.log(10.0)


def drawn(seed=0, **given):
    return distribution("parameters.x", given).draw(np.random.default_rng(seed).random(N))


def repr_of(given):
    return repr(given) if isinstance(given, dict | list | int | float) else given.dist.name


# A distribution as it is written, and SciPy's distribution of the values.
CONTINUOUS = [
    ({"min": 1.0, "max": 3.0}, stats.uniform(1.0, 2.0)),
    ({"min": 1, "max": 3.0}, stats.uniform(1.0, 2.0)),
    ({"distribution": "uniform", "min": -1, "max": 3}, stats.uniform(-1.0, 4.0)),
    ({"distribution": "log_uniform", "min": -3 * LOG, "max": 0}, stats.loguniform(1e-3, 1.0)),
    ({"distribution": "log_uniform_values", "min": 1e-3, "max": 1}, stats.loguniform(1e-3, 1.0)),
    ({"distribution": "inv_log_uniform", "min": 0, "max": 3 * LOG}, stats.loguniform(1e-3, 1.0)),
    ({"distribution": "inv_log_uniform_values", "min": 1e-3, "max": 1}, stats.loguniform(1e-3, 1.0)),
    ({"distribution": "normal"}, stats.norm()),
    ({"distribution": "normal", "mu": 3, "sigma": 0.5}, stats.norm(3.0, 0.5)),
    ({"distribution": "log_normal"}, stats.lognorm(1.0)),
    ({"distribution": "log_normal", "mu": -2.0, "sigma": 0.5}, stats.lognorm(0.5, scale=np.exp(-2.0))),
    ({"distribution": "beta"}, stats.uniform()),
    ({"distribution": "beta", "a": 2, "b": 5.0}, stats.beta(2, 5)),
]


@pytest.mark.parametrize(("given", "law"), CONTINUOUS, ids=repr_of)
def test_numbers_are_drawn_from_what_is_said(given, law):
    assert stats.kstest(drawn(**given), law.cdf).pvalue > 0.01
    # The test tells such a law from another that is near it.
    assert stats.kstest(np.asarray(drawn(**given)) * 1.5, law.cdf).pvalue < 0.01


QUANTIZED = [
    ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 2}, stats.uniform(0, 10), 2),
    ({"distribution": "q_uniform", "min": 0, "max": 10}, stats.uniform(0, 10), 1),
    ({"distribution": "q_log_uniform", "min": 0, "max": 3 * LOG, "q": 50}, stats.loguniform(1, 1000), 50),
    ({"distribution": "q_log_uniform_values", "min": 1, "max": 1000, "q": 50}, stats.loguniform(1, 1000), 50),
    ({"distribution": "q_normal", "q": 0.1}, stats.norm(), 0.1),
    ({"distribution": "q_log_normal", "q": 0.5}, stats.lognorm(1.0), 0.5),
    ({"distribution": "q_beta", "a": 2, "b": 2, "q": 0.1}, stats.beta(2, 2), 0.1),
]


@pytest.mark.parametrize(("given", "law", "q"), QUANTIZED, ids=repr_of)
def test_numbers_are_rounded_to_multiples(given, law, q):
    values = drawn(**given)
    assert {type(v) for v in values} == {int if isinstance(q, int) else float}
    steps = np.asarray(values) / q
    assert np.abs(steps - steps.round()).max() < 1e-9
    found, counts = np.unique(steps.round(), return_counts=True)
    expected = N * (law.cdf((found + 0.5) * q) - law.cdf((found - 0.5) * q))
    few = expected >= 5
    assert counts.sum() == N
    assert abs(expected.sum() - N) < N / 100
    scale = counts[few].sum() / expected[few].sum()
    assert stats.chisquare(counts[few], expected[few] * scale).pvalue > 0.01


def test_integers_have_both_ends():
    for given in ({"min": 2, "max": 5}, {"distribution": "int_uniform", "min": 2, "max": 5}):
        found, counts = np.unique(drawn(**given), return_counts=True)
        assert found.tolist() == [2, 3, 4, 5]
        assert stats.chisquare(counts).pvalue > 0.01


def test_values_are_as_likely_as_it_is_said():
    assert stats.chisquare(np.unique(drawn(values=["a", "b", "c"]), return_counts=True)[1]).pvalue > 0.01
    weights = [0.7, 0.3, 0.0]
    for name in ({}, {"distribution": "categorical"}, {"distribution": "categorical_w_probabilities"}):
        found, counts = np.unique(
            drawn(values=["a", "b", "c"], probabilities=weights, **name), return_counts=True
        )
        assert found.tolist() == ["a", "b"]
        assert stats.chisquare(counts, [0.7 * N, 0.3 * N]).pvalue > 0.01


@pytest.mark.parametrize("u", [0.0, 2.0**-54, 1.0 - 2.0**-53])
def test_ends_are_within_bounds(u):
    for low, high in product([1e-7, 0.1, 3.0], [1e-5, 0.3, 7.0]):
        if low < high:
            given = {"distribution": "log_uniform_values", "min": low, "max": high}
            (value,) = distribution("x", given).draw(np.asarray([u]))
            assert low <= value <= high
    assert distribution("x", {"min": 1, "max": 3}).draw(np.asarray([u]))[0] in (1, 3)
    assert distribution("x", {"values": [1, 2]}).draw(np.asarray([u]))[0] in (1, 2)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"values": [3, 1, 3]}, [3, 1]),
        ({"values": [None, "a"], "distribution": "categorical"}, [None, "a"]),
        ({"min": 2, "max": 5}, [2, 3, 4, 5]),
        # As NumPy's arange, of which W&B takes them.
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, [0.0, 0.25, 0.5, 0.75]),
        ({"distribution": "q_uniform", "min": 4, "max": 17, "q": 4}, [4, 8, 12, 16]),
        ({"distribution": "q_uniform", "min": 4, "max": 7}, [4, 5, 6]),
    ],
    ids=repr_of,
)
def test_what_a_grid_takes(given, values):
    assert list(axis_values("x", distribution("x", given).axis())) == values


@pytest.mark.parametrize(
    "given", [given for given, _ in CONTINUOUS] + [given for given, *_ in QUANTIZED[2:]], ids=str
)
def test_what_no_grid_takes(given):
    with pytest.raises(
        ConfigError, match=r"^x: .* cannot be enumerated; a grid takes values, int_uniform or q_"
    ):
        distribution("x", given).axis()


def closed_form(name, u, a, b):
    """The inverse of each distribution function, written out."""
    inverse = {
        "uniform": lambda: a + u * (b - a),
        "log_uniform": lambda: np.exp(a + u * (b - a)),
        "inv_log_uniform": lambda: np.exp(-(a + (1.0 - u) * (b - a))),
        "log_uniform_values": lambda: np.exp(np.log(a) + u * (np.log(b) - np.log(a))),
        "inv_log_uniform_values": lambda: np.exp(np.log(a) + u * (np.log(b) - np.log(a))),
        "normal": lambda: a + b * special.ndtri(u),
        "log_normal": lambda: np.exp(a + b * special.ndtri(u)),
        "beta": lambda: special.betaincinv(a, b, u),
    }
    return inverse[name]()


LAWS = [
    ("uniform", "min", "max", -2.5, 7.0),
    ("uniform", "min", "max", 1e-9, 1e9),
    ("log_uniform", "min", "max", -700.0, 700.0),
    ("log_uniform", "min", "max", -900.0, -750.0),
    ("inv_log_uniform", "min", "max", -3.0, 12.0),
    ("log_uniform_values", "min", "max", 1e-12, 1e3),
    ("inv_log_uniform_values", "min", "max", 0.5, 0.6),
    ("normal", "mu", "sigma", 3.0, 0.25),
    ("normal", "mu", "sigma", 3.0, 0.0),
    ("log_normal", "mu", "sigma", -2.0, 4.0),
    ("log_normal", "mu", "sigma", 1.0, 0.0),
    ("beta", "a", "b", 2.0, 5.0),
    ("beta", "a", "b", 0.05, 0.3),
    ("beta", "a", "b", 300.0, 2000.0),
]


@pytest.mark.parametrize(("name", "first", "second", "a", "b"), LAWS)
def test_draws_are_the_closed_form_of_the_same_random_numbers(name, first, second, a, b):
    u = np.concatenate([np.random.default_rng(7).random(N), [2.0**-50, 0.5, 1.0 - 2.0**-53]])
    values = distribution("x", {"distribution": name, first: a, second: b}).draw(u)
    np.testing.assert_allclose(values, closed_form(name, u, a, b), rtol=1e-12, atol=1e-300)
    # Another stream of numbers gives other values, so that the comparison can fail.
    other = closed_form(name, np.roll(u, 1), a, b)
    assert (
        b == 0 or (name, a) == ("log_uniform", -900.0) or not np.allclose(values, other, rtol=1e-12, atol=0)
    )


@pytest.mark.parametrize(("name", "first", "second", "a", "b"), [law for law in LAWS if "inv" not in law[0]])
def test_quantized_draws_are_the_closed_form_rounded(name, first, second, a, b):
    u, q = np.random.default_rng(7).random(N), 0.25
    values = distribution("x", {"distribution": f"q_{name}", first: a, second: b, "q": q}).draw(u)
    expected = [float(f"{v:.12g}") for v in np.round(closed_form(name, u, a, b) / q) * q]
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=0)
