"""A sweep's directory: what is written is read, whole or not at all, and opened again to go on."""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from store_helpers import PLAN

import vsweep
from vsweep.engine.devices import trial_mesh
from vsweep.engine.executor import train
from vsweep.errors import ConfigError
from vsweep.metrics import higher_is_better
from vsweep.store.blocks import TrainedBlock
from vsweep.store.trial_table import Table
from vsweep.store.writer import Store, read_curves, read_trials
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.data.splits import split

STEPS = np.array([0, 2, 4, 5])
METRICS = ["train_loss", "val_accuracy"]
TESTS = ["test_loss"]
SCORES = [f"{part}_{name}" for part in ("val", "test") for name in ("balanced_accuracy", "f1")]


def table(trials):
    number = np.arange(trials, dtype=np.int64)
    rows = pd.DataFrame(
        {"trial": 10 * number, "cell": number, "seed": 0 * number, "optimizer.lr": number / 7}
    )
    return Table(rows, np.array([f"{7919 * i:032x}" for i in range(trials)]), METRICS, TESTS)


def open_store(directory, trials, config=None, record=None):
    options = {"keep": 0, "numerics": 0, "at_steps": lambda steps: np.full(trials, "")}
    return Store(directory, table(trials), config or {}, {**PLAN, **(record or {})}, **options)


@pytest.fixture
def opened(tmp_path):
    """Opens the store of six trials, as a process that comes after the one before it: `opened() -> Store`."""
    made = []

    def call():
        for each in made:
            each.close()
        made.append(open_store(tmp_path / "kept", 6, {"steps": 5, "name": "ünï"}, {"trials": 6}))
        return made[-1]

    yield call
    for each in made:
        each.close()


@pytest.fixture
def store(opened):
    return opened()


def finished(rows, diverged_at=None, **metrics):
    rows = np.asarray(rows)
    rng = np.random.default_rng(rows[0])
    shape = len(rows), len(STEPS)
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name in METRICS} | metrics
    never = np.full(len(rows), -1, np.int32)
    diverged_at = never if diverged_at is None else np.asarray(diverged_at, np.int32)
    return TrainedBlock(rows, STEPS, drawn, diverged_at, {"test_loss": rng.normal(size=len(rows))})


