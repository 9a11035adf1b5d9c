"""Train many trials in one compiled program; only this module has arrays with a trial axis."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.sharding import Mesh, PartitionSpec

from vsweep.tasks.task import Data, MakeTask, param_dtype
from vsweep.training import loop
from vsweep.training.loop import TrainingLength, TrainState, Trial, TrialResult
from vsweep.training.optimizers import make_optimizer

# The version of the numerical results; a change that moves a curve by more than rounding has to raise it.
NUMERICS = 1

# A leaf is a NumPy array on the host, a JAX array on a device, and a tracer inside a program.
Leaf: TypeAlias = Any


@dataclass(frozen=True)
class Static:
    """The values that a program is compiled for; a new value needs a new compilation.

    Attributes:
        task: The maker of a trial's task from its traced fields.
        optimizer: The name of the optimizer.
        schedule: The name of the schedule.
        length: The length of a trial.
        dtype: The dtype of the model's products.
        precision: The precision of matrix products, as in `jax.default_matmul_precision`.
    """

    task: MakeTask
    optimizer: str
    schedule: str
    length: TrainingLength
    dtype: str = "float32"
    precision: str = "highest"


class HParams(NamedTuple):
    """The values that differ between the trials of a program; traced, each leaf `(trials, ...)`.

    Attributes:
        seed: Uint32, the seed of the trial.
        twin: Bool, whether the trial's first weights are moved by one unit in the last place of the products'
            dtype, to see how far rounding carries the curve.
        diverge_above: Floating, see `loop.Trial`.
        task: The traced fields of `model` and `loss`, by name.
        optimizer: Floating, the traced fields of the optimizer, by name.
        schedule: Floating, the traced fields of the schedule, by name.
    """

    seed: Leaf
    twin: Leaf
    diverge_above: Leaf
    task: Mapping[str, Mapping[str, Leaf]]
    optimizer: Mapping[str, Leaf]
    schedule: Mapping[str, Leaf]


@contextmanager
def precision_context(static: Static) -> Iterator[None]:
    """Set the precision in which a program is traced and its arguments are made."""
    with (
        jax.default_matmul_precision(static.precision),
        jax.enable_x64(static.dtype == "float64"),
        # Padding needs draws whose prefix is a shorter draw, so this overrides the user's setting.
        jax.threefry_partitionable(True),  # noqa: FBT003
    ):
        yield


def _trial(static: Static, hparams: HParams, data: Data) -> Trial:
    """Assemble one trial; the leaves of `hparams` have no trial axis."""
    dtype = jnp.dtype(param_dtype(static.dtype))

    def cast(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    hparams, data = jax.tree.map(cast, (hparams, data))
    numbers = hparams.optimizer, hparams.schedule
    optimizer = make_optimizer(static.optimizer, static.schedule, static.length.steps, *numbers)
    task, key = static.task(hparams.task), random.key(hparams.seed, impl="threefry2x32")
    return Trial(task, optimizer, data, static.length, hparams.diverge_above, key, static.task.draw)


def train_one(static: Static, hparams: HParams, data: Data, *, branches: bool = True) -> TrialResult:
    """Train one trial whole, see `loop.train`; the leaves of `hparams` have no trial axis."""
    return loop.train(_trial(static, hparams, data), hparams.twin, branches=branches)


def start_one(static: Static, hparams: HParams, data: Data) -> TrainState:
    """Return one trial's first state; the leaves of `hparams` have no trial axis."""
    return loop.start(_trial(static, hparams, data), hparams.twin)


def lower_block(
    static: Static,
    hparams: HParams,
    data: Data,
    *segment: Any,
    vmap_size: int,
    mesh: Mesh,
    only_start: bool = False,
    platforms: tuple[str, ...] = (),
) -> jax.stages.Lowered:
    """Lower the training of a block of trials.

    The lowered function takes `(hparams, data, *segment)` and returns a `TrialResult`, or for the start a
    `TrainState`, whose leaves begin with `(trials,)`.

    Args:
        static: The values to compile for.
        hparams: An example of the argument, leaves `(trials, ...)`; shapes, dtypes and shardings matter.
        data: An example of the argument.
        segment: Nothing to train whole trials; otherwise the state `(trials, ...)` that a segment begins
            with, and the loop index, int32 `(records,)`, see `loop.advance`.
        vmap_size: The trials that train side by side (`vmap`); the others follow one another (`lax.map`) in
            the same program. The trials of a device must be a multiple of it.
        mesh: One axis, `trials`, over which the block is split.
        only_start: Return the first state of each trial, and train none.
        platforms: The platforms to lower for, of `cpu`, `cuda`, `tpu`; empty for that of the mesh.
    """
    # The branches of a CPU cost nothing, and its compiler takes longer for the larger program.
    branches = set(platforms or (mesh.devices.flat[0].platform,)) == {"cpu"}

    def block(hparams: HParams, data: Data, *segment: Any) -> Any:
        def one(trial: Any) -> Any:
            if segment:
                return loop.advance(_trial(static, trial[0], data), trial[1], segment[1])
            if only_start:
                return start_one(static, trial, data)
            return train_one(static, trial, data, branches=branches)

        trials = (hparams, segment[0]) if segment else hparams
        return lax.map(one, trials, batch_size=vmap_size if vmap_size > 1 else None)

    spread, everywhere = PartitionSpec("trials"), PartitionSpec()
    specs = (spread, everywhere, spread, everywhere)[: 2 + len(segment)]
    sharded = jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)
    with precision_context(static):
        traced = jax.jit(sharded).trace(hparams, data, *segment)
        return traced.lower(lowering_platforms=platforms or None)


def compile_block(
    static: Static, *arguments: Any, mesh: Mesh, single_kernel: bool = False, **layout: Any
) -> jax.stages.Compiled:
    """Compile the training of a block of trials; see `lower_block` for the arguments.

    `single_kernel` tells whether a CPU should run a trial as one kernel, without a library's products.
    """
    lowered = lower_block(static, *arguments, mesh=mesh, **layout)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = (_ONE_KERNEL if single_kernel else _LIBRARY_CALLS) if on_cpu else None
    with precision_context(static):
        try:
            return lowered.compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            # These options come and go with the versions of XLA, and they affect only speed.
            if not on_cpu or "option" not in str(error):
                raise
            return lowered.compile()


# Options of XLA's CPU compiler. A loop without a library call becomes one kernel, where `devices.prepare` has
# raised the bound on its size. A loop with such calls must not: its products would become plain loops.
_ONE_KERNEL: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}
_LIBRARY_CALLS: dict[str, str | bool] = {"xla_disable_hlo_passes": "small-while-loop-hoisting"}
