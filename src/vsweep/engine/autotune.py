"""Which arrangement of a program is the fastest here, by trying a few of them for a few steps."""

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.config.schema import OWN
from vsweep.engine.compiler import Compiler, block_hparams
from vsweep.engine.devices import free_bytes
from vsweep.engine.executor import TrainingStats
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.cost_model import Costs, guess_step_s, machine_name
from vsweep.engine.tuning.layout import Arrangement, most_lanes
from vsweep.engine.tuning.pinned import segment_records
from vsweep.engine.tuning.timings import TimingCache
from vsweep.training.vectorize import Static

# A program is tried out where its training takes this many times what trying costs.
_WORTH = 20
# The seconds that compiling one candidate takes, about, and that it is then run for.
_CANDIDATE_S = 1.5
_RUN_S = 0.1
_LANES = {"cpu": (1, 8, 32), "gpu": (64, 512, 4096), "tpu": (64, 512, 4096)}


def autotune(plan: Plan, mesh: Mesh, known: TimingCache) -> Plan:
    """The plan, with each program that is long enough to pay for it in its fastest arrangement.

    What is found is noted in `known`, and not tried again.
    """
    costs = Costs(plan.hardware, known)
    programs = []
    for program in plan.programs:
        about = program.inputs, program.width, len(program.rows)
        tried = candidates(program, plan)
        worth = program.train_s > _WORTH * len(tried) * _CANDIDATE_S
        if (
            plan.asked.block is None
            and not plan.pinned
            and worth
            and len(tried) > 1
            and not costs.tried(*about)
        ):
            room = most_lanes(*about, plan.hardware.platform, plan.hardware.devices)
            found = _fastest(program, tried, mesh)
            if found is not None:
                step_s, best = found
                # Its block hangs on the sweep's length.
                known.note(program.name, lanes=best.lanes, fused=best.fused, room=room, step_s=step_s)
                known.save()
                arrangement = costs.arrange(*about, plan.asked.block)
                segment = segment_records(program.inputs.config, plan.asked, arrangement.block * step_s)
                program = replace(program, arrangement=arrangement, step_s=step_s, segment=segment)
        programs.append(program)
    return replace(plan, programs=tuple(programs))


def candidates(program: Program, plan: Plan) -> list[Arrangement]:
    """The arrangements to try: the guess first, then others of the platform."""
    platform, devices, *_ = plan.hardware
    room = most_lanes(program.inputs, program.width, len(program.rows), platform, devices)
    found = [program.arrangement]
    for lanes in _LANES.get(platform, _LANES["gpu"]):
        fused = lanes == 1 and plan.hardware.fuses(program.inputs, program.width)
        if lanes <= room:
            found.append(Arrangement(devices * lanes, lanes, fused))
    distinct = {(a.lanes, a.fused): a for a in reversed(found)}
    return [
        a._replace(block=devices * a.lanes * max(1, 8 // a.lanes)) for a in reversed(list(distinct.values()))
    ]


def _fastest(program: Program, tried: list[Arrangement], mesh: Mesh) -> tuple[float, Arrangement] | None:
    """The fastest, and its seconds a step and trial; None where none could be run."""
    compiler = Compiler(mesh)
    found: list[tuple[float, Arrangement]] = []
    bytes_at: dict[int, int] = {}
    try:
        for arrangement in tried:
            if _expected_bytes(bytes_at, arrangement.lanes) > free_bytes(mesh):
                continue
            short = _short(program, arrangement)
            # What cannot be tried is not chosen; whether it can be trained, the sweep finds.
            with suppress(Exception):
                ready = compiler.compile(short, arrangement)
                bytes_at[ready.arrangement.lanes] = ready.device_bytes
                seconds = _run_s(short, ready.call, ready.data, ready.arrangement, mesh)
                steps = ready.arrangement.block * short.static.length.steps
                found.append((seconds / steps, ready.arrangement))
    finally:
        compiler.close()
    return min(found, default=None)


def _short(program: Program, arrangement: Arrangement) -> Program:
    """The same program for a few steps, that begins at zero: drawing costs a compile more than it tells."""
    length = program.static.length
    steps = max(1, int(_RUN_S / program.step_s / arrangement.block))
    steps = min(length.steps, max(length.record_every, steps))
    static: Static = replace(program.static, length=length._replace(steps=steps))
    task: Any = static.task
    if program.inputs.config.model.name != OWN and "init" in dict(task.static):
        fields = tuple((name, ("zeros",) if name == "init" else value) for name, value in task.static)
        static = replace(static, task=replace(task, static=fields))
    return replace(program, static=static, segment=0)


def _run_s(program: Program, call: Any, data: Any, arrangement: Arrangement, mesh: Mesh) -> float:
    hparams = block_hparams(program, mesh, np.resize(np.arange(len(program.rows)), arrangement.block))
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        jax.block_until_ready(call(hparams, data).metrics)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])


def _expected_bytes(bytes_at: dict[int, int], lanes: int) -> float:
    """What so many lanes need, by the fixed part and the slope of two that were compiled."""
    if len(bytes_at) < 2:
        return 0.0
    (low, high) = sorted(bytes_at)[:: len(bytes_at) - 1]
    slope = (bytes_at[high] - bytes_at[low]) / (high - low)
    return bytes_at[low] + slope * (lanes - low)


def save_timings(plan: Plan, spent: TrainingStats, known: TimingCache) -> None:
    """Note how fast programs were, and how long their compiles took, for the next plan."""
    machine, costs = machine_name(plan.hardware), Costs(plan.hardware, known)
    ratios = []
    for program in plan.programs:
        if program.name in spent.too_large:
            most = spent.too_large[program.name]
            known.note(program.name, most_lanes=most.lanes, most_block=most.block, too_large_at=time.time())
        seconds, steps = spent.by_program.get(program.name, (0.0, 0))
        if not steps:
            continue
        limit = costs.block_limit(program.inputs, program.width)
        known.note(program.name, limit=limit, block=program.arrangement.block)
        if seconds > _RUN_S:
            known.mean(program.name, step_s=seconds / steps)
            ratios.append(seconds / steps / guess_step_s(program.inputs, program.width, plan.hardware))
    if ratios:
        known.mean(machine, ratio=float(np.median(ratios)))
    if spent.cold_compiles:
        known.mean(machine, compile_s=float(np.median(spent.cold_compiles)))
    known.save()
