"""Trials trained once more, each alone: unpadded, one at a time, beside its twin."""

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
from vsweep.engine.tuning.pinned import NOTHING_ASKED
from vsweep.store.blocks import TrainedBlock
from vsweep.training.vectorize import HParams, Static


class Retrained(NamedTuple):
    """A trial's curve. metrics: each float32 `(records,)`. diverged_at: -1 for never."""

    metrics: dict[str, np.ndarray]
    diverged_at: int


def lone_programs(plan: Plan, rows: Sequence[int]) -> list[Program]:
    """The programs that train these trials alone, each with its twin after all of the others.

    rows: places in the order of `Grid.trials()`. A trial's own width, initialiser and fields are all that
    its program is compiled for; those of which nothing compiled differs share one.
    """
    groups: dict[tuple[Static, str], list[tuple[int, HParams, Program]]] = {}
    for row in rows:
        program = next(program for program in plan.programs if row in program.rows)
        static, hparams = bind(plan.grid, program.inputs, np.asarray([row]))
        groups.setdefault((static, program.inputs.key), []).append((row, hparams, program))
    made = []
    for (static, _), members in groups.items():
        together: Any = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(h for _, h, _ in members))
        both = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), together)
        twin = np.arange(2 * len(members)) >= len(members)
        program, each = members[0][2], np.asarray([row for row, *_ in members])
        wide = widths(plan.grid, program.inputs.config, each)
        width = 0 if wide is None else int(wide[0])
        devices = plan.hardware.devices
        arrangement = Arrangement(
            -(-2 * len(each) // devices) * devices, 1, plan.hardware.fuses(program.inputs, width)
        )
        made.append(
            replace(
                program,
                static=static,
                rows=np.concatenate([each, each]),
                hparams=both._replace(twin=twin),
                width=width,
                waste=0.0,
                arrangement=arrangement,
                segment=0,
            )
        )
    return made


def train_alone(
    plan: Plan, mesh: Mesh, programs: Sequence[Program], spent: TrainingStats
) -> dict[int, tuple[Retrained, Retrained]]:
    """Each trial of `lone_programs` and its twin, by its place."""
    found: dict[int, list[Retrained]] = {}
    lone = replace(plan, programs=tuple(programs), asked=NOTHING_ASKED)
    for block in train(lone, mesh, spent):
        assert isinstance(block, TrainedBlock)
        for i, row in enumerate(block.rows.tolist()):
            metrics = {name: values[i] for name, values in block.metrics.items()}
            found.setdefault(row, []).append(Retrained(metrics, int(block.diverged_at[i])))
    return {row: (first, twin) for row, (first, twin) in found.items()}
