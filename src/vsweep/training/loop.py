"""Train one trial, from its first weights to its curve."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random

from vsweep.tasks.layers import on_cpu
from vsweep.tasks.leave_out import count_groups
from vsweep.tasks.models import Params
from vsweep.tasks.task import Data, Draw, Examples, MakeTask, Metrics, Task
from vsweep.training.optimizers import Optimizer


class TrainingLength(NamedTuple):
    """The length of a trial, static.

    Attributes:
        steps: The number of updates.
        record_every: The number of updates between two records.
        batch_size: The number of examples of an update; None for the full batch.
    """

    steps: int
    record_every: int
    batch_size: int | None


class TrialResult(NamedTuple):
    """The result of training a trial, or a segment of it.

    Attributes:
        metrics: Each floating `(records,)`, at the steps that `recorded_steps` returns.
        diverged_at: Int32 scalar, the first step at which the loss was not finite or above the limit; -1
            where it never was. The loss is that of the minibatch between records, and that of all training
            examples at records.
        params: The parameters after the last step.
        final: The metrics after the last step alone, scalars: all on the test examples, if there are any, and
            the further ones on the parts that `scored_parts` returns.
        parts: The leave-out values after the last step, `(groups,)` each, by the names that `part_metrics`
            returns.
        end: The result of `Task.end` on the parameters after the last step.
        state: The state after the last step, to continue from; None for a trial that was trained whole.
    """

    metrics: Metrics
    diverged_at: Array
    params: Any
    final: Metrics
    parts: Metrics
    end: Metrics
    state: "TrainState | None"


class TrainState(NamedTuple):
    """A trial between two steps.

    Attributes:
        step: Int32 scalar, the number of updates so far.
        params: A tree of floating arrays.
        optimizer: The optimizer's state.
        order: Int32 `(examples,)`, the order of this epoch; `(1,)` for the full batch.
        limit: Floating scalar, the loss above which the trial has diverged.
        diverged_at: Int32 scalar, see `TrialResult`.
    """

    step: Array
    params: Any
    optimizer: Any
    order: Array
    limit: Array
    diverged_at: Array


def recorded_steps(length: TrainingLength) -> np.ndarray:
    """Return the steps of a curve's records, int64 `(records,)`: 0, every `record_every`, and the last."""
    return np.append(np.arange(0, length.steps, length.record_every), length.steps)


def loop_of_record(length: TrainingLength) -> np.ndarray:
    """Return the index of the loop that follows each record, int32 `(records,)`.

    Loops differ in their number of updates; the loop of index 0 has none.
    """
    return np.unique(_updates(length), return_inverse=True)[1].astype(np.int32)


def _updates(length: TrainingLength) -> np.ndarray:
    """Return the number of updates from each record to the next, int64 `(records,)`; 0 after the last."""
    return np.diff(recorded_steps(length), append=length.steps)


def curve_metrics(task: MakeTask, *, held_out: bool) -> list[str]:
    """Return the names of a curve's metrics: those of the task, two norms, and the recorded parameters."""
    parts = ["train", "val"] if held_out else ["train"]
    metrics = [f"{part}_{name}" for part in parts for name in task.metrics]
    return [*metrics, "grad_norm", "param_norm", *map(_of_parameter, task.recorded)]


def _of_parameter(name: str) -> str:
    """Return the name of the metric that records a parameter."""
    return f"param.{name}"


class Trial(NamedTuple):
    """The parts of a trial.

    Attributes:
        task: The model, the loss, and the metrics that are recorded.
        optimizer: An optax gradient transformation.
        data: Training and held-out examples.
        length: The length of the trial.
        diverge_above: Floating scalar; a loss above this many times the absolute first one (or the task's
            `unit`, where that is larger) has diverged.
        key: The trial's random key; its first weights and its minibatches are drawn from it.
        draw: A function that draws fresh examples for every step; None to take those of the data.
    """

    task: Task
    optimizer: Optimizer
    data: Data
    length: TrainingLength
    diverge_above: Array
    key: Array
    draw: Draw | None = None


def train(trial: Trial, twin: Array, *, branches: bool = True) -> TrialResult:
    """Train a trial from its first weights to its last record.

    Args:
        trial: The parts of the trial.
        twin: Bool scalar, see `start`.
        branches: Whether one loop over all records branches to the updates that follow a record. Otherwise
            records with as many updates have a loop of their own, so that the host of a GPU need not read the
            index of a branch at each record, and the program is larger.
    """
    state = start(trial, twin)
    if branches:
        return advance(trial, state, jnp.asarray(loop_of_record(trial.length)))._replace(state=None)
    record, update = _record_and_update(trial)

    def stretch(updates: int, state: TrainState, _: None) -> tuple[TrainState, Array]:
        state, row, grads = record(state)
        return update(updates, state, grads), row

    rows = []
    for updates, times in _equal_stretches(trial.length):
        state, records = lax.scan(partial(stretch, updates), state, length=times)
        rows.append(records)
    return conclude(trial, state, record.columns(jnp.concatenate(rows)))._replace(state=None)


