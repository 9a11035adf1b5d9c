"""The cells that may be the best, and the error of a mean: against SciPy's tests, and by simulation."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import (
    binom,
    chi2_contingency,
    fisher_exact,
    multivariate_normal,
    norm,
    t,
    ttest_ind,
    ttest_rel,
)

from vsweep.analysis.errors import errors, fixed_cells, interval
from vsweep.analysis.ranking import best_cell, rank_cells
from vsweep.analysis.significance import Results, compare, describe_lead, p_of_smallest, values_by_seed
from vsweep.analysis.variances import (
    Examples,
    correlations,
    example_variances,
    interactions,
    moderate,
    seed_variances,
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


def results_of(values, **more):
    """The results of cells whose missing values are seeds that diverged."""
    values = np.asarray(values, float)
    diverged = np.isnan(values).sum(axis=1)
    return Results(values, np.full(len(values), values.shape[1]), diverged, **more)


def script(name):
    """A script as a module."""
    path = Path(__file__).parents[2] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def simulation():
    """The long simulation of errors over seeds."""
    return script("simulate_ties")


@pytest.fixture(scope="module")
def held_out():
    """The long simulation of held-out examples and splits."""
    return script("simulate_held_out")


# The p-value.


def test_two_cells_are_compared_by_welchs_and_by_the_paired_test():
    """With two cells no variance is moderated, and the smaller p-value counts, times its weight."""
    rng = np.random.default_rng(0)
    for shared in (0.0, 5.0):
        values = rng.standard_normal((2, 8)) + shared * rng.standard_normal(8) + [[3.0], [0.0]]
        p = compare(results_of(values)).p
        paired = ttest_rel(*values, alternative="greater").pvalue / 0.7
        # The degrees of freedom are the least, so the p-value is no smaller than Welch's.
        welch = ttest_ind(*values, equal_var=False, alternative="greater").pvalue / 0.2
        if shared:
            assert p[1] == pytest.approx(min(paired, 1.0), rel=1e-9)
        else:
            assert min(welch, paired) <= p[1] <= paired * (1.0 + 1e-9)
        assert p[0] == 1.0


def test_a_cell_that_diverges_more_often_is_compared_by_fishers_test():
    values = np.zeros((2, 40))
    values[0] += np.tile([0.0, 1.0], 20)
    values[1] += np.tile([1.0, 0.0], 20)
    values[1, :20] = NAN
    expected = fisher_exact([[20, 20], [0, 40]], alternative="greater").pvalue / 0.1
    assert compare(results_of(values)).p[1] == pytest.approx(expected, rel=1e-9)


def test_a_higher_mean_of_few_survivors_excludes_no_reliable_cell():
    rng = np.random.default_rng(0)
    values = 0.01 * rng.standard_normal((2, 16)) + [[0.0], [5.0]]
    values[1, 4:] = NAN
    assert compare(results_of(values)).p.tolist() == [1.0, pytest.approx(0.0, abs=1e-3)]


def test_a_cell_is_compared_with_all_and_not_with_the_first_alone():
    """The first diverges less often than the second by chance, and is worse in its mean."""
    rng = np.random.default_rng(0)
    values = 0.1 * rng.standard_normal((3, 8)) + [[0.0], [5.0], [-1.0]]
    values[1, 0] = NAN
    p = compare(results_of(values)).p
    assert p[1] == 1.0
    assert max(p[0], p[2]) < 0.001


def test_one_row_or_one_seed_says_nothing():
    for values in ([[0.1, 0.2]], [[0.9], [0.1], [0.9]], [[NAN, NAN], [NAN, NAN]]):
        compared = compare(results_of(values))
        assert np.isnan(compared.p).all()
        assert np.isnan(compared.more_seeds).all()


@pytest.mark.parametrize("infinite", [INF, -INF])
def test_an_infinite_value_is_left_out(infinite):
    values = drawn(6, 6)
    known = values.copy()
    values[1, 2], known[1, 2] = infinite, NAN
    one, other = (compare(results_of(v)._replace(diverged=np.zeros(6, int))) for v in (values, known))
    np.testing.assert_array_equal(one.p, other.p)


def test_cells_whose_seeds_all_give_the_same_have_no_error_and_no_tie():
    trials = trials_of([[0.5] * 8, [0.25] * 8])
    assert fixed_cells(trials).tolist() == [0, 1]
    cells = rank_cells(trials)
    assert cells[["sem", "error", "p", "low", "high"]].isna().all(axis=None)
    assert not cells["tied"].any()
    assert cells["more_seeds"].isna().all()


def test_seeds_that_diverged_or_are_alone_are_not_fixed():
    """One that diverged differs from the others."""
    assert fixed_cells(trials_of([[0.5, 0.5, NAN], [0.5, None, None], [0.5] * 3])).tolist() == [2]


def test_two_of_thirty_examples_show_nothing():
    """Two models of which one is right on two examples more; McNemar's exact p-value is 0.5, two-sided."""
    right = np.ones((2, 30))
    right[1, :2] = 0.0
    parts = (right.sum(axis=1, keepdims=True) - right.reshape(2, 15, 2).sum(axis=2)) / 28
    parts = np.repeat(parts[:, None], 4, axis=1)
    values = np.repeat(right.mean(axis=1, keepdims=True), 4, axis=1)
    p = compare(results_of(values, parts=parts, step=1 / 30, part_step=1 / 30, fixed=np.ones(2, bool))).p
    assert p[1] > 0.1


