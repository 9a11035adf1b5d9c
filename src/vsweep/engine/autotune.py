"""Find the fastest arrangement of a program here, by training a few of them for a few steps."""

import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.compiler import CompiledProgram, Compiler, block_hparams
from vsweep.engine.executor import TrainingStats, call_s
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.cost_model import Arrangement, Costs
from vsweep.engine.tuning.timings import TimingCache
from vsweep.engine.watchdog import Task, Watchdog, ways_out
from vsweep.errors import StuckError
from vsweep.training.program import Static, precision_context

# A program is tuned if its training takes this many times as long as the tuning.
_WORTH = 20
# The approximate seconds that compiling a candidate takes.
_CANDIDATE_S = 1.5
# The seconds that a candidate is run for.
_RUN_S = 0.1
# The number of times that a candidate is run.
_CALLS = 3
_VMAP_SIZES = {"cpu": (1, 8, 32), "gpu": (64, 512, 4096), "tpu": (64, 512, 4096)}


def autotune(plan: Plan, mesh: Mesh, known: TimingCache) -> Plan:
    """Give each program that trains long enough its fastest arrangement.

    Args:
        plan: The plan of the sweep.
        mesh: The devices.
        known: The measurements of earlier sweeps; new ones are added, so that they are not repeated.
    """
    if plan.pinned or plan.limits.block is not None:
        return plan
    costs = Costs(plan.hardware, known)
    programs = []
    tuned: dict[str, float] = {}
    for program in plan.programs:
        shape, trials = program.shape, len(program.rows)
        arrangements = candidates(program, costs)
        is_worth_it = program.train_s > _WORTH * len(arrangements) * _CANDIDATE_S
        # The lanes of the fused kernel only start and end side by side.
        is_tuned = program.kernel is None and len(arrangements) > 1
        is_tried = is_worth_it and is_tuned and not costs.tried(shape, trials)
        if is_tried and (fastest := _fastest(program, arrangements, mesh)):
            step_s, best = fastest
            known.note(
                program.name,
                lanes=best.vmap_size,
                fused=best.single_kernel,
                room=costs.max_vmap_size(shape, trials),
            )
            known.sample(program.name, step_s=step_s)
            known.save()
            tuned[program.name] = step_s
        if program.name in tuned:
            # Programs of other splits share the executable, so they need the same arrangement.
            # The block depends on the sweep's length.
            step_s, arrangement = tuned[program.name], costs.arrange(shape, trials, None)
            segment = plan.limits.segment_records(program.inputs.config, arrangement.block * step_s)
            program = replace(program, arrangement=arrangement, step_s=step_s, segment=segment)
        programs.append(program)
    return replace(plan, programs=tuple(programs))


def candidates(program: Program, costs: Costs) -> list[Arrangement]:
    """Return the arrangements to try: the guess first, then others of the platform."""
    platform, devices, *_ = costs.hardware
    most = costs.max_vmap_size(program.shape, len(program.rows))
    sizes = [size for size in _VMAP_SIZES.get(platform, _VMAP_SIZES["gpu"]) if size <= most]
    guess = program.arrangement.vmap_size, program.arrangement.single_kernel
    pairs = dict.fromkeys([guess, *((size, size == 1 and program.shape.single_kernel) for size in sizes)])
    return [Arrangement(devices * size * max(1, 8 // size), size, kernel) for size, kernel in pairs]


def _fastest(
    program: Program, arrangements: list[Arrangement], mesh: Mesh
) -> tuple[float, Arrangement] | None:
    """Return the fastest arrangement with its seconds per step and trial; None if no arrangement runs."""
    results: list[tuple[float, Arrangement]] = []
    with closing(Compiler(mesh)) as compiler:
        for arrangement in arrangements:
            short = _shorten(program, arrangement)
            name = f"trying blocks of {arrangement.block} for program {program.number + 1}"
            predicted_s = _CANDIDATE_S + program.compile_s + _CALLS * call_s(short, arrangement.block)
            # With a block of the user's, nothing is tried.
            ways = ways_out(mesh, program.arrangement.block)
            task = Task(name, predicted_s, on_host=True, ways=ways)
            try:
                results.append(Watchdog(task).call(_try, short, arrangement, compiler))
            except StuckError:
                raise
            except Exception:
                # A candidate that fails is not chosen. If the sweep has to use it after all, training raises.
                continue
    return min(results, default=None)


def _try(program: Program, arrangement: Arrangement, compiler: Compiler) -> tuple[float, Arrangement]:
    """Return the seconds per step and trial, and the arrangement that fits in memory."""
    ready = compiler.compile(program, arrangement)
    steps = ready.arrangement.block * program.static.length.steps
    return _run_s(program, ready) / steps, ready.arrangement


def _shorten(program: Program, arrangement: Arrangement) -> Program:
    """Shorten a program to a few steps from zero weights, since compiling the draw of weights takes long."""
    length = program.static.length
    steps = max(1, int(_RUN_S / program.step_s / arrangement.block))
    steps = min(length.steps, max(length.record_every, steps))
    static: Static = replace(program.static, length=length._replace(steps=steps))
    task: Any = static.task
    if program.inputs.config.model.has_initializer:
        fields = tuple((name, ("zeros",) if name == "init" else value) for name, value in task.static)
        static = replace(static, task=replace(task, static=fields))
    return replace(program, static=static, segment=0)


def _run_s(program: Program, ready: CompiledProgram) -> float:
    """Return the seconds of a call, the smallest of a few measurements."""
    places = np.resize(np.arange(len(program.rows)), ready.arrangement.block)
    hparams = block_hparams(program, places)
    seconds = []
    with precision_context(program.static):
        for _ in range(_CALLS):
            start = time.perf_counter()
            jax.block_until_ready(ready.call(hparams, ready.data).metrics)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def save_timings(plan: Plan, stats: TrainingStats, known: TimingCache) -> None:
    """Note the speeds and compile times of a sweep for the next plan."""
    costs = Costs(plan.hardware, known)
    ratios = []
    for program in plan.programs:
        seconds, steps = stats.by_program.get(program.name, (0.0, 0))
        if not steps:
            continue
        known.note(
            program.name,
            limit=costs.block_limit(program.shape, len(program.rows)),
            block=program.arrangement.block,
        )
        if seconds > _RUN_S:
            known.sample(program.name, step_s=seconds / steps)
            guess_s = costs.guess_step_s(program.shape, len(program.rows))
            ratios.append((program.shape, seconds / steps / guess_s))
    costs.learn("step", ratios)
    cold = []
    for program, seconds in stats.cold_compiles:
        guess_s = costs.guess_compile_s(program.shape, program.arrangement.vmap_size)
        cold.append((program.shape, seconds / guess_s))
    costs.learn("compiling", cold)
    known.save()
