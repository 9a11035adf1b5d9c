"""Many trials in one compiled program: the only place that knows the trial axis."""

from collections.abc import Iterator, Mapping
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


def lower_block(
    static: Static, hparams: HParams, data: Data, *, lanes: int, mesh: Mesh, platforms: tuple[str, ...] = ()
) -> jax.stages.Lowered:
    """Lower the training of a block of trials.

    static: what to compile for. hparams, data: examples of the arguments; only shapes, dtypes and
    shardings matter. lanes: how many trials go side by side (`vmap`) at a time; the others follow one
    another (`lax.map`) in the same program. mesh: one axis, `trials`, over which the block is split.
    The block's size divided by the number of devices must be a multiple of lanes. platforms: to lower
    for, of `cpu`, `cuda`, `tpu`; that of the mesh where it is empty.

    What it compiles to is a function of `(hparams, data)` that gives a `Curve` whose leaves begin with
    `(trials,)`.
    """

    def block(hparams: HParams, data: Data) -> Curve:
        one = partial(train_one, static, data=data)
        return lax.map(one, hparams, batch_size=lanes if lanes > 1 else None)

    spread = PartitionSpec("trials")
    many = jax.shard_map(
        block, mesh=mesh, in_specs=(spread, PartitionSpec()), out_specs=spread, check_vma=False
    )
    with numerics(static):
        traced = jax.jit(many).trace(hparams, data)
        return traced.lower(lowering_platforms=platforms or None)


def compile_block(
    static: Static, hparams: HParams, data: Data, *, lanes: int, mesh: Mesh, fused: bool = False
) -> jax.stages.Compiled:
    """Compile what `lower_block` lowers.

    fused: whether a CPU should run a trial as one kernel, without a library's products.
    """
    lowered = lower_block(static, hparams, data, lanes=lanes, mesh=mesh)
    with numerics(static):
        if mesh.devices.flat[0].platform != "cpu":
            return lowered.compile()
        try:
            return lowered.compile(compiler_options=_FUSED if fused else _APART)
        except jax.errors.JaxRuntimeError as error:
            # These options come and go with XLA's versions, and concern speed alone.
            if "option" not in str(error):
                raise
            return lowered.compile()


# Of the options of XLA's CPU compiler: a loop that holds no library call becomes one kernel, where
# `devices.prepare` has raised the bound on its size; one that does must not, since its products would be
# compiled as plain loops.
_FUSED: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}
_APART: dict[str, str | bool] = {"xla_disable_hlo_passes": "small-while-loop-hoisting"}
