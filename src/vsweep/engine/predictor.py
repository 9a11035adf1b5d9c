"""Predict with a trained model from its stored parameters."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vsweep.config.choices import TaskInputs
from vsweep.config.validate import Config
from vsweep.engine.blocks import leaf_name
from vsweep.engine.hyperparams import cell_fields
from vsweep.engine.inputs import data_key, target_of
from vsweep.errors import ConfigError
from vsweep.store.blocks import Params
from vsweep.tasks.data.dataset import as_frame, is_masked, to_floats
from vsweep.tasks.minimize import Minimize
from vsweep.tasks.task import param_dtype
from vsweep.training.loop import TrainingLength
from vsweep.training.program import Static, precision_context


class Predictor:
    """A function of raw examples `(examples, features)`, which it standardizes itself.

    It returns the label of each example's class, in the type of the targets, or a number for each example,
    `(examples,)`. For a function that was minimized, examples are points `(points, coordinates)`, and the
    values there are returned. The columns of a data frame are found by their names, in any order.
    """

    def __init__(self, config: Config, record: Mapping[str, Any], params: Params | None) -> None:
        """Rebuild the model of a trial.

        Args:
            config: The config of the trial's cell.
            record: The sweep's `plan.json`.
            params: The arrays by name; None where they do not matter, as for a function to minimize.

        Raises:
            ConfigError: If the plan has no record of the data.
        """
        data = _data_record(config, record)
        model, n_classes = config.model, len(data["classes"])
        self._target = target_of(config, data.get("is_table", False), data.get("moments", ()))
        self._data, self._loss = data, model.make_loss(config.loss, config.data, n_classes)
        fields = cell_fields(config)
        sizes = len(data["features"]), n_classes
        inputs = TaskInputs(self._loss, config.loss.fields, config.dtype, *sizes)
        maker = model.make_task(fields, inputs)
        self._names = maker.numbers if isinstance(maker, Minimize) else data["features"]
        self._static = Static(maker, "", "", TrainingLength(0, 1, None), config.dtype, config.precision)
        with precision_context(self._static):
            self._task = maker({"model": fields[0], "loss": {}})
            template = jax.eval_shape(self._task.init, jax.random.key(0))
        paths, tree = jax.tree_util.tree_flatten_with_path(template)
        leaves = [np.zeros(p.shape, p.dtype) if params is None else params[leaf_name(at)] for at, p in paths]
        self._params = jax.tree.unflatten(tree, leaves)

    @property
    def classes(self) -> np.ndarray:
        """The label of each class, in the order of `predict_proba`; none where targets are numbers."""
        labels, dtype = self._data.get("labels"), self._data.get("label_type")
        # Directories of earlier versions have the labels as text alone.
        return np.asarray(self._data["classes"] if labels is None else labels, dtype)

    def outputs(self, x: Any) -> np.ndarray:
        """Return the model's outputs, logits for classes and numbers in the targets' unit.

        Args:
            x: Numbers, `(examples, features)`, or `(examples,)` for one feature.

        Raises:
            ValueError: If x lacks a feature, has another number of features than the data, or holds values
                that are not finite numbers.

        Returns:
            Floating `(examples, n_outputs)`.
        """
        x, dtype = self._array(x), np.dtype(param_dtype(self._static.dtype))
        if self._data["features"]:
            x = (x - np.asarray(self._data["mean"])) / np.asarray(self._data["std"])
            for row, column in np.argwhere(np.abs(x) > np.finfo(dtype).max)[:1]:
                got = f"feature {self._names[column]!r} is too large for {dtype} in row {row}"
                raise ValueError(f"x: {got}; give it in the unit of the data")
        with precision_context(self._static):
            outputs = np.asarray(self._task.apply(self._params, jnp.asarray(x.T, dtype))).T
        mean, scale = self._target
        # A float32 would lose the digits of a target far from 0.
        return outputs.astype(np.float64) * scale + mean if scale != 1.0 or mean else outputs

    def _array(self, x: Any) -> np.ndarray:
        """Return raw examples as finite float64 `(examples, features)`, in the data's order of features."""
        names, x = list(self._names), as_frame(x)
        if hasattr(x, "columns"):
            parts = _aligned(x, names)
        else:
            x = x if is_masked(x) else np.asarray(x)
            x = x[:, None] if x.ndim == 1 and len(names) == 1 else x
            if x.ndim != 2 or x.shape[1] != len(names):
                needed = f"(examples, {len(names)}): {', '.join(names)}"
                raise ValueError(f"x has the shape {x.shape}; expected {needed}")
            parts = [x[:, i] for i in range(len(names))]
        columns = []
        for name, part in zip(names, parts, strict=True):
            try:
                columns.append(to_floats(part))
            except (TypeError, ValueError) as error:
                raise ValueError(f"x: feature {name!r} is not of numbers ({error})") from error
            odd = ~np.isfinite(columns[-1])
            if odd.any() and self._data["features"]:
                got = f"{columns[-1][odd][0]} in row {odd.argmax()}, {odd.sum()} such values in all"
                raise ValueError(f"x: feature {name!r} is {got}; fill or drop them")
        return np.stack(columns, axis=1)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the probability of each class, float64 `(examples, classes)`, in the order of `classes`.

        Args:
            x: Raw examples, as in `outputs`.

        Raises:
            ValueError: If targets are numbers, or the loss is your own, whose outputs may mean anything.
        """
        if self._loss.probabilities is None:
            why = "your own loss does not say what outputs mean" if self._loss.classify else "it has numbers"
            raise ValueError(f"predict_proba: this model has no probabilities, since {why}; use outputs(x)")
        with jax.enable_x64():
            outputs = jnp.asarray(self.outputs(x).T, jnp.float64)
            return np.asarray(self._loss.probabilities(outputs)).T

    def __call__(self, x: Any) -> np.ndarray:
        """Return the label of each example's class, or its number, `(examples,)`.

        Raises:
            ValueError: As `outputs` does, or if outputs that decide on a class are NaN.
        """
        outputs = self.outputs(x)
        if self._loss.classify is None:
            return outputs[:, 0]
        undecided = np.isnan(outputs).any(axis=1)
        if undecided.any():
            why = (
                f"the model's outputs are NaN in row {undecided.argmax()}, as after a training that diverged"
            )
            raise ValueError(f"no class: {why}; use outputs(x)")
        with precision_context(self._static):
            return self.classes[np.asarray(self._loss.classify(jnp.asarray(outputs.T)))]


def _data_record(config: Config, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record of a config's data in `plan.json`. Raises `ConfigError`."""
    key = data_key(config)
    for name, data in record.get("data", {}).items():
        # The record has the name of a method with its class, and a function that is not imported has its own.
        if name == key or (config.data.is_user_function and name.endswith(f".{key}")):
            return data
    raise ConfigError("data", "plan.json has no record of them", "train the sweep again")


def _aligned(x: Any, names: list[str]) -> list[Any]:
    """Return the columns of a data frame that have these names, in their order; others are left out."""
    columns = list(map(str, x.columns))
    missing = [name for name in names if name not in columns]
    if missing:
        others = [name for name in columns if name not in names]
        has = f"; its other columns are {', '.join(others)}" if others else ""
        way = "name its columns as in the data, or give an array in the order of the features"
        raise ValueError(f"x lacks the features {', '.join(missing)}{has}; {way}")
    for name in names:
        if columns.count(name) > 1:
            raise ValueError(f"x has two columns called {name!r}; leave one out")
    return [x[x.columns[columns.index(name)]] for name in names]