def test_equal_accuracies_of_different_models_are_not_fixed():
    trials = trials_of([[1.0] * 4, [29 / 30] * 4]).assign(final_val_loss=np.arange(8.0))
    assert fixed_cells(trials).tolist() == []


@given(st.lists(st.lists(st.floats(width=32) | st.just(NAN), min_size=3, max_size=3), min_size=1, max_size=9))
def test_no_values_at_all_are_an_error(values):
    p, more = compare(results_of(values))
    assert ((p >= 0.0) & (p <= 1.0) | np.isnan(p)).all()
    assert ((more >= 0.0) | np.isnan(more)).all()
    assert (more[p <= 0.05] == 0.0).all()


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_unit_of_a_metric_changes_nothing(scale):
    values = drawn(30, 4, seed=3)
    one, other = compare(results_of(values)), compare(results_of(scale * values + 0.0))
    np.testing.assert_allclose(one.p, other.p, rtol=1e-6)
    np.testing.assert_array_equal(one.more_seeds, other.more_seeds)


# Simulations of a known truth; `scripts/simulate_ties.py` has all settings.


COVERED = ["even", "uneven", "one uneven", "heavy tails", "one seed in ten bad", "20 % diverge"]


@pytest.mark.parametrize("kind", [*COVERED, "seed effects", "half without luck"])
@pytest.mark.parametrize(("cells", "seeds"), [(5, 2), (10, 4), (40, 8)])
def test_the_truly_best_cell_may_be_the_best(simulation, kind, cells, seeds):
    kept, _ = simulation.coverage(kind, "equal", cells, seeds, 200)
    assert kept >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 200)


@pytest.mark.parametrize("kind", ["even", "seed effects"])
@pytest.mark.parametrize(("cells", "seeds"), [(5, 4), (40, 4), (40, 8)])
def test_a_clear_loser_leaves(simulation, kind, cells, seeds):
    assert simulation.power(kind, cells, seeds, 40) >= 0.95


@pytest.mark.parametrize("kind", ["hard examples", "alike cells", "much luck"])
@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("size", [(5, 4, 30), (40, 3, 359)])
def test_the_best_over_all_examples_may_be_the_best(held_out, kind, size, loss):
    kept = held_out.coverage(partial(held_out.held_out, kind, size, loss=loss), 60)
    assert kept >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 60)


def test_a_cell_that_is_unlike_the_others_may_be_the_best(held_out):
    simulate = partial(held_out.held_out, "one unlike cell", (10, 8, 100), loss=False)
    kept = held_out.coverage(simulate, 200, first_alone=True)
    assert kept >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 200)


