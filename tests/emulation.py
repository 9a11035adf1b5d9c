"""The fused kernel on a CPU, compiled by the system's C++ compiler; see `emulated.cpp`."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock

import numpy as np

import vsweep.training.fused
from vsweep.engine.kernel_launch import fill
from vsweep.training.fused.kernel import Kernel
from vsweep.training.loop import TrainingLength

_LOCK = Lock()
COMPILER = shutil.which("g++")
SOURCE = Path(vsweep.training.fused.__file__).with_name("kernel.cu")


@cache
def library(kernel: Kernel, source: Path = SOURCE) -> ctypes.CDLL:
    """Compile a kernel."""
    target = Path(mkdtemp()) / "kernel.so"
    macros = [f"-D{name}={value}" for name, value in kernel.macros.items()]
    options = ["-std=c++20", "-O0", "-march=native", "-shared", "-fPIC", "-w", f'-DKERNEL="{source}"']
    main = Path(__file__).with_name("emulated.cpp")
    subprocess.run([COMPILER, *options, *macros, str(main), "-o", str(target)], check=True)
    loaded = ctypes.CDLL(str(target))
    assert loaded.shared_bytes() == kernel.shared_bytes
    return loaded


def emulate(kernel: Kernel, length: TrainingLength, order: int = 2) -> Callable[..., None]:
    """Return a callback that runs a kernel on a CPU; order: of the threads, see `run_block`."""
    loaded = library(kernel)

    def run(_, outputs, arguments, data):
        given = fill(length, lambda buffer: np.asarray(buffer).ctypes.data, outputs, arguments, data)
        # The emulation has one shared memory, and devices call at the same time.
        with _LOCK:
            code = loaded.run(ctypes.byref(given), order)
        assert code == 0, f"the emulation ended with {code}"

    return run