def start(trial: Trial, twin: Array) -> TrainState:
    """Return the state of a trial before its first step.

    Args:
        trial: The parts of the trial.
        twin: Bool scalar; whether each first weight that is not 0 is moved by one unit in the last place of
            the products' dtype.
    """
    params = trial.task.init(random.fold_in(trial.key, 0))

    def moved(p: Array) -> Array:
        # A smaller move would be lost where the products round the weights.
        rounded = p.astype(trial.task.dtype or p.dtype)
        above = jnp.nextafter(rounded, jnp.full_like(rounded, jnp.inf)).astype(p.dtype)
        return jnp.where(twin & (p != 0), above, p)

    params = jax.tree.map(moved, params)
    shuffled = trial.length.batch_size is not None and trial.draw is None
    examples = trial.data.train.y.shape[0] if shuffled else 1
    first = jax.tree.leaves(params)[0]
    return TrainState(
        step=jnp.int32(0),
        params=params,
        optimizer=trial.optimizer.init(params),
        order=jnp.zeros(examples, jnp.int32),
        limit=jnp.full((), jnp.inf, first.dtype),
        diverged_at=jnp.int32(-1),
    )


def advance(trial: Trial, state: TrainState, loop_index: Array) -> TrialResult:
    """Continue a trial for some records.

    Args:
        trial: The parts of the trial.
        state: The state of the trial at the first of these records.
        loop_index: Int32 `(records,)`, a slice of `loop_of_record` from that record on; zeros that pad it
            record the last state again.
    """
    record, update = _record_and_update(trial)
    # The length of each loop is static: a GPU would copy a traced count to the host at every step.
    loops = [partial(update, int(updates)) for updates in np.unique(_updates(trial.length))]

    def stretch(state: TrainState, index: Array) -> tuple[TrainState, Array]:
        state, row, grads = record(state)
        return lax.switch(index, loops, state, grads), row

    state, records = lax.scan(stretch, state, loop_index)
    return conclude(trial, state, record.columns(records))


def _equal_stretches(length: TrainingLength) -> list[tuple[int, int]]:
    """Return the numbers of updates that follow the records, and of records in turn with as many."""
    updates = _updates(length)
    first = np.flatnonzero(np.diff(updates, prepend=-1))
    times = np.diff(first, append=len(updates))
    return list(zip(updates[first].tolist(), times.tolist(), strict=True))


class _Recorder:
    """A function that records a state in a row of metrics, which one kernel of a GPU writes."""

    def __init__(self, task: Task, data: Data, diverge_above: Array) -> None:
        self._task, self._data, self._diverge_above = task, data, diverge_above
        self._names: list[str] = []

    def __call__(self, state: TrainState) -> tuple[TrainState, Array, Any]:
        """Return the state, its metrics `(metrics,)`, and the gradient of the training loss."""
        state, metrics, grads = _record(self._task, self._data, self._diverge_above, state)
        self._names = list(metrics)
        return state, jnp.stack([value.astype(state.limit.dtype) for value in metrics.values()]), grads

    def columns(self, rows: Array) -> Metrics:
        """Return the metrics of rows `(records, metrics)` by name, each `(records,)`."""
        return {name: rows[:, place] for place, name in enumerate(self._names)}


