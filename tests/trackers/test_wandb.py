"""W&B runs made offline, and read back with W&B's own reader, equal the store."""

import gc
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ssl import SSLCertVerificationError
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import yaml
from store_helpers import forge

import vsweep
from vsweep.trackers.wandb import client, server, upload
from vsweep.trackers.wandb.options import Options, tracker_options
from vsweep.trackers.wandb.runs import Runs
from vsweep.trackers.wandb.worker import make_runs

WORDS = [
    "data=iris",
    "model=logistic",
    "grid.optimizer.lr=[0.1,1.0,1.0e30]",
    "grid.model.init_scale=[1.0,2.0]",
    "model.init=normal",
    "seeds=3",
    "steps=7",
    "record_every=2",
    "verify=false",
    "tracker.wandb.mode=offline",
]


def read_run(file: Path) -> dict:
    """Read an offline file with W&B's own reader, as `wandb leet inspect --json FILE` does."""
    from wandb.util import get_core_path

    folder = file.parents[1]
    words = ["leet", "inspect", "--no-observability", "--json", "--run-file", str(file), str(folder)]
    printed = subprocess.run([get_core_path(), *words], capture_output=True, text=True, check=True).stdout
    run: dict = {"rows": [], "summary": {}, "ended": False}
    for record in map(json.loads, printed.splitlines()):
        said = record.get("run", {})
        if record["type"] == "run":
            run |= {"id": said["run_id"], "name": said["display_name"], "group": said["run_group"]}
            run |= {"job_type": said["job_type"], "tags": said["tags"], "notes": said["notes"]}
            run["config"] = {k: v for k, v in said["config"]["update"].items() if k != "_wandb"}
        if record["type"] == "history":
            run["rows"].append(record["history"]["item"])
        if record["type"] == "summary":
            run["summary"] |= record["summary"]["update"]
        run["ended"] |= record["type"] == "exit"
    return run


def read_runs(directory: Path) -> dict[str, dict]:
    """Return the offline runs of a directory by their ids."""
    files = sorted(directory.glob("wandb/offline-run-*/*.wandb"))
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(read_run, files))
    assert len({run["id"] for run in runs}) == len(runs), "a run is there once"
    return {run["id"]: run for run in runs}


def same_as_the_store(directory: Path, level: str, rows: int = 200) -> None:
    """Assert that the offline runs are those of the store, with their configs, rows and summaries."""
    stored, found = Runs(directory, level), read_runs(directory)
    assert set(found) == {*stored.ids, stored.overview_id}
    for run in stored.build(list(stored.ids.values()), rows):
        read = found[run.id]
        assert read["ended"]
        assert (read["name"], read["group"], read["job_type"]) == (run.name, run.group, run.job_type)
        assert (tuple(read["tags"]), read["notes"]) == (run.tags, run.notes)
        assert read["config"] == run.config
        assert [row["_step"] for row in read["rows"]] == [step for step, _ in run.rows]
        for row, (_, values) in zip(read["rows"], run.rows, strict=True):
            assert {k: v for k, v in row.items() if not k.startswith("_")} == values
        assert read["summary"].items() >= run.summary.items()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wandb") / "sweep"
    return vsweep.sweep([*WORDS, f"dir='{directory}'"], quiet=True)


def test_a_run_per_trial_and_an_overview(trained):
    assert trained.unsent == ""
    same_as_the_store(trained.directory, "trial")
    assert len(read_runs(trained.directory)) == 18 + 1


def test_the_overview_has_tables_pictures_and_the_curves_as_a_file(trained):
    found = read_runs(trained.directory)
    overview = found[Runs(trained.directory, "trial").overview_id]
    (row,) = overview["rows"]
    assert row["trials.nrows"] == 18
    assert row["cells.nrows"] == 6
    pictures = {key.removesuffix("._type") for key, value in row.items() if value == "image-file"}
    assert pictures == {
        "heatmap/optimizer.lr by model.init_scale",
        "curves/optimizer.lr",
        "curves/model.init_scale",
    }
    assert overview["summary"]["best"] == "lr=1 init_scale=1"
    assert overview["notes"] == trained.plan["command"]


