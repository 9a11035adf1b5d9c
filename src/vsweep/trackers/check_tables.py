"""What verifying, confirming and checking found, in words and as a table."""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from vsweep.analysis.labels import format_value, format_with_error, short_axis_names
from vsweep.store.gradient_check import Derivative, GradientCheck
from vsweep.store.verification import describe_verification

# What differences leave in doubt of a gradient before it is said: a hundred times what a right one is off.
_ROUGH = 1e-4


def print_verification(found: Mapping[str, Any]) -> None:
    """Each trial that was trained again, then the sentence."""
    console = Console(stderr=True, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("trial", "seed", "why", "difference", "in", "its twin's", "verdict"):
        table.add_column(name, justify="left" if name in ("why", "in", "verdict") else "right")
    for each in found["trials"]:
        verdict = ", ".join(each["changed"]) or ("chaotic" if each["chaotic"] else "the same")
        apart, twin = f"{each['difference']:.1e}", f"{each['twin']:.1e}"
        table.add_row(
            str(each["trial"]), str(each["seed"]), each["why"], apart, each["metric"], twin, verdict
        )
    console.print(table)
    console.print(describe_verification(found), soft_wrap=True)


def print_confirmation(cells: pd.DataFrame, metric: str) -> None:
    """The cells that were trained again, and how much the first one shrank."""
    console = Console(stderr=True, highlight=False)
    axes = [
        name for name in cells.columns[1 : list(cells.columns).index("mean")] if cells[name].nunique() > 1
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (*short_axis_names(axes).values(), "in the sweep", "on fresh seeds", "shrinkage", "rank"):
        table.add_column(name, justify="right")
    for row in cells.to_dict("records"):
        table.add_row(
            *(format_value(row[axis]) for axis in axes),
            format_with_error(row["mean"], row["sem"]),
            format_with_error(row["confirmed"], row["confirmed_sem"]),
            format_value(row["shrinkage"]),
            str(row["rank"]),
        )
    console.print(table)
    first, mean_loss = cells.iloc[0], float(cells["shrinkage"].mean())
    place = "still the first" if first["rank"] == 1 else f"number {int(first['rank'])}"
    console.print(
        f"{metric} of the best cell: {format_value(first['mean'])} in the sweep,"
        f" {format_value(first['confirmed'])} on fresh seeds, {place} of {len(cells)}; "
        f"these cells shrank by {format_value(mean_loss)} on average",
        soft_wrap=True,
    )


def describe_gradient_check(found: GradientCheck) -> str:
    """What a check of gradients found, in a sentence."""
    of = f"{_count(len(found.programs), 'program')}, {_count(found.scalars, 'derivative')}"
    if found.open:
        of += f", of {found.open} of which differences say nothing"
    if found.doubt > _ROUGH:
        of += f"; the loss is rough: differences may be off by {found.doubt:.0e} of the largest"
    worst = found.worst
    if found.wrong:
        return f"a gradient is wrong: {_both(worst)}, relative error {worst.error:.1e} ({of})"
    return f"gradients agree: worst relative error {worst.error:.1e}, at {_place(worst)} ({of})"


def print_gradient_check(found: GradientCheck) -> None:
    """Of each program the derivative that is furthest from its differences."""
    for program in found.programs:
        of = f"{program.name}, {_count(program.scalars, 'derivative')}"
        worst = program.worst
        print(f"{of}: worst relative error {worst.error:.1e}, {_both(worst)}", file=sys.stderr)


def _both(worst: Derivative) -> str:
    values = f"the gradient is {worst.gradient:.8g}, and central differences give {worst.difference:.8g}"
    return f"at {_place(worst)} (trial {worst.trial}) {values}"


def _place(worst: Derivative) -> str:
    """The parameter's name and its cell."""
    cell = " ".join(f"{path}={format_value(value)}" for path, value in worst.cell.items())
    return worst.parameter + (f" of {cell}" if cell else "")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
