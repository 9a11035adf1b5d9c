"""Which programs a sweep needs, which trials each trains, and in blocks of what size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vsweep.config import Config, with_values
from vsweep.descent.program import HParams, Static
from vsweep.execution.bind import bind, is_traced, try_own, widths
from vsweep.execution.inputs import Inputs, load_inputs
from vsweep.grid import Grid
from vsweep.tasks.dataset import Split

# Guesses that decide only how time is spent, never what comes out: the cost of a compile and of a step that
# does nothing in seconds, multiply-adds a second of one core and of an accelerator, and the bytes of
# activations that stay in a core's cache.
_COMPILE_S = 4.0
_STEP_S = 4.0e-6
_FLOPS = {"cpu": 2.0e10, "gpu": 2.0e12, "tpu": 2.0e12}
_CACHE = 512 * 1024
# How long a block should take, and bounds on its trials and its bytes on each device, and on the bytes of
# its curves on the host.
_BLOCK_S = 2.0
_BLOCK_TRIALS = 8192
_DEVICE_BYTES = 4 * 2**30
_CURVE_BYTES = 64 * 2**20
# Metrics of a curve, at most.
_COLUMNS = 6
_MOST_LANES = {"cpu": 32, "gpu": 8192, "tpu": 8192}


class Hardware(NamedTuple):
    """platform: `cpu`, `gpu` or `tpu`. devices: how many."""

    platform: str
    devices: int

    def trial_s(self, inputs: Inputs, width: int) -> float:
        """The seconds that a trial of this width takes, others beside it, a guess."""
        step_s = inputs.flops(width) / _FLOPS[self.platform] + _STEP_S
        return inputs.config.steps * step_s / self.devices


@dataclass(frozen=True)
class Program:
    """One program and the trials that it trains.

    rows: int64 `(trials,)`, places in the order of `Grid.trials()`. hparams: NumPy leaves of
    `(trials,)`. width: the padded width, 0 where there is none. waste: the share of the work that
    padding adds. block: trials of one call; lanes: side by side on one device.
    """

    inputs: Inputs
    static: Static
    rows: np.ndarray
    hparams: HParams
    width: int
    waste: float
    block: int
    lanes: int

    @property
    def blocks(self) -> int:
        """How many calls train all its trials."""
        return -(-len(self.rows) // self.block)


@dataclass(frozen=True)
class Plan:
    """All programs of a sweep, and the data that they train on, by key."""

    grid: Grid
    programs: tuple[Program, ...]
    splits: Mapping[str, Split]
    hardware: Hardware


def make_plan(
    grid: Grid,
    variants: Mapping[tuple[str, ...], Config],
    group_axes: Sequence[int],
    hardware: Hardware,
    block: int | None = None,
) -> Plan:
    """Group the cells by what has to be compiled, and load what they train on.

    variants: the config by the values on the axes over groups. block: trials of one call, None to
    choose.

    Raises `ConfigError` where data cannot be had, do not go with the model or the loss, or a person's
    own function fails.
    """
    compiled = [i for i, axis in enumerate(grid.axes) if not is_traced(axis, variants.values())]
    combinations, which = np.unique(grid.index[:, compiled], axis=0, return_inverse=True)
    cell_of_trial = grid.trials()[1]
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    for i, combination in enumerate(combinations):
        axes = [grid.axes[a] for a in compiled]
        values = {axis.path: axis.values[v] for axis, v in zip(axes, combination, strict=True) if v >= 0}
        variant = variants[tuple(values[grid.axes[a].path] for a in group_axes)]
        inputs = load_inputs(with_values(variant, values), splits)
        rows = np.flatnonzero((which.ravel() == i)[cell_of_trial])
        programs += [
            _program(grid, inputs, part, hardware, block)
            for part in _split_by_width(grid, inputs, rows, hardware)
        ]
    return Plan(grid, tuple(programs), splits, hardware)


def _program(grid: Grid, inputs: Inputs, rows: np.ndarray, hardware: Hardware, block: int | None) -> Program:
    static, hparams = bind(grid, inputs, rows)
    try_own(inputs, static, hparams)
    each = widths(grid, inputs.config, rows)
    width = 0 if each is None else int(each.max())
    waste = 0.0
    if each is not None:
        waste = 1.0 - float(np.mean([inputs.flops(w) for w in each.tolist()])) / inputs.flops(width)
    size, lanes = _block(inputs, width, len(rows), hardware, block)
    return Program(inputs, static, rows, hparams, width, waste, size, lanes)


def _split_by_width(grid: Grid, inputs: Inputs, rows: np.ndarray, hardware: Hardware) -> list[np.ndarray]:
    """The rows in parts of neighbouring widths, such that compiling and padding cost least together."""
    each = widths(grid, inputs.config, rows)
    if each is None:
        return [rows]
    distinct, counts = np.unique(each, return_counts=True)
    trial_s = [hardware.trial_s(inputs, w) for w in distinct.tolist()]
    # best[end]: the least cost of the first `end` widths, and where its last part begins.
    best = [(0.0, 0)]
    for end in range(1, len(distinct) + 1):
        best.append(
            min(
                (best[begin][0] + _COMPILE_S + counts[begin:end].sum() * trial_s[end - 1], begin)
                for begin in range(end)
            )
        )
    parts: list[np.ndarray] = []
    end = len(distinct)
    while end:
        begin = best[end][1]
        parts.insert(0, rows[np.isin(each, distinct[begin:end])])
        end = begin
    return parts


def _block(inputs: Inputs, width: int, trials: int, hardware: Hardware, asked: int | None) -> tuple[int, int]:
    """The trials of one call, and how many of them go side by side on one device."""
    config = inputs.config
    asked = None if asked is None else min(asked, trials)
    curve = (config.steps / config.record_every + 2) * _COLUMNS * 4
    activations = 4 * inputs.examples * (width * config.model.fields.get("depth", 1) + inputs.n_outputs)
    # The parameters, their gradient, an optimizer's two moments, and what is being made of them.
    live = 2 * activations + 6 * 4 * inputs.weights(width) + curve
    room = [
        _DEVICE_BYTES / live,
        _CURVE_BYTES / curve / hardware.devices,
        _MOST_LANES[hardware.platform],
        -(-(asked or trials) // hardware.devices),
    ]
    if hardware.platform == "cpu":
        room.append(_CACHE / activations)
    lanes = 2 ** int(np.log2(max(1, min(room))))
    unit = hardware.devices * lanes
    if asked is None:
        fitting = min(_BLOCK_S / hardware.trial_s(inputs, width), _CURVE_BYTES / curve)
        fitting = int(min(fitting, _BLOCK_TRIALS * hardware.devices)) // unit * unit
        most = min(fitting, -(-trials // unit) * unit)
        # The same number of blocks, evened out, so that the last one is padded least.
        asked = -(-trials // -(-trials // max(most, unit)))
    return -(-asked // unit) * unit, lanes
