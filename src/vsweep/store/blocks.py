"""Blocks of trials that pass from the devices to the store, finished or between two segments."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Params = dict[str, np.ndarray]


def empty_params(places: np.ndarray) -> list[Params]:
    """Return no parameters for each trial."""
    return [{} for _ in places]


class TrainedBlock(NamedTuple):
    """Finished trials.

    Attributes:
        rows: Int64 `(trials,)`, rows of the table of trials.
        steps: Int64 `(records,)`.
        metrics: Float32 `(trials, records)` for each metric.
        diverged_at: Int32 `(trials,)`, -1 for a trial that did not diverge.
        test: Metrics on the test examples after the last step, float32 `(trials,)` each.
        columns: Further columns of the table of trials, numbers or text `(trials,)` each.
        params: Function that returns the parameters of the trials at some places in `rows`, as arrays of
            their true shapes by name.
        state: The state from which training can continue, or None if it is not kept.
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
    """Trials between two segments.

    Attributes:
        rows: Int64 `(trials,)`, rows of the table of trials.
        records: The number of records made so far.
        metrics: Float32 `(trials, records)` for each metric.
        state: Leaves of the training state, `(trials, ...)` each.
    """

    rows: np.ndarray
    records: int
    metrics: Mapping[str, np.ndarray]
    state: Sequence[np.ndarray]

    def select(self, mask: np.ndarray) -> "PartialBlock":
        """Return some of the trials; mask: bool `(trials,)`."""
        metrics = {name: values[mask] for name, values in self.metrics.items()}
        return PartialBlock(self.rows[mask], self.records, metrics, [leaf[mask] for leaf in self.state])
