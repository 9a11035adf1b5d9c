"""The arguments of the fused kernel, and its results, for one trial."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vsweep.tasks.task import Data, Metrics
from vsweep.training.loop import TrainState, curve_metrics
from vsweep.training.optimizers import make_step_size
from vsweep.training.program import HParams, Static


class TrialArguments(NamedTuple):
    """The arguments that differ between the trials of a launch, see `Arguments` in `kernel.cu`.

    Attributes:
        step: Int32 scalar, the number of updates so far.
        params: Float32 `(params,)`, the leaves of the parameters one after another.
        moments: Float32 `(moments, params)`, the optimizer's moments in the same order; at least one row.
        limit: Float32 scalar, see `TrainState`.
        diverged_at: Int32 scalar, see `TrainState`.
        rates: Float32 `(steps,)`, minus the learning rates; `(1,)` if they are all the same.
        numbers: Float32 `(6,)`, the other hyperparameters.
        width: Int32 scalar, the true width; 0 without a hidden layer.
    """

    step: Array
    params: Array
    moments: Array
    limit: Array
    diverged_at: Array
    rates: Array
    numbers: Array
    width: Array


class TrialOutputs(NamedTuple):
    """The results of a launch, in the order of `Arguments` in `kernel.cu`.

    Attributes:
        metrics: Float32 `(records, metrics)`.
        params: As in `TrialArguments`.
        moments: As in `TrialArguments`.
        limit: Float32 scalar.
        diverged_at: Int32 scalar.
    """

    metrics: Any
    params: Any
    moments: Any
    limit: Any
    diverged_at: Any


# The names of an optimizer's rates of decay.
_FIRST_DECAY, _SECOND_DECAY = ("momentum", "b1", "decay"), ("b2",)


def pack(static: Static, hparams: HParams, state: TrainState) -> TrialArguments:
    """Return the arguments of a trial; the leaves of `hparams` and `state` have no trial axis."""
    steps, fields = static.length.steps, hparams.optimizer
    step_size = make_step_size(static.schedule, steps, fields["lr"], hparams.schedule)
    counts = jnp.arange(1 if static.schedule == "constant" else steps, dtype=jnp.int32)
    zero = jnp.zeros((), jnp.float32)

    def number(values: Any, *names: str) -> Array:
        return next((jnp.asarray(values[name]) for name in names if name in values), zero)

    numbers = [
        hparams.diverge_above,
        number(fields, *_FIRST_DECAY),
        number(fields, *_SECOND_DECAY),
        number(fields, "eps"),
        number(fields, "weight_decay"),
        number(hparams.task["loss"], "eps", "delta"),
    ]
    moments = [_flat(moment) for moment in _moments(state)] or [jnp.zeros_like(_flat(state.params))]
    return TrialArguments(
        state.step,
        _flat(state.params),
        jnp.stack(moments),
        state.limit,
        state.diverged_at,
        jax.vmap(step_size)(counts),
        jnp.stack([jnp.asarray(value, jnp.float32) for value in numbers]),
        jnp.asarray(hparams.task["model"].get("width", 0), jnp.int32),
    )


def pack_data(data: Data) -> tuple[Array, ...]:
    """Return the arguments that all trials share: x and y for the training, then held out, and the counts."""
    val = data.train if data.val is None else data.val
    counts = jnp.stack([jnp.int32(part.real) for part in (data.train, val)])
    return data.train.x, data.train.y, val.x, val.y, counts


def unpack(
    static: Static, state: TrainState, outputs: TrialOutputs, *, held_out: bool
) -> tuple[TrainState, Metrics]:
    """Return a trial's state after a launch, and its curve, each metric `(records,)`.

    Args:
        static: The values that the program is compiled for.
        state: The state before the launch.
        outputs: The results of the launch.
        held_out: Whether examples are held out for validation.
    """
    records, length = outputs.metrics.shape[0], static.length
    step = jnp.minimum(state.step + records * length.record_every, length.steps).astype(jnp.int32)
    is_moment, rows = _is_like(state.params), iter(outputs.moments)
    leaves, tree = jax.tree.flatten(state.optimizer, is_leaf=is_moment)
    values = [_tree(next(rows), leaf) if is_moment(leaf) else step.astype(leaf.dtype) for leaf in leaves]
    names = curve_metrics(static.task, held_out=held_out)
    return TrainState(
        step=step,
        params=_tree(outputs.params, state.params),
        optimizer=jax.tree.unflatten(tree, values),
        order=state.order,
        limit=outputs.limit,
        diverged_at=outputs.diverged_at,
    ), {name: outputs.metrics[:, i] for i, name in enumerate(names)}


def _is_like(params: Any) -> Callable[[Any], bool]:
    structure: Any = jax.tree.structure(params)
    return lambda node: bool(structure == jax.tree.structure(node))


def _moments(state: TrainState) -> list[Any]:
    """Return the parts of the optimizer's state that are like the parameters, in order."""
    is_moment = _is_like(state.params)
    return [leaf for leaf in jax.tree.leaves(state.optimizer, is_leaf=is_moment) if is_moment(leaf)]


def _flat(tree: Any) -> Array:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def _tree(flat: Array, like: Any) -> Any:
    """Return a tree of arrays from its numbers one after another."""
    leaves, structure = jax.tree.flatten(like)
    ends = [sum(leaf.size for leaf in leaves[: i + 1]) for i in range(len(leaves))]
    parts = jnp.split(flat, ends[:-1])
    return jax.tree.unflatten(
        structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )
