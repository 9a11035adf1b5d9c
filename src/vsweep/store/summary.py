"""Summarize curves as a row per trial: status, final and best values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vsweep.metrics import higher_is_better, is_parameter
from vsweep.store.blocks import TrainedBlock


def summarize_block(
    block: TrainedBlock, metrics: Sequence[str], tests: Sequence[str] = (), more: Sequence[str] = ()
) -> pd.DataFrame:
    """Compute status, final and best values of finished trials.

    Args:
        block: The finished trials.
        metrics: Metrics of all programs of the sweep.
        tests: Metrics on the test examples.
        more: Further columns of the table of trials.

    Returns:
        A row per trial, indexed by rows of the table of trials.
    """
    diverged = block.diverged_at >= 0
    columns: dict[str, Any] = {
        "status": np.where(diverged, "diverged", "ok"),
        "diverged_at": pd.array(block.diverged_at.astype(np.int64), "Int64"),
    }
    columns["diverged_at"][~diverged] = pd.NA
    # Values at or after divergence do not count as a trial's best.
    alive = ~diverged[:, None] | (block.steps[None, :] < block.diverged_at[:, None])
    for name in metrics:
        values = block.metrics.get(name, np.full(alive.shape, np.nan, np.float32))
        columns[f"final_{name}"] = values[:, -1]
        # No value of a parameter is better than another.
        if not is_parameter(name):
            best = np.fmax if higher_is_better(name) else np.fmin
            columns[f"best_{name}"] = np.asarray(
                best.reduce(np.where(alive, values, np.nan), axis=1), np.float32
            )
    for name in tests:
        columns[f"final_{name}"] = np.asarray(block.test.get(name, np.float32("nan")), np.float32)
    for name in more:
        values = block.columns.get(name, np.full(len(block.rows), np.nan))
        text = values.dtype == object
        columns[name] = pd.array(values, "str") if text else values.astype(np.float64)
    return pd.DataFrame(columns, index=block.rows)
