"""Compiles programs in the background, and puts their data on the devices."""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
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
from vsweep.training.loop import TrialResult, segments_between_records
from vsweep.training.vectorize import HParams, Part, compile_block, precision_context

# Of the memory that a device has free, the share that a block may be predicted to take.
_SHARE = 0.9
# Executables that are kept for programs that differ in the values of their data alone: a thousand are not
# all held at once.
_KEPT = 16


class CompiledProgram(NamedTuple):
    """A program that can be called.

    call: trains a block, or, where it is cut into segments, one of them: see `lower_block`. start: makes the
    state that the first segment begins with; None of a whole training. arrangement: as it was compiled.
    device_bytes: what a call takes.
    """

    call: Callable[..., TrialResult]
    start: Any
    data: Data
    arrangement: Arrangement
    compile_s: float
    device_bytes: int


class Compiler:
    """Compiles each program once for an arrangement; threads of its own do it, some at a time."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._pool = ThreadPoolExecutor(2, "vsweep-compile")
        self._lock = Lock()
        self._started: dict[tuple[int, Arrangement], Future[CompiledProgram]] = {}
        self._executables: dict[Hashable, Future[Any]] = {}
        self._data: dict[Hashable, Data] = {}

    def start(self, program: Program, arrangement: Arrangement) -> "Future[CompiledProgram]":
        """Begin to compile a program, unless it has begun."""
        key = id(program), arrangement
        with self._lock:
            if key not in self._started:
                self._started[key] = self._pool.submit(self.compile, program, arrangement)
            return self._started[key]

    def drop(self, program: Program) -> None:
        """Let go of a program that is done."""
        with self._lock:
            self._started = {key: begun for key, begun in self._started.items() if key[0] != id(program)}

    def close(self) -> None:
        """Begin no more; what is being compiled is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def compile(self, program: Program, arrangement: Arrangement) -> CompiledProgram:
        """Compile a program, for the largest arrangement up to this one that the memory holds."""
        begun = time.perf_counter()
        while True:
            executable, start, data = self._executable(program, arrangement)
            needed = device_bytes(executable)
            smaller = arrangement.smaller(self._mesh.devices.size)
            if smaller is None or needed <= _SHARE * free_bytes(self._mesh):
                break
            arrangement = smaller
        return CompiledProgram(executable, start, data, arrangement, time.perf_counter() - begun, needed)

    def _executable(self, program: Program, arrangement: Arrangement) -> tuple[Any, Any, Data]:
        """What to call, and to start with; used again for other data of the same static and shapes."""
        static, _, lanes, fused = program.static, *arrangement
        data = self._on_devices(program)
        hparams = block_hparams(program, self._mesh, np.zeros(arrangement.block, np.int64))
        leaves, tree = jax.tree.flatten((hparams, data))
        key = static, program.segment, lanes, fused, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        with self._lock:
            begun = self._executables.get(key)
            future = self._executables.setdefault(key, Future()) if begun is None else begun
            while len(self._executables) > _KEPT:
                del self._executables[next(iter(self._executables))]
        if begun is None:
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
        options: dict[str, Any] = {"lanes": arrangement.lanes, "mesh": self._mesh, "fused": arrangement.fused}
        if not program.segment:
            return compile_block(program.static, hparams, data, **options), None
        start = compile_block(program.static, hparams, data, part=Part.START, **options)
        which = segment_of(program, 0, self._mesh)
        more = start(hparams, data), which
        return compile_block(program.static, hparams, data, *more, part=Part.SEGMENT, **options), start

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
    """The hyperparameters of a program's trials at these places, `(trials,)`, on the devices."""
    return on_devices(program, mesh, jax.tree.map(lambda leaf: leaf[places], program.hparams))


def segment_of(program: Program, record: int, mesh: Mesh) -> Any:
    """Which loops follow the records of a segment that begins at one, on the devices; int32 `(records,)`."""
    which = segments_between_records(program.static.length)[record : record + program.segment]
    padded = np.zeros(program.segment, np.int32)
    padded[: len(which)] = which
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec()))


def on_devices(program: Program, mesh: Mesh, leaves: Any) -> Any:
    """Leaves of `(trials, ...)` on the devices that train them."""
    with precision_context(program.static):
        return jax.device_put(leaves, NamedSharding(mesh, PartitionSpec("trials")))


def device_bytes(executable: Any) -> int:
    """The bytes that calls take on each device, as the compiler predicts; 0 where it does not say.

    What one gave is being stored while another waits to be, and a third is under way.
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
