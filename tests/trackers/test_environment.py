"""W&B's environment variables count as for its own client, and fields of the config take precedence."""

import os
import shutil
from urllib.parse import urlsplit

import pytest
import yaml
from stand_in import StandIn
from store_helpers import forge

import vsweep
from vsweep.errors import ServiceError
from vsweep.trackers.wandb import client, worker
from vsweep.trackers.wandb import tracker as tracker_module
from vsweep.trackers.wandb.environment import client_environment
from vsweep.trackers.wandb.options import Options, tracker_mode

KEY = "0123456789abcdef0123456789abcdef01234567"
WORDS = ["data=iris", "model=logistic", "seeds=2", "steps=2", "verify=false", "tracker.wandb.level=cell"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No variable of W&B, and a home of its own."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("environment") / "sweep"
    return vsweep.sweep([*WORDS, "tracker.wandb.mode=disabled", f"dir='{directory}'"], quiet=True).directory


@pytest.fixture
def kept(trained, tmp_path):
    """The directory of a sweep that was trained and never sent."""
    return shutil.copytree(trained, tmp_path / "kept")


@pytest.mark.parametrize(
    ("mode", "variables", "used"),
    [
        ("auto", {}, "auto"),
        ("auto", {"WANDB_MODE": ""}, "auto"),
        *(("auto", {"WANDB_MODE": mode}, "online") for mode in ("online", "run", "shared")),
        *(("auto", {"WANDB_MODE": mode}, "offline") for mode in ("offline", "dryrun")),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        *(("auto", {"WANDB_DISABLED": value}, "disabled") for value in ("true", "True", "1", "yes", "on")),
        *(("auto", {"WANDB_DISABLED": value}, "auto") for value in ("", "false", "0")),
        ("auto", {"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "disabled"),
        *((mode, {"WANDB_MODE": "disabled", "WANDB_DISABLED": "1"}, mode) for mode in ("online", "offline")),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
    ],
)
def test_the_mode(monkeypatch, mode, variables, used):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracker_mode({"mode": mode}) == used


def test_the_modes_are_those_of_the_client():
    import wandb

    from vsweep.trackers.wandb.options import MODES

    assert set(wandb.Settings.model_fields["mode"].annotation.__args__) == set(MODES)
    for name, mode in MODES.items():
        settings = wandb.Settings(mode=name)
        assert (settings._offline, settings._noop) == (mode == "offline", mode == "disabled")


BAD = {
    "WANDB_MODE=Onlin": "it takes one of online, run, shared, offline, dryrun, disabled; did you mean online",
    "WANDB_PROJECT=a/b": "it takes up to 128 characters, none of them / \\ # ? % :",
    f"WANDB_PROJECT={'x' * 129}": "it takes up to 128 characters",
    "WANDB_ENTITY=a:b": "it takes up to 128 characters, none of them / \\ # ? % :",
    "WANDB_TAGS=a,,b": "it takes tags of 1 to 64 characters, separated by commas",
    f"WANDB_TAGS={'x' * 65}": "it takes tags of 1 to 64 characters, separated by commas",
    "WANDB_BASE_URL=wandb.example.org": "it takes a URL such as https://api.wandb.ai",
    "WANDB_BASE_URL=file:///etc": "it takes a URL such as https://api.wandb.ai",
    "WANDB_BASE_URL=http://[": "it takes a URL such as https://api.wandb.ai",
}


@pytest.mark.parametrize("variable", BAD)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_strange_value_is_refused_before_anything_is_written(cli, here, monkeypatch, variable, command):
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    done = cli(command, *WORDS, "dir=new")
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"vsweep: {name}: got ")
    assert BAD[variable] in line
    assert not (here / "new").exists()
    assert cli("plan", *WORDS, "tracker=none").status == 0, "without W&B its variables do not count"


def test_what_the_config_replaces_may_be_strange(cli, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.setenv(name, "a/b")
    given = [f"tracker.wandb.{field}" for field in ("mode=online", "project=p", "entity=e")]
    assert cli("plan", *WORDS, *given).status == 0


@pytest.mark.parametrize("command", ["sync", "dashboard"])
def test_the_other_commands_refuse_it_too(cli, kept, monkeypatch, command):
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    done = cli(command, str(kept))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("vsweep: WANDB_PROJECT: got 'a/b'; it takes up to 128 characters")


def test_the_plan_says_what_has_no_effect(cli, monkeypatch):
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_NAME", "WANDB_RUN_ID"):
        monkeypatch.setenv(name, "here")
    lines = cli("plan", *WORDS).out.splitlines()
    assert "  W&B: its files stay in the sweep's wandb/; no effect: WANDB_DIR, WANDB_CACHE_DIR" in lines
    assert any(line.endswith("; no effect: WANDB_NAME, WANDB_RUN_ID") for line in lines)
    assert "no effect" not in cli("plan", *WORDS, "tracker=none").out
    monkeypatch.setenv("WANDB_MODE", "disabled")
    lines = [line for line in cli("plan", *WORDS).out.splitlines() if "W&B" in line]
    assert lines == ["  W&B: disabled in the environment (WANDB_MODE or WANDB_DISABLED)"]


def test_the_environment_of_the_client(monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    monkeypatch.setenv("WANDB_ENTITY", "e")
    monkeypatch.setenv("WANDB_TAGS", "")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "9")
    made = client_environment(Options(mode="online", project="p"), "/t")
    assert {name: value for name, value in made.items() if name.startswith("WANDB_")} == {
        "WANDB_MODE": "online",
        "WANDB_ENTITY": "e",
        "WANDB_INIT_TIMEOUT": "9",
        "WANDB_DATA_DIR": "/t",
        "WANDB_CACHE_DIR": "/t",
        "WANDB_SILENT": "true",
    }
    assert "WANDB_MODE" not in client_environment(Options(), "/t")


@pytest.fixture
def server(home, monkeypatch):
    """A server for which only `.netrc` has a key."""
    with StandIn() as started:
        monkeypatch.setenv("WANDB_BASE_URL", started.url)
        host = urlsplit(started.url).netloc
        (home / ".netrc").write_text(f"machine {host}\n  login user\n  password {KEY}\n")
        (home / ".netrc").chmod(0o600)
        yield started


def test_variables_say_where_runs_go_and_netrc_logs_in(server, home, kept, tmp_path, monkeypatch):
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text("their_field: {value: 3}")
    variables = {
        "WANDB_PROJECT": "their project",
        "WANDB_ENTITY": "team",
        "WANDB_RUN_GROUP": "together",
        "WANDB_TAGS": "one,two",
        # `sync` sends whatever the mode says, and is no run of a W&B sweep.
        "WANDB_MODE": "offline",
        "WANDB_DISABLED": "true",
        "WANDB_SWEEP_ID": "theirs",
        "WANDB_RUN_ID": "another",
        # The client would add the values of these files to the configs.
        "WANDB_SWEEP_PARAM_PATH": str(theirs),
        "WANDB_CONFIG_PATHS": str(theirs),
        "WANDB_SYNC_TENSORBOARD": "true",
        "WANDB__UPDATE_FINISH_STATE": "false",
        **{f"WANDB_{name}_DIR": str(tmp_path / "elsewhere") for name in ("DATA", "CACHE")},
        "WANDB_DIR": str(tmp_path / "elsewhere"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    vsweep.sync(kept, quiet=True)
    assert {(run.entity, run.project, run.group) for run in server.runs.values()} == {
        ("team", "their project", "together")
    }
    assert len(server.runs) == 2
    assert not any("their_field" in run.config for run in server.runs.values())
    assert all(run.tags[-2:] == ["one", "two"] for run in server.runs.values())
    assert not (tmp_path / "elsewhere").exists()
    assert {path.name for path in home.iterdir()} <= {".netrc", ".config", ".cache"}
    assert {path.name for path in (kept / "wandb").iterdir()} == {".lock", "runs.jsonl"}
    assert not (home / ".cache" / "wandb").exists()
    assert "/team/" in vsweep.dashboard(kept, quiet=True)
    (view,) = server.views.values()
    assert (view["entity"], view["project"]) == ("team", "their project")


def test_offline_files_stay_in_the_sweep(kept, home, tmp_path, monkeypatch):
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB__FILES_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    (kept / ".wandb").mkdir()
    vsweep.sync(kept, mode="offline", quiet=True)
    assert not (tmp_path / "elsewhere").exists()
    assert len(list((kept / "wandb").glob("offline-run-*"))) == 2
    assert not list((kept / ".wandb").iterdir())
    links = [path for path in (kept / "wandb").rglob("*") if path.is_symlink()]
    assert all(path.resolve().is_relative_to(kept.resolve()) and path.exists() for path in links)
    assert not (home / ".cache" / "wandb").exists()
    assert not (home / ".local").exists()


class NoProcess:
    """Stands for the worker process."""

    def __init__(self, report):
        self.report = report

    def finish(self):
        return self.report._replace(complete=0, why="no process")


@pytest.fixture
def started(monkeypatch):
    """The options of the worker processes that would have been started."""
    options_of = []

    def start(directory, options, report, show, *, task):
        options_of.append(options)
        return NoProcess(report)

    monkeypatch.setattr(tracker_module, "WorkerProcess", start)
    return options_of


def record_project(directory, project):
    """Write a project into a directory's config, as version 0.1 did without being asked."""
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["tracker"]["wandb"]["project"] = project
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    forge(directory)


def test_a_suggested_command_names_what_the_environment_said(kept, started, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    with pytest.raises(ServiceError, match=f"vsweep sync {kept} project=theirs sends the rest"):
        vsweep.sync(kept, quiet=True)
    with pytest.raises(ServiceError, match=f"vsweep sync {kept} project=mine sends the rest"):
        vsweep.sync(kept, project="mine", quiet=True)
    assert [options.project for options in started] == [None, "mine"]


def test_a_directory_of_an_earlier_version_keeps_its_project(cli, kept, started, monkeypatch):
    record_project(kept, "vsweep")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    with pytest.raises(ServiceError, match=f"vsweep sync {kept} sends the rest"):
        vsweep.sync(kept, quiet=True)
    assert [options.project for options in started] == ["vsweep"]
    done = cli("run", *WORDS, "tracker.wandb.mode=disabled", f"dir={kept}")
    assert done.status == 0
    assert "no effect" not in done.err
    before = vsweep.load(kept).trials["identity"]
    vsweep.resume(kept, ["seeds=3"], quiet=True)
    sweep = vsweep.load(kept)
    assert sweep.config["tracker"]["wandb"]["project"] == "vsweep"
    assert sweep.trials["identity"][:2].tolist() == before.tolist()


@pytest.mark.parametrize("name", ["WANDB_CONSOLE", "WANDB_INIT_TIMEOUT"])
def test_a_variable_that_only_the_client_knows_is_named(monkeypatch, name):
    monkeypatch.setenv(name, "strange")
    with pytest.raises(ServiceError, match=f"{name} has a value that W&B's client does not accept"):
        client.complete_options(Options())


def test_a_worker_that_fails_leaves_no_files_of_the_client(kept, monkeypatch):
    def fail(*arguments, **options):
        assert list((kept / "wandb").glob("client-*"))
        raise ServiceError("a variable is strange")

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(worker, "make_runs", fail)
    with pytest.raises(ServiceError, match="a variable is strange"):
        worker.TASKS["sync"](kept, Options(), None, None)
    assert not list((kept / "wandb").glob("client-*"))
