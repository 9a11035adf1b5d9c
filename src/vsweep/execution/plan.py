"""Which programs a sweep needs, which trials each trains, and in blocks of what size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from vsweep.config import OWN, Config, parameters, with_values
from vsweep.descent.loop import Length
from vsweep.descent.program import HParams, Static, numerics, train_one
from vsweep.errors import ConfigError
from vsweep.grid import Grid
from vsweep.tasks.data import Split, own_dataset, split
from vsweep.tasks.losses import LOSSES, Loss, default_loss, own_loss
from vsweep.tasks.task import Data, Examples, Supervised

# Guesses that decide only how time is spent, never what comes out: the cost of a compile in seconds,
# multiply-adds a second of one core and of an accelerator, and the bytes of activations that stay in a
# core's cache.
_COMPILE_S = 4.0
_FLOPS = {"cpu": 2.0e10, "gpu": 2.0e12, "tpu": 2.0e12}
_CACHE = 512 * 1024
# A block's length in seconds, and bounds on its bytes on the device and of its curves on the host.
_BLOCK_S = 2.0
_DEVICE_BYTES = 4 * 2**30
_CURVE_BYTES = 64 * 2**20
_MOST_LANES = {"cpu": 32, "gpu": 8192, "tpu": 8192}

_TRACED_GROUPS = ("optimizer", "schedule", "loss")
_TRACED = ("diverge_above", "model.init_scale", "model.init", "model.width")


class Hardware(NamedTuple):
    """platform: `cpu`, `gpu` or `tpu`. devices: how many."""

    platform: str
    devices: int


@dataclass(frozen=True)
class Program:
    """One program and the trials that it trains.

    data: the key of its split in the plan. rows: int64 `(trials,)`, places in the order of
    `Grid.trials()`. hparams: NumPy leaves of `(trials,)`. width: the padded width, 0 where there is none.
    waste: the share of the work that padding adds. block: trials of one call; lanes: side by side on
    one device.
    """

    config: Config
    static: Static
    data: str
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
    """All programs of a sweep, and their data by key."""

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
    """Group the cells by what has to be compiled.

    variants: the config by the values on the axes over groups. block: trials of one call, None to choose.

    Raises `ConfigError` where data cannot be had, or does not go with the model or the loss.
    """
    static_axes = [i for i, axis in enumerate(grid.axes) if not _is_traced(axis, variants)]
    combinations, which = np.unique(grid.index[:, static_axes], axis=0, return_inverse=True)
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    _, row, _ = grid.trials()
    for i, combination in enumerate(combinations):
        values = {
            grid.axes[a].path: grid.axes[a].values[v]
            for a, v in zip(static_axes, combination, strict=True)
            if v >= 0
        }
        variant = variants[tuple(values[grid.axes[a].path] for a in group_axes)]
        config = with_values(variant, values)
        key = _data_key(config)
        if key not in splits:
            splits[key] = _load(config)
        rows = np.flatnonzero((which.ravel() == i)[row])
        for chosen in _by_width(grid, config, splits[key], rows, hardware):
            programs.append(_program(grid, config, key, splits[key], chosen, hardware, block))
    return Plan(grid, tuple(programs), splits, hardware)


def _is_traced(axis: Any, variants: Mapping[Any, Config]) -> bool:
    group, _, key = axis.path.partition(".")
    if group == "model" or group == "loss":
        for config in variants.values():
            part = getattr(config, group)
            if part.name == OWN and key in part.fields:
                return _traced_parameter(part.function, key, axis.values)
    return axis.path in _TRACED or (bool(key) and group in _TRACED_GROUPS)


def _traced_parameter(function: Any, name: str, values: Sequence[Any]) -> bool:
    """Of a person's own function: numbers are traced where one of them is a float, or is said to be."""
    parameter = parameters(function)[name]
    said = parameter.annotation in (float, "float") or isinstance(parameter.default, float)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and (said or any(isinstance(v, float) for v in values))


def _data_key(config: Config) -> str:
    fields = {**config.data.fields, "val_fraction": config.val_fraction}
    fields |= {"split_seed": config.split_seed, "standardize": config.standardize}
    name = config.data.name
    if name == OWN:
        name = getattr(config.data.function, "__qualname__", "arrays")
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in fields.items())})"


def _load(config: Config) -> Split:
    function, fields = config.data.function, config.data.fields
    if config.data.name != OWN:
        dataset = function(**fields)
    elif callable(function):
        try:
            made = function(**fields)
        except Exception as error:
            reason = f"your function raised {type(error).__name__}: {error}"
            raise ConfigError("data._target_", reason, "it gives (x, y)") from error
        dataset = own_dataset(made, "data._target_")
    else:
        dataset = own_dataset(function, "data")
    return split(dataset, config.val_fraction, config.split_seed, standardize=config.standardize)


