"""What a program compiles and what it traces, from the configs of its trials."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from vsweep.config import Config, is_coordinate
from vsweep.descent.loop import Length
from vsweep.descent.program import HParams, Static, numerics, train_one
from vsweep.errors import ConfigError
from vsweep.execution.inputs import Inputs, arrays
from vsweep.grid import Axis, Grid
from vsweep.parts import parameters
from vsweep.schema import OWN, POINT
from vsweep.tasks.functions import Minimise, coordinates
from vsweep.tasks.task import Supervised, kept_dtype, scalar_names

_TRACED_GROUPS = ("optimizer", "schedule", "loss")
_TRACED = ("diverge_above", "model.init_scale", "model.init", "model.width", "model.spread")
_START = "model.start"
# More parameters than these are not recorded.
_MOST_RECORDED = 64


def is_traced(axis: Axis, variants: Iterable[Config]) -> bool:
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
    if config.model.name == OWN or "width" not in config.model.fields:
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
    length = Length(config.steps, config.record_every, config.batch_size)
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
        made = replace(made, task=replace(task, recorded=_recorded(inputs, made, hparams)))
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


def _recorded(inputs: Inputs, static: Static, hparams: HParams) -> tuple[str, ...]:
    """The names of all parameters. Raises `ConfigError` where they are too many to be recorded."""
    one = jax.tree.map(lambda leaf: leaf[0], hparams)
    wide = "width" in inputs.config.model.fields
    with numerics(static):
        task = static.task(one.task)
        params = None if wide else jax.eval_shape(task.init, jax.random.key(0))
    found = 0 if params is None else sum(leaf.size for leaf in jax.tree.leaves(params))
    if params is None or found > _MOST_RECORDED:
        got = f"model={inputs.config.model.name} has {'hidden layers' if wide else f'{found} parameters'}"
        takes = f"it takes false, or a model of up to {_MOST_RECORDED} parameters without hidden layers"
        raise ConfigError("record_params", got, takes)
    return tuple(scalar_names(params))


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
    dtype = np.dtype(kept_dtype(config.dtype))
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
    traced: dict[str, np.ndarray] = {}
    static: dict[str, Any] = {}
    for name in config.model.fields:
        values = _values(grid, config, f"model.{name}", rows)
        if name == "width":
            traced[name], static[name] = values.astype(np.int32), int(values.max())
        elif name == "init":
            static[name] = tuple(dict.fromkeys(values))
            traced[name] = np.asarray([static[name].index(v) for v in values], np.int32)
        elif (name == "start" and values[0] is not None) or is_coordinate(config, f"model.{name}"):
            traced[name] = _starts(inputs, f"model.{name}", values)
        elif name in ("init_scale", "spread"):
            traced[name] = _floats(grid, config, f"model.{name}", rows)
        else:
            static[name] = values[0]
    return traced, static


def _starts(inputs: Inputs, path: str, values: np.ndarray) -> np.ndarray:
    """Where trials begin, each a number or as many numbers. Raises `ConfigError`."""
    if values[0] is None:
        raise ConfigError(path, "got nothing", f"it takes where {path.partition('.')[2]} starts")
    needed = inputs.n_outputs * (inputs.n_features + 1)
    if path == _START and len(values[0]) != needed:
        takes = f"it takes {needed}: {inputs.n_outputs} × {inputs.n_features} weights, then the biases"
        raise ConfigError(path, f"got {len(values[0])} numbers", takes)
    exact = np.asarray(values.tolist(), np.float64)
    dtype = np.dtype(kept_dtype(inputs.config.dtype))
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


def try_own(inputs: Inputs, static: Static, hparams: HParams) -> None:
    """Trace, without compiling, a program that holds a person's own function.

    Raises `ConfigError` where it fails, so that nothing is written for a sweep that cannot run.
    """
    owns = [group for group in ("model", "loss") if getattr(inputs.config, group).name == OWN]
    if not owns:
        return
    one = jax.tree.map(lambda leaf: leaf[0], hparams)
    data = arrays(inputs.split, hparams.diverge_above.dtype)
    try:
        with numerics(static):
            jax.eval_shape(lambda h, d: train_one(static, h, d), one, data)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        loss = "loss" in owns and (len(owns) == 1 or "the loss gave" in str(error))
        if inputs.config.model.name == POINT and "function gave" not in str(error):
            reason += "; it has to take its coordinates and give a scalar, in jax.numpy"
        field = "loss._target_" if loss else "model._target_"
        raise ConfigError(field, f"cannot be trained ({reason})", "") from error
