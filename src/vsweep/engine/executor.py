"""The host's loop: programs are compiled ahead, a block is on its way while the one before it is stored."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.blocks import Block, blocks_to_train, fetch, finished, under_way
from vsweep.engine.compiler import CompiledProgram, Compiler, block_hparams, on_devices, segment_of
from vsweep.engine.plan import Plan, Program
from vsweep.engine.tuning.layout import Arrangement
from vsweep.store.blocks import PartialBlock, TrainedBlock
from vsweep.training.loop import TrialResult, recorded_steps

# Blocks under way at a time, and programs that are compiled ahead of the one that trains.
_AHEAD = 2
_COMPILED_AHEAD = 2


@dataclass
class TrainingStats:
    """Where the time of a sweep's training went, seconds.

    compiling: of compilers, which overlap with each other and with training. training: while any block
    was on the devices. by_program: the same and the steps × trials, by the name of what is known of a
    program. cold_compiles: those that no cache knew. too_large: what is left of the arrangements of
    programs that ran out of memory, by name. device_bytes: the most that a call was predicted to take.
    """

    compiling: float = 0.0
    training: float = 0.0
    by_program: dict[str, tuple[float, int]] = field(default_factory=dict)
    cold_compiles: list[float] = field(default_factory=list)
    too_large: dict[str, Arrangement] = field(default_factory=dict)
    device_bytes: int = 0
    _last: float = 0.0

    def trained(self, program: Program, trials: int, begun: float, ended: float) -> None:
        """Note a block that was on the devices."""
        seconds = ended - max(begun, self._last)
        self._last = ended
        self.training += seconds
        before, work = self.by_program.get(program.name, (0.0, 0))
        steps = trials * program.static.length.steps
        self.by_program[program.name] = before + seconds, work + steps

    def compiled(self, ready: CompiledProgram) -> None:
        """Note a program that was compiled."""
        self.compiling += ready.compile_s
        self.device_bytes = max(self.device_bytes, ready.device_bytes)
        # What takes less was in the cache.
        if ready.compile_s > 1.0:
            self.cold_compiles.append(ready.compile_s)


class _InFlightBlock(NamedTuple):
    """A block's curves, of one call or of several in turn, and when they began and ended (None: not yet)."""

    curves: list[TrialResult]
    ready: CompiledProgram
    begun: float
    ended: float | None


def train(
    plan: Plan,
    mesh: Mesh,
    spent: TrainingStats | None = None,
    *,
    done: np.ndarray | None = None,
    underway: Sequence[PartialBlock] = (),
) -> Iterator[TrainedBlock | PartialBlock]:
    """Train the trials of the plan, and yield blocks as they are done, and between their segments.

    done: bool `(trials,)`: those that are not to be trained. underway: blocks to go on with.

    A block that is too large for the memory of its devices is trained in halves, and so are those of its
    program that follow.
    """
    done = np.zeros(len(plan.grid), bool) if done is None else done
    run = _Run(plan, mesh, spent or TrainingStats(), list(blocks_to_train(plan, done, underway)))
    try:
        yield from run.blocks()
    finally:
        run.close()


