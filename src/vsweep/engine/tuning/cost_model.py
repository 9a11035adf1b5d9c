"""The seconds that compiling and training cost: as earlier sweeps measured them, or guessed from the work."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vsweep.engine.inputs import Inputs
from vsweep.engine.tuning.layout import Arrangement, arrange, block_limit, guess_vmap_size, max_vmap_size
from vsweep.engine.tuning.shape import Hardware, ProgramShape, program_shape
from vsweep.engine.tuning.timings import TimingCache, short_name

# Guesses for a machine without measurements: the seconds of a compile, of loading a compiled program,
# and of a step that does nothing; the multiply-adds a second of one core and of an accelerator.
_COMPILE_S = 4.0
_LOAD_S = 1.0
_STEP_S = 4.0e-6
_FLOPS = {"cpu": 1.0e10, "gpu": 2.0e12, "tpu": 2.0e12}
# A block that ran out of memory bounds later ones for this long, as other processes may have held the device.
_OUT_OF_MEMORY_S = 7 * 24 * 3600.0


class Costs:
    """The costs of programs on some hardware.

    Guesses are scaled by the mean ratio, over earlier sweeps, of measured to guessed times.
    """

    def __init__(
        self, hardware: Hardware, known: TimingCache, families: Mapping[str, list[int]] | None = None
    ) -> None:
        """Look up what is known of the hardware.

        Args:
            hardware: The devices.
            known: The measurements of earlier sweeps.
            families: Splits by width that are settled, by the name that `split` gives.
        """
        self.hardware, self._known, self._families = hardware, known, families or {}
        self._machine = known.get(hardware.key)

    @property
    def cold_compile_s(self) -> float:
        """The seconds of a compile that is in no cache."""
        return float(self._machine.get("compile_s", _COMPILE_S))

    def shape(self, inputs: Inputs, width: int) -> ProgramShape:
        """Compute the shape of a program on this hardware."""
        return program_shape(inputs, width, self.hardware)

    def step_s(self, shape: ProgramShape) -> float:
        """Predict the seconds of a step and trial, with others beside it on all devices."""
        measured = self._known.get(shape.key).get("step_s")
        if measured:
            return float(measured)
        return guess_step_s(shape, self.hardware) * float(self._machine.get("ratio", 1.0))

    def measured(self, shape: ProgramShape, block: int) -> bool:
        """Return whether such a program was trained before, in such a block."""
        return bool(self._known.get(shape.key).get("block") == block)

    def compile_s(self, shape: ProgramShape, block: int) -> float:
        """Predict the seconds until a program can be called: of loading it, where it was compiled before."""
        return _LOAD_S if self.measured(shape, block) else self.cold_compile_s

    def split(self, inputs: Inputs, widths: np.ndarray, counts: np.ndarray) -> tuple[str, list[int]]:
        """Split trials by width into programs such that compiling and padding together cost least.

        A split is decided once: a later measurement must not move a trial into another program.

        Args:
            inputs: The inputs of the trials.
            widths: Their distinct widths, ascending, `(n,)`.
            counts: The trials of each width, `(n,)`.

        Returns:
            The name of the family of programs, and the widest width of each program.
        """
        sizes = widths.tolist()
        name = short_name(program=self.shape(inputs, 0).key, widths=sizes, counts=counts.tolist())
        settled = self._families.get(name) or list(self._known.get(name).values())
        if settled and set(settled) <= set(sizes) and max(settled) == sizes[-1]:
            return name, sorted(settled)
        trial_s = [inputs.config.steps * self.step_s(self.shape(inputs, width)) for width in sizes]
        # best[end]: the least cost of the first `end` widths, and where the last program of them begins.
        best = [(0.0, 0)]
        for end in range(1, len(sizes) + 1):
            padded = [counts[begin:end].sum() * trial_s[end - 1] for begin in range(end)]
            best.append(min((best[b][0] + self.cold_compile_s + padded[b], b) for b in range(end)))
        bounds: list[int] = []
        end = len(sizes)
        while end:
            bounds.insert(0, sizes[end - 1])
            end = best[end][1]
        self._known.note(name, **{str(i): bound for i, bound in enumerate(bounds)})
        return name, bounds

    def arrange(self, shape: ProgramShape, trials: int, asked: int | None) -> Arrangement:
        """Choose the arrangement of a program's trials, as measured or as guessed.

        Args:
            shape: The shape of the program.
            trials: The number of trials that it trains.
            asked: The trials of a block that the user asks for.
        """
        platform, devices, *_ = self.hardware
        most = max_vmap_size(shape, min(asked or trials, trials), platform, devices)
        vmap_size, single_kernel = guess_vmap_size(shape, most, platform)
        measured = self._known.get(shape.key)
        if self.tried(shape, trials):
            vmap_size, single_kernel = int(measured["lanes"]), bool(measured["fused"])
        most_block, most_side_by_side = self._memory_bounds(measured)
        return arrange(
            trials,
            devices,
            vmap_size=max(1, int(min(vmap_size, most, most_side_by_side))),
            single_kernel=single_kernel,
            limit=int(min(self.block_limit(shape), most_block)),
            asked=asked,
        )

    def block_limit(self, shape: ProgramShape) -> int:
        """Bound the trials of a block.

        An earlier bound is kept where it is within a factor of eight: another block would be another program,
        to be compiled again.
        """
        limit = block_limit(shape, self.hardware.devices, shape.steps * self.step_s(shape))
        earlier = int(self._known.get(shape.key).get("limit", limit))
        return earlier if earlier / 8 <= limit <= earlier * 8 else limit

    def tried(self, shape: ProgramShape, trials: int) -> bool:
        """Return whether arrangements were tried with at least half as many trials to lay side by side."""
        most = max_vmap_size(shape, trials, self.hardware.platform, self.hardware.devices)
        measured = self._known.get(shape.key)
        return "lanes" in measured and most <= 2 * measured.get("room", 0)

    @staticmethod
    def _memory_bounds(measured: Mapping[str, Any]) -> tuple[float, float]:
        """Bound the block and the vmap size by those that ran out of memory not long ago."""
        if time.time() - measured.get("too_large_at", 0) > _OUT_OF_MEMORY_S:
            return math.inf, math.inf
        return measured.get("most_block", math.inf), measured.get("most_lanes", math.inf)


def guess_step_s(shape: ProgramShape, hardware: Hardware) -> float:
    """Guess the seconds of a step and trial from its work."""
    return (shape.flops / _FLOPS.get(hardware.platform, _FLOPS["gpu"]) + _STEP_S) / hardware.devices
