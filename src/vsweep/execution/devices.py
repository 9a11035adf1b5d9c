"""The devices that trials are spread over, set up before JAX starts."""

import os
from functools import cache

import jax
from jax.sharding import Mesh


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# A loop of a CPU program that touches fewer bytes a step than this, and calls no library, is compiled into one
# kernel: what fits in a core's cache. XLA's own bound is 1 kB.
_ONE_KERNEL = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=4194304"


@cache
def prepare() -> bool:
    """Start JAX with one CPU device per core: trials, not products, go in parallel.

    Returns whether that could be asked for: where JAX runs already, its devices stay as they are.
    """
    flags = os.environ.get("XLA_FLAGS")
    try:
        if jax.config.values["jax_num_cpu_devices"] < 0:
            jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        return False
    if "xla_backend_extra_options" not in (flags or ""):
        os.environ["XLA_FLAGS"] = f"{flags or ''} {_ONE_KERNEL}".strip()
    try:
        jax.local_devices()
    finally:
        # For this process alone: one that it starts may hold other programs.
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags
    return True


def trial_mesh() -> Mesh:
    """All local devices along one axis, `trials`."""
    prepare()
    return Mesh(jax.local_devices(), ("trials",))
