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
from vsweep.tasks.minimize import Minimize
from vsweep.tasks.task import param_dtype
from vsweep.training.loop import TrainingLength
from vsweep.training.vectorize import Static, precision_context


class Predictor:
    """A function of raw examples `(examples, features)`, which it standardizes itself.

    It returns the label of each example's class, or a number for each example, `(examples,)`. For a function
    that was minimized, examples are points `(points, coordinates)`, and the values there are returned.
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
        try:
            data = record["data"][data_key(config)]
        except KeyError as error:
            raise ConfigError("data", "plan.json has no record of them", "train the sweep again") from error
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

    def outputs(self, x: Any) -> np.ndarray:
        """Return the model's outputs, logits for classes and numbers in the targets' unit.

        Args:
            x: Numbers, `(examples, features)`, or `(examples,)` for one feature.

        Raises:
            ValueError: If x has another number of features than the data.

        Returns:
            Floating `(examples, n_outputs)`.
        """
        x = np.asarray(x, np.float64)
        names = self._names
        x = x[:, None] if x.ndim == 1 and len(names) == 1 else x
        if x.ndim != 2 or x.shape[1] != len(names):
            needed = f"(examples, {len(names)}): {', '.join(names)}"
            raise ValueError(f"x has the shape {x.shape}; expected {needed}")
        if self._data["features"]:
            x = (x - np.asarray(self._data["mean"])) / np.asarray(self._data["std"])
        with precision_context(self._static):
            dtype = param_dtype(self._static.dtype)
            outputs = np.asarray(self._task.apply(self._params, jnp.asarray(x.T, dtype))).T
        mean, scale = self._target
        # A float32 would lose the digits of a target far from 0.
        return outputs.astype(np.float64) * scale + mean if scale != 1.0 or mean else outputs

    def __call__(self, x: Any) -> np.ndarray:
        """Return the label of each example's class, or its number, `(examples,)`."""
        outputs = self.outputs(x)
        if self._loss.classify is None:
            return outputs[:, 0]
        classes = np.asarray(self._loss.classify(jnp.asarray(outputs.T)))
        return np.asarray(self._data["classes"])[classes]
