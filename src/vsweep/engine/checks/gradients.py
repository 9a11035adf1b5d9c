"""Is the gradient that a sweep descends that of its loss? JAX's, against central differences."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from vsweep.config.grid import Grid
from vsweep.engine.blocks import leaf_name
from vsweep.engine.checks.finite_differences import differences
from vsweep.engine.dry_run import trace_user_functions
from vsweep.engine.hyperparams import bind
from vsweep.engine.inputs import arrays
from vsweep.engine.plan import Plan
from vsweep.store.gradient_check import Derivative, ProgramCheck
from vsweep.tasks.models import Params, unpadded
from vsweep.tasks.task import Data, Examples, MakeTask
from vsweep.training.vectorize import HParams, Static, precision_context, start_one

# The relative error above which a gradient is wrong. Differences are right to some 4e-11 of the loss, so that
# an entry of a ten-thousandth of it or more is known this well; a gradient that is wrong is so in its first
# digits, and a right one may lose ten of its sixteen in a person's own arithmetic.
THRESHOLD = 1e-6
# Scalars that are compared at a point; and of each array at least.
_SCALARS, _OF_EACH = 50, 4
# What may be in doubt of a derivative, as a share of the gradient's largest, before it counts as open; and
# where that is a hundred times as much as is usual.
_OPEN, _KINKED = 1e-2, 1e-4
# Where all derivatives are 0: of the loss.
_OF_LOSS = 1e-8


class Point(NamedTuple):
    """A task's training loss at some parameters. fields: the task's traced ones, of scalars."""

    task: MakeTask
    fields: Mapping[str, Mapping[str, Any]]
    train: Examples
    params: Params


class Compared(NamedTuple):
    """Some derivatives, each `(scalars,)`.

    gradient: JAX's. difference: that of central differences. error: how far they are apart, relatively.
    open: whether differences say nothing of it. doubt: a scalar: how far differences may be off, the median,
    as a share of the gradient's largest; 0 where that is 0.
    """

    gradient: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    open: np.ndarray
    doubt: float


def check_gradients(plan: Plan) -> Iterator[ProgramCheck]:
    """Of every program of a plan, in float64, the gradient of the training loss in its first and last trial.

    At the trial's first parameters, and once more near them, where no weight of zero hides anything and
    nothing lies on a kink. Of many parameters some are drawn, the same every time: a share of each array, and
    four of it at least. What pads a network is none of its parameters.

    Raises `ConfigError` where a person's own function cannot be had in float64.
    """
    for program in plan.programs:
        config = program.inputs.config
        inputs = replace(program.inputs, config=replace(config, dtype="float64"))
        static, hparams = bind(plan.grid, inputs, program.rows)
        trace_user_functions(inputs, static, hparams)
        data = arrays(inputs.split, np.dtype(np.float64))
        rng, parts = np.random.default_rng(0), []
        for place in sorted({0, len(program.rows) - 1}):
            one = jax.tree.map(lambda leaf, place=place: leaf[place], hparams)
            width = int(one.task["model"]["width"]) if program.width else 0
            where = _where(plan.grid, int(program.rows[place]))
            with precision_context(static):
                parts += _of_trial(static, one, data, width, where, rng)
        worst = max((part.worst for part in parts), key=lambda worst: worst.error)
        scalars, left_open = sum(part.scalars for part in parts), sum(part.open for part in parts)
        doubt = max(part.doubt for part in parts)
        yield ProgramCheck(program.inputs.subject, scalars, left_open, doubt, worst)


def _where(grid: Grid, row: int) -> tuple[dict[str, Any], int, int]:
    """A trial's values on the axes that it has, its number and its seed. row: its place in the grid."""
    number, cell_row, seed = grid.trials()
    places = zip(grid.axes, grid.index[cell_row[row]].tolist(), strict=True)
    cell = {axis.path: axis.values[i] for axis, i in places if i >= 0}
    return cell, int(number[row]), int(seed[row])


def _of_trial(
    static: Static,
    hparams: HParams,
    data: Data,
    width: int,
    where: tuple[dict[str, Any], int, int],
    rng: np.random.Generator,
) -> list[ProgramCheck]:
    """What was found at each point. hparams: of scalars. width: the trial's own, 0 where there is none."""
    first = jax.device_get(_start(static, hparams, data))
    made = []
    for moved in (False, True):
        params = _near(first, width, rng) if moved else first
        point = Point(static.task, hparams.task, data.train, params)
        value, gradient = jax.device_get(loss_and_gradient(point))
        if moved and not np.isfinite(value):
            # Nobody said that there is a loss here.
            continue
        names, at = _drawn(params, width, rng, ~np.isfinite(gradient))
        found = compare(point, at)
        i = int(np.argmax(found.error))
        error, *numbers = float(found.error[i]), float(found.gradient[i]), float(found.difference[i])
        worst = Derivative(error, names[i], *where, moved, *numbers)
        made.append(ProgramCheck("", len(at), int(found.open.sum()), found.doubt, worst))
    return made


