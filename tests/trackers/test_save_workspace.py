"""`vsweep dashboard` saves one view of a sweep and updates it; a failure is one sentence."""

import json
import shutil
import threading
from types import SimpleNamespace

import pytest
import wandb
import yaml
from dashboard_helpers import Server
from store_helpers import forge
from wandb.errors import AuthenticationError, CommError

import vsweep
from vsweep.commands import dashboard as command
from vsweep.errors import ConfigError, ServiceError
from vsweep.trackers.wandb import worker, workspace
from vsweep.trackers.wandb.dashboard import describe_panels
from vsweep.trackers.wandb.runs import sweep_id

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def server(monkeypatch):
    """A stand-in for W&B without a network."""
    made = Server()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb, "login", lambda **given: given == {"prompt": False, "verify": False})
    monkeypatch.setattr(wandb, "Api", made.client)
    monkeypatch.setattr(command, "WorkerProcess", InThisProcess)
    return made


class InThisProcess:
    """The worker's task without a process, in which W&B's client would not be the stand-in."""

    def __init__(self, directory, options, report, show, *, task):
        self.arguments, self.report, self.task = (directory, options), report, worker.TASKS[task]

    def finish(self):
        events = SimpleNamespace(ended=threading.Event(), stop=threading.Event())
        worker.perform(self.task, *self.arguments, events, self.tell)
        return self.report

    def tell(self, **changes):
        changes = {name: value for name, value in changes.items() if name in self.report._fields}
        self.report = self.report._replace(**changes)

    def close(self):
        pass


@pytest.fixture
def kept(small, tmp_path):
    """A copy of a sweep's directory."""
    return shutil.copytree(small.directory, tmp_path / "kept")


def test_the_url_is_the_last_line_and_the_panels_are_said(cli, server, kept):
    done = cli("dashboard", str(kept), "project=trained")
    assert done.status == 0, done.err
    (view,) = server.views.values()
    assert (view["entityName"], view["projectName"]) == ("someone", "trained")
    sweep = vsweep.load(kept)
    assert view["displayName"].endswith(f" {sweep_id(sweep.plan)}")
    url = f"https://wandb.test/someone/trained?nw={view['name'].removeprefix('nw-').removesuffix('-v')}"
    assert done.out == f"{url}\n"
    assert [line for line in done.err.splitlines() if ": " in line][
        -len(describe_panels(sweep, "cell")) :
    ] == describe_panels(sweep, "cell")
    assert server.asked == [("someone/trained", {"tags": {"$in": [sweep_id(sweep.plan)]}})]


def test_made_again_it_is_the_same_view_and_keeps_what_a_person_added(server, kept):
    first = vsweep.dashboard(kept, project="trained", quiet=True)
    ((name, view),) = server.views.items()
    spec = json.loads(view["spec"])
    bank = spec["section"]["panelBankConfig"]
    bank["sections"][0]["panels"] = []
    bank["sections"].append({**bank["sections"][-1], "name": "Mine"})
    view["spec"] = json.dumps(spec)
    assert vsweep.dashboard(kept, project="trained", quiet=True) == first
    assert list(server.views) == [name]
    assert list(server.sections(name)) == ["Curves", "Axes", "Overview", "Mine"]
    assert server.sections(name)["Curves"] > 0


def test_a_view_that_was_deleted_is_made_anew(server, kept):
    first = vsweep.dashboard(kept, project="trained", quiet=True)
    server.views.clear()
    again = vsweep.dashboard(kept, project="trained", quiet=True)
    assert again != first
    assert json.loads((kept / workspace.WORKSPACE_FILE).read_text()) == {"someone/trained": again}


def test_each_project_has_a_view_of_its_own(server, kept):
    server.projects = ("someone/trained", "team/trained")
    one, other = (
        vsweep.dashboard(kept, project="trained", entity=who, quiet=True) for who in ("someone", "team")
    )
    assert json.loads((kept / workspace.WORKSPACE_FILE).read_text()) == {
        "someone/trained": one,
        "team/trained": other,
    }
    assert len(server.views) == 2


def test_project_and_entity_are_those_of_the_sweeps_config(server, kept):
    server.projects = ("team/mine",)
    config = vsweep.load(kept).config
    config["tracker"]["wandb"] |= {"project": "mine", "entity": "team"}
    (kept / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    forge(kept)
    assert vsweep.dashboard(kept, quiet=True).startswith("https://wandb.test/team/mine?nw=")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", '{"someone/trained": 3}', '{"someone/trained": "https://else.where/x/y?nw=z"}'],
)
def test_what_the_directory_says_of_its_view_may_be_anything(server, kept, text):
    (kept / workspace.WORKSPACE_FILE).parent.mkdir()
    (kept / workspace.WORKSPACE_FILE).write_text(text)
    assert "/someone/trained?nw=" in vsweep.dashboard(kept, project="trained", quiet=True)


