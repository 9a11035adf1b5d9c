"""W&B runs made offline and read back with W&B's own reader equal the store."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vsweep
from vsweep.trackers import wandb as tracker

WORDS = [
    "data=iris",
    "model=logistic",
    "grid.optimizer.lr=[0.1,1.0,1.0e30]",
    "grid.model.init_scale=[1.0,2.0]",
    "model.init=normal",
    "seeds=3",
    "steps=7",
    "record_every=2",
]


def read_runs(directory: Path) -> list[dict]:
    """Name, group, config, rows and summary of every offline run, by `wandb leet inspect`."""
    runs = []
    for file in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(file)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        run: dict = {"rows": [], "summary": {}}
        for record in map(json.loads, printed.splitlines()):
            if record["type"] == "run":
                said = record["run"]
                run |= {"name": said["display_name"], "group": said["run_group"]}
                run["config"] = said["config"]["update"]
            if record["type"] == "history":
                run["rows"].append(record["history"]["item"])
            if record["type"] == "summary":
                run["summary"] |= record["summary"]["update"]
        runs.append(run)
    return runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wandb") / "sweep"
    words = [*WORDS, "tracker.wandb.mode=offline", f"dir='{directory}'"]
    return vsweep.sweep(words, quiet=True)


@pytest.fixture(scope="module")
def runs(trained):
    return {run["name"]: run for run in read_runs(trained.directory)}


def test_a_run_per_cell_in_one_group(trained, runs):
    assert len(runs) == trained.trials["cell"].nunique() == 6
    assert len({run["group"] for run in runs.values()}) == 1


def test_rows_are_the_mean_and_spread_of_the_stores_curves(trained, runs):
    ok = trained.trials.query("status == 'ok'")
    assert set(ok["optimizer.lr"]) == {0.1, 1.0}
    for (lr, scale), trials in ok.groupby(["optimizer.lr", "model.init_scale"]):
        rows = runs[f"lr={lr:g} init_scale={scale:g}"]["rows"]
        assert [row["_step"] for row in rows] == [0, 2, 4, 6, 7]
        for row in rows:
            curves = trained.curves[trained.curves["trial"].isin(trials["trial"])]
            here = curves[curves["step"] == row["_step"]]
            assert len(here) == 3
            for metric in ("train_loss", "val_loss", "val_accuracy", "grad_norm", "param_norm"):
                values = here[metric].to_numpy(np.float64)
                assert row[metric] == pytest.approx(values.mean(), rel=1e-12)
                assert row[f"{metric}_std"] == pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-12)


def test_config_is_the_cells_and_summary_counts_seeds(runs):
    run = runs["lr=1 init_scale=2"]
    assert run["config"]["optimizer"] == {"name": "sgd", "lr": 1.0, "weight_decay": 0.0}
    assert run["config"]["model"] == {
        "name": "logistic",
        "init": "normal",
        "init_scale": 2.0,
        "bias_init": "zeros",
        "start": None,
    }
    assert run["config"]["data"]["name"] == "iris"
    assert (run["summary"]["seeds"], run["summary"]["diverged"]) == (3, 0)


def test_a_cell_whose_seeds_all_diverged_has_its_curve_without_nans(runs):
    run = runs["lr=1e+30 init_scale=1"]
    assert run["summary"]["diverged"] == 3
    assert run["rows"][0]["train_loss"] > 0
    numbers = [v for row in run["rows"] for v in row.values()]
    assert all(isinstance(v, int | float) and v == v for v in numbers)


def test_long_curves_are_thinned_with_both_ends_kept():
    import pandas as pd

    thin = tracker._thinned(pd.DataFrame({"step": np.arange(5001)}))["step"]
    assert len(thin) == 200
    assert (thin.iloc[0], thin.iloc[-1]) == (0, 5000)
    assert thin.is_monotonic_increasing


def test_auto_is_offline_without_a_login(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert not tracker._logged_in()


def test_a_failing_wandb_loses_no_curve(tmp_path, monkeypatch, capsys):
    import wandb

    def fail(**_):
        raise wandb.errors.CommError("server is down")

    monkeypatch.setattr(wandb, "init", fail)
    words = [*WORDS, "tracker.wandb.mode=offline", f"dir='{tmp_path / 'sweep'}'"]
    sweep = vsweep.sweep(words)
    assert len(sweep.trials) == 18
    assert "6 of 6 runs failed (server is down)" in capsys.readouterr().err


def test_disabled_makes_no_runs(tmp_path):
    words = [*WORDS, "tracker.wandb.mode=disabled", f"dir='{tmp_path / 'sweep'}'"]
    assert not (vsweep.sweep(words, quiet=True).directory / "wandb").exists()