def _positions(params: Params, width: int) -> list[tuple[str, np.ndarray]]:
    """Each array's name, and the places of its scalars among all of the flattened parameters.

    Of a padded network's arrays, those within its width.
    """
    leaves, tree = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    places = [
        np.arange(end - leaf.size, end).reshape(leaf.shape) for end, leaf in zip(ends, leaves, strict=True)
    ]
    true = jax.tree.unflatten(tree, places)
    true = unpadded(true, width) if width else true
    return [(leaf_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(true)[0]]


def _drawn(
    params: Params, width: int, rng: np.random.Generator, suspect: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Some scalars of the parameters: their names, and int64 places among them flattened.

    suspect: bool `(parameters,)`: the first such of an array is drawn in any case.
    """
    arrays_ = _positions(params, width)
    share = _SCALARS / sum(places.size for _, places in arrays_)
    names, at = [], []
    for name, places in arrays_:
        count = min(places.size, max(_OF_EACH, round(share * places.size)))
        chosen = rng.choice(places.size, count, replace=False)
        for i in np.union1d(chosen, np.flatnonzero(suspect[places])[:1]).tolist():
            index = ", ".join(str(int(one)) for one in np.unravel_index(i, places.shape))
            names.append(f"{name}[{index}]" if index else name)
            at.append(int(places.flat[i]))
    return names, np.asarray(at, np.int64)


def _near(params: Params, width: int, rng: np.random.Generator) -> Params:
    """Parameters near these: each moved by a tenth of its own, and a hundredth, at random."""
    raveled, unravel = ravel_pytree(params)
    flat = np.array(raveled)
    true = np.concatenate([places.ravel() for _, places in _positions(params, width)])
    flat[true] += (0.1 * np.abs(flat[true]) + 0.01) * rng.standard_normal(len(true))
    return jax.device_get(unravel(jnp.asarray(flat)))


def compare(point: Point, at: np.ndarray) -> Compared:
    """The loss's derivatives in two ways, in float64 and under `precision_context`.

    at: int64 `(scalars,)`, places among the flattened parameters.

    The error is `|a - n| / max(|a|, |n|, doubt / THRESHOLD)`: a derivative so small that rounding and
    curvature leave more than `THRESHOLD` of it in doubt is held to that doubt alone, and on a kink anything
    between the derivatives from either side is right. Where the loss or its gradient is not finite, the
    error is infinite.
    """
    value, gradient = jax.device_get(loss_and_gradient(point))
    largest = float(np.abs(gradient).max())
    gradient = gradient[at]
    if not np.isfinite(value):
        nothing = np.full(len(at), np.nan)
        return Compared(gradient, nothing, np.full(len(at), np.inf), np.zeros(len(at), bool), 0.0)
    flat = np.array(ravel_pytree(point.params)[0])
    central, doubt = differences(partial(_moved, point), flat, at)
    finite = np.isfinite(gradient)
    with np.errstate(invalid="ignore"):
        off, of = np.abs(gradient - central), np.fmax(np.abs(gradient), np.abs(central))
        allowed = np.maximum(doubt, THRESHOLD * of)
        error = THRESHOLD * off / np.where(allowed == 0.0, 1.0, allowed)
    error = np.where(finite, np.where(np.isinf(doubt), 0.0, error), np.inf)
    left_open = (error <= THRESHOLD) & _says_nothing(doubt, np.fmax(of, largest), abs(float(value)))
    usual = float(np.median(doubt)) / largest if np.isfinite(largest) and largest > 0.0 else 0.0
    return Compared(gradient, central, np.where(left_open, 0.0, error), left_open, usual)


def _says_nothing(doubt: np.ndarray, largest: np.ndarray, value: float) -> np.ndarray:
    """Whether so much is in doubt of a difference that it tells nothing of the derivative, or lies on a kink.

    largest: of the gradient, or the derivative itself. value: of the loss, absolute.
    """
    kinked = (doubt > _KINKED * largest) & (doubt > 100.0 * np.median(doubt))
    return (doubt > np.maximum(_OPEN * largest, _OF_LOSS * value)) | kinked


@partial(jax.jit, static_argnums=0)
def _start(static: Static, hparams: HParams, data: Data) -> Params:
    params = start_one(static, hparams, data).params
    return jax.tree.map(lambda p: p.astype(jnp.float64), params)


def loss_and_gradient(point: Point) -> tuple[Array, Array]:
    """The loss, and its gradient by all parameters, flattened: float64 scalar and `(parameters,)`."""
    value, gradient = _loss_and_gradient(*point)
    return value, ravel_pytree(gradient)[0]


def _loss(task: MakeTask, fields: Any, train: Examples, params: Params) -> Array:
    return task(fields).loss(params, train)[0]


_loss_and_gradient = jax.jit(jax.value_and_grad(_loss, argnums=3), static_argnums=0)


def _moved(point: Point, at: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The loss with one parameter moved, for each, float64 `(n,)`."""
    # One size for all that is asked, so that there is one program.
    size = max(1024, 1 << (len(at) - 1).bit_length())
    more = (0, size - len(at))
    made = _losses(*point, np.pad(at, more), np.pad(by, more), np.int64(len(at)))
    return np.array(made)[: len(at)]


@partial(jax.jit, static_argnums=0)
def _losses(
    task: MakeTask, fields: Any, train: Examples, params: Params, at: Array, by: Array, count: Array
) -> Array:
    flat, unravel = ravel_pytree(params)

    def one(i: Array, made: Array) -> Array:
        return made.at[i].set(_loss(task, fields, train, unravel(flat.at[at[i]].add(by[i]))))

    return lax.fori_loop(0, count, one, jnp.zeros_like(by))
