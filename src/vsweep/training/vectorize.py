"""Many trials in one compiled program: the only place that knows the trial axis."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.sharding import Mesh, PartitionSpec

from vsweep.tasks.task import Data, MakeTask, param_dtype
from vsweep.training import loop
from vsweep.training.loop import TrainingLength, TrainState, Trial, TrialResult
from vsweep.training.optimizers import make_optimizer

# The version of the numbers: to be raised where a change moves a curve by more than rounding.
NUMERICS = 1

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
    length: TrainingLength
    dtype: str = "float32"
    precision: str = "highest"


class HParams(NamedTuple):
    """What differs between the trials of one program; traced, each leaf `(trials,)`.

    seed: uint32. twin: bool, whether the trial's first weights are moved by one unit in the last place, to
    see how far rounding carries it. diverge_above and the fields of optimizer and schedule: floating. task:
    the traced fields of the task's parts.
    """

    seed: Leaf
    twin: Leaf
    diverge_above: Leaf
    task: Mapping[str, Mapping[str, Leaf]]
    optimizer: Mapping[str, Leaf]
    schedule: Mapping[str, Leaf]


@contextmanager
def precision_context(static: Static) -> Iterator[None]:
    """The context in which a program is traced, and its arguments are made."""
    with (
        jax.default_matmul_precision(static.precision),
        jax.enable_x64(static.dtype == "float64"),
        # Draws of which a prefix is a shorter draw: what padding rests on, whatever the person has set.
        jax.threefry_partitionable(True),  # noqa: FBT003
    ):
        yield


def _trial(static: Static, hparams: HParams, data: Data) -> Trial:
    """One trial: `hparams` of scalars."""
    as_dtype = partial(_as_dtype, jnp.dtype(param_dtype(static.dtype)))
    hparams, data = jax.tree.map(as_dtype, (hparams, data))
    optimizer = make_optimizer(
        static.optimizer,
        static.schedule,
        static.length.steps,
        dict(hparams.optimizer),
        dict(hparams.schedule),
    )
    task, key = static.task(hparams.task), random.key(hparams.seed, impl="threefry2x32")
    return Trial(task, optimizer, data, static.length, hparams.diverge_above, key, static.task.draw)


def train_one(static: Static, hparams: HParams, data: Data) -> TrialResult:
    """One trial, whole: `hparams` of scalars."""
    return loop.train(_trial(static, hparams, data), hparams.twin)


def start_one(static: Static, hparams: HParams, data: Data) -> TrainState:
    """One trial before its first step: `hparams` of scalars."""
    return loop.start(_trial(static, hparams, data), hparams.twin)


def advance_one(static: Static, which: Array, trial: tuple[HParams, TrainState], data: Data) -> TrialResult:
    """One trial for some records: see `loop.advance`; `hparams` and `state` of scalars."""
    hparams, state = trial
    return loop.advance(_trial(static, hparams, data), state, which)


def _as_dtype(dtype: Any, x: Array) -> Array:
    return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


class Part(Enum):
    """What of a trial a program trains: all, its first state, or a segment of its records."""

    WHOLE = "whole"
    START = "start"
    SEGMENT = "segment"


def lower_block(
    static: Static,
    hparams: HParams,
    data: Data,
    *more: Any,
    lanes: int,
    mesh: Mesh,
    part: Part = Part.WHOLE,
    platforms: tuple[str, ...] = (),
) -> jax.stages.Lowered:
    """Lower the training of a block of trials.

    static: what to compile for. hparams, data: examples of the arguments; only shapes, dtypes and
    shardings matter. more: of a segment, the state `(trials, ...)` that it begins with, and `which`, int32
    `(records,)`: see `loop.advance`. lanes: how many trials go side by side (`vmap`) at a time; the
    others follow one another (`lax.map`) in the same program. mesh: one axis, `trials`, over which the
    block is split. The block's size divided by the number of devices must be a multiple of lanes. part: of
    the training. platforms: to lower for, of `cpu`, `cuda`, `tpu`; that of the mesh where it is empty.

    The result is a function of `(hparams, data, *more)` that gives a `TrialResult`, or a `TrainState`
    from the start, whose leaves begin with `(trials,)`.
    """

    def block(hparams: HParams, data: Data, *more: Any) -> Any:
        trials: Any = hparams
        if part is Part.SEGMENT:
            state, which = more
            trials = hparams, state
            one: Any = partial(advance_one, static, which, data=data)
        else:
            whole: Any = train_one if part is Part.WHOLE else start_one
            one = partial(whole, static, data=data)
        return lax.map(one, trials, batch_size=lanes if lanes > 1 else None)

    spread, everywhere = PartitionSpec("trials"), PartitionSpec()
    specs = (spread, everywhere, spread, everywhere)[: 2 + len(more)]
    many = jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)
    with precision_context(static):
        traced = jax.jit(many).trace(hparams, data, *more)
        return traced.lower(lowering_platforms=platforms or None)


def compile_block(
    static: Static,
    hparams: HParams,
    data: Data,
    *more: Any,
    lanes: int,
    mesh: Mesh,
    part: Part = Part.WHOLE,
    fused: bool = False,
) -> jax.stages.Compiled:
    """Compile what `lower_block` lowers.

    fused: whether a CPU should run a trial as one kernel, without a library's products.
    """
    lowered = lower_block(static, hparams, data, *more, lanes=lanes, mesh=mesh, part=part)
    with precision_context(static):
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
