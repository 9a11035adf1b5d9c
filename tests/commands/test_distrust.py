"""Directories that come from others, data that changed since, and processes that die between two configs."""

import errno
import json
import os
import shutil
from contextlib import chdir
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from store_helpers import forge

import vsweep
from vsweep.commands.directory import recorded_spec
from vsweep.engine.trial_id import fingerprint
from vsweep.errors import ConfigError, ServiceError
from vsweep.store.atomic import encode_line
from vsweep.store.files import Files
from vsweep.store.writer import FORMAT, Store
from vsweep.tasks.models import Model
from vsweep.training.program import NUMERICS

WORDS = ["model=logistic", "steps=4", "record_every=2", "seeds=2", "tracker=none", "verify=false"]
ROWS = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{'xz'[i % 3 == 0]}\n" for i in range(40))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a file of one's own, and a sweep of it in `kept`."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "own.csv").write_text(ROWS)
    with chdir(folder):
        words = ["data=csv", "data.path=own.csv", "data.target=y", *WORDS, "dir=kept"]
        vsweep.sweep(words, quiet=True)
    return folder


@pytest.fixture
def kept(here, trained):
    """A copy of the sweep, in `kept`."""
    shutil.copytree(trained, here, dirs_exist_ok=True)
    shutil.copytree("kept", "trained")
    return Path("kept")


class Died(BaseException):
    pass


@pytest.mark.parametrize("after", [True, False])
def test_dying_while_it_is_extended_to_more_steps_loses_no_trial(here, monkeypatch, after):
    words = ["data=iris", *WORDS, "dir=kept"]
    vsweep.sweep([*words, "keep.state=true", "segment=2"], quiet=True)
    texts = []

    write_yaml = Files.write_yaml

    def write(files, name, config):
        texts.append(name)
        if len(texts) == 2 and not after:
            raise Died
        write_yaml(files, name, config)

    def die(self):
        raise Died

    with monkeypatch.context() as patch:
        # The config is written with the new numbers, and again when the directory is open.
        patch.setattr(Files, "write_yaml", write)
        patch.setattr(Store, "underway", die)
        with pytest.raises(Died):
            vsweep.resume("kept", ["steps=8"], quiet=True)
    # The advised command continues to more steps, from the kept state.
    sweep = vsweep.resume("kept", quiet=True)
    assert sweep.config["steps"] == 8
    assert sweep.curves.groupby("trial")["step"].max().tolist() == [8, 8]
    whole = vsweep.sweep([*words[:-1], "keep.state=true", "segment=2", "steps=8", "dir=whole"], quiet=True)
    assert sweep.curves["train_loss"].tolist() == whole.curves["train_loss"].tolist()
    assert not (here / "kept" / "damaged").exists()


def test_dying_before_the_table_of_an_extension_is_written_loses_no_trial(here, monkeypatch):
    vsweep.sweep(["data=iris", *WORDS, "dir=kept"], quiet=True)

    def die(self):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_trials", die)
        with pytest.raises(Died):
            vsweep.resume("kept", ["seeds=3"], quiet=True)
    assert len(vsweep.load("kept").trials) == 2
    assert len(vsweep.resume("kept", quiet=True).trials) == 3


def test_other_data_are_not_taken_for_those_of_the_sweep(here, kept):
    (here / "own.csv").write_text(ROWS.replace("6,", "9,"))
    for prove in (
        lambda: vsweep.verify(kept),
        lambda: vsweep.confirm(kept),
        lambda: vsweep.reproduce(kept, 0),
    ):
        with pytest.raises(ConfigError, match=r"^dir: the data, or your own functions, are not those that"):
            prove()


@pytest.mark.parametrize("recorded", [10**18, 10, None])
def test_a_directory_does_not_say_how_much_is_read(here, kept, recorded):
    """A directory of an earlier version says nothing, and one from someone else may say anything."""
    config = yaml.safe_load((kept / "config.yaml").read_text())
    plan = json.loads((kept / "plan.json").read_text())
    for data in (config["data"], plan["study"]["variants"][0]["config"]["data"]):
        assert data.pop("max_bytes") == 4_000_000_000
        if recorded is not None:
            data["max_bytes"] = recorded
    plan["study"]["words"] += [f"data.max_bytes={recorded}"] if recorded is not None else []
    (kept / "config.yaml").write_text(yaml.safe_dump(config))
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    assert recorded_spec(kept).cell(0).data.fields["max_bytes"] == 4_000_000_000
    assert vsweep.verify(kept)["wrong"] == []
    more = vsweep.resume(kept, ["seeds=3"], quiet=True)
    assert (len(more.trials), more.config["data"]["max_bytes"]) == (3, 4_000_000_000)


