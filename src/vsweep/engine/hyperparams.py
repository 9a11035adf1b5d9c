"""The values that a program is compiled for, and those that it traces, from the configs of its trials."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vsweep.config.choices import TaskInputs
from vsweep.config.grid import Axis, Grid, expand
from vsweep.config.validate import Config
from vsweep.engine.dry_run import recorded_names, trace_user_functions
from vsweep.engine.inputs import Inputs
from vsweep.errors import ConfigError
from vsweep.tasks.task import Supervised, param_dtype
from vsweep.training.loop import TrainingLength
from vsweep.training.vectorize import HParams, Static


def is_traced(axis: Axis, variants: Collection[Config]) -> bool:
    """Return whether trials that differ on this axis share a program.

    The numbers of optimizer, schedule and loss are traced; the choices of data, model and the user's
    functions answer for their own fields.
    """
    group, _, key = axis.path.partition(".")
    if not key:
        return axis.path == "diverge_above"
    choices = [choice for config in variants if key in (choice := getattr(config, group)).fields]
    return bool(choices) and all(choice.is_traced(key, axis.values) for choice in choices)


def widths(grid: Grid, config: Config, rows: np.ndarray) -> np.ndarray | None:
    """Return the hidden width of each trial, int64 `(trials,)`; None for a model that has none."""
    if not config.model.is_padded:
        return None
    return _Columns(grid, config, rows, "model").values("width").astype(np.int64)


def bind(grid: Grid, inputs: Inputs, rows: np.ndarray) -> tuple[Static, HParams]:
    """Collect the fields of a program's trials.

    Args:
        grid: The cells and seeds.
        inputs: The config, data and loss of the trials.
        rows: int64 `(trials,)`, places in the order of `Grid.trials()`; their cells differ in traced fields
            alone.

    Returns:
        The values that are compiled for, and the traced ones as NumPy leaves of `(trials, ...)`.

    Raises:
        ConfigError: The program's dtype cannot hold a number, or a user's function fails.
    """
    config = inputs.config
    groups = {
        group: _Columns(grid, config, rows, group) for group in ("model", "loss", "optimizer", "schedule")
    }
    bound = {group: getattr(config, group).bind(columns) for group, columns in groups.items()}
    traced = {group: fields for group, (fields, _) in bound.items()}
    _check_starts(inputs, traced["model"])
    one_trial = {name: leaf[0] for name, leaf in traced["model"].items()}, bound["model"][1]
    sizes = inputs.n_features, inputs.n_classes
    task = config.model.make_task(
        one_trial, TaskInputs(inputs.loss, bound["loss"][1], config.dtype, *sizes, inputs.draw)
    )
    hparams = HParams(
        seed=grid.trials()[2][rows].astype(np.uint32),
        twin=np.zeros(len(rows), bool),
        diverge_above=_Columns(grid, config, rows, "").floats("diverge_above"),
        task={"model": traced["model"], "loss": traced["loss"]},
        optimizer=traced["optimizer"],
        schedule=traced["schedule"],
    )
    length = TrainingLength(config.steps, config.record_every, config.batch_size)
    names = config.optimizer.name, config.schedule.name
    static = Static(task, *names, length, config.dtype, config.precision)
    if config.record_params and isinstance(task, Supervised):
        # A user's function that fails is reported as such, before its parameters are counted.
        trace_user_functions(inputs, static, hparams)
        recorded = recorded_names(config.model.name, static, hparams, wide=config.model.is_padded)
        static = replace(static, task=replace(task, recorded=recorded))
    return static, hparams


def cell_fields(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the traced fields of one model, which have no trial axis, and the static ones."""
    traced, static = config.model.bind(_Columns(expand((), (0,)), config, np.zeros(1, np.int64), "model"))
    return {name: leaf[0] for name, leaf in traced.items()}, static


def _check_starts(inputs: Inputs, traced: dict[str, Any]) -> None:
    """Raise `ConfigError` where a start has another size than what it starts."""
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
            ConfigError: The dtype cannot hold one.
        """
        # Cells with weights of zero were collapsed over their scale, and have none.
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
