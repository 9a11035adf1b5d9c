"""The process that makes a sweep's W&B runs, beside the process that trains.

It only reads the store, so that training never waits for it and each process survives the other. Its first
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
from contextlib import closing
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError
from vsweep.store.files import WANDB, Files
from vsweep.store.lock import Lock
from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.options import OFFLINE, Options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload import Upload

# The store is checked this often during training, in seconds.
_EVERY_S = 1.0
# A stop takes effect after this time at the latest, in seconds; W&B's client may wait much longer.
_STOPS_S = 60.0
# During training, the process uses only idle processors.
_NICE = 19


class Commands:
    """Events that a thread sets according to standard input.

    Attributes:
        ended: Set when training has ended.
        stop: Set when the process is to stop.
        changed: Set with each of the others.
    """

    def __init__(self) -> None:
        self.ended, self.stop, self.changed = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for _ in sys.stdin:
            self.ended.set()
            self.changed.set()
        self.stop.set()
        self.changed.set()
        # This process holds a lock, and its parent may not be there to kill it.
        time.sleep(_STOPS_S)
        os._exit(1)


def main() -> None:
    """Make the runs, and report the result."""
    arguments = json.loads(sys.argv[1])
    # W&B prints to both outputs, so the reports get a file of their own.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.environ["WANDB_SILENT"] = "true"
    # A notebook's own W&B service must not be used: it would keep the runs of a worker that was killed, and
    # this process must not restart it.
    os.environ.pop("WANDB_SERVICE", None)
    if not arguments["sync"] and hasattr(os, "nice"):
        os.nice(_NICE)
    commands = Commands()

    def tell(**changes: Any) -> None:
        # The parent may have ended.
        try:
            out.write(json.dumps(changes) + "\n")
        except OSError:
            commands.stop.set()

    directory, options = Path(arguments["directory"]), Options(**arguments["options"])
    try:
        Files(directory).make(WANDB)
        with closing(Lock(directory / WANDB, "makes W&B runs in")), tempfile.TemporaryDirectory() as folder:
            # W&B leaves files of artifacts behind.
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            make_runs(directory, options, commands, tell, sync=arguments["sync"])
    except ConfigError as error:
        tell(why=str(error))
    except Exception as error:
        tell(why=client.redact_key(f"{type(error).__name__}: {error}"))
    # Threads of W&B's client may never end.
    out.close()
    os._exit(0)


def make_runs(
    directory: Path, options: Options, commands: Commands, tell: Callable[..., None], *, sync: bool
) -> None:
    """Make the runs of the trials in a directory, and of those that are added, until the end or a stop.

    Args:
        directory: The sweep's directory.
        options: The options of the tracker, with `level` chosen.
        commands: The events that end the work.
        tell: Callback that gets changes of the `Report`.
        sync: Whether to fail without a login.
    """
    why = ""
    if options.mode != OFFLINE:
        logged_in = client.is_logged_in()
        # A user who asked for a server, or has an API key, needs to know why the runs are offline.
        if not logged_in and (options.online or client.has_api_key()):
            why = client.describe_missing_login()
        if not logged_in and sync:
            tell(why=why)
            return
        options = options._replace(mode="online" if logged_in else OFFLINE)
    tell(mode=options.mode)
    upload = Upload(directory, options, commands.stop, tell)
    seen, runs = None, None
    while not commands.stop.is_set():
        last, version = commands.ended.is_set(), _version(directory / "trials.parquet")
        if version != seen:
            seen, runs = version, Runs(directory, options.level)
        if runs is None or not upload.make_some(runs, last=last):
            if last:
                break
            commands.changed.wait(_EVERY_S)
    tell(where=upload.url, complete=upload.complete, why=why or upload.why)


def _version(file: Path) -> tuple[int, ...] | None:
    """Return values that change if a file is replaced; some file systems have too coarse times for it."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


if __name__ == "__main__":
    main()
