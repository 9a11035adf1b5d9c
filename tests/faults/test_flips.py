"""A flipped bit or a lost file is never a different number: it is told, and mended where a person resumes."""

import json
import random
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.errors import ConfigError, DamagedError
from vsweep.results import Sweep
from vsweep.store.blocks import read_checkpoints
from vsweep.store.files import Files
from vsweep.store.writer import initial_values

WORDS = ["data=food_water", "model=logistic", "grid.optimizer.lr=[0.1,1.0]", "seeds=2", "steps=6"]
WORDS += ["record_every=2", "block=2", "keep.state=true", "tracker=none", "verify=false"]
TRIES = 120


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two sweeps, which have every kind of file between them."""
    folder = tmp_path_factory.mktemp("flips")
    for name, params in (("best", "1"), ("all", "all")):
        directory = folder / name
        vsweep.sweep([*WORDS, f"keep.params={params}", f"dir={directory}"], quiet=True)
        vsweep.verify(directory, k=1)
    vsweep.confirm(folder / "best", top=1, seeds=1, quiet=True)
    shutil.copytree(folder / "best" / "states", folder / "best" / "underway")
    Path(folder / "best" / "underway" / "part-000000.npz").rename(folder / "best" / "underway" / "0.npz")
    Path(folder / "best" / "underway" / "part-000001.npz").rename(folder / "best" / "underway" / "1.npz")
    return folder


@pytest.fixture
def kept(trained, tmp_path):
    """A copy of both sweeps."""
    return shutil.copytree(trained, tmp_path / "kept")


def frame(table):
    return table.to_json(double_precision=15), table.dtypes.astype(str).to_dict()


def arrays(params):
    return {name: (values.dtype, values.tobytes(), values.shape) for name, values in params.items()}


def checkpoints(directory, folder):
    identities = vsweep.load(directory).trials["identity"].to_numpy()
    blocks = read_checkpoints(Files(directory), folder, identities)
    read = {}
    for block in blocks:
        values = {**block.metrics, **{str(i): leaf for i, leaf in enumerate(block.state)}}
        for place, row in enumerate(block.rows):
            read[int(row)] = arrays({name: value[place] for name, value in values.items()})
    return read


def everything(sweep):
    first = initial_values(sweep.directory, "val_loss", sweep.trials["trial"])
    return [frame(sweep.trials), frame(sweep.curves), first.to_dict()]


# These functions read each kind of file, by the name of the directory and of the file.
READS = {
    ("best", "config.yaml"): lambda d: Sweep(d).config,
    ("best", "plan.json"): lambda d: Sweep(d).plan,
    ("best", "trials.parquet"): lambda d: frame(Sweep(d).trials),
    ("best", "curves/part-000001.parquet"): lambda d: everything(Sweep(d)),
    ("best", "ledger/part-000001.parquet"): lambda d: everything(Sweep(d)),
    ("best", "ledger/log.jsonl"): lambda d: everything(Sweep(d)),
    ("best", "ledger/files.jsonl"): lambda d: [everything(Sweep(d)), Sweep(d).plan, Sweep(d).config],
    ("best", "examples/0.parquet"): lambda d: frame(Sweep(d).examples),
    ("best", "params/best.npz"): lambda d: arrays(Sweep(d).params(best(d))),
    ("all", "params/part-000001.npz"): lambda d: [arrays(Sweep(d).params(trial)) for trial in range(4)],
    ("best", "verify.json"): lambda d: Sweep(d).verified,
    ("best", "confirm.json"): lambda d: Files(d).read_json("confirm.json"),
}
# A checkpoint that is damaged is dropped, and its trials are trained from their start.
DROPPED = {
    ("best", "states/part-000001.npz"): lambda d: checkpoints(d, "states"),
    ("best", "underway/1.npz"): lambda d: checkpoints(d, "underway"),
}


def best(directory):
    """Return the number of the trial whose parameters the first of the two sweeps keeps."""
    trials = Sweep(directory).trials.sort_values(["final_val_accuracy", "identity"], ascending=[False, True])
    return int(trials["trial"].iloc[0])


@cache
def expected(directory, key):
    return {**READS, **DROPPED}[key](directory / key[0])


def flips(body, tries):
    """Yield copies of a file with one flipped bit each, at random places that are always the same."""
    draw = random.Random(0)
    for _ in range(tries):
        place = draw.randrange(len(body))
        yield body[:place] + bytes([body[place] ^ 1 << draw.randrange(8)]) + body[place + 1 :]


@pytest.mark.parametrize("key", READS, ids="/".join)
def test_a_flipped_bit_is_told_or_changes_nothing(trained, kept, key):
    path, read, told = kept / key[0] / key[1], READS[key], 0
    for body in flips(path.read_bytes(), TRIES):
        path.write_bytes(body)
        message = ""
        try:
            assert read(kept / key[0]) == expected(trained, key)
        except (DamagedError, ConfigError) as error:
            message = str(error)
        told += bool(message)
        assert not message or ("\n" not in message and "kept" in message)
    # A flip in the log of checksums is no damage of a file, and only a process that resumes reads rows.
    assert told == TRIES or key[1] in ("ledger/files.jsonl", "ledger/log.jsonl", "ledger/part-000001.parquet")
    assert not told or key[1] != "ledger/files.jsonl"


def test_a_flipped_bit_of_curves_is_told_where_their_trials_are_read(trained, kept):
    """A read of a few trials passes over the blocks that say they have none of them."""
    path = kept / "best" / "curves" / "part-000001.parquet"
    right = {trial: frame(Sweep(trained / "best").curves_of([trial])) for trial in range(4)}
    body, told = path.read_bytes(), dict.fromkeys(range(4), 0)
    for flipped in flips(body, TRIES):
        path.write_bytes(flipped)
        for trial in range(4):
            message = ""
            try:
                assert frame(Sweep(kept / "best").curves_of([trial])) == right[trial]
            except DamagedError as error:
                message = str(error)
            told[trial] += bool(message)
            assert not message or "part-000001.parquet" in message
    assert [told[2], told[3]] == [TRIES, TRIES]
    assert max(told[0], told[1]) < TRIES


@pytest.mark.parametrize("key", DROPPED, ids="/".join)
def test_a_flipped_bit_of_a_checkpoint_drops_it(trained, kept, key):
    path, read, dropped = kept / key[0] / key[1], DROPPED[key], 0
    for body in flips(path.read_bytes(), TRIES):
        path.write_bytes(body)
        left = read(kept / key[0])
        assert left.items() <= expected(trained, key).items()
        dropped += len(left) < len(expected(trained, key))
    assert dropped > TRIES // 2


@pytest.mark.parametrize("key", [key for key in READS if "ledger" not in key[1]], ids="/".join)
def test_a_lost_file_is_told(kept, key):
    (kept / key[0] / key[1]).unlink()
    with pytest.raises(DamagedError, match=r"is missing"):
        READS[key](kept / key[0])


@pytest.mark.parametrize("name", ["config.yaml", "plan.json"])
@pytest.mark.parametrize("words", [["report", "best"], ["resume", "best"], ["verify", "best"]])
def test_a_lost_record_is_told_where_no_checksum_is_known(kept, cli, monkeypatch, name, words):
    monkeypatch.chdir(kept)
    (kept / "best" / "ledger" / "files.jsonl").unlink()
    (kept / "best" / name).unlink()
    done = cli(*words)
    assert done.status == 1, done.err
    assert done.err.startswith(f"vsweep: 'best/{name}' is damaged (it is missing); ")
    assert done.err.count("\n") == 1
    if name == "config.yaml":
        # The message names this cure.
        done = cli("run", *WORDS, "keep.params=1", "dir=best")
        assert done.status == 0, done.err
        assert cli(*words).status == 0


@pytest.mark.parametrize("name", ["plan.json", "config.yaml", "curves/part-000000.parquet"])
def test_a_damaged_confirmation_is_mended_as_its_message_says(kept, name):
    (folder,) = (kept / "best" / "confirm").iterdir()
    (folder / name).unlink()
    with pytest.raises(DamagedError, match=f"delete '{folder}', and run `vsweep confirm {kept / 'best'}`"):
        [Sweep(folder).plan, Sweep(folder).config, Sweep(folder).curves]
    shutil.rmtree(folder)
    vsweep.confirm(kept / "best", top=1, seeds=1, quiet=True)
    assert len(Sweep(folder).curves) == 4


MENDED = ["trials.parquet", "curves/part-000001.parquet", "ledger/part-000001.parquet", "ledger/log.jsonl"]
MENDED += ["examples/0.parquet", "params/best.npz", "params/part-000001.npz", "ledger/files.jsonl"]


@pytest.mark.parametrize("harm", ["flip", "lose"])
@pytest.mark.parametrize("name", MENDED)
def test_resuming_mends_what_is_damaged_or_lost(trained, kept, name, harm):
    directory = "all" if "params/part" in name else "best"
    path = kept / directory / name
    if harm == "lose":
        path.unlink()
    else:
        path.write_bytes(next(flips(path.read_bytes(), 1)))
    vsweep.resume(kept / directory, quiet=True)
    one, other = Sweep(kept / directory), Sweep(trained / directory)
    assert everything(one)[:2] == everything(other)[:2]
    assert frame(one.examples) == frame(other.examples)
    trials = range(4) if directory == "all" else [best(trained / directory)]
    for trial in trials:
        assert arrays(one.params(trial)) == arrays(other.params(trial))
    assert not Files(kept / directory).lost()


@pytest.mark.parametrize("directory", ["best", "all"])
def test_parameters_that_were_never_kept_are_not_damaged(kept, directory):
    for path in (kept / "best" / "params").iterdir():
        assert path.name == "best.npz"
    others = {0, 1, 2, 3} - {best(kept / "best")}
    for trial in others if directory == "best" else ():
        with pytest.raises(KeyError, match="were not kept"):
            Sweep(kept / directory).params(trial)


def test_a_directory_of_before_has_no_checksums_and_reads_and_resumes(trained, kept):
    directory = kept / "best"
    (directory / "ledger" / "files.jsonl").unlink()
    plan = json.loads((directory / "plan.json").read_text()) | {"format": 3}
    (directory / "plan.json").write_text(json.dumps(plan))
    assert everything(Sweep(directory)) == everything(Sweep(trained / "best"))
    sweep = vsweep.resume(directory, ["seeds=3"], quiet=True)
    assert len(sweep.trials) == 6
    assert not Files(directory).lost()
    assert Sweep(directory).plan["format"] == 4
    pd.testing.assert_frame_equal(
        sweep.curves.query("step == 6").groupby("trial").size().reset_index(),
        pd.DataFrame({"trial": np.arange(6), 0: 1}),
        check_dtype=False,
        check_names=False,
    )
