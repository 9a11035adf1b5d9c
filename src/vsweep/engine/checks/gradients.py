"""Check the gradients that a sweep descends: JAX's against central differences of the loss."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from vsweep.engine.blocks import leaf_name
from vsweep.engine.checks.finite_differences import differences
from vsweep.engine.hyperparams import bind
from vsweep.engine.plan import Plan
from vsweep.store.checks import Derivative, ProgramCheck
from vsweep.tasks.models import Params, unpadded
from vsweep.tasks.task import Data, Examples, MakeTask
from vsweep.training.program import HParams, Static, precision_context
from vsweep.training.vectorize import start_one

# A gradient with a larger relative error is wrong. Differences have an error of about 4e-11 of the loss, so
# an entry as large as a ten-thousandth of the loss is known this well. A wrong gradient is wrong in its first
# digits, and a right one may lose ten of its sixteen in the user's arithmetic.
THRESHOLD = 1e-6
# The number of scalars that are compared at a point.
_SCALARS = 50
# The least number of scalars of each array.
_MIN_SCALARS = 4
# A derivative is inconclusive if its error may exceed this share of the gradient's largest entry.
_OPEN = 1e-2
# This smaller share applies if the error is a hundred times the median error, as on a kink.
_KINKED = 1e-4
# This share of the loss applies where all derivatives are 0.
_OF_LOSS = 1e-8


class Point(NamedTuple):
    """A task's training loss at some parameters.

    Attributes:
        task: A function that makes the task.
        fields: The traced fields of one trial.
        train: The training examples.
        params: The parameters, float64.
    """

    task: MakeTask
    fields: Mapping[str, Mapping[str, Any]]
    train: Examples
    params: Params


def check_gradients(plan: Plan) -> Iterator[ProgramCheck]:
    """Check the gradient of the training loss in the first and last trial of every program, in float64.

    It is checked at the trial's first parameters, and near them, where no weight is zero and none lies on a
    kink. If there are many parameters, a fixed random sample is checked: a share of each array, and at least
    four of its scalars. Padding is not checked.

    Raises:
        ConfigError: If a user's function does not run in float64.
    """
    number, cell_row, seed = plan.grid.trials()
    for program in plan.programs:
        config = program.inputs.config
        inputs = replace(program.inputs, config=replace(config, dtype="float64"))
        static, hparams = bind(plan.grid, inputs, program.rows)
        data, rng = inputs.arrays, np.random.default_rng(0)
        checked: list[ProgramCheck] = []
        for place in sorted({0, len(program.rows) - 1}):
            trial = jax.tree.map(lambda leaf, place=place: leaf[place], hparams)
            width = int(trial.task["model"]["width"]) if program.width else 0
            row = program.rows[place]
            values = zip(plan.grid.axes, plan.grid.index[cell_row[row]].tolist(), strict=True)
            cell = {axis.path: axis.values[i] for axis, i in values if i >= 0}
            with precision_context(static):
                first = jax.device_get(_start(static, trial, data))
                for moved in (False, True):
                    params = _perturb(first, width, rng) if moved else first
                    point = Point(static.task, trial.task, data.train, params)
                    where = cell, int(number[row]), int(seed[row]), moved
                    checked += _check_point(point, width, where, rng)
        yield ProgramCheck.combine(program.inputs.subject, checked)


def _check_point(
    point: Point, width: int, where: tuple[dict[str, Any], int, int, bool], rng: np.random.Generator
) -> list[ProgramCheck]:
    """Check the gradient at a point; return nothing for a point near the first one that has no finite loss.

    The error is `|a - n| / max(|a|, |n|, doubt / THRESHOLD)`. A derivative whose central difference is more
    uncertain than `THRESHOLD` only has to agree within that uncertainty; on a kink, every value between the
    one-sided derivatives is right. The error is infinite if the loss or its gradient is not finite.

    Args:
        point: The point, under `precision_context`.
        width: The width of the trial's network; 0 where there is none.
        where: The trial's cell, number and seed, and whether the point is near the first one.
        rng: The generator that draws the scalars.
    """
    value, gradient = jax.device_get(_loss_and_gradient(*point))
    if where[-1] and not np.isfinite(value):
        return []
    names, indices = _draw_scalars(point.params, width, rng, ~np.isfinite(gradient))
    largest, gradient = float(np.abs(gradient).max()), gradient[indices]
    central, doubt = np.full(len(indices), np.nan), np.zeros(len(indices))
    if np.isfinite(value):
        flat = np.array(ravel_pytree(point.params)[0])
        central, doubt = differences(partial(_moved_losses, point), flat, indices)
    with np.errstate(invalid="ignore"):
        size = np.fmax(np.abs(gradient), np.abs(central))
        allowed = np.maximum(doubt, THRESHOLD * size)
        error = THRESHOLD * np.abs(gradient - central) / np.where(allowed == 0.0, 1.0, allowed)
    error = np.where(np.isinf(doubt), 0.0, error)
    error = np.where(np.isfinite(gradient) & np.isfinite(value), error, np.inf)
    inconclusive = (error <= THRESHOLD) & _is_inconclusive(doubt, np.fmax(size, largest), abs(float(value)))
    error = np.where(inconclusive, 0.0, error)
    usual = float(np.median(doubt)) / largest if np.isfinite(largest) and largest > 0.0 else 0.0
    i = int(np.argmax(error))
    worst = Derivative(float(error[i]), names[i], *where, float(gradient[i]), float(central[i]))
    return [ProgramCheck("", len(indices), int(inconclusive.sum()), usual, worst)]


def _positions(params: Params, width: int) -> list[tuple[str, np.ndarray]]:
    """Return each array's name, and the places of its scalars among the flattened parameters.

    Scalars that pad a network are left out.
    """
    leaves, tree = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    places = [
        np.arange(end - leaf.size, end).reshape(leaf.shape) for end, leaf in zip(ends, leaves, strict=True)
    ]
    true = jax.tree.unflatten(tree, places)
    true = unpadded(true, width) if width else true
    return [(leaf_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(true)[0]]


def _draw_scalars(
    params: Params, width: int, rng: np.random.Generator, suspect: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Draw some scalars of the parameters.

    Args:
        params: The parameters of a trial.
        width: The width of its network; 0 where there is none.
        rng: The generator of the draw.
        suspect: Bool `(parameters,)`; the first suspect scalar of an array is always drawn.

    Returns:
        The names of the scalars, and their places among the flattened parameters, int64.
    """
    arrays_ = _positions(params, width)
    share = _SCALARS / sum(places.size for _, places in arrays_)
    names, indices = [], []
    for name, places in arrays_:
        count = min(places.size, max(_MIN_SCALARS, round(share * places.size)))
        chosen = rng.choice(places.size, count, replace=False)
        for i in np.union1d(chosen, np.flatnonzero(suspect[places])[:1]).tolist():
            index = ", ".join(str(int(place)) for place in np.unravel_index(i, places.shape))
            names.append(f"{name}[{index}]" if index else name)
            indices.append(int(places.flat[i]))
    return names, np.asarray(indices, np.int64)