@pytest.fixture
def kept(trained, tmp_path):
    """A copy of the sweep that has never been shown."""
    return shutil.copytree(trained.directory, tmp_path / "kept", ignore=shutil.ignore_patterns("wandb"))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make offline runs as the worker does, in this process."""
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "client"))

    def call(directory, **options):
        report, options = {}, Options(**{"mode": "offline", "level": "trial", **options})
        commands = SimpleNamespace(ended=threading.Event(), stop=threading.Event())
        commands.ended.set()
        make_runs(directory, options, commands, report.update, sync=True)
        assert report["why"] == ""
        return report["complete"]

    yield call
    # The client's sockets are closed while their warnings belong to this test.
    gc.collect()


def set_tracker(directory, **options):
    """Replace the options of the tracker in a directory's config."""
    config = vsweep.load(directory).config
    config["tracker"] = {"wandb": options}
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    forge(directory)


@pytest.mark.parametrize("level", ["cell", pytest.param("sweep", marks=pytest.mark.tail)])
def test_other_levels(kept, make, level):
    make(kept, level=level, rows=3)
    same_as_the_store(kept, level, 3)


@pytest.mark.tail
def test_five_hundred_runs_equal_the_store(tmp_path):
    words = [word for word in WORDS if not word.startswith(("grid", "seeds"))]
    words += ["grid.optimizer.lr={logspace:[1e-3,10,124]}", "grid.model.init_scale=[0.5,1]", "seeds=2"]
    vsweep.sweep([*words, "tracker.wandb.level=trial", f"dir='{tmp_path / 'sweep'}'"], quiet=True)
    same_as_the_store(tmp_path / "sweep", "trial")
    assert len(read_runs(tmp_path / "sweep")) == 497


def test_more_seeds_take_the_place_of_what_was_shown(kept, make):
    assert make(kept, level="cell") == 7
    before = set(read_runs(kept))
    assert len(before) == 6 + 1
    vsweep.resume(kept, ["seeds=4", "tracker.wandb.level=cell"], quiet=True)
    same_as_the_store(kept, "cell")
    assert not before & set(read_runs(kept))


def test_what_is_there_is_not_made_again(trained, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.directory.glob("wandb/*/*.wandb")}
    assert vsweep.sync(trained.directory, mode="offline") == ""
    assert {p: p.stat().st_mtime_ns for p in trained.directory.glob("wandb/*/*.wandb")} == before
    assert "W&B: 19 runs in" in capsys.readouterr().err


