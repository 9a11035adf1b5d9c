"""Which arrangement of a program is the fastest here, by trying a few of them for a few steps."""

import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.descent.program import Static
from vsweep.execution.arrange import Arrangement, most_lanes
from vsweep.execution.compiler import Compiler, block_hparams, free_bytes
from vsweep.execution.costs import Costs, as_measured, guess_step_s, machine_name
from vsweep.execution.known import Known
from vsweep.execution.plan import Plan, Program
from vsweep.execution.run import Spent

# A program is tried out where its training takes this many times what trying costs.
_WORTH = 20
# The seconds that compiling one candidate takes, about, and that it is then run for.
_CANDIDATE_S = 1.5
_RUN_S = 0.1
_LANES = {"cpu": (1, 8, 32), "gpu": (64, 512, 4096), "tpu": (64, 512, 4096)}


def measured(plan: Plan, mesh: Mesh, known: Known) -> Plan:
    """The plan, with each program that is long enough to pay for it in its fastest arrangement.

    What is found is noted in `known`, and not tried again.
    """
    costs = Costs(plan.hardware, known)
    programs = []
    for program in plan.programs:
        tried = candidates(program, plan)
        worth = program.train_s > _WORTH * len(tried) * _CANDIDATE_S
        if plan.asked is None and worth and len(tried) > 1 and "lanes" not in known.get(program.name):
            known.note(program.name, **_best(program, tried, mesh))
        known_of = known.get(program.name)
        if "lanes" in known_of:
            arrangement = costs.arrange(program.inputs, program.width, len(program.rows), plan.asked)
            step_s = float(known_of.get("step_s", program.step_s))
            program = replace(program, arrangement=arrangement, step_s=step_s)
        programs.append(program)
    return replace(plan, programs=tuple(programs))


def candidates(program: Program, plan: Plan) -> list[Arrangement]:
    """The arrangements to try: the guess first, then others of the platform."""
    platform, devices, _ = plan.hardware
    room = most_lanes(program.inputs, program.width, len(program.rows), platform, devices)
    found = [program.arrangement]
    for lanes in _LANES[platform]:
        fused = platform == "cpu" and lanes == 1 and program.inputs.fusable(program.width)
        if lanes <= room:
            found.append(Arrangement(devices * lanes, lanes, fused))
    distinct = {(a.lanes, a.fused): a for a in reversed(found)}
    return [
        a._replace(block=devices * a.lanes * max(1, 8 // a.lanes)) for a in reversed(list(distinct.values()))
    ]


def _best(program: Program, tried: list[Arrangement], mesh: Mesh) -> dict[str, Any]:
    """What is noted of the fastest: its lanes, its seconds a step, its bytes on a device."""
    short = _short(program)
    compiler = Compiler(mesh)
    fastest: tuple[float, Arrangement] | None = None
    bytes_at: dict[int, int] = {}
    for arrangement in tried:
        if _expected_bytes(bytes_at, arrangement.lanes) > free_bytes(mesh):
            continue
        try:
            ready = compiler.compile(short, arrangement)
            bytes_at[ready.arrangement.lanes] = ready.device_bytes
            seconds = _run_s(short, ready.call, ready.data, ready.arrangement, mesh)
        except jax.errors.JaxRuntimeError:
            continue
        seconds /= ready.arrangement.block * short.static.length.steps
        if fastest is None or seconds < fastest[0]:
            fastest = seconds, ready.arrangement
    compiler.close()
    if fastest is None:
        return {}
    return {**as_measured(fastest[1]), "step_s": fastest[0], "device_bytes": bytes_at[fastest[1].lanes]}


def _short(program: Program) -> Program:
    """The same program for a few steps, that begins at zero: drawing costs a compile more than it tells."""
    length = program.static.length
    steps = max(1, int(_RUN_S / program.step_s / 16))
    steps = min(length.steps, max(length.record_every, steps))
    static: Static = replace(program.static, length=length._replace(steps=steps))
    task: Any = static.task
    if "init" in dict(task.static):
        fields = tuple((name, ("zeros",) if name == "init" else value) for name, value in task.static)
        static = replace(static, task=replace(task, static=fields))
    return replace(program, static=static)


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


def remember(plan: Plan, spent: Spent, known: Known) -> None:
    """Note how fast programs were, and how long their compiles took, for the next plan."""
    machine, costs = machine_name(plan.hardware), Costs(plan.hardware, known)
    ratios = []
    for program in plan.programs:
        seconds, steps = spent.by_program.get(program.name, (0.0, 0))
        if seconds < _RUN_S and program.name not in spent.too_large:
            continue
        limit = costs.block_limit(program.inputs, program.width)
        limits = {**known.get(program.name).get("limits", {}), str(program.static.length.steps): limit}
        if program.name in spent.too_large:
            most = spent.too_large[program.name]
            known.note(program.name, most=most.lanes, most_block=most.block)
        known.note(program.name, limits=limits)
        known.mean(program.name, step_s=seconds / steps)
        ratios.append(seconds / steps / guess_step_s(program.inputs, program.width, plan.hardware))
    if ratios:
        known.mean(machine, ratio=float(np.median(ratios)))
    if spent.cold_compiles:
        known.mean(machine, compile_s=float(np.median(spent.cold_compiles)))
    known.save()
