"""The ranking of cells, against pandas by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsweep.analysis.labels import cell_label, format_with_error
from vsweep.analysis.ranking import rank_cells
from vsweep.analysis.ranking import test_metric as of_the_test
from vsweep.analysis.significance import describe_lead
from vsweep.metrics import axes_of, default_metric


def frame(rows, metric="val_loss"):
    """Trials from rows of (cell, lr, status, value)."""
    cells, lrs, statuses, values = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "trial": np.arange(len(rows)),
            "cell": cells,
            "seed": np.arange(len(rows)),
            "optimizer.lr": lrs,
            "status": statuses,
            "diverged_at": pd.array([3 if s == "diverged" else pd.NA for s in statuses], "Int64"),
            f"final_{metric}": np.array(values, np.float32),
            f"best_{metric}": np.float32(-9),
        }
    )


ROWS = [
    (0, 0.1, "ok", 3.0),
    (0, 0.1, "ok", 5.0),
    (2, 0.2, "ok", 1.0),
    (2, 0.2, "diverged", 0.0),
    (5, 0.3, "ok", 2.0),
    (5, 0.3, "ok", 2.5),
    (7, 0.4, "diverged", 0.0),
    (7, 0.4, "diverged", -1.0),
]


def test_ranked_by_the_mean_over_seeds():
    cells = rank_cells(frame(ROWS), "val_loss")
    assert list(cells.columns) == [
        "cell", "optimizer.lr", "mean", "std", "sem", "examples_sem", "splits_sem", "error", "low", "high",
        "seeds", "diverged", "rank", "p", "more_seeds", "tied"
    ]  # fmt: skip
    assert cells["cell"].tolist() == [5, 0, 2, 7]
    assert cells["optimizer.lr"].tolist() == [0.3, 0.1, 0.2, 0.4]
    np.testing.assert_allclose(cells["mean"], [2.25, 4.0, 1.0, np.nan])
    np.testing.assert_allclose(cells["std"], [np.sqrt(0.125), np.sqrt(2), np.nan, np.nan])
    np.testing.assert_allclose(cells["sem"], [0.25, 1.0, np.nan, np.nan])
    assert cells["seeds"].tolist() == [2, 2, 2, 2]
    assert cells["diverged"].tolist() == [0, 0, 1, 2]
    assert cells["p"].between(0.0, 1.0).all()
    assert cells["more_seeds"].dtype == "Int64"


def test_another_metric_is_reported_and_ranks_nothing():
    trials = frame(ROWS)
    plain = rank_cells(trials, "val_loss")
    other = np.float32([8, 4, 7, np.nan, 1, 2, np.nan, np.nan])
    cells = rank_cells(trials.assign(final_test_loss=other), "val_loss", report="test_loss")
    assert list(cells.columns) == [*plain.columns, "test_loss", "test_loss_error"]
    pd.testing.assert_frame_equal(cells[plain.columns], plain)
    np.testing.assert_allclose(cells["test_loss"], [1.5, 6.0, 7.0, np.nan])
    np.testing.assert_allclose(cells["test_loss_error"], [0.5, 2.0, np.nan, np.nan])
    with pytest.raises(KeyError, match=r"no metric 'test_accuracy': this sweep recorded val_loss"):
        rank_cells(trials, "val_loss", report="test_accuracy")


def test_more_accuracy_is_better():
    assert rank_cells(frame(ROWS, "val_accuracy"), "val_accuracy")["cell"].tolist() == [0, 5, 2, 7]


@pytest.mark.parametrize(("metric", "tied"), [("val_r2", False), ("val_auc", True), ("val_f1", True)])
def test_a_metric_that_counts_no_examples_has_no_step(metric, tied):
    """Two values are a step of an accuracy apart, which may be one example's; R2 has no such step."""
    rows = [(cell, 0.1, "ok", value) for cell, value in ((0, 0.5), (0, 0.5), (1, 0.1), (1, 0.1))]
    others = {"seed": [0, 1, 0, 1], "final_train_loss": [0.1, 0.2, 0.3, 0.4]}
    cells = rank_cells(frame(rows, metric).assign(**others), metric)
    assert cells["tied"].tolist() == [tied, tied]


def test_equal_cells_stay_in_order():
    rows = [(cell, 0.1, "ok", 1.0) for cell in (4, 1, 3)]
    assert rank_cells(frame(rows), "val_loss")["cell"].tolist() == [1, 3, 4]