def names(directory):
    """All files in it by their paths, hidden ones included."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def assert_holds(store, *blocks):
    """A store holds these blocks to the bit, and nothing else, in its files too."""
    rows = np.concatenate([np.zeros(0, np.int64), *(block.rows for block in blocks)])
    assert np.flatnonzero(store.done).tolist() == sorted(rows.tolist())
    assert store.finished == len(rows)
    store.write_trials()
    assert (store.directory / "trials.parquet").exists() == bool(blocks)
    if blocks:
        assert_reads(store, rows, *blocks)
    parts = [{p.name for p in (store.directory / folder).iterdir()} for folder in ("curves", "ledger")]
    logs = {"log.jsonl", "files.jsonl"}
    assert parts[1] - parts[0] <= logs
    assert parts[0] == parts[1] - logs
    assert len(parts[0]) == len(blocks)
    log = store.directory / "ledger" / "log.jsonl"
    body = log.read_bytes() if log.exists() else b""
    assert (body.count(b"\n"), body[-1:]) == (len(blocks), b"\n" if blocks else b"")
    assert not any(name.endswith(".part") for name in names(store.directory))


def assert_reads(store, rows, *blocks):
    """Assert that a store holds exactly these blocks."""
    curves, trials = read_curves(store.directory), read_trials(store.directory)
    assert curves["trial"].tolist() == np.repeat(10 * np.sort(rows), len(STEPS)).tolist()
    assert curves["step"].tolist() == STEPS.tolist() * len(rows)
    assert trials["trial"].tolist() == sorted(10 * rows)
    assert trials["identity"].tolist() == table(6).identities[np.sort(rows)].tolist()
    curves, trials = curves.set_index("trial"), trials.set_index("trial")
    for block in blocks:
        for name in METRICS:
            read = curves.loc[10 * block.rows, name].to_numpy()
            assert read.tobytes() == block.metrics[name].tobytes()
            final = trials.loc[10 * block.rows, f"final_{name}"].to_numpy()
            assert final.tobytes() == block.metrics[name][:, -1].tobytes()
        test = trials.loc[10 * block.rows, "final_test_loss"].to_numpy()
        assert test.tobytes() == block.final["test_loss"].astype(np.float32).tobytes()


def test_what_is_read_is_what_was_added_to_the_bit(store):
    blocks = [finished([4, 1]), finished([0, 5, 2])]
    odd = np.array([[np.nan, np.inf, -0.0, 1e-42]], np.float32)
    blocks.append(finished([3], train_loss=odd))
    for block in blocks:
        store.add(block)
    store.write_trials()
    curves = read_curves(store.directory)
    assert list(curves.columns) == ["trial", "step", *METRICS]
    assert curves["trial"].tolist() == np.repeat([0, 10, 20, 30, 40, 50], 4).tolist()
    assert curves["step"].tolist() == STEPS.tolist() * 6
    for block in blocks:
        for name in METRICS:
            read = curves.set_index("trial").loc[10 * block.rows, name].to_numpy()
            assert read.dtype == np.float32
            assert read.tobytes() == block.metrics[name].tobytes()
    trials = read_trials(store.directory)
    axes = table(6).rows
    pd.testing.assert_frame_equal(trials[axes.columns], axes)
    assert trials["identity"].tolist() == table(6).identities.tolist()
    for block in blocks:
        test = trials.set_index("trial").loc[10 * block.rows, "final_test_loss"].to_numpy()
        assert test.tobytes() == block.final["test_loss"].astype(np.float32).tobytes()
    pd.testing.assert_frame_equal(pd.read_parquet(store.directory / "curves")[:8], curves.iloc[
        [*range(16, 20), *range(4, 8)]].reset_index(drop=True))  # fmt: skip


def test_what_is_stored_is_what_was_trained(tmp_path):
    words = ["data=iris", "model=logistic", "tracker=none", "grid.optimizer.lr=[0.1,0.3,1.0]", "seeds=2"]
    words += ["steps=4", "record_every=2", "block=4"]
    _, planned = vsweep.plan(words)
    blocks = list(train(planned, trial_mesh()))
    assert [type(block) for block in blocks] == [TrainedBlock] * 2
    made = vsweep.sweep([*words, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    number, _, _ = planned.grid.trials()
    by_trial = made.curves.set_index("trial")
    assert {name for name in made.curves if name not in ("trial", "step")} == set(blocks[0].metrics)
    for block in blocks:
        for name, values in block.metrics.items():
            assert by_trial.loc[number[block.rows], name].to_numpy().tobytes() == values.tobytes()
    last = made.curves[made.curves["step"] == 4].set_index("trial")
    for name in blocks[0].metrics:
        final = made.trials.set_index("trial")[f"final_{name}"]
        assert final.to_numpy().tobytes() == last[name].to_numpy().tobytes()
    assert set(blocks[0].final) == {"test_loss", "test_accuracy", *SCORES}
    for block in blocks:
        for name, values in block.final.items():
            final = made.trials.set_index("trial").loc[number[block.rows], f"final_{name}"]
            assert final.to_numpy().tobytes() == values.tobytes()


def test_columns_are_those_of_the_contract(small):
    axes = ["model", "model.width", "optimizer.lr"]
    metrics = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "grad_norm", "param_norm"]
    trials = small.trials
    head = ["trial", "cell", "seed", *axes, "status", "diverged_at"]
    assert list(trials.columns[: len(head)]) == head
    tests = [f"final_{name}" for name in ("test_loss", "test_accuracy", *SCORES)]
    expected = {f"{kind}_{name}" for kind in ("final", "best") for name in metrics}
    parts = [f"parts_{part}_{name}" for part in ("val", "test") for name in ("loss", "accuracy")]
    more = len(tests) + len(parts) + 1
    assert set(trials.columns[len(head) : -more]) == expected
    assert trials.columns[len(head) :].is_unique
    assert list(trials.columns[-more:]) == [*tests, *parts, "identity"]
    types = trials.dtypes.astype(str)
    assert types[["trial", "cell", "seed"]].tolist() == ["int64"] * 3
    assert (types["optimizer.lr"], types["model.width"], types["diverged_at"]) == (
        "float64",
        "Int64",
        "Int64",
    )
    assert {types[name] for name in expected | set(tests)} == {"float32"}
    assert {types[name] for name in parts} == {"object"}
    assert types["identity"] == types["status"] == "str"
    assert trials["identity"].str.fullmatch("[0-9a-f]{32}").all()
    assert trials["identity"].is_unique
    # Logistic has no width: its two widths are one cell.
    assert trials["trial"].tolist() == [0, 1, 2, 3, *range(8, 16)]
    assert (trials["cell"] == trials["trial"] // 2).all()
    assert trials["seed"].tolist() == [5, 3] * 6
    assert trials["model"].tolist() == ["logistic"] * 4 + ["mlp"] * 8
    assert trials["model.width"].isna().tolist() == [True] * 4 + [False] * 8
    assert trials["model.width"][4:].tolist() == [2] * 4 + [3] * 4
    assert trials["optimizer.lr"].tolist() == [0.1, 0.1, 1e6, 1e6] * 3
    diverged = trials["optimizer.lr"] == 1e6
    assert (trials["status"] == np.where(diverged, "diverged", "ok")).all()
    assert trials["diverged_at"].notna().tolist() == diverged.tolist()
    assert trials["diverged_at"][diverged].between(1, 5).all()


def test_curves_are_those_of_the_contract(small):
    curves = small.curves
    types = curves.dtypes.astype(str).to_dict()
    assert types.pop("trial") == types.pop("step") == "int64"
    assert set(types.values()) == {"float32"}
    assert curves.groupby("trial")["step"].apply(list).map(tuple).unique().tolist() == [(0, 2, 4, 5)]
    assert set(curves["trial"]) == set(small.trials["trial"])
    raw = pd.read_parquet(small.directory / "curves")
    pd.testing.assert_frame_equal(raw.sort_values(["trial", "step"], ignore_index=True), curves)


def test_finals_and_bests_are_those_of_the_curves(small):
    curves = small.curves.merge(small.trials[["trial", "diverged_at"]], on="trial")
    last = curves[curves["step"] == 5].set_index("trial")
    alive = curves[curves["diverged_at"].isna() | (curves["step"] < curves["diverged_at"])].groupby("trial")
    trials = small.trials.set_index("trial")
    recorded = [c.removeprefix("best_") for c in trials if c.startswith("best_")]
    finals = [c.removeprefix("final_") for c in trials if c.startswith("final_")]
    # The test is for those that were selected: no best is chosen by it.
    assert set(finals) - set(recorded) == {"test_loss", "test_accuracy", *SCORES}
    assert set(recorded) == set(curves) - {"trial", "step", "diverged_at"}
    for name in recorded:
        best = alive[name].max() if name.endswith("accuracy") else alive[name].min()
        np.testing.assert_array_equal(trials[f"final_{name}"], last[name])
        np.testing.assert_array_equal(trials[f"best_{name}"], best.reindex(trials.index))


def test_finals_of_the_test_are_of_the_rows_that_were_kept_for_it(small):
    iris = DATASETS["iris"]()
    rows = split(iris, 0.2, 0, test_fraction="auto", standardize=True, stratify=True).places[2]
    assert len(rows) == 15
    ok = small.trials[small.trials["status"] == "ok"]
    assert len(ok) == 6
    for _, trial in ok.iterrows():
        right = small.predictor(trial["trial"])(iris.x[rows]) == np.array(iris.classes)[iris.y[rows]]
        assert trial["final_test_accuracy"] == pytest.approx(right.mean(), rel=1e-6)


def test_the_best_is_of_what_came_before_a_trial_diverged(store):
    nan = np.nan
    loss = np.array([[3, 1, 2, 4], [3, 2, 0, nan], [nan, 5, 4, 6], [nan] * 4, [9, 1, 1, 1]], np.float32)
    accuracy = np.array(
        [[0, 1, 0, 0], [0.1, 0.2, 0.9, 1], [nan, 0.3, 0.1, 0], [nan] * 4, [1] * 4], np.float32
    )
    store.add(finished([0, 1, 2, 3, 4], [-1, 3, -1, 0, 0], train_loss=loss, val_accuracy=accuracy))
    store.write_trials()
    trials = read_trials(store.directory)
    np.testing.assert_array_equal(trials["best_train_loss"], np.float32([1, 2, 4, nan, nan]))
    np.testing.assert_array_equal(trials["best_val_accuracy"], np.float32([1, 0.2, 0.3, nan, nan]))
    np.testing.assert_array_equal(trials["final_train_loss"], loss[:, -1])
    assert trials["status"].tolist() == ["ok", "diverged", "ok", "diverged", "diverged"]
    assert [None if pd.isna(v) else v for v in trials["diverged_at"]] == [None, 3, None, 0, 0]


def test_a_metric_that_a_program_does_not_have_is_missing(store):
    store.add(finished([0]))
    store.add(TrainedBlock(np.array([1]), STEPS, {"train_loss": np.ones((1, 4), np.float32)}, np.int32([-1])))
    store.write_trials()
    curves, trials = read_curves(store.directory), read_trials(store.directory)
    assert curves["val_accuracy"].isna().tolist() == [False] * 4 + [True] * 4
    assert trials["best_val_accuracy"].isna().tolist() == [False, True]
    assert trials["final_val_accuracy"].dtype == curves["val_accuracy"].dtype == np.float32


def test_higher_is_better_for_accuracies_alone():
    names = ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "grad_norm", "param_norm"]
    assert [name for name in names if higher_is_better(name)] == ["train_accuracy", "val_accuracy"]


def test_config_and_plan_are_kept(store):
    text = (store.directory / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == {"steps": 5, "name": "ünï"}
    assert json.loads((store.directory / "plan.json").read_text(encoding="utf-8"))["trials"] == 6
    assert "format" in json.loads((store.directory / "plan.json").read_text(encoding="utf-8"))


def test_the_config_that_is_kept_trains_the_same(small):
    assert small.config["seeds"] == [5, 3]
    assert small.config["grid"]["optimizer"] == {"lr": [0.1, 1e6]}
    again = {**small.config, "tracker": "none", "dir": None, "model": "mlp"}
    for group in ("data", "loss", "optimizer", "schedule"):
        again[group] = small.config[group]["name"]
    assert len(vsweep.plan(again)[1].grid) == 12


# A writer that dies, and a reader in the middle.


@pytest.fixture
def dying(monkeypatch):
    """From its call on, every table but the next `more` is written to half and no further."""
    whole, left = pq.write_table, [0]

    def half(written, where, **options):
        left[0] -= 1
        if left[0] >= 0:
            whole(written, where, **options)
            return
        made = BytesIO()
        whole(written, made)
        part = made.getvalue()[: made.tell() // 2]
        Path(where).write_bytes(part) if isinstance(where, str | Path) else where.write(part)
        raise OSError("the disk is full")

    def call(more=0):
        left[0] = more
        monkeypatch.setattr(pq, "write_table", half)

    return call


@pytest.fixture
def full_log(monkeypatch):
    """From its call on, no line of the log gets to the disk, though some of it may."""
    sync = os.fsync

    def call(directory):
        log = (directory / "ledger" / "log.jsonl").stat()

        def full(handle):
            if os.path.samestat(os.fstat(handle), log):
                raise OSError("the disk is full")
            sync(handle)

        monkeypatch.setattr(os, "fsync", full)

    return call


def seen(directory):
    """The trials that a reader sees: in the curves, and in the table."""
    return set(pd.read_parquet(directory / "curves")["trial"]), set(vsweep.load(directory).trials["trial"])


def test_a_writer_that_dies_leaves_whole_parts_alone(store, opened, dying, monkeypatch):
    block, lost = finished([0, 1]), finished([2, 3])
    store.add(block)
    store.write_trials()
    before = names(store.directory)
    dying()
    with pytest.raises(OSError, match="full"):
        store.add(lost)
    assert seen(store.directory) == ({0, 10}, {0, 10})
    assert len(read_curves(store.directory)) == 8
    assert names(store.directory) == before
    monkeypatch.undo()
    assert_holds(store, block)
    again = opened()
    assert again.notes == []
    assert_holds(again, block)
    again.add(lost)
    assert_holds(again, block, lost)


def test_a_writer_that_dies_between_a_blocks_files_has_not_counted_it(store, opened, dying, monkeypatch):
    block, lost = finished([0, 1]), finished([2, 3])
    store.add(block)
    store.write_trials()
    before = names(store.directory)
    dying(more=1)
    with pytest.raises(OSError, match="full"):
        store.add(lost)
    # Its curves are whole, and nobody counts on them.
    assert seen(store.directory) == ({0, 10, 20, 30}, {0, 10})
    assert names(store.directory) - before == {"curves/part-000001.parquet"}
    assert store.done.tolist() == [True] * 2 + [False] * 4
    monkeypatch.undo()
    again = opened()
    assert again.notes == []
    assert names(again.directory) == before
    assert_holds(again, block)
    again.add(lost)
    assert_holds(again, block, lost)


def test_a_line_that_the_log_did_not_take_is_not_there(store, opened, full_log, monkeypatch):
    block, lost = finished([0, 1]), finished([2, 3])
    store.add(block)
    store.write_trials()
    log = store.directory / "ledger" / "log.jsonl"
    before = log.read_bytes()
    full_log(store.directory)
    with pytest.raises(OSError, match="full"):
        store.add(lost)
    assert log.read_bytes() == before
    assert store.done.tolist() == [True] * 2 + [False] * 4
    monkeypatch.undo()
    # The one that could not write it can go on, and so can the next.
    store.add(lost)
    assert_holds(store, block, lost)
    assert_holds(opened(), block, lost)


def test_a_table_of_trials_that_is_written_to_half_is_the_one_before(store, opened, dying, monkeypatch):
    blocks = finished([0]), finished([1])
    store.add(blocks[0])
    store.write_trials()
    store.add(blocks[1])
    before, files = (store.directory / "trials.parquet").read_bytes(), names(store.directory)
    dying()
    with pytest.raises(OSError, match="full"):
        store.write_trials()
    assert (store.directory / "trials.parquet").read_bytes() == before
    assert seen(store.directory) == ({0, 10}, {0})
    assert names(store.directory) == files
    monkeypatch.undo()
    # Both were counted: what the table lacks is written from the ledger.
    assert_holds(opened(), *blocks)


def test_no_trials_where_the_first_writing_died(store, opened, dying, monkeypatch):
    block = finished([0])
    store.add(block)
    dying()
    with pytest.raises(OSError, match="full"):
        store.write_trials()
    with pytest.raises(ConfigError, match=r"^dir: no trial was finished in"):
        vsweep.load(store.directory)
    assert not any(name.endswith(".part") for name in names(store.directory))
    monkeypatch.undo()
    assert_holds(opened(), block)


def test_a_reader_in_the_middle_sees_whole_parts_alone(store, monkeypatch):
    store.add(finished([0]))
    store.write_trials()
    whole, looks = pq.write_table, []

    def slow(written, file, *rest, **options):
        whole(written, file, *rest, **options)
        file.seek(40)
        body = file.read()
        file.truncate(40)
        file.flush()
        looks.append(seen(store.directory))
        file.seek(40)
        file.write(body)

    monkeypatch.setattr(pq, "write_table", slow)
    store.add(finished([1]))
    store.add(finished([2, 3]))
    monkeypatch.undo()
    store.write_trials()
    # For each block, its curves and then its rows in the ledger.
    assert looks == [({0}, {0}), ({0, 10}, {0}), ({0, 10}, {0}), ({0, 10, 20, 30}, {0})]
    assert seen(store.directory) == ({0, 10, 20, 30}, {0, 10, 20, 30})


def test_nothing_of_the_writing_is_left(store):
    store.add(finished([0]))
    store.write_trials()
    parts = {f"{folder}/part-000000.parquet" for folder in ("curves", "ledger")}
    ours = {"config.yaml", "plan.json", "trials.parquet", "ledger/log.jsonl", "ledger/files.jsonl", ".lock"}
    assert names(store.directory) == ours | parts


def test_a_directory_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    takes = "it takes a new directory, or that of a sweep"
    with pytest.raises(ConfigError, match=rf"^dir: .* is not empty; {takes}$"):
        open_store(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_directory_is_taken(tmp_path):
    open_store(tmp_path, 1).close()
    assert (tmp_path / "plan.json").is_file()


def test_where_no_directory_can_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^dir: cannot make"):
        open_store(tmp_path / "file" / "kept", 1)


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_where_no_sweep_is_is_told(here, where):
    with pytest.raises(ConfigError, match=r"^dir: no sweep in .*; it takes a sweep's directory"):
        vsweep.load(where)


# A directory that is opened again, of which something is damaged.


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupted(path, place=None):
    body = bytearray(path.read_bytes())
    body[len(body) // 2 if place is None else place] ^= 0x20
    path.write_bytes(bytes(body))


@pytest.fixture
def three(store):
    """The blocks of a store that was closed with five of its six trials done."""
    blocks = finished([0, 1]), finished([4, 2], [3, -1]), finished([5])
    for block in blocks:
        store.add(block)
    store.write_trials()
    store.close()
    return blocks


def test_a_store_is_opened_again_with_all_that_it_held(store, opened, three):
    before = {name: (store.directory / name).read_bytes() for name in names(store.directory)}
    again = opened()
    assert again.notes == []
    assert again.done.tolist() == [True, True, True, False, True, True]
    after = {name: (store.directory / name).read_bytes() for name in names(store.directory)}
    assert after == before
    assert_holds(again, *three)
    again.add(finished([3]))
    assert_holds(again, *three, finished([3]))
    assert seen(store.directory) == ({0, 10, 20, 30, 40, 50}, {0, 10, 20, 30, 40, 50})


def test_what_is_read_of_a_store_that_is_opened_again_is_its_status_too(store, opened, three):
    opened().write_trials()
    trials = read_trials(store.directory)
    assert trials["status"].tolist() == ["ok", "ok", "ok", "diverged", "ok"]
    assert [None if pd.isna(v) else v for v in trials["diverged_at"]] == [None, None, None, 3, None]
    best = three[1].metrics["train_loss"][0, :2].min()
    assert trials.set_index("trial").loc[40, "best_train_loss"] == best


def assert_trained_again(store, opened, three, lost, aside):
    """Opened, the store holds all blocks but those of these places; they can be trained again."""
    kept = [block for i, block in enumerate(three) if i not in lost]
    again = opened()
    missing = sorted([3, *(row for i in lost for row in three[i].rows.tolist())])
    assert np.flatnonzero(~again.done).tolist() == missing
    found = {name for name in names(store.directory) if name.startswith("damaged/")}
    assert found == {f"damaged/{name}" for name in aside}
    assert_holds(again, *kept)
    # Whatever was found is settled, and is not found again.
    again = opened()
    assert again.notes == []
    assert_holds(again, *kept)
    for i in lost:
        again.add(three[i])
    assert_holds(again, *kept, *(three[i] for i in lost))
    again.add(finished([3]))
    again = opened()
    assert again.notes == []
    assert_holds(again, *three, finished([3]))
    found = {name for name in names(store.directory) if name.startswith("damaged/")}
    assert found == {f"damaged/{name}" for name in aside}


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("damage", [truncated, corrupted, Path.unlink])
@pytest.mark.parametrize("folder", ["curves", "ledger"])
def test_a_damaged_part_is_set_aside_and_trained_again(store, opened, three, folder, damage, part):
    """A truncated part, a byte that has changed, a part that is not there."""
    path = store.directory / folder / f"part-{part:06d}.parquet"
    damage(path)
    left = [each for each in ("curves", "ledger") if (each, damage) != (folder, Path.unlink)]
    aside = [f"{each}-{path.name}" for each in left]
    bodies = [(store.directory / each / path.name).read_bytes() for each in left]
    again = opened()
    assert [(store.directory / "damaged" / name).read_bytes() for name in aside] == bodies
    (note,) = again.notes
    assert note.startswith("damaged files were set aside and are trained again: ")
    assert all(f"damaged/{name}" in note for name in aside)
    assert_trained_again(store, opened, three, [part], aside)


def test_a_byte_may_have_changed_anywhere_in_a_part(store, opened, three):
    path = store.directory / "ledger" / "part-000001.parquet"
    whole = path.read_bytes()
    for place in (0, 4, len(whole) // 3, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole)
        corrupted(path, place)
        again = opened()
        assert again.done.tolist() == [True, True, False, False, False, True]
        again.add(three[1])
        assert_holds(again, three[0], three[2], three[1])
        path = store.directory / "ledger" / max(names(store.directory / "curves"))
        assert path.read_bytes() == whole


def test_the_same_part_may_be_damaged_twice(store, opened, three):
    """The last one, whose number is given again."""
    paths = [store.directory / folder / "part-000002.parquet" for folder in ("curves", "ledger")]
    for i in range(3):
        truncated(paths[i % 2])
        again = opened()
        assert_holds(again, *three[:2])
        again.add(three[2])
        assert_holds(again, *three)
    found = {name for name in names(store.directory) if name.startswith("damaged/")}
    assert found == {
        f"damaged/{folder}-part-000002{suffix}.parquet"
        for folder in ("curves", "ledger")
        for suffix in ("", "_2", "_3")
    }


def test_all_may_be_damaged(store, opened, three):
    for path in (store.directory / "curves").iterdir():
        truncated(path)
    again = opened()
    assert not again.done.any()
    assert len(names(store.directory / "damaged")) == 6
    for block in three:
        again.add(block)
    assert_holds(again, *three)


def test_no_table_speaks_of_trials_of_which_all_are_damaged(store, opened, three):
    """Where a sweep is stopped again before it has trained one of them."""
    for path in (store.directory / "curves").iterdir():
        truncated(path)
    opened().write_trials()
    with pytest.raises(ConfigError, match=r"^dir: no trial was finished in"):
        vsweep.load(store.directory)


# A log that is damaged, or lost: blocks whose lines are gone are kept, out of the way.


def files_of(*parts):
    """The names of a block's files when they are set aside."""
    return [f"{folder}-part-{part:06d}.parquet" for folder in ("curves", "ledger") for part in parts]


