"""Start the worker process, and exchange messages with it."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsweep.trackers.wandb.upload import UploadReport

_WORKER = "vsweep.trackers.wandb.worker"


class WorkerProcess:
    """A process that makes W&B runs of a sweep's directory.

    Attributes:
        report: The result, once the process has ended normally.
        failed: The reason why there is no result.
    """

    def __init__(
        self, directory: Path, options: Mapping[str, Any], on_progress: Callable[[int], None], nice: int = 0
    ) -> None:
        """Start the process.

        Args:
            directory: The sweep's directory.
            options: The options of `worker.make_runs`.
            on_progress: Callback that gets the number of complete runs, in another thread.
            nice: How much to lower the process's priority.
        """
        message = json.dumps({**options, "directory": str(directory), "nice": nice})
        self.report: UploadReport | None = None
        self.failed = ""
        self._on_progress = on_progress
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

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the process has ended, and kill it after some time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.failed = f"its process was busy and was ended after {seconds:g} s"
            self._process.kill()
            self._process.wait()
        self._listener.join(5.0)
        self.stop()
        if self.report is None and not self.failed:
            self.failed = f"its process ended with status {self._process.returncode}"

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError):
                    message = json.loads(line)
                    if "complete" in message:
                        self._on_progress(message["complete"])
                    if "report" in message:
                        self.report = UploadReport(**message["report"])
                    self.failed = message.get("failed", self.failed)
