"""The host's loop: compile a program, dispatch its blocks, fetch what they give."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vsweep.descent.loop import Curve, curve_metrics, recorded_steps
from vsweep.descent.program import HParams, compile_block, numerics
from vsweep.execution.plan import Plan, Program, program_data


class Block(NamedTuple):
    """The curves of one call's trials.

    rows: int64 `(trials,)`, places in the order of `Grid.trials()`. steps: int64 `(records,)`. metrics:
    each float32 `(trials, records)`. diverged_at: int32 `(trials,)`, -1 for never.
    """

    rows: np.ndarray
    steps: np.ndarray
    metrics: dict[str, np.ndarray]
    diverged_at: np.ndarray


def train(plan: Plan, mesh: Mesh) -> Iterator[Block]:
    """Train every trial of the plan, and yield the blocks in order.

    Each block is dispatched before the one ahead of it is fetched, so that the devices work while the
    host stores what came.
    """
    ahead: tuple[Program, np.ndarray, Curve] | None = None
    for program in plan.programs:
        for rows, curve in _dispatch(program, plan, mesh):
            if ahead is not None:
                yield _fetch(*ahead)
            ahead = program, rows, curve
    if ahead is not None:
        yield _fetch(*ahead)


def metric_names(plan: Plan) -> list[str]:
    """The metrics that any program of the plan records, in the order of a curve's columns."""
    names: dict[str, None] = {}
    for program in plan.programs:
        held_out = plan.splits[program.data].x[1] is not None
        names |= dict.fromkeys(curve_metrics(program.static.task.metrics, held_out=held_out))
    return list(names)


def _dispatch(program: Program, plan: Plan, mesh: Mesh) -> Iterator[tuple[np.ndarray, Curve]]:
    spread = NamedSharding(mesh, PartitionSpec("trials"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    with numerics(program.static):
        data = jax.device_put(program_data(program, plan.splits[program.data]), everywhere)
        hparams = jax.device_put(_block(program, 0), spread)
    compiled = compile_block(program.static, hparams, data, lanes=program.lanes, mesh=mesh)
    for i in range(program.blocks):
        with numerics(program.static):
            curve = compiled(jax.device_put(_block(program, i), spread), data)
        yield program.rows[i * program.block : (i + 1) * program.block], curve


def _block(program: Program, i: int) -> HParams:
    """The hyperparameters of a block, the last trial again in the places that are left."""
    places = np.arange(i * program.block, (i + 1) * program.block)
    places = np.minimum(places, len(program.rows) - 1)
    return jax.tree.map(lambda leaf: leaf[places], program.hparams)


def _fetch(program: Program, rows: np.ndarray, curve: Curve) -> Block:
    kept: Any = jax.device_get((curve.metrics, curve.diverged_at))
    metrics, diverged_at = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(rows)], kept)
    metrics = {name: values.astype(np.float32) for name, values in metrics.items()}
    return Block(rows, recorded_steps(program.static.length), metrics, diverged_at)
