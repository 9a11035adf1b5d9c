"""The draws of `jax.random`, in NumPy.

Data are drawn before a device is chosen, and a draw in JAX would start one. Devices also round differently,
and the same data should have the same bytes on every machine.
"""

import numpy as np
from scipy.special import erfinv

# Threefry-2x32 in 20 rounds: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def key(seed: int) -> np.ndarray:
    """Return `jax.random.PRNGKey(seed, impl="threefry2x32")`, uint32 `(2,)`, for a seed in `[0, 2**32)`."""
    return np.asarray([0, seed], np.uint32)


def split(key: np.ndarray, n: int = 2) -> np.ndarray:
    """Return `jax.random.split`, uint32 `(n, 2)`, as with `jax_threefry_partitionable`."""
    return np.stack(_hashes(key, n), axis=1)


def normal(key: np.ndarray, n: int) -> np.ndarray:
    """Return `jax.random.normal`, float32 `(n,)`, as exactly as its inverse error function, 1e-5."""
    low, high = _hashes(key, n)
    # The 23 highest bits are the fraction of a number in [1, 2), which is mapped to (-1, 1).
    unit = (((low ^ high) >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1.0)
    least = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = np.maximum(least, unit * (np.float32(1.0) - least) + least)
    return (2.0**0.5 * erfinv(uniform.astype(np.float64))).astype(np.float32)


def _hashes(key: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash the counts from 0 to n - 1 under a key; return both words, uint32 `(n,)`."""
    keys = (key[:1], key[1:], key[:1] ^ key[1:] ^ _PARITY)
    x, y = np.zeros(n, np.uint32) + keys[0], np.arange(n, dtype=np.uint32) + keys[1]
    for i in range(5):
        for bits in _ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(bits)) | (y >> np.uint32(32 - bits)))
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y