def test_a_clear_loser_leaves_in_spite_of_the_error_over_examples(held_out):
    """A loser that is right on 76 % of the examples, where the others are on 98 %."""
    simulate = partial(held_out.held_out, "hard examples", (40, 4, 359), loss=False, behind=1.35)
    may_be = np.mean([simulate(np.random.default_rng(number)) for number in range(20)], axis=0)
    assert may_be[:20].mean() > 0.95
    assert may_be[20:].mean() < 0.05


@pytest.mark.parametrize("folds", [False, True])
def test_the_best_over_all_splits_may_be_the_best(held_out, folds):
    kept = held_out.coverage(lambda rng: held_out.splits(20, 5, rng, folds=folds), 60)
    assert kept >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.parametrize(("splits", "seeds"), [(5, 2), (5, 4), (10, 3)])
def test_the_luck_that_a_seed_has_on_every_split_counts(held_out, splits, seeds):
    rng = np.random.default_rng(0)
    found = pd.concat(
        rank_cells(held_out.seeds_of_splits(20, splits, seeds, rng, everywhere=1.0), "val_loss")
        for _ in range(20)
    )
    assert (found["p"] > 0.05).mean() > 0.93
    assert ((found["low"] <= 0.0) & (found["high"] >= 0.0)).mean() > 0.93


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("p", [0.001, 0.02, 0.3])
def test_the_smallest_of_correlated_p_values(p, correlation):
    """Ten one-sided tests, against SciPy's integral of the multivariate normal distribution."""
    cov = np.full((10, 10), correlation) + (1.0 - correlation) * np.eye(10)
    none = multivariate_normal(cov=cov).cdf(np.full(10, norm.isf(p)))
    found = p_of_smallest(np.array([p]), 10, np.array([correlation]))
    assert found[0] == pytest.approx(1.0 - none, rel=0.02)


def test_no_variance_is_below_the_cells_own():
    """One cell varies more than all others, which says nothing of it."""
    rng = np.random.default_rng(0)
    values = 0.01 * rng.standard_normal((40, 8))
    values[3] *= 1000.0
    own = (values - np.median(values - values.mean(axis=1, keepdims=True), axis=0)).var(axis=1, ddof=1)
    variance, dofs = seed_variances(values, np.arange(40), 0.0)
    assert (variance >= own * (1.0 - 1e-12)).all()
    # The effect of the seeds was estimated from the cells, which takes a part of their variance.
    assert variance[3] == pytest.approx(own[3] * 40 / 39, rel=1e-9)
    assert (dofs > 7.0).all()


def test_variances_that_are_equal_are_drawn_to_the_true_one():
    """Their estimates have few degrees of freedom; the logarithm of each is too low on average."""
    rng = np.random.default_rng(0)
    dofs, order = np.full(1000, 3), np.arange(1000)
    variance, all_dofs = moderate(rng.chisquare(3, 1000) / 3, dofs, order)
    assert variance.mean() == pytest.approx(1.0, rel=0.05)
    assert variance.std() < 0.3
    assert all_dofs.min() > 15
    # Few cells do not show how alike their variances are.
    few = [moderate(rng.chisquare(3, 20) / 3, dofs[:20], order[:20])[1][0] for _ in range(20)]
    assert np.median(few) < 50


def test_a_draw_that_two_cells_have_in_common_is_no_part_of_their_difference():
    effects = np.random.default_rng(0).standard_normal((3, 4, 5))
    effects[1] = effects[0] + 1.0
    found = interactions(effects, np.array([0]))[:, 0]
    of_difference = (effects[0] - effects[2]).var(axis=0, ddof=1).sum() / 4
    np.testing.assert_allclose(found, [0.0, 0.0, of_difference], atol=1e-12)


