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
from vsweep.engine.inputs import arrays
from vsweep.engine.plan import Program
from vsweep.engine.tuning.layout import Arrangement
from vsweep.tasks.task import Data
from vsweep.training.loop import TrialResult, loop_of_record
from vsweep.training.vectorize import HParams, Part, compile_block, precision_context

# The share of a device's free memory that a block may be predicted to take.
_SHARE = 0.9
# The executables that are kept for programs that differ in the values of their data alone: a sweep may have
# thousands of such programs, and memory does not hold an executable for each.
_KEPT = 16


class CompiledProgram(NamedTuple):
    """A program that can be called.

    Attributes:
        call: A function that trains a block, or one segment of it.
        start: A function that makes the state of the first segment; None for a whole training.
        data: The examples, on the devices.
        arrangement: The arrangement that it was compiled for.
        compile_s: The seconds that compiling took.
        device_bytes: The bytes that a call takes on each device.
    """

    call: Callable[..., TrialResult]
    start: Any
    data: Data
    arrangement: Arrangement
    compile_s: float
    device_bytes: int


class Compiler:
    """Compiles each program of a plan once for an arrangement, some at a time, in threads of its own."""

    def __init__(self, mesh: Mesh) -> None:
        """Start no thread yet; programs are compiled for the devices of the mesh."""
        self._mesh = mesh
        self._pool = ThreadPoolExecutor(2, "vsweep-compile")
        self._lock = Lock()
        self._started: dict[tuple[int, Arrangement], Future[CompiledProgram]] = {}
        self._executables: dict[Hashable, Future[Any]] = {}
        self._data: dict[Hashable, Data] = {}

    def start(self, program: Program, arrangement: Arrangement) -> "Future[CompiledProgram]":
        """Begin to compile a program, unless that has begun."""
        key = program.number, arrangement
        with self._lock:
            if key not in self._started:
                self._started[key] = self._pool.submit(self.compile, program, arrangement)
            return self._started[key]

    def drop(self, program: Program) -> None:
        """Release a program that is done."""
        with self._lock:
            for key in [key for key in self._started if key[0] == program.number]:
                del self._started[key]

    def close(self) -> None:
        """Begin no more compiles, and do not wait for those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def compile(self, program: Program, arrangement: Arrangement) -> CompiledProgram:
        """Compile a program for the largest arrangement, up to this one, that fits the memory."""
        began = time.perf_counter()
        while True:
            executable, start, data = self._executable(program, arrangement)
            needed = device_bytes(executable)
            smaller = arrangement.smaller(self._mesh.devices.size)
            if smaller is None or needed <= _SHARE * free_bytes(self._mesh):
                break
            arrangement = smaller
        return CompiledProgram(executable, start, data, arrangement, time.perf_counter() - began, needed)

    def _executable(self, program: Program, arrangement: Arrangement) -> tuple[Any, Any, Data]:
        """Return the executables of the training and of its start, and the data.

        Programs that differ in the values of their data alone share them.
        """
        data = self._on_devices(program)
        hparams = block_hparams(program, self._mesh, np.zeros(arrangement.block, np.int64))
        leaves, tree = jax.tree.flatten((hparams, data))
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        key = program.static, program.segment, arrangement, tree, shapes
        with self._lock:
            is_new = key not in self._executables
            future = self._executables.setdefault(key, Future())
            while len(self._executables) > _KEPT:
                del self._executables[next(iter(self._executables))]
        if is_new:
            try:
                future.set_result(self._compiled(program, arrangement, hparams, data))
            except BaseException as error:
                with self._lock:
                    self._executables.pop(key, None)
                future.set_exception(error)
        return *future.result(), data

    def _compiled(
        self, program: Program, arrangement: Arrangement, hparams: HParams, data: Data
    ) -> tuple[Any, Any]:
        layout: Any = {"vmap_size": arrangement.vmap_size, "single_kernel": arrangement.single_kernel}
        compile_part = partial(compile_block, program.static, hparams, data, mesh=self._mesh, **layout)
        if not program.segment:
            return compile_part(), None
        start = compile_part(part=Part.START)
        segment = start(hparams, data), loop_index(program, 0, self._mesh)
        return compile_part(*segment, part=Part.SEGMENT), start

    def _on_devices(self, program: Program) -> Data:
        floating = program.hparams.diverge_above.dtype
        key = program.inputs.key, str(floating)
        with self._lock:
            if key not in self._data:
                everywhere = NamedSharding(self._mesh, PartitionSpec())
                with precision_context(program.static):
                    self._data[key] = jax.device_put(arrays(program.inputs.split, floating), everywhere)
            return self._data[key]


def block_hparams(program: Program, mesh: Mesh, places: np.ndarray) -> HParams:
    """Put the hyperparameters of the trials at these places, int64 `(trials,)`, on the devices."""
    return on_devices(program, mesh, jax.tree.map(lambda leaf: leaf[places], program.hparams))


def loop_index(program: Program, record: int, mesh: Mesh) -> Any:
    """Put the indices of the loops of a segment, int32 `(records,)`, on the devices.

    Args:
        program: The program.
        record: The place of the segment's first record.
        mesh: The devices.
    """
    index = loop_of_record(program.static.length)[record : record + program.segment]
    padded = np.zeros(program.segment, np.int32)
    padded[: len(index)] = index
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec()))


def on_devices(program: Program, mesh: Mesh, leaves: Any) -> Any:
    """Put leaves of `(trials, ...)` on the devices that train them."""
    with precision_context(program.static):
        return jax.device_put(leaves, NamedSharding(mesh, PartitionSpec("trials")))


def device_bytes(executable: Any) -> int:
    """Return the bytes that calls take on each device, as the compiler predicts; 0 where it does not say.

    The outputs of three calls are counted: one is being stored, one waits, and one is computed.
    """
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
