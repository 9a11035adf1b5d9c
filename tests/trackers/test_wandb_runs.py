"""The content of W&B runs equals that of the store, computed by other means."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import vsweep
from vsweep.analysis.convergence import aggregate_seeds, downsample
from vsweep.config.groups import CONF
from vsweep.trackers.wandb.options import Options, describe_runs, estimate_seconds, plan_runs, tracker_options
from vsweep.trackers.wandb.runs import Runs, cell_config
from vsweep.trackers.wandb.upload_log import UploadLog


@given(st.integers(1, 5000), st.lists(st.integers(0, 4999), max_size=4), st.integers(2, 300))
def test_a_thinned_curve_keeps_its_ends_and_what_is_asked_for(rows, keep, most):
    keep = [place % rows for place in keep]
    places = downsample(rows, keep, most)
    assert len(places) <= max(most, 1)
    assert (np.diff(places) > 0).all()
    assert places[0] == 0
    assert places[-1] == rows - 1
    kept = [place for place in dict.fromkeys(keep) if place not in (0, rows - 1)]
    assert set(kept[: most - 2]) <= set(places.tolist())


def test_a_thinned_curve_is_dense_where_it_begins():
    places = downsample(5001, [], 200)
    assert 190 <= len(places) <= 200
    assert places[:20].tolist() == list(range(20))
    # The steps are even on a logarithmic scale where rounding no longer matters.
    gaps = np.diff(np.log(places[places > 500] + 1.0))
    assert gaps.max() / gaps.min() < 1.5


def test_a_short_curve_is_left_as_it_is():
    assert downsample(200, [7], 200).tolist() == list(range(200))


@pytest.mark.parametrize(
    ("trials", "cells", "level", "runs"),
    [(300, 10, "trial", 301), (301, 20, "cell", 21), (100_000, 500, "cell", 501), (100_000, 501, "sweep", 1)],
)
def test_auto_goes_by_how_many_there_are(trials, cells, level, runs):
    assert plan_runs("auto", trials, cells) == (level, runs)
    assert plan_runs("trial", trials, cells) == ("trial", trials + 1)


def test_the_plan_says_how_many_runs_and_how_long():
    line = describe_runs(Options(level="cell")._asdict(), 1600, 200, 61)
    assert line.startswith("W&B: 201 runs, one per cell and an overview: about ")
    assert " offline or " in line
    assert (
        estimate_seconds(201, 61, "offline")
        < estimate_seconds(201, 200, "offline")
        < estimate_seconds(201, 200, "online")
    )
    options = Options(mode="offline", level="sweep")._asdict()
    assert describe_runs(options, 10, 5, 61).startswith("W&B: an overview run: about 5 s offline")


def test_the_defaults_are_those_of_the_config():
    assert tracker_options({}) == yaml.safe_load((CONF / "tracker" / "wandb.yaml").read_text())["wandb"]


def test_a_directory_of_an_earlier_mode_is_online():
    assert tracker_options({"tracker": {"wandb": {"mode": "shared", "rows": 3}}}) == {
        **Options(mode="online", rows=3)._asdict()
    }


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A sweep with more rows than are shown, two models, and an lr with which all trials diverge."""
    words = [
        "data=iris",
        "tracker=none",
        "grid.model.name=[logistic,mlp]",
        "grid.model.width=[2,3]",
        "grid.optimizer.lr=[0.1,1e6]",
        "seeds=[5,3,9]",
        "steps=40",
        "record_every=1",
        "verify=false",
        f"dir='{tmp_path_factory.mktemp('long') / 'kept'}'",
    ]
    return vsweep.sweep(words, quiet=True)


