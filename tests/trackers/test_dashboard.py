"""The panels of a dashboard follow from the sweep's tables, whatever kind of sweep it is."""

from itertools import chain

import numpy as np
import pytest
from dashboard_helpers import made_up

from vsweep.analysis.axis_scale import heatmap_pairs, is_log_spaced
from vsweep.trackers.wandb.dashboard import dashboard_sections, wr
from vsweep.trackers.wandb.options import LEVELS, plan_runs, tracker_options
from vsweep.trackers.wandb.runs import config_path, curves_key, heatmap_key, sweep_id


@pytest.mark.parametrize(
    "values",
    [
        [0.01, 0.1, 1.0],
        [8, 16, 32, 64],
        [0.01, 0.03, 0.1, 0.3, 1],
        [0.5, 1.0, 2.0],
        [1, 10],
        [1e-30, 1.0, 1e30],
        [np.nan, 8.0, 16.0, None, 32.0],
        np.logspace(-3, 0, 11),
        [np.int64(2), np.int64(20)],
    ],
)
def test_what_is_on_a_log_scale(values):
    assert is_log_spaced(values)
    assert is_log_spaced(list(values)[::-1])


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [1.0, 1.0],
        [1, 2, 3, 4],
        [16, 32],
        [0.9, 0.95, 0.99],
        [0.0, 0.1, 1.0],
        [-1.0, 10.0, 100.0],
        [True, False],
        ["1", "10"],
        ["he_normal", 1.0, 10.0],
        [None, None],
        np.linspace(1, 100, 12),
        [1.0, np.inf],
    ],
)
def test_what_is_not_on_a_log_scale(values):
    assert not is_log_spaced(values)


def panels(sweep, level="trial"):
    """Return all panels of a dashboard by their descriptions."""
    return {line: panel for part in dashboard_sections(sweep, level).values() for line, panel in part.items()}


def of(sweep, kind, level="trial"):
    return [panel for panel in panels(sweep, level).values() if isinstance(panel, kind)]


def test_a_panel_of_each_metric_for_each_axis_that_varies():
    sweep = made_up(
        {"model.width": [8, 16, 32], "model.init": ["a", "b"], "steps": [7], "optimizer.lr": [0.1, 1.0]}
    )
    curves = of(sweep, wr.LinePlot)
    names = ["width", "init", "lr"]
    assert [panel.title for panel in curves] == [
        f"{metric} by {name}" for metric in ("val_accuracy", "val_loss") for name in names
    ]
    # A deviation below the mean may be below zero, where a log axis ends.
    assert {(panel.y[0], panel.log_y, panel.groupby_rangefunc) for panel in curves} == {
        ("val_accuracy", False, "stddev"),
        ("val_loss", True, "minmax"),
    }
    (parallel,) = of(sweep, wr.ParallelCoordinatesPlot)
    assert [(column.metric.name, column.log) for column in parallel.columns] == [
        ("model.width", True),
        ("model.init", False),
        ("optimizer.lr", True),
        ("final_val_accuracy", False),
    ]
    assert [panel.with_respect_to for panel in of(sweep, wr.ParameterImportancePlot)] == [
        "final_val_accuracy"
    ]


def test_the_final_loss_against_the_learning_rate_by_width():
    sweep = made_up({"model.width": [8, 16, 32], "optimizer.lr": [0.01, 0.1, 1.0]})
    scatter = {line: panel for line, panel in panels(sweep).items() if isinstance(panel, wr.ScatterPlot)}
    flat, by_width = "final val_loss against lr", "final val_loss against lr and width"
    assert list(scatter) == [f"{flat}, log x and y", f"{by_width}, log x and y and z"]
    _, by_width = scatter.values()
    assert (by_width.x.name, by_width.y.name, by_width.z.name) == (
        "optimizer.lr",
        "final_val_loss",
        "model.width",
    )
    (alone,) = of(made_up({"model.width": [8, 16, 32]}), wr.ScatterPlot)
    assert (alone.x.name, alone.z) == ("model.width", None)
    assert of(made_up({"model.init": ["a", "b"]}), wr.ScatterPlot) == []


def test_a_sweep_without_axes_has_its_mean_curves_and_no_panel_over_axes():
    shown = dashboard_sections(made_up({}), "trial")
    assert list(shown) == ["Curves", "Overview"]
    assert [panel.groupby for panel in shown["Curves"].values()] == [None, None]
    assert list(shown["Overview"]) == ["table of cells", "table of trials"]


def test_a_function_has_its_loss_and_its_parameters_and_what_is_negative_is_on_no_log_axis():
    sweep = made_up({"model.x": [-1.0, 0.0, 1.0]}, ("train_loss", "param.x", "param.y"), seeds=1)
    sweep.curves["train_loss"] -= 3.0
    shown = dashboard_sections(sweep, "trial")
    assert [panel.title for panel in shown["Curves"].values()] == ["train_loss by x"]
    assert [panel.title for panel in shown["Parameters"].values()] == ["param.x by x", "param.y by x"]
    assert not any(panel.log_y for panel in chain(shown["Curves"].values(), shown["Parameters"].values()))