def assert_set_aside(store, opened, three, lost):
    """Opened, the store has moved these blocks' files to `damaged/` as they were, and says so."""
    before = {
        f"{path.parent.name}-{path.name}": path.read_bytes()
        for folder in ("curves", "ledger")
        for path in (store.directory / folder).glob("part-*")
    }
    (note,) = opened().notes
    told = note.removeprefix("damaged files were set aside and are trained again: ").split(", ")
    aside = files_of(*lost)
    assert sorted(told) == sorted(f"damaged/{name}" for name in aside)
    assert [(store.directory / "damaged" / name).read_bytes() for name in aside] == [
        before[name] for name in aside
    ]
    assert_trained_again(store, opened, three, lost, aside)


@pytest.mark.parametrize("cut", [1, 2, 40, "all"])
def test_a_torn_last_line_is_a_block_that_was_not_counted(store, opened, three, cut):
    log = store.directory / "ledger" / "log.jsonl"
    body = log.read_bytes()
    last = body.splitlines(keepends=True)[-1]
    log.write_bytes(body[: -len(last) + 1 if cut == "all" else -cut])
    assert opened().notes == []
    assert_trained_again(store, opened, three, [2], [])


def test_the_last_block_may_lack_its_line(store, opened, three):
    """A process that is killed before it wrote one."""
    log = store.directory / "ledger" / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert opened().notes == []
    assert_trained_again(store, opened, three, [2], [])


