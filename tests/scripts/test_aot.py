"""When `make aot` says that a step has grown."""

import json

import pytest
from aot import ACCEPTED, GATED, TARGETS, growth

COSTS = {"kernels": 17, "waits": 0, "moved": 10_000_000, "main": 0, "memory": 100}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"kernels": 16, "moved": 9_000_000}, []),
        ({"moved": 10_200_000, "memory": 1000}, []),
        ({"kernels": 18}, ["kernels grew from 17 to 18"]),
        ({"waits": 1}, ["waits grew from 0 to 1"]),
        ({"moved": 10_200_001}, ["moved grew from 10,000,000 to 10,200,001"]),
        ({"kernels": 20, "main": 1}, ["kernels grew from 17 to 20", "main grew from 0 to 1"]),
    ],
)
def test_kernels_may_not_grow_at_all_and_bytes_by_two_percent(more, said):
    assert list(growth(COSTS | more, COSTS)) == said


def test_a_program_of_which_nothing_is_accepted_has_grown():
    assert list(growth(COSTS, None)) == ["nothing is accepted for it yet"]


def test_what_is_accepted_says_all_that_is_compared():
    accepted = json.loads(ACCEPTED.read_text(encoding="utf-8"))["programs"]
    assert {name.partition(":")[0] for name in accepted} == set(TARGETS)
    assert all(set(GATED) <= set(costs) for costs in accepted.values())