@pytest.mark.parametrize(
    "command", [["verify", "kept"], ["confirm", "kept", "seeds=2"], ["run", "trial=0", "from=kept"]]
)
def test_a_bound_of_ones_own_counts_in_every_command_that_trains(kept, cli, command):
    done = cli(*command, "max_bytes=10")
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("vsweep: data.max_bytes: 'own.csv' has ")
    for word in ("max_bytes=10000000000", "max_bytes=20000000000"):
        done = cli(*command, word)
        assert done.status == 0, done.err


def test_a_bound_is_a_whole_number_and_of_a_table(here):
    sweep = vsweep.sweep(["data=iris", "model=logistic", "steps=2", "tracker=none"], quiet=True)
    for command in (vsweep.verify, vsweep.confirm):
        with pytest.raises(ConfigError, match=r"^max_bytes: the sweep reads no table; leave it out"):
            command(sweep.directory, max_bytes=10, quiet=True)
        with pytest.raises(ConfigError, match=r"^max_bytes: got 'a'; it takes an integer of at least 1"):
            command(sweep.directory, max_bytes="a", quiet=True)
    with pytest.raises(ConfigError, match=r"^data\.max_bytes: data=iris has no such field"):
        vsweep.reproduce(sweep.directory, 0, max_bytes=10)


def test_a_larger_bound_of_ones_own_resumes_the_same_trials(kept, cli):
    done = cli("resume", "kept", "data.max_bytes=10")
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("vsweep: data.max_bytes: 'own.csv' has ")
    done = cli("resume", "kept", "data.max_bytes=1e10", "seeds=3")
    assert done.status == 0, done.err
    sweep = vsweep.load(kept)
    assert (len(sweep.trials), sweep.config["data"]["max_bytes"]) == (3, 10**10)


@pytest.mark.parametrize("name", [".lock", "curves", "plan.json", "params", "ledger/log.jsonl"])
def test_a_link_out_of_a_directory_is_refused_and_nothing_is_written_through_it(here, kept, name, cli):
    victim = here / "victim"
    if (kept / name).is_dir():
        shutil.copytree(kept / name, victim)
        shutil.rmtree(kept / name)
    else:
        victim.write_bytes((kept / name).read_bytes() if (kept / name).exists() else b"mine")
        (kept / name).unlink(missing_ok=True)
    (kept / name).symlink_to(victim)
    files = [victim] if victim.is_file() else sorted(victim.iterdir())
    before = [path.read_bytes() for path in files]
    for words in (["resume", "kept"], ["resume", "kept", "seeds=3"], ["verify", "kept"], ["confirm", "kept"]):
        done = cli(*words)
        assert done.status == 2, done.err
        assert "is a link, through which files elsewhere would be read or written" in done.err
        assert (
            done.err.replace("note: reading the data file 'own.csv', named by 'kept'\n", "").count("\n") == 1
        )
    assert [path.read_bytes() for path in files] == before


OWN = """
from pathlib import Path
Path("canary").write_text("imported")
import vsweep
def line():
    return vsweep.Model(lambda key, n, m: {"a": 0.0}, lambda params, x: params["a"] * x)
"""


@pytest.mark.parametrize("noted", [{"../../mine.png": "", "old.png": ""}, ["old.png"], 3])
def test_pictures_that_a_plan_notes_are_taken_away_in_the_directory_alone(here, kept, cli, noted):
    (here / "mine.png").write_bytes(b"mine")
    (kept / "pictures").mkdir()
    (kept / "pictures" / "old.png").write_bytes(b"old")
    plan = json.loads((kept / "plan.json").read_text()) | {"pictures": noted}
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    done = cli("resume", "kept", "seeds=3")
    assert done.status == 0, done.err
    assert (here / "mine.png").read_bytes() == b"mine"
    assert (kept / "pictures" / "old.png").exists() == (not isinstance(noted, dict))


