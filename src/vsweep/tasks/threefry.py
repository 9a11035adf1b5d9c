"""The draws of `jax.random`, in NumPy.

Data are drawn before a device is chosen, and a draw in JAX would start one; nor does any device round as
another does, while the same data should have the same bytes wherever they are made.
"""

import numpy as np

# Threefry-2x32 in 20 rounds: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)

# Giles 2010, "Approximating the erfinv function", single precision: polynomials in w - 2.5 and sqrt(w) - 3,
# from the highest power down, where w is below 5 and from there on.
_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
           -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
         -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def key(seed: int) -> np.ndarray:
    """`jax.random.PRNGKey(seed, impl="threefry2x32")`, uint32 `(2,)`, of a seed in `[0, 2**32)`."""
    return np.asarray([0, seed], np.uint32)


def split(key: np.ndarray, n: int = 2) -> np.ndarray:
    """`jax.random.split`, uint32 `(n, 2)`, as JAX has it where `jax_threefry_partitionable` is true."""
    return np.stack(_hashes(key, n), axis=1)


def normal(key: np.ndarray, n: int) -> np.ndarray:
    """`jax.random.normal`, float32 `(n,)`, to a few units in the last place; see `split`."""
    low, high = _hashes(key, n)
    # The 23 highest bits as the fraction of a number in [1, 2), then onto (-1, 1).
    unit = (((low ^ high) >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1.0)
    least = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = np.maximum(least, unit * (np.float32(1.0) - least) + least)
    return np.float32(2.0**0.5) * _erf_inv(uniform)


def _hashes(key: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Both words of the hash of each count from 0 under a key, uint32 `(n,)`."""
    keys = (key[:1], key[1:], key[:1] ^ key[1:] ^ _PARITY)
    x, y = np.zeros(n, np.uint32) + keys[0], np.arange(n, dtype=np.uint32) + keys[1]
    for i in range(5):
        for bits in _ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(bits)) | (y >> np.uint32(32 - bits)))
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _erf_inv(x: np.ndarray) -> np.ndarray:
    """The inverse of the error function, float32, inside (-1, 1)."""
    w = -np.log1p((-x * x).astype(np.float64)).astype(np.float32)
    centre = w < 5.0
    w = np.where(centre, w - np.float32(2.5), np.sqrt(w) - np.float32(3.0))
    p = np.zeros_like(x)
    for near, far in zip(_CENTRE, _TAIL, strict=True):
        p = np.where(centre, np.float32(near), np.float32(far)) + p * w
    return p * x