@pytest.mark.parametrize(("of_seeds", "of_examples"), [(1.0, 0.0), (0.0, 1.0), (2.0, 1.0)])
def test_the_differences_of_a_cell_to_others_that_are_as_lucky_have_half_of_their_luck_in_common(
    of_seeds, of_examples
):
    rivals, groups = np.arange(4), of_examples * np.eye(6)
    variance = 2.0 * of_examples**2 * np.ones((6, 4))
    variance[rivals, rivals] = 0.0
    examples = Examples(variance, np.full((6, 4), 9.0), np.zeros((6, 4)), groups)
    np.testing.assert_allclose(correlations(np.full(6, of_seeds), rivals, examples), 0.5)


def test_no_variance_over_examples_is_below_the_pairs_own():
    """One cell is unlike the others, on examples of its own."""
    rng = np.random.default_rng(0)
    groups = 0.01 * rng.standard_normal((40, 1, 20))
    groups[3] *= 100.0
    parts = np.repeat(groups, 4, axis=1)
    rivals, ahead = np.array([0, 5]), np.zeros((40, 2))
    found = example_variances(parts, rivals, ahead, np.arange(40), 0.0)
    own = 19 * (groups[rivals, 0][None] - groups[:, 0][:, None]).var(axis=2)
    assert (found.variance >= own * (1.0 - 1e-12)).all()
    others = np.arange(40) != 3
    assert np.median(found.variance[others, 1]) < 0.1 * found.variance[3, 1]


def test_one_example_in_each_group_is_not_sure():
    """The groups all say the same, so the jackknife sees no error; the sign test sees fifteen."""
    right = np.ones((2, 15, 2))
    right[1, :, 0] = 0.0
    parts = (right.sum(axis=(1, 2), keepdims=True)[..., 0] - right.sum(axis=2)) / 28
    values = np.repeat(right.mean(axis=(1, 2))[:, None], 4, axis=1)
    parts = np.repeat(parts[:, None], 4, axis=1)
    p = compare(results_of(values, parts=parts, step=1 / 30, part_step=1 / 30, fixed=np.ones(2, bool))).p
    assert 2.0**-15 < p[1] < 0.05


def test_two_cells_without_luck_are_compared_by_the_paired_test_over_groups_of_examples():
    """The jackknife of a mean is the t-test of the groups' means, example by example."""
    rng = np.random.default_rng(0)
    groups = rng.standard_normal(20) + 0.5 * rng.standard_normal((2, 20)) + [[0.5], [0.0]]
    values = np.repeat(groups.mean(axis=1, keepdims=True), 4, axis=1)
    parts = np.repeat((groups.sum(axis=1, keepdims=True) - groups)[:, None] / 19, 4, axis=1)
    p = compare(results_of(values, parts=parts, fixed=np.ones(2, bool))).p
    expected = ttest_rel(*groups, alternative="greater").pvalue / 0.7
    assert p[1] == pytest.approx(expected, rel=1e-9)
    assert 0.0 < p[1] < 0.05


def lucky_and_fixed(lead, seeds=6, groups=12):
    """A cell without luck, and one that is behind it, with values without each group of examples.

    Returns:
        The results, the variances of the mean of the second over seeds and of the difference over examples,
        and the part of the latter that differs from seed to seed.
    """
    rng = np.random.default_rng(1)
    effects = 0.02 * rng.standard_normal((2, 1, groups)) + 0.05 * rng.standard_normal((2, seeds, groups))
    effects[0] = effects[0, :1]
    effects -= effects.mean(axis=2, keepdims=True)
    values = np.array([np.full(seeds, lead), 2.0 * rng.standard_normal(seeds)])
    values[1] -= values[1].mean()
    # The jackknife's factor.
    parts = values[:, :, None] - effects * np.sqrt(groups / (groups - 1))
    apart = effects[0].mean(axis=0) - effects[1].mean(axis=0)
    both = effects[1].var(axis=0, ddof=1).sum() / seeds
    results = results_of(values, parts=parts, fixed=np.array([True, False]))
    return results, values[1].var(ddof=1) / seeds, (apart**2).sum(), both


