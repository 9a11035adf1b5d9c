"""A directory from somebody else, changed at random: nothing outside is written, fetched or imported."""

import json
import os
import random
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import OpenerDirector

import pytest
import yaml
from store_helpers import forge

import vsweep

WORDS = ["data=food_water", "model=logistic", "grid.optimizer.lr=[0.1,1.0]", "seeds=2", "steps=4"]
WORDS += [
    "record_every=2",
    "block=2",
    "keep.state=true",
    "tracker=none",
    "verify=false",
    "pictures=[importance]",
]
COMMANDS = [
    ["report", "shared"],
    ["resume", "shared"],
    ["resume", "shared", "seeds=3"],
    ["resume", "shared", "steps=6"],
    ["verify", "shared", "k=1"],
    ["confirm", "shared", "top=1", "seeds=1"],
    ["run", "trial=0", "from=shared", "dir=again"],
    ["sync", "shared", "mode=disabled"],
    ["load"],
]
# The commands that train take most of the time, so each change is tried with one of these and with a report.
TRIES = 200
EVIL = """
from pathlib import Path
Path(__file__).parents[1].joinpath("victim.txt").write_text("imported")
def line():
    raise RuntimeError("their code has run")
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a sweep from somebody else in `shared`, beside files that are nobody else's business."""
    folder = tmp_path_factory.mktemp("given")
    vsweep.sweep([*WORDS, f"dir={folder / 'shared'}"], quiet=True)
    vsweep.verify(folder / "shared", k=1)
    (folder / "shared" / "evil.py").write_text(EVIL)
    (folder / "victim.txt").write_text("mine")
    (folder / "victim").mkdir()
    for name in ("part-000000.parquet", "best.npz", "0.parquet", "log.jsonl", "plan.json"):
        (folder / "victim" / name).write_text("mine")
    return folder


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def link(draw, shared):
    """Put a link to something outside in place of a file, or by a name of the store."""
    known = ["examples/1.parquet", ".extended/ledger/log.jsonl", "confirm/0123456789ab", "earlier/steps-2"]
    known += ["underway/0.npz", "pictures/x.png", "report.html", "stuck.txt", "wandb", "damaged", ".lock"]
    path = draw.choice([*files_of(shared), *(shared / name for name in known)])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    name = draw.choice(["victim.txt", "victim", "victim/plan.json", "nothing"])
    target = shared.parent / name
    path.symlink_to(target if draw.random() < 0.5 else os.path.relpath(target, path.parent))


def linked_folder(draw, shared):
    """Put a link to a folder outside in place of a folder."""
    path = shared / draw.choice(["curves", "ledger", "params", "states", "examples", "pictures", "underway"])
    shutil.rmtree(path, ignore_errors=True)
    path.symlink_to(shared.parent / "victim")


def extension(draw, shared):
    """Leave an extension that another process is to finish."""
    new = shared / ".extended"
    (new / "ledger").mkdir(parents=True, exist_ok=True)
    (new / "ready").write_text("")
    outside = str(shared.parent / "victim.txt")
    names = ["../victim.txt", outside, "curves/../../victim.txt", "./../victim/plan.json", "config.yaml"]
    (new / "gone").write_text("\n".join(draw.sample(names, 2)))
    if draw.random() < 0.5:
        (new / "ledger" / "log.jsonl").symlink_to(shared.parent / "victim" / "log.jsonl")
    if draw.random() < 0.3:
        (new / "earlier").symlink_to(shared.parent / "victim")


def kind(draw, shared):
    """Put another kind of thing in place of a file or a folder."""
    path = draw.choice([*files_of(shared), shared / "curves", shared / "ledger", shared / "params"])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    draw.choice([path.mkdir, lambda: os.mkfifo(path), lambda: path.write_bytes(b"PAR1" + bytes(64))])()


JUNK = [None, [], {}, "", -1, 0, 10**30, 1e308, float("nan"), True, "../../victim.txt", "shared.evil.line"]
JUNK += [
    "http://127.0.0.1:9/x.csv",
    "file:///etc/passwd",
    [[[[]]]],
    {"a": {"b": {"c": []}}},
    "${oc.env:HOME}",
]


def record(draw, shared):
    """Put junk at a random place of the plan or the config."""
    path, read, write = draw.choice(
        [
            (shared / "plan.json", json.loads, json.dumps),
            (shared / "config.yaml", yaml.safe_load, yaml.safe_dump),
            (shared / "verify.json", json.loads, json.dumps),
        ]
    )
    if not path.is_file():
        return
    tree = read(path.read_text())
    place = tree
    while True:
        if not isinstance(place, dict | list) or not place:
            break
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or draw.random() < 0.2:
            place[key] = draw.choice(JUNK)
            break
        place = place[key]
    path.write_text(write(tree))


