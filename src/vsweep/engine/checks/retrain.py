"""Train trials once more, each alone: unpadded, one at a time, beside its twin."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.executor import TrainingStats, train
from vsweep.engine.plan import Plan, Program, make_program
from vsweep.engine.tuning.cost_model import Costs
from vsweep.engine.tuning.layout import NO_LIMITS, Arrangement
from vsweep.store.blocks import TrainedBlock
from vsweep.training.vectorize import Static


class Retrained(NamedTuple):
    """A trial's curve.

    Attributes:
        metrics: Each float32 `(records,)`.
        diverged_at: The step; -1 for never.
    """

    metrics: dict[str, np.ndarray]
    diverged_at: int


def lone_programs(plan: Plan, rows: Sequence[int], costs: Costs) -> list[Program]:
    """Return the programs that train some trials alone.

    A program is compiled for a trial's own width, initializer and fields; trials with the same static values
    share one. The twins come after all of its trials, in the same order; their rows are beyond the grid's.

    Args:
        plan: The plan of the sweep.
        rows: Places in the order of `Grid.trials()`.
        costs: The costs of programs on the plan's hardware.
    """
    groups: dict[tuple[Static, str], list[Program]] = {}
    for row in sorted(rows):
        program = next(program for program in plan.programs if row in program.rows)
        lone = make_program(plan.grid, program.inputs, np.asarray([row]), costs)
        groups.setdefault((lone.static, lone.inputs.key), []).append(lone)
    programs: list[Program] = []
    for members in groups.values():
        count, devices = len(members), plan.hardware.devices
        both: Any = jax.tree.map(
            lambda *leaves: np.concatenate([*leaves, *leaves]), *(member.hparams for member in members)
        )
        member_rows = np.concatenate([member.rows for member in members])
        block = -(-2 * count // devices) * devices
        programs.append(
            replace(
                members[0],
                number=len(programs),
                rows=np.concatenate([member_rows, member_rows + len(plan.grid)]),
                hparams=both._replace(twin=np.arange(2 * count) >= count),
                arrangement=Arrangement(block, 1, members[0].shape.single_kernel),
                segment=0,
            )
        )
    return programs


def train_alone(
    plan: Plan, mesh: Mesh, programs: Sequence[Program], stats: TrainingStats
) -> dict[int, tuple[Retrained, Retrained]]:
    """Train the programs of `lone_programs`, and return each trial and its twin, by its row."""
    results: dict[int, Retrained] = {}
    trials = len(plan.grid)
    lone = replace(plan, programs=tuple(programs), limits=NO_LIMITS)
    for block in train(lone, mesh, stats, done=np.zeros(2 * trials, bool)):
        assert isinstance(block, TrainedBlock)
        for i, row in enumerate(block.rows.tolist()):
            metrics = {name: values[i] for name, values in block.metrics.items()}
            results[row] = Retrained(metrics, int(block.diverged_at[i]))
    return {row: (first, results[row + trials]) for row, first in results.items() if row < trials}