def test_auto_is_offline_without_a_login(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert client.login_problem() == "not logged in: wandb login"


def test_online_without_a_login_is_said_and_is_no_success(here, monkeypatch, cli):
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    words = ["data=iris", "model=logistic", "seeds=2", "steps=2", "verify=false"]
    done = cli("run", *words, "tracker.wandb.mode=online", "dir=kept")
    assert done.status == 1
    assert done.out.splitlines()[-1] == "kept"
    last = done.err.splitlines()[-1]
    assert last == "W&B: 3 runs in kept/wandb (not logged in: wandb login); to upload them: vsweep sync kept"
    same_as_the_store(here / "kept", "trial")
    done = cli("sync", "kept")
    assert done.status == 1
    assert done.out == ""
    assert done.err == (
        "vsweep: W&B: no run is at W&B (not logged in: wandb login); every curve is in the store:"
        " vsweep sync kept sends the rest\n"
    )


def test_a_tracker_whose_process_dies_takes_nothing_from_the_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sweep = vsweep.sweep([*WORDS, f"dir='{tmp_path / 'sweep'}'"])
    assert len(sweep.trials) == 18
    assert f"W&B: no run is at {sweep.directory / 'wandb'} (the worker ended with status 1)" in sweep.unsent
    assert sweep.unsent in capsys.readouterr().err


def test_disabled_makes_no_runs(small, tmp_path, monkeypatch):
    assert small.config["tracker"]["wandb"]["mode"] == "disabled"
    assert not (small.directory / "wandb").exists()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    words = ["data=iris", "model=logistic", "steps=2", "verify=false", "tracker.wandb.mode=auto"]
    sweep = vsweep.sweep([*words, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    assert not (sweep.directory / "wandb").exists()


def test_the_plan_says_how_it_will_be_shown(cli):
    done = cli("plan", *WORDS)
    (line,) = [line for line in done.out.splitlines() if "W&B" in line]
    assert line.startswith("  W&B: 19 runs, one per trial and an overview: about ")
    assert "W&B" not in cli("plan", *WORDS[:-1], "tracker=none").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kept", "level=run"], "level: got 'run'; it takes one of auto, trial, cell, sweep"),
        (["kept", "rows=1"], "rows: got '1'; it takes an integer of at least 2"),
        (["kept", "mode=auto"], "mode: got 'auto'; it takes online or offline"),
        (
            ["kept", "metric=loss"],
            "sync: got 'metric=loss'; it takes project=…, entity=…, level=…, rows=…, mode=…, patience=…",
        ),
        (["nowhere"], "dir: no sweep in 'nowhere'; it takes a sweep's directory"),
        ([], "sync: got no directory; vsweep sync DIR takes a sweep's directory"),
    ],
)
def test_bad_words(cli, small, here, words, message):
    (here / "kept").symlink_to(small.directory)
    done = cli("sync", *words)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"vsweep: {message}\n"
    assert not (small.directory / "wandb").exists()


def test_a_directory_from_before_these_fields_goes_on(kept, make):
    """The config of such a directory lacks `level`, `rows` and `patience`."""
    set_tracker(kept, mode="disabled", project="p", entity=None)
    (kept / "curves" / "part-000000.parquet").unlink()
    assert len(vsweep.resume(kept, quiet=True).trials) == 18
    make(kept, **{**tracker_options(vsweep.load(kept).config), "mode": "offline", "level": "cell"})
    same_as_the_store(kept, "cell")


def test_a_stop_while_a_server_is_waited_for_asks_it_no_more(trained, monkeypatch):
    asked, stop = [], threading.Event()

    def refuse(to):
        asked.append(to)
        raise ConnectionError("does not answer")

    monkeypatch.setattr(upload, "Server", refuse)
    runs = Runs(trained.directory, "trial")
    options = Options(mode="online", patience=60.0)
    made = upload.Upload(trained.directory, options, stop, lambda **changes: None)
    assert made.make_some(runs, last=True)
    stop.set()
    assert not made.make_some(runs, last=True)
    assert len(asked) == 1


def test_a_server_whose_certificate_only_the_client_trusts_is_there(monkeypatch):
    def raising(reason):
        def urlopen(*given, **more):
            raise URLError(reason)

        return urlopen

    monkeypatch.setattr(server.urllib.request, "urlopen", raising(SSLCertVerificationError()))
    assert server.is_reachable("https://x")
    monkeypatch.setattr(server.urllib.request, "urlopen", raising(ConnectionRefusedError()))
    assert not server.is_reachable("https://x")


def test_a_sweep_that_was_not_shown_whole_says_so_when_it_is_opened_again(cli, trained, here):
    shutil.copytree(trained.directory, here / "kept")
    whole = cli("resume", "kept")
    assert (whole.status, "W&B" in whole.err) == (0, False)
    log = here / "kept" / "wandb" / "runs.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]))
    for words in (["resume", "kept"], ["run", *WORDS, "dir=kept"]):
        done = cli(*words)
        assert done.status == 0
        missing = "W&B: 5 of 19 runs are at kept/wandb; every curve is in the store"
        assert done.err.splitlines()[-1] == f"{missing}: vsweep sync kept sends the rest"


def test_what_is_not_finite_is_in_no_row(trained):
    metrics = [name for name in trained.curves if name not in ("trial", "step")]
    stored = trained.curves.set_index(["trial", "step"])[metrics].to_numpy(float)
    assert not np.isfinite(stored).all(), "there is something to leave out"
    shown = [
        value
        for run in read_runs(trained.directory).values()
        if run["job_type"] == "trial"
        for row in run["rows"]
        for name, value in row.items()
        if name in metrics
    ]
    assert all(isinstance(value, int | float) for value in shown)
    assert len(shown) == np.isfinite(stored).sum()


def test_what_was_broken_off_offline_is_made_again_and_is_there_once(trained, tmp_path, make):
    kept = shutil.copytree(trained.directory, tmp_path / "kept")
    log = kept / "wandb" / "runs.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]))
    assert make(kept) == 19
    same_as_the_store(kept, "trial")
