"""How a program's trials lie on the devices: how many to a call, and how many of them side by side."""

from typing import NamedTuple

import numpy as np

from vsweep.engine.inputs import Inputs

# How long a block should take, and bounds on its trials and its bytes on each device, and on the bytes of
# its curves on the host.
_BLOCK_S = 1.0
_BLOCK_TRIALS = 8192
_DEVICE_BYTES = 4 * 2**30
_CURVE_BYTES = 64 * 2**20
# Metrics of a curve, at most.
_COLUMNS = 6
# The bytes of activations that stay in a core's cache.
_CACHE = 512 * 1024
# Multiply-adds a step above which trials of an MLP gain nothing from lanes on a CPU.
_ALONE = 3.0e6
# Features up to which a product with the data is a sum of outer products.
_OUTER = 4
_MOST_LANES = {"cpu": 32, "gpu": 8192, "tpu": 8192}


class Arrangement(NamedTuple):
    """block: trials of one call. lanes: side by side on one device. fused: a trial is one kernel of a CPU."""

    block: int
    lanes: int
    fused: bool = False

    def smaller(self, devices: int) -> "Arrangement | None":
        """With half the trials in a block, or None where it cannot be less."""
        if self.block <= devices:
            return None
        per_device = -(-self.block // devices // 2)
        lanes = min(self.lanes, 2 ** int(np.log2(per_device)))
        return self._replace(block=-(-per_device // lanes) * lanes * devices, lanes=lanes)


def arrange(
    inputs: Inputs,
    trials: int,
    devices: int,
    *,
    lanes: int,
    fused: bool,
    limit: int,
    asked: int | None = None,
) -> Arrangement:
    """The block for so many lanes, or for somewhat fewer that leave less to pad.

    limit: the trials of a block, at most: see `block_limit`. asked: the trials of a block that a person
    asks for.
    """
    unit = devices * lanes
    if asked is None:
        most = min(limit // unit * unit, -(-trials // unit) * unit)
        # The same number of blocks, evened out, so that the last one is padded least.
        asked = -(-trials // -(-trials // max(most, unit)))
    else:
        asked = min(asked, trials)
    # As many lanes as fill the rounds of a device evenly.
    per_device = -(-asked // devices)
    rounds = -(-per_device // lanes)
    lanes = -(-per_device // rounds)
    return Arrangement(rounds * lanes * devices, lanes, fused)


def block_limit(inputs: Inputs, devices: int, trial_s: float) -> int:
    """The trials of a block, at most, by its time, by the bytes of its curves, and by their number.

    trial_s: the seconds that a trial takes, others beside it.
    """
    fitting = min(_BLOCK_S / trial_s, _CURVE_BYTES / curve_bytes(inputs))
    return int(min(fitting, _BLOCK_TRIALS * devices))


def guess_lanes(inputs: Inputs, width: int, room: float, platform: str, *, fused: bool) -> tuple[int, bool]:
    """The lanes to begin with, and whether to fuse: what was best on the machines that were tried.

    room: as `most_lanes` gives it. fused: whether it can be.
    """
    if platform != "cpu":
        return int(room), False
    if width and (fused or inputs.flops(width) > _ALONE):
        return 1, fused
    # Without a hidden layer, side by side they share one product with the data.
    if fused and inputs.n_features <= _OUTER:
        return 1, True
    room = min(room, _CACHE / activation_bytes(inputs, width))
    return 2 ** int(np.log2(max(1, room))), False


def most_lanes(inputs: Inputs, width: int, trials: int, platform: str, devices: int) -> float:
    """A bound on the lanes: by memory, by the curves, and by what there is to train."""
    room = [
        _DEVICE_BYTES / live_bytes(inputs, width),
        _CURVE_BYTES / curve_bytes(inputs) / devices,
        _MOST_LANES.get(platform, _MOST_LANES["gpu"]),
        -(-trials // devices),
    ]
    return max(1, min(room))


def live_bytes(inputs: Inputs, width: int) -> float:
    """The bytes that a trial takes on its device while it trains, an estimate."""
    # The parameters, their gradient, an optimizer's two moments, and what is being made of them.
    return 2 * activation_bytes(inputs, width) + 6 * 4 * inputs.weights(width) + curve_bytes(inputs)


def activation_bytes(inputs: Inputs, width: int) -> float:
    """The bytes of a trial's activations."""
    return 4 * inputs.examples * (width * inputs.depth + inputs.n_outputs)


def curve_bytes(inputs: Inputs) -> float:
    """The bytes of a trial's curve."""
    columns = _COLUMNS + inputs.recorded
    return (inputs.config.steps / inputs.config.record_every + 2) * columns * 4
