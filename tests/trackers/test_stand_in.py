"""The stand-in for the server holds what the real client of W&B has logged."""

import gc
import math
import threading
import time

import pytest
from stand_in import StandIn

wandb = pytest.importorskip("wandb")

KEY = "0123456789abcdef" * 2 + "01234567"
QUICK = {
    "silent": True,
    "console": "off",
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
    "symlink": False,
    "disable_git": True,
    # The client rounds less than a second down to 0, which stands for its default.
    "x_file_stream_transmit_interval": 1,
    "x_file_stream_retry_wait_min_seconds": 1,
    "x_file_stream_retry_wait_max_seconds": 1,
    "x_graphql_retry_wait_min_seconds": 1,
    "x_graphql_retry_wait_max_seconds": 1,
}


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Point the client at a server, and end its service process afterwards."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.setenv(name, "")  # the client's own changes are undone too
        monkeypatch.delenv(name)
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)

    def point(server):
        wandb.teardown()
        monkeypatch.setenv("WANDB_BASE_URL", server.url)

    yield point
    wandb.teardown()
    gc.collect()  # the warnings about the client's sockets belong to this test


@pytest.fixture
def server(client):
    with StandIn() as server:
        client(server)
        yield server
        wandb.teardown()
    assert server.errors == []


def start(run_id, settings=None, **more):
    about = {"project": "p", "entity": "e", "mode": "online", "reinit": "create_new"} | more
    return wandb.init(id=run_id, settings=wandb.Settings(**QUICK | (settings or {})), **about)


def log(run_id, losses=(3.0, 2.0, 1.0), **more):
    run = start(run_id, **more)
    for step, loss in enumerate(losses):
        run.log({"loss": loss}, step=step)
    run.finish()


def losses(server, run_id):
    return [row["loss"] for row in server.rows(run_id)]


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_a_run_is_what_was_logged_and_no_key_is_kept(server, tmp_path):
    about = {"name": "shown", "group": "g", "job_type": "j", "tags": ["t", "u"], "notes": "n"}
    run = start("a", config={"lr": 0.1, "net": {"depth": 2}}, **about)
    for step in (0, 1, 5):
        run.log({"loss": step / 2, "nan": float("nan")}, step=step)
    run.summary.update({"final": 7})
    wait_for(lambda: "a" in server.runs)
    assert server.runs["a"].state == "running"
    run.finish()
    kept = server.runs["a"]
    assert [(row["_step"], row["loss"]) for row in kept.rows] == [(0, 0), (1, 0.5), (5, 2.5)]
    assert all(math.isnan(row["nan"]) for row in kept.rows)
    assert kept.config == {"lr": 0.1, "net": {"depth": 2}}
    assert (kept.summary["final"], kept.summary["loss"]) == (7, 2.5)
    assert (kept.state, kept.exit_code) == ("finished", 0)
    assert {name: getattr(kept, name) for name in about} == about
    assert all(request.keyed for request in server.requests if request.path == "/graphql")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in repr(server.requests)