def nested(draw, shared):
    """Nest a record more deeply than anything is read."""
    name, text = draw.choice(
        [("plan.json", "[" * 100_000), ("config.yaml", "[" * 5_000), ("verify.json", "null")]
    )
    (shared / name).write_text(text)


def target(draw, shared):
    """Name their code, or their data, in the plan and the config."""
    model = {"name": "own", "_target_": draw.choice(["shared.evil.line", "shared.evil:line", "evil.line"])}
    data = {"name": "csv", "target": "y", "features": None, "val_fraction": 0.2, "batch_size": None}
    data["path"] = draw.choice(
        ["http://127.0.0.1:9/x.csv", "victim.txt", "shared/evil.py", "ftp://127.0.0.1/x"]
    )
    group, value = draw.choice([("model", model), ("data", data)])
    config = yaml.safe_load((shared / "config.yaml").read_text())
    config |= {group: value, "allow_targets": ["shared", "evil", "shared.evil"], "allow_urls": [data["path"]]}
    (shared / "config.yaml").write_text(yaml.safe_dump(config))
    plan = json.loads((shared / "plan.json").read_text())
    for variant in plan["study"]["variants"]:
        variant["config"][group] = value
    own = value["_target_" if group == "model" else "path"]
    plan["study"]["words"] += [f"{group}=own", f"++model._target_={own}", "allow_targets=[shared,evil]"]
    (shared / "plan.json").write_text(json.dumps(plan))


def pictures(draw, shared):
    """Note pictures by names that lead out of their folder."""
    plan = json.loads((shared / "plan.json").read_text())
    plan["pictures"] = {draw.choice(["../../victim.txt", str(shared.parent / "victim.txt"), "..", "."]): ""}
    plan["name"] = "../../victim"
    (shared / "plan.json").write_text(json.dumps(plan))


def name(draw, shared):
    """Give a file a name that the store does not write."""
    path = draw.choice(files_of(shared))
    path.rename(path.with_name(draw.choice(["..\n", "-rf", "$(touch x)", "part-abc.parquet", "x" * 200])))


def odd_folder(draw, shared):
    """Add folders that the store makes, by names that it does not give."""
    for folder in draw.sample(
        ["earlier/steps-abc", "earlier/steps--1", "confirm/..x", "underway/a", "states/b"], 2
    ):
        (shared / folder / "states").mkdir(parents=True, exist_ok=True)


def lost(draw, shared):
    """Lose files."""
    for path in draw.sample(files_of(shared), 3):
        path.unlink()


CHANGES = [
    link,
    linked_folder,
    extension,
    kind,
    record,
    record,
    record,
    nested,
    target,
    target,
    pictures,
    name,
]
CHANGES += [odd_folder, lost]


def outside(folder):
    """Return all that is in a folder, except the sweep and what commands write by their own words."""
    paths = [
        path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in ("shared", "again")
    ]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def told():
    """Read all that a directory has from Python, and return the message where something is refused."""
    try:
        sweep = vsweep.load("shared")
        sweep.cells(), sweep.best(), sweep.curves, sweep.verified, sweep.overrides(0), sweep.params(0)
    except (vsweep.ConfigError, OSError, KeyError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "number", [pytest.param(i, marks=() if i < TRIES // 25 else pytest.mark.tail) for i in range(TRIES // 4)]
)
def test_a_changed_directory_does_nothing_outside(given, here, cli, monkeypatch, number):
    def refuse(*arguments, **options):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(OpenerDirector, "open", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    # Each number stands for four changes.
    for seed in range(4 * number, 4 * number + 4):
        draw = random.Random(seed)
        for path in here.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(given, here, dirs_exist_ok=True)
        changes = draw.sample(CHANGES, draw.choice([1, 1, 2]))
        for change in changes:
            # An earlier change may have taken away what this one would change.
            with suppress(OSError, ValueError, KeyError, TypeError):
                change(draw, here / "shared")
        if draw.random() < 0.8:
            forge(here / "shared")
        before = outside(here)
        words = draw.choice(COMMANDS)
        message = f"{[change.__name__ for change in changes]}, seed {seed}: {words}"
        if words == ["load"]:
            assert "\n" not in told(), message
        else:
            done = cli(*words)
            assert done.status in (0, 1, 2), (message, done.err)
            assert "Traceback" not in done.err, (message, done.err)
        assert outside(here) == before, message
        assert not [module for module in sys.modules if module.partition(".")[0] in ("shared", "evil")], (
            message
        )


def test_each_kind_of_change_is_refused_or_harmless_in_what_only_reads(given, here):
    for change in dict.fromkeys(CHANGES):
        shutil.rmtree(here / "shared", ignore_errors=True)
        shutil.copytree(given, here, dirs_exist_ok=True)
        change(random.Random(1), Path("shared").resolve())
        forge(here / "shared")
        before = outside(here)
        assert "\n" not in told(), change
        assert outside(here) == before
