"""Trials that are done, on their way from the devices to the store."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Finished(NamedTuple):
    """Trials that are done.

    rows: int64 `(trials,)`, places in the table of trials. steps: int64 `(records,)`. metrics: each
    float32 `(trials, records)`. diverged_at: int32 `(trials,)`, -1 for never.
    """

    rows: np.ndarray
    steps: np.ndarray
    metrics: Mapping[str, np.ndarray]
    diverged_at: np.ndarray