def test_the_errors_over_seeds_and_examples_are_added_and_what_both_have_counts_once():
    """The degrees of freedom are those of Welch and Satterthwaite, by hand."""
    results, seed, example, both = lucky_and_fixed(1.0)
    total = seed + example - both
    dofs = total**2 / (seed**2 / 5 + example**2 / 11)
    expected = t.sf(1.0 / np.sqrt(total), dofs) / 0.7
    assert compare(results).p[1] == pytest.approx(expected, rel=1e-9)
    assert 0.0 < expected < 0.1


def test_more_seeds_leave_the_error_over_examples():
    results, seed, example, both = lucky_and_fixed(0.6)
    remains = example - both
    left = (0.6**2 - seed - remains) / norm.isf(0.035) ** 2 - remains
    assert compare(results).more_seeds[1] == np.ceil(6 * seed / left) - 6 > 1
    results, seed, _, _ = lucky_and_fixed(0.45)
    assert 0.45**2 - seed > 0.0
    assert np.isnan(compare(results).more_seeds[1])


@pytest.mark.parametrize(("lead", "more"), [(0.6, 11.0), (0.5, NAN)])
def test_more_splits_leave_the_error_of_what_all_splits_share(lead, more):
    """A fifth of one split's variance remains, however many splits there are."""
    results, seed, _, _ = lucky_and_fixed(lead)
    one = 6 * seed
    left = (lead**2 - (1 / 6 + 0.2) * one) / norm.isf(0.035) ** 2 - 0.2 * one
    assert np.isnan(more) if left <= 0.0 else np.ceil(one / left) - 6 == more
    compared = compare(results._replace(parts=None, overlap=1.0 + 6 * 0.2))
    assert compared.p[1] > 0.05
    np.testing.assert_equal(compared.more_seeds[1], more)


def test_the_variance_of_a_mean_over_splits_is_larger_by_their_overlap():
    results, seed, _, _ = lucky_and_fixed(2.0)
    expected = t.sf(2.0 / np.sqrt(3.0 * seed), 5) / 0.7
    found = compare(results._replace(parts=None, overlap=3.0)).p[1]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_cell_that_always_diverges_is_compared_by_pearsons_test():
    values = drawn(6, 4)
    values[4, 0] = values[5] = NAN
    diverged = [0, 0, 0, 0, 1, 4]
    expected = chi2_contingency([diverged, [4 - count for count in diverged]], correction=False).pvalue
    assert compare(results_of(values)).p[5] == pytest.approx(2.5 * expected, rel=1e-9)


def test_the_best_cell_is_not_compared_with_itself():
    """The luck of one cell is most of the differences, which are therefore alike."""
    values = np.random.default_rng(0).standard_normal((6, 4)) * [[100.0], *[[1.0]] * 5] + 1000.0
    values[1:] -= 1000.0
    assert compare(results_of(values)).p[0] == 1.0


def test_so_many_more_seeds_separate_about_half_of_the_pairs():
    rng = np.random.default_rng(0)
    separated = []
    for _ in range(400):
        truth = rng.normal(0.0, 1.0, (2, 1))
        values = truth + rng.standard_normal((2, 400))
        values = values[np.argsort(-values[:, :8].mean(axis=1))]
        more = compare(results_of(values[:, :8])).more_seeds[1]
        if 0 < more <= 392:
            separated.append(compare(results_of(values[:, : 8 + int(more)])).p[1] <= 0.05)
    assert len(separated) > 50
    assert 0.35 < np.mean(separated) < 0.8


@pytest.mark.parametrize("rate", [0.7, 0.97])
def test_the_interval_of_a_share_covers_it(rate):
    """One model and 200 examples; the exact probabilities of the binomial distribution."""
    right = np.arange(201)
    share = right / 200
    error = np.sqrt(share * (1.0 - share) / 200)
    low, high = interval(share, error, np.full(201, 19.0), 1 / 200)
    covered = binom.pmf(right, 200, rate)[(low <= rate) & (rate <= high)].sum()
    assert 0.93 < covered < 0.98
    assert (low >= 0.0).all()
    assert (high <= 1.0).all()


