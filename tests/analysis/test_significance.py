"""Is the first cell really better: against SciPy's paired t-test, by brute force, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, ttest_rel
from scipy.stats import t as student

from vsweep.analysis.ranking import best_cell, rank_cells
from vsweep.analysis.significance import (
    describe_lead,
    prob_first_better,
    required_confidence,
    tied_with_best,
    values_by_seed,
)
from vsweep.metrics import axes_of, final_values

NAN, INF = np.nan, np.inf


def trials_of(values, metric="val_accuracy", seeds=None):
    """Trials of `values[cell, seed]`; NaN is one that diverged, None one that is not there."""
    rows = []
    for cell, line in enumerate(values):
        for place, value in enumerate(line):
            if value is not None:
                seed = place if seeds is None else seeds[place]
                rows.append((cell, seed, cell / 8, "diverged" if value != value else "ok", value))
    cell, seed, axis, status, value = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "trial": np.arange(len(rows)),
            "cell": cell,
            "seed": seed,
            "optimizer.lr": axis,
            "status": status,
            "diverged_at": pd.array([pd.NA] * len(rows), "Int64"),
            f"final_{metric}": np.asarray(value, np.float32),
        }
    )


def drawn(cells, seeds, spread=1.0, seed=0):
    """Values of which what a seed does to all cells alike is the larger part."""
    rng = np.random.default_rng(seed)
    return (
        spread * rng.standard_normal((cells, 1))
        + 3.0 * rng.standard_normal((1, seeds))
        + rng.standard_normal((cells, seeds))
    )


# The chance.


@pytest.mark.parametrize("seeds", [2, 3, 8, 40])
@pytest.mark.parametrize("higher", [True, False])
def test_the_chance_is_that_of_a_one_sided_paired_t_test(higher, seeds):
    values = drawn(30, seeds)
    chance, _ = prob_first_better(values, higher=higher)
    assert np.isnan(chance[0])
    better = "greater" if higher else "less"
    p = [ttest_rel(values[0], other, alternative=better).pvalue for other in values[1:]]
    np.testing.assert_allclose(chance[1:], 1.0 - np.asarray(p), rtol=1e-9, atol=1e-12)
    assert np.ptp(chance[1:]) > 0.2


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_the_chance_of_ranked_cells_is_in_the_metrics_direction(metric):
    values = drawn(12, 6).astype(np.float32)
    cells = rank_cells(trials_of(values, metric), metric)
    order = cells["cell"].to_numpy()
    sign = 1 if metric == "val_accuracy" else -1
    assert (np.diff(sign * cells["mean"]) <= 0).all()
    first = values[order[0]].astype(float)
    better = "greater" if metric == "val_accuracy" else "less"
    p = [ttest_rel(first, values[cell].astype(float), alternative=better).pvalue for cell in order[1:]]
    np.testing.assert_allclose(cells["chance"][1:], 1.0 - np.asarray(p), rtol=1e-6)
    # The first is ahead of each by its mean, so that no chance is below a half.
    assert (cells["chance"][1:] >= 0.5).all()


def test_one_row_has_nothing_to_be_held_against():
    chance, more = prob_first_better(np.array([[0.1, 0.2]]), higher=True)
    assert np.isnan(chance).tolist() == np.isnan(more).tolist() == [True]


def test_one_seed_says_nothing():
    chance, more = prob_first_better(np.array([[0.9], [0.1], [0.9]]), higher=True)
    assert np.isnan(chance).all()
    assert np.isnan(more).all()


def test_cells_that_all_diverged_say_nothing():
    cells = rank_cells(trials_of([[NAN, NAN, NAN]] * 3), "val_accuracy")
    assert cells["chance"].isna().all()
    assert cells["more_seeds"].isna().all()
    assert cells["diverged"].tolist() == [3, 3, 3]
    assert not tied_with_best(cells).any()
    assert describe_lead(cells) == ""


@pytest.mark.parametrize("infinite", [INF, -INF])
def test_an_infinite_value_is_left_out_with_its_seed(infinite):
    values = drawn(3, 6)
    values[1, 2] = values[2, 4] = infinite
    chance, _ = prob_first_better(values, higher=True)
    for row, seed in ((1, 2), (2, 4)):
        kept = np.arange(6) != seed
        p = ttest_rel(values[0, kept], values[row, kept], alternative="greater").pvalue
        assert chance[row] == pytest.approx(1.0 - p, rel=1e-9)
    values[0, 0] = infinite
    chance, _ = prob_first_better(values, higher=True)
    p = ttest_rel(values[0, [1, 3, 4, 5]], values[1, [1, 3, 4, 5]], alternative="greater").pvalue
    assert chance[1] == pytest.approx(1.0 - p, rel=1e-9)


def test_infinities_on_both_sides_leave_no_seed():
    chance, more = prob_first_better(np.array([[INF, INF], [INF, -INF], [0.0, 1.0]]), higher=True)
    assert np.isnan(chance).all()
    assert np.isnan(more).all()


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    """Each cell has other seeds, in another order."""
    rng = np.random.default_rng(1)
    values = drawn(4, 9, seed=2).astype(np.float32)
    there = rng.random(values.shape) < 0.7
    rows = [
        [v if ok else None for v, ok in zip(*row, strict=True)] for row in zip(values, there, strict=True)
    ]
    trials = trials_of(rows, seeds=[5, 2, 88, 1, 7, 30, 4, 9, 6]).sample(frac=1.0, random_state=3)
    cells = rank_cells(trials)
    first = cells["cell"][0]
    for _, row in cells.iloc[1:].iterrows():
        both = there[first] & there[row["cell"]]
        assert 1 < both.sum() < 9
        p = ttest_rel(
            values[first, both].astype(float), values[row["cell"], both].astype(float), alternative="greater"
        ).pvalue
        assert row["chance"] == pytest.approx(1.0 - p, rel=1e-6)


def test_a_seed_that_diverged_is_no_pair():
    values = [[0.9, 0.8, 0.95, 0.85], [0.5, NAN, 0.7, 0.6]]
    cells = rank_cells(trials_of(values))
    p = ttest_rel(np.float32([0.9, 0.95, 0.85]), np.float32([0.5, 0.7, 0.6]), alternative="greater").pvalue
    assert cells["chance"][1] == pytest.approx(1.0 - p, rel=1e-5)


def test_cells_that_share_a_single_seed_say_nothing():
    chance, more = prob_first_better(np.array([[0.9, 0.8, NAN], [NAN, 0.1, 0.2]]), higher=True)
    assert np.isnan(chance[1])
    assert np.isnan(more[1])


@pytest.mark.parametrize("higher", [True, False])
def test_identical_cells_are_even(higher):
    chance, more = prob_first_better(np.tile([0.9, 0.8, 0.7], (3, 1)), higher=higher)
    np.testing.assert_array_equal(chance, [NAN, 0.5, 0.5])
    assert np.isnan(more).all()


@pytest.mark.parametrize("higher", [True, False])
def test_a_difference_that_is_always_the_same_is_up_to_a_step_of_the_values_apart(higher):
    """Accuracies come in steps: no more than rounding to them is left to chance; of a loss nothing is."""
    base = np.array([0.25, 0.5, 0.75, 1.0])
    chance, _ = prob_first_better(np.stack([base, base - 0.25, base + 0.25]), higher=higher)
    error = 0.25 * np.sqrt(2 / 12) / np.sqrt(4)
    expected = student.cdf([0.25 / error, -0.25 / error], 3)
    np.testing.assert_allclose(chance[1:], expected if higher else [0.0, 1.0], rtol=1e-9)
    # Against steps that are fine, nothing is.
    fine = np.array([0.0, 1e-9, 2e-9, 3e-9])
    chance, more = prob_first_better(np.stack([fine, fine - 0.5, fine + 0.5]), higher=higher)
    np.testing.assert_allclose(chance[1:], [1.0, 0.0] if higher else [0.0, 1.0], atol=1e-12)
    assert more[1 if higher else 2] == 0


def test_a_tiny_difference_of_large_values_is_still_a_number():
    values = 1e30 * (1.0 + drawn(5, 4, spread=0.0) * 1e-3)
    chance, more = prob_first_better(values, higher=False)
    assert np.isfinite(chance[1:]).all()
    scaled, scaled_more = prob_first_better(values / 1e30, higher=False)
    np.testing.assert_allclose(chance, scaled, rtol=1e-9)
    np.testing.assert_array_equal(more, scaled_more)


@given(
    st.lists(st.lists(st.floats(width=32) | st.just(NAN), min_size=3, max_size=3), min_size=1, max_size=5),
    st.booleans(),
)
def test_no_values_at_all_are_an_error(values, higher):
    chance, more = prob_first_better(np.asarray(values, float), higher=higher)
    known = ~np.isnan(chance)
    assert not known[0]
    assert ((chance[known] >= 0.0) & (chance[known] <= 1.0)).all()
    told = chance >= required_confidence(len(values))
    assert (more[known & told] == 0).all()
    assert not (more[~told] < 1).any()


def test_a_chance_of_so_much_is_wrong_so_seldom():
    """One in twenty pairs of equal cells is told apart; here the first is not chosen."""
    rng = np.random.default_rng(7)
    pairs, luck = 2000, 0
    for _ in range(pairs):
        shared = rng.standard_normal(8)
        values = shared + rng.standard_normal((2, 8))
        luck += prob_first_better(values, higher=True)[0][1] > 0.95
    expected, sigma = pairs * 0.05, np.sqrt(pairs * 0.05 * 0.95)
    assert abs(luck - expected) < 3 * sigma


@pytest.mark.parametrize("cells", [2, 6, 30])
def test_the_best_cell_is_missed_so_seldom_though_the_first_is_chosen(cells):
    """Any of several equal cells may be the best: at most one time in twenty it is told apart."""
    rng = np.random.default_rng(11)
    sweeps, missed = 1000, 0
    for _ in range(sweeps):
        values = rng.standard_normal(8) + rng.standard_normal((cells, 8))
        order = np.argsort(-values.mean(axis=1))
        chance, _ = prob_first_better(values[order], higher=True)
        missed += chance[order == 0][0] >= required_confidence(cells)
    assert missed <= sweeps * 0.05 + 3 * np.sqrt(sweeps * 0.05 * 0.95)


def test_the_more_cells_the_more_it_takes():
    assert required_confidence(1) == required_confidence(2) == 0.95
    assert required_confidence(6) == pytest.approx(0.99)
    assert required_confidence(10_000) < 1.0


# How many more seeds.


def brute(differences, level):
    """The fewest seeds of this mean and spread that would tell, less those that there are."""
    mean, sd, have = abs(differences.mean()), differences.std(ddof=1), len(differences)
    need = np.arange(2, 20_000)
    told = student.ppf(level, need - 1) * sd / np.sqrt(need) <= mean
    return max(need[told][0] - have, 1) if told.any() else None


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("higher", [True, False])
def test_more_seeds_are_the_fewest_that_would_tell(higher, seeds):
    values = drawn(60, seeds, spread=0.5, seed=seeds)
    chance, more = prob_first_better(values, higher=higher)
    compared = 0
    for row in range(1, len(values)):
        if chance[row] >= required_confidence(len(values)):
            assert more[row] == 0
            continue
        found = brute(values[0] - values[row], required_confidence(len(values)))
        if found is not None:
            assert more[row] == found
            compared += 1
    assert compared > 20


def test_where_too_many_seeds_would_be_needed_none_are_named():
    noise = np.array([1.0, -1.0, 1.0, -1.0])
    _, more = prob_first_better(np.stack([noise + 1e-9, 0.0 * noise]), higher=True)
    assert np.isnan(more[1])


# The cells that are compared, and the sentence about them.


def ranked(*chances, more=None, diverged=None, means=None):
    """Cells as `rank_cells` gives them, the first of no chance."""
    count = len(chances) + 1
    cells = pd.DataFrame(
        {
            "mean": [1.0 - i / 10 for i in range(count)] if means is None else means,
            "diverged": [0] * count if diverged is None else diverged,
            "chance": [NAN, *chances],
            "more_seeds": pd.array([pd.NA, *(more or [pd.NA] * (count - 1))], "Int64"),
            "rank": range(1, count + 1),
        }
    )
    return cells.assign(tied=tied_with_best(cells))


def test_alike_are_those_that_cannot_be_told_from_the_first_and_the_first():
    assert tied_with_best(ranked(0.6, 0.99, 0.9)).tolist() == [True, True, False, True]
    assert tied_with_best(ranked(0.974, 0.976)).tolist() == [True, True, False]
    assert tied_with_best(ranked(0.95)).tolist() == [False, False]
    assert tied_with_best(ranked(NAN, NAN)).tolist() == [False, False, False]
    assert tied_with_best(ranked()).tolist() == [False]


def test_a_cell_of_which_more_seeds_diverged_is_another():
    assert tied_with_best(ranked(0.6, 0.6, diverged=[0, 0, 1])).tolist() == [True, True, False]
    assert tied_with_best(ranked(0.6, diverged=[0, 2])).tolist() == [False, False]


def test_what_is_said_of_cells_that_are_told_apart():
    assert describe_lead(ranked(0.98765, 0.999)) == "the best cell beats the second with probability 0.988"
    sure = describe_lead(ranked(0.9999, 1.0))
    assert sure == "the best cell beats the second with probability above 0.999"


def test_what_is_said_of_cells_that_are_not():
    text = describe_lead(ranked(0.7, 0.8, 0.99, more=[5, 3, 0]))
    assert text == (
        "3 of 4 cells are statistically tied with the best (≈, 95 %); about 5 more seeds would separate the"
        " best from the second"
    )
    assert describe_lead(ranked(0.9, more=[1])).endswith(
        "; about 1 more seed would separate the best from the second"
    )
    assert "1,234 more seeds" in describe_lead(ranked(0.9, more=[1234]))


def test_what_is_said_of_equal_cells():
    cells = rank_cells(trials_of([[0.5, 0.75, 0.25], [0.5, 0.75, 0.25]]))
    assert describe_lead(cells) == (
        "2 of 2 cells are statistically tied with the best (≈, 95 %); the first two are equal, and no"
        " number of seeds separates them"
    )


@pytest.mark.parametrize("diverged", [[0, 1], [0, 3], [0, 4], [2, 3], [2, 7], [0, 8]])
def test_what_is_said_where_seeds_diverge(diverged):
    """By Fisher's exact test of 8 seeds each."""
    cells = ranked(0.99, diverged=diverged).assign(seeds=8)
    table = [[count, 8 - count] for count in diverged]
    chance = fisher_exact(table, alternative="less").pvalue
    assert describe_lead(cells) == "the best cell diverges less often than the second" + (
        ", which may be chance" if chance > 0.05 else ""
    )


