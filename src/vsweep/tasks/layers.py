"""An affine layer whose products take the form that is fastest for their shape.

On a CPU a matrix product with a thin side (few inputs, few classes) costs mostly its call. Written as a sum
of outer products it is fused with what follows, and as matrix-vector products it is one vectorised loop
each; a program of such forms alone has no library calls, and can be compiled into a single kernel. On a GPU
or a TPU only the fused sums pay: of a thin product the library's own kernel is the fastest there.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

# Bounds of the forms, measured on CPUs: the inputs up to which a product is a sum of outer products that is
# fused with what follows; the rows, or columns, up to which it is taken apart into matrix-vector products;
# and the multiply-adds above which a library's own blocking beats that.
_OUTER = 4
_THIN = 16
_SMALL = 300_000


@jax.custom_vjp
def affine(w: Array, b: Array, x: Array) -> Array:
    """`w x + b` for every example.

    w: `(out, in)`. b: `(out,)`. x: `(in, examples)`. Returns `(out, examples)`. Only reverse-mode
    derivatives.
    """
    return _times(w, x) + b[:, None]


def _forward(w: Array, b: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(w, b, x), (w, x)


def _backward(kept: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    w, x = kept
    return _times_transposed(g, x), g @ jnp.ones(g.shape[1], g.dtype), _transposed_times(w, g)


affine.defvjp(_forward, _backward)


def has_library_calls(n_out: int, n_in: int, examples: int, *, first: bool) -> bool:
    """Whether any product of such a layer, or of its gradient, is left to a library on a CPU.

    first: of the first layer, whose inputs need no gradient.
    """
    ahead = n_in <= _OUTER or (n_out <= _THIN and n_out * n_in * examples <= _SMALL)
    return not (ahead and min(n_out, n_in) <= _THIN and (first or n_out <= _THIN))


def _times(w: Array, x: Array) -> Array:
    """`w x`, of `(m, k)` and `(k, n)`."""
    (m, k), n = w.shape, x.shape[1]
    if k <= _OUTER:
        return _outer_products(w, x)
    if m <= _THIN and m * k * n <= _SMALL:
        return _on_cpu(lambda w, x: jnp.stack([w[i] @ x for i in range(m)]), jnp.matmul, w, x)
    return w @ x


def _times_transposed(g: Array, x: Array) -> Array:
    """`g x^T`, of `(m, n)` and `(k, n)`."""
    m, k = g.shape[0], x.shape[0]
    if min(m, k) > _THIN:
        return g @ x.T

    def taken_apart(g: Array, x: Array) -> Array:
        if k <= min(m, _OUTER) or m > _THIN:
            return jnp.stack([g @ x[i] for i in range(k)], axis=1)
        return jnp.stack([x @ g[i] for i in range(m)])

    return _on_cpu(taken_apart, lambda g, x: g @ x.T, g, x)


def _transposed_times(w: Array, g: Array) -> Array:
    """`w^T g`, of `(m, k)` and `(m, n)`."""
    m = w.shape[0]
    if m <= _OUTER:
        return _outer_products(w.T, g)
    if m <= _THIN:
        return _on_cpu(lambda w, g: _outer_products(w.T, g), lambda w, g: w.T @ g, w, g)
    return w.T @ g


def _outer_products(w: Array, x: Array) -> Array:
    dtype = jnp.result_type(w, x)
    # A sum in bfloat16 would round at every term, where a library's product does not.
    kept = jnp.float32 if dtype == jnp.bfloat16 else dtype
    w, x = w.astype(kept), x.astype(kept)
    return reduce(jnp.add, [w[:, i, None] * x[None, i] for i in range(w.shape[1])]).astype(dtype)


def _on_cpu(form: Callable[..., Array], elsewhere: Callable[..., Array], *operands: Any) -> Array:
    return lax.platform_dependent(*operands, cpu=form, default=elsewhere)
