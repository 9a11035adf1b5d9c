"""The fingerprint of a user's function is the same at every call, and differs for functions that differ."""

import numpy as np
import pytest

from vsweep.engine.trial_id import fingerprint

SIZES = (1, 2, 3)
TABLE = {"a": [1, 2], "b": SIZES}


class State:
    def __init__(self, number):
        self.number = number


ONE, TWO = State(1), State(2)


def outer(x, sizes=SIZES):
    return middle(x) + sizes[0] + ONE.number


def middle(x, power=2, *, shift=5):
    return inner(x) + TABLE["a"][0] + TWO.number


def inner(x, pair=(4, 5)):
    return x + SIZES[1]


def loss(outputs, targets, power=1.0):
    return outer(outputs) + middle(outputs) + inner(targets)


def test_a_fingerprint_is_the_same_at_every_call():
    """Objects that are made on the way must not be taken for others that had their address."""
    first = fingerprint(loss)
    for _ in range(4):
        assert fingerprint(loss) == first
    # The state of both objects, and the defaults of every function, are there.
    assert first.count("'number'") == 2
    for default in ("1.0", "5", "4"):
        assert default in first.splitlines()


def closing_over(value):
    def own(outputs, targets):
        return outputs * value

    return own


@pytest.mark.parametrize(
    ("one", "other"),
    [(1.0, 2.0), ([1, [2]], [1, [3]]), ({"a": 1}, {"a": 2}), (np.zeros(3), np.ones(3)), (State(1), State(2))],
)
def test_a_fingerprint_has_the_values_that_a_function_closes_over(one, other):
    assert fingerprint(closing_over(one)) != fingerprint(closing_over(other))


def test_a_value_that_holds_itself_ends():
    cycle = [1]
    cycle.append(cycle)
    assert fingerprint(closing_over(cycle)) == fingerprint(closing_over(cycle))