def test_seeds_that_are_right_on_all_examples_have_a_short_interval():
    """The share of one example, by which seeds may differ unseen, has no few degrees of freedom."""
    trials = trials_of([[1.0] * 4, [0.0] * 4, [1.0, 1.0, 1.0, 29 / 30]])
    trials = trials.assign(final_val_loss=np.arange(12.0))
    shares = trials["final_val_accuracy"].to_numpy(np.float64)
    # The last trial is wrong on the first of 30 examples, which are in ten groups.
    parts = np.repeat(shares[:, None], 10, axis=1)
    parts[-1] = [1.0, *[26 / 27] * 9]
    perfect, one, none = rank_cells(trials.assign(parts_val_accuracy=list(parts))).to_dict("records")
    # Wilson's interval of 30 examples without an error.
    assert perfect["low"] == pytest.approx(1.0 / (1.0 + norm.isf(0.025) ** 2 / 30), rel=1e-3)
    assert (perfect["high"], none["low"]) == (1.0, 0.0)
    assert none["high"] == pytest.approx(1.0 - perfect["low"])
    assert 0.8 < one["low"] < perfect["low"]
    # Two examples of each outcome are added (Agresti and Coull).
    share = 32 / 34
    assert perfect["error"] == pytest.approx(np.sqrt(share * (1.0 - share) / 30))


@pytest.mark.parametrize("kind", ["hard examples", "alike cells"])
@pytest.mark.parametrize(("seeds", "examples"), [(1, 200), (4, 30), (4, 200), (16, 200)])
def test_the_interval_of_an_accuracy_covers_that_on_all_examples(held_out, kind, seeds, examples):
    """Each cell is a simulation of its own, with examples of its own; the truth is known."""
    rate, cells, rng = 0.87, 800, np.random.default_rng(0)
    right = np.stack([held_out.draw(kind, 1, seeds, examples, rng)[0] for _ in range(cells)]) > -norm.isf(
        1 - rate
    )
    results = held_out.results_of(right.astype(float), 1.0 / examples)
    trials = trials_of(results.values)
    parts = results.parts.reshape(cells * seeds, -1)
    found = errors(
        trials.assign(final_val_loss=trials["trial"] * 1.0, parts_val_accuracy=list(parts)), "val_accuracy"
    )
    covered = ((found["low"] <= rate) & (rate <= found["high"])).mean()
    assert 0.93 - 0.015 <= covered <= 0.97 + 0.015


def test_the_error_of_a_mean_is_that_over_seeds_and_examples_by_hand():
    """A trial that diverged has no part in it, though it has values without each group."""
    values = np.random.default_rng(0).standard_normal((1, 6)).astype(np.float32).astype(float)
    groups = np.random.default_rng(1).standard_normal((7, 12))
    parts = values.T + 0.05 * groups[:6] + 0.05 * groups[6]
    trials = trials_of(values, "val_loss").assign(parts_val_loss=list(parts))
    trials.loc[5, "status"] = "diverged"
    effects = np.sqrt(11 / 12) * (parts - parts.mean(axis=1, keepdims=True))[:5]
    seed, example = values[0, :5].var(ddof=1) / 5, (effects.mean(axis=0) ** 2).sum()
    variance = seed + example - effects.var(axis=0, ddof=1).sum() / 5
    dofs = variance**2 / (seed**2 / 4 + example**2 / 11)
    (cell,) = rank_cells(trials).to_dict("records")
    assert cell["examples_sem"] == pytest.approx(np.sqrt(example))
    assert cell["error"] == pytest.approx(np.sqrt(variance))
    assert cell["high"] - cell["mean"] == pytest.approx(t.isf(0.025, dofs) * np.sqrt(variance))


