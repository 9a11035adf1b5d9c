"""The values that a program is compiled for, and those that differ between its trials."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax

from vsweep.tasks.task import MakeTask
from vsweep.training.loop import TrainingLength

# The version of the numerical results; a change that moves a curve by more than rounding has to raise it.
NUMERICS = 1

# A leaf is a NumPy array on the host, a JAX array on a device, and a tracer inside a program.
Leaf: TypeAlias = Any


@dataclass(frozen=True)
class Static:
    """The values that a program is compiled for; a new value needs a new compilation.

    Attributes:
        task: The maker of a trial's task from its traced fields.
        optimizer: The name of the optimizer.
        schedule: The name of the schedule.
        length: The length of a trial.
        dtype: The dtype of the model's products.
        precision: The precision of matrix products, as in `jax.default_matmul_precision`.
    """

    task: MakeTask
    optimizer: str
    schedule: str
    length: TrainingLength
    dtype: str = "float32"
    precision: str = "highest"


class HParams(NamedTuple):
    """The values that differ between the trials of a program; traced, each leaf `(trials, ...)`.

    Attributes:
        seed: Uint32, the seed of the trial.
        twin: Bool, whether the trial's first weights are moved by one unit in the last place of the products'
            dtype, to see how far rounding carries the curve.
        diverge_above: Floating, see `loop.Trial`.
        task: The traced fields of `model` and `loss`, by name.
        optimizer: Floating, the traced fields of the optimizer, by name.
        schedule: Floating, the traced fields of the schedule, by name.
    """

    seed: Leaf
    twin: Leaf
    diverge_above: Leaf
    task: Mapping[str, Mapping[str, Leaf]]
    optimizer: Mapping[str, Leaf]
    schedule: Mapping[str, Leaf]


@contextmanager
def precision_context(static: Static) -> Iterator[None]:
    """Set the precision in which a program is traced and its arguments are made."""
    with (
        jax.default_matmul_precision(static.precision),
        jax.enable_x64(static.dtype == "float64"),
        # Padding needs draws whose prefix is a shorter draw, so this overrides the user's setting.
        jax.threefry_partitionable(True),  # noqa: FBT003
    ):
        yield
