"""Write a sweep's directory block by block during training, and open it again to continue."""

import faulthandler
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from vsweep.errors import ConfigError
from vsweep.metrics import without_parts
from vsweep.store import manifest
from vsweep.store.atomic import uninterrupted
from vsweep.store.best_params import ParamsWriter
from vsweep.store.blocks import PartialBlock, TrainedBlock, read_checkpoints, write_checkpoint
from vsweep.store.extend import extend, finish_extension, has_pending_extension
from vsweep.store.files import (
    CONFIG,
    CURVES,
    EARLIER,
    EXAMPLES,
    LOCK_FILES,
    PARAMS,
    PLAN,
    ROWS,
    STATES,
    STUCK,
    TRIALS,
    UNDERWAY,
    Files,
)
from vsweep.store.lock import Lock
from vsweep.store.manifest import Ledger, Part
from vsweep.store.records import check_config, check_plan
from vsweep.store.trial_table import Table

# The version of the directory's layout; raise it when older versions could damage newer directories.
FORMAT = 4
# The versions that can be continued. The first of these has no checksums of files other than the blocks'.
FORMATS = 3, FORMAT
# Rows of `trials.parquet` are written at most this often while blocks come in.
_TRIALS_EVERY_S = 5.0
# The entries of `plan.json` on how the trials were trained, which stay when no trial is left to train.
_TRAINED_BY = ("versions", "python", "commit", "devices", "asked", "programs")
# The files that a sweep creates before its plan.
_FIRST_FILES = {*LOCK_FILES, CONFIG, CURVES, ROWS}


