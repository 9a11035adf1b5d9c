"""Show a progress bar while a sweep trains, and a table of the best cells at its end."""

import math
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vsweep.analysis.errors import describe_errors, describe_seedless, is_seedless
from vsweep.analysis.labels import (
    format_bytes,
    format_count,
    format_p,
    format_value,
    format_with_error,
    short_axis_names,
)
from vsweep.analysis.minima import describe_ends
from vsweep.analysis.ranking import (
    describe_baseline,
    describe_divergence,
    describe_strata,
    describe_test,
    leading_cells,
    rank_cells,
    varied_axes,
)
from vsweep.analysis.significance import describe_lead
from vsweep.errors import printable
from vsweep.store.checks import describe_verification
from vsweep.store.files import PICTURES, REPORT
from vsweep.store.reader import StoredSweep

# A table shows this many of the best cells, or all of at most `_ALL` cells.
_ROWS, _ALL = 5, 16
_WIDTH = 110
# A longer name or value is cut.
_MOST_CHARACTERS = 120
_CELL_COLUMNS = "mean ± se", "diverged", "p"
# A terminal that cannot redraw the bar gets a line this often.
_LINE_EVERY_S = 10.0
_REDRAW_EVERY_S = 0.5


def stderr_console(*, quiet: bool = False) -> Console:
    """Return a console on standard error; a file or a pipe, which has no width, gets one of 110 columns.

    Brackets and colons in names and values are neither markup nor emoji.
    """
    width = None if sys.stderr.isatty() else _WIDTH
    return Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet, width=width)


def print_line(console: Console, line: str) -> None:
    """Print a line, which the terminal wraps."""
    console.print(printable(line), soft_wrap=True)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        # rich computes a speed from the second block on, and there may be only one block.
        speed = task.finished_speed or task.speed or task.completed / (task.elapsed or math.inf)
        return Text(f"{speed:,.1f} {task.fields['unit']}/s" if task.completed else "starting")


