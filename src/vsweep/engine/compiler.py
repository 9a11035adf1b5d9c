"""Compile programs in the background, and put their data on the devices."""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vsweep.engine.devices import free_bytes
from vsweep.engine.kernel_launch import fused_call
from vsweep.engine.plan import Program
from vsweep.engine.tuning.cost_model import Arrangement
from vsweep.tasks.task import Data
from vsweep.training.loop import TrialResult, loop_of_record
from vsweep.training.program import HParams, precision_context
from vsweep.training.vectorize import FusedBlock, compile_block, compile_fused

# The share of a device's free memory that a block may be predicted to take.
_SHARE = 0.9
# At most this many executables are kept: a sweep may have thousands of programs, and memory does not hold an
# executable for each.
_KEPT = 16
# The examples of so many splits stay on the devices: those that train, and those of programs compiled ahead.
_KEPT_DATA = 4


class CompiledProgram(NamedTuple):
    """A program that can be called.

    Attributes:
        call: A function that trains a block, or one segment of it.
        start: A function that makes the state of the first segment; None for a whole training.
        data: The examples, on the devices.
        arrangement: The arrangement that it was compiled for.
        device_bytes: The bytes that a call takes on each device.
    """

    call: Callable[..., TrialResult]
    start: Any
    data: Data
    arrangement: Arrangement
    device_bytes: int


class Compiler:
    """Compiles programs, some at a time, in threads of its own."""

    def __init__(self, mesh: Mesh, note: Callable[[Program, float], None] | None = None) -> None:
        """Start no thread yet.

        Args:
            mesh: The devices to compile for.
            note: A callback that gets each program that was compiled, and the seconds.
        """
        self._mesh, self._note = mesh, note
        self._pool = ThreadPoolExecutor(2, "vsweep-compile")
        self._lock = Lock()
        self._executables: dict[Hashable, Future[tuple[Any, Any]]] = {}
        self._data: dict[Hashable, Data] = {}

    def close(self) -> None:
        """Start no more compilations, and do not wait for those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def compile(self, program: Program, arrangement: Arrangement) -> CompiledProgram:
        """Compile a program in the largest arrangement, up to the given one, that fits in memory."""
        while True:
            call, start = self.start(program, arrangement).result()
            needed = device_bytes(call)
            smaller = arrangement.smaller(self._mesh.devices.size)
            if smaller is None or needed <= _SHARE * free_bytes(self._mesh):
                return CompiledProgram(call, start, self._on_devices(program), arrangement, needed)
            arrangement = smaller

    def start(self, program: Program, arrangement: Arrangement) -> "Future[tuple[Any, Any]]":
        """Start to compile a program, unless its compilation was started before.

        Programs that differ only in the values of their data share an executable.

        Returns:
            A future of two executables, for the training and for its start.
        """
        data = self._on_devices(program)
        hparams = block_hparams(program, np.zeros(arrangement.block, np.int64))
        leaves, tree = jax.tree.flatten((hparams, data))
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        key = program.static, program.segment, arrangement, tree, shapes
        with self._lock:
            if key not in self._executables:
                compiled = self._pool.submit(self._compiled, program, arrangement, hparams, data)
                self._executables[key] = compiled
            while len(self._executables) > _KEPT:
                del self._executables[next(iter(self._executables))]
            return self._executables[key]

    def _compiled(
        self, program: Program, arrangement: Arrangement, hparams: HParams, data: Data
    ) -> tuple[Any, Any]:
        began = time.perf_counter()
        layout: Any = {"vmap_size": arrangement.vmap_size, "single_kernel": arrangement.single_kernel}
        shapes = self._placed(hparams, PartitionSpec("trials"))
        compile_part = partial(compile_block, program.static, shapes, data, mesh=self._mesh, **layout)
        start: Any = None
        segment: tuple[Any, ...] = ()
        if program.segment:
            start = compile_part(only_start=True)
            with precision_context(program.static):
                state = start(hparams, data)
            segment = state, self._placed(loop_index(program, 0), PartitionSpec())
        if program.kernel is None:
            call: Any = compile_part(*segment)
        else:
            run = fused_call(program.kernel, program.static.length, self._mesh.devices.flat)
            sizes: Any = {"kernel": program.kernel, "run": run, "vmap_size": arrangement.vmap_size}
            call = compile_fused(program.static, shapes, data, *segment, mesh=self._mesh, **sizes)
        if self._note:
            with self._lock:
                self._note(program, time.perf_counter() - began)
        return call, start

    def _placed(self, leaves: Any, spec: PartitionSpec) -> Any:
        """Return the shapes of arrays of the host that calls put on the devices."""
        sharding = NamedSharding(self._mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), leaves)

    def _on_devices(self, program: Program) -> Data:
        # Own models and losses take the same targets as they are, and others take them scaled.
        key = program.inputs.key, program.inputs.target, program.hparams.diverge_above.dtype
        with self._lock:
            if key not in self._data:
                with precision_context(program.static):
                    everywhere = NamedSharding(self._mesh, PartitionSpec())
                    self._data[key] = jax.device_put(program.inputs.arrays, everywhere)
            while len(self._data) > _KEPT_DATA:
                del self._data[next(iter(self._data))]
            return self._data[key]


def block_hparams(program: Program, places: np.ndarray) -> HParams:
    """Return the hyperparameters of the trials at these places, int64 `(trials,)`.

    They stay on the host: a call puts its arguments on the devices in a tenth of the time of `device_put`.
    """
    return jax.tree.map(lambda leaf: leaf[places], program.hparams)


def loop_index(program: Program, record: int) -> np.ndarray:
    """Return the indices of the loops of a segment, int32 `(records,)`.

    Args:
        program: The program.
        record: The place of the segment's first record.
    """
    index = loop_of_record(program.static.length)[record : record + program.segment]
    padded = np.zeros(program.segment, np.int32)
    padded[: len(index)] = index
    return padded


def device_bytes(executable: Any) -> int:
    """Return the bytes that calls take on each device, as the compiler predicts; 0 where it does not say.

    The outputs of three calls are counted: one is being stored, one waits, and one is computed.
    """
    if isinstance(executable, FusedBlock):
        return max(map(device_bytes, executable))
    try:
        memory = executable.memory_analysis()
        return int(
            memory.temp_size_in_bytes
            + memory.argument_size_in_bytes
            + 3 * memory.output_size_in_bytes
            - memory.alias_size_in_bytes
        )
    except (AttributeError, TypeError, jax.errors.JaxRuntimeError):
        return 0
