"""Show a sweep in Weights & Biases, by a process that makes runs from the store during training."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vsweep.analysis.labels import format_count
from vsweep.store.files import WANDB
from vsweep.store.reader import StoredSweep
from vsweep.trackers.console import Bar, print_line, stderr_console
from vsweep.trackers.wandb.environment import replaced_fields
from vsweep.trackers.wandb.options import OFFLINE, WHERE, Options, plan_runs, tracker_mode, tracker_options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload_log import UploadLog
from vsweep.trackers.wandb.worker_process import Report, WorkerProcess

# The arguments to repeat in a suggested command.
_ARGUMENTS = {"sync": (*WHERE, "rows", "patience"), "dashboard": WHERE}
# A stop waits this long for the runs that are being made, in seconds.
_PATIENCE_S = 15.0


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
        bar: Bar | None = None,
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
            bar: The progress bar of training.
        """
        self._directory, self._bar, self._sync = directory, bar, sync
        # A suggested command does the same where the environment is another.
        self._arguments = {**replaced_fields(options), **arguments}
        level, total = plan_runs(options["level"], trials, cells)
        self._options = Options(**options)._replace(mode=tracker_mode(options), level=level)
        # A sweep that was stopped has fewer runs than planned.
        self._total = len(Runs(directory, level).all_ids) if sync else total
        self._console = stderr_console(quiet=quiet)
        self._process: WorkerProcess | None = None
        self._show: Callable[[int], None] = lambda complete: None
        self.unsent = self.where = ""

    def begin(self, name: str, trials: int, plan: str) -> None:  # noqa: ARG002
        """Start to make runs from the store."""
        if self._bar:
            self._show = self._bar.add("W&B", "runs", self._total)
        self._process = self._start()

    def _start(self) -> WorkerProcess:
        report, task = Report(self._options.mode, self._total), "sync" if self._sync else "train"
        return WorkerProcess(self._directory, self._options, report, lambda n: self._show(n), task=task)

    def trained(self, trials: int) -> None:
        """Do nothing, because the process reads the store."""

    def end(self, sweep: StoredSweep) -> None:  # noqa: ARG002
        """Make the remaining runs, with a progress bar."""
        self._process = self._process or self._start()
        with Bar(self._console) as bar:
            self._show = bar.add("W&B", "runs", self._total, self._process.report.complete)
            report = self._process.finish()
        self._process = None
        self._describe(report)

    def close(self) -> None:
        """Stop the process if training was stopped."""
        process, self._process = self._process, None
        if process:
            process.stop()
            self._describe(process.wait(_PATIENCE_S))

    def _describe(self, report: Report) -> None:
        line, complete = describe_result(report, self._directory, self._arguments)
        self.where, self.unsent = report.where, "" if complete else line
        if complete or not self._sync:
            print_line(self._console, line)


def describe_result(report: Report, directory: Path, arguments: Mapping[str, str]) -> tuple[str, bool]:
    """Describe which runs reached W&B, with the command for the next step, and return whether all did.

    Args:
        report: The result of the upload.
        directory: The sweep's directory.
        arguments: Arguments of `vsweep sync` that differ from the config.
    """
    command, runs = _command("sync", directory, arguments), format_count(report.total, "run")
    complete, offline = report.complete == report.total, report.mode == OFFLINE
    where = report.where or (str(directory / WANDB) if offline else "W&B")
    why = f" ({report.why})" if report.why else ""
    if complete and offline:
        return f"W&B: {runs} in {where}{why}; to upload them: {command}", not why
    if complete and not why:
        workspace = _command("dashboard", directory, arguments)
        return f"W&B: {runs} at {where}; a workspace for them: {workspace}", True
    count = f"{report.complete:,} of {runs} are" if report.complete else "no run is"
    return f"W&B: {count} at {where}{why}; every curve is in the store: {command} sends the rest", False


def missing_runs_message(sweep: StoredSweep) -> str:
    """Say which runs of a trained sweep are missing according to its directory; "" if none are."""
    options, plan = tracker_options(sweep.config), sweep.plan
    arguments = replaced_fields(options)
    if tracker_mode(options) == "disabled":
        return ""
    level = plan_runs(options["level"], plan["trials"], plan["cells"]).level
    expected = Runs(sweep.directory, level).all_ids
    place, complete = UploadLog(sweep.directory).best_place(expected)
    report = Report(place, len(expected), complete)
    return "" if complete == len(expected) else describe_result(report, sweep.directory, arguments)[0]


def _command(name: str, directory: Path, arguments: Mapping[str, str]) -> str:
    """Return a command for a directory, with those of the arguments that the command has."""
    options = [f"{key}={value}" for key, value in arguments.items() if key in _ARGUMENTS[name]]
    return shlex.join(["vsweep", name, str(directory), *options])
