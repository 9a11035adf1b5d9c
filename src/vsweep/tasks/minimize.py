"""Functions to minimise: the parameters are a point, and the loss is the function's value there.

A function takes its coordinates as its first parameters, by name, each a floating scalar or a vector, and
gives a scalar. Those with a default, or behind a `*`, are its config fields, traced.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random
from jax.flatten_util import ravel_pytree

from vsweep.tasks.task import MOST_RECORDED, Metrics, Task, param_dtype, scalar_names, scalars

Function = Callable[..., Array]


def parabola(x: Array) -> Array:
    """`x^2 + 3 x - 5`: one minimum, at x = -3/2."""
    return x**2 + 3.0 * x - 5.0


def narrow_parabola(x: Array) -> Array:
    """`3 x^2 + 4 x - 2`: one minimum, at x = -2/3."""
    return 3.0 * x**2 + 4.0 * x - 2.0


def quartic(x: Array) -> Array:
    """`2 x^4 - 3 x^3 - 9 x^2 + 4 x + 3`: minima near x = -1.168 and 2.088, a maximum near 0.205."""
    return 2.0 * x**4 - 3.0 * x**3 - 9.0 * x**2 + 4.0 * x + 3.0


def gold_field(x: Array, y: Array) -> Array:
    """`arctan(x)^2 + sin(y)^2`: minima at (0, k pi), saddles between them."""
    return jnp.arctan(x) ** 2 + jnp.sin(y) ** 2


FUNCTIONS: dict[str, Function] = {
    "parabola": parabola,
    "narrow_parabola": narrow_parabola,
    "quartic": quartic,
    "gold_field": gold_field,
}


def coordinates(function: Function) -> tuple[str, ...]:
    """The names of a function's coordinates: its first parameters, up to one that has a default."""
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not positional or parameter.default is not parameter.empty:
            break
        names.append(name)
    return tuple(names)


def point(*, spread: Array, fixed: tuple[str, ...]) -> None:
    """The fields of a point beside its coordinates: see `Minimise`."""


# Up to how many dimensions all eigenvalues are kept, and above how many no Hessian is made.
_FEW, MANY = 16, 128
# Coordinates that a minimum is named by.
_NAMED = 4
# Newton's steps from the end to the stationary point nearby; how far, relative to 1 + |point|, the first may
# lead from an end that counts as stationary, and how far all of them.
_NEWTON, _NEAR, _FAR = 8, 0.01, 0.03
# An eigenvalue says nothing of its sign that is this many roundings of the largest, or that has shrunk to
# this share of itself on the way to the stationary point.
_ROUNDINGS, _SHRUNK = 100.0, 0.1


