"""Which programs a sweep needs, which trials each trains, and in blocks of what size."""

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
from vsweep.engine.tuning.cost_model import Costs, Hardware
from vsweep.engine.tuning.layout import Arrangement, live_bytes
from vsweep.engine.tuning.pinned import NOTHING_ASKED, UserLimits, pinned, segment_records
from vsweep.engine.tuning.timings import TimingCache
from vsweep.tasks.data.dataset import Split
from vsweep.training.vectorize import HParams, Static


@dataclass(frozen=True)
class Program:
    """One program and the trials that it trains.

    rows: int64 `(trials,)`, places in the order of `Grid.trials()`. hparams: NumPy leaves of
    `(trials,)`. width: the padded width, 0 where there is none. waste: the share of the work that
    padding adds. arrangement: how they lie on the devices. name: of what is known of its speed.
    step_s: the seconds of a step and trial, others beside it; compile_s: of its compile; both predicted.
    measured: whether such a program was trained before. family: names the programs that differ from it in
    width alone. segment: the records between two looks of the host; 0 for the whole training at once.
    """

    inputs: Inputs
    static: Static
    rows: np.ndarray
    hparams: HParams
    width: int
    waste: float
    arrangement: Arrangement
    name: str
    step_s: float
    compile_s: float
    measured: bool
    family: str = ""
    segment: int = 0

    @cached_property
    def reference(self) -> dict[str, float]:
        """What is known of its training examples in closed form, by the name of a column."""
        split = self.inputs.split
        return self.static.task.reference(split.x[0], split.y[0])

    @property
    def blocks(self) -> int:
        """How many calls train all its trials."""
        return -(-len(self.rows) // self.arrangement.block)

    @property
    def train_s(self) -> float:
        """The seconds that training is predicted to take, compiling apart."""
        return self.blocks * self.arrangement.block * self.static.length.steps * self.step_s

    @property
    def device_bytes(self) -> float:
        """The bytes that a device is predicted to need: a block's trials in turn, and the data."""
        data = self.inputs.split.x[0].nbytes
        return data + self.arrangement.lanes * live_bytes(self.inputs, self.width)


@dataclass(frozen=True)
class Plan:
    """All programs of a sweep, and the data that they train on, by key.

    asked: what a person asked for. pinned: whether programs and blocks are those of an earlier plan. notes:
    what a person should know of their words and of the devices.
    """

    grid: Grid
    programs: tuple[Program, ...]
    splits: Mapping[str, Split]
    hardware: Hardware
    asked: UserLimits = NOTHING_ASKED
    pinned: bool = False
    notes: tuple[str, ...] = ()

    @property
    def predicted_s(self) -> float:
        """The seconds until all is trained: compiles overlap, two at a time, and with training."""
        compiles = [program.compile_s for program in self.programs]
        training = sum(program.train_s for program in self.programs)
        others = sum(compiles[1:]) / 2
        # On a CPU they take turns on the same cores.
        rest = training + others if self.hardware.platform == "cpu" else max(training, others)
        return compiles[0] + rest


def make_plan(
    grid: Grid,
    variants: Mapping[tuple[str, ...], Config],
    group_axes: Sequence[int],
    hardware: Hardware,
    asked: UserLimits = NOTHING_ASKED,
    known: TimingCache | None = None,
    before: Mapping[str, Any] | None = None,
) -> Plan:
    """Group the cells by what has to be compiled, and load what they train on.

    variants: the config by the values on the axes over groups. known: what earlier sweeps measured.
    before: the record of a plan; where it is of the same trials on the same hardware, its programs and
    blocks are taken, so that every curve is what it would have been then.

    Raises `ConfigError` where data cannot be had, do not go with the model or the loss, or a person's
    own function fails.
    """
    compiled = [i for i, axis in enumerate(grid.axes) if not is_traced(axis, variants.values())]
    combinations, which = np.unique(grid.index[:, compiled], axis=0, return_inverse=True)
    cell_of_trial = grid.trials()[1]
    pins = pinned(before, asked, len(grid))
    costs = Costs(hardware, known or TimingCache(), pins.families)
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    for i, combination in enumerate(combinations):
        axes = [grid.axes[a] for a in compiled]
        values = {axis.path: axis.values[v] for axis, v in zip(axes, combination, strict=True) if v >= 0}
        variant = variants[tuple(values[grid.axes[a].path] for a in group_axes)]
        inputs = load_inputs(with_values(variant, values), splits)
        rows = np.flatnonzero((which.ravel() == i)[cell_of_trial])
        programs += [
            _program(grid, inputs, part, costs, asked, family)
            for part, family in _split_by_width(grid, inputs, rows, costs)
        ]
    if pins.fit(programs):
        placed = zip(programs, pins.arrangements, pins.segments, strict=True)
        programs = [replace(p, arrangement=a, segment=segment) for p, a, segment in placed]
        return Plan(grid, tuple(programs), splits, hardware, asked, pinned=True)
    return Plan(grid, tuple(programs), splits, hardware, asked)


def _program(
    grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs, asked: UserLimits, family: str
) -> Program:
    static, hparams = bind(grid, inputs, rows)
    trace_user_functions(inputs, static, hparams)
    each = widths(grid, inputs.config, rows)
    width = 0 if each is None else int(each.max())
    waste = 0.0
    if each is not None:
        waste = 1.0 - float(np.mean([inputs.flops(w) for w in each.tolist()])) / inputs.flops(width)
    arrangement = costs.arrange(inputs, width, len(rows), asked.block)
    step_s = costs.step_s(inputs, width)
    return Program(
        inputs,
        static,
        rows,
        hparams,
        width,
        waste,
        arrangement,
        costs.name(inputs, width),
        step_s,
        costs.compile_s(inputs, width, arrangement.block),
        costs.measured(inputs, width, arrangement.block),
        family,
        segment_records(inputs.config, asked, arrangement.block * step_s),
    )


def _split_by_width(
    grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs
) -> list[tuple[np.ndarray, str]]:
    """The rows in parts of neighbouring widths, such that compiling and padding cost least together.

    Each with the name of their family.
    """
    each = widths(grid, inputs.config, rows)
    if each is None:
        return [(rows, "")]
    family, bounds = costs.split(inputs, *np.unique(each, return_counts=True))
    part = np.searchsorted(bounds, each)
    return [(rows[part == i], family) for i in range(len(bounds))]