class Store:
    """Writes a sweep's directory, and holds its lock until it is closed."""

    def __init__(
        self,
        directory: Path,
        table: Table,
        config: Mapping[str, Any],
        record: Mapping[str, Any],
        *,
        keep: int | str,
        numerics: int,
        at_steps: Callable[[int], np.ndarray],
    ) -> None:
        """Create the directory, or open it with the trials of this table that it holds.

        Args:
            directory: The sweep's directory.
            table: The trials of the sweep.
            config: The content of `config.yaml`.
            record: The content of `plan.json`.
            keep: The number of best trials whose parameters are kept, or "all".
            numerics: The version of the numerical results.
            at_steps: Function that returns the identities the trials would have with another number of steps;
                empty text for a trial whose training does not start like a shorter one.

        Raises:
            ConfigError: If the directory cannot be written, is being written by another process, or holds
                another sweep; nothing is changed in that case.
        """
        self.directory, self.table = directory, table
        # Messages for the user on the state of the directory.
        self.notes: list[str] = []
        self._at_steps, self._config = at_steps, config
        self._record = {**record, "format": FORMAT, "numerics": numerics, "table": table.digest()}
        self.files = Files(directory)
        self._ledger = Ledger(self.files)
        self._params = ParamsWriter(self.files, keep, table.metric, table.strata())
        self._written = time.monotonic()
        _create(directory)
        self._lock = Lock(directory)
        try:
            self._open(numerics)
        except BaseException:
            self.close()
            raise

    def _open(self, numerics: int) -> None:
        check_format(self.directory, read_plan(self.directory), numerics)
        finish_extension(self.files)
        earlier = read_plan(self.directory)
        # The start of the first trial and the id that W&B knows the sweep by do not change.
        constant = {key: earlier[key] for key in ("started", "id") if key in earlier}
        self._record = earlier | self._record | constant
        damaged = self._ledger.open()
        # Blocks whose parameters are lost are trained again, although their curves are intact.
        lost = self._params.lost({block: self._ledger.read_rows(block) for block in self._ledger.blocks})
        damaged += self._ledger.set_aside(lost)
        if damaged:
            self.notes.append(f"damaged files were set aside and are trained again: {', '.join(damaged)}")
        if self._ledger.blocks and earlier.get("table") != self._record["table"]:
            extend(self._ledger, self.table, earlier, self._at_steps, self._describe)
            self._ledger.open()
        self.done = np.zeros(len(self.table.rows), bool)
        self._summaries = []
        if self._ledger.blocks:
            summary = pd.concat(map(self._ledger.read_rows, self._ledger.blocks))
            summary.index = pd.Index(self.table.identities).get_indexer(summary.index)
            self.done[summary.index] = True
            self._summaries.append(summary)
            missing = self._params.open(self.table.identities[summary.index], summary)
            if missing:
                command = f"vsweep run trial=N from={self.directory}"
                self.notes.append(
                    f"{missing} of the best trials have no stored parameters; `{command}` retrains a trial"
                )
        self._pending = bool(self._summaries)
        if damaged:
            # The old table lists trials that are no longer in the store.
            self.files.delete(TRIALS)
            self.write_trials()
        self.files.clear_unfinished("", PARAMS, STATES, UNDERWAY)
        if self.done.all() and earlier.get("table") == self._record["table"]:
            self._record |= {key: earlier[key] for key in _TRAINED_BY if key in earlier}
        self.files.compact()
        self._describe(self.files)

    def _describe(self, files: Files) -> None:
        files.write_yaml(CONFIG, self._config)
        files.write_json(PLAN, self._record)

    def note(self, **record: Any) -> None:
        """Add entries to `plan.json`."""
        self._lock.check()
        self._record |= record
        self.files.write_json(PLAN, self._record)

    def underway(self) -> list[PartialBlock]:
        """Return stored blocks of unfinished trials, from which training can continue."""
        blocks = [*read_checkpoints(self.files, UNDERWAY, self.table.identities)]
        # Shorter trainings of the same trials end in states from which these trials continue.
        for folder in self.files.folders(EARLIER):
            identities = self._at_steps(int(folder.rpartition("-")[2]))
            blocks += read_checkpoints(self.files.nested(folder), STATES, identities)
        unfinished, taken = [], self.done.copy()
        for block in sorted(blocks, key=lambda block: -block.records):
            available = ~taken[block.rows]
            if available.any():
                taken[block.rows] = True
                unfinished.append(block.select(available))
        return unfinished

    def save(self, block: PartialBlock) -> None:
        """Keep a block between two segments."""
        self._lock.check()
        write_checkpoint(self.files, self._underway_name(block.rows), block, self.table.identities)

    def write_examples(self, number: int, examples: pd.DataFrame) -> None:
        """Keep the examples of a data set; number: its index in the plan."""
        self.files.write(f"{EXAMPLES}/{number}.parquet", lambda file: examples.to_parquet(file, index=False))

    def add(self, done: TrainedBlock) -> None:
        """Write finished trials; their rows of `trials.parquet` follow within seconds."""
        self._lock.check()
        identities = self.table.identities[done.rows]
        curves, summary = self.table.curves(done), self.table.summarize(done)
        with uninterrupted():
            stem = self._ledger.next.stem
            self._params.add(done, identities, summary, stem)
            if done.state is not None:
                write_checkpoint(self.files, f"{STATES}/{stem}.npz", done.state, self.table.identities)
            self._ledger.add(curves, summary.assign(identity=identities))
            self.files.delete(self._underway_name(done.rows))
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
        self.files.write(TRIALS, lambda file: self.table.write(file, summary))
        self._summaries = [summary]
        self._written, self._pending = time.monotonic(), False
        if self.done.all():
            self.files.clear(UNDERWAY)

    def close(self) -> None:
        """Release the lock, so that another process can write the directory."""
        self._lock.close()

    def _underway_name(self, rows: np.ndarray) -> str:
        return f"{UNDERWAY}/{self.table.identities[rows[0]]}.npz"


# The columns that every table of trials has.
_COLUMNS = {"trial": "i", "cell": "i", "seed": "i", "status": "O"}


def read_trials(directory: Path) -> pd.DataFrame:
    """Read `trials.parquet`.

    Raises:
        FileNotFoundError: If no trial is finished.
        DamagedError: If the file is damaged.
    """
    files = Files(directory)
    content = files.read(TRIALS)
    with files.parsing(TRIALS):
        # Arrow's reader makes no copy of the content.
        trials = pd.read_parquet(pa.BufferReader(content))
        # Sweeps of one split have no column of it.
        for name, kind in (_COLUMNS | ({"split": "i"} if "split" in trials else {})).items():
            if trials[name].dtype.kind != kind or trials[name].isna().any():
                raise TypeError(f"column {name!r} has the type {trials[name].dtype}")
        return trials


