"""Train many trials in one compiled program; only this module has arrays with a trial axis."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.sharding import Mesh, PartitionSpec

from vsweep.tasks.task import Data, param_dtype
from vsweep.training import loop
from vsweep.training.fused.arrays import TrialArguments, TrialOutputs, pack, pack_data, unpack
from vsweep.training.fused.kernel import Kernel
from vsweep.training.loop import TrainState, Trial, TrialResult, recorded_steps
from vsweep.training.optimizers import make_optimizer
from vsweep.training.program import HParams, Static, precision_context


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
        return _over_trials(one, trials, vmap_size)

    sharded = jax.jit(
        _over_devices(block, mesh, (_SPREAD, _EVERYWHERE, _SPREAD, _EVERYWHERE)[: 2 + len(segment)])
    )
    with precision_context(static):
        return sharded.trace(hparams, data, *segment).lower(lowering_platforms=platforms or None)


_SPREAD, _EVERYWHERE = PartitionSpec("trials"), PartitionSpec()


def _over_trials(one: Callable[[Any], Any], trials: Any, vmap_size: int) -> Any:
    return lax.map(one, trials, batch_size=vmap_size if vmap_size > 1 else None)


def _over_devices(
    block: Callable[..., Any], mesh: Mesh, specs: tuple[PartitionSpec, ...]
) -> Callable[..., Any]:
    return jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=_SPREAD, check_vma=False)


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


class FusedBlock(NamedTuple):
    """Three programs that train a block of trials, of which the second is one launch of a kernel.

    Only that one calls back to the host, so that the others are kept in the persistent cache.

    Attributes:
        begin: `(hparams, data, *state) -> (state, arguments)`, from the first weights or a state.
        launch: `(arguments, data) -> outputs`.
        end: `(hparams, data, state, outputs) -> TrialResult`.
    """

    begin: jax.stages.Compiled
    launch: jax.stages.Compiled
    end: jax.stages.Compiled

    def __call__(self, hparams: HParams, data: Data, *segment: Any) -> TrialResult:
        """Train a block; a segment is the state `(trials, ...)` that it begins with, and the loop index."""
        state, arguments = self.begin(hparams, data, *segment[:1])
        return self.end(hparams, data, state, self.launch(arguments, data))


def compile_fused(
    static: Static,
    hparams: HParams,
    data: Data,
    *segment: Any,
    kernel: Kernel,
    run: Callable[..., None],
    vmap_size: int,
    mesh: Mesh,
) -> FusedBlock:
    """Compile the training of a block of trials as one launch of a kernel.

    Args:
        static: The values to compile for.
        hparams: See `lower_block`.
        data: See `lower_block`.
        segment: See `lower_block`.
        kernel: The kernel.
        run: A callback that launches it, see `buffer_callback`; it takes the context, `TrialOutputs`,
            `TrialArguments` and the arrays of `pack_data`.
        vmap_size: The trials that start and end side by side.
        mesh: See `lower_block`.
    """
    # It is experimental, and a version of JAX without it still trains all else.
    from jax.experimental.buffer_callback import buffer_callback

    records = len(segment[1]) if segment else len(recorded_steps(static.length))
    held_out = data.val is not None

    def begin(hparams: HParams, data: Data, *state: Any) -> Any:
        def one(trial: Any) -> Any:
            first = trial[1] if state else start_one(static, trial[0], data)
            return first, pack(static, trial[0], first)

        return _over_trials(one, (hparams, *state), vmap_size)

    def launch(arguments: TrialArguments, data: Data) -> TrialOutputs:
        shapes = TrialOutputs(
            jax.ShapeDtypeStruct((len(arguments.step), records, kernel.metrics), jnp.float32),
            *(jax.typeof(getattr(arguments, name)) for name in TrialOutputs._fields[1:]),
        )
        return buffer_callback(run, shapes)(arguments, pack_data(data))

    def end(hparams: HParams, data: Data, state: TrainState, outputs: TrialOutputs) -> Any:
        def one(trial: Any) -> TrialResult:
            own, first, results = trial
            last, metrics = unpack(static, first, results, held_out=held_out)
            result = loop.conclude(_trial(static, own, data), last, metrics)
            return result if segment else result._replace(state=None)

        return _over_trials(one, (hparams, state, outputs), vmap_size)

    with precision_context(static):
        first = jax.jit(_over_devices(begin, mesh, (_SPREAD, _EVERYWHERE, _SPREAD)[: 2 + bool(segment)]))
        begun = first.lower(hparams, data, *segment[:1]).compile()
        state, arguments = jax.tree.map(_like, begun.out_info, begun.output_shardings)
        launched = (
            jax.jit(_over_devices(launch, mesh, (_SPREAD, _EVERYWHERE))).lower(arguments, data).compile()
        )
        outputs = jax.tree.map(_like, launched.out_info, launched.output_shardings)
        last = jax.jit(_over_devices(end, mesh, (_SPREAD, _EVERYWHERE, _SPREAD, _SPREAD)))
        return FusedBlock(begun, launched, last.lower(hparams, data, state, outputs).compile())


def _like(array: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
