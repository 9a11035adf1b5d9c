"""Collect the static and the traced values of a program from the configs of its trials.

The user's functions are traced once, without compiling: a sweep that cannot run must write nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from vsweep.config.choices import TaskInputs
from vsweep.config.grid import Axis, Grid, expand
from vsweep.config.validate import Config
from vsweep.engine.inputs import Inputs, Target
from vsweep.errors import ConfigError
from vsweep.tasks.task import MOST_RECORDED, Draw, Supervised, param_dtype, scalar_names
from vsweep.training.loop import TrainingLength
from vsweep.training.program import HParams, Static, precision_context
from vsweep.training.vectorize import train_one

# JAX's messages about these mistakes are long, and name the mistake last.
_REASONS = {
    "TracerArrayConversionError": "it uses numpy; use jax.numpy (import jax.numpy as jnp)",
    "TracerBoolConversionError": "it branches with `if` on a traced number; use jnp.where",
}


def is_traced(axis: Axis, variants: Collection[Config]) -> bool:
    """Return whether trials that differ on this axis share a program.

    All numbers of the optimizer, the schedule and the loss are traced. The choices of data, model and the
    user's functions decide for each of their fields.
    """
    group, _, key = axis.path.partition(".")
    if not key:
        return axis.path == "diverge_above"
    choices = [choice for config in variants if key in (choice := getattr(config, group)).fields]
    return bool(choices) and all(choice.is_traced(key, axis.values) for choice in choices)


def widths(grid: Grid, config: Config, rows: np.ndarray) -> np.ndarray:
    """Return the hidden width of each trial, int64 `(trials,)`; 0 for a model that has none."""
    if not config.model.is_padded:
        return np.zeros(len(rows), np.int64)
    return _Columns(grid, config, rows, "model").values("width").astype(np.int64)


def bind(grid: Grid, inputs: Inputs, rows: np.ndarray) -> tuple[Static, HParams]:
    """Collect the fields of a program's trials.

    Args:
        grid: The cells and seeds.
        inputs: The config, data and loss of the trials.
        rows: Int64 `(trials,)`, places in the order of `Grid.trials()`; their cells differ in traced fields
            only.

    Returns:
        The values that are compiled for, and the traced ones as NumPy leaves of `(trials, ...)`.

    Raises:
        ConfigError: If the program's dtype cannot hold a number, or a user's function fails.
    """
    config = inputs.config
    groups = "model", "loss", "optimizer", "schedule"
    bound = [getattr(config, group).bind(_Columns(grid, config, rows, group)) for group in groups]
    (model, static_model), (loss, static_loss), (optimizer, _), (schedule, _) = bound
    _check_starts(inputs, model)
    if config.model.has_initializer and "start" in model and inputs.target != Target():
        exact = np.asarray(_Columns(grid, config, rows, "model").values("start").tolist(), np.float64)
        model["start"] = inputs.target.start(exact).astype(model["start"].dtype)
    one_trial = {name: leaf[0] for name, leaf in model.items()}, static_model
    sizes = inputs.n_features, inputs.n_classes
    task = config.model.make_task(
        one_trial, TaskInputs(inputs.loss, static_loss, config.dtype, *sizes, inputs.draw, config.metric)
    )
    if "weight_decay" in optimizer and not optimizer["weight_decay"].any():
        # A program without decay has less to do at each step.
        del optimizer["weight_decay"]
    hparams = HParams(
        seed=grid.trials()[2][rows].astype(np.uint32),
        twin=np.zeros(len(rows), bool),
        diverge_above=_Columns(grid, config, rows, "").floats("diverge_above"),
        task={"model": model, "loss": loss},
        optimizer=optimizer,
        schedule=schedule,
    )
    length = TrainingLength(config.steps, config.record_every, config.batch_size)
    names = config.optimizer.name, config.schedule.name
    static = Static(task, *names, length, config.dtype, config.precision)
    first = jax.tree.map(lambda leaf: leaf[0], hparams)
    _trace_user_functions(inputs, static, first)
    if config.record_params and isinstance(task, Supervised):
        static = replace(static, task=replace(task, recorded=_recorded_names(config, static, first)))
    return static, hparams


def cell_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the traced fields of one model, which have no trial axis, and the static ones."""
    traced, static = config.model.bind(_Columns(expand((), (0,)), config, np.zeros(1, np.int64), "model"))
    return {name: leaf[0] for name, leaf in traced.items()}, static