@pytest.mark.tail
def test_runs_from_threads(server):
    start("first").finish()  # the service process starts once
    threads = [threading.Thread(target=log, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(losses(server, f"t{number}") == [3, 2, 1] for number in range(8))


@pytest.mark.tail
@pytest.mark.parametrize(
    ("again", "held"), [("append", [3, 2, 1, 9, 8]), ("overlay", [9, 8, 1]), ("truncate", [9, 8])]
)
def test_an_id_that_starts_anew(client, again, held):
    with StandIn(again) as server:
        client(server)
        log("a")
        log("a", [9.0, 8.0], config={"new": 1})
        assert losses(server, "a") == held
        assert server.runs["a"].config == {"new": 1}
        wandb.teardown()


@pytest.mark.tail
def test_resume_goes_on(server):
    log("a")
    run = start("a", resume="allow")
    run.log({"loss": 0.5}, step=3)
    run.finish()
    assert [(row["_step"], row["loss"]) for row in server.rows("a")] == [(0, 3), (1, 2), (2, 1), (3, 0.5)]


def test_a_table_a_picture_and_an_artifact(server, tmp_path):
    pandas, image = pytest.importorskip("pandas"), pytest.importorskip("PIL.Image")
    image.new("RGB", (3, 2)).save(tmp_path / "file.png")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a b.txt").write_text("in")
    run = start("a")
    run.log({"table": wandb.Table(dataframe=pandas.DataFrame({"x": [1, 2]}))})
    run.log({"pic": wandb.Image(str(tmp_path / "file.png"))})
    artifact = wandb.Artifact("stored", "results", metadata={"m": 1})
    artifact.add_file(str(tmp_path / "file.png"))
    artifact.add_dir(str(tmp_path / "inner"), name="d")
    run.log_artifact(artifact, aliases=["best"]).wait()
    assert (artifact.version, artifact.state) == ("v0", "COMMITTED")
    run.finish()
    table, picture = server.rows("a")
    assert b'"data":[[1],[2]]' in server.runs["a"].files[table["table"]["path"]]
    assert server.runs["a"].files[picture["pic"]["path"]] == (tmp_path / "file.png").read_bytes()
    (kept,) = [artifact for artifact in server.artifacts.values() if artifact.name == "stored"]
    assert {"file.png": (tmp_path / "file.png").read_bytes(), "d/a b.txt": b"in"} == kept.files
    assert kept.manifest["contents"].keys() == kept.files.keys()
    assert (kept.type, kept.run, kept.state, kept.metadata) == ("results", "a", "COMMITTED", {"m": 1})
    assert set(kept.aliases) == {"best", "latest"}


def test_what_the_api_reads(server):
    assert wandb.login(prompt=False, verify=True) is True
    for run_id in "abc":
        group = "g" if run_id == "a" else "h"
        log(run_id, name=f"n-{run_id}", group=group, tags=[run_id, "t"], config={"k": run_id})
    api = wandb.Api()

    def ids(**more):
        return [run.id for run in api.runs("e/p", **more)]

    assert ids(filters={"name": {"$in": ["c", "a", "z"]}}, per_page=500) == ["a", "c"]
    assert ids(filters={"group": "h"}) == ["b", "c"]
    assert ids(filters={"tags": {"$in": ["b"]}}) == ["b"]
    assert ids(filters={"$or": [{"name": "a"}, {"$and": [{"tags": "t"}, {"config.k": "c"}]}]}) == ["a", "c"]
    assert ids(per_page=1) == ["a", "b", "c"]
    run = api.run("e/p/a")
    assert (run.name, run.state, run.historyLineCount, run.lastHistoryStep) == ("n-a", "finished", 3, 2)
    assert (run.config, run.group, run.tags, run.summary["loss"]) == ({"k": "a"}, "g", ["a", "t"], 1)
    assert [row["loss"] for row in run.scan_history()] == [3, 2, 1]
    run.delete()
    assert server.runs.keys() == {"b", "c"}
    with pytest.raises(wandb.errors.CommError, match="Could not find run"):
        wandb.Api().run("e/p/a")
    with pytest.raises(ValueError, match="Could not find project none"):
        len(wandb.Api().runs("e/none"))


@pytest.mark.tail
def test_a_saved_workspace(server):
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    sections = [workspaces.Section(name="S")]
    workspace = workspaces.Workspace(entity="e", project="p", name="shown", sections=sections)
    workspace.save()
    workspace.name = "renamed"
    workspace.save()
    (view,) = server.views.values()
    assert view["displayName"] == "renamed"
    assert [part["name"] for part in view["spec"]["section"]["panelBankConfig"]["sections"]] == ["S"]
    assert workspaces.Workspace.from_url(workspace.url).name == "renamed"


@pytest.mark.parametrize(
    ("status", "retry_after"), [(500, None), pytest.param(429, 1, marks=pytest.mark.tail)]
)
def test_a_fault_that_passes_loses_nothing(server, status, retry_after):
    wheres = ("graphql", "file_stream")
    faults = [server.fail(status, where=where, times=1, retry_after=retry_after) for where in wheres]
    log("a")
    assert [fault.hits for fault in faults] == [1, 1]
    assert losses(server, "a") == [3, 2, 1]


@pytest.mark.tail
@pytest.mark.parametrize("status", [401, 404])
def test_a_stream_that_is_refused_ends(server, status):
    run = start("a")
    run.log({"loss": 3.0}, step=0, commit=True)  # else the client keeps it until the next step
    wait_for(lambda: server.runs["a"].rows)
    server.fail(status, where="file_stream")
    run.log({"loss": 2.0}, step=1)
    run.finish()
    assert losses(server, "a") == [3]
    assert server.runs["a"].state == "running"


@pytest.mark.tail
def test_a_server_that_goes_and_comes_back(server):
    run = start("a")
    run.log({"loss": 3.0}, step=0, commit=True)  # else the client keeps it until the next step
    wait_for(lambda: server.runs["a"].rows)
    server.stop()
    run.log({"loss": 2.0}, step=1)
    time.sleep(0.3)
    server.start()
    run.finish()
    assert losses(server, "a") == [3, 2]


@pytest.mark.tail
def test_a_slow_server(server):
    fault = server.slow(0.5, where="file_stream", times=2)
    log("a")
    assert fault.hits == 2
    assert losses(server, "a") == [3, 2, 1]


@pytest.mark.tail
def test_a_server_that_is_gone_at_the_end(server):
    run = start("a", settings={"finish_timeout": 1.0, "finish_timeout_raises": True})
    run.log({"loss": 3.0}, step=0)
    server.stop()
    with pytest.raises(TimeoutError):
        run.finish()
    server.start()
    wandb.teardown()