@pytest.mark.parametrize("place", [0, 3, 8, 9, 60, -2])
@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_that_is_corrupted_costs_its_block_alone(store, opened, three, line, place):
    """A byte of its checksum, or of what it says; the last line too, which is whole to its end."""
    log = store.directory / "ledger" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    corrupted(log, sum(map(len, lines[:line])) + (place if place >= 0 else len(lines[line]) + place))
    assert_set_aside(store, opened, three, [line])


@pytest.mark.parametrize("first", [0, 1])
def test_two_lines_that_have_become_one_cost_both(store, opened, three, first):
    log = store.directory / "ledger" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    corrupted(log, sum(map(len, lines[: first + 1])) - 1)
    assert_set_aside(store, opened, three, [first, first + 1])


def test_a_line_that_is_missing_in_the_middle_costs_a_block_that_nothing_tells_from_one_underway(
    store, opened, three
):
    log = store.directory / "ledger" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[2])
    assert opened().notes == []
    assert_trained_again(store, opened, three, [1], [])


@pytest.mark.parametrize("left", [0, 1, 40])
def test_a_log_that_is_cut_far_before_its_end_is_no_torn_line(store, opened, three, left):
    """The line of the first block is left, and so much of the next one's."""
    log = store.directory / "ledger" / "log.jsonl"
    body = log.read_bytes()
    log.write_bytes(body[: len(body.splitlines(keepends=True)[0]) + left])
    assert_set_aside(store, opened, three, [1, 2])


