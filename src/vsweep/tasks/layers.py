"""An affine layer whose products take the fastest form for their shape.

On a CPU, calling the library costs most of a matrix product with a thin side (few inputs, few classes). A
sum of outer products is fused with the operations that follow, and a matrix-vector product is one vectorized
loop; a program with only these forms has no library calls, and can be compiled to a single kernel. On a GPU
or a TPU only the fused sums are faster; for other thin products the library's kernel is the fastest.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

# These bounds were measured on CPUs. A product over at most this many inputs is a sum of outer products.
_OUTER = 4
# A product of at most this many rows or columns is split into matrix-vector products.
_THIN = 16
# A product of more multiply-adds than this is not split: the library's blocking is faster.
_SMALL = 300_000


@jax.custom_vjp
def affine(w: Array, b: Array, x: Array) -> Array:
    """Compute `w x + b` for every example; only reverse-mode derivatives are defined.

    Args:
        w: Floating `(out, in)`, the weights.
        b: Floating `(out,)`, the biases.
        x: Floating `(in, examples)`, the inputs.

    Returns:
        `(out, examples)`.
    """
    return _times(w, x) + b[:, None]


def _forward(w: Array, b: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(w, b, x), (w, x)


def _backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    w, x = residuals
    return _times_transposed(g, x), g @ jnp.ones(g.shape[1], g.dtype), _transposed_times(w, g)


affine.defvjp(_forward, _backward)


def has_library_calls(n_out: int, n_in: int, examples: int, *, first: bool) -> bool:
    """Return whether a CPU calls a library for any product of a layer or its gradient.

    Args:
        n_out: The number of outputs of the layer.
        n_in: The number of inputs of the layer.
        examples: The number of examples of a step.
        first: Whether the layer is the first one, whose inputs need no gradient.
    """
    forward = n_in <= _OUTER or (n_out <= _THIN and n_out * n_in * examples <= _SMALL)
    return not (forward and min(n_out, n_in) <= _THIN and (first or n_out <= _THIN))


def _times(w: Array, x: Array) -> Array:
    """Compute `w x` of `(m, k)` and `(k, n)`."""
    (m, k), n = w.shape, x.shape[1]
    if k <= _OUTER:
        return _outer_products(w, x)
    if m <= _THIN and m * k * n <= _SMALL:
        return on_cpu(lambda w, x: jnp.stack([w[i] @ x for i in range(m)]), jnp.matmul, w, x)
    return w @ x


def _times_transposed(g: Array, x: Array) -> Array:
    """Compute `g x^T` of `(m, n)` and `(k, n)`."""
    m, k = g.shape[0], x.shape[0]
    if min(m, k) > _THIN:
        return g @ x.T

    def vector_products(g: Array, x: Array) -> Array:
        if k <= min(m, _OUTER) or m > _THIN:
            return jnp.stack([g @ x[i] for i in range(k)], axis=1)
        return jnp.stack([x @ g[i] for i in range(m)])

    return on_cpu(vector_products, lambda g, x: g @ x.T, g, x)


def _transposed_times(w: Array, g: Array) -> Array:
    """Compute `w^T g` of `(m, k)` and `(m, n)`."""
    m = w.shape[0]
    if m <= _OUTER:
        return _outer_products(w.T, g)
    if m <= _THIN:
        return on_cpu(lambda w, g: _outer_products(w.T, g), lambda w, g: w.T @ g, w, g)
    return w.T @ g


def _outer_products(w: Array, x: Array) -> Array:
    dtype = jnp.result_type(w, x)
    # A sum in bfloat16 would round at every term; a library's product does not.
    sum_dtype = jnp.float32 if dtype == jnp.bfloat16 else dtype
    w, x = w.astype(sum_dtype), x.astype(sum_dtype)
    return reduce(jnp.add, [w[:, i, None] * x[None, i] for i in range(w.shape[1])]).astype(dtype)


def on_cpu(form: Callable[..., Any], elsewhere: Callable[..., Any], *operands: Any) -> Any:
    """Compute one form on a CPU, and another one elsewhere."""
    return lax.platform_dependent(*operands, cpu=form, default=elsewhere)
