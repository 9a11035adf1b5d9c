"""A sweep's runs made for W&B from its store, in pieces that can be stopped between, and held to be there."""

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import NamedTuple

from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.outbox import OFFLINE, Outbox, Sent
from vsweep.trackers.wandb.overview import log_overview
from vsweep.trackers.wandb.runs import Run, Runs
from vsweep.trackers.wandb.server import Server, answers

# Between two pieces W&B's service starts anew, so that neither its memory nor its files grow with the runs.
_PIECE = {True: 100, False: 250}
_TRIES = 3
# How often a server that does not answer is asked again, in seconds.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 30.0
# What a server says that will say the same again; it is asked once more all the same.
_FINAL = re.compile(
    r"\b40[134]\b|unauthori[sz]ed|forbidden|permission|not found|previously created and deleted", re.I
)
_OVERVIEW = "overview"


class Report(NamedTuple):
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
        to: client.To,
        *,
        patience: float,
        threads: int,
        stop: threading.Event,
        tell: Callable[[int], None],
    ) -> None:
        """patience: how long, once all is trained, a server is asked again that does not answer, in seconds.

        threads: runs at a time. stop: set to end soon. tell: is told how many runs are there. What stands in
        the way is raised nowhere, and said in the report.
        """
        self.runs, self.to = runs, to
        self._directory = runs.sweep.directory
        self._outbox = Outbox(self._directory)
        self._patience, self._threads, self._stop, self._tell = patience, threads, stop, tell
        self._server: Server | None = None
        self._place, self._where = "" if to.online else OFFLINE, ""
        self._asked: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._why = ""
        self._seconds = 0.0
        self._wait = _FIRST_WAIT_S
        self._not_before = self._reached = time.monotonic()
        self._last, self._refused = False, 0

    def some(self, runs: Runs, *, last: bool) -> bool:
        """Make some of the runs that are to be made by now; `False` where there is nothing more to do.

        runs: of the sweep as it is by now. last: no more is trained; then comes the overview too.
        """
        self.runs = runs
        if last and not self._last:
            # Nobody waits for anything else now: what failed meanwhile is tried afresh.
            self._last, self._not_before, self._wait, self._refused = True, 0.0, _FIRST_WAIT_S, 0
            self._tries.clear()
        if time.monotonic() < self._not_before:
            self._stop.wait(min(0.2, self._not_before - time.monotonic()))
            return not self._stop.is_set()
        begun = time.monotonic()
        try:
            return self._piece(last=last)
        except Exception as error:
            return self._failed(error, last=last)
        finally:
            self._seconds += time.monotonic() - begun

    def report(self) -> Report:
        """What came of it so far."""
        there = len(self._there())
        why = "" if there > len(self.runs.ids) else self._why
        return Report(self.to.mode, self._where, len(self.runs.ids) + 1, there, why, self._seconds)

    def _there(self) -> set[str]:
        """The runs of the sweep as it is now that are whole."""
        done = self._outbox.ids(self._place)
        return done & {*self.runs.ids, self.runs.overview_id}

    def _piece(self, *, last: bool) -> bool:
        if self.to.online and self._server is None:
            if not answers():
                raise ConnectionError(f"{client.host()} does not answer")
            self._server = Server(self.to)
            self._place, self._where = self._server.place, self._server.url
        ids = self.runs.ids
        done = self._outbox.ids(self._place)
        left = [run_id for run_id in ids if run_id not in done and self._tries[run_id] < _TRIES]
        if left:
            self._make(left[: _PIECE[self.to.online]], ids)
        elif last and self.runs.overview_id not in done and self._tries[_OVERVIEW] < _TRIES:
            self._make_overview()
        else:
            if last and self.runs.whole and done >= {*ids, self.runs.overview_id}:
                self._take_away(done - {*ids, self.runs.overview_id})
            return False
        return not self._stop.is_set()

    def _failed(self, error: Exception, *, last: bool) -> bool:
        """Whether to go on after an error that is of no run alone."""
        self._why = client.without_key(error) or type(error).__name__
        self._server = None
        self._not_before = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        if not last:
            self._reached = time.monotonic()
        self._refused += bool(_FINAL.search(self._why))
        if last and self._refused > 1:
            return False
        return time.monotonic() - self._reached < self._patience and not self._stop.is_set()

    def _make(self, chosen: Sequence[str], ids: dict[str, int]) -> None:
        rows: dict[str, int] = {}
        before = len(self._there())
        if self._server is not None and not self._asked.issuperset(chosen):
            chosen = self._not_there(chosen, ids)
        self._clear(chosen)
        sweep = self._sweep() if chosen else None
        failed: dict[str, BaseException] = {}
        with ThreadPoolExecutor(self._threads) as pool:
            made = self.runs.made([ids[run_id] for run_id in chosen])
            waiting = {pool.submit(self._write, run, sweep, rows): run.id for run in made}
            for one in as_completed(waiting):
                if (error := one.exception()) is not None:
                    failed[waiting[one]] = error
                self._tell(before + len(rows))
        client.close()
        self._note(rows, failed, self.runs.level)

    def _write(self, run: Run, sweep: str | None, rows: dict[str, int]) -> None:
        if self._stop.is_set():
            return
        client.write(run, self.to, self._directory, sweep)
        rows[run.id] = len(run.rows)

    def _make_overview(self) -> None:
        run = self.runs.overview()
        self._clear([run.id])
        rows: dict[str, int] = {}
        failed: dict[str, BaseException] = {}
        try:
            client.write(
                run, self.to, self._directory, None, lambda made: log_overview(made, self.runs.sweep)
            )
            rows[run.id] = 1
        except Exception as error:
            failed[_OVERVIEW] = error
        client.close()
        self._note(rows, failed, _OVERVIEW)

    def _note(self, rows: dict[str, int], failed: dict[str, BaseException], level: str) -> None:
        """Write down which runs are whole, and count what the others have tried."""
        whole = self._server.whole(rows, patient=True) if self._server else set(rows)
        self._outbox.add(Sent(run_id, level, self._place) for run_id in rows if run_id in whole)
        for run_id in whole if self.to.online else ():
            self._clear([run_id])
        for run_id in [run_id for run_id in rows if run_id not in whole]:
            failed[_OVERVIEW if level == _OVERVIEW else run_id] = OSError(
                "the server has not all of its rows"
            )
        self._tries.update(list(failed))
        self._tell(len(self._there()))
        if whole:
            self._reached, self._wait = time.monotonic(), _FIRST_WAIT_S
        if failed:
            self._why = client.without_key(next(iter(failed.values())))
        if failed and not whole:
            raise OSError(self._why)

    def _not_there(self, chosen: Sequence[str], ids: dict[str, int]) -> list[str]:
        """Those that the server has not already, whoever brought them there."""
        assert self._server is not None
        self._asked.update(chosen)
        rows = {run.id: len(run.rows) for run in self.runs.made([ids[run_id] for run_id in chosen])}
        there = self._server.whole(rows)
        self._outbox.add(Sent(run_id, self.runs.level, self._place) for run_id in there)
        return [run_id for run_id in chosen if run_id not in there]

    def _sweep(self) -> str | None:
        """W&B's sweep for the runs to belong to."""
        if self._server is None:
            return None
        if self._place not in self._outbox.sweeps:
            self._outbox.add_sweep(self._place, self._server.sweep(self.runs.sweep))
        return self._outbox.sweeps[self._place]

    def _take_away(self, stale: set[str]) -> None:
        """Take runs away that showed the sweep before it was added to."""
        levels = (self.runs.level, _OVERVIEW)
        ids = [
            run_id for run_id in stale if any(run_id in self._outbox.ids(self._place, one) for one in levels)
        ]
        self._clear(ids)
        with suppress(Exception):
            if self._server:
                self._server.delete(ids)
            self._outbox.add(Sent(run_id, "", self._place, gone=True) for run_id in ids)

    def _clear(self, ids: Sequence[str]) -> None:
        """Remove what W&B wrote of runs: of an attempt that came to nothing, or that are on the server."""
        wanted = set(ids)
        for path in [*self._outbox.folder.glob("offline-run-*-*"), *self._outbox.folder.glob("run-*-*")]:
            if path.name.rpartition("-")[2] in wanted:
                shutil.rmtree(path, ignore_errors=True)