@dataclass(frozen=True)
class Minimise:
    """How to make the task of a function: the part of it that a program is compiled for.

    function: of the coordinates. sizes: of each coordinate, by name, how many numbers it is; None is a
    scalar. fixed: the coordinates that stay where they start: the descent is along the others, by their
    partial derivatives. function_static: fields of the function that are compiled for.
    """

    function: Function
    sizes: tuple[tuple[str, int | None], ...]
    fixed: tuple[str, ...] = ()
    function_static: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"
    draw: None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """As in `MakeTask`."""
        return ("loss",)

    @property
    def static(self) -> tuple[tuple[str, Any], ...]:
        """As in `MakeTask`."""
        return (("coordinates", tuple(name for name, _ in self.sizes)), ("fixed", self.fixed))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of all numbers of a point, in the function's order."""
        return self._numbers(tuple(name for name, _ in self.sizes))

    @property
    def recorded(self) -> tuple[str, ...]:
        """As in `MakeTask`: all coordinates, unless they are very many."""
        return self.numbers if len(self.numbers) <= MOST_RECORDED else ()

    @property
    def _free(self) -> tuple[str, ...]:
        return self._numbers(tuple(name for name, _ in self.sizes if name not in self.fixed))

    def _numbers(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the numbers in coordinates, in this order."""
        sizes = dict(self.sizes)
        return tuple(one for name in names for one in scalar_names({name: np.zeros(sizes[name] or ())}))

    @property
    def _eigenvalues(self) -> tuple[str, ...]:
        n = len(self._free)
        kept = range(n) if n <= _FEW else (0, n - 1) if n <= MANY else ()
        return tuple(f"hessian_{i}" for i in kept)

    @property
    def columns(self) -> tuple[str, ...]:
        """As in `MakeTask`."""
        return (*self._eigenvalues, "kind", "minimum")

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """The task of one trial: `hparams["model"]` has `spread` and where each coordinate starts."""
        begin, spread = {name: hparams["model"][name] for name, _ in self.sizes}, hparams["model"]["spread"]
        held = {name: begin[name] for name in self.fixed}
        fields = {**dict(self.function_static), **hparams["loss"]}
        kept = param_dtype(self.dtype)

        def value(at: Mapping[str, Array]) -> Array:
            # By place: a function's coordinates may be positional alone.
            found = jnp.asarray(self.function(*(at[name] for name, _ in self.sizes), **fields))
            if found.shape:
                raise ValueError(f"the function gave the shape {found.shape}, and a scalar is needed")
            return found.astype(kept)

        def init(key: Array) -> dict[str, Array]:
            drawn = {}
            for i, (name, _) in enumerate(self.sizes):
                if name not in self.fixed:
                    draw = random.normal(random.fold_in(key, i), begin[name].shape, jnp.float32)
                    # The barrier keeps product and sum from being rounded differently by program.
                    moved = lax.optimization_barrier(draw.astype(kept) * spread)
                    drawn[name] = begin[name].astype(kept) + moved
            return drawn

        def loss(params: Mapping[str, Array], examples: Any) -> tuple[Array, Metrics]:
            return value({**held, **params}), {}

        def apply(params: Mapping[str, Array], x: Array) -> Array:
            return jax.vmap(lambda at: value(self._named(at)), in_axes=1)(x.astype(kept))[None, :]

        def path(params: Mapping[str, Array]) -> Metrics:
            everywhere = {name: {**held, **params}[name].astype(kept) for name, _ in self.sizes}
            return scalars(everywhere) if self.recorded else {}

        def end(params: Mapping[str, Array]) -> Metrics:
            if not self._eigenvalues:
                return {}
            flat, unravel = ravel_pytree({name: params[name] for name in params})
            return _stationary(lambda at: value({**held, **unravel(at)}), flat)

        # Where a function is 0 says nothing of how large it is.
        return Task(init, loss, apply, path, end, unit=1.0)

    def _named(self, at: Array) -> dict[str, Array]:
        """The coordinates by name, of all numbers in a row."""
        named, begin = {}, 0
        for name, size in self.sizes:
            named[name] = at[begin] if size is None else at[begin : begin + size]
            begin += 1 if size is None else size
        return named

    def reference(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """As in `MakeTask`: there is none."""
        return {}

    def conclude(self, end: Mapping[str, np.ndarray], trials: int) -> dict[str, np.ndarray]:
        """As in `MakeTask`: the Hessian's eigenvalues at the end, rising, and what they say.

        `kind` is `minimum`, `maximum`, `saddle`, or `flat` where an eigenvalue is 0 to rounding or goes to 0;
        it is missing where the end is not stationary: where one step of Newton's method would move it by
        more than 1 % of 1 + |point|. `minimum` names the minimum by its coordinates, to four digits, as
        that method finds it. Of more than 128 dimensions none of this is known.
        """
        if not self._eigenvalues:
            unknown = np.full(trials, None, object)
            return {"kind": unknown, "minimum": unknown}
        values = np.asarray(end["eigenvalues"])
        found = {name: values[:, int(name.rpartition("_")[2])] for name in self._eigenvalues}
        kind = _kinds(values, np.asarray(end["there"]), np.asarray(end["step"]))
        at = np.asarray(end["nearby"], np.float64)
        near = (kind == "minimum") & (np.asarray(end["moved"]) <= _FAR)
        # Ravelled, a dictionary is in the order of its keys.
        ravelled = self._numbers(tuple(sorted(name for name, _ in self.sizes if name not in self.fixed)))
        order = [ravelled.index(name) for name in self._free]
        minimum = [_place(self._free, row[order]) if ok else None for row, ok in zip(at, near, strict=True)]
        return {**found, "kind": kind, "minimum": np.asarray(minimum, object)}


def _stationary(value: Callable[[Array], Array], at: Array) -> Metrics:
    """Of a point: the Hessian's eigenvalues, and the stationary point nearby, by Newton's method."""

    def look(at: Array) -> tuple[Array, Array]:
        values, vectors = jnp.linalg.eigh(jax.hessian(value)(at))
        along = vectors.T @ jax.grad(value)(at)
        # Along what is flat there is nowhere to go, unless it is no stationary point at all.
        flat = (values == 0.0) & (along == 0.0)
        step = jnp.where(flat, 0.0, along / jnp.where(flat, 1.0, values))
        return values, vectors @ step

    values, step = look(at)
    nearby = lax.fori_loop(0, _NEWTON, lambda _, p: p - look(p)[1], at)
    scale = 1.0 + jnp.linalg.norm(at)
    return {
        "eigenvalues": values,
        "there": look(nearby)[0],
        "nearby": nearby,
        "step": jnp.linalg.norm(step) / scale,
        "moved": jnp.linalg.norm(nearby - at) / scale,
    }


def _kinds(eigenvalues: np.ndarray, there: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What a Hessian's eigenvalues `(trials, n)` say; None where the first step leads away.

    there: those at the stationary point that Newton's method leads to, of the same dtype.
    """
    with np.errstate(invalid="ignore"):
        rounding = _ROUNDINGS * np.finfo(there.dtype).eps * np.abs(there).max(axis=1, keepdims=True)
        flat = (np.abs(there) <= rounding) | (np.abs(there) < _SHRUNK * np.abs(eigenvalues))
        signs = np.where(flat, 0.0, np.sign(there))
        stationary = np.isfinite(eigenvalues).all(axis=1) & np.isfinite(there).all(axis=1) & (step <= _NEAR)
    kinds = np.select(
        [(signs == 0).any(axis=1), (signs > 0).all(axis=1), (signs < 0).all(axis=1)],
        ["flat", "minimum", "maximum"],
        "saddle",
    ).astype(object)
    kinds[~stationary] = None
    return kinds


def _place(names: tuple[str, ...], at: np.ndarray) -> str:
    """A point in words, to four digits, without a sign before zero; of many numbers some, and their norm."""
    numbers = np.where(np.abs(at) < 5e-5, 0.0, at)
    shown = [f"{name}={number:.4g}" for name, number in zip(names, numbers, strict=True)]
    if len(shown) <= _NAMED:
        return ", ".join(shown)
    return f"{', '.join(shown[: _NAMED - 1])}, … (norm {np.linalg.norm(at):.4g})"
