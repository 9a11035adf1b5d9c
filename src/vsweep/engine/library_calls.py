"""Find calls of LAPACK in a program for CPUs, where many of them at once would wait for one another for ever.

All CPU devices of a process share a pool of threads. A call on a batch of matrices divides it among these
threads, and waits for them in one of them. Where as many calls wait as there are threads, none is left.
"""

import re
from math import prod
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from vsweep.engine.inputs import Inputs
from vsweep.tasks.minimize import Minimize
from vsweep.training.program import HParams, Static
from vsweep.training.vectorize import lower_block

_CALL = re.compile(r"custom_call @lapack_\w+\(.*num_batch_dims = \"(\d+)\".* : \((.*)\) -> ")
_DIMENSIONS = re.compile(r"tensor<((?:\d+x)+)")
# A batch of at most 32 lanes is not divided if a call has at most this work, in multiply-adds; one SVD of
# 10 × 10, which has 1,000, was seen to wait.
_WORK = 100


class LibraryCalls(NamedTuple):
    """The calls of LAPACK in one trial's training.

    Attributes:
        any: Whether there are any on more than a few numbers: trials side by side would be a batch.
        batched: Whether a trial has such batches of its own.
    """

    any: bool = False
    batched: bool = False


NO_CALLS = LibraryCalls()


def library_calls(
    static: Static, hparams: HParams, inputs: Inputs, *, has_user_function: bool
) -> LibraryCalls:
    """Look for calls of LAPACK in the program of one trial, as it is lowered for a CPU.

    Args:
        static: The values that the program is compiled for.
        hparams: NumPy leaves of `(trials,)`.
        inputs: The config, the data and the loss.
        has_user_function: Whether the training calls a user's function; the built-in models call no library.
    """
    if not has_user_function and not isinstance(static.task, Minimize):
        return NO_CALLS
    first = jax.tree.map(lambda leaf: leaf[:1], hparams)
    mesh = Mesh(jax.local_devices()[:1], ("trials",))
    lowered = lower_block(static, first, inputs.arrays, vmap_size=1, mesh=mesh, platforms=("cpu",))
    large = [count != "0" for count, operands in _CALL.findall(lowered.as_text()) if _work(operands) > _WORK]
    return LibraryCalls(bool(large), any(large))


def _work(operands: str) -> int:
    """Estimate the multiply-adds of a call from the types of its operands: their numbers times a side."""
    shapes = [[int(size) for size in dims[:-1].split("x")] for dims in _DIMENSIONS.findall(operands)]
    return max((prod(shape) * max(shape[-2:]) for shape in shapes), default=0)
