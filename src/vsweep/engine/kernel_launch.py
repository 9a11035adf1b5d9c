"""The launch of the fused kernel on a GPU, compiled by NVRTC, which comes with JAX."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError
from vsweep.training.fused.arrays import TrialArguments, TrialOutputs
from vsweep.training.fused.kernel import Kernel
from vsweep.training.loop import TrainingLength

# The names of `Arguments` in `kernel.cu`: pointers, then integers.
_DATA = ("x", "y", "x_val", "y_val", "examples")
_INTEGERS = ("trials", "columns", "columns_val", "records", "steps", "record_every", "rates_a_trial")
# `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
_MAX_SHARED = 8
# `CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN`.
_MOST_SHARED = 97


class Arguments(ctypes.Structure):
    """The argument of the kernel, as in `kernel.cu`."""

    _fields_ = (
        *((f"{name}_out" if name != "metrics" else name, ctypes.c_void_p) for name in TrialOutputs._fields),
        *((name, ctypes.c_void_p) for name in TrialArguments._fields),
        *((name, ctypes.c_void_p) for name in _DATA),
        *((name, ctypes.c_int) for name in _INTEGERS),
    )


def fill(
    length: TrainingLength,
    address: Callable[[Any], int],
    outputs: TrialOutputs,
    arguments: TrialArguments,
    data: tuple[Any, ...],
) -> Arguments:
    """Return the kernel's argument.

    Args:
        length: The length of the training.
        address: A function that returns the address of a buffer.
        outputs: Buffers `(trials, ...)` for the results.
        arguments: Buffers `(trials, ...)`.
        data: Buffers of the arrays of `pack_data`.
    """
    trials, records, _ = outputs.metrics.shape
    columns, columns_val = data[0].shape[1], data[2].shape[1]
    integers = trials, columns, columns_val, records, length.steps, length.record_every
    pointers = [address(buffer) for buffer in (*outputs, *arguments, *data)]
    return Arguments(*pointers, *integers, arguments.rates.shape[1])


# The kernels that are loaded, by context; a program that is compiled again takes the same.
_functions: dict[tuple[int | None, Kernel, bytes], ctypes.c_void_p] = {}


def launcher(
    kernel: Kernel,
    length: TrainingLength,
    binary: bytes,
    driver: Any = None,
    address: Callable[[Any], int] | None = None,
) -> Callable[..., None]:
    """Return a callback of `buffer_callback` that launches a kernel on the stream of the program.

    Args:
        kernel: The kernel.
        length: The length of the training.
        binary: The kernel's machine code, see `compile_kernel`.
        driver: The CUDA driver; None for that of the machine.
        address: A function that returns the address of a buffer; None for that in a GPU's memory.
    """
    address = address or (lambda buffer: int(buffer.__cuda_array_interface__["data"][0]))

    def run(context: Any, outputs: TrialOutputs, arguments: TrialArguments, data: tuple[Any, ...]) -> None:
        cuda = driver or _driver()
        stream = ctypes.c_void_p(context.stream)
        argument = fill(length, address, outputs, arguments, data)
        # Every device has a context of its own, and may call from any thread.
        with _context_of(cuda, stream) as device:
            key = device, kernel, binary
            if key not in _functions:
                _functions[key] = _load(cuda, kernel, binary)
            blocks, threads = -(-argument.trials // kernel.trials), kernel.threads * kernel.trials
            pointer = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.pointer(argument), ctypes.c_void_p))
            sizes = blocks, 1, 1, threads, 1, 1, kernel.shared_bytes
            _check(cuda.cuLaunchKernel(_functions[key], *sizes, stream, pointer, None), "cuLaunchKernel")

    return run


def fused_call(kernel: Kernel, length: TrainingLength, devices: Iterable[Any]) -> Callable[..., None]:
    """Return a callback of `buffer_callback` that launches a kernel, compiled for GPUs of JAX.

    Raises:
        ConfigError: If NVRTC does not compile it for them, or they are of several kinds.
    """
    capability, *others = {device.compute_capability for device in devices}
    if others:
        got = f"got fused, and the GPUs have compute capabilities {', '.join([capability, *others])}"
        raise ConfigError("kernel", got, "give kernel=auto, or choose GPUs of one with CUDA_VISIBLE_DEVICES")
    try:
        return launcher(kernel, length, compile_kernel(kernel, capability))
    except RuntimeError as error:
        raise ConfigError("kernel", f"got fused, and {error}", "give kernel=auto") from error


@cache
def shortcoming_of_kernels(platform: str) -> str:
    """Say why devices of a platform cannot run the fused kernel; "" where they can."""
    if platform != "gpu":
        return "the kernel needs an NVIDIA GPU"
    try:
        shared_memory()
    except (OSError, RuntimeError) as error:
        return f"there is no CUDA driver that works ({error})"
    if find_nvrtc() is None:
        return "there is no NVRTC, which comes with jax[cuda12] and jax[cuda13]"
    try:
        import jax.experimental.buffer_callback  # noqa: F401
    except ImportError:
        return "this version of JAX has no buffer_callback"
    return ""


@cache
def shared_memory() -> int:
    """Return the bytes of shared memory that a thread block of the first GPU may take."""
    cuda, device, size = _driver(), ctypes.c_int(), ctypes.c_int()
    _check(cuda.cuInit(0), "cuInit")
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(cuda.cuDeviceGetAttribute(ctypes.byref(size), _MOST_SHARED, device), "cuDeviceGetAttribute")
    return size.value


@contextmanager
def _context_of(cuda: Any, stream: ctypes.c_void_p) -> Iterator[int | None]:
    own = ctypes.c_void_p()
    _check(cuda.cuStreamGetCtx(stream, ctypes.byref(own)), "cuStreamGetCtx")
    _check(cuda.cuCtxPushCurrent_v2(own), "cuCtxPushCurrent")
    try:
        yield own.value
    finally:
        _check(cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())), "cuCtxPopCurrent")


def _load(cuda: Any, kernel: Kernel, binary: bytes) -> ctypes.c_void_p:
    """Load the machine code of a kernel into the current context."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(cuda.cuModuleLoadData(ctypes.byref(module), binary), "cuModuleLoadData")
    _check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"train"), "cuModuleGetFunction")
    _check(cuda.cuFuncSetAttribute(function, _MAX_SHARED, kernel.shared_bytes), "cuFuncSetAttribute")
    return function


