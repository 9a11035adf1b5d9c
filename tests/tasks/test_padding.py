"""Padding in a part of the data changes no loss, gradient or score, whatever its examples are."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_helpers import examples, make_hparams, make_static, take

from vsweep.tasks.leave_out import count_groups, grouped_order
from vsweep.tasks.scores import CLASS_SCORES, NUMBER_SCORES, without_padding
from vsweep.tasks.task import Examples
from vsweep.training.program import precision_context

LOSSES = ["softmax_cross_entropy", "sigmoid_cross_entropy", "clipped_cross_entropy", "squared_error", "huber"]


def make_task(loss):
    """A task in float64 that measures every score that fits the loss, and its parameters."""
    static = make_static("mlp", loss, width=4, dtype="float64", inits=("lecun_normal",))
    two = loss in ("sigmoid_cross_entropy", "clipped_cross_entropy")
    fitting = [name for name in CLASS_SCORES if name != "auc" or two]
    names = tuple(NUMBER_SCORES if loss in ("squared_error", "huber") else fitting)
    hparams = make_hparams(static, lr=[0.1], delta=0.7 if loss == "huber" else None)
    fields = jax.tree.map(lambda leaf: leaf[0], take(hparams, [0]).task)
    if loss == "clipped_cross_entropy":
        fields["loss"]["eps"] = np.float64(1e-9)
    task = replace(static.task, scores=names, final_metrics=names)(fields)
    with precision_context(static):
        return static, task, task.init(jax.random.key(0))


def padded(part, rows):
    """The part with other examples behind it, which the model finds hard."""
    extra = rows - len(part.y)
    x = np.concatenate([part.x, np.full((len(part.x), extra), 1e3)], axis=1)
    return Examples(x, np.concatenate([part.y, 1 - part.y[:extra]]), np.int32(len(part.y)))


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_padded_part_is_worth_what_its_examples_are(loss, rows):
    static, task, params = make_task(loss)
    part = examples(loss if loss != "clipped_cross_entropy" else "sigmoid_cross_entropy", rows=rows)
    with precision_context(static):
        value = jax.jit(jax.value_and_grad(task.loss, has_aux=True))
        for size in (rows, rows + 1, rows + 3):
            assert_close(value(params, padded(part, size)), value(params, part))
            assert_close(task.scores(params, padded(part, size)), task.scores(params, part))


@pytest.mark.parametrize("rows", [9, 30, 40])
@pytest.mark.parametrize("loss", LOSSES)
def test_values_without_a_group_leave_padding_out(loss, rows):
    """Groups are those of the smaller part, so that all of them have the same share in both."""
    static, task, params = make_task(loss)
    kind = loss if loss != "clipped_cross_entropy" else "sigmoid_cross_entropy"
    part, other = examples(kind, rows=rows), examples(kind, rows=21, seed=1)
    with precision_context(static):
        groups, order = count_groups(rows), grouped_order(rows)
        more = examples(kind, rows=rows + 1)
        for full in (padded(part, rows + 1), more._replace(count=np.int32(rows + 1))):
            losses, scores = jax.jit(task.leave_out)(params, [full, other])
            for g, group in enumerate(np.split(order[: rows // groups * groups], groups)):
                kept = np.setdiff1d(np.arange(int(full.count)), group)
                want = task.loss(params, Examples(full.x[:, kept], full.y[kept]))
                assert_close((losses[g], {name: values[g] for name, values in scores.items()}), want)
        alone = task.leave_out(params, [other])
        assert_close((losses[groups:], {name: values[groups:] for name, values in scores.items()}), alone)


def test_means_of_several_rows_leave_padding_out():
    values = jnp.asarray([[1.0, 2.0, 9.0], [3.0, 5.0, 9.0]])
    over = without_padding(jnp.asarray([True, True, False]))
    assert over.mean(values).tolist() == [1.5, 4.0]
    assert over.sum(values > 2.0, dtype=jnp.float32).tolist() == [0.0, 2.0]