@pytest.mark.parametrize("loss", ["missing", "empty", "zeros"])
def test_a_log_that_is_lost_costs_no_file(store, opened, three, loss):
    log = store.directory / "ledger" / "log.jsonl"
    body = log.read_bytes()
    log.unlink() if loss == "missing" else log.write_bytes(b"" if loss == "empty" else b"\0" * len(body))
    assert_set_aside(store, opened, three, [0, 1, 2])


def test_a_log_that_is_missing_beside_a_single_block_is_one_that_was_not_begun(store, opened):
    store.add(finished([0, 1]))
    store.close()
    (store.directory / "ledger" / "log.jsonl").unlink()
    again = opened()
    assert again.notes == []
    assert not (store.directory / "damaged").exists()
    assert_holds(again)
    again.add(finished([0, 1]))
    assert_holds(again, finished([0, 1]))


def test_a_lost_log_and_a_damaged_part_are_told_together(store, opened, three):
    log = store.directory / "ledger" / "log.jsonl"
    corrupted(log, 3)
    corrupted(store.directory / "curves" / "part-000002.parquet")
    assert_set_aside(store, opened, three, [0, 2])


def test_no_table_speaks_of_trials_whose_lines_are_lost(store, opened, three):
    (store.directory / "ledger" / "log.jsonl").unlink()
    opened().write_trials()
    with pytest.raises(ConfigError, match=r"^dir: no trial was finished in"):
        vsweep.load(store.directory)


