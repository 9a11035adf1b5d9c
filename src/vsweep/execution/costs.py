"""What compiling and training cost: as earlier sweeps measured it, or guessed from the work."""

from typing import Any, NamedTuple

import jax

from vsweep.config import OWN, name_of
from vsweep.execution.arrange import Arrangement, arrange, block_limit, guess_lanes, most_lanes
from vsweep.execution.inputs import Inputs
from vsweep.execution.known import Known, short_name

# Guesses for a machine of which nothing is known: the seconds of a compile and of a step that does
# nothing, multiply-adds a second of one core and of an accelerator, and the seconds to load a program
# that was compiled before.
_COMPILE_S = 4.0
_LOAD_S = 0.3
_STEP_S = 4.0e-6
_FLOPS = {"cpu": 2.0e10, "gpu": 2.0e12, "tpu": 2.0e12}


class Hardware(NamedTuple):
    """platform: `cpu`, `gpu` or `tpu`. devices: how many. kind: of what make."""

    platform: str
    devices: int
    kind: str = ""


class Costs:
    """The costs of programs on some hardware.

    Guesses are scaled by the mean ratio, over earlier sweeps, of what was measured to what was guessed.
    """

    def __init__(self, hardware: Hardware, known: Known) -> None:
        self.hardware, self._known = hardware, known
        self._machine = known.get(machine_name(hardware))

    @property
    def cold_compile_s(self) -> float:
        """The seconds of a compile that no cache knows."""
        return float(self._machine.get("compile_s", _COMPILE_S))

    def name(self, inputs: Inputs, width: int) -> str:
        """The name of what is known of a program on this hardware: all that its speed hangs on."""
        config = inputs.config
        model = dict(config.model.fields) | {"init": "", "init_scale": "", "width": width}
        return short_name(
            jax=jax.__version__,
            hardware=self.hardware,
            model=[config.model.name if config.model.name != OWN else name_of(config.model.function), model],
            loss=config.loss.name,
            optimizer=[config.optimizer.name, config.schedule.name],
            shapes=[inputs.n_outputs, *(x.shape for x in inputs.split.x if x is not None)],
            batch=config.batch_size,
            record_every=config.record_every,
            numbers=[config.dtype, config.precision],
        )

    def step_s(self, inputs: Inputs, width: int) -> float:
        """The seconds of a step and trial, with others beside it on all devices."""
        measured = self._known.get(self.name(inputs, width)).get("step_s")
        if measured is not None:
            return float(measured)
        return guess_step_s(inputs, width, self.hardware) * float(self._machine.get("ratio", 1.0))

    def measured(self, inputs: Inputs, width: int) -> bool:
        """Whether such a program was trained before."""
        return "step_s" in self._known.get(self.name(inputs, width))

    def compile_s(self, inputs: Inputs, width: int) -> float:
        """The seconds until a program can be called: of loading it, where it was compiled before."""
        return _LOAD_S if self.measured(inputs, width) else self.cold_compile_s

    def arrange(self, inputs: Inputs, width: int, trials: int, asked: int | None) -> Arrangement:
        """How trials lie on the devices: as measured, or as guessed."""
        platform, devices, _ = self.hardware
        lanes, fused = guess_lanes(inputs, width, min(asked or trials, trials), platform, devices)
        before = self._known.get(self.name(inputs, width))
        if "lanes" in before:
            lanes, fused = int(before["lanes"]), bool(before["fused"])
        room = most_lanes(inputs, width, asked or trials, platform, devices)
        while lanes > min(room, before.get("most", lanes)):
            lanes //= 2
        limit = self.block_limit(inputs, width)
        return arrange(inputs, trials, devices, lanes=max(1, lanes), fused=fused, limit=limit, asked=asked)

    def block_limit(self, inputs: Inputs, width: int) -> int:
        """The trials of a block, at most.

        As before, where that is not far off: another block is another program, to be compiled again.
        """
        limit = block_limit(inputs, self.hardware.devices, inputs.config.steps * self.step_s(inputs, width))
        known = self._known.get(self.name(inputs, width))
        before = known.get("limits", {}).get(str(inputs.config.steps), limit)
        limit = before if before / 4 <= limit <= before * 4 else limit
        return min(limit, known.get("most_block", limit))


def guess_step_s(inputs: Inputs, width: int, hardware: Hardware) -> float:
    """The seconds of a step and trial by the work in it."""
    return (inputs.flops(width) / _FLOPS[hardware.platform] + _STEP_S) / hardware.devices


def machine_name(hardware: Hardware) -> str:
    """The name of what is known of a machine at large."""
    return short_name(jax=jax.__version__, hardware=hardware)


def as_measured(arrangement: Arrangement) -> dict[str, Any]:
    """What is kept of an arrangement: not its block, which hangs on the sweep's length."""
    return {"lanes": arrangement.lanes, "fused": arrangement.fused}
