"""A plan in words for a person, and as a record for the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vsweep.execution.plan import Plan, Program
from vsweep.tasks.data.dataset import Split


def as_record(plan: Plan) -> dict[str, Any]:
    """Programs, blocks, devices and data, of plain types."""
    return {
        "trials": len(plan.grid),
        "cells": len(plan.grid.cells),
        "collapsed_cells": plan.grid.collapsed,
        "devices": plan.hardware._asdict(),
        "asked": list(plan.asked),
        "programs": [_program_record(program) for program in plan.programs],
        "data": {key: _data_record(split) for key, split in plan.splits.items()},
    }


def _program_record(program: Program) -> dict[str, Any]:
    static = program.static
    return {
        "name": program.name,
        "family": program.family,
        "model": program.inputs.config.model.name,
        "static": {name: _plain(value) for name, value in static.task.static},
        "data": program.inputs.key,
        "optimizer": static.optimizer,
        "schedule": static.schedule,
        "dtype": static.dtype,
        "precision": static.precision,
        **static.length._asdict(),
        "trials": len(program.rows),
        "predicted": {
            "compile_s": round(program.compile_s, 3),
            "train_s": round(program.train_s, 3),
            "device_bytes": round(program.device_bytes),
        },
        "blocks": program.blocks,
        **program.arrangement._asdict(),
        "segment": program.segment,
        "padded_width": program.width or None,
        "padding_waste": round(program.waste, 4),
    }


def _data_record(split: Split) -> dict[str, Any]:
    return {
        "train_rows": len(split.y[0]),
        "val_rows": 0 if split.y[1] is None else len(split.y[1]),
        "test_rows": 0 if split.y[2] is None else len(split.y[2]),
        "features": list(split.dataset.features),
        "classes": list(split.dataset.classes),
        "mean": split.mean.tolist(),
        "std": split.std.tolist(),
        "note": split.dataset.note,
        "fresh": split.dataset.draw is not None,
    }


# What can be drawn is kept: examples of up to so many features, and so many of them.
_FEATURES, _ROWS = 2, 100_000


def examples(plan: Plan) -> dict[int, pd.DataFrame]:
    """The examples of each data set as they came, by its place in the plan, unless they are too many to draw.

    A column per feature (`x.NAME` for one whose name another column has), `target` (a number, or a class by
    its place among the labels), `part` and, where it is known, `truth`.
    """
    return {
        i: _examples(split)
        for i, split in enumerate(plan.splits.values())
        if 1 <= len(split.dataset.features) <= _FEATURES and len(split.dataset.y) <= _ROWS
    }


def _examples(split: Split) -> pd.DataFrame:
    dataset = split.dataset
    taken = ("target", "part", "truth")
    names = [f"x.{name}" if name in taken else name for name in dataset.features]
    frame = pd.DataFrame(dataset.x, columns=names)
    part = np.empty(len(dataset.y), object)
    for name, places in zip(("train", "val", "test"), split.places, strict=True):
        part[places] = name
    more = {} if dataset.truth is None else {"truth": dataset.truth}
    return pd.concat([frame, pd.DataFrame({"target": dataset.y, "part": part, **more})], axis=1)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def as_text(name: str, plan: Plan) -> str:
    """What would run: the trials, the axes, and a line per program."""
    grid, hardware = plan.grid, plan.hardware
    every = len(grid.cells) + grid.collapsed
    same = f" ({every:,} combinations, {grid.collapsed:,} of them the same as another)"
    same = same if grid.collapsed else ""
    lines = [
        f"{name}: {_count(len(grid), 'trial')} = {_count(len(grid.cells), 'cell')}{same}"
        f" × {_count(len(grid.seeds), 'seed')}, in {_count(len(plan.programs), 'program')}"
        f" on {_count(hardware.devices, hardware.platform.upper() + ' device')}"
    ]
    for i, axis in enumerate(grid.axes):
        values = [_value_text(v) for v in axis.values]
        shown = values if len(values) <= 8 else [*values[:3], "…", values[-1]]
        without = int((grid.index[:, i] < 0).sum())
        note = "" if not without else f", not for {without:,} of the cells"
        note = note if without < len(grid.cells) else ", collapsed: no cell has this field"
        note = f", drawn{note}" if i < grid.drawn else note
        lines.append(f"  {axis.path}: {', '.join(shown)} ({len(values)}){note}")
    for note in (*plan.notes, *(split.dataset.note for split in plan.splits.values())):
        if note:
            lines.insert(0, f"note: {note}")
    lines += [f"  program {i}: {_program_text(program)}" for i, program in enumerate(plan.programs, 1)]
    lines.append(f"  predicted: {_prediction(plan)}")
    return "\n".join(lines)


def _prediction(plan: Plan) -> str:
    compiling = sum(program.compile_s for program in plan.programs)
    training = sum(program.train_s for program in plan.programs)
    new = sum(not program.measured for program in plan.programs)
    parts = (
        f"compiling {_seconds(compiling)}, two at a time and beside training, training {_seconds(training)}"
    )
    guess = f"; a guess, since {new} of {len(plan.programs)} programs are new here" if new else ""
    return f"about {_seconds(plan.predicted_s)}: {parts}{guess}"


def happened(plan: Plan, seconds: Mapping[str, float], device_bytes: int, trials: int) -> dict[str, Any]:
    """What a sweep took, beside what was predicted, for the store.

    seconds: by what they were spent on. trials: how many were trained in them.
    """
    return {
        "trials": trials,
        "seconds": {what: round(s, 3) for what, s in seconds.items()},
        "predicted": {
            "total": round(plan.predicted_s, 3),
            "compiling": round(sum(program.compile_s for program in plan.programs), 3),
            "training": round(sum(program.train_s for program in plan.programs), 3),
        },
        "device_bytes": device_bytes,
        "predicted_device_bytes": round(max(program.device_bytes for program in plan.programs)),
    }


def _program_text(program: Program) -> str:
    config = program.inputs.config
    parts = [
        f"{program.inputs.subject} {config.optimizer.name}",
        f"{_count(len(program.rows), 'trial')} × {_count(config.steps, 'step')}",
        f"{program.blocks} × a block of {program.arrangement.block},"
        f" {_count(program.arrangement.lanes, 'lane')}{' fused' if program.arrangement.fused else ''}",
    ]
    if program.segment:
        parts.append(f"its state saved every {_count(program.segment * config.record_every, 'step')}")
    if program.waste:
        parts.append(f"padded to width {program.width}: {program.waste:.0%} of the work is padding")
    parts.append(
        f"{_seconds(program.compile_s)} to compile and {_seconds(program.train_s)} to train,"
        f" memory {_bytes(program.device_bytes)} a device"
    )
    return ", ".join(parts)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _seconds(s: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if s >= 2 * length:
            return f"{s / length:.1f} {unit}"
    return "under 0.1 s" if s < 0.1 else f"{s:.0f} s" if s >= 9.5 else f"{s:.1f} s"


def _bytes(n: float) -> str:
    power = min(3, max(1, int(np.log2(max(n, 1)) // 10)))
    n /= 2 ** (10 * power)
    return f"{n:.0f}" * (n >= 9.5) + f"{n:.1f}" * (n < 9.5) + f" {('KiB', 'MiB', 'GiB')[power - 1]}"


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