def test_what_is_said_of_one_seed():
    cells = rank_cells(trials_of([[0.9], [0.5]]))
    assert describe_lead(cells) == (
        "too few seeds to show whether the best cell is better or lucky: set seeds=8"
    )


def test_nothing_is_said_of_one_cell():
    assert describe_lead(rank_cells(trials_of([[0.9, 0.8]]))) == ""


def test_what_tells_the_second_and_not_the_third_is_said_of_them():
    """A third that scatters more may be nearer than the second."""
    values = [[0.9, 0.9, 0.901], [0.8, 0.801, 0.8], [0.2, 1.3, 0.6]]
    cells = rank_cells(trials_of(values))
    assert cells["cell"].tolist() == [0, 1, 2]
    assert tied_with_best(cells).tolist() == [True, False, True]
    assert describe_lead(cells) == "2 of 3 cells are statistically tied with the best (≈, 95 %)"


# Tables and sweeps.


def test_values_by_cell_and_seed():
    trials = trials_of([[1.0, 2.0], [NAN, 3.0], [None, 4.0]], seeds=[9, 4])
    values = final_values(trials, "val_accuracy")
    expected = [[4.0, NAN], [2.0, 1.0], [3.0, NAN]]
    np.testing.assert_array_equal(values_by_seed(trials, values, [2, 0, 1]), expected)
    assert values_by_seed(trials, values, [17]).size == 0


