"""Models as pairs of pure functions, for one trial.

Inputs, activations and outputs have features first, `(features, examples)`: on a CPU a step of an MLP is up
to 1.5 times as fast as with examples first.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from vsweep.tasks.initializers import draw_weights, inside
from vsweep.tasks.layers import affine

Params = Any


class Model(NamedTuple):
    """A model.

    Attributes:
        init: `(key, n_features, n_outputs) -> params`, any tree of floating arrays.
        apply: `(params, x) -> outputs`, floating `(n_features, examples)` and `(n_outputs, examples)`.
    """

    init: Callable[[Array, int, int], Params]
    apply: Callable[[Params, Array], Array]


class Within(NamedTuple):
    """A field whose bound is compiled for and whose value is traced.

    Attributes:
        value: Int32 scalar, traced: the width of this trial, or the index of its initializer.
        of: Static: the widest width of the program, or the names of its initializers.
    """

    value: Array
    of: Any


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


# The biases' key is folded with this number, which cannot be the index of a row of weights.
_BIASES = 2**31 - 1


def _layer(
    key: Array,
    shape: tuple[int, int],
    fans: tuple[Array, Array],
    init: Within,
    init_scale: Array,
    bias_init: str,
) -> dict[str, Array]:
    """Draw weights `(out, in)` and biases `(out,)`, zero outside the true sizes `fans`."""
    draw = draw_weights(init.of, init.value, key, shape, *fans)
    w = jnp.where(inside(shape, *fans), draw.astype(init_scale.dtype) * init_scale, 0.0)
    if bias_init == "zeros":
        return {"w": w, "b": jnp.zeros(shape[:1], w.dtype)}
    column, b_fans = (shape[0], 1), (fans[0], jnp.int32(1))
    b_key = random.fold_in(key, _BIASES)
    b = draw_weights((bias_init,), jnp.int32(0), b_key, column, *b_fans)
    return {"w": w, "b": jnp.where(inside(column, *b_fans), b.astype(w.dtype), 0.0)[:, 0]}


def unpadded(params: Params, width: int) -> Params:
    """Cut the parameters of a padded `mlp`, a list of `w` `(out, in)` and `b` `(out,)`, to its true width."""

    def cut(i: int, layer: Mapping[str, Any]) -> dict[str, Any]:
        rows = len(layer["b"]) if i == len(params) - 1 else width
        columns = layer["w"].shape[1] if i == 0 else width
        return {"w": layer["w"][:rows, :columns], "b": layer["b"][:rows]}

    return [cut(i, layer) for i, layer in enumerate(params)]


def _affine(layer: Mapping[str, Array], x: Array) -> Array:
    return affine(layer["w"], layer["b"], x)


def logistic(
    *, init: Within, init_scale: Array, bias_init: str = "zeros", start: Array | None = None
) -> Model:
    """Return the affine model: logits, or the prediction of a number.

    Args:
        init: The initializer of the weights.
        init_scale: Floating scalar, a factor on the drawn weights.
        bias_init: The name of the initializer of the biases.
        start: Floating `(n_outputs * (n_features + 1),)`, the first weights `(n_outputs, n_features)` row by
            row, then the biases; None draws them.
    """

    def first_params(key: Array, n_features: int, n_outputs: int) -> Params:
        if start is not None:
            w, b = start[: n_outputs * n_features], start[n_outputs * n_features :]
            return [{"w": w.reshape(n_outputs, n_features), "b": b}]
        fans = jnp.int32(n_outputs), jnp.int32(n_features)
        return [_layer(key, (n_outputs, n_features), fans, init, init_scale, bias_init)]

    return Model(first_params, lambda params, x: _affine(params[0], x))


def mlp(
    *,
    width: Within,
    depth: int,
    activation: str,
    init: Within,
    init_scale: Array,
    bias_init: str = "zeros",
) -> Model:
    """Return a network of `depth` hidden layers of `width` units, padded to the program's widest and masked.

    Args:
        width: The number of units of a hidden layer.
        depth: The number of hidden layers.
        activation: The name of the activation in `ACTIVATIONS`.
        init: The initializer of the weights.
        init_scale: Floating scalar, a factor on the drawn weights.
        bias_init: The name of the initializer of the biases.
    """
    f = ACTIVATIONS[activation]
    # Padding units have weights and biases of zero. If f(0) = 0, their output is zero and no gradient reaches
    # their weights; otherwise their output has to be masked.
    with jax.ensure_compile_time_eval():
        is_active_at_zero = bool(f(jnp.zeros(())) != 0)

    def first_params(key: Array, n_features: int, n_outputs: int) -> Params:
        sizes = [n_features, *[width.of] * depth, n_outputs]
        true = [jnp.int32(n_features), *[width.value] * depth, jnp.int32(n_outputs)]
        shapes, fans = zip(sizes[1:], sizes, strict=False), zip(true[1:], true, strict=False)
        return [
            _layer(random.fold_in(key, i), shape, fan, init, init_scale, bias_init)
            for i, (shape, fan) in enumerate(zip(shapes, fans, strict=True))
        ]

    def apply(params: Params, x: Array) -> Array:
        units = jnp.arange(width.of, dtype=jnp.int32)
        for layer in params[:-1]:
            x = f(_affine(layer, x))
            if is_active_at_zero:
                x = jnp.where(units[:, None] < width.value, x, 0.0)
        return _affine(params[-1], x)

    return Model(first_params, apply)


MODELS: dict[str, Callable[..., Model]] = {"logistic": logistic, "linear": logistic, "mlp": mlp}