def made(sweep, level, rows=12):
    runs = Runs(sweep.directory, level)
    return {runs.ids[run.id]: run for run in runs.build(list(runs.ids.values()), rows)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A sweep of one seed and 40 draws, of which two differ in a late digit, and two in null and a value."""
    rates = [*(f"0.{i:03}" for i in range(1, 38)), "0.10001", "0.100012", "0.002"]
    words = [f"draws.optimizer.lr=[{','.join(rates)}]", "data=iris"]
    words += [f"draws.data.batch_size=[{','.join(['null'] * 39 + ['16'])}]"]
    words += ["model=logistic", "steps=2", "verify=false", "tracker=none"]
    return vsweep.sweep([*words, f"dir='{tmp_path_factory.mktemp('drawn') / 'kept'}'"], quiet=True)


@pytest.fixture(scope="module")
def by_trial(long):
    return made(long, "trial")


@pytest.fixture(scope="module")
def by_cell(long):
    return made(long, "cell")


def test_a_run_per_trial_has_its_rows_as_they_are_stored(long, by_trial):
    assert set(by_trial) == set(long.trials["trial"])
    stored = long.curves.set_index(["trial", "step"])
    for trial, run in by_trial.items():
        assert len(run.rows) <= 12
        steps = [step for step, _ in run.rows]
        assert steps[0] == 0
        assert steps[-1] == 40
        for step, values in run.rows:
            row = stored.loc[trial, step]
            finite = {name: float(v) for name, v in row.items() if math.isfinite(v)}
            assert values == finite


def test_the_best_row_and_that_of_divergence_are_shown(long, by_trial):
    for row in long.trials.to_dict("records"):
        run = by_trial[row["trial"]]
        curve = long.curves[long.curves["trial"] == row["trial"]]
        steps = [step for step, _ in run.rows]
        if row["status"] == "diverged":
            assert row["diverged_at"] in steps
        best = curve.loc[curve["val_accuracy"].idxmax(), "step"]
        assert best in steps


def test_summaries_are_the_tables_and_have_nothing_that_is_not_finite(long, by_trial, by_cell):
    for row in long.trials.to_dict("records"):
        summary = by_trial[row["trial"]].summary
        assert summary["status"] == row["status"]
        assert ("diverged_at" in summary) == (row["status"] == "diverged")
        for name in ("final_val_accuracy", "best_val_loss", "final_grad_norm"):
            finite = math.isfinite(row[name])
            assert summary.get(name) == (row[name] if finite else None)
    for run in [*by_trial.values(), *by_cell.values()]:
        assert "NaN" not in json.dumps(run._asdict())
        assert "Infinity" not in json.dumps(run._asdict())


def test_a_config_has_every_field_that_its_cell_has(long, by_trial):
    trials = long.trials.set_index("trial")
    for number, run in by_trial.items():
        row, config = trials.loc[number], run.config
        assert config["optimizer"]["lr"] == row["optimizer.lr"]
        assert config["model"]["name"] == row["model"]
        assert config["model"].get("width") == (None if row["model"] == "logistic" else row["model.width"])
        assert (config["seed"], config["trial"], config["cell"]) == (row["seed"], number, row["cell"])
        assert config["steps"] == 40
        assert config["loss"] == {"name": "auto"}


def test_configs_are_those_that_were_trained(long):
    from vsweep.commands.directory import recorded_spec
    from vsweep.config.validate import as_dict

    study = recorded_spec(long.directory)
    axes = [axis.path for axis in study.grid.axes]
    for row in long.trials.drop_duplicates("cell").to_dict("records"):
        plain = json.loads(json.dumps(as_dict(study.cell(row["cell"]))))
        assert cell_config(long.plan, row, axes) == plain


def test_names_groups_tags_and_notes(long, by_trial, by_cell):
    uid = long.plan["id"]
    run = next(run for run in by_trial.values() if run.config["model"]["name"] == "mlp")
    assert run.name == "model=mlp width=2 lr=0.1 seed=5"
    assert run.group == f"model=mlp width=2 lr=0.1 [{uid}]"
    assert run.job_type == "trial"
    assert {uid, "iris", "mlp", "sgd"} <= set(run.tags)
    assert run.notes.startswith(long.plan["command"])
    seeds = pd.Series([r.group for r in by_trial.values()]).value_counts()
    assert (seeds == 3).all(), "W&B's own mean over a group is that over seeds"
    groups = {run.group for run in by_cell.values()}
    assert len(groups) == 1
    names = [run.name for run in by_trial.values()]
    assert len(set(names)) == len(names)
    assert all(len(text) <= 128 for r in by_trial.values() for text in (r.name, r.group))


def test_notes_have_the_first_of_many_draws(drawn):
    runs = Runs(drawn.directory, "trial")
    for run in (*runs.build([7], 200), runs.overview()):
        assert "'draws.optimizer.lr=[0.001,0.002,0.003,…]' data=iris" in run.notes
    assert len(runs.overview().config["draws"]["optimizer"]["lr"]) == 40


def test_a_null_and_a_value_on_an_axis_are_in_the_config_and_the_name(drawn):
    runs = made(drawn, "trial")
    assert [run.config["data"]["batch_size"] for run in runs.values()] == [None] * 39 + [16]
    assert (runs[1].group.partition(" [")[0], runs[39].group.partition(" [")[0]) == (
        "lr=0.002",
        "lr=0.002 batch_size=16",
    )


def test_cells_that_differ_in_a_late_digit_are_no_seeds_of_one(drawn):
    groups = {run.group.partition(" [")[0] for run in made(drawn, "trial").values()}
    assert len(groups) == 40
    assert groups > {"lr=0.001", "lr=0.10001", "lr=0.100012"}
    assert {run.name for run in made(drawn, "cell").values()} == groups


def test_the_overview_is_one_whatever_else_is_shown(long):
    assert len({Runs(long.directory, level).overview_id for level in ("trial", "cell", "sweep")}) == 1


def test_a_run_per_cell_is_the_spread_over_the_seeds_that_did_not_diverge(long, by_cell):
    trials = long.trials
    for cell, run in by_cell.items():
        mine = trials[trials["cell"] == cell]
        ok = mine[mine["status"] == "ok"]
        assert (run.summary["seeds"], run.summary["diverged"]) == (3, 3 - len(ok))
        shown = ok if len(ok) else mine
        for step, values in run.rows:
            here = long.curves[(long.curves["step"] == step) & long.curves["trial"].isin(shown["trial"])]
            assert values["count"] == len(shown)
            assert values["diverged"] == (mine["diverged_at"].fillna(10**9) <= step).sum()
            numbers = [float(v) for v in here["val_loss"] if math.isfinite(v)]
            if numbers:
                assert values["val_loss"] == pytest.approx(np.mean(numbers), rel=1e-12)
                assert values["val_loss_std"] == pytest.approx(np.std(numbers, ddof=1), rel=1e-9, abs=1e-12)
                assert values["val_loss_min"] == min(numbers)
                assert values["val_loss_max"] == max(numbers)
        if len(ok):
            finals = ok["final_val_accuracy"].to_numpy(float)
            assert run.summary["final_val_accuracy"] == pytest.approx(finals.mean(), rel=1e-12)
            assert run.summary["final_val_accuracy_std"] == pytest.approx(finals.std(ddof=1), abs=1e-12)
            assert run.summary["status"] == "ok"


def test_one_diverged_seed_of_several_is_counted_and_left_out():
    trials = pd.DataFrame(
        {"trial": [0, 1, 2], "cell": 0, "status": ["ok", "diverged", "ok"], "diverged_at": [pd.NA, 2, pd.NA]}
    ).astype({"diverged_at": "Int64"})
    curves = pd.DataFrame(
        {
            "trial": [0, 0, 1, 1, 2, 2],
            "step": [0, 2] * 3,
            "loss": np.float32([1.0, 2.0, 9.0, np.inf, 3.0, 5.0]),
        }
    )
    table = aggregate_seeds(trials, curves).loc[0]
    assert table["loss"].tolist() == [2.0, 3.5]
    assert table["loss_min"].tolist() == [1.0, 2.0]
    assert table["loss_max"].tolist() == [3.0, 5.0]
    assert table["loss_std"].tolist() == pytest.approx([math.sqrt(2.0), 1.5 * math.sqrt(2.0)])
    assert table["count"].tolist() == [2, 2]
    assert table["diverged"].tolist() == [0, 1]


def test_ids_are_the_sweeps_own_and_stay(long, by_trial, by_cell):
    again = Runs(long.directory, "trial")
    assert set(again.ids) == {run.id for run in by_trial.values()}
    assert not {run.id for run in by_cell.values()} & set(again.ids)
    assert again.overview_id not in again.ids
    assert again.complete


def test_the_overview_says_what_is_best(long):
    run = Runs(long.directory, "sweep").overview()
    best = long.best()
    assert Runs(long.directory, "sweep").ids == {}
    assert run.job_type == "overview"
    assert run.summary["best_val_accuracy"] == best["mean"]
    assert run.summary["trial_count"] == len(long.trials)
    cells = long.cells()
    assert run.summary.get(f"best_{long.metric}_error", np.nan) == pytest.approx(
        cells["error"][0], nan_ok=True
    )
    several = cells["p"].notna().any()
    assert run.summary.get("tied_count") == (max(1, cells["tied"].sum()) if several else None)
    assert run.config["grid"]["optimizer"]["lr"] == [0.1, 1e6]


def test_the_outbox_outlives_a_torn_line(tmp_path):
    outbox = UploadLog(tmp_path)
    outbox.add({"a": "trial", "b": "trial"}, "offline")
    with (tmp_path / "wandb" / "runs.jsonl").open("a") as file:
        file.write('{"sweep": "of an earlier version", "to": "server e/p"}\n{"id": "c", "lev')
    again = UploadLog(tmp_path)
    again.add({"d": "cell"}, "offline")
    again.delete(["a"], "offline")
    last = UploadLog(tmp_path)
    assert last.ids("offline") == {"b": "trial", "d": "cell"}
    assert last.ids("server e/p") == {}
    assert [last.best_place(ids) for ids in ("abd", "a", "")] == [("offline", 2), ("", 0), ("", 0)]


def test_of_one_seed_a_trial_and_its_cell_are_two_runs(drawn):
    trials, cells = (set(Runs(drawn.directory, level).ids) for level in ("trial", "cell"))
    assert len(trials) == len(cells) == 40
    assert not trials & cells


def test_a_cell_has_a_run_once_all_its_seeds_are_there(long):
    runs = Runs(long.directory, "cell")
    runs.sweep.trials = long.trials.iloc[:-1]
    cells = long.trials["cell"].drop_duplicates().tolist()
    assert list(runs.ids.values()) == cells[:-1]
    assert not runs.complete


def test_the_row_of_the_best_is_that_of_the_metric_that_ranks(tmp_path):
    words = ["data=iris", "model=mlp", "model.width=4", "optimizer.lr=1.0", "steps=60", "record_every=1"]
    words += ["metric=train_accuracy", "tracker=none", "verify=false", f"dir={tmp_path / 'kept'}"]
    curves = vsweep.sweep(words, quiet=True).curves.set_index("step")
    best, other = (int(curves[f"{part}_accuracy"].idxmax()) for part in ("train", "val"))
    assert 0 < best != other
    (run,) = Runs(tmp_path / "kept", "trial").build([0], 3)
    assert [step for step, _ in run.rows] == [0, best, 60]
