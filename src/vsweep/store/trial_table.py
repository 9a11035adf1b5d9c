"""The trials that a sweep's directory will hold, and their layout in its files."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vsweep.metrics import PARTS, higher_is_better, is_parameter, strata, stratum_of
from vsweep.store.blocks import TrainedBlock


class Table(NamedTuple):
    """The trials of a sweep.

    Attributes:
        rows: `trial`, `cell`, `seed` and the axes, a row per trial.
        identities: Text `(trials,)`, a digest of all that determines each trial except its number.
        metrics: Metrics of all programs, in the order of a curve's columns.
        final: Metrics after the last step alone, which have no curves.
        more: Further columns of the table of trials.
        dtype: The dtype of metrics, the widest of all programs.
        metric: The metric that ranks.
        parts: Metrics that have leave-out values.
    """

    rows: pd.DataFrame
    identities: np.ndarray
    metrics: Sequence[str]
    final: Sequence[str] = ()
    more: Sequence[str] = ()
    dtype: str = "float32"
    metric: str = "train_loss"
    parts: Sequence[str] = ()

    def strata(self) -> dict[str, int]:
        """Return the number of each trial's stratum, by its identity: see `vsweep.metrics.strata`."""
        columns = dict.fromkeys(["status", *(f"final_{name}" for name in self.metrics)])
        axes = strata(self.rows.assign(**columns), self.metric)
        numbers = stratum_of(self.rows, axes).tolist() if axes else []
        return dict(zip(self.identities.tolist(), numbers, strict=bool(axes)))

    @property
    def numbers(self) -> np.ndarray:
        """The number of each trial, int64 `(trials,)`."""
        return self.rows["trial"].to_numpy()

    def digest(self) -> str:
        """Return a SHA-256 of the numbers, axes and columns, which fix the content of the files.

        Earlier versions stored float32 only, and did not name it. They stored no leave-out values, which are
        null in their trials, so that these do not count.
        """
        names = [*self.rows.columns, "", *self.metrics, "", *self.final, "", *self.more]
        names += [] if self.dtype == "float32" else ["", self.dtype]
        digest = sha256("\n".join(names).encode())
        digest.update(self.identities.astype("S").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        return digest.hexdigest()

    def curves(self, block: TrainedBlock) -> pa.Table:
        """Return the curves of finished trials: `trial`, `step` and a column per metric."""
        steps = np.tile(block.steps, len(block.rows))
        return self._curves(block.rows, steps, {name: v.ravel() for name, v in block.metrics.items()})

    def renumbered(self, curves: pa.Table, rows: np.ndarray) -> pa.Table:
        """Return curves with this table's trial numbers; rows: int64 `(trials,)`, the curves' trials."""
        return self._curves(rows, curves["step"], dict(zip(curves.column_names, curves.columns, strict=True)))

    def _curves(self, rows: np.ndarray, steps: Any, metrics: Mapping[str, Any]) -> pa.Table:
        missing = pa.nulls(len(steps))
        columns = {name: metrics.get(name, missing) for name in self.metrics}
        trial = np.repeat(self.numbers[rows], len(steps) // len(rows))
        numbers = pa.from_numpy_dtype(np.dtype(self.dtype))
        fields = [("trial", pa.int64()), ("step", pa.int64()), *((name, numbers) for name in columns)]
        return pa.table({"trial": trial, "step": steps, **columns}).cast(pa.schema(fields))

    def summarize(self, block: TrainedBlock) -> pd.DataFrame:
        """Return the status and the final and best values of finished trials, indexed by their rows."""
        diverged = block.diverged_at >= 0
        columns: dict[str, Any] = {
            "status": np.where(diverged, "diverged", "ok"),
            "diverged_at": pd.arrays.IntegerArray(block.diverged_at.astype(np.int64), ~diverged),
        }
        # A value at or after the divergence must not become a trial's best value.
        alive = ~diverged[:, None] | (block.steps[None, :] < block.diverged_at[:, None])
        for name in self.metrics:
            values = block.metrics.get(name, np.full(alive.shape, np.nan)).astype(self.dtype)
            columns[f"final_{name}"] = values[:, -1]
            # No value of a parameter is better than another.
            if not is_parameter(name):
                best = np.fmax if higher_is_better(name) else np.fmin
                columns[f"best_{name}"] = best.reduce(np.where(alive, values, np.nan), axis=1)
        for name in self.final:
            columns[f"final_{name}"] = np.asarray(block.final.get(name, np.nan), self.dtype)
        for name in self.parts:
            columns[f"{PARTS}{name}"] = _lists(block.parts.get(name), len(block.rows), self.dtype)
        for name in self.more:
            values = block.columns.get(name, np.full(len(block.rows), np.nan))
            columns[name] = pd.array(values, "str") if values.dtype == object else values.astype(np.float64)
        return pd.DataFrame(columns, index=block.rows)

    def write(self, file: BinaryIO, summary: pd.DataFrame) -> None:
        """Write `trials.parquet`; summary: the finished trials, as `summarize` returns them."""
        table = self.rows.iloc[summary.index].reset_index(drop=True)
        table = pd.concat([table, summary.reset_index(drop=True)], axis=1)
        table["identity"] = self.identities[summary.index]
        pq.write_table(as_arrow(table), file)


def _lists(values: np.ndarray | None, rows: int, dtype: str) -> pd.arrays.ArrowExtensionArray:
    """Return a column of lists from an array `(rows, groups)`, or of nulls if there is none."""
    kind = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)))
    if values is None:
        return pd.arrays.ArrowExtensionArray(pa.nulls(rows, kind))
    ends = np.arange(rows + 1, dtype=np.int32) * values.shape[1]
    numbers = pa.array(values.astype(dtype, copy=False).ravel())
    return pd.arrays.ArrowExtensionArray(pa.ListArray.from_arrays(ends, numbers, type=kind))


def as_arrow(table: pd.DataFrame) -> pa.Table:
    """Return a table of trials as Arrow's.

    Its lists are plain ones for pandas, whose versions cannot all read the name that it has for their type.
    """
    lists = [name for name in table if isinstance(table[name].dtype, pd.ArrowDtype)]
    arrow = pa.Table.from_pandas(table.drop(columns=lists), preserve_index=False)
    for name in lists:
        arrow = arrow.append_column(name, pa.chunked_array(table[name].array.__arrow_array__()))
    return arrow.select(list(table.columns))


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return summaries of trials as pandas', with lists that stay Arrow's, as `summarize` has them."""
    return table.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None)
