"""Write a sweep's directory block by block during training, and open it again to continue."""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from vsweep.errors import ConfigError
from vsweep.store.atomic import uninterrupted, write_json, write_whole, write_yaml
from vsweep.store.best_params import ParamsWriter
from vsweep.store.blocks import PartialBlock, TrainedBlock
from vsweep.store.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from vsweep.store.extend import (
    STATES,
    TRIALS,
    earlier_states,
    extend,
    finish_extension,
    has_pending_extension,
    index_by_row,
)
from vsweep.store.lock import LOCK_FILES, Lock
from vsweep.store.manifest import CURVES, ROWS, Ledger
from vsweep.store.summary import summarize_block
from vsweep.store.trial_table import Table, read_rows, write_rows

# The version of the directory's layout; raise it when older directories can no longer be continued.
FORMAT = 3
# Rows of `trials.parquet` are written at most this often while blocks come in.
_TRIALS_EVERY_S = 5.0
_CONFIG, _PLAN, _UNDERWAY = "config.yaml", "plan.json", "underway"
# The files that a sweep creates before its plan.
_FIRST_FILES = {*LOCK_FILES, _CONFIG, CURVES, ROWS}


def no_shorter_trials(steps: int) -> np.ndarray:
    """Return identities that match no stored trial, for tables whose trials do not extend shorter ones."""
    return np.asarray([""])


