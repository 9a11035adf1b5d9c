"""A sweep's directory: written block by block while it trains, and opened again to go on."""

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
import yaml

from vsweep.errors import ConfigError
from vsweep.store.atomic import uninterrupted, write_json, write_whole
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

# Of a directory's files: raised where an older directory cannot be gone on with.
FORMAT = 3
# How long rows of `trials.parquet` may wait to be written while blocks come in.
_TRIALS_EVERY_S = 5.0
_CONFIG, _PLAN, _UNDERWAY = "config.yaml", "plan.json", "underway"
# What a directory may hold of a sweep that ended before its plan was written.
_OURS = {*LOCK_FILES, _CONFIG, "curves", ROWS}


def no_shorter_trials(steps: int) -> np.ndarray:
    """Of a table whose trials do not begin as shorter ones."""
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
        described: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    ) -> None:
        """Make the directory, or open it with what it holds of these trials.

        keep: of how many of the best trials the parameters are kept, or `all`. numerics: the version of
        the numbers. at_steps: the identities of the trials, had they so many steps; empty text where a
        longer training does not begin as a shorter one. described: the config and the record of the plan,
        as for `describe`, that a directory which is extended has from the same moment on as its new numbers.

        Raises `ConfigError` where the directory cannot be written, is written by another process, or
        holds what is not of this sweep; nothing is changed then.
        """
        self.directory, self.table = directory, table
        # What a person should know of what was found.
        self.notes: list[str] = []
        self._at_steps, self._numerics = at_steps, numerics
        self._ledger, self._keeper = Ledger(directory), ParamsWriter(directory, keep, table.metrics)
        self._written = time.monotonic()
        _make(directory)
        self._lock = Lock(directory)
        try:
            self._open(described)
        except BaseException:
            self.close()
            raise

    def _open(self, described: tuple[Mapping[str, Any], Mapping[str, Any]] | None) -> None:
        check_format(self.directory, read_plan(self.directory), self._numerics)
        finish_extension(self.directory)
        before = read_plan(self.directory)
        aside = self._ledger.open()
        if aside:
            self.notes.append(f"damaged, set aside and trained again: {', '.join(aside)}")
        if self._ledger.blocks and before.get("table") != self.table.digest():
            write = partial(self._write_description, before, *(described or (None, before)))
            extend(self._ledger, self.table, before, self._at_steps, write)
            self._ledger.open()
        # Of a new directory, no index of a hundred thousand trials is made.
        places = pd.Index(self.table.identities if self._ledger.blocks else [])
        self._summaries = [
            index_by_row(places, read_rows(self._ledger.path(ROWS, block.part)))
            for block in self._ledger.blocks
        ]
        self.done = np.zeros(len(self.table.rows), bool)
        for summary in self._summaries:
            self.done[summary.index] = True
        if self._summaries:
            every = pd.concat(self._summaries)
            missing = self._keeper.open(self.table.identities[every.index], every)
            if missing:
                again = f"vsweep run trial=N from={self.directory} trains one again"
                self.notes.append(f"the parameters of {missing} of the best trials are not there; {again}")
        self._pending = bool(self._summaries)
        if aside:
            # The table speaks of what is there no more.
            (self.directory / TRIALS).unlink(missing_ok=True)
            self.write_trials()
        for folder in (".", "params", STATES, _UNDERWAY):
            for part in (self.directory / folder).glob(".*.part"):
                part.unlink()
        found = read_plan(self.directory)
        self._record = {**found, "format": FORMAT, "numerics": self._numerics}

    def describe(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write `config.yaml` and `plan.json`."""
        self._record = self._write_description(self._record, config, record, self.directory)

    def _write_description(
        self,
        before: Mapping[str, Any],
        config: Mapping[str, Any] | None,
        record: Mapping[str, Any],
        folder: Path,
    ) -> dict[str, Any]:
        # When it began is when its first trial did, and W&B knows it by its id.
        kept = {key: before[key] for key in ("started", "id") if key in before}
        made = {**before, **record, **kept, "format": FORMAT, "numerics": self._numerics}
        made["table"] = self.table.digest()
        if config is not None:
            text = yaml.safe_dump(dict(config), sort_keys=False)
            write_whole(folder / _CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
        write_json(folder / _PLAN, made)
        return made

    def note(self, **record: Any) -> None:
        """Add to `plan.json`."""
        self._lock.check()
        self._record |= record
        write_json(self.directory / _PLAN, self._record)

    def underway(self) -> list[PartialBlock]:
        """Blocks of trials that are not done, to go on from where they were saved."""
        found = [read_checkpoint(path) for path in sorted((self.directory / _UNDERWAY).glob("*.npz"))]
        saved = [s for s in (*found, *earlier_states(self.directory, self.table, self._at_steps)) if s]
        if not saved:
            return []
        places = pd.Index(self.table.identities)
        begun, taken = [], self.done.copy()
        for each in sorted(saved, key=lambda each: -each.records):
            rows = places.get_indexer(each.identities)
            left = (rows >= 0) & ~taken[rows]
            if left.any():
                taken[rows[left]] = True
                metrics = {name: values[left] for name, values in each.metrics.items()}
                begun.append(
                    PartialBlock(rows[left], each.records, metrics, [leaf[left] for leaf in each.state])
                )
        return begun

    def save(self, block: PartialBlock) -> None:
        """Keep a block between two segments."""
        self._lock.check()
        self._write_saved(self.directory / _UNDERWAY / self._saved_name(block.rows), block)

    def add(self, done: TrainedBlock) -> None:
        """Write trials that are done; their rows of `trials.parquet` follow within seconds."""
        self._lock.check()
        identities = self.table.identities[done.rows]
        curves = self.table.curves(done)
        summary = summarize_block(done, self.table.metrics, self.table.tests, self.table.more)
        with uninterrupted():
            stem = self._ledger.next_stem
            self._keeper.add(done, identities, summary, stem)
            if done.state is not None:
                self._write_saved(self.directory / STATES / f"{stem}.npz", done.state)
            self._ledger.add(
                len(identities),
                lambda path: pq.write_table(curves, path),
                lambda path: write_rows(path, identities, summary),
            )
            (self.directory / _UNDERWAY / self._saved_name(done.rows)).unlink(missing_ok=True)
            self._summaries.append(summary)
            self.done[done.rows] = True
            self._pending = True
        if time.monotonic() - self._written > _TRIALS_EVERY_S:
            self.write_trials()

    @property
    def finished(self) -> int:
        """How many trials are written."""
        return int(self.done.sum())

    def write_trials(self) -> None:
        """Write `trials.parquet`: a row for every trial that is done."""
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
        """Let another process write the directory."""
        self._lock.close()

    def _write_saved(self, path: Path, block: PartialBlock) -> None:
        identities = self.table.identities[block.rows]
        write_checkpoint(path, Checkpoint(identities, block.records, block.metrics, block.state))

    def _saved_name(self, rows: np.ndarray) -> str:
        return f"{self.table.identities[rows[0]]}.npz"


def read_trials(directory: Path) -> pd.DataFrame:
    """`trials.parquet`. Raises `FileNotFoundError` where no trial is done."""
    return pd.read_parquet(directory / TRIALS)


def read_curves(directory: Path, trials: Sequence[int] | None = None) -> pd.DataFrame:
    """Curves by trial and step: all of them, or those of some trials."""
    chosen = None if trials is None else [("trial", "in", list(trials))]
    curves = pd.read_parquet(directory / CURVES, filters=chosen)
    return curves.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def initial_values(directory: Path, metric: str) -> pd.Series:
    """A metric of every trial at step 0, float64, by the trial's number."""
    curves = pd.read_parquet(directory / CURVES, columns=["trial", metric], filters=[("step", "==", 0)])
    return curves.set_index("trial")[metric].astype(np.float64)


def is_complete(directory: Path, plan: Mapping[str, Any]) -> bool:
    """Whether all trials of a directory's plan are in it, and none of its files is damaged.

    Raises `ConfigError` where another process writes it.
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
        return ledger.holds(plan.get("trials", -1)) and _says(ledger, trials)
    finally:
        lock.close()


def _says(ledger: Ledger, trials: pd.DataFrame) -> bool:
    """Whether a table of trials is what the ledger's rows say."""
    rows = pd.concat([read_rows(path) for path in ledger.rows()])
    try:
        return bool(rows.loc[trials["identity"]].reset_index(drop=True).equals(trials[rows.columns]))
    except KeyError:
        return False


def read_plan(directory: Path) -> dict[str, Any]:
    """`plan.json`; empty where there is none. Raises `ConfigError` for one that is none of ours."""
    # Not `Path.is_file`, which raises of a name that is too long.
    if not os.path.isfile(directory / _PLAN):  # noqa: PTH113
        return {}
    try:
        plan = json.loads((directory / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            "dir", f"cannot read {str(directory / _PLAN)!r} ({reason})", "give another"
        ) from error
    return plan if isinstance(plan, dict) else {}


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in directory.iterdir() if not path.name.endswith(".part")}
    except OSError as error:
        reason = f"cannot make {str(directory)!r} ({error.strerror})"
        raise ConfigError("dir", reason, "it takes a directory that can be written") from error
    if _PLAN not in names and not names <= _OURS:
        takes = "it takes a new directory, or a sweep's"
        raise ConfigError("dir", f"{str(directory)!r} is not empty", takes)


def check_format(directory: Path, plan: Mapping[str, Any], numerics: int) -> None:
    """Raise `ConfigError` for a sweep of another version."""
    if not plan and not (directory / ROWS / "log.jsonl").exists():
        return
    if not plan or not isinstance(plan.get("versions", {}), Mapping):
        got = f"{str(directory)!r} holds trials, and its plan.json says nothing of them"
        raise ConfigError("dir", got, "give another dir")
    made = f"{str(directory)!r} was made by vsweep {plan.get('versions', {}).get('vsweep', '(unknown)')}"
    if plan.get("format") != FORMAT:
        got = f"{made}, whose directories this version can read but not add to"
        raise ConfigError("dir", got, "give another dir, or go on with that version")
    if plan.get("numerics") != numerics:
        got = f"{made}, whose numbers differ from this version's"
        raise ConfigError("dir", got, "give another dir, or go on with that version")
