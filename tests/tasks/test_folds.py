"""Folds have the properties of scikit-learn's, and the test part is set aside once."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.splits import split


def labelled(sizes):
    y = np.repeat(np.arange(len(sizes)), sizes)
    return Dataset(np.arange(len(y), dtype=float)[:, None], y, tuple(map(str, range(len(sizes)))), ("x",))


def places(dataset, folds, *, test_fraction=0.1, stratify=True, seed=3):
    options = {"standardize": True, "stratify": stratify, "test_fraction": test_fraction, "folds": folds}
    return [split(dataset, None, seed, fold=fold, **options).places for fold in range(folds)]


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize(("sizes", "folds"), [([50, 50, 50], 5), ([40, 9, 3], 4), ([13, 20], 7), ([6, 5], 2)])
@pytest.mark.parametrize("test_fraction", [0.0, 0.2, "auto"])
def test_every_row_outside_the_test_validates_exactly_once(sizes, folds, stratify, test_fraction):
    dataset = labelled(sizes)
    parts = places(dataset, folds, test_fraction=test_fraction, stratify=stratify)
    rows = np.arange(len(dataset.y))
    for train, val, test in parts:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, val, test])), rows)
        np.testing.assert_array_equal(test, parts[0][2])
    rest = np.setdiff1d(rows, parts[0][2])
    np.testing.assert_array_equal(np.sort(np.concatenate([val for _, val, _ in parts])), rest)
    if test_fraction == 0.2:
        assert len(parts[0][2]) == round(0.2 * len(rows))
    theirs = [len(val) for _, val in KFold(folds).split(rest)]
    assert [len(val) for _, val, _ in parts] == theirs


@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
@pytest.mark.parametrize(("sizes", "folds"), [([50, 50, 50], 5), ([40, 9, 3], 4), ([13, 20], 7), ([6, 5], 2)])
def test_folds_have_the_class_shares_of_scikit_learns(sizes, folds):
    dataset = labelled(sizes)
    parts = places(dataset, folds)
    y = np.delete(dataset.y, parts[0][2])
    ours = np.asarray([np.bincount(dataset.y[val], minlength=len(sizes)) for _, val, _ in parts])
    splits = StratifiedKFold(folds).split(y, y)
    theirs = np.asarray([np.bincount(y[val], minlength=len(sizes)) for _, val in splits])
    np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))
    assert np.ptp(ours, axis=0).max() <= 1


def test_folds_follow_the_seed_of_the_split():
    dataset = labelled([50, 50])
    one, same, other = (places(dataset, 5, seed=seed)[0][1].tolist() for seed in (0, 0, 1))
    assert one == same != other


def test_a_fold_of_one_row():
    dataset = labelled([6, 5])
    assert [len(val) for _, val, _ in places(dataset, 11, test_fraction=0.0)] == [1] * 11
    with pytest.raises(ConfigError) as error:
        places(dataset, 12, test_fraction=0.0)
    assert str(error.value) == (
        "data.folds: got 12, and there are 11 rows without the test's; it takes an integer from 2 to 11"
    )


@pytest.mark.parametrize("rows", range(30, 90))
@pytest.mark.parametrize("folds", [2, 3, 5, 7])
def test_the_share_of_the_test_leaves_equal_folds(rows, folds):
    """All folds are of one shape, so that one compiled program trains them."""
    parts = places(labelled([rows - 9, 9]), folds, test_fraction="auto")
    assert len({(len(train), len(val)) for train, val, _ in parts}) == 1
    assert abs(len(parts[0][2]) - rows / 10) <= max(folds / 2 + 1, rows / 10)


@pytest.mark.parametrize("rows", range(10, 30))
def test_equal_folds_leave_a_test_part(rows):
    for _, _, test in places(labelled([rows - 5, 5]), 5, test_fraction="auto"):
        assert len(test) > 0
