"""A row per trial from its curve: status, final and best values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vsweep.metrics import higher_is_better, is_parameter
from vsweep.store.blocks import TrainedBlock


def summarize_block(
    done: TrainedBlock, metrics: Sequence[str], tests: Sequence[str] = (), more: Sequence[str] = ()
) -> pd.DataFrame:
    """Status, final and best values of trials that are done, by their place in the table.

    more: the columns that any of the table's trials has beside these.
    """
    diverged = done.diverged_at >= 0
    columns: dict[str, Any] = {
        "status": np.where(diverged, "diverged", "ok"),
        "diverged_at": pd.array(done.diverged_at.astype(np.int64), "Int64"),
    }
    columns["diverged_at"][~diverged] = pd.NA
    # What came after a trial diverged is not its best.
    alive = ~diverged[:, None] | (done.steps[None, :] < done.diverged_at[:, None])
    for name in metrics:
        values = done.metrics.get(name, np.full(alive.shape, np.nan, np.float32))
        columns[f"final_{name}"] = values[:, -1]
        if is_parameter(name):
            # No value of a parameter is better than another.
            continue
        columns[f"best_{name}"] = _best(np.where(alive, values, np.nan), higher=higher_is_better(name))
    for name in tests:
        columns[f"final_{name}"] = np.asarray(done.test.get(name, np.float32("nan")), np.float32)
    for name in more:
        values = done.columns.get(name, np.full(len(done.rows), np.nan))
        text = values.dtype == object
        columns[name] = pd.array(values, "str") if text else values.astype(np.float64)
    return pd.DataFrame(columns, index=done.rows)


def _best(values: np.ndarray, *, higher: bool) -> np.ndarray:
    """The best of each row that is not NaN, or NaN where all are."""
    best = np.fmax.reduce(values, axis=1) if higher else np.fmin.reduce(values, axis=1)
    return np.asarray(best, np.float32)