def _trace_user_functions(inputs: Inputs, static: Static, hparams: HParams) -> None:
    """Trace a trial that uses a function of the user's. Raises `ConfigError` with the function's field."""
    config = inputs.config
    users = config.user_functions
    draw = inputs.draw if config.data.is_user_function else None
    if draw is not None:
        _try_draw(inputs, static, draw)
    elif not users:
        return
    try:
        with precision_context(static):
            jax.eval_shape(lambda h, d: train_one(static, h, d), hparams, inputs.arrays)
    except Exception as error:
        reason = _reason(error)
        in_loss = "loss" in users and (len(users) == 1 or "the loss returned" in str(error))
        if type(error).__name__ not in _REASONS and "function returned" not in str(error):
            reason += config.model.trace_hint
        field = "loss._target_" if in_loss or not users else "model._target_"
        raise ConfigError(field, f"cannot be trained ({reason})", "") from error


def _try_draw(inputs: Inputs, static: Static, draw: Draw) -> None:
    size = inputs.examples
    needed = (inputs.n_features, size), (size,)
    try:
        with precision_context(static):
            x, y = jax.eval_shape(lambda key: draw(key, size), jax.random.key(0))
        shapes = x.shape, y.shape
    except Exception as error:
        raise ConfigError("data", f"its draw cannot be traced ({_reason(error)})", "") from error
    if shapes != needed:
        got = f"its draw returned the shapes {shapes[0]} and {shapes[1]}"
        raise ConfigError("data", got, f"expected {needed[0]} and {needed[1]}")


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return _REASONS.get(kind) or " ".join(f"{kind}: {error}".split())[:400]


def _recorded_names(config: Config, static: Static, hparams: HParams) -> tuple[str, ...]:
    """Return the names of all parameters of a model. Raises `ConfigError` if they are too many to record."""
    model = config.model
    got = f"model={model.name} has hidden layers"
    if not model.is_padded:
        with precision_context(static):
            params = jax.eval_shape(static.task(hparams.task).init, jax.random.key(0))
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        if size <= MOST_RECORDED:
            return tuple(scalar_names(params))
        got = f"model={model.name} has {size} parameters"
    takes = f"it takes false, or a model of up to {MOST_RECORDED} parameters without hidden layers"
    raise ConfigError("record_params", got, takes)


def _check_starts(inputs: Inputs, traced: dict[str, Any]) -> None:
    """Raise `ConfigError` where a start has another size than the coordinate or the parameters it is for."""
    config = inputs.config
    for name, leaf in traced.items():
        size = leaf.shape[1] if leaf.ndim > 1 else 1
        if config.model.is_coordinate(name):
            if leaf.ndim > 1 and not config.loss.is_user_function:
                raise ConfigError(
                    f"model.{name}", f"got {size} numbers", f"loss={config.loss.name} takes one"
                )
        elif name == "start" and config.model.has_initializer:
            outputs, features = inputs.n_outputs, inputs.n_features
            needed = outputs * (features + 1)
            if size != needed:
                takes = f"it takes {needed}: {outputs} × {features} weights, then the biases"
                raise ConfigError("model.start", f"got {size} numbers", takes)


@dataclass(frozen=True)
class _Columns:
    """The values of a group's fields for some trials; the group "" has the fields of no group."""

    grid: Grid
    config: Config
    rows: np.ndarray
    group: str

    def values(self, name: str) -> np.ndarray:
        """Return the value for each trial, from its axis or from the config; objects `(trials,)`."""
        path = self._path(name)
        for i, axis in enumerate(self.grid.axes):
            if axis.path == path:
                return self.grid.column(i)[self.grid.trials()[1][self.rows]]
        column = np.empty(len(self.rows), object)
        group = getattr(self.config, self.group).fields if self.group else vars(self.config)
        column.fill(group[name])
        return column

    def floats(self, name: str) -> np.ndarray:
        """Return numbers or vectors in the program's dtype, `(trials, ...)`.

        Raises:
            ConfigError: If the dtype cannot hold one of them.
        """
        # Cells with zero weights have no scale, since they were collapsed over it; any number stands for it.
        exact = np.asarray([1.0 if value is None else value for value in self.values(name)], np.float64)
        limits, sizes = np.finfo(self._dtype), np.abs(exact)
        outside = exact[~((sizes == 0) | ((sizes >= limits.tiny) & (sizes <= limits.max)))]
        if outside.size:
            takes = f"{self._dtype} holds 0, and from {limits.tiny:.2g} to {limits.max:.2g}"
            raise ConfigError(self._path(name), f"got {float(outside[0])!r}", takes)
        return exact.astype(self._dtype)

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(param_dtype(self.config.dtype))

    def _path(self, name: str) -> str:
        return f"{self.group}.{name}" if self.group else name
