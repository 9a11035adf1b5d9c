"""A sweep's runs made for W&B from its store, in pieces that can be stopped between, and held to be there."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.backoff import Backoff
from vsweep.trackers.wandb.overview import log_overview
from vsweep.trackers.wandb.runs import OVERVIEW, Run, Runs, sweep_id
from vsweep.trackers.wandb.server import Server, ServerRun
from vsweep.trackers.wandb.upload_log import OFFLINE, UploadedRun, UploadLog

# Between two pieces W&B's service starts anew, so that neither its memory nor its files grow with the runs:
# online, it keeps three open for each.
_PIECE = {True: 100, False: 250}
_FILES, _OTHER_FILES = 4, 60
_THREADS = 8
# Of one run, while others come through.
_TRIES = 3


class UploadReport(NamedTuple):
    """What came of it.

    mode: `offline`, `online` or `shared`. where: the page that they are on, or nothing. of: how many are to
    be there. whole: how many are. why: what stood in the way of the others. seconds: spent on it.
    """

    mode: str
    where: str
    of: int
    whole: int
    why: str
    seconds: float


class Upload:
    """The runs of one sweep, on their way to one place."""

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
        """rows: of a run at most. files: that a process may have open. stop: set to end soon.

        tell: is told how many runs are there. What stands in the way is said in the report, not raised.
        """
        self.runs, self.to = runs, to
        self._directory = runs.sweep.directory
        self._outbox, self._pace = UploadLog(self._directory), Backoff(to.patience, stop)
        self._rows, self._stop, self._tell = rows, stop, tell
        self._most = max(1, min(_PIECE[to.online], (files - _OTHER_FILES) // _FILES))
        # Online most of it is waiting; offline one keeps W&B busy.
        self._threads = min(_THREADS, self._most) if to.online else 1
        self._server: Server | None = None
        self._place, self._where = "" if to.online else OFFLINE, ""
        self._tries: Counter[str] = Counter()
        self._seconds = 0.0

    def some(self, runs: Runs, *, last: bool) -> bool:
        """Make some of the runs that are to be made by now; `False` where there is nothing more to do.

        runs: of the sweep as it is by now. last: no more is trained; then comes the overview too.
        """
        self.runs = runs
        if last and not self._pace.last:
            self._pace.hurry()
            self._tries.clear()
        if self._pace.waits():
            return True
        if self._stop.is_set():
            return False
        begun = time.monotonic()
        try:
            more = self._piece(last=last)
        except Exception as error:
            self._server = None
            more = self._pace.failed(error)
        self._seconds += time.monotonic() - begun
        return more and not self._stop.is_set()

    def report(self) -> UploadReport:
        """What came of it so far."""
        there, of = len(self._there()), len(self.runs.ids) + 1
        why = self._pace.why if there < of else ""
        return UploadReport(self.to.mode, self._where, of, there, why, self._seconds)

    def _there(self) -> set[str]:
        """The runs of the sweep as it is now that are whole."""
        return self._outbox.ids(self._place) & {*self.runs.ids, self.runs.overview_id}

    def _piece(self, *, last: bool) -> bool:
        if self.to.online and self._server is None:
            self._server = Server(self.to)
            self._place, self._where = self._server.place, self._server.url
        ids = self.runs.ids
        done = self._outbox.ids(self._place)
        left = [run_id for run_id in ids if run_id not in done and self._tries[run_id] < _TRIES]
        overview = self.runs.overview_id
        if left:
            self._make_runs([ids[run_id] for run_id in left[: self._most]])
        elif last and overview not in done and self._tries[overview] < _TRIES:
            self._make_overview()
        else:
            if last and self.runs.whole and done >= {*ids, overview}:
                self._take_away(done - {*ids, overview})
            return False
        return True

    def _make_runs(self, numbers: Sequence[int]) -> None:
        """Make the runs of some trials or cells, as far as nobody brought them there before."""
        runs = list(self.runs.made(numbers, self._rows))
        wanted = {run.id: len(run.rows) for run in runs}
        there = self._server.found(list(wanted)) if self._server else {}
        before = [run_id for run_id, rows in wanted.items() if there.get(run_id) == ServerRun(rows)]
        self._sent(before, self.runs.level)
        left = [run for run in runs if run.id not in before]
        sweep = self._sweep() if left else None

        def write(run: Run) -> None:
            begun = there[run.id].rows if run.id in there else None
            client.write_run(run, self.to, self._directory, sweep=sweep, begun=begun)

        self._make(left, self.runs.level, wanted, write)

    def _make_overview(self) -> None:
        """Make the overview, or what is not there of it."""
        made = self.runs.overview()
        there = self._server.found([made.id]).get(made.id) if self._server else None
        # Its row may be there without its pictures.
        torn = bool(there and self._server and self._server.lacks_files(made.id))
        if there and there.finished and not torn:
            self._sent([made.id], OVERVIEW)
            return

        def log(run: Any) -> None:
            log_overview(run, self.runs.sweep, self.to.waits, again=torn)

        def write(run: Run) -> None:
            begun = there.rows if there else None
            client.write_run(run, self.to, self._directory, begun=begun, more=log)

        self._make([made], OVERVIEW, {made.id: there.rows + torn if there else 1}, write)

    def _make(
        self, runs: Sequence[Run], level: str, rows: Mapping[str, int], write: Callable[[Run], None]
    ) -> None:
        """Make these runs; raises where none comes through.

        rows: by the run's id, how many it has once it is whole. write: makes one.
        """
        self._clear(run.id for run in runs)
        finished, failed = self._written(runs, write)
        client.close_service()
        whole = self._whole({run_id: rows[run_id] for run_id in finished}, level)
        self._sent(whole, level)
        failed |= {run_id: "the server has not all of it" for run_id in finished if run_id not in whole}
        self._tries.update(list(failed))
        self._tell(len(self._there()))
        if whole:
            self._pace.came_through()
        if failed:
            self._pace.why = client.redact_key(next(iter(failed.values())))
            if not whole:
                raise ConnectionError(self._pace.why)

    def _written(
        self, runs: Sequence[Run], write: Callable[[Run], None]
    ) -> tuple[list[str], dict[str, object]]:
        """The runs that came to their end, as the client has it, and what stood in the way of others."""
        finished: list[str] = []
        failed: dict[str, object] = {}
        count = len(self._there())

        def unless_stopped(run: Run) -> bool:
            if self._stop.is_set():
                return False
            write(run)
            return True

        client.open_service()
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = {pool.submit(unless_stopped, run): run.id for run in runs}
            for one in as_completed(waiting):
                if (error := one.exception()) is not None:
                    failed[waiting[one]] = error
                elif one.result():
                    finished.append(waiting[one])
                    self._tell(count + len(finished))
        return finished, failed

    def _whole(self, rows: Mapping[str, int], level: str) -> set[str]:
        """Which of the runs that came to their end are whole. rows: how many each has then."""
        if self._server is None:
            return set(rows)
        self._server.renew()
        whole = self._server.whole(rows)
        return {run_id for run_id in whole if level != OVERVIEW or not self._server.lacks_files(run_id)}

    def _sent(self, ids: Iterable[str], level: str) -> None:
        """Note what is whole; what is on a server is not kept twice."""
        sent = [UploadedRun(run_id, level, self._place) for run_id in ids]
        self._outbox.add(sent)
        if self.to.online:
            self._clear(one.id for one in sent)

    def _sweep(self) -> str | None:
        """W&B's sweep for the runs to belong to."""
        if self._server is None:
            return None
        if self._place not in self._outbox.sweeps:
            self._outbox.add_sweep(self._place, self._server.sweep(self.runs.sweep))
        return self._outbox.sweeps[self._place]

    def _take_away(self, stale: set[str]) -> None:
        """Take runs away that showed the sweep before it was added to; those of another level stay."""
        levels = (self.runs.level, OVERVIEW)
        ids = sorted(stale & set().union(*(self._outbox.ids(self._place, level) for level in levels)))
        self._clear(ids)
        if self._server and ids:
            self._server.delete(ids, sweep_id(self.runs.sweep.plan))
        self._outbox.add([UploadedRun(run_id, "", self._place, gone=True) for run_id in ids])

    def _clear(self, ids: Iterable[str]) -> None:
        """Remove what W&B wrote of runs: of an attempt that came to nothing, or that are on the server."""
        wanted = set(ids)
        for path in [*self._outbox.folder.glob("offline-run-*-*"), *self._outbox.folder.glob("run-*-*")]:
            if path.name.rpartition("-")[2] in wanted:
                shutil.rmtree(path, ignore_errors=True)
