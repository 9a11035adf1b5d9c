"""A dashboard is sent to W&B's server in this form."""

import json
import re
import sys
from itertools import chain

import pytest
from dashboard_helpers import made_up

from vsweep.trackers.wandb import worker
from vsweep.trackers.wandb.dashboard import build_workspace, dashboard_sections, describe_panels
from vsweep.trackers.wandb.options import Options

KINDS = {
    "LinePlot": "Run History Line Plot",
    "ParallelCoordinatesPlot": "Parallel Coordinates Plot",
    "ParameterImportancePlot": "Parameter Importance",
    "ScatterPlot": "Scatter Plot",
    "MediaBrowser": "Media Browser",
    "WeavePanelSummaryTable": "Weave",
}


def grid():
    return made_up({"model.width": [8, 16, 32], "optimizer.lr": [0.01, 0.1, 1.0], "model.init": ["a", "b"]})


def spec(sweep, level="trial"):
    """Return the view's spec as it is sent."""
    view = build_workspace(sweep, level, "someone", "trained")._to_model()
    return json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))


def shown(sweep, level="trial"):
    """Return the panels of each section as they are sent."""
    return {
        each["name"]: each["panels"] for each in spec(sweep, level)["section"]["panelBankConfig"]["sections"]
    }


def runs(sweep, level="trial"):
    (only,) = spec(sweep, level)["section"]["runSets"]
    return only


SWEEPS = {
    "grid": grid,
    "function": lambda: made_up({"model.x": [-1.0, 0.0, 1.0]}, ("train_loss", "param.x"), seeds=1),
    "no axis": lambda: made_up({}),
    "many axes": lambda: made_up({f"data.f{i}": [0, 1] for i in range(7)}, seeds=1),
}


@pytest.mark.parametrize("level", ["trial", "cell", "sweep"])
@pytest.mark.parametrize("name", SWEEPS)
def test_every_panel_is_there_and_in_the_list_in_words(name, level):
    sweep = SWEEPS[name]()
    wanted, sent = dashboard_sections(sweep, level), shown(sweep, level)
    assert {
        name: [KINDS[type(panel).__name__] for panel in made.values()] for name, made in wanted.items()
    } == {name: [panel["viewType"] for panel in made] for name, made in sent.items()}
    assert len({panel["__id__"] for panel in chain(*sent.values())}) == len(describe_panels(sweep, level))
    lines = [f"{name}: {description}" for name, made in wanted.items() for description in made]
    assert describe_panels(sweep, level) == lines
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("level", ["trial", "cell", "sweep"])
@pytest.mark.parametrize("name", SWEEPS)
def test_the_spec_reads_back_as_the_same_workspace(name, level):
    from wandb_workspaces.workspaces import Workspace
    from wandb_workspaces.workspaces.internal import View, WorkspaceViewspec

    made = build_workspace(SWEEPS[name](), level, "someone", "trained")
    sent = made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    read = WorkspaceViewspec.model_validate_json(sent)
    view = View(entity="someone", project="trained", display_name=made.name, name="", id="", spec=read)
    again = Workspace._from_model(view)
    assert again._to_model().spec.model_dump_json(by_alias=True, exclude_none=True) == sent
    assert again.name == "made up 0123abcd"


def test_curves_are_grouped_by_the_nested_config_with_mean_and_spread():
    configs = [panel["config"] for panel in shown(grid())["Curves"]]
    assert [(each["metrics"], each["groupBy"], each["groupArea"]) for each in configs] == [
        ([metric], path, spread)
        for metric, spread in (("val_accuracy", "stddev"), ("val_loss", "minmax"))
        # W&B keeps the values of a run's config under the key `value`.
        for path in ("model.value.width", "optimizer.value.lr", "model.value.init")
    ]
    for config in configs:
        assert (config["xAxis"], config["groupAgg"], config["aggregate"]) == ("_step", "mean", True)
        assert config["xLogScale"] is False
        assert config["yLogScale"] is (config["metrics"] == ["val_loss"])
    many = made_up({"optimizer.lr": [0.1 + i for i in range(40)]}, seeds=1)
    assert {panel["config"]["limit"] for panel in shown(many)["Curves"]} == {40}


def test_without_axes_all_runs_are_one_group():
    for panel in shown(made_up({}))["Curves"]:
        assert panel["config"]["aggregate"] is True
        assert "groupBy" not in panel["config"]


