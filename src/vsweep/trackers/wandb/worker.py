"""The process that makes a sweep's W&B runs, beside the one that trains.

It works from the store alone, so that training never waits for it, and neither of them hangs on the other's
life. Its first argument says what is asked; on standard input it is told `end` when all is trained, and stops
when that closes before; on standard output it says how far it is.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError
from vsweep.store.lock import Lock
from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload import Upload, UploadReport
from vsweep.trackers.wandb.upload_log import FOLDER, OFFLINE

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None  # type: ignore[assignment]

# How often the store is looked at while it is trained, in seconds.
_EVERY_S = 1.0
_MANY = 1_000_000
# How long what is under way may take once it is to stop, in seconds: W&B's client may wait for much longer.
_STOPS_S = 60.0


class Commands:
    """What standard input says."""

    def __init__(self) -> None:
        self.stop, self.ended, self._heard = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "end":
                self.ended.set()
                self._heard.set()
        self.stop.set()
        self._heard.set()
        # Nobody may be there to end this process, which keeps others out.
        time.sleep(_STOPS_S)
        os._exit(1)

    def wait(self, seconds: float) -> None:
        """Wait for a while, or until something new is said."""
        self._heard.wait(seconds)
        if not self.stop.is_set():
            self._heard.clear()


def main() -> None:
    """Make the runs, and say what came of it."""
    asked = json.loads(sys.argv[1])
    # W&B prints what it likes, to either.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.environ["WANDB_SILENT"] = "true"
    # Whoever asked may have a service of W&B's under way, in a notebook say: it would keep the runs of a
    # worker that was killed, and it is not ours to start anew.
    os.environ.pop("WANDB_SERVICE", None)
    if asked["nice"] and hasattr(os, "nice"):
        os.nice(asked["nice"])

    def tell(**said: Any) -> None:
        # Whoever asked may be gone.
        try:
            out.write(json.dumps(said) + "\n")
        except OSError:
            told.stop.set()

    told = Commands()
    lock = None
    try:
        directory = Path(asked["directory"])
        (directory / FOLDER).mkdir(exist_ok=True)
        lock = Lock(directory / FOLDER, "makes W&B runs in")
        with tempfile.TemporaryDirectory() as folder:
            # What W&B would leave behind of an artifact.
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            report = make_runs(directory, asked, told, lambda whole: tell(whole=whole))
        tell(report=report._asdict())
    except Exception as error:
        tell(failed=str(error) if isinstance(error, ConfigError) else _said(error))
    finally:
        if lock:
            lock.close()
    # Threads of W&B's may wait for what does not come.
    out.close()
    os._exit(0)


def _said(error: Exception) -> str:
    return client.redact_key(f"{type(error).__name__}: {error}")


def make_runs(
    directory: Path, asked: dict[str, Any], told: Commands, tell: Callable[[int], None]
) -> UploadReport:
    """Make the runs of what is trained, and of what is trained meanwhile, until told to end or to stop.

    asked: `mode` (of `auto`, online for who is logged in), `project`, `entity`, `level` (`trial`, `cell` or
    `sweep`), `rows` and `patience`; `runs`, that there will be, and `sync`, whether nothing is made offline.
    """
    known, mode = client.is_logged_in(), asked["mode"]
    if mode != OFFLINE and not known:
        if asked["sync"]:
            return UploadReport(mode, "", 0, 0, client.describe_missing_login(), 0.0)
        mode = OFFLINE
    mode = "online" if mode == "auto" else mode
    to = client.Destination(mode, asked["project"], asked["entity"], asked["patience"])
    upload: Upload | None = None
    seen = None
    while True:
        last = told.ended.is_set()
        now = _version(directory / "trials.parquet")
        if now != seen or (upload is None and now is not None):
            seen, runs = now, Runs(directory, asked["level"])
        if now is None or told.stop.is_set():
            more = False
        else:
            upload = upload or Upload(runs, to, rows=asked["rows"], files=_files(), stop=told.stop, tell=tell)
            more = upload.some(runs, last=last)
        if not more:
            if last or told.stop.is_set():
                break
            told.wait(_EVERY_S)
    # A stop may come before the first look at what there is.
    nothing = "no trial was finished" if now is None else "it was stopped before the first"
    report = upload.report() if upload else UploadReport(to.mode, "", 0, 0, nothing, 0.0)
    if not asked["sync"]:
        report = report._replace(of=asked["runs"])
    # Who asked for a server, or has what looks like a key, is told why these are files.
    wanted = asked["mode"] not in (to.mode, "auto") or (asked["mode"] == "auto" and client.has_api_key())
    return report._replace(why=client.describe_missing_login()) if wanted and not to.online else report


def _version(file: Path) -> tuple[int, ...] | None:
    """What is another once a file is written anew: of some file systems, times are too coarse for that."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _files() -> int:
    """How many files a process may have open."""
    if resource is None:
        return _MANY
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if soft == resource.RLIM_INFINITY else soft


if __name__ == "__main__":
    main()