def test_a_metric_that_no_trial_has_is_in_no_panel():
    sweep = made_up({"optimizer.lr": [0.1, 1.0]})
    for frame in (sweep.trials, sweep.curves):
        frame[[name for name in frame if "val" in name]] = np.nan
    words = "\n".join(panels(sweep))
    assert "train_loss" in words
    assert "val_" not in words


def test_many_axes_have_some_of_their_pairs_with_the_learning_rate_first():
    sweep = made_up({f"model.f{i}": [0, 1] for i in range(7)} | {"optimizer.lr": [0.1, 1.0]}, seeds=1)
    pairs = heatmap_pairs(sweep.trials, sweep.metric)
    assert len(pairs) == len(set(pairs)) == 15
    assert {x for x, _ in pairs[:7]} == {"optimizer.lr"}
    heat, curves = of(sweep, wr.MediaBrowser)
    assert heat.media_keys == [heatmap_key(x, y) for x, y in pairs]
    assert len(curves.media_keys) == 8
    assert len(of(sweep, wr.LinePlot)) == 16


def test_names_of_what_the_overview_logs():
    assert heatmap_key("optimizer.lr", "model.width") == "heatmap/optimizer.lr by model.width"
    assert curves_key("optimizer.lr") == "curves/optimizer.lr"


def test_runs_of_cells_have_their_spread_over_seeds_where_a_line_is_one_run():
    lr = {"optimizer.lr": np.linspace(0.1, 1.0, 20)}
    (first, _) = of(made_up(lr), wr.LinePlot, "cell")
    assert first.y == ["val_accuracy", "val_accuracy_min", "val_accuracy_max"]
    assert first.max_runs_to_show == 3 * 20
    others = [(made_up(lr), "trial"), (made_up(lr, seeds=1), "cell")]
    others.append((made_up({**lr, "model.width": [2, 3]}), "cell"))
    for sweep, level in others:
        panel = of(sweep, wr.LinePlot, level)[0]
        assert (panel.y, panel.max_runs_to_show) == (["val_accuracy"], 20)


def test_without_runs_the_overview_is_all_there_is():
    assert list(dashboard_sections(made_up({"optimizer.lr": [0.1, 1.0]}), "sweep")) == ["Overview"]


@pytest.mark.parametrize(
    ("steps", "log"),
    [((0, 5, 10, 15), False), ((0, 10, 100, 1000), True), (range(2001), True), ((0, 300), False)],
)
def test_steps_that_span_decades_are_on_a_log_axis(steps, log):
    assert {panel.log_x for panel in of(made_up({}, steps=steps), wr.LinePlot)} == {log}


def test_a_whole_group_is_in_the_config_by_its_name():
    sweep = made_up({"model": ["mlp", "logistic"]}, config={"model": {"name": "mlp"}, "steps": 3})
    assert config_path(sweep, "model") == "model.name"
    assert config_path(sweep, "steps") == "steps"
    assert of(sweep, wr.LinePlot)[0].groupby.name == "model.name"


@pytest.mark.parametrize(
    ("tracker", "level"),
    [
        ({"wandb": {"level": "trial"}}, "trial"),
        ({"wandb": {"level": "no"}}, "cell"),
        ({"wandb": {"level": "auto"}}, "cell"),
        ({}, "cell"),
        (None, "cell"),
    ],
)
def test_the_level_is_what_the_config_says_or_as_many_trials_have_it(tracker, level):
    assert plan_runs(tracker_options({"tracker": tracker})["level"], 400, 100).level == level
    assert level in LEVELS


def test_a_sweep_of_before_has_an_id_of_its_name_and_its_start():
    one, other = ({"name": "digits", "started": started} for started in ("2026-11-25", "2026-11-26"))
    assert sweep_id(one) == sweep_id(dict(one)) != sweep_id(other)
    assert set(sweep_id(one)) <= set("0123456789abcdef")
    assert len(sweep_id(one)) == 8
    assert sweep_id({**one, "id": "0123abcd"}) == "0123abcd"


def test_of_a_real_sweep_only_what_its_tables_hold_is_asked_for(small):
    for panel in of(small, wr.LinePlot):
        assert set(panel.y) <= set(small.curves)
    for panel in of(small, wr.LinePlot, "cell"):
        assert {name.removesuffix("_min").removesuffix("_max") for name in panel.y} <= set(small.curves)
    fields = [column.metric for panel in of(small, wr.ParallelCoordinatesPlot) for column in panel.columns]
    fields += [each for panel in of(small, wr.ScatterPlot) for each in (panel.x, panel.y, panel.z) if each]
    # An axis over a whole group.
    assert {each.name for each in fields} <= {*small.trials, "model.name"}
    assert {panel.with_respect_to for panel in of(small, wr.ParameterImportancePlot)} <= set(small.trials)
