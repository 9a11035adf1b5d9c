"""Set up the devices that trials are spread over, before JAX starts."""

import os
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.tuning.timings import cache_directory
from vsweep.errors import ConfigError


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# A loop of a CPU program becomes one kernel if it calls no library and touches fewer bytes per step than this
# bound. That many bytes fit in a core's cache; XLA's default bound is 1 kB.
_ONE_KERNEL = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=4194304"


@cache
def prepare() -> bool:
    """Start JAX with one CPU device per core, so that the cores train different trials in parallel.

    Compiled programs are cached for the next start. If JAX runs already, its devices stay as they are; a
    number of devices that the user has set stays, too.

    Returns:
        Whether the CPU's compiler was told to make one kernel of a training.
    """
    _keep_compiled()
    flags = os.environ.get("XLA_FLAGS")
    try:
        if not _is_count_set():
            jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        return False
    may_set_flag = "xla_backend_extra_options" not in (flags or "")
    if may_set_flag:
        os.environ["XLA_FLAGS"] = f"{flags or ''} {_ONE_KERNEL}".strip()
    try:
        jax.local_devices()
    finally:
        # The flag is meant only for this process; a child process may run other programs.
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags
    return may_set_flag


def _is_count_set() -> bool:
    """Return whether a number of CPU devices was asked for."""
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return in_flags or jax.config.values["jax_num_cpu_devices"] >= 0


def _keep_compiled() -> None:
    """Cache compiled programs in the user's cache directory, unless the user has set another directory."""
    directory = cache_directory()
    if directory is None or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    with suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(directory / "compiled"))
    _replace_damaged(directory / "compiled")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# An entry that is younger may be one that another process is writing.
_WRITTEN_S = 60.0


def _replace_damaged(directory: Path) -> None:
    """Delete damaged programs of the cache when JAX warns of one; it compiles them, but replaces no file."""
    show = warnings.showwarning

    def show_others(message: Warning | str, *more: Any, **named: Any) -> None:
        is_damaged = str(message).startswith("Error reading persistent compilation cache entry")
        if not is_damaged or not _drop_damaged(directory):
            show(message, *more, **named)

    warnings.showwarning = show_others


def _drop_damaged(directory: Path) -> int:
    """Delete the programs that cannot be decompressed, and return their number."""
    try:
        # This is no public name of JAX, but only it knows the compression.
        from jax._src.compilation_cache import decompress_executable
    except ImportError:
        return 0
    dropped = 0
    for path in directory.glob("*-cache"):
        with suppress(OSError):
            if abs(time.time() - path.stat().st_mtime) < _WRITTEN_S:
                continue
            try:
                decompress_executable(path.read_bytes())
            except OSError:
                raise
            except Exception:
                path.unlink()
                dropped += 1
    return dropped


def devices() -> list[jax.Device]:
    """Start JAX, and return all devices of this process; trials are spread over them."""
    prepare()
    return jax.local_devices()


def trial_mesh() -> Mesh:
    """Return a mesh of all devices along one axis, `trials`.

    Raises:
        ConfigError: If JAX spans several processes, each of which would train all trials.
    """
    mesh = Mesh(devices(), ("trials",))
    if (count := jax.process_count()) > 1:
        got = f"jax.distributed connects {count} processes, and each of them would train the whole sweep"
        raise ConfigError("devices", got, "run one process without jax.distributed; it uses all its devices")
    return mesh


def shortcoming(mesh: Mesh) -> str:
    """Describe in a sentence why the devices run below full speed; return "" if they do not."""
    count = mesh.devices.size
    if mesh.devices.flat[0].platform != "cpu" or count >= cores() or _is_count_set():
        if jax.config.values["jax_compilation_cache_dir"] is None and cache_directory() is not None:
            return f"{cache_directory()} cannot be written: programs are compiled anew at every start"
        return ""
    return (
        f"{count} of {cores()} cores: JAX was running in this process before vsweep could ask for a device"
        " per core; in a new process, call vsweep.devices() before anything else uses JAX"
    )


_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(mesh: Mesh) -> float:
    """Return the free bytes on the fullest device; for a CPU device, its share of the memory."""
    devices = mesh.devices.flatten().tolist()
    if devices[0].platform == "cpu":
        return free_on_host() / len(devices)
    stats = [device.memory_stats() or {} for device in devices]
    return min(s.get("bytes_limit", np.inf) - s.get("bytes_in_use", 0) for s in stats)


def free_on_host() -> float:
    """Return the bytes that this process can still take, by the limits of machine, container and process."""
    limits = [np.inf]
    for read in (_machine_free, _container_free, _process_free):
        with suppress(OSError, KeyError, ValueError, ImportError):
            limits.append(read())
    return max(0.0, min(limits))


def _machine_free() -> float:
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        kilobytes = dict(line.split(":") for line in file)["MemAvailable"]
    return float(kilobytes.split()[0]) * 1024


def _container_free() -> float:
    # Version 2 of control groups has these files. `max` stands for no limit, and `float` refuses it.
    limit = float((_CGROUP / "memory.max").read_text())
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    # The cached pages of files count as free, since the kernel drops them when memory is short.
    return limit - float((_CGROUP / "memory.current").read_text()) + float(stat["inactive_file"])


def _process_free() -> float:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return np.inf
    pages = float(Path("/proc/self/statm").read_text().split()[0])
    return limit - pages * resource.getpagesize()