class Store:
    """Writes a sweep's directory, and holds its lock until it is closed."""

    def __init__(
        self,
        directory: Path,
        table: Table,
        *,
        keep: int | str = 0,
        numerics: int = 0,
        at_steps: Callable[[int], np.ndarray] = no_shorter_trials,
        description: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    ) -> None:
        """Create the directory, or open it with the trials of this table that it holds.

        Args:
            directory: The sweep's directory.
            table: The trials of the sweep.
            keep: The number of best trials whose parameters are kept, or "all".
            numerics: The version of the numerical results.
            at_steps: Function that returns the identities the trials would have with another number of steps;
                empty text for a trial whose training does not start like a shorter one.
            description: The config and the record of the plan, as for `describe`. They are written together
                with the new trial numbers when the directory is extended.

        Raises:
            ConfigError: If the directory cannot be written, is being written by another process, or holds
                another sweep; nothing is changed in that case.
        """
        self.directory, self.table = directory, table
        # Messages for the user on the state of the directory.
        self.notes: list[str] = []
        self._at_steps, self._numerics = at_steps, numerics
        self._ledger = Ledger(directory)
        self._params = ParamsWriter(directory, keep, table.metrics)
        self._written = time.monotonic()
        _create(directory)
        self._lock = Lock(directory)
        try:
            self._open(description)
        except BaseException:
            self.close()
            raise

    def _open(self, description: tuple[Mapping[str, Any], Mapping[str, Any]] | None) -> None:
        check_format(self.directory, read_plan(self.directory), self._numerics)
        finish_extension(self.directory)
        plan = read_plan(self.directory)
        damaged = self._ledger.open()
        if damaged:
            self.notes.append(f"damaged files were set aside and are trained again: {', '.join(damaged)}")
        if self._ledger.blocks and plan.get("table") != self.table.digest():
            write = partial(self._write_description, plan, *(description or (None, plan)))
            extend(self._ledger, self.table, plan, self._at_steps, write)
            self._ledger.open()
        # A new directory needs no index, which is slow to build for a hundred thousand trials.
        places = pd.Index(self.table.identities if self._ledger.blocks else [])
        self._summaries = [
            index_by_row(places, read_rows(self._ledger.path(ROWS, block.part)))
            for block in self._ledger.blocks
        ]
        self.done = np.zeros(len(self.table.rows), bool)
        for summary in self._summaries:
            self.done[summary.index] = True
        if self._summaries:
            summary = pd.concat(self._summaries)
            missing = self._params.open(self.table.identities[summary.index], summary)
            if missing:
                command = f"vsweep run trial=N from={self.directory}"
                self.notes.append(
                    f"{missing} of the best trials have no stored parameters; `{command}` retrains one"
                )
        self._pending = bool(self._summaries)
        if damaged:
            # The old table lists trials that are no longer in the store.
            (self.directory / TRIALS).unlink(missing_ok=True)
            self.write_trials()
        for folder in (".", "params", STATES, _UNDERWAY):
            for part in (self.directory / folder).glob(".*.part"):
                part.unlink()
        self._record = {**read_plan(self.directory), "format": FORMAT, "numerics": self._numerics}

    def describe(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write `config.yaml` and `plan.json`."""
        self._record = self._write_description(self._record, config, record, self.directory)

    def _write_description(
        self,
        plan: Mapping[str, Any],
        config: Mapping[str, Any] | None,
        record: Mapping[str, Any],
        folder: Path,
    ) -> dict[str, Any]:
        # The start of the first trial and the id that W&B knows the sweep by do not change.
        constant = {key: plan[key] for key in ("started", "id") if key in plan}
        merged = {**plan, **record, **constant, "format": FORMAT, "numerics": self._numerics}
        merged["table"] = self.table.digest()
        if config is not None:
            write_yaml(folder / _CONFIG, dict(config))
        write_json(folder / _PLAN, merged)
        return merged

    def note(self, **record: Any) -> None:
        """Add entries to `plan.json`."""
        self._lock.check()
        self._record |= record
        write_json(self.directory / _PLAN, self._record)

    def underway(self) -> list[PartialBlock]:
        """Return stored blocks of unfinished trials, from which training can continue."""
        stored = [read_checkpoint(path) for path in sorted((self.directory / _UNDERWAY).glob("*.npz"))]
        checkpoints = [c for c in stored if c]
        checkpoints += earlier_states(self.directory, self.table, self._at_steps)
        if not checkpoints:
            return []
        places = pd.Index(self.table.identities)
        blocks, taken = [], self.done.copy()
        for checkpoint in sorted(checkpoints, key=lambda checkpoint: -checkpoint.records):
            rows = places.get_indexer(checkpoint.identities)
            left = (rows >= 0) & ~taken[rows]
            if left.any():
                taken[rows[left]] = True
                _, records, metrics, state = checkpoint.select(left)
                blocks.append(PartialBlock(rows[left], records, metrics, state))
        return blocks

    def save(self, block: PartialBlock) -> None:
        """Keep a block between two segments."""
        self._lock.check()
        self._write_checkpoint(self._underway_path(block.rows), block)

    def add(self, done: TrainedBlock) -> None:
        """Write finished trials; their rows of `trials.parquet` follow within seconds."""
        self._lock.check()
        identities = self.table.identities[done.rows]
        curves = self.table.curves(done)
        summary = summarize_block(done, self.table.metrics, self.table.tests, self.table.more)
        with uninterrupted():
            stem = self._ledger.next_stem
            self._params.add(done, identities, summary, stem)
            if done.state is not None:
                self._write_checkpoint(self.directory / STATES / f"{stem}.npz", done.state)
            self._ledger.add(
                len(identities),
                lambda path: pq.write_table(curves, path),
                lambda path: write_rows(path, identities, summary),
            )
            self._underway_path(done.rows).unlink(missing_ok=True)
            self._summaries.append(summary)
            self.done[done.rows] = True
            self._pending = True
        if time.monotonic() - self._written > _TRIALS_EVERY_S:
            self.write_trials()

    @property
    def finished(self) -> int:
        """The number of finished trials."""
        return int(self.done.sum())

    def write_trials(self) -> None:
        """Write `trials.parquet`, a row for every finished trial."""
        if not self._pending:
            return
        self._lock.check()
        summary = pd.concat(self._summaries).sort_index()
        write_whole(self.directory / TRIALS, lambda path: self.table.write(path, summary))
        self._summaries = [summary]
        self._written, self._pending = time.monotonic(), False
        if self.done.all():
            shutil.rmtree(self.directory / _UNDERWAY, ignore_errors=True)

    def close(self) -> None:
        """Release the lock, so that another process can write the directory."""
        self._lock.close()

    def _write_checkpoint(self, path: Path, block: PartialBlock) -> None:
        rows, records, metrics, state = block
        write_checkpoint(path, Checkpoint(self.table.identities[rows], records, metrics, state))

    def _underway_path(self, rows: np.ndarray) -> Path:
        return self.directory / _UNDERWAY / f"{self.table.identities[rows[0]]}.npz"


def read_trials(directory: Path) -> pd.DataFrame:
    """Read `trials.parquet`.

    Raises:
        FileNotFoundError: If no trial is finished.
    """
    return pd.read_parquet(directory / TRIALS)


def read_curves(directory: Path, trials: Sequence[int] | None = None) -> pd.DataFrame:
    """Read curves, sorted by trial and step; trials: numbers of the trials to read, by default all."""
    filters = None if trials is None else [("trial", "in", list(trials))]
    curves = pd.read_parquet(directory / CURVES, filters=filters)
    return curves.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def initial_values(directory: Path, metric: str) -> pd.Series:
    """Read a metric of every trial at step 0, float64, indexed by the trial's number."""
    curves = pd.read_parquet(directory / CURVES, columns=["trial", metric], filters=[("step", "==", 0)])
    return curves.set_index("trial")[metric].astype(np.float64)


def is_complete(directory: Path, plan: Mapping[str, Any]) -> bool:
    """Return whether a directory holds all trials of its plan and no damaged file.

    Raises:
        ConfigError: If another process is writing the directory.
    """
    if plan.get("format") != FORMAT or has_pending_extension(directory):
        return False
    try:
        trials = read_trials(directory)
    except (OSError, ValueError):
        return False
    lock = Lock(directory)
    try:
        ledger = Ledger(directory)
        return ledger.holds(plan.get("trials", -1)) and _matches_rows(trials, ledger)
    finally:
        lock.close()


def _matches_rows(trials: pd.DataFrame, ledger: Ledger) -> bool:
    """Return whether a table of trials agrees with the ledger's rows."""
    rows = pd.concat([read_rows(path) for path in ledger.rows()])
    try:
        return bool(rows.loc[trials["identity"]].reset_index(drop=True).equals(trials[rows.columns]))
    except KeyError:
        return False


def read_plan(directory: Path) -> dict[str, Any]:
    """Read `plan.json`; return an empty dictionary if there is none.

    Raises:
        ConfigError: If the file cannot be read as JSON.
    """
    # `Path.is_file` raises for a name that is too long.
    if not os.path.isfile(directory / _PLAN):  # noqa: PTH113
        return {}
    try:
        plan = json.loads((directory / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = f"cannot read {str(directory / _PLAN)!r} ({' '.join(str(error).split())})"
        raise ConfigError("dir", got, "give another dir") from error
    return plan if isinstance(plan, dict) else {}


def _create(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in directory.iterdir() if not path.name.endswith(".part")}
    except OSError as error:
        got = f"cannot make {str(directory)!r} ({error.strerror})"
        raise ConfigError("dir", got, "it takes a directory that can be written") from error
    if _PLAN not in names and not names <= _FIRST_FILES:
        got = f"{str(directory)!r} is not empty"
        raise ConfigError("dir", got, "it takes a new directory, or a sweep's")


def check_format(directory: Path, plan: Mapping[str, Any], numerics: int) -> None:
    """Check that this version of vsweep can add to a directory.

    Raises:
        ConfigError: If the sweep was made by an incompatible version.
    """
    if not plan and not (directory / ROWS / "log.jsonl").exists():
        return
    if not plan or not isinstance(plan.get("versions", {}), Mapping):
        got = f"{str(directory)!r} holds trials, but its plan.json does not describe them"
        raise ConfigError("dir", got, "give another dir")
    made_by = f"{str(directory)!r} was made by vsweep {plan.get('versions', {}).get('vsweep', '(unknown)')}"
    for key, version, difference in (
        ("format", FORMAT, "whose directories this version can read but not add to"),
        ("numerics", numerics, "whose numbers differ from this version's"),
    ):
        if plan.get(key) != version:
            takes = "give another dir, or go on with that version"
            raise ConfigError("dir", f"{made_by}, {difference}", takes)
