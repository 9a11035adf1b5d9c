"""A directory that is extended has one numbering, wherever a process dies in between."""

import os
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from store_helpers import PLAN

from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.blocks import TrainedBlock
from vsweep.store.trial_table import Table
from vsweep.store.writer import Store, read_curves, read_trials

STEPS = np.array([0, 1])


def table(seeds):
    """Two cells; a trial's identity says its cell and seed, as its loss does."""
    cells = np.repeat([0, 1], len(seeds))
    seed = np.tile(seeds, 2)
    rows = pd.DataFrame({"trial": np.arange(len(cells)), "cell": cells, "seed": seed, "x": cells})
    return Table(rows, np.array([f"{c}-{s}" for c, s in zip(cells, seed, strict=True)]), ["train_loss"])


def opened(directory, trials):
    options = {"keep": 0, "numerics": 0, "at_steps": lambda steps: np.full(len(trials.rows), "")}
    return Store(directory, trials, {}, PLAN, **options)


def fill(store):
    """Train what is not there, in blocks of two trials."""
    missing = np.flatnonzero(~store.done)
    for rows in (missing[i : i + 2] for i in range(0, len(missing), 2)):
        cells, seeds = store.table.rows.loc[rows, ["cell", "seed"]].to_numpy().T
        loss = np.tile((100 * cells + seeds).astype(np.float32)[:, None], 2)
        store.add(TrainedBlock(rows, STEPS, {"train_loss": loss}, np.full(len(rows), -1, np.int32)))
    store.write_trials()
    store.close()


def check(directory, seeds):
    """Every trial is there once, under its own number."""
    rows = table(seeds).rows.set_index("trial")
    curves, trials = read_curves(directory), read_trials(directory).set_index("trial")
    assert curves["trial"].tolist() == np.repeat(rows.index, 2).tolist()
    expected = 100 * rows["cell"] + rows["seed"]
    assert curves["train_loss"].tolist() == np.repeat(expected, 2).tolist()
    assert trials["final_train_loss"].tolist() == expected.tolist()
    assert trials[["cell", "seed"]].to_numpy().tolist() == rows[["cell", "seed"]].to_numpy().tolist()


class Died(BaseException):
    pass


def dying(monkeypatch, at):
    """From its `at`-th change of a name on, nothing more is done; counts them."""
    changes = []

    def watched(method):
        def call(self, *arguments, **options):
            changes.append(self)
            if len(changes) > at:
                raise Died
            return method(self, *arguments, **options)

        return call

    for name in ("replace", "unlink", "rename"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return changes


def test_wherever_it_dies_both_configs_find_one_numbering(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    at = 0
    while True:
        for seeds in ([1, 2], [0, 1, 2]):
            directory = tmp_path / f"{at}-{len(seeds)}"
            fill(opened(directory, table([1, 2])))
            ended = False
            with monkeypatch.context() as patch:
                dying(patch, at)
                try:
                    opened(directory, table([0, 1, 2])).close()
                    ended = True
                except Died:
                    pass
            # A reader is told, or finds one numbering.
            with suppress(ConfigError):
                found = Sweep(directory)
                kept = found.curves.groupby("trial")["train_loss"].first()
                numbered = found.trials.set_index("trial")
                assert (kept == 100 * numbered["cell"] + numbered["seed"]).all()
            fill(opened(directory, table(seeds)))
            check(directory, seeds)
        if ended:
            break
        at += 1
    assert at > 8, "it died at every change of a name"


def test_more_metrics_leave_gaps_and_no_other_schema(tmp_path):
    fill(opened(tmp_path / "kept", table([1, 2])))
    more = table([0, 1, 2])._replace(metrics=["train_loss", "val_loss"], final=["test_loss"])
    fill(opened(tmp_path / "kept", more))
    check(tmp_path / "kept", [0, 1, 2])
    assert read_curves(tmp_path / "kept")["val_loss"].isna().all()
    schemas = {str(pq.read_schema(path)) for path in (tmp_path / "kept" / "curves").iterdir()}
    assert len(schemas) == 1


@pytest.mark.parametrize("seeds", [[1], [0, 2], [3, 4]])
def test_fewer_are_refused_and_nothing_changes(tmp_path, seeds):
    fill(opened(tmp_path / "kept", table([1, 2])))
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.parquet")}
    with pytest.raises(ConfigError, match="trials that are not in this sweep"):
        opened(tmp_path / "kept", table(seeds))
    assert {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.parquet")} == before
