"""Print the results of verifying, confirming and checking gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_count, format_value, format_with_error, short_axis_names
from vsweep.errors import show_message
from vsweep.store.checks import Derivative, GradientCheck, describe_verification
from vsweep.trackers.console import print_line, print_table, stderr_console

# Central differences of a smooth loss are a hundred times more certain than this.
_ROUGH = 1e-4


def print_verification(record: Mapping[str, Any]) -> None:
    """Print a table of the retrained trials and a summary; record: the content of `verify.json`."""
    rows = []
    replicates = ["split"] if any("split" in trial for trial in record["trials"]) else []
    for trial in record["trials"]:
        verdicts = [*(["wrong"] if trial["wrong"] else []), *trial["changed"]]
        verdict = ", ".join(verdicts) or ("chaotic" if trial["chaotic"] else "the same")
        difference, twin = f"{trial['difference']:.1e}", f"{trial['twin']:.1e}"
        place = trial["trial"], *(trial[name] for name in replicates), trial["seed"]
        rows.append((*place, trial["why"], difference, trial["metric"], twin, verdict))
    names = ("trial", *replicates, "seed", "why", "difference", "metric", "twin", "verdict")
    console = stderr_console()
    print_table(console, names, rows, left=("why", "metric", "verdict"))
    print_line(console, describe_verification(record))


def print_confirmation(cells: pd.DataFrame, metric: str) -> None:
    """Print a table of the cells that were retrained on fresh seeds, and how their mean changed."""
    columns = list(cells.columns)[1 : list(cells.columns).index("mean")]
    axes = [name for name in columns if cells[name].nunique() > 1]
    names = (*short_axis_names(axes).values(), "in the sweep", "on fresh seeds")
    names = (*names, "95 % interval", "shrinkage", "rank")
    rows = [
        (
            *(format_value(row[axis]) for axis in axes),
            format_with_error(row["mean"], row["error"]),
            format_with_error(row["confirmed"], row["confirmed_error"]),
            _interval(row),
            format_value(_without_rounding(row["shrinkage"], row["mean"])),
            row["rank"],
        )
        for row in cells.to_dict("records")
    ]
    console = stderr_console()
    print_table(console, names, rows)
    if (cells["rank"] == 1).sum() > 1:
        apart = "is another quantity in some of these cells: a rank is among those that can be compared"
        print_line(console, f"{metric} {apart}")
        return
    best = cells.iloc[0].to_dict()
    rank = "still rank 1" if best["rank"] == 1 else f"now rank {int(best['rank'])}"
    interval = f" (95 % interval {text})" if (text := _interval(best)) else ""
    print_line(
        console,
        f"{metric} of the best cell: {format_value(best['mean'])} in the sweep,"
        f" {format_value(best['confirmed'])} on fresh seeds{interval},"
        f" {rank} of {len(cells)}; {_describe_change(cells)}",
    )


def _interval(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["confirmed_low"]):
        return ""
    return f"{format_value(row['confirmed_low'])} to {format_value(row['confirmed_high'])}"


def _describe_change(cells: pd.DataFrame) -> str:
    """Describe in a clause how much worse the cells are on fresh seeds, and whether that may be luck."""
    shrinkage = _without_rounding(float(cells["shrinkage"].mean()), float(cells["mean"].mean()))
    if np.isnan(shrinkage):
        return "no cell has a value in both"
    if shrinkage == 0.0:
        return "these cells are as good as in the sweep on average"
    change = f"{'worse' if shrinkage > 0 else 'better'} by {format_value(abs(shrinkage))} on average"
    # The error of a mean of cells that share seeds is at most the mean of their errors.
    margins = cells["shrinkage_margin"].dropna()
    if margins.empty or abs(shrinkage) <= margins.mean():
        return f"these cells are {change}, which may be luck of the seeds"
    return f"these cells are {change}" + (": so much of their lead was luck" if shrinkage > 0 else "")


def _without_rounding(change: float, value: float) -> float:
    """Return a change of a value; 0 if it is no more than rounding to float32."""
    return 0.0 if abs(change) <= 1e-6 * abs(value) else change


def describe_gradient_check(check: GradientCheck) -> str:
    """Summarize a gradient check in a sentence."""
    scope = f"{format_count(len(check.programs), 'program')}, {format_count(check.scalars, 'derivative')}"
    if check.open:
        scope += f", {check.open} of them with inconclusive differences"
    if check.doubt > _ROUGH:
        scope += f"; the loss is rough: differences may be off by {check.doubt:.0e} of the largest"
    worst = check.worst
    if check.wrong:
        return f"a gradient is wrong: {_both_values(worst)}, relative error {worst.error:.1e} ({scope})"
    return f"gradients agree: worst relative error {worst.error:.1e}, at {_place(worst)} ({scope})"


def print_gradient_check(check: GradientCheck) -> None:
    """Print the derivative with the largest error of each program."""
    for program in check.programs:
        scope = f"{program.name}, {format_count(program.scalars, 'derivative')}"
        worst = program.worst
        show_message(f"{scope}: worst relative error {worst.error:.1e}, {_both_values(worst)}")


def _both_values(worst: Derivative) -> str:
    values = f"the gradient is {worst.gradient:.8g}, and central differences give {worst.difference:.8g}"
    return f"at {_place(worst)} (trial {worst.trial}) {values}"


def _place(worst: Derivative) -> str:
    """Name the parameter and its cell."""
    cell = " ".join(f"{path}={format_value(value)}" for path, value in worst.cell.items())
    return worst.parameter + (f" of {cell}" if cell else "")