def _loss(config: Config, data: Split) -> Loss:
    """The loss, or a `ConfigError` where model, loss and data do not go together."""
    classes = len(data.dataset.classes)
    kind = f"data={config.data.name} has {classes} classes" if classes else "its target is a number"
    if config.model.name == "linear" and classes:
        raise ConfigError("model", f"got linear, and {kind}", "it takes logistic or mlp")
    if config.model.name == "logistic" and not classes:
        raise ConfigError("model", f"got logistic, and {kind}", "it takes linear or mlp")
    if config.loss.name == OWN:
        return own_loss(config.loss.function, classes)
    name = config.loss.name if config.loss.function is not None else default_loss(classes)
    if (LOSSES[name].classify is None) != (classes == 0):
        fitting = [n for n, loss in LOSSES.items() if (loss.classify is None) == (classes == 0)]
        raise ConfigError("loss", f"got {name}, and {kind}", f"it takes {', '.join(fitting)}")
    if name == "sigmoid_cross_entropy" and classes != 2:
        raise ConfigError("loss", f"got {name}, and {kind}", "it takes softmax_cross_entropy")
    return LOSSES[name]


def _values(grid: Grid, config: Config, path: str, rows: np.ndarray) -> np.ndarray:
    """The value of a field for each trial, from its axis or from the config; objects."""
    _, cell, _ = grid.trials()
    for i, axis in enumerate(grid.axes):
        if axis.path == path:
            return grid.column(i)[cell[rows]]
    group, _, key = path.partition(".")
    value = getattr(config, group).fields[key] if key else getattr(config, group)
    return np.full(len(rows), value, object)


def _flops(config: Config, data: Split, outputs: int, width: int) -> float:
    """Multiply-adds of one step's products: the forward pass once, the gradients twice."""
    features, examples = data.x[0].shape
    examples = config.batch_size or examples
    depth = config.model.fields.get("depth", 1)
    layers = features * width + (depth - 1) * width**2 + width * outputs if width else features * outputs
    return 3.0 * examples * layers


def _by_width(
    grid: Grid, config: Config, data: Split, rows: np.ndarray, hardware: Hardware
) -> list[np.ndarray]:
    """The rows, split by width where padding to the widest would cost more than a compile."""
    if config.model.name != "mlp":
        return [rows]
    widths = _values(grid, config, "model.width", rows).astype(np.int64)
    distinct, counts = np.unique(widths, return_counts=True)
    speed = _FLOPS[hardware.platform] * hardware.devices
    outputs = max(1, len(data.dataset.classes))
    trial_s = [config.steps * _flops(config, data, outputs, int(w)) / speed for w in distinct]
    # best[i]: the least cost of the first i widths, and where its last program begins.
    best = [(0.0, 0)]
    for end in range(1, len(distinct) + 1):
        costs = [
            (best[begin][0] + _COMPILE_S + counts[begin:end].sum() * trial_s[end - 1], begin)
            for begin in range(end)
        ]
        best.append(min(costs))
    parts, end = [], len(distinct)
    while end:
        begin = best[end][1]
        parts.append(rows[np.isin(widths, distinct[begin:end])])
        end = begin
    return parts[::-1]


def _program(
    grid: Grid,
    config: Config,
    key: str,
    data: Split,
    rows: np.ndarray,
    hardware: Hardware,
    block: int | None,
) -> Program:
    loss = _loss(config, data)
    examples = data.x[0].shape[1]
    if config.batch_size is not None and config.batch_size > examples:
        got = f"got {config.batch_size}, and there are {examples} training rows"
        raise ConfigError("data.batch_size", got, "it takes at most as many as there are, or null")
    traced, static, width = _model_fields(grid, config, rows)
    outputs = loss.n_outputs(len(data.dataset.classes))
    features = data.x[0].shape[0]
    task = Supervised(config.model.function, loss, features, outputs, tuple(static), config.dtype)
    length = Length(config.steps, config.record_every, config.batch_size)
    names = (config.optimizer.name, config.schedule.name)
    program_static = Static(task, *names, length, config.dtype, config.precision)
    hparams = _hparams(grid, config, rows, traced)
    flops = _flops(config, data, outputs, width)
    waste = 0.0
    if width:
        needed = [_flops(config, data, outputs, int(w)) for w in traced["width"]]
        waste = 1.0 - float(np.mean(needed)) / flops
    size, lanes = _block(config, data, outputs, width, len(rows), hardware, block)
    return Program(config, program_static, key, rows, hparams, width, waste, size, lanes)


