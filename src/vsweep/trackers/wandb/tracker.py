"""Show a sweep in Weights & Biases, by a process that makes runs from the store during training."""

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vsweep.analysis.labels import format_count
from vsweep.store.reader import StoredSweep
from vsweep.trackers.console import Bar
from vsweep.trackers.wandb.granularity import describe_runs, plan_runs
from vsweep.trackers.wandb.options import tracker_mode, tracker_options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload import UploadReport
from vsweep.trackers.wandb.upload_log import UploadLog
from vsweep.trackers.wandb.worker_process import WorkerProcess
from vsweep.trackers.wandb.workspace import run_level

# The arguments of `vsweep sync` that `vsweep dashboard` has too.
_DASHBOARD_ARGUMENTS = ("project", "entity", "level")
# During training, the process uses only idle processors.
_NICE = 19
# With fewer runs left at the end, it is faster not to restart the process with normal priority.
_FEW = 50
# A stop waits this long for the runs that are being made, in seconds.
_PATIENCE_S = 15.0
_LINE_EVERY_S = 10.0


class WandbTracker:
    """Makes a sweep's W&B runs during its training.

    Attributes:
        unsent: A message on runs that were not made; "" if all were.
        where: The page of the runs, or "".
    """

    def __init__(
        self,
        directory: Path,
        options: Mapping[str, Any],
        trials: int,
        cells: int,
        *,
        sync: bool = False,
        quiet: bool = False,
        arguments: Mapping[str, str] = MappingProxyType({}),
        add_bar: Callable[[str, int], Callable[[int], None]] | None = None,
    ) -> None:
        """Choose the runs; nothing is made before `begin`.

        Args:
            directory: The sweep's directory.
            options: The config's `tracker.wandb`.
            trials: The number of trials of the sweep.
            cells: The number of cells of the sweep.
            sync: Whether training has ended and the runs must reach a server, or fail.
            quiet: Whether to print nothing.
            arguments: Arguments of `vsweep sync` that differ from the config, for suggested commands.
            add_bar: Function that adds a progress bar to those of training, from its name and total, and
                returns a function that updates it.
        """
        self._directory, self._arguments, self._add_bar = directory, arguments, add_bar
        level, self._total = plan_runs(options["level"], trials, cells)
        if sync:
            # A sweep that was stopped has fewer runs than planned.
            self._total = len(Runs(directory, level).ids) + 1
        self._options = {**options, "mode": tracker_mode(options), "level": level}
        self._options |= {"sync": sync, "runs": self._total}
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._process: WorkerProcess | None = None
        self._show: Callable[[int], None] = lambda complete: None
        self._complete = 0
        self.unsent = self.where = ""

    def begin(self, name: str, trials: int, plan: str) -> None:  # noqa: ARG002
        """Start to make runs from the store."""
        if self._add_bar:
            self._show = self._add_bar("W&B", self._total)
        self._process = WorkerProcess(self._directory, self._options, self._count, nice=_NICE)

    def trained(self, trials: int) -> None:
        """Do nothing, because the process reads the store."""

    def _count(self, complete: int) -> None:
        self._complete = complete
        self._show(complete)

    def end(self, sweep: StoredSweep) -> None:  # noqa: ARG002
        """Make the remaining runs, with a progress bar."""
        with _bar(self._console) as bar:
            self._show = self._progress(bar)
            if self._process and self._total - self._complete > _FEW:
                # The processors are idle now, but a process cannot raise its own priority.
                self._process.stop()
                self._process.wait()
                self._process = None
            self._process = self._process or WorkerProcess(self._directory, self._options, self._count)
            self._process.end()
            self._process.wait()
        self._report(self._process)
        self._process = None

    def _progress(self, bar: Bar) -> Callable[[int], None]:
        """Return a function that shows progress, by lines if the bar cannot be redrawn."""
        task = bar.add_task("W&B", total=self._total, completed=self._complete)
        last = time.monotonic()

        def show(complete: int) -> None:
            nonlocal last
            bar.update(task, completed=complete)
            if not bar.shown and time.monotonic() - last > _LINE_EVERY_S:
                last = time.monotonic()
                self._console.print(f"W&B: {complete:,}/{self._total:,} runs")

        return show

    def close(self) -> None:
        """Stop the process if training was stopped."""
        process, self._process = self._process, None
        if process:
            process.stop()
            process.wait(_PATIENCE_S)
            self._report(process)

    def _report(self, process: WorkerProcess) -> None:
        if process.report:
            line, complete = describe_result(process.report, self._directory, self._arguments)
            self.where = process.report.where
        else:
            line, complete = self._describe_failure(process.failed), False
            self.where = ""
        self.unsent = "" if complete else line
        if complete or not self._options["sync"]:
            self._console.print(line, soft_wrap=True, markup=False)

    def _describe_failure(self, why: str) -> str:
        """Describe a process without a result; `vsweep sync` finds out which runs it made."""
        total = format_count(self._total, "run")
        count = f"about {self._complete:,} of {total}" if self._complete else "no runs"
        command = _sync_command(self._directory, self._arguments)
        return f"W&B: {count} were made ({why}); every curve is in the store: {command} sends them"


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("W&B"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def describe_logging(options: Mapping[str, Any], trials: int, cells: int, rows: int) -> str:
    """Describe the runs of a planned sweep.

    Args:
        options: The config's `tracker.wandb`.
        trials: The number of trials.
        cells: The number of cells.
        rows: The number of rows of a run.
    """
    return describe_runs(plan_runs(options["level"], trials, cells), rows, tracker_mode(options))


def describe_result(report: UploadReport, directory: Path, arguments: Mapping[str, str]) -> tuple[str, bool]:
    """Describe which runs reached W&B, with the command for the next step, and return whether all did.

    Args:
        report: The result of the upload.
        directory: The sweep's directory.
        arguments: Arguments of `vsweep sync` that differ from the config.
    """
    command, runs = _sync_command(directory, arguments), format_count(report.total, "run")
    complete = report.complete == report.total > 0
    why = f" ({report.why})" if report.why else ""
    if complete and report.mode == "offline":
        line = f"W&B: {runs} in {directory / 'wandb'}{why}; to upload them: {command}"
        return line, not report.why
    if complete:
        shared = {key: value for key, value in arguments.items() if key in _DASHBOARD_ARGUMENTS}
        workspace = _command("dashboard", directory, shared)
        return f"W&B: {runs} at {report.where}; a workspace for them: {workspace}", True
    where = report.where or (str(directory / "wandb") if report.mode == "offline" else "W&B")
    count = f"{report.complete:,} of {runs} are" if report.complete else "no run is"
    return f"W&B: {count} at {where}{why}; every curve is in the store: {command} sends the rest", False


def missing_runs_message(sweep: StoredSweep) -> str:
    """Say which runs of a trained sweep are missing according to its directory; "" if none are."""
    options = tracker_options(sweep.config)
    if tracker_mode(options) == "disabled":
        return ""
    runs, log = Runs(sweep.directory, run_level(sweep)), UploadLog(sweep.directory)
    expected = {*runs.ids, runs.overview_id}
    most = max((len(expected & log.ids(place)) for place in log.places), default=0)
    if most == len(expected):
        return ""
    command = _sync_command(sweep.directory, {})
    return f"W&B: {most:,} of {format_count(len(expected), 'run')} were made; {command} sends them all"


def _sync_command(directory: Path, arguments: Mapping[str, str]) -> str:
    return _command("sync", directory, {key: value for key, value in arguments.items() if key != "mode"})


def _command(name: str, directory: Path, arguments: Mapping[str, str]) -> str:
    return shlex.join(
        ["vsweep", name, str(directory), *(f"{key}={value}" for key, value in arguments.items())]
    )
