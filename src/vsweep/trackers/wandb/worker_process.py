"""Start the worker process, exchange messages with it, and end it when the server no longer answers."""

import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from vsweep.trackers.wandb.environment import client_environment
from vsweep.trackers.wandb.options import Options

_WORKER = "vsweep.trackers.wandb.worker"
# A worker that is told to stop has this long to report its result, in seconds.
_STOP_S = 2.0
# The interval at which the deadline is checked, in seconds.
_EVERY_S = 0.1


class Report(NamedTuple):
    """The result of a worker process.

    Attributes:
        mode: `offline` or `online`.
        total: The number of runs that are to be made.
        complete: The number of runs that are complete.
        where: The page of the runs or of the dashboard, or "".
        why: The reason why the rest is not complete, or "".
        notes: Messages for the user.
        panels: A line for each panel of the dashboard.
    """

    mode: str
    total: int
    complete: int = 0
    where: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()


class Waiting:
    """The time that a worker has waited for a server since its last progress.

    The worker names its steps: those that reach the server, and those that it does alone, from their begin to
    their end. Only the first step of a name counts, so that attempts which repeat one another, for whatever
    reason, are no progress, and there are only as many steps as there is work.
    """

    def __init__(self) -> None:
        """Begin with the start of the worker, which needs no server."""
        self._names = {"start"}
        self._alone = {"start"}
        self._since, self._allowed = time.monotonic(), 0.0

    def reach(self, name: str, allow: float | None = None) -> None:
        """Note a step that reached the server; allow: the time for files that are sent next, in seconds."""
        if name not in self._names:
            self._names.add(name)
            self.restart()
            self._allowed = self._allowed if allow is None else allow

    def begin(self, name: str) -> None:
        """Note the begin of a step that needs no server."""
        if name not in self._names:
            self._names.add(name)
            self._alone.add(name)

    def end(self, name: str) -> None:
        """Note the end of a step that needs no server."""
        if name in self._alone:
            self._alone.remove(name)
            self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time since the last progress; negative infinity during a step that needs no server."""
        return -math.inf if self._alone else time.monotonic() - self._since - self._allowed


class WorkerProcess:
    """A process that makes W&B runs of a sweep's directory, or saves its dashboard.

    Attributes:
        report: The result so far.
    """

    def __init__(
        self, directory: Path, options: Options, report: Report, show: Callable[[int], None], *, task: str
    ) -> None:
        """Start the process.

        Args:
            directory: The sweep's directory.
            options: The options of the tracker, with `level` chosen.
            report: The result before the first run.
            show: Callback that gets the number of runs that were sent, in another thread.
            task: A name in `vsweep.trackers.wandb.worker.TASKS`.
        """
        self.report, self._show, self._waiting = report, show, Waiting()
        self._patience = options.waits
        # A worker that is killed leaves its temporary files behind.
        self._folder = tempfile.mkdtemp(prefix="vsweep-")
        message = {"directory": str(directory), "options": options._asdict(), "task": task}
        self._process = subprocess.Popen(
            # With -P, modules are not imported from the working directory, which may be anybody's.
            [sys.executable, "-P", "-m", _WORKER, json.dumps({**message, "temporary": self._folder})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=client_environment(options, self._folder),
            # The training process handles Ctrl-C and then stops this one. A new session would do as well, but
            # some systems divide the processors among sessions whatever their priority is.
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def finish(self) -> Report:
        """Let the process do the rest, end it when the server stops answering, and return the result.

        Whatever the server does, this takes as long as there is progress, the user's patience, and a moment.
        """
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.write("end\n")
            self._process.stdin.flush()
        self._waiting.restart()
        while self._waiting.seconds < self._patience:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_EVERY_S)
                return self.wait()
        self.stop()
        return self.wait(_STOP_S, f"no progress for {self._patience:g} s")

    def stop(self) -> None:
        """Tell the process to end soon, with the runs that are complete by then."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()

    def close(self) -> None:
        """End the process soon, if it still runs."""
        self.stop()
        self.wait(_STOP_S)

    def wait(self, seconds: float | None = None, reason: str = "") -> Report:
        """Wait until the process has ended, kill it after some time, and return the result.

        Args:
            seconds: The time; None to wait for as long as the process runs.
            reason: The reason of the stop, for a process that has none itself.
        """
        why = ""
        try:
            if status := self._process.wait(seconds):
                why = f"the worker ended with status {status}"
        except subprocess.TimeoutExpired:
            why = reason or f"the worker did not stop and was killed after {seconds:g} s"
            self._process.kill()
            self._process.wait()
        self._listener.join(5.0)
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.report.complete < self.report.total:
            why = why or reason
        # The worker's own reason says more than its end.
        return self.report._replace(why=self.report.why or why)

    def _listen(self) -> None:
        """Receive messages, a JSON object in each line: a step, the runs sent, or changes of the report."""
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                # The last line of a process that was killed may be incomplete.
                with suppress(ValueError):
                    self._receive(json.loads(line))

    def _receive(self, message: dict[str, Any]) -> None:
        if "reach" in message:
            self._waiting.reach(message.pop("reach"), message.pop("allow", None))
        if "begin" in message:
            self._waiting.begin(message.pop("begin"))
        if "end" in message:
            self._waiting.end(message.pop("end"))
        # A run that was sent counts for the progress bar; it is complete when the server confirms it.
        sent = message.pop("sent", None)
        self.report = self.report._replace(**message)
        if sent is not None or "complete" in message:
            self._show(self.report.complete if sent is None else sent)
