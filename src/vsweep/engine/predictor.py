"""Predictions by a trained model, from its parameters as they are kept."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vsweep.config.schema import OWN, POINT
from vsweep.config.validate import Config
from vsweep.engine.blocks import leaf_name
from vsweep.engine.inputs import data_key, loss_of
from vsweep.errors import ConfigError
from vsweep.store.blocks import Params
from vsweep.tasks.losses import Loss
from vsweep.tasks.minimize import Minimise, coordinates
from vsweep.tasks.task import MakeTask, Supervised, param_dtype
from vsweep.training.loop import TrainingLength
from vsweep.training.vectorize import Static, precision_context


class Predictor:
    """A function of examples, `(examples, features)` as they came, before any standardising.

    It gives the label of each example's class, or a number each, `(examples,)`. Of a function that was
    minimised, examples are points `(points, coordinates)`, whatever the trial, and it gives its value there.
    """

    def __init__(self, config: Config, data: Mapping[str, Any], params: Params | None) -> None:
        """config: of the trial's cell. data: the record of its data in `plan.json`.

        params: by name; None where they do not matter, as those of a function's point.
        """
        self._data, self._loss = data, loss_of(config, len(data["classes"]))
        maker, fields = _task(config, self._loss, len(data["features"]), len(data["classes"]))
        self._names = maker.numbers if isinstance(maker, Minimise) else data["features"]
        self._static = Static(maker, "", "", TrainingLength(0, 1, None), config.dtype, config.precision)
        with precision_context(self._static):
            self._task = maker(fields)
            template = jax.eval_shape(self._task.init, jax.random.key(0))
        paths, tree = jax.tree_util.tree_flatten_with_path(template)
        leaves = [np.zeros(p.shape, p.dtype) if params is None else params[leaf_name(at)] for at, p in paths]
        self._params = jax.tree.unflatten(tree, leaves)

    def outputs(self, x: Any) -> np.ndarray:
        """The model's raw outputs (logits, of classes), `(examples, n_outputs)`.

        Raises `ValueError` where x has not as many features as the data.
        """
        x = np.asarray(x, np.float64)
        names = self._names
        x = x[:, None] if x.ndim == 1 and len(names) == 1 else x
        if x.ndim != 2 or x.shape[1] != len(names):
            takes = f"(examples, {len(names)}): {', '.join(names)}"
            raise ValueError(f"x has the shape {x.shape}; it takes {takes}")
        if self._data["features"]:
            x = (x - np.asarray(self._data["mean"])) / np.asarray(self._data["std"])
        with precision_context(self._static):
            dtype = param_dtype(self._static.dtype)
            return np.asarray(self._task.apply(self._params, jnp.asarray(x.T, dtype))).T

    def __call__(self, x: Any) -> np.ndarray:
        """The label of each example's class, or its number."""
        outputs = self.outputs(x)
        if self._loss.classify is None:
            return outputs[:, 0]
        found = np.asarray(self._loss.classify(jnp.asarray(outputs.T)))
        return np.asarray(self._data["classes"])[found]


def predictor(config: Config, record: Mapping[str, Any], params: Params | None) -> Predictor:
    """The predictor of a trial. record: the sweep's `plan.json`. Raises `ConfigError`."""
    try:
        data = record["data"][data_key(config)]
    except KeyError as error:
        raise ConfigError("data", "the plan has no record of them", "train the sweep again") from error
    return Predictor(config, data, params)


def _task(config: Config, loss: Loss, n_features: int, n_classes: int) -> tuple[MakeTask, dict[str, Any]]:
    """The task of a trial alone, and its traced fields; those that draw weights do not matter here."""
    if config.model.name == POINT:
        function, dtype = config.loss.function, param_dtype(config.dtype)
        starts = {name: np.asarray(config.model.fields[name], dtype) for name in coordinates(function)}
        sizes = tuple((name, (*start.shape, None)[0]) for name, start in starts.items())
        fields = tuple(config.loss.fields.items())
        point = Minimise(function, sizes, config.model.fields["fixed"], fields, config.dtype)
        return point, {"model": {**starts, "spread": np.zeros((), dtype)}, "loss": {}}
    static, traced = dict(config.model.fields), {}
    if config.model.name != OWN:
        traced = {"init": np.int32(0), "init_scale": np.float32(1.0)}
        static |= {"init": (static["init"],)}
        static.pop("init_scale")
        static.pop("start", None)
        if "width" in static:
            traced["width"] = np.int32(static["width"])
    made = Supervised(
        config.model.function,
        loss,
        n_features,
        loss.n_outputs(n_classes),
        tuple(static.items()),
        tuple(config.loss.fields.items()),
        config.dtype,
    )
    return made, {"model": traced, "loss": {}}
