"""Notice that a compilation or a block has stopped for ever, so that no sweep waits without an end."""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

from jax.sharding import Mesh

from vsweep.errors import StuckError

# A task is stuck after this many times its predicted seconds, and after at least so many seconds.
_TIMES, _LEAST_S = 20.0, 600.0
# The share of a core that the progress bar and the uploads may take while nothing is computed.
_IDLE_SHARE = 0.1
# The thread that waits looks this many times within the least seconds.
_LOOKS = 20

T = TypeVar("T")


class Task(NamedTuple):
    """Work that another thread does.

    Attributes:
        name: The name of the task in the message.
        predicted_s: The predicted seconds.
        on_host: Whether the work takes the processors of this host, as a compilation does.
        ways: Changes with which another try may succeed, as `ways_out` returns them.
    """

    name: str
    predicted_s: float
    on_host: bool
    ways: tuple[str, ...] = ()


def ways_out(mesh: Mesh, block: int | None) -> tuple[str, ...]:
    """Return changes with which a task that has stopped may succeed.

    Args:
        mesh: The devices of the task.
        block: The size of a smaller block; None if there is none, or if the command takes no `block`.
    """
    smaller = (f"a smaller block (block={block})",) if block else ()
    # Devices of a CPU wait for one another in libraries, since they share a pool of threads.
    several = mesh.devices.size > 1 and mesh.devices.flat[0].platform == "cpu"
    return (*smaller, "one device (JAX_NUM_CPU_DEVICES=1)") if several else smaller


class Watchdog:
    """Waits for the results of other threads, and raises `StuckError` where their task makes no progress.

    A thread that hangs in native code cannot be stopped, but the thread that waits for it can go on.
    """

    def __init__(self, task: Task | None = None) -> None:
        """Watch a task, or none yet."""
        self._task = task
        self._begun = 0

    def begin(self, task: Task) -> None:
        """Note that a thread begins a task, which is progress."""
        self._task, self._begun = task, self._begun + 1

    def result(self, future: "Future[T]") -> T:
        """Return the result of a future, or raise its exception.

        Raises:
            StuckError: If no task began for 20 times the predicted seconds of the latest one, and for 10
                minutes, and where the task is one of this host, the process used no processor time.
        """
        look_s = _LEAST_S / _LOOKS
        begun, quiet_s, busy_s = self._begun, 0.0, 0.0
        looked, used = time.monotonic(), time.process_time()
        while not wait([future], look_s).done:
            now, used_now = time.monotonic(), time.process_time()
            # A process that was paused meanwhile had no time to make progress.
            quiet_s += min(now - looked, 2 * look_s)
            busy_s += used_now - used
            looked, used = now, used_now
            task = self._task
            if task is None or begun != self._begun:
                begun, quiet_s, busy_s = self._begun, 0.0, 0.0
            elif quiet_s > max(_LEAST_S, _TIMES * task.predicted_s):
                if not task.on_host or busy_s < _IDLE_SHARE * quiet_s:
                    raise _stuck(task, quiet_s)
                quiet_s = busy_s = 0.0
        return future.result()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread of its own, and return its result. Raises as `result` does."""
        pool = ThreadPoolExecutor(1, "vsweep-call")
        future = pool.submit(function, *arguments)
        pool.shutdown(wait=False)
        return self.result(future)


def _stuck(task: Task, quiet_s: float) -> StuckError:
    _exit_without_waiting()
    got = f"{task.name} made no progress for {_duration(quiet_s)}"
    if task.on_host:
        got += ", and used no processor time"
    advice = f"; try {' or '.join(task.ways)}" if task.ways else ""
    return StuckError(f"{got}; {_duration(task.predicted_s)} were predicted{advice}")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.1f} s"


def _exit_without_waiting() -> None:
    """Let this process end with its main thread; the interpreter would wait for the thread that hangs."""

    def end() -> None:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(1)

    # The functions of `atexit` run only after all threads have ended.
    threading._register_atexit(end)  # type: ignore[attr-defined]
