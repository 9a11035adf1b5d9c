"""When `make aot` says that a step has grown."""

import json

import pytest
from aot import ACCEPTED, LANES, TARGETS, TOLERANCE, growth
from bench import CASES

# A step tells whether a trial has diverged, and its examples are arguments, which it pads for a library.
BEHIND = {
    *((f"h100: {program}", "kernels") for program in ("128 digits mlp 32", "128 digits mlp 128")),
    *((f"h100: {program}", "kernels") for program in ("4096 digits mlp 32", "4096 digits mlp 128")),
    *((f"h100: {lanes} breast_cancer logistic", "kernels") for lanes in LANES),
    *((f"h100: {lanes} breast_cancer logistic", "moved") for lanes in LANES),
}
COSTS = {"kernels": 17, "record": 12, "waits": 0, "moved": 10_000_000, "main": 0, "memory": 100}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"kernels": 16, "moved": 9_000_000}, []),
        ({"moved": 10_200_000, "memory": 1000}, []),
        ({"kernels": 18}, ["kernels is 18, of 17 accepted"]),
        ({"record": 13}, ["record is 13, of 12 accepted"]),
        ({"waits": 1}, ["waits is 1, of 0 accepted"]),
        ({"moved": 10_200_001}, ["moved is 10,200,001, of 10,000,000 accepted"]),
        ({"kernels": 20, "main": 1}, ["kernels is 20, of 17 accepted", "main is 1, of 0 accepted"]),
    ],
)
def test_kernels_may_not_grow_at_all_and_bytes_by_two_percent(more, said):
    assert list(growth(COSTS | more, COSTS)) == said


@pytest.mark.parametrize(
    ("more", "hand", "said"),
    [
        # A cost below that by hand may not grow either, but for two percent of the bytes.
        ({"kernels": 18}, {"kernels": 19}, ["kernels is 18, of 17 accepted and 19 by hand"]),
        ({"record": 13}, {"record": 14}, ["record is 13, of 12 accepted and 14 by hand"]),
        ({"moved": 10_200_000}, {"moved": 10_400_000}, []),
        (
            {"moved": 10_200_001},
            {"moved": 10_400_000},
            ["moved is 10,200,001, of 10,000,000 accepted and 10,400,000 by hand"],
        ),
        # These two percent end at the cost by hand.
        ({"moved": 10_100_000}, {"moved": 10_100_000}, []),
        (
            {"moved": 10_100_001},
            {"moved": 10_100_000},
            ["moved is 10,100,001, of 10,000,000 accepted and 10,100,000 by hand"],
        ),
        # A cost that is known to be above it may stay as it is.
        ({}, {"kernels": 15, "record": 7, "moved": 9_000_000}, []),
        (
            {"moved": 10_000_001},
            {"moved": 9_000_000},
            ["moved is 10,000,001, of 10,000,000 accepted and 9,000,000 by hand"],
        ),
    ],
)
def test_a_cost_is_held_against_the_accepted_one_and_that_by_hand(more, hand, said):
    assert list(growth(COSTS | more, COSTS, COSTS | hand)) == said


def test_a_program_of_which_nothing_is_accepted_is_held_against_the_one_by_hand():
    assert list(growth(COSTS, None)) == ["nothing is accepted for it yet"]
    assert list(growth(COSTS, None, COSTS)) == []
    assert list(growth(COSTS, None, COSTS | {"kernels": 16})) == ["kernels is 17, of 16 by hand"]
    assert list(growth(COSTS, None, COSTS | {"record": 8})) == []
    assert list(growth(COSTS, None, COSTS | {"record": 7})) == ["record is 12, of 7 by hand"]


def test_what_is_accepted_says_all_that_is_compared():
    accepted = json.loads(ACCEPTED.read_text(encoding="utf-8"))["programs"]
    assert {name.partition(":")[0] for name in accepted} == set(TARGETS)
    assert {int(name.split()[1]) for name in accepted} == set(LANES)
    assert all(set(TOLERANCE) <= set(costs) for costs in accepted.values())


def test_a_program_costs_no_more_than_by_hand_or_as_much_more_as_is_known():
    """A cost above that by hand is listed here, so that a new one is seen."""
    accepted = json.loads(ACCEPTED.read_text(encoding="utf-8"))["programs"]
    by_hand = {name: costs for name, costs in accepted.items() if "by hand" in costs}
    assert len(by_hand) == 2 * len(CASES)
    behind = {
        (name, cost)
        for name, costs in by_hand.items()
        for cost in ("kernels", "moved", "record")
        if costs[cost] > costs["by hand"][cost] * (1.5 if cost == "record" else 1.0)
    }
    assert behind == BEHIND