@pytest.mark.parametrize("name", ["curves/.more.parquet", "pictures/more.png", "wandb", "wandb/runs.jsonl"])
@pytest.mark.parametrize("command", ["sync", "dashboard"])
def test_no_link_is_followed_to_what_would_be_sent(here, kept, name, command, monkeypatch):
    """The project that a directory's config names may be anybody's, and what is sent there is theirs."""
    if (command, name) == ("dashboard", "wandb/runs.jsonl"):
        pytest.skip("it reads and writes no such file")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    victim = here / "victim"
    victim.mkdir() if name == "wandb" else victim.write_bytes(b"mine")
    (kept / name).parent.mkdir(exist_ok=True)
    (kept / name).symlink_to(victim)
    send = partial(vsweep.sync, mode="offline") if command == "sync" else vsweep.dashboard
    with pytest.raises((ConfigError, ServiceError), match="is a link, through which files elsewhere"):
        send(kept, quiet=True)
    assert victim.read_bytes() == b"mine" if victim.is_file() else not list(victim.iterdir())


@pytest.mark.parametrize("words", [["sync", "."], ["dashboard", "."], ["resume", ".", "seeds=3"]])
def test_a_directory_that_one_stands_in_says_nothing_to_the_client(here, kept, cli, monkeypatch, words):
    """W&B's client reads from `wandb/settings`, where one stands, which server to send the key to."""
    monkeypatch.chdir(kept)
    done = cli(*words)
    assert done.status == 2
    assert "the working directory is the sweep's own directory" in done.err


@pytest.mark.parametrize("command", ["resume", "verify", "confirm"])
def test_a_directory_that_one_stands_in_runs_no_code(here, kept, cli, monkeypatch, command):
    (kept / "theirs.py").write_text(OWN)
    plan = json.loads((kept / "plan.json").read_text())
    plan["study"]["variants"][0]["config"]["model"] = {"name": "own", "_target_": "theirs.line"}
    plan["trials"] = 3
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    monkeypatch.chdir(kept)
    done = cli(command, ".")
    assert done.status == 2, done.err
    assert "the working directory is the sweep's own directory" in done.err
    assert not (kept / "canary").exists()


def test_a_recorded_function_is_asked_for_by_allow_targets(here, kept, cli):
    """The modules that the directory allows are ignored."""
    (kept / "ledger" / "log.jsonl").unlink()
    plan = json.loads((kept / "plan.json").read_text())
    plan["study"]["variants"][0]["config"]["model"] = {"name": "own", "_target_": "os.getcwd"}
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    config = (kept / "config.yaml").read_text().replace("allow_targets: []", "allow_targets: [os, posix]")
    (kept / "config.yaml").write_text(config)
    forge(kept)
    done = cli("resume", "kept")
    assert done.status == 2
    assert "give allow_targets=[os] on the command line" in done.err


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"format": 2},
    ],
)
def test_a_plan_of_another_version_is_one_message(kept, cli, plan):
    (kept / "plan.json").write_text(json.dumps(plan))
    forge(kept)
    before = {path: path.read_bytes() for path in kept.rglob("*.parquet")}
    for words in (["resume", "kept"], ["resume", "kept", "seeds=3"], ["verify", "kept"]):
        done = cli(*words)
        assert done.status == 2, (words, done.err)
        assert done.err.startswith("vsweep: dir: ")
        assert done.err.count("\n") == 1
    assert {path: path.read_bytes() for path in kept.rglob("*.parquet")} == before


