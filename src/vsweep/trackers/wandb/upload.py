"""Make a sweep's W&B runs from its store, in batches that can be stopped in between, and check them."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, NamedTuple

from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.backoff import Backoff
from vsweep.trackers.wandb.overview import log_overview
from vsweep.trackers.wandb.runs import OVERVIEW, Run, Runs, sweep_id
from vsweep.trackers.wandb.server import Server, ServerRun
from vsweep.trackers.wandb.upload_log import OFFLINE, UploadLog

# W&B's service restarts after a batch, so that neither its memory nor its files grow with the runs.
_BATCH_ONLINE, _BATCH_OFFLINE = 100, 250
# Online, the service keeps about this many files open per run, and others besides.
_FILES_PER_RUN, _OTHER_FILES = 4, 60
_THREADS = 8
# A run that fails this often is given up if others succeed.
_TRIES = 3


class UploadReport(NamedTuple):
    """The result of an upload.

    Attributes:
        mode: `offline`, `online` or `shared`.
        where: The page of the runs, or "".
        total: The number of runs that are to be made.
        complete: The number of runs that are complete.
        why: The reason why others are not.
        seconds: The time spent.
    """

    mode: str
    where: str
    total: int
    complete: int
    why: str
    seconds: float


class Upload:
    """The upload of one sweep's runs to one destination."""

    def __init__(
        self,
        runs: Runs,
        to: client.Destination,
        *,
        rows: int,
        files: int,
        stop: threading.Event,
        tell: Callable[[int], None],
    ) -> None:
        """Prepare an upload; errors end up in its report and are not raised.

        Args:
            runs: The runs of the sweep.
            to: The destination.
            rows: The largest number of rows of a run.
            files: The number of files that this process may open.
            stop: Event that ends the upload soon.
            tell: Callback that gets the number of complete runs.
        """
        self.runs, self.to = runs, to
        self._directory = runs.sweep.directory
        self._log, self._backoff = UploadLog(self._directory), Backoff(to.patience, stop)
        self._rows, self._stop, self._tell = rows, stop, tell
        batch = _BATCH_ONLINE if to.online else _BATCH_OFFLINE
        self._batch = max(1, min(batch, (files - _OTHER_FILES) // _FILES_PER_RUN))
        # Online uploads mostly wait; a single offline thread keeps W&B busy.
        self._threads = min(_THREADS, self._batch) if to.online else 1
        self._server: Server | None = None
        self._place, self._url = "" if to.online else OFFLINE, ""
        self._tries: Counter[str] = Counter()
        self._seconds = 0.0

    def make_some(self, runs: Runs, *, last: bool) -> bool:
        """Make a batch of runs, and return whether there is more to do.

        Args:
            runs: The runs of the sweep as far as it is trained.
            last: Whether training has ended, so that the overview is made after the other runs.
        """
        self.runs = runs
        if last and not self._backoff.last:
            self._backoff.hurry()
            self._tries.clear()
        if self._backoff.waits():
            return True
        if self._stop.is_set():
            return False
        start = time.monotonic()
        try:
            more = self._make_batch(last=last)
        except Exception as error:
            self._server = None
            more = self._backoff.failed(error)
        self._seconds += time.monotonic() - start
        return more and not self._stop.is_set()

    def report(self) -> UploadReport:
        """Return the result so far."""
        complete, total = len(self._complete()), len(self.runs.ids) + 1
        why = self._backoff.why if complete < total else ""
        return UploadReport(self.to.mode, self._url, total, complete, why, self._seconds)

    def _complete(self) -> set[str]:
        """Return the complete runs of the sweep as far as it is trained."""
        return self._log.ids(self._place) & {*self.runs.ids, self.runs.overview_id}

    def _make_batch(self, *, last: bool) -> bool:
        if self.to.online and self._server is None:
            self._server = Server(self.to)
            self._place, self._url = self._server.place, self._server.url
        ids = self.runs.ids
        complete = self._log.ids(self._place)
        left = [run_id for run_id in ids if run_id not in complete and self._tries[run_id] < _TRIES]
        overview = self.runs.overview_id
        if left:
            self._make_runs([ids[run_id] for run_id in left[: self._batch]])
        elif last and overview not in complete and self._tries[overview] < _TRIES:
            self._make_overview()
        else:
            if last and self.runs.complete and complete >= {*ids, overview}:
                self._delete_stale(complete - {*ids, overview})
            return False
        return True

    def _make_runs(self, numbers: Sequence[int]) -> None:
        """Make the runs of some trials or cells, except those that the server already has."""
        runs = list(self.runs.build(numbers, self._rows))
        rows = {run.id: len(run.rows) for run in runs}
        existing = self._existing(list(rows))
        before = [run_id for run_id in rows if existing.get(run_id) == ServerRun(rows[run_id])]
        self._note(before, self.runs.level)
        left = [run for run in runs if run.id not in before]
        self._make(left, self.runs.level, rows, existing, sweep=self._wandb_sweep() if left else None)

    def _make_overview(self) -> None:
        """Make the overview, or the part of it that is missing."""
        overview = self.runs.overview()
        existing = self._existing([overview.id])
        known = existing.get(overview.id)
        # Its row may have arrived without its pictures.
        torn = bool(known and self._server and self._server.lacks_files(overview.id))
        if known and known.finished and not torn:
            self._note([overview.id], OVERVIEW)
            return
        log = partial(log_overview, sweep=self.runs.sweep, patience=self.to.waits, again=torn)
        rows = {overview.id: known.rows + torn if known else 1}
        self._make([overview], OVERVIEW, rows, existing, more=log)

    def _existing(self, ids: Sequence[str]) -> dict[str, ServerRun]:
        return self._server.find_runs(ids) if self._server else {}

    def _make(
        self,
        runs: Sequence[Run],
        level: str,
        rows: Mapping[str, int],
        existing: Mapping[str, ServerRun],
        **options: Any,
    ) -> None:
        """Make runs, and raise an error if all fail.

        Args:
            runs: The runs.
            level: Their level.
            rows: The number of rows of each complete run, by id.
            existing: The runs that the server has, by id.
            options: Further arguments of `write_run`.
        """

        def write(run: Run) -> None:
            begun = existing[run.id].rows if run.id in existing else None
            client.write_run(run, self.to, self._directory, begun=begun, **options)

        self._clear(run.id for run in runs)
        finished, failed = self._write_all(runs, write)
        client.close_service()
        complete = self._check({run_id: rows[run_id] for run_id in finished}, level)
        self._note(complete, level)
        failed |= {run_id: "the server has only a part" for run_id in finished if run_id not in complete}
        self._tries.update(list(failed))
        self._tell(len(self._complete()))
        if complete:
            self._backoff.came_through()
        if failed:
            self._backoff.why = client.redact_key(next(iter(failed.values())))
            if not complete:
                raise ConnectionError(self._backoff.why)

    def _write_all(
        self, runs: Sequence[Run], write: Callable[[Run], None]
    ) -> tuple[list[str], dict[str, object]]:
        """Write runs in threads; return the ids that the client finished, and the errors of others."""
        finished: list[str] = []
        failed: dict[str, object] = {}
        count = len(self._complete())

        def write_unless_stopped(run: Run) -> bool:
            if self._stop.is_set():
                return False
            write(run)
            return True

        client.open_service()
        with ThreadPoolExecutor(self._threads) as pool:
            futures = {pool.submit(write_unless_stopped, run): run.id for run in runs}
            for future in as_completed(futures):
                if (error := future.exception()) is not None:
                    failed[futures[future]] = error
                elif future.result():
                    finished.append(futures[future])
                    self._tell(count + len(finished))
        return finished, failed

    def _check(self, rows: Mapping[str, int], level: str) -> set[str]:
        """Return which finished runs are complete; rows: the number of rows they should have."""
        if self._server is None:
            return set(rows)
        self._server.renew()
        complete = self._server.complete_runs(rows)
        return {run_id for run_id in complete if level != OVERVIEW or not self._server.lacks_files(run_id)}

    def _note(self, ids: Collection[str], level: str) -> None:
        """Log complete runs, and delete the local files of those that are on a server."""
        self._log.add(ids, self._place, level)
        if self.to.online:
            self._clear(ids)

    def _wandb_sweep(self) -> str | None:
        """Return the id of W&B's sweep for the runs to join; create it if necessary."""
        if self._server is None:
            return None
        if self._place not in self._log.sweeps:
            self._log.add_sweep(self._place, self._server.create_sweep(self.runs.sweep))
        return self._log.sweeps[self._place]

    def _delete_stale(self, stale: set[str]) -> None:
        """Delete runs of this level that showed the sweep before it was extended."""
        levels = (self.runs.level, OVERVIEW)
        ids = sorted(stale & set().union(*(self._log.ids(self._place, level) for level in levels)))
        self._clear(ids)
        if self._server and ids:
            self._server.delete(ids, sweep_id(self.runs.sweep.plan))
        self._log.delete(ids, self._place)

    def _clear(self, ids: Iterable[str]) -> None:
        """Delete the local files of runs that failed, or that are on the server."""
        wanted = set(ids)
        for path in [*self._log.folder.glob("offline-run-*-*"), *self._log.folder.glob("run-*-*")]:
            if path.name.rpartition("-")[2] in wanted:
                shutil.rmtree(path, ignore_errors=True)
