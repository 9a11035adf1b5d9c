"""What compiling and training cost: as earlier sweeps measured it, or guessed from the work."""

import math
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from vsweep.config.choices import qualified_name
from vsweep.config.schema import OWN
from vsweep.config.validate import is_coordinate
from vsweep.engine.inputs import Inputs
from vsweep.engine.tuning.layout import Arrangement, arrange, block_limit, guess_lanes, most_lanes
from vsweep.engine.tuning.timings import TimingCache, short_name

# Guesses for a machine of which nothing is known: the seconds of a compile and of a step that does
# nothing, multiply-adds a second of one core and of an accelerator, and the seconds to load a program
# that was compiled before.
_COMPILE_S = 4.0
_LOAD_S = 1.0
_STEP_S = 4.0e-6
_FLOPS = {"cpu": 1.0e10, "gpu": 2.0e12, "tpu": 2.0e12}
# How long a block that ran out of memory bounds those after it: others may have held the device then.
_TOO_LARGE_FOR_S = 7 * 24 * 3600.0


class Hardware(NamedTuple):
    """platform: `cpu`, `gpu` or `tpu`. devices: how many. kind: of what make.

    one_kernel: whether a CPU's compiler was told to make one kernel of a training that fits its cache.
    """

    platform: str
    devices: int
    kind: str = ""
    one_kernel: bool = True

    def fuses(self, inputs: Inputs, width: int) -> bool:
        """Whether a trial can be one kernel."""
        return self.platform == "cpu" and self.one_kernel and inputs.fusable(width)


class Costs:
    """The costs of programs on some hardware.

    Guesses are scaled by the mean ratio, over earlier sweeps, of what was measured to what was guessed.
    """

    def __init__(
        self, hardware: Hardware, known: TimingCache, families: Mapping[str, list[int]] | None = None
    ) -> None:
        """families: splits by width that are settled, by the name that `split` gives."""
        self.hardware, self._known, self._families = hardware, known, families or {}
        self._machine = known.get(machine_name(hardware))

    @property
    def cold_compile_s(self) -> float:
        """The seconds of a compile that no cache knows."""
        return float(self._machine.get("compile_s", _COMPILE_S))

    def name(self, inputs: Inputs, width: int) -> str:
        """The name of what is known of a program on this hardware: all that its speed hangs on."""
        config = inputs.config
        starts = {name: "" for name in config.model.fields if is_coordinate(config, f"model.{name}")}
        model = {**config.model.fields, **starts, "init": "", "init_scale": "", "start": "", "width": width}
        return short_name(
            versions=_versions(),
            hardware=self.hardware,
            model=[
                config.model.name if config.model.name != OWN else qualified_name(config.model.function),
                model,
            ],
            loss=config.loss.name,
            optimizer=[config.optimizer.name, config.schedule.name],
            shapes=[inputs.n_outputs, *(x.shape for x in inputs.split.x if x is not None)],
            batch=config.batch_size,
            steps=[config.steps, config.record_every],
            numbers=[config.dtype, config.precision],
        )

    def step_s(self, inputs: Inputs, width: int) -> float:
        """The seconds of a step and trial, with others beside it on all devices."""
        measured = self._known.get(self.name(inputs, width)).get("step_s")
        if measured:
            return float(measured)
        return guess_step_s(inputs, width, self.hardware) * float(self._machine.get("ratio", 1.0))

    def measured(self, inputs: Inputs, width: int, block: int) -> bool:
        """Whether such a program was trained before, in such a block."""
        return bool(self._known.get(self.name(inputs, width)).get("block") == block)

    def compile_s(self, inputs: Inputs, width: int, block: int) -> float:
        """The seconds until a program can be called: of loading it, where it was compiled before."""
        return _LOAD_S if self.measured(inputs, width, block) else self.cold_compile_s

    def split(self, inputs: Inputs, widths: np.ndarray, counts: np.ndarray) -> tuple[str, list[int]]:
        """A name, and the widest widths of programs such that compiling and padding cost least together.

        widths: of trials, rising. counts: how many there are of each. Decided once: what a machine is
        found to be tomorrow may not move a trial into another program.
        """
        facts = {"widths": widths.tolist(), "counts": counts.tolist()}
        name = short_name(program=self.name(inputs, 0), **facts)
        before = self._families.get(name) or list(self._known.get(name).values())
        if before and set(before) <= set(facts["widths"]) and max(before) == facts["widths"][-1]:
            return name, sorted(before)
        trial_s = [inputs.config.steps * self.step_s(inputs, w) for w in facts["widths"]]
        # best[end]: the least cost of the first `end` widths, and where its last part begins.
        best = [(0.0, 0)]
        for end in range(1, len(widths) + 1):
            padded = [counts[begin:end].sum() * trial_s[end - 1] for begin in range(end)]
            best.append(min((best[b][0] + self.cold_compile_s + padded[b], b) for b in range(end)))
        bounds: list[int] = []
        end = len(widths)
        while end:
            bounds.insert(0, facts["widths"][end - 1])
            end = best[end][1]
        self._known.note(name, **{str(i): bound for i, bound in enumerate(bounds)})
        return name, bounds

    def arrange(self, inputs: Inputs, width: int, trials: int, asked: int | None) -> Arrangement:
        """How trials lie on the devices: as measured, or as guessed."""
        platform, devices, *_ = self.hardware
        room = most_lanes(inputs, width, min(asked or trials, trials), platform, devices)
        fused = self.hardware.fuses(inputs, width)
        lanes, fused = guess_lanes(inputs, width, room, platform, fused=fused)
        before = self._known.get(self.name(inputs, width))
        if self.tried(inputs, width, trials):
            lanes, fused = int(before["lanes"]), bool(before["fused"])
        most_block, most = self._bounds(before)
        lanes = int(min(lanes, room, most))
        limit = int(min(self.block_limit(inputs, width), most_block))
        return arrange(inputs, trials, devices, lanes=max(1, lanes), fused=fused, limit=limit, asked=asked)

    def block_limit(self, inputs: Inputs, width: int) -> int:
        """The trials of a block, at most.

        As before, where that is not far off: another block is another program, to be compiled again.
        """
        limit = block_limit(inputs, self.hardware.devices, inputs.config.steps * self.step_s(inputs, width))
        before = int(self._known.get(self.name(inputs, width)).get("limit", limit))
        return before if before / 8 <= limit <= before * 8 else limit

    def tried(self, inputs: Inputs, width: int, trials: int) -> bool:
        """Whether arrangements were tried, with lanes of as many trials, or half of it, to choose from."""
        room = most_lanes(inputs, width, trials, self.hardware.platform, self.hardware.devices)
        before = self._known.get(self.name(inputs, width))
        return "lanes" in before and room <= 2 * before.get("room", 0)

    @staticmethod
    def _bounds(before: Mapping[str, Any]) -> tuple[float, float]:
        """The largest block and the most lanes by what ran out of memory not long ago."""
        if time.time() - before.get("too_large_at", 0) > _TOO_LARGE_FOR_S:
            return math.inf, math.inf
        return before.get("most_block", math.inf), before.get("most_lanes", math.inf)


def guess_step_s(inputs: Inputs, width: int, hardware: Hardware) -> float:
    """The seconds of a step and trial by the work in it."""
    return (inputs.flops(width) / _FLOPS.get(hardware.platform, _FLOPS["gpu"]) + _STEP_S) / hardware.devices


def machine_name(hardware: Hardware) -> str:
    """The name of what is known of a machine at large."""
    return short_name(versions=_versions(), hardware=hardware)


def _versions() -> list[str]:
    return [version("vsweep"), jax.__version__]
