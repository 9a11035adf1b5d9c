"""Print how often the interval of a cell's accuracy covers its accuracy on 100,000 fresh examples.

Many sets of `moons` and `spirals` are trained on. The interval of each is that of `sweep.cells()`, from few
seeds and few held-out examples; the truth is the mean accuracy of many seeds on fresh examples. Run as
`python scripts/simulate_intervals.py [DATA_SETS]`; 400 take more than an hour.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import vsweep
from vsweep.analysis.errors import errors
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.synthetic import moons, spirals

FRESH = 100_000
# The interval is that of the first seeds, and the truth is the mean over the others.
FEW, SEEDS = 4, 20
SETTINGS: dict[str, tuple[Callable[..., Dataset], dict[str, float], Sequence[str]]] = {
    "moons, logistic": (moons, {"noise": 0.3}, ["data=moons", "model=logistic"]),
    "moons, MLP": (moons, {"noise": 0.3}, ["data=moons", "model=mlp", "model.width=8"]),
    "moons, MLP, easy": (moons, {"noise": 0.15}, ["data=moons", "model=mlp", "model.width=8"]),
    "spirals, MLP": (spirals, {"noise": 0.1, "arms": 4}, ["data=spirals", "model=mlp", "model.width=16"]),
}


def coverage(name: str, rows: int, sets: int) -> tuple[float, float, float]:
    """Return the share of intervals that cover, the mean accuracy, and the mean width of the intervals."""
    make, fields, words = SETTINGS[name]
    fresh = make(rows=FRESH, seed=2**31, **fields)
    given = [f"data.{field}={value}" for field, value in fields.items()]
    with tempfile.TemporaryDirectory() as folder:
        sweep = vsweep.sweep(
            [
                *words,
                *given,
                f"data.rows={rows}",
                f"grid.data.seed={list(range(sets))}",
                f"seeds={SEEDS}",
                "optimizer.lr=0.5",
                "steps=200",
                "record_every=200",
                "tracker=none",
                "keep.params=all",
                f"dir={Path(folder) / 'sweep'}",
            ],
            quiet=True,
        )
        trials = sweep.trials
        few = trials[trials["seed"] < FEW]
        found = errors(few, "val_accuracy")
        others = trials[trials["seed"] >= FEW]
        answers = labels(fresh)
        right = [np.mean(sweep.predictor(int(trial))(fresh.x) == answers) for trial in others["trial"]]
    truth = pd.Series(right, others.index).groupby(others["cell"]).mean()
    covers = (found["low"] <= truth) & (truth <= found["high"])
    return covers.mean(), truth.mean(), (found["high"] - found["low"]).mean()


def labels(data: Dataset) -> np.ndarray:
    """Return the label of each example."""
    return np.asarray(data.classes)[np.asarray(data.y)]


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print("| data | rows held out | coverage in % | accuracy | width |\n|---|---|---|---|---|")
    for setting in SETTINGS:
        for size in (150, 1000):
            covered, accuracy, width = coverage(setting, size, count)
            print(
                f"| {setting} | {size // 5} | {100.0 * covered:.1f} | {accuracy:.3f} | {width:.3f} |",
                flush=True,
            )
