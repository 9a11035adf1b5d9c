"""Trace the user's functions once, without compiling: a sweep that cannot run must write nothing."""

import jax

from vsweep.engine.inputs import Inputs, arrays
from vsweep.errors import ConfigError
from vsweep.tasks.task import MOST_RECORDED, Draw, scalar_names
from vsweep.training.vectorize import HParams, Static, precision_context, train_one


def trace_user_functions(inputs: Inputs, static: Static, hparams: HParams) -> None:
    """Trace a program that holds a function of the user's.

    Args:
        inputs: The config, data and loss of the trials.
        static: The values that the program is compiled for.
        hparams: Leaves of `(trials, ...)`.

    Raises:
        ConfigError: A function fails; the message names it.
    """
    config = inputs.config
    users = config.user_functions
    draw = inputs.draw if config.data.is_user_function else None
    if not users and draw is None:
        return
    one = jax.tree.map(lambda leaf: leaf[0], hparams)
    data = arrays(inputs.split, hparams.diverge_above.dtype)
    if draw is not None:
        _try_draw(inputs, static, draw)
    try:
        with precision_context(static):
            jax.eval_shape(lambda h, d: train_one(static, h, d), one, data)
    except Exception as error:
        reason = _reason(error)
        in_loss = "loss" in users and (len(users) == 1 or "the loss gave" in str(error))
        if type(error).__name__ not in _REASONS and "function gave" not in str(error):
            reason += config.model.trace_hint
        field = "loss._target_" if in_loss or not users else "model._target_"
        raise ConfigError(field, f"cannot be trained ({reason})", "") from error


# JAX's messages about these mistakes are long, and name the mistake last.
_REASONS = {
    "TracerArrayConversionError": "it uses numpy; use jax.numpy (import jax.numpy as jnp)",
    "TracerBoolConversionError": "it asks `if` of a number that is traced; use jnp.where",
}


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return _REASONS.get(kind) or " ".join(f"{kind}: {error}".split())[:400]


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
        got = f"its draw gave the shapes {shapes[0]} and {shapes[1]}"
        raise ConfigError("data", got, f"it takes {needed[0]} and {needed[1]}")


def recorded_names(model: str, static: Static, hparams: HParams, *, wide: bool) -> tuple[str, ...]:
    """Return the names of all parameters of a model.

    Args:
        model: Its name, for the message.
        static: The values that the program is compiled for.
        hparams: Leaves of `(trials, ...)`.
        wide: Whether the model has hidden layers.

    Raises:
        ConfigError: The parameters are too many to be recorded.
    """
    got = f"model={model} has hidden layers"
    if not wide:
        one = jax.tree.map(lambda leaf: leaf[0], hparams)
        with precision_context(static):
            params = jax.eval_shape(static.task(one.task).init, jax.random.key(0))
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        if size <= MOST_RECORDED:
            return tuple(scalar_names(params))
        got = f"model={model} has {size} parameters"
    takes = f"it takes false, or a model of up to {MOST_RECORDED} parameters without hidden layers"
    raise ConfigError("record_params", got, takes)
