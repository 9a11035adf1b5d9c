"""The layout of a program's trials: how many train in one call, how many side by side, and how long."""

from typing import NamedTuple

import numpy as np

from vsweep.config.validate import Config

# The seconds that a segment should take.
_SEGMENT_S = 15.0


class Arrangement(NamedTuple):
    """The layout of trials on the devices.

    Attributes:
        block: The number of trials of one call.
        vmap_size: The number of trials side by side on one device; further ones follow one another.
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


class UserLimits(NamedTuple):
    """Limits that the user may set for a plan.

    Attributes:
        block: The number of trials of one call; None lets the planner choose.
        segment: The number of steps between two saves of the state; None lets the planner choose.
        keep_state: Whether the last state of every trial is kept.
    """

    block: int | None = None
    segment: int | None = None
    keep_state: bool = False

    def segment_records(self, config: Config, block_step_s: float) -> int:
        """Choose the records of a segment, 0 for the whole training at once.

        Args:
            config: The config of the program.
            block_step_s: The seconds that a step of a whole block takes.
        """
        records = -(-config.steps // config.record_every) + 1
        if self.segment is not None:
            segment = max(1, self.segment // config.record_every)
        else:
            # Segments have equal lengths, so a training hardly longer than one segment is not divided.
            segment = -(-records // max(1, int(block_step_s * config.steps / _SEGMENT_S)))
        if segment >= records:
            return records if self.keep_state else 0
        return segment


NO_LIMITS = UserLimits()
