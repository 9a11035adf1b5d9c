"""Group a sweep's trials into programs, and each program's trials into blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from vsweep.config.grid import Grid
from vsweep.config.validate import Config, with_values
from vsweep.engine.dry_run import trace_user_functions
from vsweep.engine.hyperparams import bind, is_traced, widths
from vsweep.engine.inputs import Inputs, load_inputs
from vsweep.engine.tuning.cost_model import Costs
from vsweep.engine.tuning.layout import Arrangement
from vsweep.engine.tuning.pinned import NO_LIMITS, UserLimits, pinned, segment_records
from vsweep.engine.tuning.shape import Hardware, ProgramShape, step_flops
from vsweep.engine.tuning.timings import TimingCache
from vsweep.tasks.data.dataset import Split
from vsweep.training.vectorize import HParams, Static


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled function, and the trials that it trains.

    Attributes:
        number: The program's place in its plan.
        inputs: The config, the data and the loss.
        static: The values that the program is compiled for.
        rows: int64 `(trials,)`, the trials' places in the order of `Grid.trials()`.
        hparams: NumPy leaves of `(trials,)`.
        shape: The size of a trial's training, padded to the widest.
        padding_fraction: The share of the work that padding adds.
        arrangement: How the trials lie on the devices.
        step_s: The predicted seconds of a step and trial, with others beside it.
        compile_s: The predicted seconds of the compile.
        measured: Whether such a program was trained before.
        family: The name that programs share which differ in width alone.
        segment: The records between two looks of the host; 0 for the whole training at once.
    """

    number: int
    inputs: Inputs
    static: Static
    rows: np.ndarray
    hparams: HParams
    shape: ProgramShape
    padding_fraction: float
    arrangement: Arrangement
    step_s: float
    compile_s: float
    measured: bool
    family: str = ""
    segment: int = 0

    @property
    def name(self) -> str:
        """The name of what is known of the program's speed."""
        return self.shape.key

    @property
    def width(self) -> int:
        """The padded width; 0 where there is none."""
        return self.shape.width

    @cached_property
    def reference(self) -> dict[str, float]:
        """The closed-form results for the training examples, by the name of a column."""
        split = self.inputs.split
        return self.static.task.reference(split.x[0], split.y[0])

    @property
    def blocks(self) -> int:
        """The number of calls that train all trials."""
        return -(-len(self.rows) // self.arrangement.block)

    @property
    def train_s(self) -> float:
        """The predicted seconds of training, without compiling."""
        return self.blocks * self.arrangement.block * self.static.length.steps * self.step_s

    @property
    def device_bytes(self) -> float:
        """The predicted bytes on a device: the data, and the trials that are side by side."""
        return self.inputs.split.x[0].nbytes + self.arrangement.vmap_size * self.shape.live_bytes


@dataclass(frozen=True)
class Plan:
    """All programs of a sweep, in the order of their numbers.

    Attributes:
        grid: The cells and seeds.
        programs: One for every combination of static values.
        splits: The data that they train on, by key.
        hardware: The devices that the plan is for.
        limits: The user's limits.
        pinned: Whether programs and blocks are those of an earlier plan.
        notes: Remarks on the overrides and the devices.
    """

    grid: Grid
    programs: tuple[Program, ...]
    splits: Mapping[str, Split]
    hardware: Hardware
    limits: UserLimits = NO_LIMITS
    pinned: bool = False
    notes: tuple[str, ...] = ()

    @property
    def compiling_s(self) -> float:
        """The predicted seconds of all compiles, one after another."""
        return sum(program.compile_s for program in self.programs)

    @property
    def training_s(self) -> float:
        """The predicted seconds of training all programs."""
        return sum(program.train_s for program in self.programs)

    @property
    def predicted_s(self) -> float:
        """The predicted seconds of the sweep: compiles overlap, two at a time, and with training."""
        first = self.programs[0].compile_s
        others = sum(program.compile_s for program in self.programs[1:]) / 2
        # On a CPU compiling and training take turns on the same cores.
        on_cpu = self.hardware.platform == "cpu"
        return first + (self.training_s + others if on_cpu else max(self.training_s, others))


def make_plan(
    grid: Grid,
    variants: Mapping[tuple[str, ...], Config],
    group_axes: Sequence[int],
    hardware: Hardware,
    limits: UserLimits = NO_LIMITS,
    known: TimingCache | None = None,
    before: Mapping[str, Any] | None = None,
) -> Plan:
    """Group the cells by what has to be compiled, and load the data that they train on.

    Args:
        grid: The cells and seeds.
        variants: The config by the values on the axes over groups.
        group_axes: The places of these axes.
        hardware: The devices to plan for.
        limits: The user's limits.
        known: The measurements of earlier sweeps.
        before: The record of an earlier plan. If it is of the same trials on the same hardware, its programs
            and blocks are kept, so that every curve is the same to the bit.

    Raises:
        ConfigError: Data cannot be loaded, do not fit the model or the loss, or a user's function fails.
    """
    static_axes = [i for i, axis in enumerate(grid.axes) if not is_traced(axis, variants.values())]
    combinations, combination_of_cell = np.unique(grid.index[:, static_axes], axis=0, return_inverse=True)
    combination_of_trial = combination_of_cell.ravel()[grid.trials()[1]]
    pins = pinned(before, limits, len(grid))
    costs = Costs(hardware, known or TimingCache(), pins.families)
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    for i, combination in enumerate(combinations):
        axes = [grid.axes[a] for a in static_axes]
        values = {axis.path: axis.values[v] for axis, v in zip(axes, combination, strict=True) if v >= 0}
        variant = variants[tuple(values[grid.axes[a].path] for a in group_axes)]
        inputs = load_inputs(with_values(variant, values), splits)
        rows = np.flatnonzero(combination_of_trial == i)
        for part, family in _split_by_width(grid, inputs, rows, costs):
            programs.append(_program(len(programs), grid, inputs, part, costs, limits, family))
    fits = pins.fits([(program.name, len(program.rows)) for program in programs])
    if fits:
        pairs = zip(programs, pins.arrangements, pins.segments, strict=True)
        programs = [replace(program, arrangement=a, segment=s) for program, a, s in pairs]
    return Plan(grid, tuple(programs), splits, hardware, limits, pinned=fits)


def _program(
    number: int,
    grid: Grid,
    inputs: Inputs,
    rows: np.ndarray,
    costs: Costs,
    limits: UserLimits,
    family: str,
) -> Program:
    static, hparams = bind(grid, inputs, rows)
    trace_user_functions(inputs, static, hparams)
    trial_widths = widths(grid, inputs.config, rows)
    shape = costs.shape(inputs, 0 if trial_widths is None else int(trial_widths.max()))
    padding_fraction = 0.0
    if trial_widths is not None:
        flops = {width: step_flops(inputs, width) for width in np.unique(trial_widths).tolist()}
        needed = np.mean([flops[width] for width in trial_widths.tolist()])
        padding_fraction = 1.0 - float(needed) / shape.flops
    arrangement = costs.arrange(shape, len(rows), limits.block)
    step_s = costs.step_s(shape)
    return Program(
        number=number,
        inputs=inputs,
        static=static,
        rows=rows,
        hparams=hparams,
        shape=shape,
        padding_fraction=padding_fraction,
        arrangement=arrangement,
        step_s=step_s,
        compile_s=costs.compile_s(shape, arrangement.block),
        measured=costs.measured(shape, arrangement.block),
        family=family,
        segment=segment_records(inputs.config, limits, arrangement.block * step_s),
    )


def _split_by_width(
    grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs
) -> list[tuple[np.ndarray, str]]:
    """Split rows into programs of neighbouring widths; each comes with the name of their family."""
    trial_widths = widths(grid, inputs.config, rows)
    if trial_widths is None:
        return [(rows, "")]
    family, bounds = costs.split(inputs, *np.unique(trial_widths, return_counts=True))
    part = np.searchsorted(bounds, trial_widths)
    return [(rows[part == i], family) for i in range(len(bounds))]
