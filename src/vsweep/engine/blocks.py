"""The trials that are trained together: what is to be trained, and what comes back of it."""

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
    """Trials of a program that are kept together.

    places: int64, in `program.rows`. records: how many are made. metrics: of these, each `(trials,
    records)`. state: its leaves, each `(trials, ...)`; None before the first segment.
    """

    program: Program
    places: np.ndarray
    records: int = 0
    metrics: Mapping[str, np.ndarray] = {}
    state: Sequence[np.ndarray] | None = None


def blocks_to_train(plan: Plan, done: np.ndarray, underway: Sequence[PartialBlock]) -> Iterator[Block]:
    """The blocks that are to be trained, those first that are to be gone on with."""
    left = ~done
    for program in plan.programs:
        for each in underway:
            mine = np.isin(each.rows, program.rows) & left[each.rows]
            if mine.any() and _goes_on(program, each):
                rows = each.rows[mine]
                left[rows] = False
                metrics = {name: values[mine] for name, values in each.metrics.items()}
                state = [leaf[mine] for leaf in each.state]
                yield Block(program, np.searchsorted(program.rows, rows), each.records, metrics, state)
        places = np.flatnonzero(left[program.rows])
        size = program.arrangement.block
        for i in range(0, len(places), size):
            yield Block(program, places[i : i + size])


def _goes_on(program: Program, each: PartialBlock) -> bool:
    """Whether a program can go on with a state."""
    if not program.segment or not 0 < each.records < len(recorded_steps(program.static.length)):
        return False
    one = jax.tree.map(lambda leaf: leaf[0], program.hparams)
    data = arrays(program.inputs.split, program.hparams.diverge_above.dtype)
    with precision_context(program.static):
        state = jax.tree.leaves(jax.eval_shape(partial(start_one, program.static), one, data))
    return [(leaf.shape, leaf.dtype) for leaf in state] == [
        (leaf.shape[1:], leaf.dtype) for leaf in each.state
    ]


def fetch(block: Block, curves: Sequence[TrialResult]) -> Block:
    """The block with what was made of it on the host, without what pads it."""
    trials, records = len(block.places), len(recorded_steps(block.program.static.length))

    def whole(*leaves: Any) -> np.ndarray:
        return np.concatenate(leaves)[:trials]

    metrics = jax.tree.map(whole, *jax.device_get([curve.metrics for curve in curves]))
    # A curve is kept in float32; a loss beyond it is infinite there.
    with np.errstate(over="ignore"):
        metrics = {name: values.astype(np.float32) for name, values in metrics.items()}
    made = {
        name: np.concatenate([block.metrics.get(name, values[:, :0]), values], axis=1)
        for name, values in metrics.items()
    }
    made = {name: values[:, :records] for name, values in made.items()}
    state = None
    if block.program.segment:
        state = jax.tree.leaves(jax.tree.map(whole, *jax.device_get([curve.state for curve in curves])))
    return block._replace(records=next(iter(made.values())).shape[1], metrics=made, state=state)


def under_way(block: Block, records: int) -> PartialBlock:
    """What is to be saved of a block, up to a record."""
    metrics = {name: values[:, :records] for name, values in block.metrics.items()}
    return PartialBlock(block.program.rows[block.places], records, metrics, block.state or [])


def finished(block: Block, curves: Sequence[TrialResult], *, keep_state: bool) -> TrainedBlock:
    """A block whose last record is made."""
    program, trials = block.program, len(block.places)
    length = program.static.length
    parts: Any = jax.device_get([(curve.diverged_at, curve.test, curve.end) for curve in curves])
    diverged_at, test, end = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:trials], *parts)
    # Only from where a record is due can more steps go on, bit for bit.
    again = keep_state and length.steps % length.record_every == 0
    return TrainedBlock(
        program.rows[block.places],
        recorded_steps(length),
        block.metrics,
        diverged_at,
        {name: values.astype(np.float32) for name, values in test.items()},
        program.static.task.conclude(end, trials)
        | {name: np.full(trials, value) for name, value in program.reference.items()},
        partial(params_of, program, block.places, curves),
        under_way(block, length.steps // length.record_every) if again else None,
    )


def params_of(
    program: Program, places: np.ndarray, curves: Sequence[TrialResult], chosen: np.ndarray
) -> list[Params]:
    """The parameters of chosen trials of a block, of their true shapes."""
    size = len(curves[0].diverged_at)
    widths = program.hparams.task["model"].get("width") if program.width else None
    made: list[Params] = [{} for _ in chosen]
    for i, curve in enumerate(curves):
        mine = np.flatnonzero(chosen // size == i)
        leaves, tree = jax.tree.flatten(curve.params)
        fetched = [rows_of(leaf, chosen[mine] % size) for leaf in leaves]
        for n, at in enumerate(mine.tolist()):
            params = jax.tree.unflatten(tree, [leaf[n] for leaf in fetched])
            if widths is not None:
                params = unpadded(params, int(widths[places[chosen[at]]]))
            made[at] = {
                leaf_name(path): np.asarray(leaf)
                for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
            }
    return made


def rows_of(leaf: Any, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array on the devices; no more than these come to the host, where they are few."""
    found = np.empty((len(rows), *leaf.shape[1:]), leaf.dtype)
    for shard in leaf.addressable_shards:
        begin, end, _ = shard.index[0].indices(leaf.shape[0])
        mine = np.flatnonzero((rows >= begin) & (rows < end))
        if shard.device.platform == "cpu" or 4 * len(mine) > end - begin:
            found[mine] = np.asarray(shard.data)[rows[mine] - begin]
        else:
            for i in mine.tolist():
                found[i] = np.asarray(shard.data[int(rows[i]) - begin])
    return found


def leaf_name(path: Any) -> str:
    """What an array of a model's parameters is called: the keys to it, with dots between."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "params"
