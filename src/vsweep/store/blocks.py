"""Trials on their way from the devices to the store: done, or under way."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Params = dict[str, np.ndarray]


def empty_params(places: np.ndarray) -> list[Params]:
    """Of trials whose parameters are not at hand."""
    return [{} for _ in places]


class TrainedBlock(NamedTuple):
    """Trials that are done.

    rows: int64 `(trials,)`, places in the table of trials. steps: int64 `(records,)`. metrics: each
    float32 `(trials, records)`. diverged_at: int32 `(trials,)`, -1 for never. test: the metrics on the
    test's examples after the last step, each float32 `(trials,)`. columns: what else is to be said of each,
    by name, numbers or text `(trials,)`. params: the parameters of some of them, by their places in `rows`,
    each as arrays of their true shapes by name. state: from which more steps can go on; None where it is
    not kept.
    """

    rows: np.ndarray
    steps: np.ndarray
    metrics: Mapping[str, np.ndarray]
    diverged_at: np.ndarray
    test: Mapping[str, np.ndarray] = {}
    columns: Mapping[str, np.ndarray] = {}
    params: Callable[[np.ndarray], list[Params]] = empty_params
    state: "PartialBlock | None" = None


class PartialBlock(NamedTuple):
    """Trials of one block between two segments.

    rows: int64 `(trials,)`. records: how many of their records are made. metrics: each float32
    `(trials, records)`. state: its leaves, each `(trials, ...)`.
    """

    rows: np.ndarray
    records: int
    metrics: Mapping[str, np.ndarray]
    state: Sequence[np.ndarray]
