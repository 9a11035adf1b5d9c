"""Many trials in one compiled program: the only place that knows the trial axis."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.sharding import Mesh, PartitionSpec

from vsweep.descent.loop import Curve, Length, train
from vsweep.descent.optimizer import make_optimizer
from vsweep.tasks.task import Data, MakeTask, kept_dtype

# NumPy on the host, JAX on a device, tracers inside a program.
Leaf: TypeAlias = Any


@dataclass(frozen=True)
class Static:
    """What a program is compiled for; a new value is a new compile.

    task: makes a trial's task from its traced fields. dtype, precision: of matrix products.
    """

    task: MakeTask
    optimizer: str
    schedule: str
    length: Length
    dtype: str = "float32"
    precision: str = "highest"


class HParams(NamedTuple):
    """What differs between the trials of one program; traced, each leaf `(trials,)`.

    seed: uint32. diverge_above and the fields of optimizer and schedule: floating. task: the traced
    fields of the task's parts.
    """

    seed: Leaf
    diverge_above: Leaf
    task: Mapping[str, Mapping[str, Leaf]]
    optimizer: Mapping[str, Leaf]
    schedule: Mapping[str, Leaf]


@contextmanager
def numerics(static: Static) -> Iterator[None]:
    """The context in which a program is traced, and its arguments are made."""
    with (
        jax.default_matmul_precision(static.precision),
        jax.enable_x64(static.dtype == "float64"),
        # Draws of which a prefix is a shorter draw: what padding rests on, whatever the person has set.
        jax.threefry_partitionable(True),  # noqa: FBT003
    ):
        yield


def train_one(static: Static, hparams: HParams, data: Data) -> Curve:
    """One trial: `hparams` of scalars."""
    as_dtype = partial(_as_dtype, jnp.dtype(kept_dtype(static.dtype)))
    hparams, data = jax.tree.map(as_dtype, (hparams, data))
    optimizer = make_optimizer(
        static.optimizer,
        static.schedule,
        static.length.steps,
        dict(hparams.optimizer),
        dict(hparams.schedule),
    )
    task, key = static.task(hparams.task), random.key(hparams.seed, impl="threefry2x32")
    return train(task, optimizer, data, static.length, hparams.diverge_above, key)


def _as_dtype(dtype: Any, x: Array) -> Array:
    return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


def compile_block(
    static: Static, hparams: HParams, data: Data, *, lanes: int, mesh: Mesh
) -> Callable[[HParams, Data], Curve]:
    """Compile the training of a block of trials.

    static: what to compile for. hparams, data: examples of the arguments; only shapes and dtypes
    matter. lanes: how many trials go side by side (`vmap`) at a time; the others follow one another
    (`lax.map`) in the same program. mesh: one axis, `trials`, over which the block is split. The
    block's size divided by the number of devices must be a multiple of lanes.

    Returns a function of `(hparams, data)` that gives a `Curve` whose leaves begin with `(trials,)`.
    """

    def block(hparams: HParams, data: Data) -> Curve:
        one = partial(train_one, static, data=data)
        return lax.map(one, hparams, batch_size=lanes if lanes > 1 else None)

    spread = PartitionSpec("trials")
    many = jax.shard_map(
        block, mesh=mesh, in_specs=(spread, PartitionSpec()), out_specs=spread, check_vma=False
    )
    with numerics(static):
        return jax.jit(many).lower(hparams, data).compile()
