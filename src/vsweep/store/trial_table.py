"""The trials that a sweep's directory is to hold, and how they stand in its files."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vsweep.store.blocks import TrainedBlock


class Table(NamedTuple):
    """The trials of a sweep.

    rows: `trial`, `cell`, `seed` and the axes, a row per trial. identities: text `(trials,)`: what
    determines each, and not where it stands. metrics: of all programs, in a curve's order. tests: those on
    the test's examples. more: the names of what else is said of a trial.
    """

    rows: pd.DataFrame
    identities: np.ndarray
    metrics: Sequence[str]
    tests: Sequence[str] = ()
    more: Sequence[str] = ()

    @property
    def numbers(self) -> np.ndarray:
        """The number of each trial, int64 `(trials,)`."""
        return self.rows["trial"].to_numpy()

    def digest(self) -> str:
        """What the files of two tables have in common if it is the same: numbers, axes and columns."""
        names = [*self.rows.columns, "", *self.metrics, "", *self.tests, "", *self.more]
        digest = sha256("\n".join(names).encode())
        digest.update(self.identities.astype("S").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        return digest.hexdigest()

    def curves(self, done: TrainedBlock) -> pa.Table:
        """The curves of trials that are done: `trial`, `step` and a float32 column per metric."""
        steps = np.tile(done.steps, len(done.rows))
        flat = {name: values.ravel() for name, values in done.metrics.items()}
        return self._curves(done.rows, steps, flat)

    def renumbered(self, curves: pa.Table, places: np.ndarray) -> pa.Table:
        """Curves of the trials at these places, in that order, as another table of trials numbered them."""
        columns = dict(zip(curves.column_names, curves.columns, strict=True))
        return self._curves(places, curves["step"], columns)

    def _curves(self, places: np.ndarray, steps: Any, metrics: Mapping[str, Any]) -> pa.Table:
        records = len(steps) // len(places)
        missing = pa.nulls(len(steps), pa.float32())
        columns = {name: metrics.get(name, missing) for name in self.metrics}
        return pa.table({"trial": np.repeat(self.numbers[places], records), "step": steps, **columns})

    def write(self, path: Path, summary: pd.DataFrame) -> None:
        """Write `trials.parquet`. summary: the trials that are done, by their place; see `summary_of`."""
        table = self.rows.iloc[summary.index].reset_index(drop=True)
        table = pd.concat([table, summary.reset_index(drop=True)], axis=1)
        table["identity"] = self.identities[summary.index]
        table.to_parquet(path, index=False)


def write_rows(path: Path, identities: np.ndarray, summary: pd.DataFrame) -> None:
    """Write the ledger's rows of a block: the identity of each trial, and its summary."""
    pq.write_table(pa.Table.from_pandas(summary.assign(identity=identities), preserve_index=False), path)


def read_rows(path: Path) -> pd.DataFrame:
    """What `write_rows` wrote, `identity` being the index."""
    return pq.read_table(path).to_pandas().set_index("identity")