def _model_fields(
    grid: Grid, config: Config, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], list[tuple[str, Any]], int]:
    """The model's traced fields, its static ones, and the padded width (0: none)."""
    traced: dict[str, np.ndarray] = {}
    static: list[tuple[str, Any]] = []
    width = 0
    for name in config.model.fields:
        values = _values(grid, config, f"model.{name}", rows)
        if config.model.name == OWN:
            if _traced_parameter(config.model.function, name, list(values)):
                traced[name] = _floats(config, values)
            else:
                static.append((name, _hashable(values[0])))
        elif name == "width":
            traced[name] = values.astype(np.int32)
            width = int(traced[name].max())
            static.append((name, width))
        elif name == "init":
            names = tuple(dict.fromkeys(values))
            traced[name] = np.asarray([names.index(v) for v in values], np.int32)
            static.append((name, names))
        elif name == "init_scale":
            # A cell of zeros has no scale of its own.
            traced[name] = _floats(config, np.where(values == None, 1.0, values))  # noqa: E711
        else:
            static.append((name, values[0]))
    return traced, static, width


def _hashable(value: Any) -> Any:
    return tuple(_hashable(v) for v in value) if isinstance(value, list) else value


def _floats(config: Config, values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64 if config.dtype == "float64" else np.float32)


def _hparams(grid: Grid, config: Config, rows: np.ndarray, model: dict[str, np.ndarray]) -> HParams:
    _, _, seeds = grid.trials()

    def numbers(group: str) -> dict[str, np.ndarray]:
        names = getattr(config, group).fields
        return {n: _floats(config, _values(grid, config, f"{group}.{n}", rows)) for n in names}

    return HParams(
        seed=seeds[rows].astype(np.uint32),
        diverge_above=_floats(config, _values(grid, config, "diverge_above", rows)),
        task={"model": model, "loss": numbers("loss")},
        optimizer=numbers("optimizer"),
        schedule=numbers("schedule"),
    )


def _block(
    config: Config,
    data: Split,
    outputs: int,
    width: int,
    trials: int,
    hardware: Hardware,
    asked: int | None,
) -> tuple[int, int]:
    """The trials of one call, and how many of them go side by side on one device."""
    platform, devices = hardware
    examples = config.batch_size or data.x[0].shape[1]
    units = width * config.model.fields.get("depth", 1) + outputs
    live = 4 * examples * units
    room = _CACHE if platform == "cpu" else _DEVICE_BYTES // 8
    each = -(-(asked or trials) // devices)
    lanes = max(1, min(room // live, _MOST_LANES[platform], each))
    lanes = 2 ** int(np.log2(lanes))
    unit = devices * lanes
    if asked is None:
        records = config.steps / config.record_every + 2
        speed = _FLOPS[platform] * devices
        trial_s = config.steps * _flops(config, data, outputs, width) / speed
        asked = int(min(_BLOCK_S / trial_s, _CURVE_BYTES / (records * 6 * 4), trials))
        # The same number of blocks, evened out, so that the last one is padded least.
        asked = -(-trials // -(-trials // max(asked, unit)))
    return -(-asked // unit) * unit, lanes


def program_data(program: Program, data: Split) -> Data:
    """A split as the program's arrays, NumPy; floating as its hyperparameters are."""
    floating = program.hparams.diverge_above.dtype

    def part(i: int) -> Examples:
        y = data.y[i]
        y = y.astype(np.int32 if data.dataset.classes else floating)
        return Examples(np.ascontiguousarray(data.x[i], floating), y)

    return Data(part(0), None if data.x[1] is None else part(1))


def try_own_functions(plan: Plan) -> None:
    """Trace, without compiling, the programs that hold a person's own function.

    Raises `ConfigError` where it fails, so that nothing is written for a sweep that cannot run.
    """
    for program in plan.programs:
        owns = [g for g in ("model", "loss") if getattr(program.config, g).name == OWN]
        if not owns:
            continue
        one = jax.tree.map(lambda leaf: leaf[0], program.hparams)
        data = program_data(program, plan.splits[program.data])
        try:
            with numerics(program.static):
                jax.eval_shape(lambda h, d, s=program.static: train_one(s, h, d), one, data)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            raise ConfigError(f"{owns[0]}._target_", f"cannot be trained ({reason})", "") from error
