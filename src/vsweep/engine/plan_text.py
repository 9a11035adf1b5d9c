"""Describe a plan to the user."""

from typing import Any

import numpy as np

from vsweep.engine.plan import Plan, Program


def as_text(name: str, plan: Plan) -> str:
    """Describe what would run: the trials, the axes, and a line for each program."""
    grid, hardware = plan.grid, plan.hardware
    total = len(grid.cells) + grid.collapsed
    same = f" ({total:,} combinations, {grid.collapsed:,} of them the same as another)" * bool(grid.collapsed)
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
    notes = [*plan.notes, *(split.dataset.note for split in plan.splits.values())]
    lines = [*(f"note: {note}" for note in reversed(notes) if note), *lines]
    lines += [f"  program {i}: {_program_text(program)}" for i, program in enumerate(plan.programs, 1)]
    lines.append(f"  predicted: {_prediction(plan)}")
    return "\n".join(lines)


def _prediction(plan: Plan) -> str:
    compiling, training = _seconds(plan.compiling_s), _seconds(plan.training_s)
    new = sum(not program.measured for program in plan.programs)
    parts = f"compiling {compiling}, two at a time and beside training, training {training}"
    guess = f"; a guess, since {new} of {len(plan.programs)} programs are new here" if new else ""
    return f"about {_seconds(plan.predicted_s)}: {parts}{guess}"


def _program_text(program: Program) -> str:
    config = program.inputs.config
    block, vmap_size, single_kernel = program.arrangement
    parts = [
        f"{program.inputs.subject} {config.optimizer.name}",
        f"{_count(len(program.rows), 'trial')} × {_count(config.steps, 'step')}",
        f"{program.blocks} × a block of {block}, {_count(vmap_size, 'lane')}{' fused' * single_kernel}",
    ]
    if program.segment:
        parts.append(f"its state saved every {_count(program.segment * config.record_every, 'step')}")
    if program.padding_fraction:
        waste = f"{program.padding_fraction:.0%} of the work is padding"
        parts.append(f"padded to width {program.width}: {waste}")
    parts.append(
        f"{_seconds(program.compile_s)} to compile and {_seconds(program.train_s)} to train,"
        f" memory {_bytes(program.device_bytes)} a device"
    )
    return ", ".join(parts)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _seconds(s: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if s >= 2 * length:
            return f"{s / length:.1f} {unit}"
    return "under 0.1 s" if s < 0.1 else f"{s:.0f} s" if s >= 9.5 else f"{s:.1f} s"


def _bytes(n: float) -> str:
    power = min(3, max(1, int(np.log2(max(n, 1)) // 10)))
    n /= 2 ** (10 * power)
    return f"{n:.{0 if n >= 9.5 else 1}f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
