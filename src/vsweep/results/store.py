"""A sweep's directory: written block by block while it trains, read back as data frames."""

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from vsweep.errors import ConfigError
from vsweep.results.files import write_whole
from vsweep.results.finished import Finished

# How long rows of `trials.parquet` may wait to be written while blocks come in.
_TRIALS_EVERY_S = 5.0


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: of accuracies it is, of losses and norms it is not."""
    return metric.endswith("accuracy")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the end, so that what belongs together is written together."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


class Store:
    """Writes a sweep's directory."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        plan: Mapping[str, Any],
        trials: pd.DataFrame,
        metrics: Sequence[str],
    ) -> None:
        """Make the directory, with `config.yaml` and `plan.json`.

        trials: one row per trial: `trial`, `cell`, `seed` and the axes. metrics: of all programs. Raises
        `ConfigError` where the directory cannot be made, or holds something already.
        """
        self.directory = directory
        self._trials, self._metrics = trials, tuple(metrics)
        self._summaries: list[pd.DataFrame] = []
        self._parts, self._written, self._pending = 0, time.monotonic(), False
        _make(directory)
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_whole(directory / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
        self._record = dict(plan)
        self.note()

    def note(self, **record: Any) -> None:
        """Add to `plan.json` what is known only later."""
        self._record |= record
        text = json.dumps(self._record, indent=1, ensure_ascii=False)
        write_whole(self.directory / "plan.json", lambda path: path.write_text(text, encoding="utf-8"))

    def add(self, done: Finished) -> None:
        """Write the curves of trials that are done; their rows follow within seconds."""
        trials, records = len(done.rows), len(done.steps)
        numbers = self._trials["trial"].to_numpy()[done.rows]
        columns: dict[str, Any] = {
            "trial": np.repeat(numbers, records),
            "step": np.tile(done.steps, trials),
        }
        for name in self._metrics:
            values = done.metrics.get(name)
            missing = pa.nulls(trials * records, pa.float32())
            columns[name] = missing if values is None else values.ravel()
        table = pa.table(columns)
        path = self.directory / "curves" / f"part-{self._parts:06d}.parquet"
        summary = _summary(done, self._metrics)
        with _uninterrupted():
            write_whole(path, lambda part: pq.write_table(table, part))
            self._parts += 1
            self._summaries.append(summary)
            self._pending = True
        if time.monotonic() - self._written > _TRIALS_EVERY_S:
            self.write_trials()

    @property
    def finished(self) -> int:
        """How many trials are written."""
        return sum(len(summary) for summary in self._summaries)

    def write_trials(self) -> None:
        """Write `trials.parquet`: a row for every trial that is done."""
        if not self._pending:
            return
        self._pending = False
        summary = pd.concat(self._summaries).sort_index()
        self._summaries = [summary]
        table = self._trials.iloc[summary.index].reset_index(drop=True)
        table = pd.concat([table, summary.reset_index(drop=True)], axis=1)
        write_whole(self.directory / "trials.parquet", lambda path: table.to_parquet(path, index=False))
        self._written = time.monotonic()


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError("dir", f"{str(directory)!r} is not empty", "it takes a new directory")
        (directory / "curves").mkdir()
    except OSError as error:
        reason = f"cannot make {str(directory)!r} ({error.strerror})"
        raise ConfigError("dir", reason, "it takes a directory that can be written") from error


def _summary(done: Finished, metrics: Sequence[str]) -> pd.DataFrame:
    """Status, final and best values of trials that are done, by their place in the table."""
    diverged = done.diverged_at >= 0
    columns: dict[str, Any] = {
        "status": np.where(diverged, "diverged", "ok"),
        "diverged_at": pd.array(done.diverged_at.astype(np.int64), "Int64"),
    }
    columns["diverged_at"][~diverged] = pd.NA
    # What came after a trial diverged is not its best.
    alive = ~diverged[:, None] | (done.steps[None, :] < done.diverged_at[:, None])
    for name in metrics:
        values = done.metrics.get(name)
        if values is None:
            columns[f"final_{name}"] = columns[f"best_{name}"] = np.float32("nan")
            continue
        columns[f"final_{name}"] = values[:, -1]
        columns[f"best_{name}"] = _best(np.where(alive, values, np.nan), higher=higher_is_better(name))
    return pd.DataFrame(columns, index=done.rows)


def _best(values: np.ndarray, *, higher: bool) -> np.ndarray:
    """The best of each row that is not NaN, or NaN where all are."""
    best = np.fmax.reduce(values, axis=1) if higher else np.fmin.reduce(values, axis=1)
    return np.asarray(best, np.float32)


def read_trials(directory: Path) -> pd.DataFrame:
    """`trials.parquet`. Raises `FileNotFoundError` where no trial is done."""
    return pd.read_parquet(directory / "trials.parquet")


def read_curves(directory: Path) -> pd.DataFrame:
    """All curves, by trial and step."""
    curves = pd.read_parquet(directory / "curves")
    return curves.sort_values(["trial", "step"], kind="stable", ignore_index=True)
