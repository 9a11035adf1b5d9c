"""Functions to minimize: the parameters are a point, and the loss is the function's value there.

A function's first parameters are its coordinates, each a floating scalar or a vector `(size,)`, and it
returns a floating scalar. Parameters with a default, or behind a `*`, are its config fields, traced.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random
from jax.flatten_util import ravel_pytree

from vsweep.tasks.task import MOST_RECORDED, Arrays, Metrics, Task, param_dtype, scalar_names, scalars

Function = Callable[..., Array]


def parabola(x: Array) -> Array:
    """Compute `x^2 + 3 x - 5`, whose one minimum is at x = -3/2."""
    return x**2 + 3.0 * x - 5.0


def narrow_parabola(x: Array) -> Array:
    """Compute `3 x^2 + 4 x - 2`, whose one minimum is at x = -2/3."""
    return 3.0 * x**2 + 4.0 * x - 2.0


def quartic(x: Array) -> Array:
    """Compute `2 x^4 - 3 x^3 - 9 x^2 + 4 x + 3`: minima near -1.168 and 2.088, a maximum near 0.205."""
    return 2.0 * x**4 - 3.0 * x**3 - 9.0 * x**2 + 4.0 * x + 3.0


def gold_field(x: Array, y: Array) -> Array:
    """Compute `arctan(x)^2 + sin(y)^2`, with minima at (0, k pi) and saddles between them."""
    return jnp.arctan(x) ** 2 + jnp.sin(y) ** 2


FUNCTIONS: dict[str, Function] = {
    function.__name__: function for function in (parabola, narrow_parabola, quartic, gold_field)
}


def coordinates(function: Function) -> tuple[str, ...]:
    """Return the names of a function's coordinates: its first parameters, up to one with a default."""
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not positional or parameter.default is not parameter.empty:
            break
        names.append(name)
    return tuple(names)


def point(*, spread: Array, fixed: tuple[str, ...]) -> None:
    """Declare the fields of a point beside its coordinates, see `Minimize`."""


# All eigenvalues of the Hessian are kept in at most this many dimensions.
_FEW = 16
# No Hessian is computed in more dimensions than this.
MANY = 128
# A minimum is named by at most this many coordinates.
_NAMED = 4
# The steps of Newton's method from the end of a descent to the stationary point nearby.
_NEWTON = 8
# The end is stationary if the first step is at most this long, relative to 1 + |point|.
_NEAR = 0.01
# A minimum is named if all steps together are at most this long.
_FAR = 0.03
# The sign of an eigenvalue is unknown if it is at most this many roundings of the largest one.
_ROUNDINGS = 100.0
# The sign is also unknown if the eigenvalue shrinks below this share on the way to the stationary point.
_SHRUNK = 0.1


