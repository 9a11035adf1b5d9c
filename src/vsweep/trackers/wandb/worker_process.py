"""The other end of `worker`: it is started, told when all is trained, and asked how far it is."""

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
    """A process that makes W&B runs of a sweep's directory."""

    def __init__(
        self, directory: Path, asked: Mapping[str, Any], told: Callable[[int], None], *, nice: int = 0
    ) -> None:
        """asked: as of `worker.make`. told: is called with how many runs are there, from another thread.

        nice: how far it stands back for other processes.
        """
        words = {**asked, "directory": str(directory), "nice": nice}
        self.report: UploadReport | None = None
        self.failed = ""
        self._told = told
        self._process = subprocess.Popen(
            # Nothing is imported from where one stands, which may be anybody's folder.
            [sys.executable, "-P", "-m", _WORKER, json.dumps(words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for who trains, who then tells this one. No new session, whose share of the
            # processors some systems give apart from what is nice.
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def end(self) -> None:
        """All is trained: make the rest, and come to an end."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.write("end\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Come to an end soon, with what is made by then."""
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended; where that takes longer than so many seconds, end it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.failed = f"its process was busy, and ended after {seconds:g} s"
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
                    said = json.loads(line)
                    if "whole" in said:
                        self._told(said["whole"])
                    if "report" in said:
                        self.report = UploadReport(**said["report"])
                    if "failed" in said:
                        self.failed = said["failed"]
