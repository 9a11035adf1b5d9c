"""The devices that trials are spread over, set up before JAX starts."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.tuning.timings import cache_directory


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# A loop of a CPU program that touches fewer bytes a step than this, and calls no library, is compiled into
# one kernel: what fits in a core's cache. XLA's own bound is 1 kB.
_ONE_KERNEL = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=4194304"


@cache
def prepare() -> bool:
    """Start JAX with one CPU device per core: trials, not products, go in parallel.

    Programs that it compiles are kept for the next start. Where JAX runs already, its devices stay as
    they are, and so does their number where a person has set it. Returns whether a CPU's compiler was
    told to make one kernel of a training.
    """
    flags = os.environ.get("XLA_FLAGS")
    try:
        asked = "xla_force_host_platform_device_count" in (flags or "")
        if jax.config.values["jax_num_cpu_devices"] < 0 and not asked:
            jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        _keep_compiled()
        return False
    free = "xla_backend_extra_options" not in (flags or "")
    if free:
        os.environ["XLA_FLAGS"] = f"{flags or ''} {_ONE_KERNEL}".strip()
    _keep_compiled()
    try:
        jax.local_devices()
    finally:
        # For this process alone: one that it starts may hold other programs.
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags
    return free


def _keep_compiled() -> None:
    """Keep compiled programs in the user's cache, unless a place for them is set."""
    directory = cache_directory()
    if directory is None or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(directory, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(directory / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def devices() -> list[jax.Device]:
    """The devices that trials are spread over: all that this process has. Starts JAX."""
    prepare()
    return jax.local_devices()


def trial_mesh() -> Mesh:
    """All devices along one axis, `trials`."""
    return Mesh(devices(), ("trials",))


def shortcoming(mesh: Mesh) -> str:
    """What is less than it could be, in a sentence; empty where nothing is."""
    count = mesh.devices.size
    if mesh.devices.flat[0].platform != "cpu" or count >= cores():
        if jax.config.values["jax_compilation_cache_dir"] is None and cache_directory() is not None:
            return f"{cache_directory()} cannot be written: programs are compiled anew at every start"
        return ""
    return (
        f"{count} of {cores()} cores: JAX was running in this process before vsweep could ask for a device"
        " per core; in a new process, call vsweep.devices() before anything else uses JAX"
    )


_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(mesh: Mesh) -> float:
    """The bytes that are free on the fullest device; of a CPU's memory, its share."""
    devices = mesh.devices.flatten().tolist()
    if devices[0].platform == "cpu":
        return free_on_host() / len(devices)
    stats = [device.memory_stats() or {} for device in devices]
    return min(s.get("bytes_limit", np.inf) - s.get("bytes_in_use", 0) for s in stats)


def free_on_host() -> float:
    """The bytes that this process can still take: of the machine's, its container's, and its own limit."""
    found = [np.inf]
    for read in (_of_machine, _of_container, _of_process):
        with suppress(OSError, KeyError, ValueError, ImportError):
            found.append(read())
    return max(0.0, min(found))


def _of_machine() -> float:
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        kilobytes = dict(line.split(":") for line in file)["MemAvailable"]
    return float(kilobytes.split()[0]) * 1024


def _of_container() -> float:
    # Version 2 of control groups; `max` is no limit, and no number.
    limit = float((_CGROUP / "memory.max").read_text())
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    # The files that it has read are given back when memory is short.
    return limit - float((_CGROUP / "memory.current").read_text()) + float(stat["inactive_file"])


def _of_process() -> float:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return np.inf
    pages = float(Path("/proc/self/statm").read_text().split()[0])
    return limit - pages * resource.getpagesize()
