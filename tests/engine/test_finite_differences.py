"""Central differences of functions whose derivatives are known."""

import numpy as np
import pytest

from vsweep.engine.checks.finite_differences import differences


def of(function, *start):
    """The differences of a function of a vector by all of its scalars."""
    start = np.asarray(start, np.float64)

    def moved(at, by):
        points = np.repeat(start[None], len(at), axis=0)
        points[np.arange(len(at)), at] += by
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray([function(point) for point in points], np.float64)

    return differences(moved, start, np.arange(len(start)))


SMOOTH = {
    "sin": (lambda x: np.sin(x[0]), np.cos, 0.7),
    "far from 0": (lambda x: np.sin(x[0]), np.cos, 1234.5),
    "exp": (lambda x: np.exp(x[0]), np.exp, 3.0),
    "a large constant beside it": (lambda x: 1e6 + np.sin(x[0]), np.cos, 0.7),
    "a tiny value": (lambda x: 1e-9 * np.sin(x[0]), lambda x: 1e-9 * np.cos(x), 0.7),
}


@pytest.mark.parametrize("case", SMOOTH)
def test_a_smooth_function_is_known_to_what_is_left_in_doubt(case):
    function, slope, x = SMOOTH[case]
    found = of(function, x)
    assert abs(found.central[0] - slope(x)) <= found.doubt[0]
    scale = max(abs(function(np.asarray([x]))), abs(slope(x)) * max(1.0, abs(x)))
    assert found.doubt[0] <= 1e-9 * scale


def test_each_scalar_has_its_own():
    found = of(lambda x: x[0] ** 2 * x[1] + np.exp(x[2]), 1.5, -2.0, 0.3)
    np.testing.assert_allclose(found.central, [-6.0, 2.25, np.exp(0.3)], rtol=1e-9)


def test_a_scalar_that_moves_nothing():
    found = of(lambda x: x[0] ** 2, 3.0, 5.0)
    assert found.central[1] == 0.0
    assert found.central[0] == pytest.approx(6.0, rel=1e-9)


def test_what_is_flat_in_its_first_orders_is_not_far_from_0():
    for power in (2, 3, 4, 5):
        found = of(lambda x, power=power: x[0] ** power, 0.0)
        assert abs(found.central[0]) <= found.doubt[0] < 1e-9


@pytest.mark.parametrize("off", [1e-5, 3e-6, 1e-6, 1e-7])
def test_a_kink_nearby_takes_a_smaller_step(off):
    """A difference over it, of the first step, would be off by far more."""
    found = of(lambda x: abs(x[0] - off) + 2.0 * x[0], 0.0)
    assert abs(found.central[0] - 1.0) <= found.doubt[0] < 1e-7


def test_on_a_kink_all_between_its_two_sides_is_left_in_doubt():
    found = of(lambda x: max(x[0], 0.0) + 3.0 * x[0], 0.0)
    assert found.central[0] == pytest.approx(3.5, rel=1e-9)
    assert found.doubt[0] == pytest.approx(0.5, rel=1e-6)
    assert found.doubt[0] > 0.5


def test_a_sharp_bend_is_not_passed_over():
    found = of(lambda x: np.sin(1e5 * x[0]), 0.2)
    slope = 1e5 * np.cos(1e5 * 0.2)
    assert abs(found.central[0] - slope) <= found.doubt[0] < 1e-2 * abs(slope)


@pytest.mark.parametrize("x", [0.7, 12.0])
def test_what_computes_in_float32_is_known_less_well_and_that_is_told(x):
    found = of(lambda x: 3.0 + np.sin(x.astype(np.float32))[0], x)
    assert abs(found.central[0] - np.cos(x)) <= found.doubt[0]
    assert 1e-6 < found.doubt[0] < 5e-3


def test_what_is_not_finite_on_one_side_is_asked_nearer():
    found = of(lambda x: np.log(x[0]), 1e-6)
    assert abs(found.central[0] - 1e6) <= found.doubt[0] < 1e4
    assert np.isinf(of(lambda x: np.sqrt(x[0]), 0.0).doubt[0])