class Bar(Progress):
    """A progress bar of rich, which a notebook shows without widgets by redrawing one output of its cell.

    Where nothing can be redrawn, a line shows the progress from time to time.
    """

    def __init__(self, console: Console) -> None:
        """Show nothing before `start`."""
        self._in_notebook = console.is_jupyter and not console.quiet
        self._in_lines = not (console.is_terminal or self._in_notebook)
        columns = (
            TextColumn("{task.description}", markup=False),
            *([] if self._in_lines else [BarColumn()]),
            TextColumn("{task.completed:,}/{task.total:,} {task.fields[unit]}"),
            _Speed(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self._ended = threading.Event()
        self._redrawing: threading.Thread | None = None
        self._last_line = time.monotonic()

    def add(self, name: str, unit: str, total: int, completed: int = 0) -> Callable[[int], None]:
        """Add a count of some unit, and return a function that shows how many units are complete."""
        task = self.add_task(printable(name, _MOST_CHARACTERS), total=total, completed=completed, unit=unit)

        def show(complete: int) -> None:
            self.update(task, completed=complete)
            if complete and time.monotonic() - self._last_line > _LINE_EVERY_S:
                self.show_line()

        return show

    def show_line(self) -> None:
        """Show the progress in a line, unless it is visible anyway."""
        self._last_line = time.monotonic()
        if self._in_lines:
            self.console.print(self.get_renderable())

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


class ConsoleTracker:
    """A tracker that writes to standard error, or below a notebook's cell.

    Attributes:
        bar: The progress bar, to which other trackers may add counts of their own.
    """

    def __init__(self) -> None:
        """Show nothing before `begin`."""
        self.unsent = ""
        self.console = stderr_console()
        self.bar = Bar(self.console)
        self._done = self._total = 0

    def begin(self, name: str, trials: int, plan: str) -> None:
        """Show the plan, and start the bar."""
        print_line(self.console, plan)
        self._total = trials
        self._show = self.bar.add(name, "trials", trials)
        self.bar.start()

    def trained(self, trials: int) -> None:
        """Move the bar."""
        self._done += trials
        self._show(self._done)
        if self._done == self._total:
            self.bar.show_line()

    def end(self, sweep: StoredSweep) -> None:
        """Show the best cells."""
        self.bar.stop()
        if record := sweep.plan.get("happened"):
            print_line(self.console, _describe_time(record))
        trials, metric = sweep.trials, sweep.metric
        cells = rank_cells(sweep.trials, metric)
        if divergence := describe_divergence(trials, sweep.config.get("diverge_above")):
            print_line(self.console, divergence)
        count = format_count(len(cells), "cell")
        shown = cells if len(cells) <= _ALL else leading_cells(cells, _ROWS)
        part = f"the best {len(shown)} of {count}" if len(cells) > len(shown) else f"{count}, best first"
        print_line(self.console, f"{part if len(cells) > 1 else 'one cell'}, by {metric} at the last step:")
        self._show_cells(sweep, shown)
        lead = describe_lead(cells)
        if is_seedless(trials, cells):
            # A descent of one seed has no other to be compared with.
            seedless = describe_seedless(trials) if len(cells) < len(trials) else ""
            lead = f"{seedless}; {lead}" if seedless and cells["p"].notna().any() else seedless
        for line in (
            # The origin of the data comes first.
            *(f"note: {data['note']}" for data in sweep.plan["data"].values() if data.get("note")),
            *dict.fromkeys(
                f"targets: {text}" for d in sweep.plan["data"].values() if (text := d.get("target"))
            ),
            describe_ends(trials),
            "" if divergence or cells["mean"].notna().any() else f"no cell has a finite {metric}",
            describe_strata(trials, metric),
            lead,
            describe_errors(cells),
            _describe_p(cells),
            describe_baseline(sweep, metric, cells),
            describe_test(sweep, metric),
            describe_verification(sweep.verified) if sweep.verified is not None else "",
            *_pictures(sweep),
        ):
            if line:
                print_line(self.console, line)

    def _show_cells(self, sweep: StoredSweep, cells: pd.DataFrame) -> None:
        """Show a table of the best cells: the metric's mean and standard error, and which may be the best."""
        axes = varied_axes(sweep.trials)
        seedless = is_seedless(sweep.trials, cells)
        checked = (sweep.verified or {"trials": []})["trials"]
        chaotic = {trial["cell"] for trial in checked if trial["chaotic"]}
        columns = [*short_axis_names(axes).values(), *_CELL_COLUMNS]
        rows = []
        for row in cells.to_dict("records"):
            mark = " chaotic" if row["cell"] in chaotic else ""
            is_told = row["rank"] > 1 and not (seedless and pd.isna(row["p"]))
            p_value = format_p(row["p"]) if is_told else ""
            values = [format_value(row[axis]) for axis in axes]
            values += [
                format_with_error(row["mean"], row["error"]),
                f"{row['diverged']}/{row['seeds']}{mark}",
            ]
            rows.append([*values, p_value + (" ≈" if row["tied"] else "")])
        if len(cells) == 1:
            # A single cell has no other to be compared with, so the last column is dropped.
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        print_table(self.console, columns, rows, fixed=_CELL_COLUMNS)

    def show(self, sweep: StoredSweep, line: str, *more: str) -> None:
        """Show a sweep that was complete before.

        Args:
            sweep: The sweep.
            line: The first line, which says so.
            *more: The last lines; empty ones are left out.
        """
        print_line(self.console, line)
        self.end(sweep)
        for text in filter(None, more):
            print_line(self.console, text)

    def close(self) -> None:
        """Stop the bar."""
        self.bar.stop()


def _describe_p(cells: pd.DataFrame) -> str:
    """Say what the column `p` is; return nothing where it is empty."""
    # The first cell's own p-value is not shown.
    told = cells["p"][cells["rank"] > 1].notna().any()
    return "p is the p-value of the hypothesis that a cell is the best" if told else ""


def _describe_time(record: Mapping[str, Any]) -> str:
    """Describe how long each phase took and the memory, with the predictions in parentheses."""
    seconds, predicted = record["seconds"], record["predicted"]
    parts = ", ".join(
        f"{name} {spent:.1f} s" + (f" ({predicted[name]:.1f})" if name in predicted else "")
        for name, spent in seconds.items()
        if name != "total"
    )
    used, expected = (format_bytes(record[name]) for name in ("device_bytes", "predicted_device_bytes"))
    total = f"{seconds['total']:.1f} s (predicted {predicted['total']:.1f})"
    return f"trained in {total}: {parts}; {used} per device ({expected})"


def _pictures(sweep: StoredSweep) -> list[str]:
    """Describe the pictures that were drawn, the report, and the pictures that were skipped."""
    reasons = sweep.plan.get("pictures", {})
    drawn = [name for name, reason in reasons.items() if not reason]
    lines = [f"pictures in {sweep.directory / PICTURES}: {', '.join(drawn)}"] if drawn else []
    report = sweep.directory / REPORT
    lines += [f"report: {report}"] if report.is_file() else []
    return [*lines, *(f"picture {name} skipped: {reason}" for name, reason in reasons.items() if reason)]


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    left: Collection[str] = (),
    fixed: Collection[str] = (),
) -> None:
    """Print a table.

    Args:
        console: The console.
        columns: The names of the columns.
        rows: The values of each row.
        left: The columns that are aligned to the left.
        fixed: The columns that are not wrapped.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        table.add_column(
            printable(name),
            justify="left" if name in left else "right",
            overflow="fold",
            no_wrap=name in fixed,
        )
    for row in rows:
        table.add_row(*(printable(str(value), _MOST_CHARACTERS) for value in row))
    console.print(table)
