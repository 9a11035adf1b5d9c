"""Weights & Biases: its runs are made behind the training, by a process of their own, from the store."""

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

from vsweep.results import Sweep
from vsweep.trackers.console import Bar
from vsweep.trackers.wandb.granularity import describe_runs, plan_runs
from vsweep.trackers.wandb.options import tracker_mode, tracker_options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.upload import UploadReport
from vsweep.trackers.wandb.upload_log import UploadLog
from vsweep.trackers.wandb.worker_process import WorkerProcess
from vsweep.trackers.wandb.workspace import run_level

# What `vsweep dashboard` takes of the words of `vsweep sync`.
_DASHBOARDS = ("project", "entity", "level")
# While it trains, the runs take what training leaves of the processors.
_NICE = 19
# Fewer runs than these are not worth a second process, that stands back no more.
_FEW = 50
# How long a stop waits for the runs that are being made, in seconds.
_PATIENCE_S = 15.0
_LINE_EVERY_S = 10.0


class WandbTracker:
    """Makes a sweep's W&B runs behind its training."""

    def __init__(
        self,
        directory: Path,
        options: Mapping[str, Any],
        trials: int,
        cells: int,
        *,
        sync: bool = False,
        quiet: bool = False,
        words: Mapping[str, str] = MappingProxyType({}),
        beside: Callable[[str, int], Callable[[int], None]] | None = None,
    ) -> None:
        """options: the config's `tracker.wandb`. trials, cells: how many there are to be.

        sync: whether it is to reach a server, or nothing is made.
        words: what was asked of `sync` beyond the config, for the commands that go on.
        beside: from a name and how many, a function that shows how many there are, while it trains.
        """
        self._directory, self._words, self._beside = directory, words, beside
        self._shown = plan_runs(options["level"], trials, cells)
        if sync:
            # Of a sweep that was stopped, no more than it has.
            there = Runs(directory, self._shown.level)
            self._shown = self._shown._replace(runs=len(there.ids) + 1)
        self._asked = {**options, "mode": tracker_mode(options), "level": self._shown.level, "sync": sync}
        self._asked["runs"] = self._shown.runs
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._process: WorkerProcess | None = None
        self._show: Callable[[int], None] = lambda whole: None
        self._whole = 0
        # What did not come to W&B, in words, and the page of what did.
        self.lacks = self.where = ""

    def begin(self, name: str, trials: int, plan: str) -> None:  # noqa: ARG002
        """Start making runs of what the store has."""
        if self._beside:
            self._show = self._beside("W&B", self._shown.runs)
        self._process = WorkerProcess(self._directory, self._asked, self._count, nice=_NICE)

    def trained(self, trials: int) -> None:
        """Nothing: the store says it."""

    def _count(self, whole: int) -> None:
        self._whole = whole
        self._show(whole)

    def end(self, sweep: Sweep) -> None:  # noqa: ARG002
        """Make the rest, under a bar of its own."""
        with _bar(self._console) as bar:
            self._show = self._shows(bar)
            if self._process and self._shown.runs - self._whole > _FEW:
                # All processors are free now, and what stood back cannot come forward.
                self._process.stop()
                self._process.wait()
                self._process = None
            self._process = self._process or WorkerProcess(self._directory, self._asked, self._count)
            self._process.end()
            self._process.wait()
        self._say(self._process)
        self._process = None

    def _shows(self, bar: Bar) -> Callable[[int], None]:
        """What shows how many there are: the bar, or a line now and then where it cannot be redrawn."""
        task = bar.add_task("W&B", total=self._shown.runs, completed=self._whole)
        last = time.monotonic()

        def show(whole: int) -> None:
            nonlocal last
            bar.update(task, completed=whole)
            if not bar.shown and time.monotonic() - last > _LINE_EVERY_S:
                last = time.monotonic()
                self._console.print(f"W&B: {whole:,}/{self._shown.runs:,} runs")

        return show

    def close(self) -> None:
        """Stop, where training was stopped."""
        process, self._process = self._process, None
        if process:
            process.stop()
            process.wait(_PATIENCE_S)
            self._say(process)

    def _say(self, process: WorkerProcess) -> None:
        line, whole = (
            describe_result(process.report, self._directory, self._words)
            if process.report
            else (self._broken_off(process.failed), False)
        )
        self.lacks = "" if whole else line
        self.where = process.report.where if process.report else ""
        if whole or not self._asked["sync"]:
            self._console.print(line, soft_wrap=True, markup=False)

    def _broken_off(self, why: str) -> str:
        """Of a process that could not say what came of it; what it made, `sync` finds out."""
        made = f"some {self._whole:,} of {_runs(self._shown.runs)}" if self._whole else "no runs"
        command = _sync(self._directory, self._words)
        return f"W&B: {made} were made ({why}); every curve is in the store: {command} sends them"


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
    """How a sweep will be shown, in words. options: the config's `tracker.wandb`. rows: of a run."""
    return describe_runs(plan_runs(options["level"], trials, cells), rows, tracker_mode(options))


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def describe_result(report: UploadReport, directory: Path, words: Mapping[str, str]) -> tuple[str, bool]:
    """What reached W&B, what did not, and the command that finishes it; and whether all did.

    words: of `vsweep sync`, which those commands need too.
    """
    command = _sync(directory, words)
    every = report.whole == report.of > 0
    why = f" ({report.why})" if report.why else ""
    if every and report.mode == "offline":
        line = f"W&B: {_runs(report.of)} in {directory / 'wandb'}{why}; to upload them: {command}"
        return line, not report.why
    if every:
        workspace = _command("dashboard", directory, {k: words[k] for k in words if k in _DASHBOARDS})
        return f"W&B: {_runs(report.of)} at {report.where}; a workspace for them: {workspace}", True
    where = report.where or (str(directory / "wandb") if report.mode == "offline" else "W&B")
    there = f"{report.whole:,} of {_runs(report.of)} are" if report.whole else "no run is"
    return f"W&B: {there} at {where}{why}; every curve is in the store: {command} sends the rest", False


def missing_runs_message(sweep: Sweep) -> str:
    """What was not shown of a sweep that is trained, as its directory knows; nothing where all was."""
    asked = tracker_options(sweep.config)
    if tracker_mode(asked) == "disabled":
        return ""
    runs, outbox = Runs(sweep.directory, run_level(sweep)), UploadLog(sweep.directory)
    wanted = {*runs.ids, runs.overview_id}
    most = max((len(wanted & outbox.ids(place)) for place in outbox.places), default=0)
    if most == len(wanted):
        return ""
    return f"W&B: {most:,} of {_runs(len(wanted))} were made; {_sync(sweep.directory, {})} sends them all"


def _sync(directory: Path, words: Mapping[str, str]) -> str:
    """The command that sends the rest."""
    return _command("sync", directory, {key: words[key] for key in words if key != "mode"})


def _command(name: str, directory: Path, words: Mapping[str, str]) -> str:
    return shlex.join(["vsweep", name, str(directory), *(f"{key}={value}" for key, value in words.items())])
