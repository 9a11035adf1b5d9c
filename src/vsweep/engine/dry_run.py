"""What a person brings, traced once without compiling, so that a sweep that cannot run writes nothing."""

import jax

from vsweep.config.schema import OWN, POINT
from vsweep.engine.inputs import Inputs, arrays
from vsweep.errors import ConfigError
from vsweep.tasks.task import MOST_RECORDED, Draw, scalar_names
from vsweep.training.vectorize import HParams, Static, precision_context, train_one


def trace_user_functions(inputs: Inputs, static: Static, hparams: HParams) -> None:
    """Trace a program that holds a person's own function.

    Raises `ConfigError`, naming which of them fails.
    """
    owns = [group for group in ("model", "loss") if getattr(inputs.config, group).name == OWN]
    draw = inputs.draw if inputs.config.data.name == OWN else None
    if not owns and draw is None:
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
        loss = "loss" in owns and (len(owns) == 1 or "the loss gave" in str(error))
        known = type(error).__name__ in _MEANT or "function gave" in str(error)
        if inputs.config.model.name == POINT and not known:
            reason += "; it has to take its coordinates and give a scalar, in jax.numpy"
        field = "loss._target_" if loss or not owns else "model._target_"
        raise ConfigError(field, f"cannot be trained ({reason})", "") from error


# What a person did, of what JAX says long and last.
_MEANT = {
    "TracerArrayConversionError": "it uses numpy; use jax.numpy (import jax.numpy as jnp)",
    "TracerBoolConversionError": "it asks `if` of a number that is traced; use jnp.where",
}


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return _MEANT.get(kind) or " ".join(f"{kind}: {error}".split())[:400]


def _try_draw(inputs: Inputs, static: Static, draw: Draw) -> None:
    size = inputs.examples
    needed = (inputs.n_features, size), (size,)
    try:
        with precision_context(static):
            x, y = jax.eval_shape(lambda key: draw(key, size), jax.random.key(0))
        given = x.shape, y.shape
    except Exception as error:
        raise ConfigError("data", f"its draw cannot be traced ({_reason(error)})", "") from error
    if given != needed:
        got = f"its draw gave the shapes {given[0]} and {given[1]}"
        raise ConfigError("data", got, f"it takes {needed[0]} and {needed[1]}")


def recorded_names(model: str, static: Static, hparams: HParams, *, wide: bool) -> tuple[str, ...]:
    """The names of all parameters of a model, by its name.

    wide: whether it has hidden layers. Raises `ConfigError` where they are too many to be recorded.
    """
    got = f"model={model} has hidden layers"
    if not wide:
        one = jax.tree.map(lambda leaf: leaf[0], hparams)
        with precision_context(static):
            params = jax.eval_shape(static.task(one.task).init, jax.random.key(0))
        found = sum(leaf.size for leaf in jax.tree.leaves(params))
        if found <= MOST_RECORDED:
            return tuple(scalar_names(params))
        got = f"model={model} has {found} parameters"
    takes = f"it takes false, or a model of up to {MOST_RECORDED} parameters without hidden layers"
    raise ConfigError("record_params", got, takes)