def _record_and_update(trial: Trial) -> tuple[_Recorder, Callable[..., TrainState]]:
    """Return a function that records a state, and one that makes the updates after the record."""
    task, optimizer, data, length, diverge_above, key, draw = trial
    update = partial(_update, optimizer)
    order_key = random.fold_in(key, 1)

    def step(_: int, state: TrainState) -> TrainState:
        examples = data.train
        if draw is not None and length.batch_size is not None:
            x, y = draw(random.fold_in(order_key, state.step), length.batch_size)
            examples = Examples(x.astype(data.train.x.dtype), y.astype(data.train.y.dtype))
        elif length.batch_size is not None:
            state, examples = _next_batch(state, data.train, length.batch_size, order_key)
        (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(state.params, examples)
        return update(_flag_divergence(state, loss), grads)

    def update_from_record(updates: int, state: TrainState, grads: Any) -> TrainState:
        """Make `updates` updates; with the full batch, the first one uses the gradient of the record."""
        if updates and length.batch_size is None:
            state, updates = update(state, grads), updates - 1
        return lax.fori_loop(0, updates, step, state) if updates else state

    return _Recorder(task, data, diverge_above), update_from_record


def conclude(trial: Trial, state: TrainState, metrics: Metrics) -> TrialResult:
    """Return the result of a trial whose last record and state these are."""
    task, data = trial.task, trial.data
    final = _named("test", *task.loss(state.params, data.test)) if data.test is not None else {}
    for part in scored_parts(data._asdict()):
        scores = task.scores(state.params, getattr(data, part))
        final |= {f"{part}_{name}": score for name, score in scores.items()}
    finite = _finite(state.params)
    final, parts = _known(final, finite), _known(_parts(task, data, state), finite & (state.diverged_at < 0))
    end = task.end(state.params)
    return TrialResult(metrics, state.diverged_at, state.params, final, parts, end, state)


def _parts(task: Task, data: Data, state: TrainState) -> Metrics:
    """Return the leave-out values, see `TrialResult`."""
    sizes = {name: 0 if part is None else part.grouped for name, part in data._asdict().items()}
    names = grouped_parts(sizes)
    if not names or task.leave_out is None:
        return {}
    # A compiler that shared the products with those of the test metrics would round these otherwise.
    held_out = [getattr(data, name) for name in names]
    losses, more = task.leave_out(lax.optimization_barrier(state.params), held_out)
    ends = np.cumsum([count_groups(part.grouped) for part in held_out])[:-1].tolist()
    parts: Metrics = {}
    for metric, values in {"loss": losses, **more}.items():
        split = jnp.split(values, ends)
        parts |= {f"{name}_{metric}": own for name, own in zip(names, split, strict=True)}
    return parts


def scored_parts(parts: Mapping[str, Any]) -> list[str]:
    """Return the parts that get further metrics after the last step: those held out, or else the training's.

    Args:
        parts: The data of `train`, `val` and `test`; None for a part without examples.
    """
    return [part for part in ("val", "test") if parts[part] is not None] or ["train"]


def grouped_parts(sizes: Mapping[str, int]) -> list[str]:
    """Return the parts that get leave-out values after the last step: those held out that have groups.

    Args:
        sizes: The number of examples of each part that are dealt to groups; 0 where there is no such part.
    """
    return [part for part in ("val", "test") if count_groups(sizes[part])]


def part_metrics(task: MakeTask, sizes: Mapping[str, int]) -> list[str]:
    """Return the names of the metrics that get leave-out values; sizes: as in `grouped_parts`."""
    return [f"{part}_{name}" for part in grouped_parts(sizes) for name in task.metrics]


def _named(part: str, loss: Array, more: Metrics) -> Metrics:
    """Name the results of `Task.loss` on a part of the data."""
    return {f"{part}_loss": loss, **{f"{part}_{name}": value for name, value in more.items()}}


def _record(
    task: Task, data: Data, diverge_above: Array, state: TrainState
) -> tuple[TrainState, Metrics, Any]:
    """Return the metrics on all data, and the gradient of the training loss."""
    (loss, more), grads = jax.value_and_grad(task.loss, has_aux=True)(state.params, data.train)
    metrics = _named("train", loss, more)
    if data.val is not None:
        metrics |= _named("val", *task.loss(state.params, data.val))
    metrics["grad_norm"], _ = on_cpu(_norm_by_leaf, _norm, grads)
    metrics["param_norm"], finite = on_cpu(_norm_by_leaf, _norm, state.params)
    metrics = _known(metrics, finite)
    metrics |= {_of_parameter(name): value for name, value in task.path(state.params).items()}
    first = diverge_above * jnp.maximum(jnp.abs(loss), task.unit)
    limit = jnp.where(state.step == 0, first, state.limit)
    # Weights that are not finite may give a finite loss, and no metric of theirs means anything.
    observed = jnp.where(finite, loss, jnp.nan)
    return _flag_divergence(state._replace(limit=limit), observed), metrics, grads


def _norm_by_leaf(tree: Any) -> tuple[Array, Array]:
    """Return the norm of the numbers in a tree of arrays, and whether all are finite, a bool scalar."""
    return optax.tree.norm(tree), _finite(tree)


def _norm(tree: Any) -> tuple[Array, Array]:
    """Compute what `_norm_by_leaf` does by one sum, for which a GPU needs one kernel."""
    numbers = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
    return jnp.linalg.norm(numbers), _finite(numbers)


def _finite(params: Params) -> Array:
    """Return whether all numbers of the parameters are finite, a bool scalar."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()


def _known(metrics: Metrics, finite: Array) -> Metrics:
    """Return the metrics, or NaN for each if the weights are not finite: argmax finds a class among NaN."""
    return {name: jnp.where(finite, value, jnp.nan) for name, value in metrics.items()}


def _flag_divergence(state: TrainState, loss: Array) -> TrainState:
    """Store the first step at which the loss is not finite or above the limit."""
    bad = ~jnp.isfinite(loss) | (loss > state.limit)
    first = bad & (state.diverged_at < 0)
    return state._replace(diverged_at=jnp.where(first, state.step, state.diverged_at))


def _update(optimizer: Optimizer, state: TrainState, grads: Any) -> TrainState:
    updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(step=state.step + 1, params=params, optimizer=optimizer_state)


def _next_batch(state: TrainState, train: Examples, size: int, key: Array) -> tuple[TrainState, Examples]:
    """Take the next `size` examples in the epoch's order; an incomplete batch at its end is left out."""
    examples = train.y.shape[0]
    epoch, place = jnp.divmod(state.step, examples // size)
    # All trials of a block are at the same `step`, so vmap keeps a branch here and computes one side only.
    order = lax.cond(
        place == 0,
        lambda: random.permutation(random.fold_in(key, epoch), examples).astype(jnp.int32),
        lambda: state.order,
    )
    chosen = lax.dynamic_slice(order, (place * size,), (size,))
    return state._replace(order=order), Examples(train.x[:, chosen], train.y[chosen])
