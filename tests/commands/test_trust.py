"""A directory from someone else: the modules, files and URLs that it names are no permission to use them."""

import json
import os
import shlex
import shutil
import sys
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from omegaconf import OmegaConf
from store_helpers import forge

import vsweep
from vsweep.cli.arguments import REPRODUCE, parse
from vsweep.config.spec import make_spec, spec_from_record
from vsweep.config.trust import READ_ONLY, allow, of_record
from vsweep.errors import ConfigError
from vsweep.tasks.data import tabular

ROWS = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{'xz'[i % 3 == 0]}\n" for i in range(40))
WORDS = ["data=csv", "data.path=own.csv", "data.target=y", "steps=2", "record_every=2", "seeds=2"]
WORDS += ["tracker=none", "verify=false", "keep.params=all"]
URL, OTHER = "http://nowhere.invalid/own.csv", "http://nowhere.invalid/other.csv"
MINE = """
from pathlib import Path
Path({canary!r}).write_text("imported")
import jax.numpy as jnp
import vsweep
def line(scale=1.0):
    def init(key, n, m):
        return {{"w": jnp.zeros((m, n))}}
    return vsweep.Model(init, lambda params, x: scale * params["w"] @ x)
"""
TRAIN = {
    "resume": lambda directory, **more: vsweep.resume(directory, quiet=True, **more),
    "resume with words": lambda directory, **more: vsweep.resume(directory, ["seeds=3"], quiet=True, **more),
    "verify": lambda directory, **more: vsweep.verify(directory, quiet=True, **more),
    "confirm": lambda directory, **more: vsweep.confirm(directory, seeds=2, quiet=True, **more),
    "reproduce": lambda directory, **more: vsweep.reproduce(directory, 0, **more),
}
COMMANDS = {
    "resume": ["resume", "kept"],
    "resume with words": ["resume", "kept", "seeds=3"],
    "verify": ["verify", "kept"],
    "confirm": ["confirm", "kept", "seeds=2"],
    "reproduce": ["run", "trial=0", "from=kept"],
}


def train(folder, *words):
    (folder / "own.csv").write_text(ROWS)
    (folder / "mine.py").write_text(MINE.format(canary=os.devnull))
    with chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            vsweep.sweep([*WORDS, "dir=kept", *words], quiet=True)
        finally:
            sys.path.remove(str(folder))
            sys.modules.pop("mine", None)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(tmp_path_factory.mktemp("plain"), "model=logistic")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return train(tmp_path_factory.mktemp("own"), "model=own", "model._target_=mine.line")


@pytest.fixture
def kept(here, plain):
    """A sweep of a registered model in `kept`, and its data in `own.csv`."""
    shutil.copytree(plain, here, dirs_exist_ok=True)
    return Path("kept")


@pytest.fixture
def canary(tmp_path_factory):
    """A file that planted modules write when they are imported."""
    return tmp_path_factory.mktemp("canary") / "canary"


@pytest.fixture
def ones_own(here, own, canary, monkeypatch):
    """A sweep of a model of one's own in `kept`, whose module is in the current folder."""
    shutil.copytree(own, here, dirs_exist_ok=True)
    (here / "mine.py").write_text(MINE.format(canary=str(canary)))
    shutil.rmtree(here / "__pycache__", ignore_errors=True)
    monkeypatch.syspath_prepend(here)
    return Path("kept")


def change(directory, old, new):
    """Replace a text wherever the directory's record has it."""
    for name in ("plan.json", "config.yaml"):
        file = directory / name
        file.write_text(file.read_text().replace(old, new))
    forge(directory)


def unfinish(directory):
    """Take a block away, so that `resume` has something to train."""
    (directory / "ledger" / "log.jsonl").unlink()


def is_imported(name):
    return any(module == name or module.startswith(f"{name}.") for module in sys.modules)


# Modules.


def test_reading_a_directory_imports_nothing(here, ones_own, canary, cli):
    change(ones_own, "mine.line", "kept.evil.line")
    (ones_own / "evil.py").write_text(MINE.format(canary=str(canary)))
    sweep = vsweep.load(ones_own)
    words = sweep.overrides(0)
    assert "model._target_='kept.evil.line'" in words
    assert "model.scale=1.0" in words
    assert vsweep.overrides(ones_own, 0)[:-1] == words[:-1]
    done = cli("report", "kept")
    assert done.status == 0, done.err
    assert "kept.evil.line" in (ones_own / "report.html").read_text()
    vsweep.sync(ones_own, mode="offline", quiet=True)
    assert not canary.exists()
    assert not is_imported("kept")


