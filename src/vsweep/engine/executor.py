"""Run the host's loop: compile programs ahead, and train a block while the one before it is stored."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.blocks import blocks_to_train, fetch, trained_block
from vsweep.engine.compiler import CompiledProgram, Compiler, block_hparams, loop_index
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.cost_model import Arrangement
from vsweep.engine.watchdog import Task, Watchdog, ways_out
from vsweep.errors import StuckError
from vsweep.store.blocks import PartialBlock, TrainedBlock
from vsweep.training.loop import TrialResult
from vsweep.training.program import precision_context

# At most this many blocks are dispatched and not yet fetched.
_AHEAD = 2
# The number of programs that are compiled ahead of the one that trains.
_COMPILED_AHEAD = 2


@dataclass
class TrainingStats:
    """The seconds of a sweep's training, by purpose.

    Attributes:
        compiling: The seconds of all compilations, which overlap with each other and with training.
        training: The seconds in which any block was on the devices.
        by_program: The training seconds, and the steps × trials, by the name of a program's measurements.
        cold_compiles: The programs that were not in the cache, and the seconds of each compilation.
        device_bytes: The largest number of bytes that the compiler predicted for a call.
    """

    compiling: float = 0.0
    training: float = 0.0
    by_program: dict[str, tuple[float, int]] = field(default_factory=dict)
    cold_compiles: list[tuple[Program, float]] = field(default_factory=list)
    device_bytes: int = 0
    _last: float = 0.0

    def trained(self, program: Program, trials: int, start: float, ended: float) -> None:
        """Note a block that was on the devices."""
        seconds = ended - max(start, self._last)
        self._last = ended
        self.training += seconds
        before, work = self.by_program.get(program.name, (0.0, 0))
        steps = trials * program.static.length.steps
        self.by_program[program.name] = before + seconds, work + steps

    def compiled(self, program: Program, seconds: float) -> None:
        """Note a compilation."""
        self.compiling += seconds
        # A program that was ready sooner than this was loaded from the cache.
        if seconds > 1.0:
            self.cold_compiles.append((program, seconds))


class _Called(NamedTuple):
    """The results of a block that was dispatched.

    Attributes:
        curves: The results of one call, or of several in turn.
        ready: The program that was called.
        start: The time of the first call.
        ended: The time at which the last call ended; None if calls may still be running.
    """

    curves: list[TrialResult]
    ready: CompiledProgram
    start: float
    ended: float | None


def train(
    plan: Plan,
    mesh: Mesh,
    stats: TrainingStats | None = None,
    *,
    done: np.ndarray | None = None,
    underway: Sequence[PartialBlock] = (),
    takes_block: bool = True,
) -> Iterator[TrainedBlock | PartialBlock]:
    """Train the trials of a plan and yield blocks as they finish, and between their segments.

    A block that is too large for the memory of its devices is trained in halves, and so are the later blocks
    of its program.

    Args:
        plan: The plan of the sweep.
        mesh: The devices.
        stats: The record to which the seconds are added.
        done: Bool `(trials,)`, the trials that are not to be trained.
        underway: Blocks to continue with.
        takes_block: Whether the command takes `block`, which the message on one that hangs then advises.
    """
    done = np.zeros(len(plan.grid), bool) if done is None else done
    waiting = blocks_to_train(plan, done, underway)
    run = _Run(plan, mesh, stats or TrainingStats(), waiting, takes_block=takes_block)
    try:
        yield from run.blocks()
    finally:
        run.close()


class _Run:
    def __init__(
        self,
        plan: Plan,
        mesh: Mesh,
        stats: TrainingStats,
        waiting: Iterable[tuple[Program, PartialBlock]],
        *,
        takes_block: bool,
    ) -> None:
        self._plan, self._mesh, self._stats, self._takes_block = plan, mesh, stats, takes_block
        self._compiler = Compiler(mesh, stats.compiled)
        # On a CPU a call returns when it is done: one thread calls while another stores the block before it.
        self._caller = ThreadPoolExecutor(1, "vsweep-train")
        # The main thread waits in Python alone, where it can notice that nothing happens.
        self._watchdog = Watchdog()
        self._on_cpu = mesh.devices.flat[0].platform == "cpu"
        self._arrangements = [program.arrangement for program in plan.programs]
        self._begun = 0
        self._waiting = deque(waiting)
        self._flight: deque[tuple[Program, PartialBlock, Arrangement, Future[_Called]]] = deque()
        self._ready: tuple[int, Arrangement, CompiledProgram] | None = None

    def close(self) -> None:
        """Dispatch no more blocks, and do not wait for those that run."""
        self._compiler.close()
        self._caller.shutdown(wait=False, cancel_futures=True)

    def blocks(self) -> Iterator[TrainedBlock | PartialBlock]:
        """Train the blocks and yield each when it is done; raise a failure after yielding those in flight."""
        failure: Exception | None = None
        while self._flight or (self._waiting and not failure):
            if not failure:
                self._dispatch()
            program, block, arrangement, future = self._flight.popleft()
            try:
                called = self._watchdog.result(future)
                task = self._training(program, called.ready.arrangement.block, len(called.curves))
                done = Watchdog(task).call(self._fetch, program, block, called)
            except StuckError:
                # The blocks in flight wait for the same devices.
                raise
            except Exception as error:
                if not failure and out_of_memory(error) and self._halve(program, arrangement):
                    self._waiting.appendleft((program, block))
                else:
                    failure = failure or error
                continue
            # They would keep the block's arrays on the devices.
            del future, called
            if isinstance(done, PartialBlock):
                self._waiting.appendleft((program, done))
            else:
                # Accelerators copy parameters after the block that they train meanwhile.
                done = done._replace(params=partial(self._watchdog.call, done.params))
            yield done
            # The block would keep its parameters on the devices.
            del done
        if failure:
            raise failure

    def _dispatch(self) -> None:
        while self._waiting and len(self._flight) < _AHEAD:
            program, block = self._waiting.popleft()
            arrangement = self._arrangements[program.number]
            called = self._caller.submit(self._call, program, block, arrangement)
            self._flight.append((program, block, arrangement, called))
        first = self._flight[0][0].number
        for program in self._plan.programs[max(first, self._begun) : first + 1 + _COMPILED_AHEAD]:
            self._compiler.start(program, self._arrangements[program.number])
            self._begun = program.number + 1

    def _call(self, program: Program, block: PartialBlock, arrangement: Arrangement) -> _Called:
        """Train a block or its next segment, in the thread that calls."""
        if self._ready is None or self._ready[:2] != (program.number, arrangement):
            self._watchdog.begin(self._task("compiling", program, program.compile_s, on_host=True))
            self._ready = program.number, arrangement, self._compiler.compile(program, arrangement)
        ready, trials = self._ready[2], len(block.rows)
        size = ready.arrangement.block
        start = time.perf_counter()
        curves = []
        for i in range(0, trials, size):
            within = np.resize(np.arange(i, min(i + size, trials)), size)
            within[trials - i :] = trials - 1
            self._watchdog.begin(self._training(program, size))
            curves.append(self._call_piece(program, block, ready, within))
        if not self._on_cpu:
            return _Called(curves, ready, start, None)
        jax.block_until_ready(curves)
        return _Called(curves, ready, start, time.perf_counter())

    def _training(self, program: Program, block: int, calls: int = 1) -> Task:
        return self._task("training", program, calls * call_s(program, block), on_host=self._on_cpu)

    def _task(self, verb: str, program: Program, predicted_s: float, *, on_host: bool) -> Task:
        smaller = self._arrangements[program.number].smaller(self._mesh.devices.size)
        block = smaller.block if smaller and self._takes_block else None
        name = f"{verb} program {program.number + 1} ({program.inputs.subject})"
        return Task(name, predicted_s, on_host, ways_out(self._mesh, block))

    def _call_piece(
        self, program: Program, block: PartialBlock, ready: CompiledProgram, within: np.ndarray
    ) -> TrialResult:
        places = np.searchsorted(program.rows, block.rows[within])
        hparams = block_hparams(program, places)
        with precision_context(program.static):
            if ready.start is None:
                return ready.call(hparams, ready.data)
            if block.records:
                leaves = [leaf[within] for leaf in block.state]
                state = jax.tree.unflatten(ready.start.out_tree, leaves)
            else:
                state = ready.start(hparams, ready.data)
            return ready.call(hparams, ready.data, state, loop_index(program, block.records))

    def _fetch(self, program: Program, block: PartialBlock, called: _Called) -> TrainedBlock | PartialBlock:
        """Wait for a block, and copy its curves to the host."""
        block = fetch(program, block, called.curves)
        ended = time.perf_counter() if called.ended is None else called.ended
        self._stats.trained(program, len(called.curves) * called.ready.arrangement.block, called.start, ended)
        self._stats.device_bytes = max(self._stats.device_bytes, called.ready.device_bytes)
        if block.records < program.records:
            return block
        return trained_block(program, block, called.curves, keep_state=self._plan.limits.keep_state)

    def _halve(self, program: Program, used: Arrangement) -> bool:
        """Halve a program's blocks after one ran out of memory; return False if they cannot be smaller."""
        if used != self._arrangements[program.number]:
            # The block ahead of this one ran out of memory too, and has halved the program's blocks.
            return True
        # The compiler may have made it smaller already.
        compiled = self._compiler.compile(program, used).arrangement
        smaller = compiled.smaller(self._mesh.devices.size)
        if smaller is None:
            return False
        self._arrangements[program.number] = smaller
        return True


def call_s(program: Program, block: int) -> float:
    """Predict the seconds of a call that trains a block, or one segment of it."""
    length = program.static.length
    steps = min(length.steps, program.segment * length.record_every) if program.segment else length.steps
    return block * steps * program.step_s


def out_of_memory(error: Exception) -> bool:
    """Return whether a device, or the host, ran out of memory."""
    is_named = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, jax.errors.JaxRuntimeError) and is_named)
