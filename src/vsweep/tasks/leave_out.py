"""Reductions over all examples of a part but one group of them at a time: the delete-a-group jackknife.

The variance over examples of any statistic T is estimated by `(G - 1) / G * sum((T_g - mean)^2)`, where T_g
is the statistic of all examples but those of group g of G (Shao and Tu 1995, The Jackknife and Bootstrap).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from vsweep.tasks.scores import Reduction

# Fewer groups estimate a variance too roughly, and more cost time and space.
_FEWEST, _MOST = 10, 20


def count_groups(examples: int) -> int:
    """Return the number of groups of a part: 10 to 20, all examples if there are fewer, 0 for a lone one.

    It is the number that leaves the fewest examples over, the largest of several.
    """
    if examples < 2:
        return 0
    counts = range(min(examples, _FEWEST), min(examples, _MOST) + 1)
    return min(counts, key=lambda count: (examples % count, -count))


@lru_cache
def grouped_order(examples: int) -> np.ndarray:
    """Return the order of the examples in which groups of one size follow one another, int32 `(examples,)`.

    The order is drawn at random, since rows of a table are often sorted by class. It depends on the number of
    examples alone, so that trials can be compared group by group. Examples that are left over come last.
    """
    return np.random.default_rng(examples).permutation(examples).astype(np.int32)


def without_groups(sizes: Sequence[tuple[int, int]]) -> Reduction:
    """Return the reductions over parts that follow one another, all examples but those of each group.

    Args:
        sizes: The number of examples of each part that are dealt to groups, and of all its examples. The
            results end in the groups of all parts, `(groups,)`.
    """
    parts = [_without_groups(grouped, examples) for grouped, examples in sizes]
    ends = np.cumsum([examples for _, examples in sizes])[:-1].tolist()

    def split(values: Array) -> list[Array]:
        return jnp.split(values, ends, axis=-1)

    def total(values: Array, dtype: Any = None) -> Array:
        sums = [part.sum(own, dtype) for part, own in zip(parts, split(values), strict=True)]
        return jnp.concatenate(sums, axis=-1)

    def mean(values: Array, dtype: Any = None) -> Array:
        means = [part.mean(own, dtype) for part, own in zip(parts, split(values), strict=True)]
        return jnp.concatenate(means, axis=-1)

    def each(function: Callable[..., Array], *values: Array) -> Array:
        own_values = zip(parts, *map(split, values), strict=True)
        return jnp.concatenate([part.each(function, *own) for part, *own in own_values])

    return Reduction(total, mean, each)


def _without_groups(grouped: int, examples: int) -> Reduction:
    """Return the reductions over all examples but those of each group, whose results end in `(groups,)`.

    Examples that are left over, or not dealt to groups, belong to no group, and are always kept.
    """
    groups = count_groups(grouped)
    order = np.append(grouped_order(grouped), np.arange(grouped, examples, dtype=np.int32))
    size = grouped // groups

    def total(values: Array, dtype: Any = None) -> Array:
        ordered = values[..., order]
        grouped, over = ordered[..., : groups * size], ordered[..., groups * size :]
        sums = jnp.sum(grouped.reshape(*values.shape[:-1], groups, size), axis=-1, dtype=dtype)
        # A difference from the sum of all would lose digits, and infinity less infinity is NaN.
        own = np.eye(groups, dtype=bool).reshape(*[1] * (values.ndim - 1), groups, groups)
        others = jnp.sum(jnp.where(own, 0, sums[..., None, :]), axis=-1)
        return others + jnp.sum(over, axis=-1, dtype=dtype)[..., None]

    def mean(values: Array, dtype: Any = None) -> Array:
        return total(values, dtype) / (examples - size)

    def each(function: Callable[..., Array], *values: Array) -> Array:
        kept = np.stack([np.delete(order, np.s_[g * size : (g + 1) * size]) for g in range(groups)])
        # A group at a time needs no memory for all groups.
        return lax.map(lambda places: function(*(v[places] for v in values)), jnp.asarray(kept))

    return Reduction(total, mean, each)
