"""The trials that are trained together, before and after."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from vsweep.engine.inputs import arrays
from vsweep.engine.plan import Plan, Program
from vsweep.store.blocks import Params, PartialBlock, TrainedBlock
from vsweep.tasks.models import unpadded
from vsweep.training.loop import TrialResult, recorded_steps
from vsweep.training.vectorize import precision_context, start_one


class Block(NamedTuple):
    """Trials of a program that are stored together.

    Attributes:
        program: The program that trains them.
        places: int64 `(trials,)`, in `program.rows`.
        records: The number of records so far.
        metrics: Each float32 `(trials, records)`.
        state: The leaves of the training state, each `(trials, ...)`; None before the first segment.
    """

    program: Program
    places: np.ndarray
    records: int = 0
    metrics: Mapping[str, np.ndarray] = {}
    state: Sequence[np.ndarray] | None = None


def blocks_to_train(plan: Plan, done: np.ndarray, underway: Sequence[PartialBlock]) -> Iterator[Block]:
    """Yield the blocks to train, program by program, those to continue first.

    Args:
        plan: The plan of the sweep.
        done: Bool `(trials,)`, the trials that are not to be trained.
        underway: Saved blocks to continue with, where they fit the plan.
    """
    waiting = ~done
    for program in plan.programs:
        for saved in underway:
            mine = np.isin(saved.rows, program.rows) & waiting[saved.rows]
            if mine.any() and _can_continue(program, saved):
                rows = saved.rows[mine]
                waiting[rows] = False
                metrics = {name: values[mine] for name, values in saved.metrics.items()}
                state = [leaf[mine] for leaf in saved.state]
                yield Block(program, np.searchsorted(program.rows, rows), saved.records, metrics, state)
        places = np.flatnonzero(waiting[program.rows])
        size = program.arrangement.block
        for i in range(0, len(places), size):
            yield Block(program, places[i : i + size])


def _can_continue(program: Program, saved: PartialBlock) -> bool:
    """Return whether a program can continue from a saved state."""
    if not program.segment or not 0 < saved.records < len(recorded_steps(program.static.length)):
        return False
    one = jax.tree.map(lambda leaf: leaf[0], program.hparams)
    data = arrays(program.inputs.split, program.hparams.diverge_above.dtype)
    with precision_context(program.static):
        state = jax.tree.leaves(jax.eval_shape(partial(start_one, program.static), one, data))
    saved_leaves = [(leaf.shape[1:], leaf.dtype) for leaf in saved.state]
    return [(leaf.shape, leaf.dtype) for leaf in state] == saved_leaves


def fetch(block: Block, curves: Sequence[TrialResult]) -> Block:
    """Return the block with its results so far on the host, without the trials that pad it."""
    trials, records = len(block.places), len(recorded_steps(block.program.static.length))

    def whole(*leaves: Any) -> np.ndarray:
        return np.concatenate(leaves)[:trials]

    metrics = jax.tree.map(whole, *jax.device_get([curve.metrics for curve in curves]))
    # Curves are stored in float32, in which a larger loss is infinite.
    with np.errstate(over="ignore"):
        metrics = {name: values.astype(np.float32) for name, values in metrics.items()}
    metrics = {
        name: np.concatenate([block.metrics.get(name, values[:, :0]), values], axis=1)[:, :records]
        for name, values in metrics.items()
    }
    state = None
    if block.program.segment:
        state = jax.tree.leaves(jax.tree.map(whole, *jax.device_get([curve.state for curve in curves])))
    return block._replace(records=next(iter(metrics.values())).shape[1], metrics=metrics, state=state)


def partial_block(block: Block, records: int) -> PartialBlock:
    """Return what to save of a block that is not finished, up to a record."""
    metrics = {name: values[:, :records] for name, values in block.metrics.items()}
    return PartialBlock(block.program.rows[block.places], records, metrics, block.state or [])


def trained_block(block: Block, curves: Sequence[TrialResult], *, keep_state: bool) -> TrainedBlock:
    """Return a block after its last record; `keep_state` keeps the state to train it longer later."""
    program, trials = block.program, len(block.places)
    length = program.static.length
    parts: Any = jax.device_get([(curve.diverged_at, curve.test, curve.end) for curve in curves])
    diverged_at, test, end = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:trials], *parts)
    # A longer training repeats these curves to the bit only if it has a record at this step, too.
    can_extend = keep_state and length.steps % length.record_every == 0
    return TrainedBlock(
        program.rows[block.places],
        recorded_steps(length),
        block.metrics,
        diverged_at,
        {name: values.astype(np.float32) for name, values in test.items()},
        program.static.task.conclude(end, trials)
        | {name: np.full(trials, value) for name, value in program.reference.items()},
        partial(params_of, program, block.places, curves),
        partial_block(block, length.steps // length.record_every) if can_extend else None,
    )


def params_of(
    program: Program, places: np.ndarray, curves: Sequence[TrialResult], chosen: np.ndarray
) -> list[Params]:
    """Return the parameters of some trials of a block, without padding.

    Args:
        program: The program that trained the block.
        places: int64 `(trials,)`, of the block's trials in `program.rows`.
        curves: The results of the calls.
        chosen: int64 `(n,)`, places in the block.
    """
    size = len(curves[0].diverged_at)
    widths = program.hparams.task["model"].get("width") if program.width else None
    arrays_of: list[Params] = [{} for _ in chosen]
    for i, curve in enumerate(curves):
        mine = np.flatnonzero(chosen // size == i)
        leaves, tree = jax.tree.flatten(curve.params)
        fetched = [rows_of(leaf, chosen[mine] % size) for leaf in leaves]
        for n, at in enumerate(mine.tolist()):
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
        rows: int64 `(n,)`.
    """
    copied = np.empty((len(rows), *leaf.shape[1:]), leaf.dtype)
    for shard in leaf.addressable_shards:
        begin, end, _ = shard.index[0].indices(leaf.shape[0])
        mine = np.flatnonzero((rows >= begin) & (rows < end))
        if shard.device.platform == "cpu" or 4 * len(mine) > end - begin:
            copied[mine] = np.asarray(shard.data)[rows[mine] - begin]
        else:
            for i in mine.tolist():
                copied[i] = np.asarray(shard.data[int(rows[i]) - begin])
    return copied


def leaf_name(path: Any) -> str:
    """Return the name of an array of parameters: the keys to it, with dots between."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "params"
