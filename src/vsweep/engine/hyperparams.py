"""What a program compiles and what it traces, from the configs of its trials."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vsweep.config.choices import parameters
from vsweep.config.grid import Axis, Grid
from vsweep.config.schema import OWN, POINT
from vsweep.config.validate import Config, is_coordinate
from vsweep.engine.dry_run import recorded_names, trace_user_functions
from vsweep.engine.inputs import Inputs
from vsweep.errors import ConfigError
from vsweep.tasks.minimize import Minimise, coordinates
from vsweep.tasks.task import Supervised, param_dtype
from vsweep.training.loop import TrainingLength
from vsweep.training.vectorize import HParams, Static

_TRACED_GROUPS = ("optimizer", "schedule", "loss")
_TRACED = ("diverge_above", "model.init_scale", "model.init", "model.width", "model.spread")
_START = "model.start"


def is_traced(axis: Axis, variants: Collection[Config]) -> bool:
    """Whether trials that differ on this axis go in one program.

    All numbers of optimizer, schedule and loss do; of a person's own model and loss, see
    `_traced_parameter`.
    """
    group, _, key = axis.path.partition(".")
    if group in ("model", "loss"):
        for config in variants:
            part = getattr(config, group)
            if part.name == OWN and key in part.fields:
                return _traced_parameter(part.function, key, axis.values)
    if axis.path == _START or any(is_coordinate(config, axis.path) for config in variants):
        # Of one shape: a number, or as many numbers each.
        return None not in axis.values and len({np.shape(value) for value in axis.values}) == 1
    return axis.path in _TRACED or (bool(key) and group in _TRACED_GROUPS)


def _traced_parameter(function: Any, name: str, values: Sequence[Any]) -> bool:
    """Numbers are traced where one of them is a float, or the parameter is said to be one."""
    parameter = parameters(function)[name]
    said = parameter.annotation in (float, "float") or isinstance(parameter.default, float)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and (said or any(isinstance(v, float) for v in values))


def widths(grid: Grid, config: Config, rows: np.ndarray) -> np.ndarray | None:
    """The hidden width of each trial, int64 `(trials,)`; None for a model that has none."""
    if config.model.name in (OWN, POINT) or "width" not in config.model.fields:
        return None
    return _values(grid, config, "model.width", rows).astype(np.int64)


def bind(grid: Grid, inputs: Inputs, rows: np.ndarray) -> tuple[Static, HParams]:
    """What is compiled for these trials, and their traced fields as NumPy leaves of `(trials,)`.

    rows: int64 `(trials,)`, places in the order of `Grid.trials()`; their cells differ in traced fields
    alone.
    """
    config = inputs.config
    model, static = _bound_model(grid, inputs, rows)
    loss, loss_static = _bound_loss(grid, config, rows)
    task = make_task(inputs, static, loss_static, model)
    length = TrainingLength(config.steps, config.record_every, config.batch_size)
    names = config.optimizer.name, config.schedule.name
    hparams = HParams(
        seed=grid.trials()[2][rows].astype(np.uint32),
        twin=np.zeros(len(rows), bool),
        diverge_above=_floats(grid, config, "diverge_above", rows),
        task={"model": model, "loss": loss},
        optimizer=_numbers(grid, config, "optimizer", rows),
        schedule=_numbers(grid, config, "schedule", rows),
    )
    made = Static(task, *names, length, config.dtype, config.precision)
    if config.record_params and isinstance(task, Supervised):
        # What fails in it is told as that, not by its parameters.
        trace_user_functions(inputs, made, hparams)
        wide = widths(grid, config, rows) is not None
        recorded = recorded_names(config.model.name, made, hparams, wide=wide)
        made = replace(made, task=replace(task, recorded=recorded))
    return made, hparams


def make_task(
    inputs: Inputs, static: Mapping[str, Any], loss_static: Mapping[str, Any], traced: Mapping[str, Any]
) -> Supervised | Minimise:
    """What makes the tasks of a program. traced: leaves of `(trials, ...)`."""
    config, loss_fields = inputs.config, tuple(loss_static.items())
    if config.model.name == POINT:
        names = coordinates(config.loss.function)
        sizes = tuple((name, (*traced[name].shape, None)[1]) for name in names)
        return Minimise(config.loss.function, sizes, static["fixed"], loss_fields, config.dtype)
    fields = tuple(static.items())
    return Supervised(
        config.model.function,
        inputs.loss,
        inputs.n_features,
        inputs.n_outputs,
        fields,
        loss_fields,
        config.dtype,
        draw=inputs.draw,
    )


def _values(grid: Grid, config: Config, path: str, rows: np.ndarray) -> np.ndarray:
    """The value of a field for each trial, from its axis or from the config; objects."""
    for i, axis in enumerate(grid.axes):
        if axis.path == path:
            return grid.column(i)[grid.trials()[1][rows]]
    group, _, key = path.partition(".")
    made = np.empty(len(rows), object)
    made.fill(getattr(config, group).fields[key] if key else getattr(config, group))
    return made


def _floats(grid: Grid, config: Config, path: str, rows: np.ndarray) -> np.ndarray:
    """A field's values in the program's dtype. Raises `ConfigError` where it cannot hold one."""
    # Cells of zeros were collapsed over the scale, and have none.
    exact = [1.0 if v is None else float(v) for v in _values(grid, config, path, rows)]
    dtype = np.dtype(param_dtype(config.dtype))
    limits = np.finfo(dtype)
    for value in set(exact):
        if value and not float(limits.tiny) <= abs(value) <= float(limits.max):
            takes = f"{dtype} holds 0, and from {limits.tiny:.2g} to {limits.max:.2g}"
            raise ConfigError(path, f"got {value!r}", takes)
    return np.asarray(exact, dtype)


def _numbers(grid: Grid, config: Config, group: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    names = getattr(config, group).fields
    return {name: _floats(grid, config, f"{group}.{name}", rows) for name in names}


Bound = tuple[dict[str, np.ndarray], dict[str, Any]]


def _bound_model(grid: Grid, inputs: Inputs, rows: np.ndarray) -> Bound:
    """The model's traced fields and its static ones; a field in both becomes a `Within`."""
    config = inputs.config
    if config.model.name == OWN:
        return _bound_own(grid, config, "model", rows)
    if config.model.name == POINT:
        return _bound_point(grid, config, rows)
    traced: dict[str, np.ndarray] = {}
    static: dict[str, Any] = {}
    for name in config.model.fields:
        values = _values(grid, config, f"model.{name}", rows)
        if name == "width":
            traced[name], static[name] = values.astype(np.int32), int(values.max())
        elif name == "init":
            static[name] = tuple(dict.fromkeys(values))
            traced[name] = np.asarray([static[name].index(v) for v in values], np.int32)
        elif name == "start" and values[0] is not None:
            needed = inputs.n_outputs * (inputs.n_features + 1)
            if len(values[0]) != needed:
                takes = (
                    f"it takes {needed}: {inputs.n_outputs} × {inputs.n_features} weights, then the biases"
                )
                raise ConfigError(_START, f"got {len(values[0])} numbers", takes)
            traced[name] = _starts(config, _START, values)
        elif name == "init_scale":
            traced[name] = _floats(grid, config, f"model.{name}", rows)
        else:
            static[name] = values[0]
    return traced, static