@pytest.mark.parametrize("folder", ["curves", "ledger"])
def test_a_part_without_a_line_is_no_part(store, opened, three, folder):
    here = store.directory / folder
    (here / "part-000003.parquet").write_bytes((here / "part-000000.parquet").read_bytes())
    assert opened().notes == []
    assert_trained_again(store, opened, three, [], [])


def test_a_block_that_was_being_written_is_no_block(store, opened, three):
    """A process that is killed between its two files, of which the second is not whole."""
    body = (store.directory / "curves" / "part-000000.parquet").read_bytes()
    (store.directory / "curves" / "part-000003.parquet").write_bytes(body)
    (store.directory / "ledger" / ".part-000003.parquet.4242.part").write_bytes(body[:40])
    assert opened().notes == []
    assert_trained_again(store, opened, three, [], [])


@pytest.mark.parametrize("folder", ["curves", "ledger"])
def test_more_parts_without_lines_than_a_kill_leaves_are_set_aside(store, opened, three, folder):
    here = store.directory / folder
    for number in (3, 9):
        (here / f"part-{number:06d}.parquet").write_bytes(b"PAR1")
    aside = [f"{folder}-part-{number:06d}.parquet" for number in (3, 9)]
    (note,) = opened().notes
    assert all(f"damaged/{name}" in note for name in aside)
    assert_trained_again(store, opened, three, [], aside)


