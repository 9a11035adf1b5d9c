"""The arrangement of a program's trials: how many train in one call, and how many of them side by side."""

from typing import NamedTuple

import numpy as np

from vsweep.engine.tuning.shape import ProgramShape

# The seconds that a block should take.
_BLOCK_S = 1.0
# Bounds of a block: its trials and its bytes on each device, and the bytes of its curves on the host.
_BLOCK_TRIALS = 8192
_DEVICE_BYTES = 4 * 2**30
_CURVE_BYTES = 64 * 2**20
# The bytes of activations that stay in a core's cache.
_CACHE_BYTES = 512 * 1024
# An MLP with more multiply-adds a step than this gains nothing from trials side by side on a CPU.
_LARGE_FLOPS = 3.0e6
# A product with data of at most this many features is a sum of outer products.
_FEW_FEATURES = 4
_MAX_VMAP_SIZE = {"cpu": 32, "gpu": 8192, "tpu": 8192}


class Arrangement(NamedTuple):
    """The layout of trials on the devices.

    Attributes:
        block: The trials of one call.
        vmap_size: The trials side by side on one device; the others follow one another.
        single_kernel: Whether a CPU runs a trial as one kernel.
    """

    block: int
    vmap_size: int
    single_kernel: bool = False

    def smaller(self, devices: int) -> "Arrangement | None":
        """Return the arrangement with half the trials in a block, or None where there is no smaller one."""
        if self.block <= devices:
            return None
        per_device = -(-self.block // devices // 2)
        vmap_size = min(self.vmap_size, 2 ** int(np.log2(per_device)))
        return self._replace(block=-(-per_device // vmap_size) * vmap_size * devices, vmap_size=vmap_size)


def arrange(
    trials: int,
    devices: int,
    *,
    vmap_size: int,
    single_kernel: bool,
    limit: int,
    asked: int | None = None,
) -> Arrangement:
    """Choose the block for a vmap size, or for a somewhat smaller one that pads less.

    Args:
        trials: The number of trials of the program.
        devices: The number of devices.
        vmap_size: The trials side by side on one device.
        single_kernel: Whether a CPU runs a trial as one kernel.
        limit: The most trials of a block, see `block_limit`.
        asked: The trials of a block that the user asks for.
    """
    unit = devices * vmap_size
    if asked is None:
        most = min(limit // unit * unit, -(-trials // unit) * unit)
        # Blocks of equal size pad the last one least.
        asked = -(-trials // -(-trials // max(most, unit)))
    else:
        asked = min(asked, trials)
    # A vmap size that divides the trials of a device leaves no round half empty.
    per_device = -(-asked // devices)
    rounds = -(-per_device // vmap_size)
    vmap_size = -(-per_device // rounds)
    return Arrangement(rounds * vmap_size * devices, vmap_size, single_kernel)


def block_limit(shape: ProgramShape, devices: int, trial_s: float) -> int:
    """Bound the trials of a block by its time, the bytes of its curves, and their number.

    Args:
        shape: The shape of the program.
        devices: The number of devices.
        trial_s: The seconds of a trial, with others beside it.
    """
    fitting = min(_BLOCK_S / trial_s, _CURVE_BYTES / shape.curve_bytes)
    return int(min(fitting, _BLOCK_TRIALS * devices))


def guess_vmap_size(shape: ProgramShape, most: float, platform: str) -> tuple[int, bool]:
    """Guess the best vmap size, and whether to run a trial as one kernel, from machines that were measured.

    Args:
        shape: The shape of the program.
        most: The bound that `max_vmap_size` gives.
        platform: `cpu`, `gpu` or `tpu`.
    """
    if platform != "cpu":
        return int(most), False
    if shape.width and (shape.single_kernel or shape.flops > _LARGE_FLOPS):
        return 1, shape.single_kernel
    # Without a hidden layer, trials side by side share one product with the data.
    if shape.single_kernel and shape.n_features <= _FEW_FEATURES:
        return 1, True
    most = min(most, _CACHE_BYTES / shape.activation_bytes)
    return 2 ** int(np.log2(max(1, most))), False


def max_vmap_size(shape: ProgramShape, trials: int, platform: str, devices: int) -> float:
    """Bound the vmap size by a device's memory, the bytes of the curves, and the number of trials."""
    bounds = [
        _DEVICE_BYTES / shape.live_bytes,
        _CURVE_BYTES / shape.curve_bytes / devices,
        _MAX_VMAP_SIZE.get(platform, _MAX_VMAP_SIZE["gpu"]),
        -(-trials // devices),
    ]
    return max(1, min(bounds))