values = st.floats(-100, 100, width=32) | st.sampled_from([float("nan"), float("inf")])
rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["ok", "ok", "diverged"]), values), min_size=1, max_size=20
)


@settings(max_examples=40)
@given(rows, st.sampled_from(["val_loss", "val_accuracy"]))
def test_a_diverged_trial_never_ranks_above_one_that_is_not(drawn, metric):
    trials = frame([(cell, cell / 10, status, value) for cell, status, value in drawn], metric)
    cells = rank_cells(trials, metric)
    assert sorted(cells["cell"]) == sorted(trials["cell"].unique())
    assert cells["diverged"].is_monotonic_increasing
    sign = -1 if metric.endswith("accuracy") else 1
    for _, same in cells.groupby("diverged"):
        means = (sign * same["mean"]).tolist()
        known = [mean for mean in means if not np.isnan(mean)]
        assert known == sorted(known)
        assert not any(np.isnan(mean) for mean in means[: len(known)])
    for _, cell in cells.iterrows():
        ok = trials[(trials["cell"] == cell["cell"]) & (trials["status"] == "ok")]
        with np.errstate(invalid="ignore"):
            expected = ok[f"final_{metric}"].astype(float).mean() if len(ok) else np.nan
        np.testing.assert_allclose(cell["mean"], expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(rows, st.sampled_from(["val_loss", "val_accuracy"]))
def test_no_cell_makes_the_columns_of_luck_fail(drawn, metric):
    trials = frame([(cell, cell / 10, status, value) for cell, status, value in drawn], metric)
    trials["seed"] = trials.groupby("cell").cumcount()
    cells = rank_cells(trials, metric)
    assert cells["p"].dropna().between(0.0, 1.0).all()
    assert (cells["more_seeds"].dropna() >= 0).all()
    told = cells["p"] <= 0.05
    assert (cells.loc[told, "more_seeds"] == 0).all()
    assert not (cells.loc[~told, "more_seeds"] == 0).fillna(False).any()
    assert isinstance(describe_lead(cells), str)
    assert cells["tied"].dtype == bool


def test_one_trial_and_no_axes():
    trials = frame(ROWS[:1]).drop(columns="optimizer.lr")
    assert axes_of(trials) == []
    cells = rank_cells(trials)
    assert cells["mean"].tolist() == [3.0]
    assert cells["std"].isna().all()


def test_cells_of_a_sweep(small):
    by_hand = (
        small.trials[small.trials["status"] == "ok"]
        .assign(value=lambda t: t["final_val_loss"].astype(float))
        .groupby("cell")["value"]
        .agg(["mean", "std"])
        .sort_values("mean")
    )
    cells = small.cells("val_loss")
    assert cells["cell"].tolist()[: len(by_hand)] == by_hand.index.tolist()
    np.testing.assert_allclose(cells["mean"][: len(by_hand)], by_hand["mean"])
    np.testing.assert_allclose(cells["std"][: len(by_hand)], by_hand["std"])
    assert (cells["optimizer.lr"][len(by_hand) :] == 1e6).all()
    assert cells["model.width"].isna().tolist() == (cells["model"] == "logistic").tolist()


def test_the_metric_by_default():
    def trials(*names):
        return pd.DataFrame({f"final_{name}": [1.0] for name in names})

    assert (
        default_metric(trials("train_loss", "val_loss", "train_accuracy", "val_accuracy")) == "val_accuracy"
    )
    assert default_metric(trials("train_loss", "val_loss")) == "val_loss"
    assert default_metric(trials("train_loss", "train_accuracy")) == "train_accuracy"
    assert default_metric(trials("train_loss", "grad_norm")) == "train_loss"


NAMES = [
    "test_accuracy",
    "test_loss",
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "grad_norm",
]


@given(st.lists(st.sampled_from(NAMES), unique=True))
def test_no_metric_by_default_is_of_the_test(names):
    trials = pd.DataFrame({f"final_{name}": [1.0, np.nan] for name in names})
    assert not default_metric(trials).startswith("test_")


def test_a_metric_that_no_trial_has_is_not_the_default():
    """The column of the held-out examples, of a sweep that holds none out."""
    trials = pd.DataFrame({"final_val_loss": [np.nan], "final_train_loss": [1.0], "final_test_loss": [0.5]})
    assert default_metric(trials) == "train_loss"


def test_the_metric_on_the_test_that_goes_with_one():
    trials = pd.DataFrame(
        {"final_val_loss": [1.0], "final_test_loss": [2.0], "final_test_accuracy": [np.nan]}
    )
    assert of_the_test(trials, "val_loss") == "test_loss"
    assert of_the_test(trials, "train_loss") == "test_loss"
    for none in ("val_accuracy", "test_loss", "grad_norm"):
        assert of_the_test(trials, none) is None


def test_a_metric_that_was_not_recorded_is_told():
    with pytest.raises(KeyError, match=r"no metric 'val_acc': this sweep recorded val_loss"):
        rank_cells(frame(ROWS), "val_acc")


def test_a_cell_in_words(small):
    cells = small.cells("val_loss").sort_values("cell")
    words = [cell_label(row, axes_of(small.trials)) for _, row in cells.iterrows()]
    assert words[0] == "model=logistic lr=0.1"
    assert words[-1] == "model=mlp width=3 lr=1e+06"


@pytest.mark.parametrize(("splits", "factor"), [(2, 3.0), (3, 2.5), (5, 1.0 + 5 / 3.5)])
def test_the_error_over_splits_knows_that_their_training_examples_overlap(splits, factor):
    """Two seeds of a split are no two replicates; what they have on every split is an error of its own."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal(splits)
    rows = [(0, 0.1, "ok", mean + luck) for mean in means for luck in (-0.1, 0.1)]
    trials = frame(rows).assign(seed=[0, 1] * splits)
    trials.insert(2, "split", np.repeat(np.arange(splits), 2))
    (cell,) = rank_cells(trials, "val_loss").to_dict("records")
    assert (
        cell["error"]
        == cell["splits_sem"]
        == pytest.approx(np.sqrt(factor * means.var(ddof=1) / splits + 0.1**2), rel=1e-5)
    )
    assert cell["sem"] == pytest.approx(0.1 / np.sqrt(splits), rel=1e-5)
    assert np.isnan(cell["examples_sem"])


def test_the_share_of_seeds_is_that_of_the_splits_that_show_it():
    """A split with one seed has no error over seeds, which is not an error of zero."""
    trials = frame([(0, 0.1, "ok", value) for value in (1.0, 3.0, 1.0, 3.0, 2.0, 2.0)])
    trials = trials.assign(seed=[0, 1] * 3)
    trials.insert(2, "split", [0, 0, 1, 1, 2, 2])
    (cell,) = rank_cells(trials.iloc[:-1], "val_loss").to_dict("records")
    # Each known split has a variance of 2 / 2, and there are three.
    assert cell["sem"] == pytest.approx(np.sqrt(1.0 / 3.0))


def test_an_infinite_loss_of_a_split_has_no_error():
    trials = frame([(0, 0.1, "ok", value) for value in (1.0, np.inf, 2.0)]).assign(seed=0)
    trials.insert(2, "split", [0, 1, 2])
    (cell,) = rank_cells(trials, "val_loss").to_dict("records")
    assert np.isnan(cell["error"])


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.6, 0.03, "0.6000 ± 0.030"), (46.0, 11.2, "46.00 ± 11"), (1797.0, 99.7, "1797 ± 100"),
        (41049.7, 8312.4, "41050 ± 8312"), (2.5e7, 1e6, "2.500e+07 ± 1.0e+06"), (1.0, 0.0, "1.000 ± 0"),
        (0.5, np.nan, "0.5"), (np.nan, 0.1, "–"),
    ],
)  # fmt: skip
def test_a_mean_and_its_error_keep_final_zeros(mean, error, text):
    assert format_with_error(mean, error) == text


def of_splits(*rows):
    """Trials of cells from the number of errors on each of their splits, of 30 held-out examples each."""
    cells = [(i, 0.1 + i, "ok", 1.0 - wrong / 30) for i, row in enumerate(rows) for wrong in row]
    # Groups of two examples, of which one may be wrong.
    kept = [[1.0 - (wrong - (group < wrong)) / 28 for group in range(15)] for row in rows for wrong in row]
    trials = frame(cells, "val_accuracy").assign(seed=0, parts_val_accuracy=[*map(np.array, kept)])
    trials.insert(2, "split", np.tile(np.arange(len(rows[0])), len(rows)))
    return trials


@pytest.mark.parametrize("splits", [2, 3, 10])
def test_splits_that_agree_by_chance_are_no_certainty(splits):
    """An example of each split is not enough to tell which cell is better."""
    cells = rank_cells(of_splits([0] * splits, [1] * splits), "val_accuracy")
    assert cells["tied"].all()
    assert cells["p"][1] > 0.05
    # So many examples that all have the same outcome have this error.
    assert (cells["error"] >= np.sqrt(0.5 / (30 * splits)) / np.sqrt(30 * splits)).all()
    assert (cells["low"] < cells["mean"]).all()
    assert (cells["high"] <= 1.0).all()
    assert cells["high"][1] > cells["mean"][1]


def test_the_interval_over_splits_is_of_shares():
    cells = rank_cells(of_splits([0, 0, 2, 0, 0], [9, 8, 10, 9, 11]), "val_accuracy")
    assert cells["high"].between(cells["mean"], 1.0).all()
    assert cells["p"][1] < 0.05


@pytest.mark.parametrize("folds", [True, False])
def test_the_error_of_test_examples_that_all_folds_share_is_counted(folds):
    """Folds whose models agree have as many test examples as one of them."""
    rng, splits, share = np.random.default_rng(1), 5, 0.8
    errors = []
    for _ in range(20):
        right = rng.random((1 if folds else splits, 15, 20)) < share
        right = np.broadcast_to(right, (splits, 15, 20))
        kept = (right.sum(axis=(1, 2))[:, None] - right.sum(axis=2)) / 280
        trials = frame([(0, 0.1, "ok", value) for value in right.mean(axis=(1, 2))], "test_accuracy")
        trials = trials.assign(split=range(splits), seed=0, parts_test_accuracy=[*kept])
        errors.append(rank_cells(trials, "test_accuracy")["error"][0])
    true = np.sqrt(share * (1.0 - share) / 300 / (1 if folds else splits))
    # The error over splits whose training examples overlap is larger.
    stretch = 1.0 if folds else np.sqrt(1.0 + 5 / 3.5)
    assert true * stretch * 0.85 < np.mean(errors) < true * stretch * 1.6


def test_cells_that_differ_in_few_test_examples_of_all_folds_are_tied():
    trials = of_splits([0] * 5, [3, 4, 3, 3, 4])
    test = trials.rename(columns=lambda name: name.replace("val_", "test_"))
    assert rank_cells(test, "test_accuracy")["p"][1] > 0.05


@pytest.mark.parametrize("splits", [1, 4])
def test_values_that_all_agree_say_nothing_about_their_error(splits):
    trials = of_splits([0] * splits, [0] * splits)
    if splits == 1:
        trials = trials.drop(columns="split")
    cells = rank_cells(trials, "val_accuracy")
    assert cells[["error", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("score", ["val_auc", "val_f1", "val_balanced_accuracy"])
def test_a_perfect_score_on_few_examples_is_as_unsure_as_the_accuracy(score):
    """Scores move by steps of their own; the accuracy of the same examples shows that there are thirty."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([np.ones(4), 0.95 + 0.0001 * rng.random(4)])
    accuracies = np.repeat([1.0, 28 / 30], 4)
    trials = frame([(i // 4, 0.1, "ok", value) for i, value in enumerate(scores)], score)
    trials = trials.assign(seed=np.tile(np.arange(4), 2), final_val_loss=rng.random(8))
    trials["final_val_accuracy"] = accuracies
    groups = {name: [*np.repeat(values[:, None], 15, axis=1)] for name, values in
              ((score, scores), ("val_accuracy", accuracies))}  # fmt: skip
    groups["val_accuracy"][4:] = [np.r_[1.0, np.full(14, 27 / 29)] for _ in range(4)]
    trials = trials.assign(**{f"parts_{name}": values for name, values in groups.items()})
    best = rank_cells(trials, score).iloc[0]
    assert best["error"] > 0.02
    assert best["low"] < 0.95


def test_a_cell_that_diverges_where_seeds_cannot_differ_is_not_the_best():
    rows = [(0, 0.1, "ok", 1.0)] * 2 + [(1, 0.2, "ok", 2.0)] * 2 + [(2, 0.3, "diverged", 0.0)] * 2
    cells = rank_cells(frame(rows).assign(seed=[0, 1] * 3), "val_loss")
    assert cells["p"].iloc[2] == 0.0
    assert not cells["tied"].iloc[2]
