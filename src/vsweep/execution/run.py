"""The host's loop: compile a program, dispatch its blocks, fetch what they give."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vsweep.descent.loop import Curve, curve_metrics, recorded_steps
from vsweep.descent.program import HParams, compile_block, numerics
from vsweep.execution.inputs import arrays
from vsweep.execution.plan import Plan, Program
from vsweep.results.store import Finished
from vsweep.tasks.task import Data


class Compiled(NamedTuple):
    """A program's executable, and its data on the devices."""

    call: Callable[[HParams, Data], Curve]
    data: Data


Executables: TypeAlias = dict[Hashable, Callable[[HParams, Data], Curve]]


def train(plan: Plan, mesh: Mesh) -> Iterator[Finished]:
    """Train every trial of the plan, and yield the blocks in order.

    Each block is dispatched before the one ahead of it is fetched, so that the devices work while the
    host stores what came.
    """
    ahead: tuple[Program, np.ndarray, Curve] | None = None
    executables: Executables = {}
    try:
        for program in plan.programs:
            compiled = compile_program(program, mesh, executables)
            for i in range(program.blocks):
                curve = dispatch(program, compiled, mesh, i)
                behind, ahead = ahead, (program, block_rows(program, i), curve)
                if behind is not None:
                    yield fetch(*behind)
    except Exception:
        # What fails is the block or the program after; the one ahead is done, or nearly.
        if ahead is not None:
            yield fetch(*ahead)
        raise
    if ahead is not None:
        yield fetch(*ahead)


def metric_names(plan: Plan) -> list[str]:
    """The metrics that any program of the plan records, in the order of a curve's columns."""
    names: dict[str, None] = {}
    for program in plan.programs:
        held_out = program.inputs.split.x[1] is not None
        names |= dict.fromkeys(curve_metrics(program.static.task.metrics, held_out=held_out))
    return list(names)


def compile_program(program: Program, mesh: Mesh, executables: Executables | None = None) -> Compiled:
    """Compile a program for its block size, and put its data on every device.

    executables: those there are; one for the same static and shapes is used again, for other data.
    """
    with numerics(program.static):
        floating = program.hparams.diverge_above.dtype
        everywhere = NamedSharding(mesh, PartitionSpec())
        data = jax.device_put(arrays(program.inputs.split, floating), everywhere)
    hparams = _block(program, mesh, 0)
    leaves, tree = jax.tree.flatten((hparams, data))
    key = program.static, program.lanes, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    executables = {} if executables is None else executables
    if key not in executables:
        executables[key] = compile_block(program.static, hparams, data, lanes=program.lanes, mesh=mesh)
    return Compiled(executables[key], data)


def dispatch(program: Program, compiled: Compiled, mesh: Mesh, i: int) -> Curve:
    """Start block i of a program; what it gives is on its way."""
    return compiled.call(_block(program, mesh, i), compiled.data)


def block_rows(program: Program, i: int) -> np.ndarray:
    """The rows of the trials of block i, without what pads it."""
    return program.rows[i * program.block : (i + 1) * program.block]


def fetch(program: Program, rows: np.ndarray, curve: Curve) -> Finished:
    """Wait for a block, and bring its curves to the host."""
    kept: Any = jax.device_get((curve.metrics, curve.diverged_at))
    metrics, diverged_at = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(rows)], kept)
    metrics = {name: values.astype(np.float32) for name, values in metrics.items()}
    return Finished(rows, recorded_steps(program.static.length), metrics, diverged_at)


def _block(program: Program, mesh: Mesh, i: int) -> HParams:
    """The hyperparameters of block i, with the last trial again in the places that are left."""
    places = np.arange(i * program.block, (i + 1) * program.block)
    places = np.minimum(places, len(program.rows) - 1)
    chosen = jax.tree.map(lambda leaf: leaf[places], program.hparams)
    with numerics(program.static):
        return jax.device_put(chosen, NamedSharding(mesh, PartitionSpec("trials")))