def _check(code: int, name: str) -> None:
    if code:
        raise RuntimeError(f"{name} returned the CUDA error {code}")


@cache
def _driver() -> Any:
    return ctypes.CDLL("libcuda.so.1")


def find_nvrtc() -> Any:
    """Return NVIDIA's runtime compiler, that of JAX's wheels or the system's; None if there is none."""
    wheels = [path for entry in sys.path for path in sorted(Path(entry).glob("nvidia/c*/lib/libnvrtc.so.*"))]
    for name in [*map(str, wheels), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            nvrtc = ctypes.CDLL(name)
        except OSError:
            continue
        major, minor = ctypes.c_int(), ctypes.c_int()
        _check(nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
        if major.value <= _driver_major():
            return nvrtc
    return None


def _driver_major() -> int:
    """Return the latest major version of CUDA whose machine code the driver takes; many without a driver."""
    version = ctypes.c_int()
    try:
        _check(_driver().cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    except OSError:
        return 99
    return version.value // 1000


@cache
def compile_kernel(kernel: Kernel, capability: str) -> bytes:
    """Compile a kernel.

    Args:
        kernel: The kernel.
        capability: The compute capability of the GPU, such as `9.0`.

    Returns:
        The machine code.

    Raises:
        RuntimeError: If there is no NVRTC, or it refuses the kernel.
    """
    nvrtc = find_nvrtc()
    if nvrtc is None:
        raise RuntimeError("no NVRTC, which compiles the kernel; it comes with jax[cuda12] and jax[cuda13]")
    source = files("vsweep.training.fused").joinpath("kernel.cu").read_bytes()
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", 0, None, None), "nvrtc")
    options = [f"--gpu-architecture=sm_{capability.replace('.', '')}"]
    options += [f"-D{name}={value}" for name, value in kernel.macros.items()]
    encoded = (ctypes.c_char_p * len(options))(*map(str.encode, options))
    if nvrtc.nvrtcCompileProgram(program, len(options), encoded):
        raise RuntimeError(f"NVRTC: {_text(nvrtc, program, 'ProgramLog').decode(errors='replace')[:1000]}")
    return _text(nvrtc, program, "CUBIN")


def _text(nvrtc: Any, program: ctypes.c_void_p, name: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(nvrtc, f"nvrtcGet{name}Size")(program, ctypes.byref(size)), "nvrtc")
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, f"nvrtcGet{name}")(program, text), "nvrtc")
    return text.raw
