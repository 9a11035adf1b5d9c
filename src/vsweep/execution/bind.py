"""What a program compiles and what it traces, from the configs of its trials."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vsweep.config import OWN, Config, parameters
from vsweep.descent.loop import Length
from vsweep.descent.program import HParams, Static, numerics, train_one
from vsweep.errors import ConfigError
from vsweep.execution.inputs import Inputs, arrays
from vsweep.grid import Axis, Grid
from vsweep.tasks.task import Supervised, kept_dtype

_TRACED_GROUPS = ("optimizer", "schedule", "loss")
_TRACED = ("diverge_above", "model.init_scale", "model.init", "model.width")


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
    model, static = _bound_model(grid, config, rows)
    loss, loss_static = _bound_loss(grid, config, rows)
    task = Supervised(
        config.model.function,
        inputs.loss,
        inputs.n_features,
        inputs.n_outputs,
        tuple(static.items()),
        tuple(loss_static.items()),
        config.dtype,
    )
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
    return Static(task, *names, length, config.dtype, config.precision), hparams


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


def _bound_model(grid: Grid, config: Config, rows: np.ndarray) -> Bound:
    """The model's traced fields and its static ones; a field in both becomes a `Within`."""
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
        elif name == "init_scale":
            traced[name] = _floats(grid, config, f"model.{name}", rows)
        else:
            static[name] = values[0]
    return traced, static


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
        field = "loss._target_" if loss else "model._target_"
        raise ConfigError(field, f"cannot be trained ({reason})", "") from error
