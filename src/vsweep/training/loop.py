"""One trial's descent, from its first weights to its curve."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random

from vsweep.tasks.task import Data, Draw, Examples, MakeTask, Metrics, Task
from vsweep.training.optimizers import Optimizer


class TrainingLength(NamedTuple):
    """How long a trial is, static.

    steps: updates. record_every: updates between two records. batch_size: None is the full batch.
    """

    steps: int
    record_every: int
    batch_size: int | None


class TrialResult(NamedTuple):
    """What is kept of a trial.

    metrics: each float `(records,)`, at the steps that `recorded_steps` gives.
    diverged_at: int32 scalar, the first step at which the loss that is descended (that of the minibatch,
        where there are minibatches; at records that of all training examples) was not finite, or above
        the limit; -1 where it never was.
    params: the parameters after the last step.
    test: the metrics on the test's examples after the last step, scalars; empty where there are none.
    end: what the task finds out about the parameters after the last step.
    state: the trial after the last step, from which it can go on; None of a trial trained whole.
    """

    metrics: Metrics
    diverged_at: Array
    params: Any
    test: Metrics
    end: Metrics
    state: "TrainState | None"


class TrainState(NamedTuple):
    """A trial between two steps. order: int32 `(examples,)`, this epoch's; of one for the full batch."""

    step: Array
    params: Any
    optimizer: Any
    order: Array
    limit: Array
    diverged_at: Array


def recorded_steps(length: TrainingLength) -> np.ndarray:
    """The steps of a curve's records, int64: 0, every `record_every`, and the last."""
    return np.append(np.arange(0, length.steps, length.record_every), length.steps)


def segments_between_records(length: TrainingLength) -> np.ndarray:
    """Of each record, which of a program's loops follows it, int32 `(records,)`; 0 is no step at all."""
    return np.unique(_updates(length), return_inverse=True)[1].astype(np.int32)


def _updates(length: TrainingLength) -> np.ndarray:
    """The updates between each record and the next, 0 after the last."""
    return np.diff(recorded_steps(length), append=length.steps)


def curve_metrics(task: MakeTask, *, held_out: bool) -> list[str]:
    """The names of a curve's metrics, from the task's own (`loss`, `accuracy`) and its parameters'."""
    parts = ["train", "val"] if held_out else ["train"]
    metrics = [f"{part}_{name}" for part in parts for name in task.metrics]
    return [*metrics, "grad_norm", "param_norm", *map(_of_parameter, task.recorded)]


def _of_parameter(name: str) -> str:
    """The name of the metric that is a parameter."""
    return f"param.{name}"


class Trial(NamedTuple):
    """What a trial is made of.

    diverge_above: floating scalar: a loss above this many times the absolute first one (or, where that is
        less, the task's `unit`) has diverged.
    key: the trial's own; the first weights and the order of its minibatches are drawn from it.
    draw: gives every step examples of its own; None for those of the data.
    """

    task: Task
    optimizer: Optimizer
    data: Data
    length: TrainingLength
    diverge_above: Array
    key: Array
    draw: Draw | None = None


def train(trial: Trial, twin: Array) -> TrialResult:
    """Train a trial from its first weights to its last record; `twin` as in `start`."""
    state = start(trial, twin)
    return advance(trial, state, jnp.asarray(segments_between_records(trial.length)))._replace(state=None)


def start(trial: Trial, twin: Array) -> TrainState:
    """A trial before its first step.

    twin: bool scalar: whether each first weight that is not 0 is moved by one unit in the last place.
    """
    params = trial.task.init(random.fold_in(trial.key, 0))

    def moved(p: Array) -> Array:
        return jnp.where(twin & (p != 0), jnp.nextafter(p, jnp.full_like(p, jnp.inf)), p)

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


def advance(trial: Trial, state: TrainState, which: Array) -> TrialResult:
    """Train a trial on, for some records.

    which: int32 `(records,)`, a part of `segments_between_records`, from the record that the state stands at;
    zeros after it record the same again.
    """
    task, optimizer, data, length, diverge_above, key, draw = trial
    update = partial(_update, optimizer)
    observe = partial(_record, task, data, diverge_above)
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

    def go_on(updates: int, state: TrainState, grads: Any) -> TrainState:
        """So many updates after a record, whose gradient on the full batch is the first step's."""
        if updates and length.batch_size is None:
            state, updates = update(state, grads), updates - 1
        return lax.fori_loop(0, updates, step, state) if updates else state

    # How often each loop runs is static: on a GPU, a count that is traced is asked for at every step.
    loops = [partial(go_on, int(updates)) for updates in np.unique(_updates(length))]

    def stretch(state: TrainState, which: Array) -> tuple[TrainState, Metrics]:
        state, metrics, grads = observe(state)
        return lax.switch(which, loops, state, grads), metrics

    state, metrics = lax.scan(stretch, state, which)
    test, end = _test(task, data, state), task.end(state.params)
    return TrialResult(metrics, state.diverged_at, state.params, test, end, state)


def _test(task: Task, data: Data, state: TrainState) -> Metrics:
    if data.test is None:
        return {}
    loss, more = task.loss(state.params, data.test)
    return {"test_loss": loss, **{f"test_{name}": m for name, m in more.items()}}


def _record(
    task: Task, data: Data, diverge_above: Array, state: TrainState
) -> tuple[TrainState, Metrics, Any]:
    """The metrics on all the data, and the training loss's gradient."""
    (loss, more), grads = jax.value_and_grad(task.loss, has_aux=True)(state.params, data.train)
    metrics = {"train_loss": loss, **{f"train_{name}": m for name, m in more.items()}}
    if data.val is not None:
        val_loss, more = task.loss(state.params, data.val)
        metrics |= {"val_loss": val_loss, **{f"val_{name}": m for name, m in more.items()}}
    metrics["grad_norm"] = optax.tree.norm(grads)
    metrics["param_norm"] = optax.tree.norm(state.params)
    metrics |= {_of_parameter(name): value for name, value in task.path(state.params).items()}
    first = diverge_above * jnp.maximum(jnp.abs(loss), task.unit)
    limit = jnp.where(state.step == 0, first, state.limit)
    return _flag_divergence(state._replace(limit=limit), loss), metrics, grads


def _flag_divergence(state: TrainState, loss: Array) -> TrainState:
    """Note the first step at which the loss is not finite or has grown past the limit."""
    bad = ~jnp.isfinite(loss) | (loss > state.limit)
    first = bad & (state.diverged_at < 0)
    return state._replace(diverged_at=jnp.where(first, state.step, state.diverged_at))


def _update(optimizer: Optimizer, state: TrainState, grads: Any) -> TrainState:
    updates, kept = optimizer.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(step=state.step + 1, params=params, optimizer=kept)


def _next_batch(state: TrainState, train: Examples, size: int, key: Array) -> tuple[TrainState, Examples]:
    """The next `size` examples of the epoch's order; what is left at its end waits for the next."""
    examples = train.y.shape[0]
    epoch, place = jnp.divmod(state.step, examples // size)
    # `step` is the same for every trial of a block, so under vmap this stays a branch.
    order = lax.cond(
        place == 0,
        lambda: random.permutation(random.fold_in(key, epoch), examples).astype(jnp.int32),
        lambda: state.order,
    )
    chosen = lax.dynamic_slice(order, (place * size,), (size,))
    return state._replace(order=order), Examples(train.x[:, chosen], train.y[chosen])