def test_no_view_of_another_project_is_written(server, kept):
    server.projects = ("someone/trained", "someone/other")
    other = vsweep.dashboard(kept, project="other", quiet=True)
    before = dict(server.views)
    (kept / workspace.WORKSPACE_FILE).write_text(
        json.dumps({"someone/trained": f"{other}&more=/someone/trained?nw=z"})
    )
    assert "/someone/trained?nw=" in vsweep.dashboard(kept, project="trained", quiet=True)
    assert server.views.items() >= before.items()
    assert len(server.views) == 2


def test_a_directory_that_cannot_be_written_is_said_and_the_url_is_given(cli, server, kept):
    (kept / "wandb").write_text("in the way")
    done = cli("dashboard", str(kept), "project=trained")
    assert done.status == 0
    assert "cannot write" in done.err
    assert done.out.startswith("https://wandb.test/someone/trained?nw=")


def test_runs_that_were_not_uploaded_are_said(cli, server, kept):
    server.count = 0
    done = cli("dashboard", str(kept), "project=trained")
    assert done.status == 0
    assert f"someone/trained has no runs of this sweep yet; to upload them: vsweep sync {kept}" in done.err


SILENCE = "the service process is busy and did not respond in time."
FAILURES = {
    "rejected": (
        AuthenticationError(f"WANDB_API_KEY invalid: {KEY}"),
        "W&B saved no dashboard (WANDB_API_KEY",
    ),
    "silent": (
        AuthenticationError(f"Failed to verify\n with http://x: {SILENCE}"),
        "W&B saved no dashboard (Failed to verify with http://x: the service process is busy",
    ),
    "refused": (CommError("permission denied"), "W&B saved no dashboard (permission denied)"),
    "no words": (CommError(""), "W&B saved no dashboard ("),
    "a key of another": (CommError(f"token {'f' * 40} bad"), "W&B saved no dashboard (token … bad)"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_the_network_does_is_one_line_without_the_key(cli, server, kept, name):
    server.error, begins = FAILURES[name]
    done = cli("dashboard", str(kept), "project=trained")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"vsweep: {begins}")
    assert len(done.err.splitlines()) == 1
    assert KEY not in done.err
    assert "f" * 40 not in done.err
    assert not (kept / workspace.WORKSPACE_FILE).exists()


def test_a_project_that_is_not_there_is_said(cli, server, kept):
    done = cli("dashboard", str(kept), "project=other")
    assert (done.status, done.out) == (1, "")
    assert done.err == "vsweep: W&B saved no dashboard (Could not find project other)\n"


def test_who_is_not_logged_in_is_not_asked_for_a_key(cli, server, kept, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(wandb, "login", lambda **given: False)
    monkeypatch.setattr(wandb, "Api", lambda: pytest.fail("it would ask"))
    done = cli("dashboard", str(kept))
    assert (done.status, done.out) == (1, "")
    assert done.err == "vsweep: W&B saved no dashboard (not logged in: wandb login)\n"


def test_without_an_entity_it_asks_for_one(server, kept):
    server.entity = None
    with pytest.raises(ServiceError, match="give entity=NAME"):
        vsweep.dashboard(kept, project="trained", quiet=True)


NAME = "it takes up to 128 characters, none of them / \\ # ? % :"
BAD = {
    "dashboard": "dashboard: got no directory; vsweep dashboard DIR takes a sweep's directory",
    "dashboard project=x": "dashboard: got no directory; vsweep dashboard DIR takes a sweep's directory",
    "dashboard nosuch": "dir: no sweep in 'nosuch'; it takes a sweep's directory",
    "dashboard DIR extra": "dashboard: got 'extra'; it takes project=…, entity=…",
    "dashboard DIR proejct=x": "dashboard: got 'proejct=x'; it takes project=…, entity=…",
    "dashboard DIR --proejct=x": "--proejct: no such flag; did you mean --project?",
    "dashboard DIR --project": "--project: got nothing; it takes a value: --project VALUE",
    "dashboard DIR --project=a/b": f"project: got 'a/b'; {NAME}",
    "dashboard DIR project=": f"project: got ''; {NAME}",
    "dashboard DIR project=a/b": f"project: got 'a/b'; {NAME}",
    "dashboard DIR entity=": f"entity: got ''; {NAME}",
    "dashboard DIR entity=a?b": f"entity: got 'a?b'; {NAME}",
    "dashbord DIR": "command: no such command 'dashbord'; did you mean dashboard?",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_words_are_refused_before_anything_is_asked(cli, server, kept, words):
    done = cli(*(str(kept) if word == "DIR" else word for word in words.split()))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"vsweep: {BAD[words]}")
    assert len(done.err.splitlines()) == 1
    assert not server.asked
    assert not server.views


def test_a_directory_without_a_finished_trial_has_nothing_to_show(server, tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    forge(tmp_path)
    with pytest.raises(ConfigError, match="no trial was finished in"):
        vsweep.dashboard(tmp_path)
