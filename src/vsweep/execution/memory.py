"""How much memory is free: of the devices, and of the host within what this process may use."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

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
