"""Start the worker process, and exchange messages with it."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vsweep.trackers.wandb.options import Options

_WORKER = "vsweep.trackers.wandb.worker"


class Report(NamedTuple):
    """The result of a worker process.

    Attributes:
        mode: `offline` or `online`.
        total: The number of runs that are to be made.
        complete: The number of runs that are complete.
        where: The page of the runs, or "".
        why: The reason why the other runs are not complete, or "".
    """

    mode: str
    total: int
    complete: int = 0
    where: str = ""
    why: str = ""


class WorkerProcess:
    """A process that makes W&B runs of a sweep's directory.

    Attributes:
        report: The result so far.
    """

    def __init__(
        self, directory: Path, options: Options, report: Report, show: Callable[[int], None], *, sync: bool
    ) -> None:
        """Start the process.

        Args:
            directory: The sweep's directory.
            options: The options of the tracker, with `level` chosen.
            report: The result before the first run.
            show: Callback that gets the number of complete runs, in another thread.
            sync: Whether training has ended and the runs must reach a server, or fail.
        """
        self.report, self._show = report, show
        message = json.dumps({"directory": str(directory), "options": options._asdict(), "sync": sync})
        self._process = subprocess.Popen(
            # With -P, modules are not imported from the working directory, which may be anybody's.
            [sys.executable, "-P", "-m", _WORKER, message],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # The training process handles Ctrl-C and then stops this one. A new session would do as well, but
            # some systems divide the processors among sessions whatever their priority is.
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def end(self) -> None:
        """Tell the process that training has ended, so that it makes the remaining runs and ends."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.write("end\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Tell the process to end soon, with the runs that are complete by then."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()

    def wait(self, seconds: float | None = None) -> Report:
        """Wait until the process has ended, kill it after some time, and return the result."""
        why = ""
        try:
            if status := self._process.wait(seconds):
                why = f"the worker ended with status {status}"
        except subprocess.TimeoutExpired:
            why = f"the worker did not stop and was killed after {seconds:g} s"
            self._process.kill()
            self._process.wait()
        self._listener.join(5.0)
        self.stop()
        return self.report._replace(why=why) if why else self.report

    def _listen(self) -> None:
        """Receive changes of the report, a JSON object in each line."""
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                # The last line of a process that was killed may be incomplete.
                with suppress(ValueError):
                    self.report = self.report._replace(**json.loads(line))
                    self._show(self.report.complete)
