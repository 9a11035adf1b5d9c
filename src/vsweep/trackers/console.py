"""Show a progress bar while a sweep trains, and a table of the best cells at its end."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vsweep.analysis.labels import format_count, format_value, format_with_error, short_axis_names
from vsweep.analysis.minima import describe_ends, is_function
from vsweep.analysis.ranking import describe_test, rank_cells, varied_axes
from vsweep.analysis.significance import describe_lead, tied_with_best
from vsweep.metrics import default_metric
from vsweep.store.reader import PICTURES, REPORT, StoredSweep
from vsweep.store.verification import describe_verification

# A table shows this many of the best cells, or all of at most `_ALL` cells.
_ROWS, _ALL = 5, 16
_WIDTH = 110
_SEEDLESS = "all seeds give the same result; model.spread varies the starting points"
# A terminal that cannot redraw the bar gets a line this often.
_LINE_EVERY_S = 10.0
_TRIALS = "trials"


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.fields["unit"] != _TRIALS:
            return Text()
        if not task.completed or not task.elapsed:
            return Text("compiling")
        # rich knows the speed from the second block on, and there may be only one block.
        speed = task.finished_speed or task.speed or task.completed / task.elapsed
        return Text(f"{speed:,.1f} trials/s")


class ConsoleTracker:
    """A tracker that writes to standard error, or below a notebook's cell."""

    def __init__(self) -> None:
        """Show nothing before `begin`."""
        self.unsent = ""
        self.console = Console(stderr=True, highlight=False)
        self._progress = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            _Speed(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._done = self._total = 0
        self._beside: dict[str, tuple[int, int]] = {}
        self._start = self._last = time.monotonic()

    def begin(self, name: str, trials: int, plan: str) -> None:
        """Show the plan, and start the bar."""
        self.console.print(plan, soft_wrap=True, markup=False)
        self._total, self._start = trials, time.monotonic()
        self._last = self._start
        self._task = self._progress.add_task(name, total=trials, unit=_TRIALS)
        self._progress.start()

    def beside(self, name: str, runs: int) -> Callable[[int], None]:
        """Add a line to the bar for the runs made of the trials; return the function that moves it."""
        task = self._progress.add_task(name, total=runs, unit="runs")
        self._beside = {name: (0, runs)}

        def show(done: int) -> None:
            self._progress.update(task, completed=done)
            self._beside[name] = (done, runs)

        return show

    def trained(self, trials: int) -> None:
        """Move the bar."""
        self._done += trials
        self._progress.update(self._task, advance=trials)
        now = time.monotonic()
        last = self._done == self._total
        if not self._progress.shown and (last or now - self._last > _LINE_EVERY_S):
            self._last = now
            speed = self._done / (now - self._start)
            remaining_s = (self._total - self._done) / speed
            line = f"{self._done:,}/{self._total:,} trials, {speed:,.1f} trials/s, {remaining_s:.0f} s left"
            more = [f"{name} {done:,}/{runs:,} runs" for name, (done, runs) in self._beside.items()]
            self.console.print("; ".join([line, *more]))

    def end(self, sweep: StoredSweep) -> None:
        """Show the best cells."""
        self._progress.stop()
        if record := sweep.plan.get("happened"):
            self.console.print(_describe_time(record), soft_wrap=True)
        trials, metric = sweep.trials, default_metric(sweep.trials)
        cells = rank_cells(sweep.trials, metric)
        diverged = int((trials["status"] == "diverged").sum())
        if diverged == len(trials):
            self.console.print(f"all {diverged:,} trials diverged")
        count = format_count(len(cells), "cell")
        shown = f"the best {_ROWS} of {count}" if len(cells) > _ALL else f"{count}, best first"
        self.console.print(f"{shown if len(cells) > 1 else 'one cell'}, by {metric} at the last step:")
        # A file or a pipe has no width.
        self.console.print(best_table(sweep), width=None if self.console.is_terminal else _WIDTH)
        # Descents of a function depend on their seeds only where these vary the starting points.
        still = is_function(trials) and not cells["std"].fillna(0.0).any()
        lead = _SEEDLESS if still and len(cells) < len(trials) else "" if still else describe_lead(cells)
        for line in (
            # The origin of the data comes first.
            *(f"note: {data['note']}" for data in sweep.plan["data"].values() if data.get("note")),
            describe_ends(trials),
            lead,
            describe_test(trials, metric),
            describe_verification(sweep.verified) if sweep.verified is not None else "",
            *_pictures(sweep),
        ):
            if line:
                self.console.print(line, soft_wrap=True)

    def show(self, sweep: StoredSweep, line: str, *more: str) -> None:
        """Show a sweep that was complete before.

        Args:
            sweep: The sweep.
            line: The first line, which says so.
            *more: The last lines; empty ones are left out.
        """
        self.console.print(line, soft_wrap=True)
        self.end(sweep)
        for text in filter(None, more):
            self.console.print(text, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Stop the bar."""
        self._progress.stop()


def _describe_time(record: Mapping[str, Any]) -> str:
    """Describe how long each phase took and the memory, with the predictions in parentheses."""
    seconds, predicted = record["seconds"], record["predicted"]
    parts = ", ".join(
        f"{name} {spent:.1f} s" + (f" ({predicted[name]:.1f})" if name in predicted else "")
        for name, spent in seconds.items()
        if name != "total"
    )
    used, expected = (record[name] / 2**20 for name in ("device_bytes", "predicted_device_bytes"))
    total = f"{seconds['total']:.1f} s (predicted {predicted['total']:.1f})"
    return f"trained in {total}: {parts}; {used:.0f} MiB per device ({expected:.0f})"


def _chaotic_cells(sweep: StoredSweep) -> set[int]:
    """Return the cells with a trial that verification found to be chaotic."""
    checked = [] if sweep.verified is None else sweep.verified["trials"]
    return {trial["cell"] for trial in checked if trial["chaotic"]}


def _pictures(sweep: StoredSweep) -> list[str]:
    """Describe the pictures that were drawn, the report, and the pictures that were skipped."""
    reasons = sweep.plan.get("pictures", {})
    drawn = [name for name, reason in reasons.items() if not reason]
    lines = [f"pictures in {sweep.directory / PICTURES}: {', '.join(drawn)}"] if drawn else []
    report = sweep.directory / REPORT
    lines += [f"report: {report}"] if report.is_file() else []
    return [*lines, *(f"picture {name} skipped: {reason}" for name, reason in reasons.items() if reason)]


def best_table(sweep: StoredSweep) -> Table:
    """Return a table of the best cells: the metric's mean and standard error over seeds, and the ties."""
    cells = rank_cells(sweep.trials)
    axes = varied_axes(sweep.trials)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in short_axis_names(axes).values():
        table.add_column(name, justify="right", overflow="fold")
    several = len(cells) > 1
    for name in ("mean ± se", "diverged", *(["P(worse)"] if several else [])):
        table.add_column(name, justify="right", no_wrap=True)
    tied, chaotic = tied_with_best(cells).tolist(), _chaotic_cells(sweep)
    for i, row in enumerate(cells.head(_ROWS if len(cells) > _ALL else _ALL).to_dict("records")):
        chance = "" if i == 0 else "–" if pd.isna(row["chance"]) else f"{row['chance']:.2f}"
        chance += " ≈" if tied[i] else ""
        table.add_row(
            *(format_value(row[axis]) for axis in axes),
            format_with_error(row["mean"], row["sem"]),
            f"{row['diverged']}/{row['seeds']}" + (" chaotic" if row["cell"] in chaotic else ""),
            *([chance] if several else []),
        )
    return table


_REDRAW_EVERY_S = 0.5


class Bar(Progress):
    """A `Progress` bar of rich that a notebook shows without widgets, by redrawing one output of its cell."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        """Show these columns; without any, rich's own."""
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self._in_notebook = console.is_jupyter and not console.quiet
        self._ended = threading.Event()
        self._redrawing: threading.Thread | None = None

    @property
    def shown(self) -> bool:
        """Return True if the bar is visible."""
        return self._in_notebook or not self.disable

    def start(self) -> None:
        """Show the bar."""
        super().start()
        if self._in_notebook and self._redrawing is None:
            from IPython.display import display

            output = display(self, display_id=True)
            # A thread moves the clock while a program compiles.
            self._redrawing = threading.Thread(target=self._redraw, args=(output,), daemon=True)
            self._redrawing.start()

    def stop(self) -> None:
        """Leave the bar as it stands."""
        super().stop()
        if self._redrawing is not None:
            self._ended.set()
            self._redrawing.join()

    def _redraw(self, output: Any) -> None:
        while not self._ended.wait(_REDRAW_EVERY_S):
            output.update(self)
        output.update(self)
