"""The files of a directory are opened by the store's names, without a link, against their checksums."""

import os
import pickle
import shutil
from contextlib import suppress
from functools import partial
from io import BytesIO

import numpy as np
import pytest

from vsweep.errors import ConfigError, DamagedError
from vsweep.store.blocks import read_params, write_params
from vsweep.store.files import Files
from vsweep.store.lock import Lock

NAMES = ["plan.json", "trials.parquet", "examples/0.parquet", "curves/part-000000.parquet"]
NAMES += ["ledger/log.jsonl", "params/part-000000.npz", "underway/ab12.npz", "pictures/a.png"]
NAMES += ["wandb/runs.jsonl", ".extended/ready"]
OUTSIDE = ["../victim", "/etc/passwd", "curves/../../victim", "curves//part-000000.parquet", "./plan.json"]
OUTSIDE += [
    "",
    "plan.json\n",
    "planXjson",
    "curves",
    "curves/other.parquet",
    "curves/curves/part-000000.parquet",
]


@pytest.fixture
def files(tmp_path):
    """The files of an empty directory, beside a victim."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "kept").mkdir()
    return Files(tmp_path / "kept")


# All that can be done with a name.
ACTS = {
    "read": lambda files, name: files.read(name),
    "exists": lambda files, name: files.exists(name),
    "write": lambda files, name: files.write_bytes(name, b"theirs"),
    "append": lambda files, name: files.append(name, b"theirs\n"),
    "delete": lambda files, name: files.delete(name),
    "move": lambda files, name: files.move(name, "plan.json"),
    "move to": lambda files, name: files.move("plan.json", name),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_only_names_of_the_store_are_opened(files, act, name):
    files.write_bytes("plan.json", b"1")
    with pytest.raises(ConfigError, match="is no name of a file in a sweep's directory"):
        ACTS[act](files, name)
    assert (files.root.parent / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize("folder", ["..", "/", "elsewhere", "earlier/steps-x", "confirm/../..", "curves/"])
def test_only_folders_of_the_store_are_opened(files, folder):
    for act in (files.nested, files.make, files.clear, files.names, files.clear_unfinished):
        with pytest.raises(ConfigError, match="is no name of a file in a sweep's directory"):
            act(folder)


@pytest.mark.parametrize("name", NAMES)
def test_no_link_in_a_files_place_is_followed(files, name):
    path, victim = files.path(name), files.root.parent / "victim"
    path.parent.mkdir(exist_ok=True)
    for target in (victim, os.path.relpath(victim, path.parent), files.root.parent / "nothing"):
        path.symlink_to(target)
        for act in (ACTS["read"], ACTS["exists"]):
            with pytest.raises(ConfigError, match="is a link"):
                act(files, name)
        if name.endswith("jsonl"):
            with pytest.raises(ConfigError, match="is a link"):
                files.append(name, b"theirs\n")
        # Writing and deleting concern the link, and not the file that it leads to.
        files.write_bytes(name, b"theirs")
        assert not path.is_symlink()
        path.unlink()
        path.symlink_to(target)
        files.delete(name)
        assert not path.is_symlink()
    assert victim.read_bytes() == b"mine"
    assert not (files.root.parent / "nothing").exists()


@pytest.mark.parametrize("name", [name for name in NAMES if "/" in name])
@pytest.mark.parametrize("act", [act for act in ACTS if act not in ("move", "append")])
def test_no_link_in_a_folders_place_is_followed(files, act, name):
    files.write_bytes("plan.json", b"1")
    shutil.rmtree(files.root / "ledger")
    victims = files.root.parent / "victims"
    victims.mkdir()
    (victims / name.partition("/")[2]).write_bytes(b"mine")
    files.path(name.partition("/")[0]).symlink_to(victims)
    with pytest.raises(ConfigError, match="is a link"):
        ACTS[act](files, name)
    assert [path.read_bytes() for path in victims.iterdir()] == [b"mine"]
    with pytest.raises(ConfigError, match="is a link"):
        files.clear(name.partition("/")[0])
    assert [path.read_bytes() for path in victims.iterdir()] == [b"mine"]


def test_a_nested_folder_is_not_reached_by_a_link(files):
    victims = files.root.parent / "victims"
    victims.mkdir()
    (files.root / "earlier").mkdir()
    (files.root / "earlier" / "steps-3").symlink_to(victims)
    nested = files.nested("earlier/steps-3")
    for act in (lambda: nested.write_bytes("plan.json", b"1"), lambda: nested.names("curves")):
        with pytest.raises(ConfigError, match="is a link"):
            act()
    assert not list(victims.iterdir())


@pytest.mark.parametrize("name", ["ledger/log.jsonl", "wandb/runs.jsonl"])
def test_a_file_that_has_another_name_is_not_appended_to(files, name):
    path, victim = files.path(name), files.root.parent / "victim"
    path.parent.mkdir()
    path.hardlink_to(victim)
    with pytest.raises(ConfigError, match="is a link"):
        files.append(name, b"theirs\n")
    assert victim.read_bytes() == b"mine"


def test_a_lock_that_has_another_name_is_not_taken(files):
    victim = files.root.parent / "victim"
    (files.root / ".lock").hardlink_to(victim)
    with pytest.raises(ConfigError, match="is a link"):
        Lock(files.root)
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_told_at_once(files, make):
    make(files.path("plan.json"))
    with pytest.raises(DamagedError, match="no regular file or folder"):
        files.read("plan.json")


def test_a_file_in_a_folders_place_is_told(files):
    files.path("curves").write_bytes(b"")
    for act in (lambda: files.names("curves"), lambda: files.write_bytes("curves/part-000000.parquet", b"")):
        with pytest.raises(DamagedError, match="no regular file or folder"):
            act()


def test_the_directory_itself_may_be_a_link(files):
    files.write_bytes("plan.json", b"1")
    (files.root.parent / "latest").symlink_to(files.root)
    assert Files(files.root.parent / "latest").read("plan.json") == b"1"


@pytest.mark.parametrize("name", ["plan.json", "trials.parquet", "examples/0.parquet", "params/best.npz"])
def test_what_is_read_is_what_was_written_last(files, name):
    for body in (b"one", b"two", b"one"):
        files.write_bytes(name, body)
        assert Files(files.root).read(name) == body
    files.path(name).write_bytes(b"oNe")
    with pytest.raises(DamagedError, match="its checksum differs"):
        Files(files.root).read(name)
    files.path(name).unlink()
    with pytest.raises(DamagedError, match="it is missing"):
        Files(files.root).read(name)
    assert Files(files.root).lost() == [name]
    files.write_bytes(name, b"three")
    files.delete(name)
    with pytest.raises(FileNotFoundError):
        Files(files.root).read(name)
    assert Files(files.root).lost() == []


def test_a_process_that_dies_before_the_new_file_is_there_leaves_the_old_one_intact(files, monkeypatch):
    files.write_bytes("plan.json", b"old")

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            files.write_bytes("plan.json", b"new")
    again = Files(files.root)
    assert again.read("plan.json") == b"old"
    again.compact()
    assert Files(files.root).read("plan.json") == b"old"
    again.write_bytes("plan.json", b"new")
    assert Files(files.root).read("plan.json") == b"new"


def test_another_process_may_write_while_one_reads(files):
    files.write_bytes("plan.json", b"old")
    reader = Files(files.root)
    assert reader.read("plan.json") == b"old"
    Files(files.root).write_bytes("plan.json", b"new")
    assert reader.read("plan.json") == b"new"


def test_nothing_is_unpickled(files):
    opened = []

    class Evil:
        def __reduce__(self):
            return opened.append, (1,)

    body = BytesIO()
    np.savez(body, **{"0/identities": np.array([Evil()], object), "0/w": np.zeros(1)})
    for content in (body.getvalue(), pickle.dumps(Evil())):
        files.write_bytes("params/best.npz", content)
        with pytest.raises(DamagedError):
            read_params(files, "params/best.npz")
    assert opened == []
    write_params(files, "params/best.npz", [("a", {"w": np.float32([1.5])})])
    assert read_params(files, "params/best.npz")["a"]["w"].tolist() == [1.5]


class Died(BaseException):
    pass


def _set(*names):
    def write(files):
        for name in names:
            files.write_bytes(name, name.encode())

    return write


# Each change has the state before it, and the act of a process.
CHANGES = {
    "a new file": (_set(), lambda files: files.write_bytes("plan.json", b"new")),
    "a file replaced": (_set("plan.json"), lambda files: files.write_bytes("plan.json", b"new")),
    "a file deleted": (_set("plan.json"), lambda files: files.delete("plan.json")),
    "a file moved": (_set("plan.json"), lambda files: files.move("plan.json", "verify.json")),
    "a file moved in place of another": (
        _set("plan.json", "verify.json"),
        lambda files: files.move("plan.json", "verify.json"),
    ),
    "the log compacted": (_set("plan.json", "verify.json", "plan.json"), Files.compact),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_moment_of_a_change_looks_like_damage(tmp_path, monkeypatch, change):
    """Neither to a process that reads meanwhile, nor after the one that writes has died at that moment."""
    before, act = CHANGES[change]

    def look(files):
        for name in ("plan.json", "verify.json"):
            with suppress(FileNotFoundError):
                files.read(name)
        assert not files.lost()

    for dies in range(-1, 100):
        root = tmp_path / str(dies)
        root.mkdir()
        before(Files(root))
        reader, moment, looks = Files(root), 0, False

        def at(call, *arguments, dies=dies, reader=reader, root=root, **options):
            nonlocal moment, looks
            if not looks:
                looks = True
                if moment == dies:
                    raise Died
                for files in (reader, Files(root)) if dies < 0 else ():
                    look(files)
                moment, looks = moment + 1, False
            return call(*arguments, **options)

        died = False
        with monkeypatch.context() as patch:
            for name in ("open", "replace", "fsync", "unlink"):
                patch.setattr(os, name, partial(at, getattr(os, name)))
            with suppress(Died):
                act(Files(root))
                died = dies >= 0 and moment <= dies
        look(Files(root))
        if died:
            break
    assert 5 < dies < 99
