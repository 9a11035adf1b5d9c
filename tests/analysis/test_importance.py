"""The importance of axes: against closed forms, loops over seeds and values, and simulation."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from scipy.stats import t as student

from vsweep.analysis import response as module
from vsweep.analysis.importance import Crossing, Importance, describe, importance
from vsweep.analysis.response import normalized_ranks, rank_response

NAN = np.nan


def trials_of(values, axes=None, metric="val_loss", kept=None):
    """Trials of `values[axis 1, …, axis k, seed]`; NaN is one that diverged. kept: those that are there."""
    values = np.asarray(values, float)
    *sizes, seeds = values.shape
    names = [f"model.a{i}" for i in range(len(sizes))] if axes is None else list(axes)
    places = np.indices(values.shape).reshape(values.ndim, -1)
    columns = {name: places[i] * 0.5 + 1.0 for i, name in enumerate(names)}
    if axes is not None:
        columns = {name: np.asarray(axes[name], object)[places[i]] for i, name in enumerate(names)}
    trials = pd.DataFrame(
        {
            "trial": np.arange(values.size),
            "cell": np.arange(values.size) // seeds,
            "seed": places[-1],
            **{name: pd.Series(list(column)).infer_objects() for name, column in columns.items()},
            "status": np.where(np.isnan(values.ravel()), "diverged", "ok"),
            "diverged_at": pd.array([pd.NA] * values.size, "Int64"),
            f"final_{metric}": np.nan_to_num(values.ravel()),
        }
    )
    return trials if kept is None else trials[np.asarray(kept).ravel()].reset_index(drop=True)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def share(found, *axes):
    """The share and its error of an axis, or of a pair."""
    (row,) = [row for row in found.effects.itertuples() if row.axes == axes]
    return row.share, row.sem


# Closed forms.


def test_an_additive_table_is_of_its_axes_alone():
    """Digits of two places, whose ranks are themselves."""
    digits = np.arange(12.0).reshape(4, 3)
    found = importance(trials_of(np.repeat(digits[..., None], 5, axis=2)))
    assert found.effects["axes"].tolist() == [("model.a0",), ("model.a1",), ("model.a0", "model.a1")]
    # The variance of 0 … n - 1 is (n^2 - 1) / 12, and a first digit is worth three.
    np.testing.assert_allclose(found.effects["share"], [9 * 15 / 143, 8 / 143, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.effects["sem"], 0.0, atol=1e-12)
    assert found.effects["share"].dtype == found.effects["sem"].dtype == np.float64
    assert found.seed == pytest.approx(0.0, abs=1e-12)
    assert found.rest == pytest.approx(0.0, abs=1e-12)
    assert found.first == "model.a0"
    assert (found.seeds, found.filled, found.binned, found.drawn) == (5, 0.0, (), False)
    assert np.isnan(found.fit)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_exclusive_or_is_of_the_pair_alone(seeds):
    table = np.array([[0.0, 1.0], [1.0, 0.0]])
    found = importance(trials_of(np.repeat(table[..., None], seeds, axis=2)))
    assert found.effects["axes"][0] == ("model.a0", "model.a1")
    np.testing.assert_allclose(found.effects["share"], [1.0, 0.0, 0.0], atol=1e-12)
    assert found.first == ""


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_parity_of_three_is_of_neither_axis_nor_pair(seeds):
    table = np.indices((2, 2, 2)).sum(axis=0) % 2
    found = importance(trials_of(np.repeat(table[..., None], seeds, axis=3)))
    np.testing.assert_allclose(found.effects["share"], 0.0, atol=1e-12)
    assert len(found.effects) == 6
    assert found.rest == pytest.approx(1.0)


def test_what_a_seed_does_to_all_cells_alike_is_luck():
    found = importance(trials_of(np.zeros((3, 2, 1)) + np.arange(4.0)))
    np.testing.assert_allclose(found.effects["share"], 0.0, atol=1e-12)
    assert found.seed == pytest.approx(1.0)


def test_of_noise_nothing_comes_back():
    """The shares are without bias: their mean over many draws is zero, within its error."""
    found = [importance(trials_of(normal(3, 2, 2, 4, seed=i))) for i in range(120)]
    shares = np.array([f.effects.sort_values("axes")["share"] for f in found])
    rest, seed = np.array([[f.rest, f.seed] for f in found]).T
    for column, expected in [*((one, 0.0) for one in shares.T), (rest, 0.0), (seed, 1.0)]:
        error = column.std() / np.sqrt(len(column))
        assert error < 0.02
        assert abs(column.mean() - expected) < 3.5 * error
    assert (shares < 0.0).any(axis=0).all()


# Against loops.


def effect(values, axes):
    """An effect by its definition, `(values of the axes…, seeds)`, in loops."""
    others = tuple(i for i in range(values.ndim - 1) if i not in axes)
    left = values.mean(axis=others)
    for smaller in [part for n in range(len(axes)) for part in combinations(axes, n)]:
        inner = effect(values, smaller)
        for place in np.ndindex(*left.shape[:-1]):
            at = tuple(place[axes.index(axis)] for axis in smaller)
            left[place] = left[place] - inner[at]
    return left


def in_common(values, seeds):
    """The mean over pairs of seeds of the mean over values of the products."""
    flat = values.reshape(-1, values.shape[-1])
    products = [sum(row[s] * row[t] for row in flat) / len(flat) for s in seeds for t in seeds if s != t]
    return sum(products) / len(products)


def by_hand(values, axes, seeds):
    return in_common(effect(values, axes), seeds) / values[..., list(seeds)].var()


def luck_by_hand(values, axes):
    """The error of an effect that is luck alone: the variance of a mean of products of two deviations."""
    flat = effect(values, axes).reshape(-1, values.shape[-1])
    seeds = range(flat.shape[1])
    left = [[one - row.mean() for one in row] for row in flat]
    products = [sum(row[s] * row[t] for row in left) / len(left) for s in seeds for t in seeds]
    squares = sum(product**2 for product in products) / (len(seeds) - 1) ** 2
    return np.sqrt(2 * squares / (len(seeds) * (len(seeds) - 1))) / values.var()


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_shares_and_errors_are_those_of_loops(metric):
    values = normal(3, 2, 4, 5) + np.arange(4)[:, None] * np.arange(2)[:, None, None]
    values[0, 1, 2, 3] = values[2, 0, 0, 1] = values[1, 1, 3, 0] = NAN
    found = importance(trials_of(values, metric=metric), metric)
    signed = np.nan_to_num(values if metric == "val_loss" else -values, nan=np.inf)
    ranks = (rankdata(signed).reshape(values.shape) - 1) / (values.size - 1)
    seeds, total = range(5), 0.0
    for axes in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        expected = by_hand(ranks, axes, seeds)
        without = [by_hand(ranks, axes, [s for s in seeds if s != out]) for out in seeds]
        spread = np.sqrt(4 / 5 * sum((one - np.mean(without)) ** 2 for one in without))
        got = share(found, *(f"model.a{i}" for i in axes))
        np.testing.assert_allclose(
            got, [expected, np.hypot(spread, 1.6 * luck_by_hand(ranks, axes))], rtol=1e-9
        )
        total += expected
    common = in_common(ranks - ranks.mean(axis=(0, 1, 2)), seeds) / ranks.var()
    assert found.rest == pytest.approx(common - total, abs=1e-12)
    assert found.seed == pytest.approx(1 - common)
    assert found.effects["share"].is_monotonic_decreasing


def test_of_one_seed_the_variance_is_divided_and_nothing_is_said_to_be_luck():
    values = normal(3, 4, 2, 1)
    found = importance(trials_of(values))
    ranks = rankdata(values).reshape(values.shape)
    for axes in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        got, sem = share(found, *(f"model.a{i}" for i in axes))
        assert got == pytest.approx(effect(ranks, axes).var() / ranks.var())
        assert np.isnan(sem)
    assert found.rest == pytest.approx(effect(ranks, (0, 1, 2)).var() / ranks.var())
    assert np.isnan(found.seed)
    assert found.first == ""


def test_of_two_seeds_there_is_luck_but_no_error():
    values = np.arange(6.0).reshape(3, 2, 1) + 0.4 * normal(3, 2, 2)
    found = importance(trials_of(values))
    ranks = rankdata(values).reshape(values.shape)
    assert share(found, "model.a0")[0] == pytest.approx(by_hand(ranks, (0,), [0, 1]))
    assert found.effects["sem"].isna().all()
    assert 0.0 < found.seed < 1.0
    assert found.first == ""


@settings(max_examples=40)
@given(
    st.lists(st.floats(-9, 9, width=32) | st.just(NAN), min_size=48, max_size=48),
    st.lists(st.sampled_from([True, True, True, False]), min_size=48, max_size=48),
    st.sampled_from([(4, 3, 4), (12, 4), (2, 2, 3, 4), (48, 1), (4, 6, 2)]),
)
def test_whatever_was_trained_shares_sum_to_one(values, kept, shape):
    # Trials that are missing take seconds: here whole seeds and values are.
    kept = np.reshape(kept, shape)
    kept = np.broadcast_to(kept[:, :1, ..., :1] if len(shape) > 2 else kept[:, :1], shape)
    trials = trials_of(np.reshape(values, shape), kept=kept)
    try:
        found = importance(trials)
    except KeyError:
        return
    total = found.effects["share"].sum() + found.rest + (0.0 if np.isnan(found.seed) else found.seed)
    assert total == pytest.approx(1.0)


# Ranks.


def test_ranks_go_from_the_best_to_those_that_diverged():
    values = pd.Series([3.0, NAN, 1.0, 3.0, NAN, 7.0])
    np.testing.assert_allclose(
        normalized_ranks(values, higher=False), np.array([1.5, 4.5, 0, 1.5, 4.5, 3]) / 5
    )
    np.testing.assert_allclose(
        normalized_ranks(values, higher=True), np.array([1.5, 4.5, 3, 1.5, 4.5, 0]) / 5
    )
    np.testing.assert_allclose(normalized_ranks(pd.Series([2.0]), higher=True), [0.0])


def test_a_metric_that_is_not_a_number_is_as_one_that_diverged():
    values = normal(3, 2, 4)
    values[2, 1, 1] = NAN
    trials = trials_of(values)
    other = trials.assign(
        status="ok", final_val_loss=trials["final_val_loss"].where(trials["status"] == "ok")
    )
    pd.testing.assert_frame_equal(importance(trials).effects, importance(other).effects)


def test_no_scale_of_the_metric_matters():
    values = normal(3, 4, 3) + np.arange(4)[:, None]
    found, other = importance(trials_of(values)), importance(trials_of(np.exp(3 * values)))
    pd.testing.assert_frame_equal(found.effects, other.effects)
    assert (found.rest, found.seed, found.seeds) == (other.rest, other.seed, other.seeds)


def test_the_metric_is_the_default_one_or_that_which_is_named():
    trials = trials_of(normal(3, 2, 3)).assign(
        final_train_loss=trials_of(normal(3, 2, 3, seed=1))["final_val_loss"]
    )
    assert not importance(trials).effects.equals(importance(trials, "train_loss").effects)
    pd.testing.assert_frame_equal(importance(trials).effects, importance(trials, "val_loss").effects)
    with pytest.raises(KeyError, match="no metric 'test_loss': this sweep recorded val_loss, train_loss"):
        importance(trials, "test_loss")


# The axis that is first.


def test_the_first_is_named_where_it_is_told_from_luck():
    values = 3.0 * np.arange(3)[:, None, None] + np.arange(2)[:, None] + 0.3 * normal(3, 2, 6)
    assert importance(trials_of(values)).first == "model.a0"
    assert importance(trials_of(values.swapaxes(0, 1))).first == "model.a1"
    assert importance(trials_of(normal(3, 2, 6, seed=3))).first == ""


def test_the_first_of_one_axis_need_only_be_above_zero():
    values = np.arange(4.0)[:, None] + normal(4, 6)
    found = importance(trials_of(values))
    assert found.effects["axes"].tolist() == [("model.a0",)]
    assert found.first == "model.a0"
    got, sem = share(found, "model.a0")
    assert got > student.ppf(0.975, 5) * sem
    # As much, but not above luck.
    lucky = importance(trials_of(0.1 * np.arange(4.0)[:, None] + normal(4, 6, seed=1)))
    got, sem = share(lucky, "model.a0")
    assert got < student.ppf(0.975, 5) * sem
    assert lucky.first == ""


def test_the_difference_to_the_second_is_jackknifed_as_one():
    """Both shares fall where a seed is all luck, and their difference may still be sure, or not be."""
    named = 0
    for i in range(40):
        values = (1.6 * np.arange(3)[:, None] + np.arange(3))[..., None] + 1.5 * normal(3, 3, 4, seed=i)
        found = importance(trials_of(values))
        ranks = rankdata(values).reshape(values.shape)
        without = np.array(
            [[by_hand(ranks, (a,), [s for s in range(4) if s != out]) for out in range(4)] for a in (0, 1)]
        )
        mains = np.array([share(found, "model.a0")[0], share(found, "model.a1")[0]])
        top = int(mains.argmax())
        claims = [(mains[top], without[top]), (mains[top] - mains[1 - top], without[top] - without[1 - top])]
        sure = all(
            value > student.ppf(0.975, 3) * np.sqrt(3 / 4 * ((line - line.mean()) ** 2).sum())
            for value, line in claims
        )
        assert found.first == (f"model.a{top}" if sure else "")
        named += sure
    assert 2 < named < 38


def test_of_equal_axes_the_first_is_seldom_named():
    tables, named = 150, 0
    for i in range(tables):
        values = (np.arange(3)[:, None] + np.arange(3))[..., None] + normal(3, 3, 5, seed=i)
        named += importance(trials_of(values)).first != ""
    assert named <= 0.05 * tables + 3 * np.sqrt(tables * 0.05 * 0.95)


@pytest.mark.parametrize("size", [3, 10])
def test_equal_axes_without_luck_are_equal(size):
    """Rounding may leave a rest."""
    table = np.indices((size, size, size)).sum(axis=0)
    assert importance(trials_of(np.repeat(table[..., None], 3, axis=3))).first == ""


# The order of values.


def scaled(kind, additive, luck, rng):
    """A response that is additive on some scale, from effects and luck."""
    if kind == "log":
        return np.exp(additive + luck)
    if kind == "saturating":
        return 1.0 / (1.0 + np.exp(-3.0 * additive)) + 0.3 * luck
    if kind == "diverging":
        return np.where(rng.random(luck.shape) < 1 / (1 + np.exp(-4 * (additive - 1))), NAN, additive + luck)
    return additive + (luck if kind == "even" else 0.3 * np.sign(luck) * luck**4)


@pytest.mark.parametrize("kind", ["even", "log", "saturating", "diverging", "heavy"])
def test_what_is_additive_on_some_scale_is_not_said_to_interact(kind):
    rng = np.random.default_rng(7)
    tables, said = 60, 0
    for i in range(tables):
        a, b = rng.standard_normal((2, 5))
        additive = (a[:, None] + b)[..., None]
        values = scaled(kind, additive, (0.05, 0.3)[i % 2] * rng.standard_normal((5, 5, 4)), rng)
        said += importance(trials_of(values)).crossing is not None
    assert said <= 0.05 * tables


def test_a_crossover_of_the_size_of_the_effects_is_told_at_four_seeds():
    rng = np.random.default_rng(8)
    tables, said = 40, 0
    for _ in range(tables):
        a, b = rng.standard_normal((2, 5))
        pair = rng.standard_normal((5, 5))
        pair = pair - pair.mean(axis=0) - pair.mean(axis=1, keepdims=True) + pair.mean()
        means = a[:, None] / a.std() + b / b.std() + pair / pair.std()
        found = importance(
            trials_of(np.exp(means[..., None] + 0.3 * rng.standard_normal((5, 5, 4))))
        ).crossing
        said += found is not None
        if found:
            # The order of the values that are named is the true one.
            one, other, here, there = (round(2 * (float(value) - 1)) for value in (*found.values, *found.at))
            table = means if found.axis == "model.a0" else means.T
            assert table[one, here] < table[other, here]
            assert table[one, there] > table[other, there]
    assert said >= 0.9 * tables


def test_an_order_that_changes_only_in_predictions_is_not_told():
    values = smooth()
    kept = np.random.default_rng(5).random(values.shape) > 0.25
    assert importance(trials_of(values, kept=kept)).crossing is None
    table = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0]])[..., None], 6, axis=2) + 0.01 * normal(2, 2, 6)
    whole = importance(trials_of(table)).crossing
    assert whole == Crossing("model.a0", ("1", "1.5"), "model.a1", ("1", "1.5"))
    # Two seeds without predictions are too few.
    kept = np.ones(table.shape, bool)
    kept[0, 0, :4] = False
    assert importance(trials_of(table, kept=kept)).crossing is None


def test_the_interval_of_a_share_covers_it():
    """Where effects are small against luck, the jackknife alone covers some 80 to 85 %."""
    tables, seeds = 100, 8
    rng = np.random.default_rng(9)

    def shares(seeds):
        values = np.array([[0.0, 2.0], [2.0, 4.0]])[..., None] + 3.0 * rng.standard_normal((2, 2, seeds))
        return importance(trials_of(values)).effects.set_index("axes").sort_index()

    truth = np.mean([shares(1000)["share"] for _ in range(5)], axis=0)
    margin = student.ppf(0.975, seeds - 1)
    hits = [
        (one["share"] - truth).abs() <= margin * one["sem"] for one in (shares(seeds) for _ in range(tables))
    ]
    assert (np.mean(hits, axis=0) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / tables)).all()


# Trials without an axis, and those that are missing.


def collapsed(width=None):
    """A model without a width, trained once, beside one of three widths; two seeds, two learning rates."""
    rows = []
    for model, lr in product(["linear", "mlp"], [0.1, 0.2]):
        for one in [None] if model == "linear" else [8, 16, 32]:
            rows += [(model, one, lr, seed) for seed in (0, 1)]
    model, width, lr, seed = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "trial": range(len(rows)),
            "cell": [i // 2 for i in range(len(rows))],
            "seed": seed,
            "model": pd.array(model, "str"),
            "model.width": pd.array(width, "Int64"),
            "optimizer.lr": lr,
            "status": "ok",
            "final_val_loss": normal(len(rows)),
        }
    )


def test_a_trial_without_an_axis_stands_for_all_its_values():
    trials = collapsed()
    found = rank_response(trials, "val_loss")
    assert found.axes == ("model", "model.width", "optimizer.lr")
    assert found.values.shape == (2, 3, 2, 2)
    assert found.coverage.filled == 0.0
    ranks = (rankdata(trials["final_val_loss"]) - 1) / (len(trials) - 1)
    for rank, row in zip(ranks, trials.to_dict("records"), strict=True):
        lr = int(row["optimizer.lr"] == 0.2)
        widths = slice(None) if row["model"] == "linear" else [8, 16, 32].index(row["model.width"])
        place = int(row["model"] == "mlp")
        np.testing.assert_allclose(found.values[place, widths, lr, row["seed"]], rank)


def test_what_trials_stand_for_is_not_missing():
    trials = collapsed()
    linear = trials[trials["model"] == "linear"]
    more = [linear.assign(model=f"linear {i}", cell=linear["cell"] + 10 * i) for i in (1, 2, 3)]
    found = rank_response(pd.concat([trials, *more], ignore_index=True), "val_loss")
    assert found.values.shape == (5, 3, 2, 2)
    assert (found.coverage.filled, found.coverage.drawn) == (0.0, False)


def test_an_axis_of_one_value_beside_its_lack_does_not_vary():
    trials = collapsed()
    trials = trials[trials["model.width"].isna() | (trials["model.width"] == 8)]
    assert rank_response(trials, "val_loss").axes == ("model", "optimizer.lr")
    with pytest.raises(KeyError, match="no axis varies"):
        importance(trials[trials["model"] == "linear"].drop(columns="optimizer.lr"))


def test_a_null_that_is_a_value_is_one():
    """A batch of null is all examples: both models have it, and sizes besides."""
    values = normal(2, 3, 4)
    trials = trials_of(values, {"model": ["linear", "mlp"], "batch_size": [32.0, 64.0, None]})
    assert trials["batch_size"].isna().sum() == 8
    found = rank_response(trials, "val_loss")
    assert found.values.shape == (2, 3, 4)
    np.testing.assert_allclose(found.values, (rankdata(values).reshape(values.shape) - 1) / (values.size - 1))


def test_nulls_of_names_and_of_numbers_are_values_beside_each_other():
    values = normal(2, 2, 3)
    trials = trials_of(values, {"schedule": ["cosine", None], "batch_size": [32.0, None]})
    ranks = (rankdata(values).reshape(values.shape) - 1) / (values.size - 1)
    np.testing.assert_allclose(rank_response(trials, "val_loss").values, ranks)


def test_values_stand_in_order_and_text_is_a_value():
    values = normal(3, 2, 2)
    trials = trials_of(values, {"optimizer.lr": [0.3, 0.1, 0.2], "activation": ["tanh", "relu"]})
    ranks = (rankdata(values).reshape(values.shape) - 1) / (values.size - 1)
    np.testing.assert_allclose(rank_response(trials, "val_loss").values, ranks[[1, 2, 0]][:, [1, 0]])


def smooth(seeds=3):
    """Values of which the ranks are known and smooth: a plane with a bend, and little luck."""
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 6), indexing="ij")
    return (3 * x + y**2 + x * y)[..., None] + 0.02 * normal(8, 6, seeds)


def test_what_is_missing_is_filled_from_the_rest():
    values = smooth()
    whole = importance(trials_of(values))
    kept = np.random.default_rng(5).random(values.shape) > 0.25
    found = importance(trials_of(values, kept=kept))
    assert found.filled == pytest.approx(1 - kept.mean())
    assert 0.9 < found.fit < 1.0
    for axes in whole.effects["axes"]:
        assert share(found, *axes)[0] == pytest.approx(share(whole, *axes)[0], abs=0.04)
    assert found.first == whole.first == "model.a0"
    assert (found.seeds, found.binned, found.drawn) == (3, (), False)
    again = importance(trials_of(values, kept=kept))
    pd.testing.assert_frame_equal(found.effects, again.effects)


def test_what_is_known_stays_as_it_is():
    values = smooth()
    kept = np.random.default_rng(5).random(values.shape) > 0.25
    trials = trials_of(values, kept=kept)
    found = rank_response(trials, "val_loss")
    ranks = (rankdata(values[kept]) - 1) / (kept.sum() - 1)
    np.testing.assert_array_equal(found.values[kept], ranks)
    # The prediction is near the true value.
    expected = (rankdata(values).reshape(values.shape) - 1) / (values.size - 1)
    assert np.abs(found.values - expected)[~kept].max() < 0.15
    assert np.corrcoef(found.values[~kept], expected[~kept])[0, 1] > 0.97


def test_a_seed_is_predicted_from_itself_alone():
    values = smooth()
    kept = np.random.default_rng(5).random(values.shape) > 0.25
    kept[..., 1:] = True
    found = rank_response(trials_of(values, kept=kept), "val_loss")
    other = values.copy()
    # As many values above and below: the ranks of the first seed stay.
    other[..., 1:] = values[::-1, :, 1:]
    changed = rank_response(trials_of(other, kept=kept), "val_loss")
    np.testing.assert_allclose(found.values[..., 0], changed.values[..., 0])
    assert not np.allclose(found.values[..., 1], changed.values[..., 1])


def test_seeds_that_were_hardly_begun_are_left_out():
    values = smooth(5)
    kept = np.ones(values.shape, bool)
    # Less than half of the cells are done, and half of them.
    kept[:4, :, 3] = kept[4:, 5, 3] = False
    kept[:4, :, 4] = False
    found = importance(trials_of(values, kept=kept))
    assert found.seeds == 4
    assert found.filled == pytest.approx(0.5 / 4)


def test_seeds_of_few_entries_are_not_predicted_from_but_whole_ones_are_kept():
    values = normal(3, 2, 3)
    assert importance(trials_of(values)).seeds == 3
    kept = np.ones(values.shape, bool)
    kept[0, 0, 2] = False
    found = importance(trials_of(values, kept=kept))
    assert (found.seeds, found.filled) == (2, 0.0)
    kept[0, 0] = False
    with pytest.raises(KeyError, match="too few cells are done: 5"):
        importance(trials_of(values, kept=kept))


def test_a_cell_that_no_seed_has_done_is_filled():
    values = smooth()
    kept = np.ones(values.shape, bool)
    kept[3:5, 2] = False
    found = importance(trials_of(values, kept=kept))
    assert found.filled == pytest.approx(2 / 48)
    assert found.seeds == 3


# Cells that were drawn.


def drawn(cells, seeds=4, axes=3, spread=0.05):
    rng = np.random.default_rng(2)
    at = rng.random((cells, axes))
    trials = trials_of(
        np.repeat((3 * at[:, 0] + at[:, 1])[:, None], seeds, 1) + spread * normal(cells, seeds)
    )
    columns = {f"model.x{i}": np.repeat(at[:, i], seeds) for i in range(axes)}
    trials = trials.drop(columns="model.a0")
    for place, (name, column) in enumerate(columns.items()):
        trials.insert(3 + place, name, column)
    return trials


def test_axes_that_were_drawn_are_taken_in_bins():
    found = importance(drawn(150))
    assert found.binned == ("model.x0", "model.x1", "model.x2")
    assert found.drawn
    assert 0.5 < found.filled < 1.0
    assert found.fit > 0.8
    # As the same function has it on a whole grid; and which axis is first is luck of the draw too.
    x = (np.arange(8) + 0.5) / 8
    whole = importance(trials_of(np.repeat((3 * x[:, None] + x)[..., None], 4, axis=2)))
    assert share(found, "model.x0")[0] == pytest.approx(share(whole, "model.a0")[0], abs=0.08)
    assert share(found, "model.x1")[0] == pytest.approx(share(whole, "model.a1")[0], abs=0.08)
    assert share(found, "model.x2")[0] < 0.02
    assert found.first == ""


def test_no_axis_is_first_where_most_of_the_grid_is_missing():
    values = smooth()
    kept = np.broadcast_to((np.arange(48).reshape(8, 6, 1) * 5 % 48) < 22, values.shape)
    found = importance(trials_of(values, kept=kept))
    assert found.filled == pytest.approx(26 / 48)
    assert (found.drawn, found.binned, found.first) == (True, (), "")
    assert not any("luck" in text for text in describe(found))


def test_a_bin_is_the_mean_of_its_trials():
    trials = drawn(160, axes=2, seeds=3)
    found = rank_response(trials, "val_loss")
    assert found.values.shape == (8, 8, 3)
    ranks = normalized_ranks(trials["final_val_loss"], higher=False)
    bins = [pd.qcut(trials[axis], 8, labels=False) for axis in found.axes]
    means = pd.Series(ranks).groupby([*bins, trials["seed"]]).mean()
    assert len(means) == round((1 - found.coverage.filled) * 8 * 8 * 3)
    for place, mean in means.items():
        assert found.values[place] == pytest.approx(mean)


def test_of_few_cells_that_were_drawn_nothing_is_told():
    with pytest.raises(KeyError, match="too few cells are done: 19 of 6,859"):
        importance(drawn(19))
    assert importance(drawn(20)).drawn


def test_a_grid_that_is_too_large_is_taken_in_bins(monkeypatch):
    values = normal(20, 10, 3) + np.arange(20)[:, None, None]
    trials = trials_of(values)
    for most, shape, binned in [
        (600, (20, 10), ()),
        (599, (8, 8), ("model.a0", "model.a1")),
        (191, (4, 4), ("model.a0", "model.a1")),
    ]:
        monkeypatch.setattr(module, "_MOST_ENTRIES", most)
        found = rank_response(trials, "val_loss")
        assert found.values.shape == (*shape, 3)
        assert (found.coverage.binned, found.coverage.drawn, found.coverage.filled) == (binned, False, 0.0)
        assert importance(trials).first == "model.a0"
    monkeypatch.setattr(module, "_MOST_ENTRIES", 47)
    with pytest.raises(KeyError, match="the grid is too large: 16 combinations"):
        rank_response(trials, "val_loss")


def test_text_is_not_taken_in_bins(monkeypatch):
    monkeypatch.setattr(module, "_MOST_ENTRIES", 400)
    trials = trials_of(normal(10, 16, 3), {"name": list("abcdefghij"), "width": list(range(16))})
    found = rank_response(trials, "val_loss")
    assert found.values.shape == (10, 8, 3)
    assert found.coverage.binned == ("width",)


# Where there is nothing to tell.


def test_of_one_cell_no_axis_varies():
    with pytest.raises(KeyError, match="no axis varies"):
        importance(trials_of(normal(1, 1, 4)))
    with pytest.raises(KeyError, match="no axis varies"):
        importance(trials_of(normal(1, 1, 1)))


@pytest.mark.parametrize("value", [NAN, 2.0])
def test_trials_that_are_all_alike_tell_nothing(value):
    with pytest.raises(KeyError, match="all trials have the same rank"):
        importance(trials_of(np.full((3, 2, 4), value)))


def test_seeds_that_are_left_out_are_not_what_differs():
    values = np.ones((4, 6, 2))
    values[0, :3, 1] = np.arange(3)
    kept = np.ones(values.shape, bool)
    kept[..., 1] = False
    kept[0, :3, 1] = True
    with pytest.raises(KeyError, match="all trials have the same rank"):
        importance(trials_of(values, kept=kept))


def test_seeds_without_a_cell_in_common_are_too_few():
    kept = np.zeros((6, 6), bool)
    np.fill_diagonal(kept, val=True)
    with pytest.raises(KeyError, match="too few cells are done with any one seed"):
        importance(trials_of(normal(6, 6), kept=kept))


def test_where_only_one_seed_tells_the_trials_apart_there_is_no_error_and_no_warning():
    values = np.zeros((3, 2, 3))
    values[..., 1] = np.arange(6.0).reshape(3, 2)
    found = importance(trials_of(values))
    assert found.effects["sem"].isna().all()
    assert found.first == ""


# The sentence.


def made(effects, **more):
    axes, shares, sems = zip(*effects, strict=True)
    table = pd.DataFrame({"axes": list(axes), "share": shares, "sem": sems})
    fields = {
        "rest": 0.0, "seed": 0.08, "seeds": 5, "filled": 0.0, "fit": NAN, "binned": (), "first": "",
        "drawn": False, "crossing": None,
    }  # fmt: skip
    return Importance(effects=table, **{**fields, **more})


LR, WIDTH = "optimizer.lr", "model.width"
EFFECTS = [((LR,), 0.612, 0.03), ((LR, WIDTH), 0.12, 0.02), ((WIDTH,), 0.1, 0.01)]


CROSSING = Crossing(LR, ("0.1", "0.3"), WIDTH, ("64", "8"))


def test_what_is_said_of_the_first_of_the_pair_and_of_luck():
    assert describe(made(EFFECTS, first=LR, crossing=CROSSING)) == [
        "lr matters most: by itself it explains 61 % of the variance of ranks (± 3 % over seeds)",
        "lr and width interact: by mean rank, lr=0.1 is better than lr=0.3 at width=64, and worse at width=8",
        "8 % is luck: it differs from seed to seed",
    ]


def test_luck_is_that_of_what_cells_are_repeated_with():
    text = describe(made(EFFECTS, first=LR), "split")
    assert text[0].endswith(" (± 3 % over splits)")
    assert text[-1] == "8 % is luck: it differs from split to split"
    assert describe(made(EFFECTS, seeds=2), "split")[0].startswith("with fewer than three splits, ")
    assert describe(made([((LR,), 1.0, 0.0)], first=LR))[0].endswith("100 % of the variance of ranks")


def test_what_is_said_where_the_first_is_not_told():
    assert describe(made(EFFECTS))[0] == "these seeds do not show which axis matters most"
    assert describe(made(EFFECTS, seeds=2))[0].startswith("with fewer than three seeds, ")
    text = describe(made(EFFECTS, drawn=True, filled=0.9, fit=0.734, binned=(WIDTH, LR)))
    assert text[0] == "too few combinations were trained to show which axis matters most"
    assert text[1:] == [
        "90 % of the grid is predicted by a random forest (R² 0.73 on unseen trials)",
        "values of width, lr are grouped into bins of about equally many trials",
    ]


def test_a_share_of_a_pair_is_no_interaction():
    """Ranks bend whatever is additive, so a pair has a share that is repeated with every seed."""
    values = (np.arange(3.0)[:, None] + np.array([0.0, 1.4, 5.0]))[..., None] + 0.01 * normal(3, 3, 5)
    found = importance(trials_of(values))
    got, sem = share(found, "model.a0", "model.a1")
    assert got > 1.5 * sem
    assert found.crossing is None
    assert not any("interact" in line for line in describe(found))


def test_nothing_is_said_that_is_not_a_number():
    text = describe(importance(trials_of(normal(3, 2, 1))))
    assert text == ["with fewer than three seeds, luck may decide which axis matters most"]


@pytest.mark.parametrize(
    ("seed", "words"),
    [(-0.01, "0 %"), (0.0, "0 %"), (0.004, "less than 1 %"), (0.026, "3 %"), (1.02, "100 %")],
)
def test_no_share_that_is_said_is_below_zero_or_above_one(seed, words):
    assert describe(made(EFFECTS, seed=seed))[-1] == f"{words} is luck: it differs from seed to seed"


def test_what_is_said_of_a_table():
    table = np.array([[0.0, 1.0], [1.0, 0.0]])
    trials = trials_of(np.repeat(table[..., None], 4, axis=2), {LR: [0.1, 0.2], WIDTH: [8, 16]})
    assert describe(importance(trials)) == [
        "these seeds do not show which axis matters most",
        "lr and width interact: by mean rank, lr=0.1 is better than lr=0.2 at width=8, and worse at width=16",
        "0 % is luck: it differs from seed to seed",
    ]


def test_many_trials_are_no_matter():
    values = normal(10, 10, 5, 5, 5, 8) + np.arange(10)[:, None, None, None, None, None]
    found = importance(trials_of(values))
    assert found.first == "model.a0"
    assert len(found.effects) == 15
