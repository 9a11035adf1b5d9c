"""Models as pairs of pure functions, for one trial.

Inputs stand features first, `(features, examples)`, and so do activations and outputs: on a CPU a
step of an MLP is up to half again as fast as with examples first.
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

    init: `(key, n_features, n_outputs) -> params`, any tree of floating arrays.
    apply: `(params, x) -> outputs`, with x `(n_features, examples)`, outputs `(n_outputs, examples)`.
    """

    init: Callable[[Array, int, int], Params]
    apply: Callable[[Params, Array], Array]


class Within(NamedTuple):
    """A field of which a program compiles the bound and traces the value.

    value: int32 scalar, traced: the width of this trial, or the index of its initializer.
    of: static: the widest width of the program, or the names of its initializers.
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


_BIASES = 2**31 - 1


def _layer(
    key: Array,
    shape: tuple[int, int],
    fans: tuple[Array, Array],
    init: Within,
    init_scale: Array,
    bias_init: str,
) -> dict[str, Array]:
    """Weights `(out, in)` and biases `(out,)`, zero outside the true fans `(out, in)`."""
    draw = draw_weights(init.of, init.value, key, shape, *fans)
    w = jnp.where(inside(shape, *fans), draw.astype(init_scale.dtype) * init_scale, 0.0)
    if bias_init == "zeros":
        return {"w": w, "b": jnp.zeros(shape[:1], w.dtype)}
    column, b_fans = (shape[0], 1), (fans[0], jnp.int32(1))
    # A key that no row of weights has.
    b_key = random.fold_in(key, _BIASES)
    b = draw_weights((bias_init,), jnp.int32(0), b_key, column, *b_fans)
    return {"w": w, "b": jnp.where(inside(column, *b_fans), b.astype(w.dtype), 0.0)[:, 0]}


def unpadded(params: Params, width: int) -> Params:
    """The parameters of an `mlp` of this width, out of those of a wider one that is masked to it."""

    def layer(i: int, each: Mapping[str, Any]) -> dict[str, Any]:
        rows = len(each["b"]) if i == len(params) - 1 else width
        columns = each["w"].shape[1] if i == 0 else width
        return {"w": each["w"][:rows, :columns], "b": each["b"][:rows]}

    return [layer(i, each) for i, each in enumerate(params)]


def _affine(layer: Mapping[str, Array], x: Array) -> Array:
    return affine(layer["w"], layer["b"], x)


def logistic(
    *, init: Within, init_scale: Array, bias_init: str = "zeros", start: Array | None = None
) -> Model:
    """Logits (or, for a number, the prediction) as an affine function of the features.

    start: floating `(n_outputs * (n_features + 1),)`, the weights `(n_outputs, n_features)` row by row and
    then the biases, to begin with; None: they are drawn.
    """

    def begin(key: Array, n_features: int, n_outputs: int) -> Params:
        if start is not None:
            w, b = start[: n_outputs * n_features], start[n_outputs * n_features :]
            return [{"w": w.reshape(n_outputs, n_features), "b": b}]
        fans = jnp.int32(n_outputs), jnp.int32(n_features)
        return [_layer(key, (n_outputs, n_features), fans, init, init_scale, bias_init)]

    return Model(begin, lambda params, x: _affine(params[0], x))


def mlp(
    *,
    width: Within,
    depth: int,
    activation: str,
    init: Within,
    init_scale: Array,
    bias_init: str = "zeros",
) -> Model:
    """`depth` hidden layers of `width` units, padded to the program's widest and masked."""
    f = ACTIVATIONS[activation]
    # Units outside the width have weights and biases of zero. Where f(0) = 0 they stay silent, and no
    # gradient reaches them or what leaves them; elsewhere they have to be silenced.
    with jax.ensure_compile_time_eval():
        speaks_at_zero = bool(f(jnp.zeros(())) != 0)

    def start(key: Array, n_features: int, n_outputs: int) -> Params:
        shape = [n_features, *[width.of] * depth, n_outputs]
        true = [jnp.int32(n_features), *[width.value] * depth, jnp.int32(n_outputs)]
        return [
            _layer(
                random.fold_in(key, i),
                (shape[i + 1], shape[i]),
                (true[i + 1], true[i]),
                init,
                init_scale,
                bias_init,
            )
            for i in range(depth + 1)
        ]

    def apply(params: Params, x: Array) -> Array:
        units = jnp.arange(width.of, dtype=jnp.int32)
        for layer in params[:-1]:
            x = f(_affine(layer, x))
            if speaks_at_zero:
                x = jnp.where(units[:, None] < width.value, x, 0.0)
        return _affine(params[-1], x)

    return Model(start, apply)


MODELS: dict[str, Callable[..., Model]] = {"logistic": logistic, "linear": logistic, "mlp": mlp}
