"""How a result hangs on the learning rate: against loops, SciPy's t-test, and closed forms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

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
    assert list(lines) == ["by", "lr", "cell", "mean", "sem", "seeds", "diverged", "best", "same"]
    assert lines["by"].tolist() == [8, 8, 16, 16]
    assert lines["lr"].tolist() == [0.1, 0.2, 0.1, 0.2]
    assert lines["cell"].tolist() == [2, 3, 5, 4]
    assert lines["best"].tolist() == [True, False, False, True]
    assert lines["same"].dtype == "boolean"
    ranked = rank_cells(trials, "val_loss").set_index("cell").loc[lines["cell"]]
    for name in ("mean", "sem", "seeds", "diverged"):
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
def test_the_same_are_those_that_the_paired_t_test_does_not_tell_apart(metric):
    sign = -1.0 if metric == "val_accuracy" else 1.0
    bowl, rates = parabola(), np.geomspace(0.1, 10, 9)
    trials = grid(lambda lr, width: sign * bowl(lr, width), rates, [1, 2, 3], 5, 0.5, metric)
    lines = lr_lines(trials, metric, WIDTH)
    values = trials.pivot(index="cell", columns="seed", values=f"final_{metric}")
    told = 0
    for _, line in lines.groupby("by"):
        best = values.loc[line.loc[line["best"], "cell"].iloc[0]]
        for row in line[~line["best"]].to_dict("records"):
            better = "greater" if metric == "val_accuracy" else "less"
            p = ttest_rel(best, values.loc[row["cell"]], alternative=better).pvalue
            # Bonferroni: eight others.
            assert row["same"] == (p > 0.05 / 8)
            told += not row["same"]
    assert lines.loc[lines["best"], "same"].all()
    assert 3 < told < len(lines) - 6


def test_lines_are_held_against_their_own_best_and_by_their_own_number():
    """Two rates are told apart at 0.95, and twenty would not be."""
    two = [({LR: lr, WIDTH: 1}, values) for lr, values in [(0.1, [0, 0, 0]), (0.2, [1.0, 1.2, 0.5])]]
    many = [({LR: lr, WIDTH: 2}, [50, 50, 50]) for lr in np.geomspace(1, 9, 19)]
    many += [({LR: 0.1, WIDTH: 2}, [5, 5, 5]), ({LR: 0.2, WIDTH: 2}, [6.0, 6.2, 5.5])]
    p = ttest_rel([0, 0, 0], [1.0, 1.2, 0.5], alternative="less").pvalue
    assert 0.05 / 20 < p < 0.05
    lines = lr_lines(trials_of(two + many), "val_loss", WIDTH).set_index(["by", "lr"])["same"]
    assert not lines[1, 0.2]
    assert lines[2, 0.2]
    assert lines[2, 0.1]
    assert lines[2].sum() == 2


def test_a_cell_of_which_more_seeds_diverged_is_not_the_same():
    values = [[1.0, 2.0, 3.0], [1.1, 1.9, 3.0], [1.0, NAN, 3.0], [NAN, NAN, NAN]]
    lines = lr_lines(line_of(values), "val_loss", None)
    assert lines["same"].tolist() == [True, True, False, False]
    assert lines["diverged"].tolist() == [0, 0, 1, 3]
    assert lines["best"].tolist() == [True, False, False, False]


def test_of_one_seed_it_is_not_known_which_are_the_same():
    lines = lr_lines(line_of([[3], [1], [NAN], [2]]), None, None)
    assert lines["same"].tolist() == [pd.NA, True, False, pd.NA]


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


def lines_of(same, best=1, sem=0.1, by="x"):
    count = len(same)
    return pd.DataFrame(
        {
            "by": by, "lr": np.geomspace(1, 2.0 ** (count - 1), count), "cell": np.arange(count), "mean": 1.0,
            "sem": sem, "seeds": 3, "diverged": 0, "best": np.arange(count) == best,
            "same": pd.array(same, "boolean"),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("same", "best", "low", "high"),
    [
        ([False, True, False, False], 1, 2, 2),
        ([True, True, True, False], 1, 1, 4),
        ([True, False, True, True], 2, 4, 8),
        ([True, True, False, True], 0, 1, 2),
        ([True, True, False, True], 3, 8, 8),
        ([False, True, pd.NA, False], 1, 2, 4),
        ([True, True, True, True], 2, 1, 8),
    ],
)
def test_the_range_is_the_run_of_neighbors_that_holds_the_best(same, best, low, high):
    lines = lines_of(same, best)
    found = best_lr(lines.sample(frac=1, random_state=1))
    assert list(found) == ["by", "lr", "low", "high", "at_edge", "cell", "mean", "sem"]
    (row,) = found.to_dict("records")
    assert (row["lr"], row["low"], row["high"], row["cell"]) == (2.0**best, low, high, best)
    assert row["at_edge"] == (best in (0, 3))


def test_each_line_has_its_own_range():
    lines = pd.concat([lines_of([True, True, False], 0, by=2), lines_of([True, True, True, False], 1, by=1)])
    found = best_lr(lines)
    assert found["by"].tolist() == [1, 2]
    assert found["low"].tolist() == [1, 1]
    assert found["high"].tolist() == [4, 2]
    assert found["at_edge"].tolist() == [False, True]


def test_of_one_seed_there_is_no_range():
    trials = line_of([[3], [1], [NAN], [2]])
    (row,) = best_lr(lr_lines(trials, None, None)).to_dict("records")
    assert row["lr"] == 0.1
    assert np.isnan([row["low"], row["high"], row["sem"]]).all()
    assert not row["at_edge"]


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


def loop(trials, start, lines):
    """The sensitivity of each line and its seeds, one by one."""
    found = {}
    for value, line in lines.groupby("by"):
        every = []
        for seed in trials["seed"].unique():
            part = trials[trials["seed"].eq(seed)].set_index("cell")
            if not set(line["cell"]) <= set(part.index):
                continue
            part = part.loc[line["cell"]]
            ok = (part["status"] == "ok").to_numpy()
            if not ok.any():
                continue
            first = start[part["trial"]].to_numpy()
            loss = np.where(ok, np.minimum(part["final_val_loss"], first), first)
            at = np.log(line["lr"].to_numpy())
            every.append(np.trapezoid(loss, at) / (at[-1] - at[0]) - loss.min())
        if every:
            sem = np.std(every, ddof=1) / np.sqrt(len(every)) if len(every) > 1 else NAN
            found[value] = (np.mean(every), sem)
    return found


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.5, 7.0, NAN, None]), min_size=36, max_size=36),
    st.lists(st.floats(1.0, 9.0), min_size=36, max_size=36),
)
def test_sensitivities_are_those_of_a_loop(values, start):
    values = np.array(values, object).reshape(12, 3)
    axes = [{LR: lr, WIDTH: width} for width in (1, 2, 3) for lr in (0.1, 0.2, 1.0, 3.0)]
    values[:, 0] = [1.0 if value is None else value for value in values[:, 0]]
    trials = trials_of(list(zip(axes, values, strict=True)))
    first = begun(trials, start[: len(trials)])
    lines = lr_lines(trials, "val_loss", WIDTH)
    found = lr_sensitivity(trials, first, "val_loss", WIDTH).set_index("by")
    expected = loop(trials, first, lines)
    assert found.index.tolist() == list(expected)
    for value, (mean, sem) in expected.items():
        got = found.loc[value, ["sensitivity", "sem"]].astype(float)
        np.testing.assert_allclose(got, [mean, sem], atol=1e-12)
    assert (found["sensitivity"] >= -1e-12).all()
    # And no warning, whatever there is.
    best = best_lr(lines)
    assert (best["low"].isna() | (best["low"] <= best["lr"])).all()
    assert (best["high"].isna() | (best["high"] >= best["lr"])).all()


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