FUNCTIONS = """
def bowl(x, y, power=2.0):
    return abs(x) ** power + y**2
class Rows:
    @staticmethod
    def few(count=12, *, shift=0.0):
        return [[i + shift] for i in range(count)], [float(i) for i in range(count)]
"""


def test_the_words_of_every_kind_of_own_function_are_in_the_record(here, monkeypatch):
    (here / "mine.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(here)
    common = ["steps=2", "tracker=none", "verify=false"]
    point = ["data=none", "model=point", "loss=own", "loss._target_=mine.bowl", "loss.power=4.0"]
    starts = ["grid.model.x=[1.0,2.0]", "model.y=3.0"]
    vsweep.sweep([*common, *point, *starts, "dir=point"], quiet=True)
    data = ["data=own", "data._target_=mine.Rows.few", "data.shift=1.0", "grid.data.count=[12,15]"]
    vsweep.sweep([*common, *data, "model=linear", "dir=data"], quiet=True)
    before = [vsweep.load(directory).overrides(1) for directory in ("point", "data")]
    (here / "mine.py").unlink()
    del sys.modules["mine"]
    words = [vsweep.load(directory).overrides(1) for directory in ("point", "data")]
    assert words == before
    assert {"loss._target_='mine.bowl'", "loss.power=4.0", "model.x=2.0", "model.y=3.0"} <= {*words[0]}
    assert {"data._target_='mine.Rows.few'", "data.shift=1.0", "data.count=15"} <= {*words[1]}
    # The model is a shipped one, and predicts without the data.
    assert vsweep.load("data").predictor(0)([[1.0], [2.0]]).shape == (2,)
    assert not is_imported("mine")


def test_data_that_were_an_object_are_not_needed_to_predict(here):
    x = [float(i) for i in range(20)]
    words = ["model=linear", "steps=2", "tracker=none", "verify=false", "dir=kept"]
    vsweep.sweep(words, data=(x, x), quiet=True)
    with pytest.raises(ConfigError, match=r"^data: it was given as an object"):
        vsweep.load("kept").overrides(0)
    assert vsweep.load("kept").predictor(0)([[1.0], [2.0]]).shape == (2,)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recorded_function_in_the_current_folder_is_imported_where_it_is_allowed(
    name, ones_own, canary, cli
):
    unfinish(ones_own) if name == "resume" else None
    change(ones_own, "allow_targets: []", "allow_targets: [mine]")
    done = cli(*COMMANDS[name])
    assert done.status == 2, done.err
    assert "'mine.line' is in the module mine, which is not in this command's own words" in done.err
    assert "give allow_targets=[mine] on the command line" in done.err
    with pytest.raises(ConfigError, match=r"allow_targets=\[mine\]"):
        TRAIN[name](ones_own)
    assert not canary.exists()
    done = cli(*COMMANDS[name], "allow_targets=[mine]")
    assert done.status == 0, done.err
    assert canary.exists()
    TRAIN[name](ones_own, allow_targets=["mine"])


def test_a_function_that_the_command_itself_names_is_imported(ones_own, cli):
    assert cli("resume", "kept", "seeds=3").status == 2
    done = cli("resume", "kept", "seeds=3", "model._target_=mine.line")
    assert done.status == 0, done.err
    assert len(vsweep.load(ones_own).trials) == 3


def test_a_sweep_file_that_the_command_names_may_name_functions_and_one_of_the_record_may_not(ones_own, cli):
    Path("sweeps").mkdir()
    fields = {"defaults": ["_self_"], "model": {"name": "own", "_target_": "mine.line"}}
    Path("sweeps/theirs.yaml").write_text(yaml.safe_dump(fields))
    plan = json.loads((ones_own / "plan.json").read_text())
    words = [word for word in plan["study"]["words"] if not word.startswith("model")]
    plan["study"]["words"] = ["sweep=theirs", *words]
    (ones_own / "plan.json").write_text(json.dumps(plan))
    forge(ones_own)
    done = cli("resume", "kept", "seeds=3")
    assert (done.status, "allow_targets=[mine]" in done.err) == (2, True), done.err
    done = cli("resume", "kept", "seeds=3", "sweep=theirs")
    assert done.status == 0, done.err


def test_a_predictor_imports_what_is_allowed(ones_own, canary):
    x = [[1.0, 2.0]]
    with pytest.raises(ConfigError, match=r"^model\._target_: .*allow_targets=\[mine\]"):
        vsweep.load(ones_own).predictor(0)
    assert not canary.exists()
    assert vsweep.load(ones_own, allow_targets=["mine"]).predictor(0)(x).shape == (1,)


def linked(here, directory):
    (here / "link").symlink_to(here / directory)
    return "link.evil.line"


def inside_a_package(here, directory):
    """A package of one's own, of which a folder is a link into the directory."""
    (here / "package").mkdir()
    (here / "package" / "__init__.py").write_text(MINE.format(canary=str(here / "package" / "canary")))
    (here / "package" / "sub").symlink_to(here / directory)
    return "package.sub.evil.line"


def linked_out(here, directory):
    """A module of the directory that is a link to a module elsewhere."""
    (here / directory / "evil.py").rename(here / "elsewhere.py")
    (here / directory / "evil.py").symlink_to(here / "elsewhere.py")
    return "kept.evil.line"


def on_the_path(here, directory):
    sys.path.append(str(here / directory))
    return "evil.line"


def further_in(here, directory):
    (here / directory / "pictures").mkdir()
    (here / directory / "evil.py").rename(here / directory / "pictures" / "evil.py")
    return "kept.pictures.evil:line"


def through_ones_own(here, directory):
    """A function of the directory's module, which a module of one's own has."""
    sys.path.append(str(here / directory))
    (here / "wrapper.py").write_text("def line():\n    pass\nline.__module__ = 'evil'\n")
    return "wrapper.line"


PLACES = [lambda *_: "kept.evil.line", linked, inside_a_package, linked_out, on_the_path, further_in]


@pytest.mark.parametrize("place", [*PLACES, through_ones_own])
@pytest.mark.parametrize("command", ["plan", "verify"])
def test_nothing_in_a_sweeps_directory_is_imported_whoever_allows_it(
    here, ones_own, canary, cli, monkeypatch, place, command
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (ones_own / "evil.py").write_text(MINE.format(canary=str(canary)))
    target = place(here, "kept")
    allowed = f"allow_targets=[{target.partition('.')[0]},evil]"
    if command == "plan":
        words = ["plan", "model=own", f"model._target_='{target}'", "data=iris", "tracker=none", allowed]
    else:
        change(ones_own, "mine.line", target)
        words = ["verify", "kept", allowed]
    done = cli(*words)
    assert done.status == 2, done.err
    assert "lies in a sweep's directory" in done.err
    assert "move the module elsewhere" in done.err
    assert not canary.exists()
    assert not list(here.rglob("canary"))
    assert not any(map(is_imported, ("evil", "kept", "link", "package")))


# The current folder.

PLANTED = ["pandas", "yaml", "difflib", "typing", "json", "sitecustomize", "matplotlib", "plotly", "jax"]


def test_a_report_in_the_directory_itself_imports_nothing_from_there(here, kept, canary, command):
    for name in PLANTED:
        (kept / f"{name}.py").write_text(f"open({str(canary)!r}, 'w').close()\nraise SystemExit(3)\n")
    (kept / "matplotlibrc").write_text("text.usetex: True\n")
    done = command(kept, "report", ".")
    assert done.status == 0, done.err
    assert not canary.exists()
    assert "cannot be drawn" not in (kept / "report.html").read_text()


def test_a_function_in_the_directory_that_one_stands_in_is_not_imported(kept, canary, cli, monkeypatch):
    (kept / "mine.py").write_text(MINE.format(canary=str(canary)))
    monkeypatch.chdir(kept)
    done = cli("plan", "data=iris", "tracker=none", "model=own", "model._target_=mine.line")
    assert done.status == 2
    assert "the module mine lies in a sweep's directory" in done.err
    assert not canary.exists()


INSIDE = ["verify ../kept", "resume ../kept seeds=3", "sync ../kept", "run trial=0 from=../kept"]


@pytest.mark.parametrize("words", INSIDE)
def test_no_command_that_trains_or_sends_is_run_from_another_sweeps_directory(kept, cli, monkeypatch, words):
    shutil.copytree(kept, "theirs")
    monkeypatch.chdir("theirs")
    done = cli(*words.split())
    assert done.status == 2
    assert "the working directory lies in another sweep's directory" in done.err


# Data.


@pytest.fixture
def fetched(here, monkeypatch):
    """The URLs that were fetched; all of them lead to the same table."""
    urls = []

    def answer(url, **_):
        urls.append(url)
        return BytesIO(ROWS.encode())

    monkeypatch.setattr(tabular, "build_opener", lambda *_: SimpleNamespace(open=answer))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    return urls


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recorded_url_is_fetched_where_it_is_allowed(name, kept, fetched, cli):
    unfinish(kept) if name == "resume" else None
    change(kept, "own.csv", URL)
    change(kept, "allow_urls: []", f"allow_urls: ['{URL}']")
    done = cli(*COMMANDS[name])
    assert done.status == 2, done.err
    assert f"give allow_urls=[{URL}] on the command line" in done.err
    with pytest.raises(ConfigError, match=r"^data\.path: .*allow_urls=\["):
        TRAIN[name](kept)
    assert fetched == []
    done = cli(*COMMANDS[name], f"allow_urls=[{URL}]")
    assert done.status == 0, done.err
    assert done.err.count(f"reading the data file '{URL}', named by 'kept'\n") == 1
    assert fetched == [URL]
    # The copy in the user's cache needs no permission.
    TRAIN[name](kept)
    assert fetched == [URL]


@pytest.mark.parametrize("url", ["file://HERE/own.csv", "ftp://a/b.csv", "https://a/b.csv?c=d,e"])
def test_the_word_that_a_refusal_prints_allows_the_url(here, kept, fetched, cli, url):
    url = url.replace("HERE", str(here))
    change(kept, "own.csv", url)
    done = cli("verify", "kept")
    assert done.status == 2
    (word,) = shlex.split(done.err.partition("give ")[2].partition(" on the command line")[0])
    done = cli("verify", "kept", word)
    assert done.status == 0, done.err
    # A file of this machine is read where it is.
    assert fetched == [url] * (not url.startswith("file"))


@pytest.mark.parametrize("field", ["data.path", "grid.data.path"])
def test_a_url_that_the_command_itself_names_is_fetched(kept, fetched, cli, field):
    value = URL if field == "data.path" else f"[own.csv,'{URL}']"
    done = cli("resume", "kept", "seeds=3", f"{field}={value}")
    assert done.status == 0, done.err
    assert fetched == [URL]


@pytest.mark.parametrize(
    "path", ["kept/own.csv", "link/own.csv", "theirs.csv", "kept/../kept/pictures/own.csv"]
)
@pytest.mark.parametrize("command", ["verify", "resume with words"])
def test_data_in_a_sweeps_directory_are_not_read(here, kept, cli, path, command):
    (kept / "pictures").mkdir()
    for file in (kept / "own.csv", kept / "pictures" / "own.csv"):
        file.write_text(ROWS)
    (here / "link").symlink_to(kept)
    (here / "theirs.csv").symlink_to(kept / "own.csv")
    change(kept, "own.csv", path)
    done = cli(*COMMANDS[command])
    assert done.status == 2, done.err
    assert "lies in a sweep's directory" in done.err
    assert "copy it elsewhere" in done.err


def test_a_data_file_is_announced_unless_the_command_names_it_or_is_quiet(kept, cli, capfd):
    line = "note: reading the data file 'own.csv', named by 'kept'\n"
    for name in ("verify", "confirm", "reproduce", "resume with words"):
        assert cli(*COMMANDS[name]).err.count(line) == 1, name
    assert line not in cli("resume", "kept", "seeds=4", "data.path=own.csv").err
    capfd.readouterr()
    vsweep.verify(kept, quiet=True)
    vsweep.confirm(kept, seeds=2, quiet=True)
    assert capfd.readouterr().err == ""
    vsweep.verify(kept)
    assert capfd.readouterr().err == line


def test_reading_a_directory_does_not_ask_for_its_data(kept, fetched, cli):
    change(kept, "own.csv", URL)
    assert cli("report", "kept").status == 0
    assert vsweep.load(kept).predictor(0)([[1.0, 2.0]]).shape == (1,)
    assert f"data.path='{URL}'" in vsweep.load(kept).overrides(0)
    assert fetched == []


# Words.


def with_words(directory, *words):
    plan = json.loads((directory / "plan.json").read_text())
    plan["study"]["words"] += words
    (directory / "plan.json").write_text(json.dumps(plan))
    forge(directory)


@pytest.mark.parametrize(
    "word",
    [
        "data.target='${oc.env:CANARY}'",
        "data.target='${oc.decode:${dtype}}'",
        "data.target='${steal:x}'",
        "data.target='${${dtype}:x}'",
        "grid.optimizer.lr='${steal:x}'",
        "data.target='${hydra:runtime.cwd}'",
        "hydra.run.dir=elsewhere",
        "hydra.sweep.dir=elsewhere",
        "wandb_sweep=/etc/passwd",
        "++wandb_sweep=/etc/passwd",
    ],
)
def test_recorded_words_call_nothing_and_set_nothing_of_hydra(here, kept, cli, monkeypatch, word):
    calls = []
    monkeypatch.setenv("CANARY", "y")
    OmegaConf.register_new_resolver("steal", lambda *_: calls.append("called") or "y")
    try:
        nested = "steal" if "${${" in word else "'\\\\${oc.env:CANARY}'"
        with_words(kept, word, *[f"dtype={nested}"] * ("dtype" in word))
        before = sorted(here.rglob("*"))
        done = cli("resume", "kept", "seeds=3")
        assert done.status == 2, done.err
        assert done.err.count("\n") == 1
        assert calls == []
        assert sorted(here.rglob("*")) == before
        # A resolver of the user's program is still there for the user's own words.
        assert cli("plan", "data=iris", "tracker=none", "optimizer.lr='${steal:x}'").status == 2
        assert calls
    finally:
        OmegaConf.clear_resolver("steal")


@pytest.mark.parametrize("command", ["resume", "resume with words", "confirm", "reproduce"])
def test_a_recorded_directory_is_not_where_trials_are_written(here, kept, cli, command):
    with_words(kept, "dir=elsewhere")
    change(kept, "dir: kept", "dir: elsewhere")
    unfinish(kept) if command == "resume" else None
    assert cli(*COMMANDS[command]).status == 0
    assert not (here / "elsewhere").exists()


def test_interpolations_of_a_recorded_config_are_text(kept, cli, monkeypatch):
    monkeypatch.setenv("CANARY", "own.csv")
    change(kept, "own.csv", "${oc.env:CANARY}")
    done = cli("verify", "kept")
    assert done.status == 2
    assert "no file at '${oc.env:CANARY}'" in done.err


def test_the_word_of_a_permission_is_read_as_it_is_printed():
    urls = ["https://a/b?c=d,e", "http://x/y", "https://a/[b]'c"]
    for name, words in (("verify", ["DIR"]), ("confirm", ["DIR"]), (REPRODUCE, ["trial=0", "from=DIR"])):
        word = "allow_urls=['https://a/b?c=d,e', http://x/y,'https://a/[b]\\'c']"
        assert parse(name, [*words, word])[1]["allow_urls"] == urls
        assert parse(name, [*words, allow("allow_targets", ["a", "b.c"])])[1]["allow_targets"] == ["a", "b.c"]


@pytest.mark.parametrize(
    "words",
    [
        [f"data.path='{URL}'", "data.target=y"],
        [f"grid.data.path=[own.csv,'{URL}']", "data.target=y"],
        [f"draws.data.path=[own.csv,'{URL}']", "data.target=y"],
        ["data.path='http://nowhere.invalid/${data.target}.csv'", "grid.data.target=[own,other]"],
    ],
)
def test_every_url_of_a_record_is_checked(words):
    made = make_spec(["data=csv", "model=linear", "tracker=none", *words])
    assert made.recorded_files == ()
    with pytest.raises(ConfigError, match=rf"^data\.path: '{URL}' is named by .* allow_urls=\["):
        spec_from_record(made.raw, made.record(), trust=of_record())
    for trust in (of_record(allow_urls=[URL, OTHER]), READ_ONLY):
        assert URL in spec_from_record(made.raw, made.record(), trust=trust).recorded_files
