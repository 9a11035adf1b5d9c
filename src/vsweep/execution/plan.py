"""Which programs a sweep needs, which trials each trains, and in blocks of what size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vsweep.config import Config, with_values
from vsweep.descent.program import HParams, Static
from vsweep.execution.arrange import Arrangement, live_bytes
from vsweep.execution.bind import bind, is_traced, try_own, widths
from vsweep.execution.costs import Costs, Hardware
from vsweep.execution.inputs import Inputs, load_inputs
from vsweep.execution.known import Known
from vsweep.grid import Grid
from vsweep.tasks.dataset import Split


@dataclass(frozen=True)
class Program:
    """One program and the trials that it trains.

    rows: int64 `(trials,)`, places in the order of `Grid.trials()`. hparams: NumPy leaves of
    `(trials,)`. width: the padded width, 0 where there is none. waste: the share of the work that
    padding adds. arrangement: how they lie on the devices. name: of what is known of its speed.
    step_s: the seconds of a step and trial, others beside it; compile_s: of its compile; both predicted.
    measured: whether such a program was trained before.
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

    asked: the trials of a block that a person asked for. note: what a person should know of the devices.
    """

    grid: Grid
    programs: tuple[Program, ...]
    splits: Mapping[str, Split]
    hardware: Hardware
    asked: int | None = None
    note: str = ""

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
    block: int | None = None,
    known: Known | None = None,
) -> Plan:
    """Group the cells by what has to be compiled, and load what they train on.

    variants: the config by the values on the axes over groups. block: trials of one call, None to
    choose. known: what earlier sweeps measured.

    Raises `ConfigError` where data cannot be had, do not go with the model or the loss, or a person's
    own function fails.
    """
    compiled = [i for i, axis in enumerate(grid.axes) if not is_traced(axis, variants.values())]
    combinations, which = np.unique(grid.index[:, compiled], axis=0, return_inverse=True)
    cell_of_trial = grid.trials()[1]
    costs = Costs(hardware, known or Known())
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    for i, combination in enumerate(combinations):
        axes = [grid.axes[a] for a in compiled]
        values = {axis.path: axis.values[v] for axis, v in zip(axes, combination, strict=True) if v >= 0}
        variant = variants[tuple(values[grid.axes[a].path] for a in group_axes)]
        inputs = load_inputs(with_values(variant, values), splits)
        rows = np.flatnonzero((which.ravel() == i)[cell_of_trial])
        programs += [
            _program(grid, inputs, part, costs, block) for part in _split_by_width(grid, inputs, rows, costs)
        ]
    return Plan(grid, tuple(programs), splits, hardware, block)


def _program(grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs, block: int | None) -> Program:
    static, hparams = bind(grid, inputs, rows)
    try_own(inputs, static, hparams)
    each = widths(grid, inputs.config, rows)
    width = 0 if each is None else int(each.max())
    waste = 0.0
    if each is not None:
        waste = 1.0 - float(np.mean([inputs.flops(w) for w in each.tolist()])) / inputs.flops(width)
    arrangement = costs.arrange(inputs, width, len(rows), block)
    return Program(
        inputs,
        static,
        rows,
        hparams,
        width,
        waste,
        arrangement,
        costs.name(inputs, width),
        costs.step_s(inputs, width),
        costs.compile_s(inputs, width, arrangement.block),
        costs.measured(inputs, width, arrangement.block),
    )


def _split_by_width(grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs) -> list[np.ndarray]:
    """The rows in parts of neighbouring widths, such that compiling and padding cost least together."""
    each = widths(grid, inputs.config, rows)
    if each is None:
        return [rows]
    bounds = costs.split(inputs, *np.unique(each, return_counts=True))
    part = np.searchsorted(bounds, each)
    return [rows[part == i] for i in range(len(bounds))]