def test_equal_shares_of_different_seeds_have_the_error_of_their_rounding():
    trials = trials_of([[0.5] * 4, [0.6] * 4], "train_accuracy").assign(final_train_loss=np.arange(8.0))
    np.testing.assert_allclose(rank_cells(trials)["error"], 0.1 / np.sqrt(12 * 4), rtol=1e-5)


# The sentence.


def ranked(*p, more=None, means=None):
    """Cells as `rank_cells` returns them, the first with a p-value of 1."""
    count = len(p) + 1
    return pd.DataFrame(
        {
            "mean": [1.0 - i / 10 for i in range(count)] if means is None else means,
            "p": [1.0, *p],
            "tied": [any(value > 0.05 for value in p), *(value > 0.05 for value in p)],
            "more_seeds": pd.array([pd.NA, *(more or [pd.NA] * len(p))], "Int64"),
            "rank": range(1, count + 1),
        }
    )


def test_the_sentence_about_cells_that_are_told_apart():
    sentence = "the best cell is better than each of the others (p {}, for all together)"
    assert describe_lead(ranked(0.01234, 0.001)) == sentence.format("= 0.012")
    assert describe_lead(ranked(0.0001, 0.0)) == sentence.format("< 0.001")


def test_the_sentence_about_cells_that_may_be_the_best():
    assert describe_lead(ranked(0.3, 0.2, 0.01, more=[5, 3, 0])) == (
        "3 of 4 cells may be the best (≈, with 95 % confidence); about 5 more seeds would separate the first"
        " two"
    )
    assert describe_lead(ranked(0.1, more=[1])).endswith("; about 1 more seed would separate the first two")
    assert "1,234 more seeds" in describe_lead(ranked(0.1, more=[1234]))
    assert describe_lead(ranked(0.6, means=[0.5, 0.5])).endswith("; the first two are equal")


def test_the_sentence_about_one_seed_and_one_cell():
    cells = rank_cells(trials_of([[0.9], [0.5]]))
    assert (
        describe_lead(cells) == "too few seeds to show whether the best cell is better or lucky: set seeds=8"
    )
    assert describe_lead(rank_cells(trials_of([[0.9, 0.8]]))) == ""
    assert describe_lead(rank_cells(trials_of([[NAN, NAN, NAN]] * 3), "val_accuracy")) == ""


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
    assert found["p"].between(0.0, 1.0).all()


def test_the_best_of_a_sweep(small):
    cells = small.cells()
    best = small.best()
    assert best["cell"] == cells["cell"][0]
    for name in (*axes_of(small.trials), "mean", "std", "sem", "seeds", "diverged"):
        assert str(best[name]) == str(cells[name][0]), name
    is_fixed = best["cell"] in fixed_cells(small.trials)
    assert np.isnan(best["sem"]) if is_fixed else best["sem"] == pytest.approx(cells["std"][0] / np.sqrt(2))
    # The first is compared with the second, and with no other.
    assert best["p"] == cells["p"][1]
    assert str(best["more_seeds"]) == str(cells["more_seeds"][1])
    values = small.trials[(small.trials["cell"] == best["cell"]) & (small.trials["status"] == "ok")]
    test = values["final_test_accuracy"].to_numpy(np.float64)
    assert best["test_accuracy"] == pytest.approx(test.mean())
    assert not best["test_accuracy_error"] < test.std(ddof=1) / np.sqrt(2) * (1.0 - 1e-6)
    assert "test_loss" in small.best("val_loss")


def test_the_test_is_reported_of_the_chosen_cell_alone(small):
    assert not [name for name in small.cells() if name.startswith("test_")]
    assert not [name for name in small.cells("val_loss") if name.startswith("test_")]
    assert {"test_loss", "test_loss_error"} <= set(small.cells(report="test_loss"))
    assert "train_loss" in small.best(report="train_loss")
    assert "test_accuracy" not in small.best(report="train_loss")


def test_the_best_of_one_cell_has_nothing_to_be_held_against():
    best = best_cell(trials_of([[0.9, 0.8]]))
    assert np.isnan(best["p"])
    assert pd.isna(best["more_seeds"])
