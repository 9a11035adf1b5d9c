"""Draw the weights at step 0, such that a padded layer starts like the same layer without padding.

An initializer is a draw of unit variance and a standard deviation. A draw takes
`(key, shape, fan_out, fan_in)`: `shape = (out, in)` is the padded shape (static), and `fan_out <= out` and
`fan_in <= in` are the true sizes (int32 scalars, traced). It returns a float32 array of `shape`. Its leading
`(fan_out, fan_in)` weights equal the draw of the unpadded layer from the same key, bit for bit. The caller
masks the rest.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random

Shape = tuple[int, int]
Draw = Callable[[Array, Shape, Array, Array], Array]

# The standard deviation of a standard normal cut at two standard deviations.
_TRUNCATED_STD = 0.87962566103423978
_ROOT_3 = 3.0**0.5
# A multiple of the numbers that any CPU computes at once.
_VECTOR = 16
# The mass of the normal distribution within two standard deviations.
_WITHIN_2 = math.erf(2.0**0.5)


class Initializer(NamedTuple):
    """An initializer.

    Attributes:
        draw: A draw of weights of unit variance.
        std: `(fan_out, fan_in) -> scale`, a float32 scalar.
    """

    draw: Draw
    std: Callable[[Array, Array], Array]


def _rows(sample: Callable[[Array, tuple[int]], Array], key: Array, shape: Shape) -> Array:
    """Draw `shape` row by row, each from its own key, so that a prefix of a row is a shorter row's draw."""
    keys = jax.vmap(random.fold_in, in_axes=(None, 0))(key, jnp.arange(shape[0], dtype=jnp.uint32))
    # A CPU computes what is left over of its vectors by other instructions, which round differently.
    length = -(-shape[1] // _VECTOR) * _VECTOR
    # Without the barrier, programs would fuse a draw's arithmetic differently, and so round it differently.
    return lax.optimization_barrier(jax.vmap(lambda k: sample(k, (length,)))(keys))[:, : shape[1]]


def _centered(key: Array, shape: tuple[int]) -> Array:
    # The difference is exact, so later products round once, whether or not they become fused multiply-adds.
    return random.uniform(key, shape, jnp.float32) - 0.5


def _normal(key: Array, shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    return _rows(lambda k, s: random.normal(k, s, jnp.float32), key, shape)


def _truncated_normal(key: Array, shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    """Draw a normal cut at two standard deviations, by the inverse of its distribution function."""
    gain = 2.0**0.5 / _TRUNCATED_STD
    return _rows(lambda k, s: lax.erf_inv(_centered(k, s) * (2.0 * _WITHIN_2)) * gain, key, shape)


def _uniform(key: Array, shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    return _rows(lambda k, s: _centered(k, s) * (2.0 * _ROOT_3), key, shape)


def _zeros(key: Array, shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    return jnp.zeros(shape, jnp.float32)


def _orthogonal(key: Array, shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    """Draw orthonormal rows or columns, whichever are fewer."""
    draw = jnp.where(inside(shape, fan_out, fan_in), _normal(key, shape, fan_out, fan_in), 0.0)
    small, large = min(shape), max(shape)
    tall_rows, wide_rows = (
        jnp.zeros((small, large), jnp.float32).at[:, : part.shape[1]].set(part[:small])
        for part in (draw.T, draw)
    )
    is_tall = fan_out >= fan_in
    rows = _orthonormal_rows(jnp.where(is_tall, tall_rows, wide_rows))
    tall = jnp.zeros(shape, jnp.float32).at[:, :small].set(rows[:, : shape[0]].T)
    wide = jnp.zeros(shape, jnp.float32).at[:small, :].set(rows[:, : shape[1]])
    return jnp.where(is_tall, tall, wide)


def inside(shape: Shape, fan_out: Array, fan_in: Array) -> Array:
    """Return the mask of a padded layer's true weights, bool of `shape`; both fans are int32 scalars."""
    rows = jnp.arange(shape[0], dtype=jnp.int32)[:, None]
    columns = jnp.arange(shape[1], dtype=jnp.int32)[None, :]
    return (rows < fan_out) & (columns < fan_in)


def _orthonormal_rows(matrix: Array) -> Array:
    """Orthonormalize the rows of a matrix from the first on; rows of zeros stay.

    It is the Gram-Schmidt process with each projection done twice, which makes the rows orthogonal to
    rounding (Giraud, Langou and Rozloznik 2005), and the Q of the QR factorization of the transpose with a
    positive diagonal of R. A library's factorization would wait for threads that all CPU devices of the
    process share, and all of them can wait at the same time.
    """
    # Rows of a length of about 1 keep every sum below within its bounds.
    matrix = jax.vmap(_roughly_unit)(matrix)

    def rest(row: Array, rows: Array) -> Array:
        shares = _float(_sum(_fixed(rows * row[None, :]), 1))
        return _float(_fixed(row) - _sum(_fixed(rows * shares[:, None]), 0))

    def add(i: Array, rows: Array) -> Array:
        row = rest(_roughly_unit(rest(matrix[i], rows)), rows)
        return rows.at[i].set(row * _inverse(jnp.sqrt(_float(_sum(_fixed(row * row), 0)))))

    return lax.fori_loop(0, len(matrix), add, jnp.zeros_like(matrix))


def _roughly_unit(row: Array) -> Array:
    """Scale a row of up to 2^20 numbers, none far above the others, to a length near 1; zeros stay."""
    row = row * _inverse(jnp.abs(row).max())
    return row * _inverse(jnp.sqrt(_float(_sum(_fixed(row * row * 2.0**-20), 0)) * 2.0**20))


def _inverse(value: Array) -> Array:
    return 1.0 / jnp.where(value > 0.0, value, 1.0)


def _fixed(values: Array) -> Array:
    """Return numbers between -2 and 2 in units of 2^-30, int32.

    Sums of integers are the same in any order, so neither padding nor the compiler's choices change them. A
    product whose sum would be one of floats could also become a fused multiply-add, which rounds otherwise.
    """
    return jnp.round(values * 2.0**30).astype(jnp.int32)


def _sum(fixed: Array, axis: int) -> Array:
    # By default a sum of int32 is of int64 where a program has float64.
    return fixed.sum(axis, dtype=jnp.int32)


def _float(fixed: Array) -> Array:
    return fixed.astype(jnp.float32) * 2.0**-30


def _by_fan_in(gain: float, fan_out: Array, fan_in: Array) -> Array:
    return jnp.sqrt(gain / fan_in.astype(jnp.float32))


def _by_mean_fan(fan_out: Array, fan_in: Array) -> Array:
    return jnp.sqrt(2.0 / (fan_in + fan_out).astype(jnp.float32))


def _constant(std: float, fan_out: Array, fan_in: Array) -> Array:
    return jnp.float32(std)


_lecun, _he = partial(_by_fan_in, 1.0), partial(_by_fan_in, 2.0)
_unscaled = partial(_constant, 1.0)

# LeCun et al. 1998 ("Efficient BackProp"); Glorot and Bengio 2010; He et al. 2015 (arXiv:1502.01852);
# orthogonal: Saxe et al. 2014 (arXiv:1312.6120). As in jax.nn.initializers and Keras, a "normal" with a name
# before it is cut at two standard deviations and rescaled. `normal` is the standard normal, and `uniform` is
# uniform on [-1, 1).
INITIALIZERS: dict[str, Initializer] = {
    "lecun_normal": Initializer(_truncated_normal, _lecun),
    "lecun_uniform": Initializer(_uniform, _lecun),
    "he_normal": Initializer(_truncated_normal, _he),
    "he_uniform": Initializer(_uniform, _he),
    "glorot_normal": Initializer(_truncated_normal, _by_mean_fan),
    "glorot_uniform": Initializer(_uniform, _by_mean_fan),
    "normal": Initializer(_normal, _unscaled),
    "uniform": Initializer(_uniform, partial(_constant, 1.0 / _ROOT_3)),
    "zeros": Initializer(_zeros, _unscaled),
    "orthogonal": Initializer(_orthogonal, _unscaled),
}


def draw_weights(
    names: Sequence[str], index: Array, key: Array, shape: Shape, fan_out: Array, fan_in: Array
) -> Array:
    """Draw weights by an initializer whose index is traced.

    Args:
        names: The names of the initializers.
        index: Int32 scalar, the place in `names` of the initializer to use.
        key: A random key, scalar.
        shape: `(out, in)`, padded.
        fan_out: Int32 scalar, the true number of outputs.
        fan_in: Int32 scalar, the true number of inputs.

    Returns:
        float32 of `shape`, to be masked.
    """
    initializers = [INITIALIZERS[name] for name in names]
    # `vmap` computes every branch, so initializers with the same draw share one.
    draws = list(dict.fromkeys(initializer.draw for initializer in initializers))
    branch = jnp.asarray([draws.index(initializer.draw) for initializer in initializers], jnp.int32)[index]
    branches = [lambda k, d=draw: d(k, shape, fan_out, fan_in) for draw in draws]
    weights = lax.switch(branch, branches, key)
    return weights * jnp.stack([initializer.std(fan_out, fan_in) for initializer in initializers])[index]
