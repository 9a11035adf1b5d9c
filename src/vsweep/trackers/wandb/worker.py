"""The process that uses W&B's client: it makes a sweep's runs beside the training, or saves a dashboard.

It only reads the store, so that training never waits for it and each process survives the other. Its first
argument is a JSON object of options. On standard input it gets the line `end` when training has ended, and it
stops if the input is closed before that. On standard output it reports its progress as JSON lines, as
`vsweep.trackers.wandb.worker_process` reads them: steps for `Waiting`, the number of runs that were sent, and
changes of the `Report`.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, ServiceError
from vsweep.store.files import WANDB, Files
from vsweep.store.lock import Lock
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.options import OFFLINE, Options, plan_runs
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload import CLIENT_FILES, Upload

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
    """Do the task, and report the result."""
    arguments = json.loads(sys.argv[1])
    # W&B prints to both outputs, so the reports get a file of their own.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    commands, writing = Commands(), threading.Lock()

    def tell(**changes: Any) -> None:
        # The parent may have ended.
        try:
            with writing:
                out.write(json.dumps(changes) + "\n")
        except OSError:
            commands.stop.set()

    directory, options = Path(arguments["directory"]), Options(**arguments["options"])
    perform(TASKS[arguments["task"]], directory, options, commands, tell)
    # Threads of W&B's client may never end, and the parent may not be there to clear up.
    shutil.rmtree(arguments["temporary"], ignore_errors=True)
    out.close()
    os._exit(0)


def perform(
    task: "Task", directory: Path, options: Options, commands: Commands, tell: Callable[..., None]
) -> None:
    """Do a task, and report its failure."""
    try:
        task(directory, options, commands, tell)
    except (ConfigError, ServiceError) as error:
        tell(why=str(error))
    except Exception as error:
        tell(why=client.redact_key(f"{type(error).__name__}: {error}"))


def _make_runs(
    directory: Path, options: Options, commands: Commands, tell: Callable[..., None], *, sync: bool
) -> None:
    """Make runs as `make_runs` does, as the only process that makes runs in the directory."""
    if not sync and hasattr(os, "nice"):
        os.nice(_NICE)
    Files(directory).make(WANDB)
    with closing(Lock(directory / WANDB, "makes W&B runs in")):
        # The folder is new: one that a directory came with might hold links to other places.
        files = tempfile.mkdtemp(prefix=CLIENT_FILES, dir=(directory / WANDB).absolute())
        os.environ |= dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), files)
        mode = OFFLINE
        try:
            mode = make_runs(directory, options, commands, tell, sync=sync)
        finally:
            # Offline runs refer to their files.
            if mode != OFFLINE:
                shutil.rmtree(files, ignore_errors=True)
            with suppress(OSError):
                Path(files).rmdir()


def make_runs(
    directory: Path, options: Options, commands: Commands, tell: Callable[..., None], *, sync: bool
) -> str:
    """Make the runs of the trials in a directory, and of those that are added; return the mode.

    Args:
        directory: The sweep's directory.
        options: The options of the tracker, with `level` chosen.
        commands: The events that end the work: the end of training, or a stop.
        tell: Callback that gets steps, and changes of the `Report`.
        sync: Whether to fail without a login.
    """
    why, options = "", client.complete_options(options)
    if options.mode != OFFLINE:
        problem = client.login_problem()
        # A user who asked for a server, or has a login of any kind, needs to know why the runs are offline.
        if problem and (options.online or problem != client.NOT_LOGGED_IN):
            why = problem
        if problem and sync:
            tell(why=why)
            return options.mode
        options = options._replace(mode=OFFLINE if problem else "online")
    tell(mode=options.mode)
    if options.online:
        # From here on, the parent counts the time that the server does not answer.
        tell(end="start")
    upload = Upload(directory, options, commands.stop, tell)
    seen, runs = None, None
    while not commands.stop.is_set():
        last, version = commands.ended.is_set(), _version(directory / "trials.parquet")
        if version != seen:
            with client.alone(tell, f"read {version}"):
                seen, runs = version, Runs(directory, options.level)
        if runs is None or not upload.make_some(runs, last=last):
            if last:
                break
            commands.changed.wait(_EVERY_S)
    tell(where=upload.url, complete=upload.complete, why=why or upload.why)
    return options.mode


def save_dashboard(directory: Path, options: Options, commands: Commands, tell: Callable[..., None]) -> None:
    """Save the dashboard of a sweep, with arguments as in `make_runs`.

    Raises:
        ServiceError: If it is not saved.
    """
    # The library takes seconds to import, and runs do not need it.
    from vsweep.trackers.wandb.dashboard import describe_panels
    from vsweep.trackers.wandb.workspace import save_workspace

    sweep = StoredSweep(directory)
    level = plan_runs(options.level, sweep.plan["trials"], sweep.plan["cells"]).level
    tell(panels=describe_panels(sweep, level))
    url = save_workspace(sweep, client.complete_options(options), level, tell)
    tell(where=url, complete=1)


Task = Callable[[Path, Options, Commands, Callable[..., None]], None]
TASKS: dict[str, Task] = {
    "train": partial(_make_runs, sync=False),
    "sync": partial(_make_runs, sync=True),
    "dashboard": save_dashboard,
}


def _version(file: Path) -> tuple[int, ...] | None:
    """Return values that change if a file is replaced; some file systems have too coarse times for it."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


if __name__ == "__main__":
    main()
