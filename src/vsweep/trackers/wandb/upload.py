"""Make a sweep's W&B runs from its store, in batches that can be stopped in between, and check them."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import wandb

from vsweep.trackers.wandb.client import Backoff, alone, redact_key
from vsweep.trackers.wandb.options import OFFLINE, Options
from vsweep.trackers.wandb.runs import OVERVIEW, Run, Runs, sweep_id
from vsweep.trackers.wandb.server import Server
from vsweep.trackers.wandb.upload_log import UploadLog
from vsweep.trackers.wandb.write_run import write_run

# W&B's service restarts after a batch, so that neither its memory nor its files grow with the runs. Online,
# it keeps four files open per run, and macOS allows 256 by default.
_BATCH_ONLINE, _BATCH_OFFLINE = 45, 250
# Online uploads mostly wait; a single offline thread keeps W&B busy.
_THREADS_ONLINE, _THREADS_OFFLINE = 8, 1
# The folders of tables and logs to which offline runs refer begin with this.
CLIENT_FILES = "client-"
# A run that fails this often is given up if others succeed.
_TRIES = 3


class Upload:
    """The upload of one sweep's runs to one destination; errors end up in `why` and are not raised.

    Attributes:
        url: The page of the runs, once the server has been reached.
    """

    def __init__(
        self, directory: Path, options: Options, stop: threading.Event, tell: Callable[..., None]
    ) -> None:
        """Prepare an upload.

        Args:
            directory: The sweep's directory.
            options: The options of the tracker, with the mode `online` or `offline`.
            stop: Event that ends the upload soon.
            tell: Callback that gets steps for `Waiting`, and changes of the `Report`.
        """
        self._directory, self._options, self._stop, self._tell = directory, options, stop, tell
        self._log, self._backoff = UploadLog(directory), Backoff(stop)
        self._batch = _BATCH_ONLINE if options.online else _BATCH_OFFLINE
        self._threads = _THREADS_ONLINE if options.online else _THREADS_OFFLINE
        self._server: Server | None = None
        self._place, self.url = "" if options.online else OFFLINE, ""
        self._runs: Runs | None = None
        self._tries: Counter[str] = Counter()

    @property
    def complete(self) -> int:
        """The number of complete runs of the trials that are finished so far."""
        return len(self._log.ids(self._place).keys() & self._runs.all_ids) if self._runs else 0

    @property
    def why(self) -> str:
        """The reason why runs of the trials that are finished so far are not complete, or ""."""
        if self._runs is None:
            return "no trial was finished"
        return self._backoff.why if self.complete < len(self._runs.all_ids) else ""

    def make_some(self, runs: Runs, *, last: bool) -> bool:
        """Make a batch of runs, and return whether there is more to do.

        Args:
            runs: The runs of the trials that are finished so far.
            last: Whether training has ended, so that the overview is made too.
        """
        self._runs = runs
        if last and not self._backoff.last:
            self._backoff = Backoff(self._stop, last=True)
            self._tries.clear()
        if self._backoff.waits():
            return True
        if self._stop.is_set():
            return False
        try:
            more = self._make_batch(runs, last=last)
        except Exception as error:
            self._server = None
            more = self._backoff.failed(error)
            self._tell(why=self._backoff.why)
        return more and not self._stop.is_set()

    def _make_batch(self, runs: Runs, *, last: bool) -> bool:
        if self._options.online and self._server is None:
            self._server = Server(self._options)
            self._place, self.url = self._server.place, self._server.url
            self._tell(reach="server", where=self.url)
        complete = self._log.ids(self._place)
        ids = [*runs.ids, *([runs.overview_id] if last else [])]
        missing = [run_id for run_id in ids if run_id not in complete and self._tries[run_id] < _TRIES]
        if missing:
            self._make_runs(runs, missing[: self._batch])
        elif last and runs.complete and runs.all_ids <= complete.keys():
            self._delete_stale(runs)
        return bool(missing)

    def _make_runs(self, runs: Runs, ids: Sequence[str]) -> None:
        """Make some runs, except those that the server already has, and raise an error if all fail."""
        with alone(self._tell, f"build {ids[0]}"):
            numbers = [runs.ids[run_id] for run_id in ids if run_id in runs.ids]
            batch = list(runs.build(numbers, self._options.rows))
            if runs.overview_id in ids:
                batch.append(runs.overview())
        if self._server:
            ready = self._server.complete_runs(batch)
            self._tell(reach=f"look up {ids[0]}")
            self._note(run for run in batch if run.id in ready)
            batch = [run for run in batch if run.id not in ready]
        if not batch:
            return
        finished, failed = self._write_all(runs, batch)
        # The service completes all files when it ends.
        wandb.teardown()
        self._tell(reach=f"close {ids[0]}")
        complete = self._server.wait_for(finished) if self._server else {run.id for run in finished}
        self._note(run for run in finished if run.id in complete)
        failed |= {run.id: "the server lacks rows or files" for run in finished if run.id not in complete}
        self._tries.update(list(failed))
        if complete:
            self._backoff.came_through()
        if failed:
            self._backoff.why = redact_key(next(iter(failed.values())))
            if not complete:
                raise ConnectionError(self._backoff.why)

    def _write_all(self, runs: Runs, batch: Sequence[Run]) -> tuple[list[Run], dict[str, object]]:
        """Write runs in threads; return those that the client finished, and the errors of the rest by id."""
        self._clear({run.id for run in batch})
        finished: list[Run] = []
        failed: dict[str, object] = {}
        count = self.complete

        def write(run: Run) -> None:
            if self._stop.is_set():
                raise InterruptedError("the upload was stopped")
            overview = runs.sweep if run.job_type == OVERVIEW else None
            write_run(run, self._options, self._directory, overview, self._tell)

        # W&B's service must run before several threads start runs at once.
        with alone(self._tell, "service"):
            wandb.setup()
        with ThreadPoolExecutor(self._threads) as pool:
            futures = {pool.submit(write, run): run for run in batch}
            for future in as_completed(futures):
                if (error := future.exception()) is not None:
                    failed[futures[future].id] = error
                else:
                    finished.append(futures[future])
                    self._tell(sent=count + len(finished))
        return finished, failed

    def _note(self, runs: Iterable[Run]) -> None:
        """Log complete runs, and delete the local files of those that are on a server."""
        levels = {run.id: run.job_type for run in runs}
        self._log.add(levels, self._place)
        if self._options.online:
            self._clear(levels)
            for path in self._log.folder.glob(f"{CLIENT_FILES}*") if OVERVIEW in levels.values() else ():
                shutil.rmtree(path, ignore_errors=True)
        self._tell(complete=self.complete, reach=f"{self.complete} complete")

    def _delete_stale(self, runs: Runs) -> None:
        """Delete runs of this level that showed the sweep before it was extended."""
        known = self._log.ids(self._place).items()
        ids = {run_id for run_id, level in known if level in (runs.level, OVERVIEW)} - runs.all_ids
        if ids:
            self._clear(ids)
            if self._server:
                self._server.delete(ids, sweep_id(runs.sweep.plan))
            self._log.delete(ids, self._place)

    def _clear(self, ids: Collection[str]) -> None:
        """Delete the local files of runs that failed, or that are on the server."""
        for path in self._log.folder.glob("*run-*-*"):
            if path.name.rpartition("-")[2] in ids:
                shutil.rmtree(path, ignore_errors=True)