def test_parallel_coordinates_and_importance_are_of_the_config_and_the_summary():
    parallel, importance, *_ = shown(grid())["Axes"]
    assert [
        (each["accessor"], each["displayName"], each["log"]) for each in parallel["config"]["columns"]
    ] == [
        ("config:model.value.width", "width", True),
        ("config:optimizer.value.lr", "lr", True),
        ("config:model.value.init", "init", False),
        ("summary:final_val_accuracy", "final val_accuracy", False),
    ]
    assert importance["config"]["targetKey"] == "final_val_accuracy"


def test_the_final_loss_is_against_the_learning_rate_on_log_axes_and_by_width():
    flat, by_width = (panel["config"] for panel in shown(grid())["Axes"][2:])
    for config in (flat, by_width):
        assert (config["xAxis"], config["yAxis"]) == ("config:optimizer.value.lr", "summary:final_val_loss")
        assert config["xAxisLogScale"] is config["yAxisLogScale"] is True
    assert "zAxis" not in flat
    assert (by_width["zAxis"], by_width["zAxisLogScale"]) == ("config:model.value.width", True)


def test_the_overview_is_its_pictures_and_its_tables():
    heat, curves, *tables = shown(grid(), "sweep")["Overview"]
    assert heat["config"]["mediaKeys"] == [
        "heatmap/optimizer.lr by model.width",
        "heatmap/optimizer.lr by model.init",
        "heatmap/model.width by model.init",
    ]
    assert curves["config"]["mediaKeys"] == ["curves/model.width", "curves/optimizer.lr", "curves/model.init"]
    picked = [table["config"]["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] for table in tables]
    assert picked == ["cells", "trials"]


@pytest.mark.parametrize(
    ("level", "kinds"),
    [("trial", ["trial", "overview"]), ("cell", ["cell", "overview"]), ("sweep", ["overview"])],
)
def test_only_runs_of_this_sweep_and_of_its_level_are_in_it(level, kinds):
    found = runs(grid(), level)
    tag, kind = found["filters"]["filters"]
    assert found["filters"]["filterFormat"] == "filterV2"
    assert (tag["key"], tag["op"], tag["value"]) == ({"section": "run", "name": "tags"}, "IN", ["0123abcd"])
    assert (kind["key"], kind["op"]) == ({"section": "run", "name": "jobType"}, "IN")
    assert (kind["connector"], kind["value"]) == ("AND", kinds)
    assert found["grouping"] == ([{"section": "run", "name": "group"}] if level == "trial" else [])


def test_runs_of_one_seed_are_not_grouped():
    assert runs(made_up({"model.width": [8, 16]}, seeds=1))["grouping"] == []


def test_cells_of_one_group_are_told_apart_by_their_config():
    view = build_workspace(grid(), "trial", "someone", "trained", one_group=True)._to_model()
    (only,) = json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))["section"]["runSets"]
    assert only["grouping"] == [{"section": "config", "name": "cell.value"}]


def test_the_best_runs_are_on_top():
    (key,) = runs(grid())["sort"]["keys"]
    assert key == {"key": {"section": "summary", "name": "final_val_accuracy"}, "ascending": False}
    (key,) = runs(SWEEPS["function"]())["sort"]["keys"]
    assert key == {"key": {"section": "summary", "name": "final_train_loss"}, "ascending": True}
    assert runs(grid())["runFeed"]["columnOrder"] == ["run:displayName", "summary:final_val_accuracy"]


def test_no_panel_is_made_that_was_not_asked_for():
    assert spec(grid())["section"]["settings"]["shouldAutoGeneratePanels"] is False


def test_a_name_that_w_and_b_would_refuse_is_told_without_those_characters():
    sweep = made_up({})
    sweep.plan["name"] = "lr+width=🚀 é"
    assert build_workspace(sweep, "cell", "e", "p").name == "lr-width-- é 0123abcd"


def test_a_real_sweep(small):
    assert list(shown(small)) == ["Curves", "Axes", "Overview"]
    assert shown(small)["Curves"][0]["config"]["groupBy"] == "model.value.name"


def test_without_the_library_one_sentence_says_so(monkeypatch, small):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    for module in ("dashboard", "workspace"):
        monkeypatch.delitem(sys.modules, f"vsweep.trackers.wandb.{module}", raising=False)
    told = {}
    worker.perform(worker.TASKS["dashboard"], small.directory, Options(), None, told.update)
    assert re.fullmatch("wandb-workspaces cannot be imported .*: pip install wandb-workspaces", told["why"])
