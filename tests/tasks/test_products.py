"""Every form of an affine layer gives what NumPy gives in float64, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsweep.tasks.layers import affine

# (out, in, examples): a sum of outer products, matrix-vector products by rows and by columns, and a
# library's product, ahead and behind.
SHAPES = [
    (32, 2, 40),
    (3, 32, 40),
    (1, 30, 57),
    (5, 7, 9),
    (24, 24, 30),
    (24, 7, 30),
    (10, 64, 1797),
    (1, 1, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("lanes", [0, 3])
def test_value_and_gradients(shape, lanes):
    n_out, n_in, examples = shape
    rng = np.random.default_rng(0)
    many = (lanes,) if lanes else ()
    w, b, g = (rng.standard_normal((*many, *s)) for s in ((n_out, n_in), (n_out,), (n_out, examples)))
    x = rng.standard_normal((n_in, examples))

    def run(w, b, g, x):
        out, back = jax.vjp(affine, w, b, x)
        return out, *back(g)

    each = jax.vmap(run, in_axes=(0, 0, 0, None)) if lanes else run
    with jax.enable_x64(True):
        out, dw, db, dx = jax.jit(each)(*(jnp.asarray(a) for a in (w, b, g, x)))
    near = {"rtol": 1e-12, "atol": 1e-12 * np.sqrt(examples + n_in)}
    np.testing.assert_allclose(out, w @ x + b[..., None], **near)
    np.testing.assert_allclose(dw, np.einsum("...on,in->...oi", g, x), **near)
    np.testing.assert_allclose(db, g.sum(axis=-1), **near)
    np.testing.assert_allclose(dx, np.einsum("...oi,...on->...in", w, g), **near)
