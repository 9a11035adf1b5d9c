"""The process that makes a sweep's W&B runs, beside the process that trains.

It reads the store alone, so that training never waits for it and each process survives the other. Its first
argument is a JSON object of options. On standard input it gets the line `end` when training has ended, and it
stops if the input is closed before that. On standard output it reports its progress as JSON lines.
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

# The store is checked this often during training, in seconds.
_EVERY_S = 1.0
_UNLIMITED = 1_000_000
# A stop takes effect after this time at the latest, in seconds; W&B's client may wait much longer.
_STOPS_S = 60.0


class Commands:
    """Events that a thread sets according to standard input.

    Attributes:
        ended: Set when training has ended.
        stop: Set when the process is to stop.
    """

    def __init__(self) -> None:
        self.stop, self.ended, self._changed = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "end":
                self.ended.set()
                self._changed.set()
        self.stop.set()
        self._changed.set()
        # This process holds a lock, and its parent may not be there to kill it.
        time.sleep(_STOPS_S)
        os._exit(1)

    def wait(self, seconds: float) -> None:
        """Wait for some time, or until an event is set."""
        self._changed.wait(seconds)
        if not self.stop.is_set():
            self._changed.clear()


def main() -> None:
    """Make the runs, and report the result."""
    options = json.loads(sys.argv[1])
    # W&B prints to both outputs, so the reports get a file of their own.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.environ["WANDB_SILENT"] = "true"
    # A notebook's own W&B service must not be used: it would keep the runs of a worker that was killed, and
    # this process must not restart it.
    os.environ.pop("WANDB_SERVICE", None)
    if options["nice"] and hasattr(os, "nice"):
        os.nice(options["nice"])

    def tell(**record: Any) -> None:
        # The parent may have ended.
        try:
            out.write(json.dumps(record) + "\n")
        except OSError:
            commands.stop.set()

    commands = Commands()
    lock = None
    try:
        directory = Path(options["directory"])
        (directory / FOLDER).mkdir(exist_ok=True)
        lock = Lock(directory / FOLDER, "makes W&B runs in")
        with tempfile.TemporaryDirectory() as folder:
            # W&B leaves files of artifacts behind.
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            report = make_runs(directory, options, commands, lambda count: tell(complete=count))
        tell(report=report._asdict())
    except ConfigError as error:
        tell(failed=str(error))
    except Exception as error:
        tell(failed=client.redact_key(f"{type(error).__name__}: {error}"))
    finally:
        if lock:
            lock.close()
    # Threads of W&B's client may never end.
    out.close()
    os._exit(0)


def make_runs(
    directory: Path, options: dict[str, Any], commands: Commands, tell: Callable[[int], None]
) -> UploadReport:
    """Make the runs of the trials in a directory, and of those that are added, until the end or a stop.

    Args:
        directory: The sweep's directory.
        options: The fields of `tracker.wandb`, with `level` chosen; `sync`, whether to report on the runs in
            the store only and to fail without a login; and `runs`, the number of runs once all is trained.
        commands: The events that end the work.
        tell: Callback that gets the number of complete runs.
    """
    mode = options["mode"]
    if mode != OFFLINE and not client.is_logged_in():
        if options["sync"]:
            return UploadReport(mode, "", 0, 0, client.describe_missing_login(), 0.0)
        mode = OFFLINE
    mode = "online" if mode == "auto" else mode
    to = client.Destination(mode, options["project"], options["entity"], options["patience"])
    upload: Upload | None = None
    seen = None
    while True:
        last = commands.ended.is_set()
        version = _version(directory / "trials.parquet")
        if version != seen or (upload is None and version is not None):
            seen, runs = version, Runs(directory, options["level"])
        if version is None or commands.stop.is_set():
            more = False
        else:
            upload = upload or Upload(
                runs, to, rows=options["rows"], files=_open_files(), stop=commands.stop, tell=tell
            )
            more = upload.make_some(runs, last=last)
        if not more:
            if last or commands.stop.is_set():
                break
            commands.wait(_EVERY_S)
    # A stop may come before the first check of the store.
    why = "no trial was finished" if version is None else "it was stopped before the first"
    report = upload.report() if upload else UploadReport(to.mode, "", 0, 0, why, 0.0)
    if not options["sync"]:
        report = report._replace(total=options["runs"])
    # A user who asked for a server, or has an API key, needs to know why the runs are offline.
    explicit = options["mode"] not in (to.mode, "auto")
    if not to.online and (explicit or (options["mode"] == "auto" and client.has_api_key())):
        return report._replace(why=client.describe_missing_login())
    return report


def _version(file: Path) -> tuple[int, ...] | None:
    """Return values that change if a file is replaced; some file systems' times alone are too coarse."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _open_files() -> int:
    """Return how many files this process may open."""
    if resource is None:
        return _UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


if __name__ == "__main__":
    main()
