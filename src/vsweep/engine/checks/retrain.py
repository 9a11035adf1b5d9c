"""Train trials once more, each alone: unpadded, one at a time, beside its twin."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.executor import TrainingStats, train
from vsweep.engine.hyperparams import bind, widths
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.layout import Arrangement
from vsweep.engine.tuning.pinned import NO_LIMITS
from vsweep.engine.tuning.shape import program_shape
from vsweep.store.blocks import TrainedBlock
from vsweep.training.vectorize import HParams, Static


class Retrained(NamedTuple):
    """A trial's curve.

    Attributes:
        metrics: Each float32 `(records,)`.
        diverged_at: The step; -1 for never.
    """

    metrics: dict[str, np.ndarray]
    diverged_at: int


def lone_programs(plan: Plan, rows: Sequence[int]) -> list[Program]:
    """Return the programs that train some trials alone.

    A program is compiled for a trial's own width, initializer and fields; trials with the same static values
    share one. The twins come after all of its trials, in the same order.

    Args:
        plan: The plan of the sweep.
        rows: Places in the order of `Grid.trials()`.
    """
    groups: dict[tuple[Static, str], list[tuple[int, HParams, Program]]] = {}
    for row in rows:
        program = next(program for program in plan.programs if row in program.rows)
        static, hparams = bind(plan.grid, program.inputs, np.asarray([row]))
        groups.setdefault((static, program.inputs.key), []).append((row, hparams, program))
    programs: list[Program] = []
    for (static, _), members in groups.items():
        both: Any = jax.tree.map(
            lambda *leaves: np.concatenate([*leaves, *leaves]), *(hparams for _, hparams, _ in members)
        )
        program, member_rows = members[0][2], np.asarray([row for row, *_ in members])
        trial_widths = widths(plan.grid, program.inputs.config, member_rows)
        width = 0 if trial_widths is None else int(trial_widths[0])
        shape, devices = program_shape(program.inputs, width, plan.hardware), plan.hardware.devices
        block = -(-2 * len(members) // devices) * devices
        programs.append(
            replace(
                program,
                number=len(programs),
                static=static,
                rows=np.concatenate([member_rows, member_rows]),
                hparams=both._replace(twin=np.arange(2 * len(members)) >= len(members)),
                shape=shape,
                padding_fraction=0.0,
                arrangement=Arrangement(block, 1, shape.single_kernel),
                segment=0,
            )
        )
    return programs


def train_alone(
    plan: Plan, mesh: Mesh, programs: Sequence[Program], stats: TrainingStats
) -> dict[int, tuple[Retrained, Retrained]]:
    """Train the programs of `lone_programs`, and return each trial and its twin, by its row."""
    results: dict[int, list[Retrained]] = {}
    lone = replace(plan, programs=tuple(programs), limits=NO_LIMITS)
    for block in train(lone, mesh, stats):
        assert isinstance(block, TrainedBlock)
        for i, row in enumerate(block.rows.tolist()):
            metrics = {name: values[i] for name, values in block.metrics.items()}
            results.setdefault(row, []).append(Retrained(metrics, int(block.diverged_at[i])))
    return {row: (first, twin) for row, (first, twin) in results.items()}