class _Run:
    def __init__(self, plan: Plan, mesh: Mesh, spent: TrainingStats, waiting: list[Block]) -> None:
        self._mesh, self._spent, self._programs = mesh, spent, plan.programs
        self._compiler = Compiler(mesh)
        # On a CPU a call returns when it is done: one thread calls, another stores what came before.
        self._caller = ThreadPoolExecutor(1, "vsweep-train")
        self._arrangements = {id(program): program.arrangement for program in plan.programs}
        self._compiled: set[int] = set()
        self._keep_state = plan.asked.keep_state
        self._waiting = deque(waiting)
        self._flight: deque[tuple[Block, Arrangement, Future[_InFlightBlock]]] = deque()

    def close(self) -> None:
        """Begin no more; what is under way is not waited for."""
        self._compiler.close()
        self._caller.shutdown(wait=False, cancel_futures=True)

    def blocks(self) -> Iterator[TrainedBlock | PartialBlock]:
        """Train, and yield what is done."""
        while self._waiting or self._flight:
            self._dispatch()
            block, arrangement, future = self._flight.popleft()
            try:
                block, done = self._fetch(block, future.result())
            except Exception as error:
                if not out_of_memory(error) or not self._halve(block.program, arrangement):
                    # What is under way behind it is not lost.
                    yield from self._rest()
                    raise
                self._waiting.appendleft(block)
            else:
                # It holds the block's arrays on the devices.
                del future
                if isinstance(done, PartialBlock):
                    self._waiting.appendleft(block)
                yield done
                # It holds parameters on the devices.
                del done

    def _dispatch(self) -> None:
        while self._waiting and len(self._flight) < _AHEAD:
            block = self._waiting.popleft()
            arrangement = self._arrangements[id(block.program)]
            self._flight.append((block, arrangement, self._caller.submit(self._call, block, arrangement)))
        now = self._flight[0][0].program
        first = next(i for i, program in enumerate(self._programs) if program is now)
        for program in self._programs[max(0, first - 1) : first]:
            self._compiler.drop(program)
        for program in self._programs[first : first + 1 + _COMPILED_AHEAD]:
            self._compiler.start(program, self._arrangements[id(program)])

    def _call(self, block: Block, arrangement: Arrangement) -> _InFlightBlock:
        """Train a block, or its next segment; in the thread that calls."""
        program = block.program
        ready = self._compiler.start(program, arrangement).result()
        size = ready.arrangement.block
        begun = time.perf_counter()
        curves = []
        for i in range(0, len(block.places), size):
            within = np.resize(np.arange(i, min(i + size, len(block.places))), size)
            within[len(block.places) - i :] = len(block.places) - 1
            curves.append(self._call_piece(block, ready, within))
        if self._mesh.devices.flat[0].platform != "cpu":
            return _InFlightBlock(curves, ready, begun, None)
        jax.block_until_ready(curves)
        return _InFlightBlock(curves, ready, begun, time.perf_counter())

    def _call_piece(self, block: Block, ready: CompiledProgram, within: np.ndarray) -> TrialResult:
        program = block.program
        hparams = block_hparams(program, self._mesh, block.places[within])
        if ready.start is None:
            return ready.call(hparams, ready.data)
        state = ready.start(hparams, ready.data) if block.state is None else None
        if state is None:
            leaves = [leaf[within] for leaf in block.state or ()]
            state = on_devices(program, self._mesh, jax.tree.unflatten(ready.start.out_tree, leaves))
        return ready.call(hparams, ready.data, state, segment_of(program, block.records, self._mesh))

    def _fetch(self, block: Block, called: _InFlightBlock) -> tuple[Block, TrainedBlock | PartialBlock]:
        """Wait for a block, and bring its curves to the host."""
        program = block.program
        block = fetch(block, called.curves)
        ended = time.perf_counter() if called.ended is None else called.ended
        trials = len(called.curves) * called.ready.arrangement.block
        self._spent.trained(program, trials, called.begun, ended)
        if id(program) not in self._compiled:
            self._compiled.add(id(program))
            self._spent.compiled(called.ready)
        if block.records < len(recorded_steps(program.static.length)):
            return block, under_way(block, block.records)
        return block, finished(block, called.curves, keep_state=self._keep_state)

    def _halve(self, program: Program, used: Arrangement) -> bool:
        """Arrange a program's blocks in halves of what ran out of memory; False where they cannot be less."""
        if used != self._arrangements[id(program)]:
            # The block ahead of it found the same.
            return True
        # The compiler may have made it smaller already.
        compiled = self._compiler.start(program, used).result().arrangement
        smaller = compiled.smaller(self._mesh.devices.size)
        if smaller is None:
            return False
        self._arrangements[id(program)] = self._spent.too_large[program.name] = smaller
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
    """Whether a device, or the host for one, ran out of memory."""
    said = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, jax.errors.JaxRuntimeError) and said)