def test_many_cells_are_ranked():
    cells, seeds = 10_000, 8
    values = drawn(cells, seeds, spread=0.3).astype(np.float32)
    number = np.repeat(np.arange(cells), seeds)
    trials = pd.DataFrame(
        {
            "trial": np.arange(cells * seeds),
            "cell": number,
            "seed": np.tile(np.arange(seeds), cells),
            "optimizer.lr": number / cells,
            "status": "ok",
            "final_val_loss": values.ravel(),
        }
    )
    found = rank_cells(trials)
    assert found["mean"].is_monotonic_increasing
    assert len(found) == cells
    assert found["chance"].iloc[1:].between(0.5, 1.0).all()
    assert found["more_seeds"].iloc[1:].notna().mean() > 0.99


def test_the_best_of_a_sweep(small):
    cells = small.cells()
    best = small.best()
    assert best["cell"] == cells["cell"][0]
    for name in (*axes_of(small.trials), "mean", "std", "sem", "seeds", "diverged"):
        assert str(best[name]) == str(cells[name][0]), name
    assert best["sem"] == pytest.approx(cells["std"][0] / np.sqrt(2))
    # The first is compared with the second, and with no other.
    assert best["chance"] == cells["chance"][1]
    assert pd.isna(cells["chance"][0])
    assert str(best["more_seeds"]) == str(cells["more_seeds"][1])
    values = small.trials[(small.trials["cell"] == best["cell"]) & (small.trials["status"] == "ok")]
    test = values["final_test_accuracy"].to_numpy(np.float64)
    assert best["test_accuracy"] == pytest.approx(test.mean())
    assert best["test_accuracy_sem"] == pytest.approx(test.std(ddof=1) / np.sqrt(2))
    assert "test_loss" in small.best("val_loss")


def test_the_test_is_reported_of_the_chosen_cell_alone(small):
    assert not [name for name in small.cells() if name.startswith("test_")]
    assert not [name for name in small.cells("val_loss") if name.startswith("test_")]
    assert {"test_loss", "test_loss_sem"} <= set(small.cells(report="test_loss"))
    assert "train_loss" in small.best(report="train_loss")
    assert "test_accuracy" not in small.best(report="train_loss")


def test_the_best_of_one_cell_has_nothing_to_be_held_against():
    best = best_cell(trials_of([[0.9, 0.8]]))
    assert np.isnan(best["chance"])
    assert pd.isna(best["more_seeds"])
