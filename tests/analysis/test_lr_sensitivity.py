"""The dependence of results on the learning rate: against loops, closed forms, and simulation."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from vsweep.analysis.importance import importance
from vsweep.analysis.lr_sensitivity import best_lr, lr_lines, lr_sensitivity
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import LR

NAN = np.nan
WIDTH = "model.width"


def trials_of(cells, metric="val_loss", seeds=None):
    """Trials from cells of axes and values by seed: NaN is one that diverged, None one that is not there."""
    rows = [
        {"cell": number, "seed": seed if seeds is None else seeds[seed], **axes, "_value": value}
        for number, (axes, values) in enumerate(cells)
        for seed, value in enumerate(values)
        if value is not None
    ]
    table = pd.DataFrame(rows)
    values = table.pop("_value").astype(float)
    table.insert(0, "trial", 10 + 3 * np.arange(len(table)))
    return table.assign(
        status=np.where(values.isna(), "diverged", "ok"),
        diverged_at=pd.array([pd.NA] * len(table), "Int64"),
        **{f"final_{metric}": values.fillna(-99.0).to_numpy()},
    )


def grid(value, rates, widths, seeds=4, spread=0.0, metric="val_loss"):
    """Trials of a function of learning rate and width, with luck that all cells of a seed share."""
    rng = np.random.default_rng(3)
    luck = rng.standard_normal(seeds)
    cells = [
        ({LR: lr, WIDTH: width}, value(lr, width) + luck + spread * rng.standard_normal(seeds))
        for lr in rates
        for width in widths
    ]
    return trials_of(cells, metric)


def parabola(at=lambda width: 1.0):
    """Least at a learning rate that hangs on the width."""
    return lambda lr, width: np.log(lr / at(width)) ** 2


RATES = [0.01, 0.1, 1.0, 10.0]


def line_of(values):
    """Trials that differ in the learning rate alone, from its values by seed."""
    return trials_of([({LR: lr}, each) for lr, each in zip(RATES, values, strict=False)])


# Lines.


def test_a_line_is_the_best_cell_and_those_that_differ_in_the_learning_rate_alone():
    cells = [
        ({LR: lr, WIDTH: width, "batch": batch}, [base + 0.1, base])
        for lr, width, batch, base in [
            (0.1, 8, 1, 5.0), (0.2, 8, 1, 4.0), (0.1, 8, 2, 3.0), (0.2, 8, 2, 6.0),
            (0.2, 16, 1, 1.0), (0.1, 16, 1, 2.0), (0.1, 16, 2, 8.0), (0.2, 16, 2, 9.0),
        ]
    ]  # fmt: skip
    trials = trials_of(cells)
    lines = lr_lines(trials, "val_loss", WIDTH)
    assert list(lines) == ["by", "lr", "cell", "mean", "error", "seeds", "diverged", "best", "same"]
    assert lines["by"].tolist() == [8, 8, 16, 16]
    assert lines["lr"].tolist() == [0.1, 0.2, 0.1, 0.2]
    assert lines["cell"].tolist() == [2, 3, 5, 4]
    assert lines["best"].tolist() == [True, False, False, True]
    assert lines["same"].dtype == "boolean"
    ranked = rank_cells(trials, "val_loss").set_index("cell").loc[lines["cell"]]
    for name in ("mean", "error", "seeds", "diverged"):
        np.testing.assert_allclose(lines[name], ranked[name])
    # All cells give one line.
    whole = lr_lines(trials, "val_loss", None)
    assert whole["by"].tolist() == ["", ""]
    assert whole["cell"].tolist() == [5, 4]
    # By text, and by an axis that is among the others otherwise.
    assert lr_lines(trials, "val_loss", "batch")["cell"].tolist() == [5, 4, 2, 3]


def test_more_accuracy_is_better():
    trials = grid(lambda lr, width: lr + width, RATES, [1, 2], metric="val_accuracy")
    lines = lr_lines(trials, None, WIDTH)
    assert lines.loc[lines["best"], "lr"].tolist() == [10.0, 10.0]
    losses = trials.rename(columns={"final_val_accuracy": "final_val_loss"})
    lines = lr_lines(losses, "val_loss", WIDTH)
    assert lines.loc[lines["best"], "lr"].tolist() == [0.01, 0.01]


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_the_same_are_those_that_are_tied_among_the_cells_of_the_line_alone(metric):
    sign = -1.0 if metric == "val_accuracy" else 1.0
    bowl, rates = parabola(), np.geomspace(0.1, 10, 9)
    trials = grid(lambda lr, width: sign * bowl(lr, width), rates, [1, 2, 3], 5, 0.5, metric)
    trials.loc[[5, 17, 44, 100], "status"] = "diverged"
    lines = lr_lines(trials, metric, WIDTH)
    for _, line in lines.groupby("by"):
        alone = rank_cells(trials[trials["cell"].isin(line["cell"])], metric).set_index("cell")
        assert line["same"].tolist() == (alone["tied"].loc[line["cell"]] | line["best"].to_numpy()).tolist()
    assert lines.loc[lines["best"], "same"].all()
    assert 3 < (~lines["same"]).sum() < len(lines) - 6


def test_a_rate_of_which_more_seeds_diverged_is_not_told_apart_without_a_test():
    values = [[1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.0, 4.0], [1.0, NAN, 3.0, 4.0], [NAN, NAN, NAN, NAN]]
    lines = lr_lines(line_of(values), "val_loss", None)
    assert lines["same"].tolist() == [True, True, True, False]
    assert lines["diverged"].tolist() == [0, 0, 1, 4]
    assert lines["best"].tolist() == [True, False, False, False]


def test_of_one_seed_it_is_not_known_which_are_the_same():
    lines = lr_lines(line_of([[3], [1], [NAN], [2]]), None, None)
    assert lines["same"].tolist() == [pd.NA, True, pd.NA, pd.NA]


def test_seeds_that_lack_a_rate_are_not_compared():
    rng = np.random.default_rng(0)
    values = np.arange(4.0)[:, None] + 0.1 * rng.standard_normal((4, 5))
    whole = lr_lines(line_of(values[:, :4]), None, None)["same"]
    lacking = [[*row[:4], None if k == 2 else row[4]] for k, row in enumerate(values)]
    assert lr_lines(line_of(lacking), None, None)["same"].tolist() == whole.tolist()
    assert whole.tolist() == [True, False, False, False]


def test_of_seeds_that_cannot_differ_it_is_not_known_which_are_the_same():
    lines = lr_lines(line_of([[2.0] * 3, [1.0] * 3, [1.0] * 3, [3.0] * 3]), None, None)
    assert lines["same"].tolist() == [pd.NA, True, pd.NA, pd.NA]
    assert best_lr(lines)[["low", "high"]].isna().all(axis=None)


def test_a_line_that_all_diverged_has_no_best():
    values = {1: 0.0, 2: NAN}
    cells = [({LR: lr, WIDTH: width}, [lr + values[width]] * 2) for lr in RATES for width in values]
    lines = lr_lines(trials_of(cells), "val_loss", WIDTH)
    assert lines["by"].tolist() == [1] * 4 + [2] * 4
    assert lines["best"].tolist() == [True] + [False] * 7
    assert lines.loc[lines["by"] == 2, "same"].isna().all()
    assert best_lr(lines)["by"].tolist() == [1]


def test_axes_that_a_cell_lacks_are_equal_as_well():
    cells = [({LR: lr, "model": "linear", WIDTH: None}, [lr, 2 * lr]) for lr in (0.1, 0.2, 0.3)]
    cells += [({LR: lr, "model": "mlp", WIDTH: w}, [lr + w, lr]) for lr in (0.1, 0.2) for w in (8, 16)]
    lines = lr_lines(trials_of(cells), "val_loss", "model")
    assert lines["by"].tolist() == ["linear"] * 3 + ["mlp"] * 2
    assert lines["cell"].tolist() == [0, 1, 2, 3, 5]
    # A value that is none is none.
    assert lr_lines(trials_of(cells), "val_loss", WIDTH)["by"].tolist() == [8, 8, 16, 16]


def test_values_without_a_learning_rate_or_with_one_are_left_out():
    cells = [({LR: lr, "optimizer": "sgd"}, [1.0, 2.0]) for lr in (0.1, 0.2, 0.0, -1.0, np.inf)]
    cells += [({LR: None, "optimizer": "newton"}, [0.0, 0.0]), ({LR: 0.1, "optimizer": "adam"}, [0.0, 0.0])]
    trials = trials_of(cells)
    lines = lr_lines(trials, "val_loss", "optimizer")
    assert lines["by"].tolist() == ["sgd", "sgd"]
    assert lines["lr"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize("rates", [[0.1, 0.1], [None, 0.1], [None, None], [-1.0, 0.1], [0.0, -2.0]])
def test_where_the_learning_rate_does_not_vary_there_are_no_lines(rates):
    trials = trials_of([({LR: lr, WIDTH: w}, [1.0, 2.0]) for w, lr in enumerate(rates)])
    with pytest.raises(KeyError, match="the learning rate does not vary"):
        lr_lines(trials, "val_loss", WIDTH)
    with pytest.raises(KeyError, match="the learning rate does not vary"):
        lr_sensitivity(trials, pd.Series(dtype=float), "val_loss", WIDTH)


def test_text_is_no_learning_rate():
    with pytest.raises(KeyError, match="the learning rate does not vary"):
        lr_lines(trials_of([({LR: lr}, [1.0]) for lr in ("fast", "slow")]), None, None)
    with pytest.raises(KeyError, match="the learning rate does not vary"):
        lr_lines(trials_of([({WIDTH: lr}, [1.0]) for lr in (1, 2)]), None, WIDTH)


def test_what_there_is_not():
    trials = grid(parabola(), RATES, [1, 2])
    with pytest.raises(KeyError, match=r"no axis 'depth': the axes are optimizer\.lr, model\.width"):
        lr_lines(trials, "val_loss", "depth")
    with pytest.raises(KeyError, match="no metric 'val_accuracy': this sweep recorded val_loss"):
        lr_lines(trials, "val_accuracy", WIDTH)
    with pytest.raises(KeyError, match="an axis other than the learning rate"):
        lr_lines(trials, "val_loss", LR)


def test_of_cells_that_were_drawn_there_are_no_lines():
    trials = trials_of([({LR: lr, WIDTH: lr * 10}, [1.0, 2.0]) for lr in RATES])
    lines = lr_lines(trials, "val_loss", WIDTH)
    assert lines.empty
    assert best_lr(lines).empty
    assert lr_sensitivity(trials, begun(trials, 9.0), "val_loss", WIDTH).empty


# The best learning rate.


def lines_of(same, best=1, error=0.1, by="x"):
    count = len(same)
    return pd.DataFrame(
        {
            "by": by, "lr": np.geomspace(1, 2.0 ** (count - 1), count), "cell": np.arange(count), "mean": 1.0,
            "error": error, "seeds": 3, "diverged": 0, "best": np.arange(count) == best,
            "same": pd.array(same, "boolean"),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("same", "best", "low", "high"),
    [
        ([False, True, False, False], 1, 2, 2),
        ([True, True, True, False], 1, 1, 4),
        ([True, False, True, True], 2, 1, 8),
        ([True, True, False, True], 0, 1, 8),
        ([False, True, False, True], 3, 2, 8),
        ([False, True, pd.NA, False], 1, 2, 4),
        ([True, True, True, True], 2, 1, 8),
    ],
)
def test_the_range_holds_all_that_may_be_the_best(same, best, low, high):
    lines = lines_of(same, best)
    found = best_lr(lines.sample(frac=1, random_state=1))
    assert list(found) == ["by", "lr", "low", "high", "at_edge", "cell", "mean", "error"]
    (row,) = found.to_dict("records")
    assert (row["lr"], row["low"], row["high"], row["cell"]) == (2.0**best, low, high, best)
    assert row["at_edge"] == (low == 1 or high == 8)


def test_each_line_has_its_own_range():
    lines = pd.concat([lines_of([True, True, False], 0, by=2), lines_of([True, True, True, False], 1, by=1)])
    found = best_lr(lines)
    assert found["by"].tolist() == [1, 2]
    assert found["low"].tolist() == [1, 1]
    assert found["high"].tolist() == [4, 2]
    assert found["at_edge"].tolist() == [True, True]


def test_of_one_seed_there_is_no_range():
    trials = line_of([[3], [1], [NAN], [2]])
    (row,) = best_lr(lr_lines(trials, None, None)).to_dict("records")
    assert row["lr"] == 0.1
    assert np.isnan([row["low"], row["high"], row["error"]]).all()
    assert not row["at_edge"]


@pytest.mark.parametrize("kind", ["even", "heavy", "diverging", "larger diverge"])
def test_the_range_holds_the_truly_best_rate(kind):
    """Lines of several widths, whose best rate moves with the width."""
    rng, rates, widths, seeds = np.random.default_rng(3), np.linspace(-3.0, 3.0, 10), np.arange(100), 4
    at = 0.5 * (widths % 6 - 3.0)
    means = 0.25 * (rates[:, None] - at) ** 2
    draws = rng.standard_t(2, (10, 100, seeds)) if kind == "heavy" else rng.standard_normal((10, 100, seeds))
    values = means[..., None] + 0.3 * draws
    chance = {
        "diverging": 0.2,
        "larger diverge": 1 / (1 + np.exp(-5 * (rates[:, None, None] - at[:, None] - 1.5))),
    }
    values[rng.random(values.shape) < chance.get(kind, 0.0)] = NAN
    cells = [({LR: np.exp(x), WIDTH: w}, values[i, w]) for i, x in enumerate(rates) for w in widths]
    found = best_lr(lr_lines(trials_of(cells), None, WIDTH)).set_index("by").reindex(widths)
    truth = np.exp(rates[means.argmin(axis=0)])
    hit = (found["low"] <= truth) & (truth <= found["high"])
    assert hit.mean() >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 100)
    # The range is of use.
    assert (np.log(found["high"] / found["low"]) / np.diff(rates)[0]).mean() < 6.0


def test_a_best_rate_beyond_those_that_were_tried_is_told():
    rng, rates = np.random.default_rng(4), np.linspace(0.0, 3.0, 8)
    values = 0.25 * (rates[:, None, None] + 1.0) ** 2 + 0.5 * rng.standard_normal((8, 100, 4))
    cells = [({LR: np.exp(x), WIDTH: w}, values[i, w]) for i, x in enumerate(rates) for w in range(100)]
    found = best_lr(lr_lines(trials_of(cells), None, WIDTH))
    assert found["at_edge"].mean() >= 0.95
    assert (found["lr"] > 1.0).mean() > 0.1


def test_a_learning_rate_that_diverged_was_tried():
    lines = lr_lines(line_of([[2.0, 2.0], [1.0, 1.0], [NAN, NAN]]), None, None)
    assert best_lr(lines)["at_edge"].tolist() == [False]
    assert best_lr(lines[lines["diverged"] == 0])["at_edge"].tolist() == [True]


# Sensitivity.


def begun(trials, loss):
    return pd.Series(loss, index=trials["trial"])


def test_the_sensitivity_of_a_parabola():
    """The mean of c x^2 over -r … r is c r^2 / 3, and its least is zero."""
    rates, c = np.geomspace(np.exp(-2.0), np.exp(2.0), 401), 0.7
    trials = trials_of([({LR: lr}, [c * np.log(lr) ** 2, 2 * c * np.log(lr) ** 2]) for lr in rates])
    (row,) = lr_sensitivity(trials, begun(trials, 100.0), "val_loss", None).to_dict("records")
    assert list(row) == ["by", "sensitivity", "sem", "low", "high", "rates", "seeds"]
    assert row["sensitivity"] == pytest.approx(1.5 * c * 4 / 3, rel=1e-4)
    # Half of the distance of two is their mean's error.
    assert row["sem"] == pytest.approx(0.5 * c * 4 / 3, rel=1e-4)
    assert (row["low"], row["high"]) == pytest.approx((np.exp(-2.0), np.exp(2.0)))
    assert (row["by"], row["rates"], row["seeds"]) == ("", 401, 2)
    # No worse than at the start: the parabola is cut off at c, and so beyond one.
    (row,) = lr_sensitivity(trials, begun(trials, c), "val_loss", None).to_dict("records")
    first = c * (1 / 3 + 1) / 2
    second = c * (np.sqrt(0.5) * (1 / 3) + (2 - np.sqrt(0.5))) / 2
    assert row["sensitivity"] == pytest.approx((first + second) / 2, rel=1e-3)


def test_a_grid_that_is_not_even_is_no_matter():
    """The trapezoid rule is exact for a straight line in the logarithm, wherever its points are."""
    for rates in ([1.0, 10.0, 100.0], [1.0, 1.1, 1.2, 100.0], [1.0, 70.0, 100.0]):
        trials = trials_of([({LR: lr}, [3.0 + np.log10(lr)]) for lr in rates])
        (row,) = lr_sensitivity(trials, begun(trials, 9.0), "val_loss", None).to_dict("records")
        assert row["sensitivity"] == pytest.approx(1.0)
        assert np.isnan(row["sem"])
        assert row["rates"] == len(rates)


def test_a_trial_that_diverged_is_where_it_started():
    trials = line_of([[1.0], [0.5], [NAN], [7.0]])
    (row,) = lr_sensitivity(trials, begun(trials, [2.0, 2.0, 3.0, 4.0]), "val_loss", None).to_dict("records")
    assert row["sensitivity"] == pytest.approx((1.0 / 2 + 0.5 + 3.0 + 4.0 / 2) / 3 - 0.5)


def test_the_line_is_that_of_the_best_cell_by_the_same_loss():
    values = {(1, 1): 5.0, (1, 2): 3.0, (2, 1): 2.0, (2, 2): 9.0}
    cells = [
        ({LR: lr, WIDTH: w, "batch": b}, [base + b * lr, base + b * lr + 0.5])
        for (w, b), base in values.items()
        for lr in (0.1, 1.0, 2.0)
    ]
    trials = trials_of(cells)
    found = lr_sensitivity(trials, begun(trials, 90.0), "val_loss", WIDTH)
    mean = (0.5 * (0.1 + 1.0) * np.log(10) + 1.5 * np.log(2)) / np.log(20) - 0.1
    np.testing.assert_allclose(found["sensitivity"], [2 * mean, mean])
    np.testing.assert_allclose(found["sem"], 0.0, atol=1e-12)
    assert found["by"].tolist() == [1, 2]
    assert found["seeds"].tolist() == [2, 2]


def excess(trials, start, cells, seed):
    """The mean loss of a line of cells with a seed, by the trapezoid rule, and the loss of each."""
    part = trials[trials["seed"] == seed].set_index("cell").loc[cells]
    first = start[part["trial"]].to_numpy()
    loss = np.where(part["status"] == "ok", np.minimum(part["final_val_loss"], first), first)
    at = np.log(part[LR].to_numpy())
    return np.trapezoid(loss, at) / (at[-1] - at[0]), loss


def by_loops(trials, start, lines):
    """The sensitivity of each line, of one line a value, and its error, seed by seed and half by half."""
    found = {}
    for value, line in lines.groupby("by"):
        cells = line["cell"].tolist()
        parts = trials[trials["cell"].isin(cells)].groupby("seed")
        seeds = [seed for seed, part in parts if len(part) == len(cells) and (part["status"] == "ok").any()]
        if not seeds:
            continue
        means, losses = zip(*(excess(trials, start, cells, seed) for seed in seeds), strict=True)

        def apart(seed, chosen_on, means=means, losses=losses):
            best = np.argmin(sum(losses[one] for one in chosen_on))
            return means[seed] - losses[seed][best]

        every = range(len(seeds))
        whole = [apart(seed, every) for seed in every]
        if len(seeds) == 1:
            found[value] = (whole[0], NAN)
            continue
        halves = list(combinations(every, len(seeds) // 2))
        crossed = [np.mean([apart(s, half) for half in halves if s not in half]) for s in every]
        sem = max(np.std(one, ddof=1) for one in (whole, crossed)) / np.sqrt(len(seeds))
        sem = np.hypot(sem, (np.mean(whole) - np.mean(crossed)) / 2)
        found[value] = ((2 * np.mean(crossed) + np.mean(whole)) / 3, sem)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_sensitivities_are_those_of_loops(seed):
    rng = np.random.default_rng(seed)
    seeds = 1 + seed % 6
    values = np.array(rng.uniform(0.5, 7.0, (12, seeds)), object)
    values[rng.random(values.shape) < 0.2] = NAN
    values[rng.random(values.shape) < 0.04 * (seed % 3)] = None
    values[:, 0] = rng.uniform(0.5, 7.0, 12)
    start = rng.uniform(3.0, 9.0, 12 * seeds)
    axes = [{LR: lr, WIDTH: width} for width in (1, 2, 3) for lr in (0.1, 0.2, 1.0, 3.0)]
    trials = trials_of(list(zip(axes, values, strict=True)))
    first = begun(trials, start[: len(trials)])
    lines = lr_lines(trials, "val_loss", WIDTH)
    found = lr_sensitivity(trials, first, "val_loss", WIDTH).set_index("by")
    expected = by_loops(trials, first, lines)
    assert found.index.tolist() == list(expected)
    assert len(expected) == 3
    for value, (mean, sem) in expected.items():
        got = found.loc[value, ["sensitivity", "sem"]].astype(float)
        np.testing.assert_allclose(got, [mean, sem], rtol=1e-9)
    # And no warning, whatever there is.
    best = best_lr(lines)
    assert (best["low"].isna() | (best["low"] <= best["lr"])).all()
    assert (best["high"].isna() | (best["high"] >= best["lr"])).all()


@pytest.mark.parametrize(("lines", "seeds"), [(1, 4), (1, 16), (4, 4), (4, 16)])
def test_the_luck_of_the_least_loss_is_not_counted(lines, seeds):
    """Each width is a sweep of its own; the least loss of a seed has a bias of 0.07, however many seeds."""
    rng, count, rates = np.random.default_rng(5), 200, np.linspace(-2.0, 2.0, 10)
    mean = 0.25 * rates**2
    truth = np.trapezoid(mean, rates) / 4 - mean.min()
    values = mean[:, None, None, None] + 0.1 * rng.standard_normal((10, lines, count, seeds))
    shape = values.shape[:-1]
    lr, batch, width = (
        axis.ravel() for axis in np.meshgrid(np.exp(rates), *map(np.arange, shape[1:]), indexing="ij")
    )
    trials = pd.DataFrame(
        {
            "trial": np.arange(values.size), "cell": np.arange(values.size) // seeds,
            "seed": np.tile(np.arange(seeds), len(lr)), LR: lr.repeat(seeds), "batch": batch.repeat(seeds),
            WIDTH: width.repeat(seeds), "status": "ok", "final_val_loss": values.ravel(),
        }
    )  # fmt: skip
    found = lr_sensitivity(trials, begun(trials, 99.0), "val_loss", WIDTH)
    bias = found["sensitivity"].mean() - truth
    assert abs(bias) < (0.03 if seeds == 4 else 0.02)
    # The interval covers the truth.
    hit = (found["sensitivity"] - truth).abs() <= student.ppf(0.975, seeds - 1) * found["sem"]
    assert hit.mean() >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / count)


def test_seeds_without_a_start_are_left_out():
    trials = trials_of([({LR: lr}, [lr, 2 * lr, 3 * lr]) for lr in (1.0, 2.0)])
    start = begun(trials, 50.0)
    whole = lr_sensitivity(trials, start, "val_loss", None)
    assert whole["seeds"].tolist() == [3]
    assert lr_sensitivity(trials, start.iloc[1:], "val_loss", None)["seeds"].tolist() == [2]
    start.iloc[1] = NAN
    assert lr_sensitivity(trials, start, "val_loss", None)["seeds"].tolist() == [2]
    assert lr_sensitivity(trials, start.iloc[:0], "val_loss", None).empty


def test_a_seed_that_diverged_throughout_has_no_least_loss():
    trials = line_of([[1.0, NAN], [2.0, NAN]])
    (row,) = lr_sensitivity(trials, begun(trials, 50.0), "val_loss", None).to_dict("records")
    assert (row["sensitivity"], row["seeds"]) == (pytest.approx(0.5), 1)
    trials = line_of([[NAN, 1.0], [NAN, None]])
    assert lr_sensitivity(trials, begun(trials, 50.0), "val_loss", None).empty


def test_it_takes_a_loss():
    trials = grid(parabola(), RATES, [1, 2], metric="val_accuracy")
    with pytest.raises(KeyError, match="expected a loss, got 'val_accuracy'"):
        lr_sensitivity(trials, begun(trials, 1.0), "val_accuracy", WIDTH)


def test_many_trials_are_no_matter():
    rates = np.geomspace(1e-3, 1.0, 25)
    rng = np.random.default_rng(0)
    cells = 25 * 20 * 25
    number = np.repeat(np.arange(cells), 8)
    lr, width, batch = rates[number % 25], 2.0 ** (number // 25 % 20), number // 500
    trials = pd.DataFrame(
        {
            "trial": np.arange(cells * 8), "cell": number, "seed": np.tile(np.arange(8), cells),
            LR: lr, WIDTH: width, "batch": batch, "status": "ok",
            "final_val_loss": np.log(lr / 0.03) ** 2 + batch + 0.1 * rng.standard_normal(cells * 8),
        }
    )  # fmt: skip
    lines = lr_lines(trials, "val_loss", WIDTH)
    assert len(lines) == 25 * 20
    assert (lr_sensitivity(trials, begun(trials, 99.0), "val_loss", WIDTH)["seeds"] == 8).all()


def test_the_errors_over_splits_know_that_their_training_examples_overlap():
    """Splits in place of seeds, of two seeds that are alike, have the same estimates and larger errors."""
    bowl = parabola()
    trials = grid(lambda lr, width: bowl(lr, width), np.geomspace(0.1, 10, 5), [1, 2, 3], 5, 0.3)
    split = trials.rename(columns={"seed": "split"})
    split.insert(3, "seed", 0)
    split = pd.concat([split, split.assign(seed=1)]).sort_values(["cell", "split"], ignore_index=True)
    split["trial"] = np.arange(len(split))
    factor = np.sqrt(1.0 + 5 / 3.5)
    one, other = (lr_sensitivity(table, begun(table, 9.0), "val_loss", WIDTH) for table in (trials, split))
    np.testing.assert_allclose(other["sensitivity"], one["sensitivity"])
    np.testing.assert_allclose(other["sem"], factor * one["sem"])
    one, other = (importance(table, "val_loss").effects for table in (trials, split))
    np.testing.assert_allclose(other["share"], one["share"])
    np.testing.assert_allclose(other["sem"], factor * one["sem"])