@pytest.mark.parametrize("damage", [False, True])
def test_what_others_put_beside_the_parts_is_left_alone(store, opened, three, damage):
    """A notebook's checkpoints, a file manager's notes, a person's own folder."""
    theirs = []
    for folder in ("curves", "ledger"):
        theirs += [store.directory / folder / name for name in (".DS_Store", "_notes/mine.txt")]
        theirs.append(store.directory / folder / ".ipynb_checkpoints" / "part-000000-checkpoint.parquet")
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    if damage:
        (store.directory / "ledger" / "log.jsonl").unlink()
    again = opened()
    assert again.done.sum() == (0 if damage else 5)
    assert all(path.read_bytes() == b"theirs" for path in theirs)
    for block in three if damage else ():
        again.add(block)
    again.add(finished([3]))
    again.write_trials()
    assert seen(store.directory) == ({0, 10, 20, 30, 40, 50}, {0, 10, 20, 30, 40, 50})
    assert opened().done.all()
    assert all(path.read_bytes() == b"theirs" for path in theirs)


@pytest.mark.parametrize("folder", ["curves", "ledger"])
def test_a_part_that_is_not_whole_is_in_nobodys_way(store, opened, three, folder):
    """A process that is killed leaves what it was writing under a name of its own."""
    here = store.directory / folder
    for number in (1, 3):
        stale = here / f".part-{number:06d}.parquet.4242.part"
        stale.write_bytes((here / "part-000000.parquet").read_bytes()[:40])
    # Nor in that of a reader, before the store is opened again.
    assert seen(store.directory) == ({0, 10, 20, 40, 50}, {0, 10, 20, 40, 50})
    assert opened().notes == []
    assert_trained_again(store, opened, three, [], [])


@pytest.fixture
def stale(store, three):
    """Files that a killed process may leave while it writes the other files of a store."""
    for folder in ("params", "states", "underway"):
        (store.directory / folder).mkdir()
    inside = ("params/.best.npz", "states/.part-000003.npz", "underway/.00.npz")
    for name in (".trials.parquet", ".plan.json", ".config.yaml", *inside):
        (store.directory / f"{name}.4242.part").write_bytes(b"PAR1")


def test_what_was_left_of_writing_the_other_files_is_in_nobodys_way(store, opened, stale):
    assert seen(store.directory) == ({0, 10, 20, 40, 50}, {0, 10, 20, 40, 50})
    again = opened()
    assert again.notes == []
    assert again.done.tolist() == [True, True, True, False, True, True]
    again.add(finished([3]))
    again.write_trials()
    assert seen(store.directory) == ({0, 10, 20, 30, 40, 50}, {0, 10, 20, 30, 40, 50})
    assert opened().done.all()


def test_what_was_left_of_writing_the_other_files_is_removed(store, opened, stale):
    opened()
    assert not [name for name in names(store.directory) if name.endswith(".part")]
