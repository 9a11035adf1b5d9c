"""The groups of the jackknife, and a task's values without each of them."""

import jax
import numpy as np
import pytest
from core_helpers import (
    as_layers,
    assert_same_bits,
    examples,
    make_hparams,
    make_static,
    np_loss,
    np_outputs,
    take,
    train_block,
)

from vsweep.tasks.leave_out import count_groups, grouped_order
from vsweep.training.program import precision_context

SIZES = [0, 1, 2, 9, 10, 11, 19, 20, 21, 31, 97, 360, 1009]


def left_out(rows):
    """The examples of each group, drawn anew."""
    fewest, most = (10, min(rows, 20)) if rows >= 10 else (rows, rows)
    groups = min(range(fewest, most + 1), key=lambda count: (rows % count, -count))
    size = rows // groups
    return np.random.default_rng(rows).permutation(rows)[: groups * size].reshape(groups, size)


@pytest.mark.parametrize("rows", SIZES)
def test_groups_are_of_one_size_and_share_no_example(rows):
    order, groups = grouped_order(rows), count_groups(rows)
    assert sorted(order.tolist()) == list(range(rows))
    if rows < 2:
        assert groups == 0
        return
    assert len(left_out(rows)) == groups
    np.testing.assert_array_equal(order[: left_out(rows).size], left_out(rows).ravel())
    counts = range(10, min(rows, 20) + 1) if rows >= 10 else [rows]
    assert groups in counts
    assert rows % groups == min(rows % count for count in counts)


def test_no_group_of_sorted_rows_is_of_one_class():
    classes = np.repeat(np.arange(3), 120)
    for group in left_out(360):
        assert len(group) == 18
        assert len(set(classes[group])) > 1


@pytest.mark.parametrize("rows", [2, 9, 31])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "huber"])
def test_values_without_a_group_are_those_of_numpy(rows, loss):
    static = make_static("mlp", loss, width=4, dtype="float64", inits=("lecun_normal",))
    hparams = make_hparams(static, lr=[0.1], delta=0.7 if loss == "huber" else None)
    part = examples(loss, rows=rows)
    with precision_context(static):
        task = static.task(jax.tree.map(lambda leaf: leaf[0], take(hparams, [0]).task))
        params = task.init(jax.random.key(0))
        mean_loss, scores = jax.jit(task.leave_out)(params, [part])
    layers = as_layers(jax.tree.map(lambda leaf: np.asarray(leaf)[None], params), 0)
    outputs = np_outputs(layers, part.x, "tanh")
    guess = (outputs[0] > 0) if len(outputs) == 1 else outputs.argmax(axis=0)
    values = {"loss": mean_loss, **scores}
    assert set(values) == {"loss", *(["rmse", "mae"] if loss == "huber" else ["accuracy"])}
    for name, got in values.items():
        assert got.shape == (count_groups(rows),)
        for g, group in enumerate(left_out(rows)):
            kept = np.delete(np.arange(rows), group)
            errors = np.abs(outputs[0] - part.y)[kept]
            want = {
                "loss": np_loss(loss, outputs[:, kept], part.y[kept], 0.7)[0].mean(),
                "accuracy": (guess[kept] == part.y[kept]).mean(),
                "rmse": np.sqrt((errors**2).mean()),
                "mae": errors.mean(),
            }
            np.testing.assert_allclose(got[g], want[name], rtol=1e-12)


def test_devices_and_lanes_change_no_value():
    train, val = (examples("softmax_cross_entropy", rows=rows, seed=rows) for rows in (24, 31))
    static = make_static("logistic", inits=("lecun_normal",), steps=8)
    hparams = make_hparams(static, seed=[0, 1, 2, 3], lr=[0.1, 0.3, 1.0, 1e30])
    one = train_block(static, hparams, train, val)
    assert one.diverged_at.tolist()[:3] == [-1] * 3
    assert np.isfinite(one.parts["val_loss"]).all(axis=1).tolist() == [True, True, True, False]
    assert one.parts["val_loss"].shape == one.parts["val_accuracy"].shape == (4, 15)
    assert_same_bits(train_block(static, hparams, train, val, devices=2).parts, one.parts)
    lanes = train_block(static, hparams, train, val, vmap_size=2).parts
    for name, values in one.parts.items():
        np.testing.assert_allclose(lanes[name], values, rtol=1e-5)