DEEP = 100_000
GARBAGE = {
    "plan.json": [
        "null",
        "[]",
        "3",
        "[" * DEEP,
        "\0\1\2",
        "",
        json.dumps({"format": FORMAT}),
        json.dumps({"format": FORMAT, "numerics": NUMERICS}),
        json.dumps({"format": FORMAT, "numerics": NUMERICS, "versions": 3}),
    ],
    "config.yaml": [
        "null",
        "[]",
        "3",
        "[" * 5000,
        "\0\1",
        "",
        "a: [",
        "model: 3",
        "&a [*a]",
        "data: &a {b: *a}",
    ],
    "verify.json": ["null", "[]", "{}", "[" * DEEP, '{"checked": "x", "of": 1, "trials": []}'],
    "trials.parquet": ["", "PAR1", "null", "x" * 1000],
    "curves/part-000000.parquet": ["", "PAR1", "x" * 1000],
    "ledger/log.jsonl": ["", "null", encode_line({"part": "x"}).decode(), encode_line({"part": -1}).decode()],
    "examples/0.parquet": ["", "x" * 1000],
    "params/best.npz": ["", "x" * 1000, "PK"],
}
COMMANDS = [["report", "kept"], ["resume", "kept"], ["resume", "kept", "seeds=3"], ["verify", "kept", "k=1"]]


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_one_message_or_is_mended(here, kept, cli, name):
    """A person can take the checksums away, and an earlier version wrote none."""
    for i, text in enumerate(GARBAGE[name]):
        for words in (COMMANDS[0], COMMANDS[1 + i % 3]):
            shutil.rmtree("kept")
            shutil.copytree(here / "trained", "kept")
            (kept / name).parent.mkdir(exist_ok=True)
            (kept / name).write_text(text)
            forge(kept)
            done = cli(*words)
            assert done.status in (0, 1, 2), (words, text[:80], done.err)
            assert "Traceback" not in done.err
            # Parameters that cannot be read stand in the way of no training.
            assert not done.status or name != "params/best.npz", done.err
            if done.status:
                # A finished sweep is shown first, and a data file is announced.
                *shown, message = done.err.splitlines()
                assert message.startswith("vsweep: ")
                assert "kept" in message
                shown = [line for line in shown if not line.startswith("note: reading the data file")]
                assert not shown or (name, words[0]) == ("verify.json", "resume")
            elif words[0] == "resume":
                assert len(vsweep.load("kept").curves) >= 6


def make(factor, table=(1, 2)):
    def loss(outputs, targets, power=2.0):
        return factor * abs(outputs[0] - targets) ** power + table[0]

    return loss


def test_a_function_is_known_by_all_that_it_uses():
    one = fingerprint(make(1.0))
    assert fingerprint(make(1.0)) == one
    assert fingerprint(make(2.0)) != one
    assert fingerprint(make(1.0, (3, 2))) != one
    spaces = [{}, {}]
    for space, constant in zip(spaces, ("1.0", "5.0"), strict=True):
        exec(f"C = {constant}\ndef f(z, y):\n    return C * z[0]\n", space)
    assert fingerprint(spaces[0]["f"]) != fingerprint(spaces[1]["f"])
    arrays = [make(np.arange(3.0)), make(np.arange(3.0) + 1e-9)]
    assert fingerprint(arrays[0]) != fingerprint(arrays[1])


def test_another_closure_is_another_trial(here):
    x = np.linspace(0.0, 1.0, 20)

    def model(scale):
        def line():
            return Model(lambda key, n, m: {"a": jnp.float32(0.1)}, lambda p, x: scale * p["a"] * x)

        return line

    words = ["steps=2", "tracker=none", "verify=false", "dir=kept"]
    vsweep.sweep(words, model=model(1.0), data=(x, x), quiet=True)
    with pytest.raises(ConfigError, match="holds 1 trials that are not in this sweep"):
        vsweep.sweep(words, model=model(5.0), data=(x, x), quiet=True)


def test_a_trial_that_does_not_fit_the_memory_is_one_message(here, cli, monkeypatch):
    from vsweep.engine import executor

    def full(self, program, block, arrangement):
        raise MemoryError("no more")

    monkeypatch.setattr(executor._Run, "_call", full)
    monkeypatch.setattr(executor._Run, "_halve", lambda self, program, used: False)
    done = cli("run", "data=iris", *WORDS, "dir=kept")
    assert done.status == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("vsweep: a block of one trial per device does not fit in memory; 0 of 2 trials")
    assert (here / "kept").is_dir()


@pytest.mark.parametrize(
    ("words", "file"),
    [(["verify", "kept", "k=1"], "verify.json"), (["confirm", "kept", "top=1"], "confirm.json")],
)
def test_a_full_disk_at_the_end_is_one_message(kept, cli, monkeypatch, words, file):
    write = Files.write

    def full(files, name, content):
        if name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(files, name, content)

    monkeypatch.setattr(Files, "write", full)
    done = cli(*words)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("vsweep: cannot write in kept (No space left on device); ")
    assert not (kept / file).exists()
    assert vsweep.load(kept).curves["trial"].nunique() == 2
