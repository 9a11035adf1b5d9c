"""Blocks of trials on their way to the devices, and back to the host."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from vsweep.engine.plan import Plan, Program
from vsweep.store.blocks import Params, PartialBlock, TrainedBlock
from vsweep.tasks.models import unpadded
from vsweep.tasks.task import Examples
from vsweep.training.loop import TrialResult, recorded_steps
from vsweep.training.program import precision_context
from vsweep.training.vectorize import start_one


def blocks_to_train(
    plan: Plan, done: np.ndarray, underway: Sequence[PartialBlock]
) -> Iterator[tuple[Program, PartialBlock]]:
    """Yield the blocks to train, program by program; saved blocks of a program come first.

    Args:
        plan: The plan of the sweep.
        done: Bool `(trials,)`, the trials that are not to be trained.
        underway: Saved blocks, which are continued if they fit the plan.
    """
    waiting = ~done
    for program in plan.programs:
        for saved in underway:
            members = np.isin(saved.rows, program.rows) & waiting[saved.rows]
            if members.any() and _can_continue(program, saved):
                waiting[saved.rows[members]] = False
                metrics = {name: values[members] for name, values in saved.metrics.items()}
                state = [leaf[members] for leaf in saved.state]
                yield program, PartialBlock(saved.rows[members], saved.records, metrics, state)
        rows = program.rows[waiting[program.rows]]
        size = program.arrangement.block
        for i in range(0, len(rows), size):
            yield program, PartialBlock(rows[i : i + size], 0, {}, [])


def _can_continue(program: Program, saved: PartialBlock) -> bool:
    """Return whether a program can continue from a saved state."""
    if not program.segment or not 0 < saved.records < program.records:
        return False
    first = jax.tree.map(lambda leaf: leaf[0], program.hparams)
    with precision_context(program.static):
        state = jax.eval_shape(partial(start_one, program.static), first, program.inputs.arrays)
    saved_leaves = [(leaf.shape[1:], leaf.dtype) for leaf in saved.state]
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)] == saved_leaves


def fetch(program: Program, block: PartialBlock, curves: Sequence[TrialResult]) -> PartialBlock:
    """Return the block with its results so far on the host, without the trials that pad it."""

    def whole(*leaves: Any) -> np.ndarray:
        return np.concatenate(leaves)[: len(block.rows)]

    metrics = jax.tree.map(whole, *jax.device_get([curve.metrics for curve in curves]))
    metrics = in_own_dtype(program, program.inputs.in_target_units(metrics))
    metrics = {
        name: np.concatenate([block.metrics.get(name, values[:, :0]), values], axis=1)[:, : program.records]
        for name, values in metrics.items()
    }
    state = jax.tree.map(whole, *jax.device_get([curve.state for curve in curves]))
    return PartialBlock(block.rows, metrics["train_loss"].shape[1], metrics, jax.tree.leaves(state))


def in_own_dtype(program: Program, metrics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return metrics in the dtype of the program's tables; a user's loss may have another."""
    dtype = program.inputs.stored_dtype
    with np.errstate(over="ignore"):
        return {name: values.astype(dtype, copy=False) for name, values in metrics.items()}


def trained_block(
    program: Program, block: PartialBlock, curves: Sequence[TrialResult], *, keep_state: bool
) -> TrainedBlock:
    """Return a block after its last record; `keep_state` keeps the state, so that more steps can follow."""
    trials, length, split = len(block.rows), program.static.length, program.inputs.split
    fetched: Any = jax.device_get([(c.diverged_at, c.final, c.parts, c.end) for c in curves])
    diverged_at, final, parts, end = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:trials], *fetched)
    state = None
    # A longer training repeats these curves to the bit only if it has a record at this step, too.
    if keep_state and length.steps % length.record_every == 0:
        records = length.steps // length.record_every
        metrics = {name: values[:, :records] for name, values in block.metrics.items()}
        state = block._replace(records=records, metrics=metrics)
    return TrainedBlock(
        block.rows,
        recorded_steps(length),
        block.metrics,
        diverged_at,
        in_own_dtype(program, program.inputs.in_target_units(final)),
        in_own_dtype(program, program.inputs.in_target_units(parts)),
        program.static.task.conclude(end, Examples(split.x[0], split.y[0]), trials),
        partial(params_of, program, np.searchsorted(program.rows, block.rows), curves),
        state,
    )


def params_of(
    program: Program, places: np.ndarray, curves: Sequence[TrialResult], chosen: np.ndarray
) -> list[Params]:
    """Return the parameters of some trials of a block, without padding.

    Args:
        program: The program that trained the block.
        places: Int64 `(trials,)`, the places of the block's trials in `program.rows`.
        curves: The results of the calls.
        chosen: Int64 `(n,)`, places in the block.
    """
    size = len(curves[0].diverged_at)
    widths = program.hparams.task["model"].get("width") if program.width else None
    arrays_of: list[Params] = [{} for _ in chosen]
    for i, curve in enumerate(curves):
        members = np.flatnonzero(chosen // size == i)
        leaves, tree = jax.tree.flatten(curve.params)
        fetched = [rows_of(leaf, chosen[members] % size) for leaf in leaves]
        for n, at in enumerate(members.tolist()):
            params = jax.tree.unflatten(tree, [leaf[n] for leaf in fetched])
            if widths is not None:
                params = unpadded(params, int(widths[places[chosen[at]]]))
            arrays_of[at] = {
                leaf_name(path): np.asarray(leaf)
                for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
            }
    return arrays_of


def rows_of(leaf: Any, rows: np.ndarray) -> np.ndarray:
    """Copy some rows of an array from the devices; if they are few, no other rows are copied.

    Args:
        leaf: A JAX array, `(trials, ...)`.
        rows: Int64 `(n,)`.
    """
    copied = np.empty((len(rows), *leaf.shape[1:]), leaf.dtype)
    for shard in leaf.addressable_shards:
        begin, end, _ = shard.index[0].indices(leaf.shape[0])
        members = np.flatnonzero((rows >= begin) & (rows < end))
        if shard.device.platform == "cpu" or 4 * len(members) > end - begin:
            copied[members] = np.asarray(shard.data)[rows[members] - begin]
        else:
            for i in members.tolist():
                copied[i] = np.asarray(shard.data[int(rows[i]) - begin])
    return copied


def leaf_name(path: Any) -> str:
    """Return the name of an array of parameters: the keys on the path to it, joined by dots."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "params"