def read_curves(
    directory: Path, trials: Sequence[int] | None = None, finished: ArrayLike = ()
) -> pd.DataFrame:
    """Read curves, sorted by trial and step.

    Args:
        directory: The sweep's directory.
        trials: Numbers of the trials to read, by default all.
        finished: Numbers of trials that have to be there, if all are read.

    Raises:
        DamagedError: If a block is damaged, or a trial is lost.
    """
    curves = _curves(directory, Part(trials), finished if trials is None else trials)
    return curves.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def initial_values(directory: Path, metric: str, finished: ArrayLike = ()) -> pd.Series:
    """Read a metric of every trial at step 0, float64, indexed by the number; see `read_curves`."""
    curves = _curves(directory, Part(step=0, columns=["trial", "step", metric]), finished)
    return curves.set_index("trial")[metric].astype(np.float64)


def _curves(directory: Path, part: Part, expected: ArrayLike) -> pd.DataFrame:
    """Read a part of the curves; expected: the numbers of trials that have to be there."""
    files = Files(directory)
    curves = manifest.read_curves(files, part).to_pandas()
    if not np.isin(expected, curves["trial"].unique()).all():
        # A block whose damage hides its trials was passed over; a read of everything finds it.
        manifest.read_curves(files, part._replace(trials=None))
        raise files.damaged(f"{ROWS}/log.jsonl", "it lacks blocks of trials.parquet")
    return curves


def is_complete(directory: Path, plan: Mapping[str, Any]) -> bool:
    """Return whether a directory holds all trials of its plan and no damaged file.

    Raises:
        ConfigError: If another process is writing the directory.
    """
    files = Files(directory)
    if plan.get("format") not in FORMATS or has_pending_extension(files):
        return False
    lock = Lock(directory)
    try:
        rows, trials = without_parts(Ledger(files).intact_rows()), read_trials(directory)
        same = rows.loc[trials["identity"]].reset_index(drop=True).equals(trials[rows.columns])
        # Only training writes the config again, so that it must not be damaged either.
        # A process may have died between the last block and the table of trials.
        same = same and len(rows) == len(trials) == plan.get("trials")
        return same and not files.lost() and bool(read_config(directory))
    except (OSError, ValueError, KeyError):
        return False
    finally:
        lock.close()


def read_plan(directory: Path) -> dict[str, Any]:
    """Read `plan.json`; return an empty dictionary if there is no sweep.

    Raises:
        DamagedError: If the file is damaged, or is missing beside finished trials.
    """
    # `Path.is_dir` raises for a name that is too long.
    if not os.path.isdir(directory):  # noqa: PTH112
        return {}
    files = Files(directory)
    try:
        plan = files.read_json(PLAN)
    except FileNotFoundError as error:
        if files.exists(f"{ROWS}/log.jsonl") or files.exists(TRIALS):
            raise files.damaged(PLAN, "it is missing") from error
        return {}
    with files.parsing(PLAN):
        check_plan(plan, FORMATS)
    return plan


def read_config(directory: Path) -> dict[str, Any]:
    """Read `config.yaml`. Raises `DamagedError` if it is damaged or missing."""
    files = Files(directory)
    try:
        config = files.read_yaml(CONFIG)
    except FileNotFoundError as error:
        raise files.damaged(CONFIG, "it is missing") from error
    with files.parsing(CONFIG):
        check_config(config)
    return config


def write_stacks(directory: Path) -> None:
    """Write the stacks of all threads of this process into a sweep's directory. Raises `OSError`."""
    Files(directory).write(STUCK, faulthandler.dump_traceback)


def _create(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in directory.iterdir() if not path.name.endswith(".part")}
    except OSError as error:
        got = f"cannot make {str(directory)!r} ({error.strerror})"
        raise ConfigError("dir", got, "it takes a directory that can be written") from error
    if PLAN not in names and not names <= _FIRST_FILES:
        got = f"{str(directory)!r} is not empty"
        raise ConfigError("dir", got, "it takes a new directory, or that of a sweep")


def check_format(directory: Path, plan: Mapping[str, Any], numerics: int) -> None:
    """Check that this version of vsweep can add to a directory.

    Raises:
        ConfigError: If the sweep was made by an incompatible version.
    """
    if not plan:
        return
    if not isinstance(plan.get("versions", {}), Mapping):
        got = f"{str(directory)!r} holds trials, but its plan.json does not describe them"
        raise ConfigError("dir", got, "give another dir")
    if plan.get("format") not in FORMATS or plan.get("numerics") != numerics:
        made_by = f"was made by vsweep {plan.get('versions', {}).get('vsweep', '(unknown)')}"
        got = f"{str(directory)!r} {made_by}, whose sweeps this version can read but not add to"
        raise ConfigError("dir", got, "give another dir, or continue with that version")