def _bound_point(grid: Grid, config: Config, rows: np.ndarray) -> Bound:
    """Where each coordinate starts, by its name, whatever fields of other models are called."""
    traced = {"spread": _floats(grid, config, "model.spread", rows)}
    for name in coordinates(config.loss.function):
        path = f"model.{name}"
        values = _values(grid, config, path, rows)
        if values[0] is None:
            raise ConfigError(path, "got nothing", f"it takes where {name} starts")
        if config.loss.name != OWN and (many := [v for v in values if isinstance(v, tuple)]):
            raise ConfigError(path, f"got {len(many[0])} numbers", f"loss={config.loss.name} takes one")
        traced[name] = _starts(config, path, values)
    return traced, {"fixed": config.model.fields["fixed"]}


def _starts(config: Config, path: str, values: np.ndarray) -> np.ndarray:
    """Where trials begin, each a number or as many numbers. Raises `ConfigError`."""
    exact = np.asarray(values.tolist(), np.float64)
    dtype = np.dtype(param_dtype(config.dtype))
    if np.abs(exact).max() > np.finfo(dtype).max:
        raise ConfigError(path, f"got {np.abs(exact).max():.3g}", f"{dtype} holds no such number")
    return exact.astype(dtype)


def _bound_loss(grid: Grid, config: Config, rows: np.ndarray) -> Bound:
    if config.loss.name == OWN:
        return _bound_own(grid, config, "loss", rows)
    return _numbers(grid, config, "loss", rows), {}


def _bound_own(grid: Grid, config: Config, group: str, rows: np.ndarray) -> Bound:
    traced: dict[str, np.ndarray] = {}
    static: dict[str, Any] = {}
    part = getattr(config, group)
    for name in part.fields:
        values = _values(grid, config, f"{group}.{name}", rows)
        if _traced_parameter(part.function, name, list(values)):
            traced[name] = _floats(grid, config, f"{group}.{name}", rows)
        else:
            static[name] = _hashable(values[0])
    return traced, static


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        raise ConfigError("config", f"got the mapping {value!r} for your own function", "give its fields")
    return tuple(_hashable(v) for v in value) if isinstance(value, list) else value