@dataclass(frozen=True)
class Minimize:
    """A maker of tasks of a function to minimize.

    Attributes:
        function: The function of the coordinates.
        shapes: The name and the shape of each coordinate, `()` or `(size,)`.
        fixed: The coordinates that stay where they start; the descent is along the others.
        function_static: The function's fields that are compiled for.
        dtype: The dtype of the coordinates, see `param_dtype`.
        draw: None, as there are no examples.
    """

    function: Function
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    fixed: tuple[str, ...] = ()
    function_static: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"
    draw: None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """See `MakeTask`."""
        return ("loss",)

    @property
    def final_metrics(self) -> tuple[str, ...]:
        """See `MakeTask`."""
        return ()

    @property
    def static(self) -> tuple[tuple[str, Any], ...]:
        """See `MakeTask`."""
        return (("coordinates", tuple(dict(self.shapes))), ("fixed", self.fixed))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of all numbers of a point, in the function's order."""
        return self._numbers(dict(self.shapes))

    @property
    def recorded(self) -> tuple[str, ...]:
        """All numbers of a point, unless there are very many."""
        return self.numbers if len(self.numbers) <= MOST_RECORDED else ()

    @property
    def _free(self) -> list[str]:
        """The coordinates that move."""
        return [name for name, _ in self.shapes if name not in self.fixed]

    def _numbers(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the numbers in these coordinates, in order."""
        shapes = dict(self.shapes)
        return tuple(number for name in names for number in scalar_names({name: np.zeros(shapes[name])}))

    @property
    def _eigenvalues(self) -> list[int]:
        """The places of the eigenvalues that are kept, among all in rising order."""
        n = len(self._numbers(self._free))
        return list(range(n)) if n <= _FEW else [0, n - 1] if n <= MANY else []

    @property
    def columns(self) -> tuple[str, ...]:
        """See `MakeTask`."""
        return (*(f"hessian_{i}" for i in self._eigenvalues), "kind", "minimum")

    def __call__(self, hparams: Mapping[str, Mapping[str, Array]]) -> Task:
        """Make the task of one trial; `hparams["model"]` has `spread` and the start of each coordinate."""
        begin, spread = {name: hparams["model"][name] for name, _ in self.shapes}, hparams["model"]["spread"]
        held = {name: begin[name] for name in self.fixed}
        fields = {**dict(self.function_static), **hparams["loss"]}
        dtype = param_dtype(self.dtype)

        def value(at: Mapping[str, Array]) -> Array:
            # The coordinates of a function may be positional-only parameters.
            result = jnp.asarray(self.function(*(at[name] for name, _ in self.shapes), **fields))
            if result.shape:
                raise ValueError(f"the function returned the shape {result.shape}, expected a scalar")
            return result.astype(dtype)

        def init(key: Array) -> dict[str, Array]:
            starts = {}
            for i, (name, shape) in enumerate(self.shapes):
                if name not in self.fixed:
                    draw = random.normal(random.fold_in(key, i), shape, jnp.float32)
                    # Without the barrier, programs would fuse product and sum, and so round, differently.
                    moved = lax.optimization_barrier(draw.astype(dtype) * spread)
                    starts[name] = begin[name].astype(dtype) + moved
            return starts

        def loss(params: Mapping[str, Array], examples: Any) -> tuple[Array, Metrics]:
            return value({**held, **params}), {}

        def apply(params: Mapping[str, Array], x: Array) -> Array:
            _, unravel = ravel_pytree([jnp.zeros(shape, dtype) for _, shape in self.shapes])

            def value_at(numbers: Array) -> Array:
                return value(dict(zip(dict(self.shapes), unravel(numbers), strict=True)))

            return jax.vmap(value_at, in_axes=1)(x.astype(dtype))[None, :]

        def path(params: Mapping[str, Array]) -> Metrics:
            everywhere = {name: {**held, **params}[name].astype(dtype) for name, _ in self.shapes}
            return scalars(everywhere) if self.recorded else {}

        def end(params: Mapping[str, Array]) -> Metrics:
            if not self._eigenvalues:
                return {}
            flat, unravel = ravel_pytree({name: params[name] for name in params})
            return _stationary(lambda at: value({**held, **unravel(at)}), flat)

        # The value at the start may be near 0 by chance, and is no scale for later values.
        return Task(init, loss, apply, path, end, unit=1.0)

    def conclude(self, end: Arrays, train: Any, trials: int) -> Arrays:  # noqa: ARG002
        """Return the Hessian's eigenvalues at the end, rising, and the kind of the stationary point.

        `kind` is `minimum`, `maximum`, `saddle`, or `flat` if an eigenvalue is 0 to rounding or goes to 0. It
        is missing if the end is not stationary: if one step of Newton's method would move it by more than 1 %
        of 1 + |point|. `minimum` is the name of the minimum that this method finds: its coordinates to four
        digits. All three are missing above 128 dimensions.
        """
        if not self._eigenvalues:
            return dict.fromkeys(self.columns, np.full(trials, None, object))
        values = np.asarray(end["eigenvalues"])
        kind = _kinds(values, np.asarray(end["there"]), np.asarray(end["step"]))
        at = np.asarray(end["nearby"], np.float64)
        near = (kind == "minimum") & (np.asarray(end["moved"]) <= _FAR)
        # `ravel_pytree` sorts a dictionary by its keys.
        names, ravelled = self._numbers(self._free), self._numbers(sorted(self._free))
        order = [ravelled.index(name) for name in names]
        minimum = [_place(names, row[order]) if ok else None for row, ok in zip(at, near, strict=True)]
        eigenvalues = [values[:, i] for i in self._eigenvalues]
        return dict(zip(self.columns, [*eigenvalues, kind, np.asarray(minimum, object)], strict=True))


def _stationary(value: Callable[[Array], Array], at: Array) -> Metrics:
    """Compute the Hessian's eigenvalues at a point, and the stationary point nearby by Newton's method."""

    def newton_step(at: Array) -> tuple[Array, Array]:
        values, vectors = jnp.linalg.eigh(jax.hessian(value)(at))
        along = vectors.T @ jax.grad(value)(at)
        # A flat direction has no step; if the slope along it is not 0, the point is not stationary.
        flat = (values == 0.0) & (along == 0.0)
        step = jnp.where(flat, 0.0, along / jnp.where(flat, 1.0, values))
        return values, vectors @ step

    values, step = newton_step(at)
    nearby = lax.fori_loop(0, _NEWTON, lambda _, p: p - newton_step(p)[1], at)
    scale = 1.0 + jnp.linalg.norm(at)
    return {
        "eigenvalues": values,
        "there": newton_step(nearby)[0],
        "nearby": nearby,
        "step": jnp.linalg.norm(step) / scale,
        "moved": jnp.linalg.norm(nearby - at) / scale,
    }


def _kinds(eigenvalues: np.ndarray, there: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Classify stationary points by the signs of the Hessian's eigenvalues.

    Args:
        eigenvalues: Floating `(trials, n)`, the eigenvalues at the ends.
        there: Floating `(trials, n)`, the eigenvalues at the stationary points nearby.
        step: Floating `(trials,)`, the relative length of the first Newton step.

    Returns:
        The kind of each, objects `(trials,)`; None where the first step is too long.
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
    """Name a point by its coordinates to four digits, without -0; if they are many, by some and the norm."""
    numbers = np.where(np.abs(at) < 5e-5, 0.0, at)
    shown = [f"{name}={number:.4g}" for name, number in zip(names, numbers, strict=True)]
    if len(shown) <= _NAMED:
        return ", ".join(shown)
    return f"{', '.join(shown[: _NAMED - 1])}, … (norm {np.linalg.norm(at):.4g})"
