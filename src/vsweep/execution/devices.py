"""The devices that trials are spread over, set up before JAX starts."""

import os
from functools import cache

import jax
from jax.sharding import Mesh


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def prepare() -> None:
    """Ask for one CPU device per core, each with one thread: trials, not products, go in parallel.

    Takes effect only where JAX has not started yet; elsewhere its devices stay as they are.
    """
    flag = "--xla_cpu_multi_thread_eigen"
    flags = os.environ.get("XLA_FLAGS", "")
    try:
        if jax.config.values["jax_num_cpu_devices"] < 0:
            jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        return
    if flag not in flags and cores() > 1:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}=false".strip()


def trial_mesh() -> Mesh:
    """All local devices along one axis, `trials`."""
    prepare()
    return Mesh(jax.local_devices(), ("trials",))