def _perturb(params: Params, width: int, rng: np.random.Generator) -> Params:
    """Move each parameter at random, by about 0.01 plus a tenth of its absolute value."""
    raveled, unravel = ravel_pytree(params)
    flat = np.array(raveled)
    true = np.concatenate([places.ravel() for _, places in _positions(params, width)])
    flat[true] += (0.1 * np.abs(flat[true]) + 0.01) * rng.standard_normal(len(true))
    return jax.device_get(unravel(jnp.asarray(flat)))


def _is_inconclusive(doubt: np.ndarray, largest: np.ndarray, value: float) -> np.ndarray:
    """Return whether central differences are too uncertain to tell a derivative, or lie on a kink.

    Args:
        doubt: The error of each difference, `(scalars,)`.
        largest: The gradient's largest entry or the derivative, whichever is larger, `(scalars,)`.
        value: The absolute loss.
    """
    kinked = (doubt > _KINKED * largest) & (doubt > 100.0 * np.median(doubt))
    return (doubt > np.maximum(_OPEN * largest, _OF_LOSS * value)) | kinked


@partial(jax.jit, static_argnums=0)
def _start(static: Static, hparams: HParams, data: Data) -> Params:
    params = start_one(static, hparams, data).params
    return jax.tree.map(lambda p: p.astype(jnp.float64), params)


def _loss(task: MakeTask, fields: Any, train: Examples, params: Params) -> Array:
    return task(fields).loss(params, train)[0]


@partial(jax.jit, static_argnums=0)
def _loss_and_gradient(task: MakeTask, fields: Any, train: Examples, params: Params) -> tuple[Array, Array]:
    """Return the loss, a float64 scalar, and its gradient by all parameters, `(parameters,)`."""
    value, gradient = jax.value_and_grad(_loss, argnums=3)(task, fields, train, params)
    return value, ravel_pytree(gradient)[0]


def _moved_losses(point: Point, indices: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Compute the loss with one parameter moved, for each of several moves, float64 `(n,)`."""
    # The moves are padded to one of a few sizes, so that few programs are compiled.
    size = max(1024, 1 << (len(indices) - 1).bit_length())
    padding = (0, size - len(indices))
    losses = _losses(*point, np.pad(indices, padding), np.pad(moves, padding), np.int64(len(indices)))
    return np.array(losses)[: len(indices)]


@partial(jax.jit, static_argnums=0)
def _losses(
    task: MakeTask, fields: Any, train: Examples, params: Params, indices: Array, moves: Array, count: Array
) -> Array:
    flat, unravel = ravel_pytree(params)

    def evaluate(i: Array, losses: Array) -> Array:
        return losses.at[i].set(_loss(task, fields, train, unravel(flat.at[indices[i]].add(moves[i]))))

    return lax.fori_loop(0, count, evaluate, jnp.zeros_like(moves))
