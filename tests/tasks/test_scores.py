"""The scores of outputs, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from vsweep.tasks.losses import LOSSES, most_likely, positive
from vsweep.tasks.scores import CLASS_SCORES, NUMBER_SCORES, auc


def classes_of(outputs):
    return (positive if len(outputs) == 1 else most_likely)(jnp.asarray(outputs))


@pytest.mark.parametrize("n_outputs", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_scores_of_classes(n_outputs, rows):
    """Classes that no example has, and classes that nothing predicts, are among them."""
    rng = np.random.default_rng(rows)
    y = rng.integers(0, min(max(n_outputs, 2), 4), rows).astype(np.int32)
    outputs = rng.normal(size=(n_outputs, rows)).astype(np.float32)
    guess = np.asarray(classes_of(outputs))
    recall = [np.mean(guess[y == c] == c) for c in np.unique(y)]
    want = {
        "accuracy": metrics.accuracy_score(y, guess),
        "balanced_accuracy": np.mean(recall),
        "f1": metrics.f1_score(y, guess, average="macro", zero_division=0.0),
    }
    for name, value in want.items():
        got = jax.jit(CLASS_SCORES[name])(jnp.asarray(outputs), jnp.asarray(y), jnp.asarray(guess))
        np.testing.assert_allclose(got, value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("rows", [4, 999, 9000])
def test_auc_with_ties(n_outputs, rows):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows).astype(np.int32)
    y[:2] = 0, 1
    outputs = np.round(rng.normal(size=(n_outputs, rows)) + y[None, :] * n_outputs, 1).astype(np.float32)
    margin = outputs[-1] - (outputs[0] if n_outputs == 2 else 0)
    got = auc(jnp.asarray(outputs), jnp.asarray(y), classes_of(outputs))
    np.testing.assert_allclose(got, metrics.roc_auc_score(y, margin), rtol=1e-5)


def test_auc_of_one_class_is_unknown():
    assert np.isnan(auc(jnp.ones((1, 3)), jnp.ones(3, jnp.int32), jnp.ones(3, jnp.int32)))


def test_scores_of_numbers():
    rng = np.random.default_rng(0)
    y, z = rng.normal(size=(2, 50)).astype(np.float32)
    want = {"rmse": metrics.root_mean_squared_error(y, z), "mae": metrics.mean_absolute_error(y, z)}
    for name, value in want.items():
        np.testing.assert_allclose(
            NUMBER_SCORES[name](jnp.asarray(z)[None], jnp.asarray(y)), value, rtol=1e-6
        )


def test_each_loss_has_the_scores_of_its_outputs():
    for name, loss in LOSSES.items():
        recorded, last = loss.scores(0 if loss.classify is None else 2, "auto")
        assert recorded == (["rmse", "mae"] if name in ("squared_error", "huber") else ["accuracy"])
        assert last == ([] if loss.classify is None else ["balanced_accuracy", "f1", "auc"])
    softmax = LOSSES["softmax_cross_entropy"]
    assert softmax.scores(3, "val_f1") == (["accuracy", "f1"], ["balanced_accuracy"])
    # Sweeps of versions that knew accuracy alone keep their columns.
    assert softmax.scores(3, None) == (["accuracy"], [])
