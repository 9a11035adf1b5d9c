"""Axes × seeds -> cells -> trials."""

import time
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsweep.config.grid import Axis, axis_values, expand, seed_list
from vsweep.errors import ConfigError

NAMES = ["model", "model.width", "optimizer.lr", "steps"]


@st.composite
def axes_lists(draw):
    sizes = draw(st.lists(st.integers(1, 4), max_size=4))
    return [
        Axis(name, tuple(range(10 * i, 10 * i + n)))
        for i, (name, n) in enumerate(zip(NAMES, sizes, strict=False))
    ]


seeds_lists = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True)


def as_rows(grid):
    """(trial, cell, seed, values of the axes) of every trial, as plain values."""
    number, row, seed = grid.trials()
    columns = [grid.column(i) for i in range(len(grid.axes))]
    cells = grid.cells[row].tolist()
    return [
        (n, c, s, tuple(column[r] for column in columns))
        for n, c, s, r in zip(number.tolist(), cells, seed.tolist(), row.tolist(), strict=True)
    ]


@given(axes_lists(), seeds_lists)
def test_row_major_with_the_seed_fastest(axes, seeds):
    grid = expand(axes, seeds)
    everything = product(*(axis.values for axis in axes), seeds)
    expected = [(i, i // len(seeds), one[-1], one[:-1]) for i, one in enumerate(everything)]
    assert as_rows(grid) == expected
    assert len(grid) == len(expected)
    assert grid.collapsed == 0


@given(axes_lists().filter(len), seeds_lists, st.data())
def test_cells_that_cannot_be_told_apart_are_trained_once_under_the_lowest_number(axes, seeds, data):
    first, others = axes[0], [axis.path for axis in axes[1:]]
    kept = {v: {first.path, *data.draw(st.sets(st.sampled_from(others) if others else st.nothing()))}
            for v in first.values}  # fmt: skip

    expected, seen = [], set()
    for cell, one in enumerate(product(*(axis.values for axis in axes))):
        told = tuple(v if axis.path in kept[one[0]] else None for axis, v in zip(axes, one, strict=True))
        if told not in seen:
            seen.add(told)
            expected += [(cell * len(seeds) + i, cell, seed, told) for i, seed in enumerate(seeds)]

    grid = expand(axes, seeds, [first.path], lambda chosen: kept[chosen[first.path]])
    assert as_rows(grid) == expected
    assert len(grid) == len(expected)
    assert grid.collapsed == np.prod([len(a.values) for a in axes]) - len(seen)


def test_what_is_collapsed_does_not_move_the_other_numbers():
    axes = [
        Axis("model", ("logistic", "mlp")),
        Axis("model.width", (8, 16)),
        Axis("optimizer.lr", (0.1, 1.0)),
    ]
    has = {"logistic": {"model", "optimizer.lr"}, "mlp": {"model", "model.width", "optimizer.lr"}}
    grid = expand(axes, (7, 9, 4), ["model"], lambda chosen: has[chosen["model"]])
    assert grid.cells.tolist() == [0, 1, 4, 5, 6, 7]
    assert grid.collapsed == 2
    assert grid.trials()[0].tolist() == [*range(6), *range(12, 24)]
    assert grid.column(1).tolist() == [None, None, 8, 8, 16, 16]


def test_no_axes_is_one_cell():
    grid = expand([], (3,))
    assert as_rows(grid) == [(0, 0, 3, ())]


def test_numbers_are_int64():
    assert [a.dtype for a in expand([Axis("steps", (1, 2))], (0,)).trials()] == [np.int64] * 3


def test_a_hundred_thousand_trials_expand_in_a_second():
    axes = [
        Axis("model", ("logistic", "mlp")),
        Axis("model.width", tuple(range(1, 26))),
        Axis("optimizer.lr", tuple(np.geomspace(1e-4, 1, 250).tolist())),
    ]
    start = time.perf_counter()
    number, _, _ = expand(axes, range(8)).trials()
    assert time.perf_counter() - start < 1.0
    assert len(number) == 100_000


def test_far_too_many_trials_are_refused():
    axes = [Axis(name, tuple(range(100))) for name in NAMES]
    with pytest.raises(ConfigError, match=r"grid: 200,000,000 trials"):
        expand(axes, (0, 1))


decimals = st.builds(lambda m, e: float(f"{m}e{e}"), st.integers(1, 99_999), st.integers(-8, 3))


@given(decimals, decimals, st.integers(2, 50))
def test_logspace_is_geometric_with_both_ends_as_they_are_written(lo, hi, n):
    if lo == hi or abs(np.log(hi / lo)) < 1e-6 * n:
        return
    values = axis_values("optimizer.lr", {"logspace": [lo, hi, n]})
    assert len(values) == n
    assert (values[0], values[-1]) == (lo, hi)
    np.testing.assert_allclose(np.diff(np.log(values)), np.log(hi / lo) / (n - 1), rtol=1e-4)


@given(decimals, decimals, st.integers(2, 50))
def test_linspace_is_even_with_both_ends_as_they_are_written(lo, hi, n):
    if abs(hi - lo) < 1e-6 * n * max(lo, hi):
        return
    values = axis_values("optimizer.lr", {"linspace": [lo, hi, n]})
    assert len(values) == n
    assert (values[0], values[-1]) == (lo, hi)
    np.testing.assert_allclose(np.diff(values), (hi - lo) / (n - 1), rtol=1e-4)


@pytest.mark.parametrize("kind", ["logspace", "linspace"])
def test_one_value_is_the_lower_end(kind):
    assert axis_values("optimizer.lr", {kind: [0.1, 1, 1]}) == (0.1,)


def test_powers_of_ten_are_written_as_a_person_would():
    assert axis_values("optimizer.lr", {"logspace": [1e-4, 1, 5]}) == (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_a_range_of_integers_is_pythons(start, stop, step):
    expected = tuple(range(start, stop, step))
    if not expected:
        with pytest.raises(ConfigError, match="the axis is empty"):
            axis_values("steps", {"range": [start, stop, step]})
        return
    values = axis_values("steps", {"range": [start, stop, step]})
    assert values == expected
    assert all(type(v) is int for v in values)


@given(st.integers(-300, 300), st.integers(1, 30), st.integers(1, 3), st.booleans(), st.booleans())
def test_a_range_of_floats_leaves_the_stop_out_whatever_rounds(start, n, step, down, between):
    unit = Decimal(-step if down else step) / 10
    begin = Decimal(start) / 10
    stop = begin + n * unit - (unit / 2 if between else 0)
    values = axis_values("optimizer.lr", {"range": [float(begin), float(stop), float(unit)]})
    assert values == tuple(float(begin + i * unit) for i in range(n))


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ([], "the axis is empty"),
        ([0.1, 0.2, 0.1], "0.1 is given twice"),
        (["relu", "relu"], "'relu' is given twice"),
        ({"logspace": [1, 1, 3]}, "1.0 is given twice"),
        ({"logspace": [0, 1, 3]}, "above 0"),
        ({"logspace": [-1, 1, 3]}, "above 0"),
        ({"logspace": [1, 10]}, "and the number of values"),
        ({"logspace": [1, 10, 0]}, "and the number of values"),
        ({"logspace": [1, 10, 2.5]}, "and the number of values"),
        ({"logspace": [1, float("inf"), 3]}, "and the number of values"),
        ({"logspace": ["1", 10, 3]}, "and the number of values"),
        ({"logspace": 3}, "and the number of values"),
        ({"linspace": [True, 10, 3]}, "and the number of values"),
        ({"linspace": [0, 1, 10**9]}, "and the number of values"),
        ({"range": [0, 1, 0]}, "Python's range"),
        ({"range": [0]}, "Python's range"),
        ({"range": [0, 1e12, 1e-3]}, "Python's range"),
        ({"range": [0, float("nan"), 1]}, "Python's range"),
        ({"logspce": [1, 10, 3]}, "{logspace: [lo, hi, n]}"),
        ({"logspace": [1, 10, 3], "range": [1, 2]}, "{logspace: [lo, hi, n]}"),
        (0.1, "it takes a list"),
        ("relu", "it takes a list"),
        (None, "it takes a list"),
    ],
)
def test_what_is_no_axis_is_refused(given_, says):
    with pytest.raises(ConfigError) as error:
        axis_values("optimizer.lr", given_)
    assert error.value.field == "grid.optimizer.lr"
    assert says in str(error.value)


def test_one_and_true_are_two_values():
    assert axis_values("data.standardize", [1, True]) == (1, True)


@given(st.integers(1, 100))
def test_a_count_of_seeds_begins_at_0(n):
    assert seed_list(n) == tuple(range(n))


@given(seeds_lists)
def test_a_list_of_seeds_is_as_written(seeds):
    assert seed_list(seeds) == tuple(seeds)


@pytest.mark.parametrize(
    "given_", [0, -1, True, 1.5, "3", None, [], [-1], [2**32], [1.0], [True], [1, 2, 1], {"a": 1}, 10**12]
)
def test_what_are_no_seeds_is_refused(given_):
    with pytest.raises(ConfigError) as error:
        seed_list(given_)
    assert error.value.field == "seeds"
