"""Run the host's loop: compile programs ahead, and train a block while the one before it is stored."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.blocks import Block, blocks_to_train, fetch, partial_block, trained_block
from vsweep.engine.compiler import CompiledProgram, Compiler, block_hparams, loop_index, on_devices
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.layout import Arrangement
from vsweep.store.blocks import PartialBlock, TrainedBlock
from vsweep.training.loop import TrialResult, recorded_steps

# The number of blocks that are dispatched at a time.
_AHEAD = 2
# The number of programs that are compiled ahead of the one that trains.
_COMPILED_AHEAD = 2


@dataclass
class TrainingStats:
    """The seconds of a sweep's training, by what they were spent on.

    Attributes:
        compiling: The seconds of all compiles, which overlap with each other and with training.
        training: The seconds in which any block was on the devices.
        by_program: The same, and the steps × trials, by the name of what is known of a program.
        cold_compiles: The seconds of each compile that was in no cache.
        too_large: The smaller arrangements of programs that ran out of memory, by name.
        device_bytes: The most that a call was predicted to take.
    """

    compiling: float = 0.0
    training: float = 0.0
    by_program: dict[str, tuple[float, int]] = field(default_factory=dict)
    cold_compiles: list[float] = field(default_factory=list)
    too_large: dict[str, Arrangement] = field(default_factory=dict)
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

    def compiled(self, ready: CompiledProgram) -> None:
        """Note a program that was compiled."""
        self.compiling += ready.compile_s
        self.device_bytes = max(self.device_bytes, ready.device_bytes)
        # A faster compile was loaded from the cache.
        if ready.compile_s > 1.0:
            self.cold_compiles.append(ready.compile_s)


class _InFlightBlock(NamedTuple):
    """A block that was dispatched.

    Attributes:
        curves: The results of one call, or of several in turn.
        ready: The program that was called.
        start: The time of the first call.
        ended: The time of their end; None where they may be running.
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
    """
    done = np.zeros(len(plan.grid), bool) if done is None else done
    run = _Run(plan, mesh, stats or TrainingStats(), blocks_to_train(plan, done, underway))
    try:
        yield from run.blocks()
    finally:
        run.close()


class _Run:
    def __init__(self, plan: Plan, mesh: Mesh, stats: TrainingStats, waiting: Iterable[Block]) -> None:
        self._mesh, self._stats, self._programs = mesh, stats, plan.programs
        self._compiler = Compiler(mesh)
        # On a CPU a call returns when it is done: one thread calls while another stores the block before it.
        self._caller = ThreadPoolExecutor(1, "vsweep-train")
        self._arrangements = [program.arrangement for program in plan.programs]
        self._compiled: set[int] = set()
        self._keep_state = plan.limits.keep_state
        self._waiting = deque(waiting)
        self._flight: deque[tuple[Block, Arrangement, Future[_InFlightBlock]]] = deque()

    def close(self) -> None:
        """Dispatch no more blocks, and do not wait for those that run."""
        self._compiler.close()
        self._caller.shutdown(wait=False, cancel_futures=True)

    def blocks(self) -> Iterator[TrainedBlock | PartialBlock]:
        """Train the blocks, and yield them as they are done."""
        while self._waiting or self._flight:
            self._dispatch()
            block, arrangement, future = self._flight.popleft()
            try:
                block, done = self._fetch(block, future.result())
            except Exception as error:
                if not out_of_memory(error) or not self._halve(block.program, arrangement):
                    # The block behind it is kept.
                    yield from self._rest()
                    raise
                self._waiting.appendleft(block)
            else:
                # The future holds the block's arrays on the devices.
                del future
                if isinstance(done, PartialBlock):
                    self._waiting.appendleft(block)
                yield done
                # The block holds parameters on the devices.
                del done

    def _dispatch(self) -> None:
        while self._waiting and len(self._flight) < _AHEAD:
            block = self._waiting.popleft()
            arrangement = self._arrangements[block.program.number]
            self._flight.append((block, arrangement, self._caller.submit(self._call, block, arrangement)))
        first = self._flight[0][0].program.number
        for program in self._programs[max(0, first - 1) : first]:
            self._compiler.drop(program)
        for program in self._programs[first : first + 1 + _COMPILED_AHEAD]:
            self._compiler.start(program, self._arrangements[program.number])

    def _call(self, block: Block, arrangement: Arrangement) -> _InFlightBlock:
        """Train a block or its next segment, in the thread that calls."""
        program = block.program
        ready = self._compiler.start(program, arrangement).result()
        size = ready.arrangement.block
        start = time.perf_counter()
        curves = []
        for i in range(0, len(block.places), size):
            within = np.resize(np.arange(i, min(i + size, len(block.places))), size)
            within[len(block.places) - i :] = len(block.places) - 1
            curves.append(self._call_piece(block, ready, within))
        if self._mesh.devices.flat[0].platform != "cpu":
            return _InFlightBlock(curves, ready, start, None)
        jax.block_until_ready(curves)
        return _InFlightBlock(curves, ready, start, time.perf_counter())

    def _call_piece(self, block: Block, ready: CompiledProgram, within: np.ndarray) -> TrialResult:
        program = block.program
        hparams = block_hparams(program, self._mesh, block.places[within])
        if ready.start is None:
            return ready.call(hparams, ready.data)
        state = ready.start(hparams, ready.data) if block.state is None else None
        if state is None:
            leaves = [leaf[within] for leaf in block.state or ()]
            state = on_devices(program, self._mesh, jax.tree.unflatten(ready.start.out_tree, leaves))
        return ready.call(hparams, ready.data, state, loop_index(program, block.records, self._mesh))

    def _fetch(self, block: Block, called: _InFlightBlock) -> tuple[Block, TrainedBlock | PartialBlock]:
        """Wait for a block, and copy its curves to the host."""
        program = block.program
        block = fetch(block, called.curves)
        ended = time.perf_counter() if called.ended is None else called.ended
        trials = len(called.curves) * called.ready.arrangement.block
        self._stats.trained(program, trials, called.start, ended)
        if program.number not in self._compiled:
            self._compiled.add(program.number)
            self._stats.compiled(called.ready)
        if block.records < len(recorded_steps(program.static.length)):
            return block, partial_block(block, block.records)
        return block, trained_block(block, called.curves, keep_state=self._keep_state)

    def _halve(self, program: Program, used: Arrangement) -> bool:
        """Halve a program's blocks after one ran out of memory; return False where they cannot be smaller."""
        if used != self._arrangements[program.number]:
            # The block ahead of this one ran out of memory too.
            return True
        # The compiler may have made it smaller already.
        compiled = self._compiler.start(program, used).result().arrangement
        smaller = compiled.smaller(self._mesh.devices.size)
        if smaller is None:
            return False
        self._arrangements[program.number] = self._stats.too_large[program.name] = smaller
        return True

    def _rest(self) -> Iterator[TrainedBlock | PartialBlock]:
        while self._flight:
            block, _, future = self._flight.popleft()
            try:
                _, done = self._fetch(block, future.result())
            except Exception:
                return
            yield done


def out_of_memory(error: Exception) -> bool:
    """Return whether a device, or the host, ran out of memory."""
    is_named = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, jax.errors.JaxRuntimeError) and is_named)
