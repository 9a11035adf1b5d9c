"""A sweep's directory: what is written is read, whole or not at all."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

import vsweep
from vsweep.errors import ConfigError
from vsweep.execution.devices import trial_mesh
from vsweep.execution.run import train
from vsweep.results.store import Finished, Store, higher_is_better, read_curves, read_trials

STEPS = np.array([0, 2, 4, 5])
METRICS = ["train_loss", "val_accuracy"]


def table(trials):
    number = np.arange(trials, dtype=np.int64)
    return pd.DataFrame(
        {"trial": 10 * number, "cell": number, "seed": 0 * number, "optimizer.lr": number / 7}
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "kept", {"steps": 5, "name": "ünï"}, {"trials": 6}, table(6), METRICS)


def finished(rows, diverged_at=None, **metrics):
    rows = np.asarray(rows)
    rng = np.random.default_rng(rows[0])
    shape = len(rows), len(STEPS)
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name in METRICS} | metrics
    never = np.full(len(rows), -1, np.int32)
    return Finished(rows, STEPS, drawn, never if diverged_at is None else np.asarray(diverged_at, np.int32))


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
    pd.testing.assert_frame_equal(trials[table(6).columns], table(6))
    pd.testing.assert_frame_equal(pd.read_parquet(store.directory / "curves")[:8], curves.iloc[
        [*range(16, 20), *range(4, 8)]].reset_index(drop=True))  # fmt: skip


def test_what_is_stored_is_what_was_trained(tmp_path):
    words = ["data=iris", "model=logistic", "tracker=none", "grid.optimizer.lr=[0.1,0.3,1.0]", "seeds=2"]
    words += ["steps=4", "record_every=2", "block=4"]
    _, planned = vsweep.plan(words)
    blocks = list(train(planned, trial_mesh()))
    assert len(blocks) == 2
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


def test_columns_are_those_of_the_contract(small):
    axes = ["model", "model.width", "optimizer.lr"]
    metrics = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "grad_norm", "param_norm"]
    trials = small.trials
    head = ["trial", "cell", "seed", *axes, "status", "diverged_at"]
    assert list(trials.columns[: len(head)]) == head
    expected = {f"{kind}_{name}" for kind in ("final", "best") for name in metrics}
    assert set(trials.columns[len(head) :]) == expected
    types = trials.dtypes.astype(str)
    assert types[["trial", "cell", "seed"]].tolist() == ["int64"] * 3
    assert (types["optimizer.lr"], types["model.width"], types["diverged_at"]) == (
        "float64",
        "Int64",
        "Int64",
    )
    assert {types[name] for name in expected} == {"float32"}
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
    for name in [c.removeprefix("final_") for c in trials if c.startswith("final_")]:
        best = alive[name].max() if name.endswith("accuracy") else alive[name].min()
        np.testing.assert_array_equal(trials[f"final_{name}"], last[name])
        np.testing.assert_array_equal(trials[f"best_{name}"], best.reindex(trials.index))


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
    store.add(Finished(np.array([1]), STEPS, {"train_loss": np.ones((1, 4), np.float32)}, np.int32([-1])))
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
    """From its call on, every table is written to half and no further."""
    whole = pq.write_table

    def half(written, where, **options):
        made = BytesIO()
        whole(written, made)
        part = made.getvalue()[: made.tell() // 2]
        Path(where).write_bytes(part) if isinstance(where, str | Path) else where.write(part)
        raise OSError("the disk is full")

    return lambda: monkeypatch.setattr(pq, "write_table", half)


def seen(directory):
    """The trials that a reader sees: in the curves, and in the table."""
    return set(pd.read_parquet(directory / "curves")["trial"]), set(vsweep.load(directory).trials["trial"])


def test_a_writer_that_dies_leaves_whole_parts_alone(store, dying):
    store.add(finished([0, 1]))
    store.write_trials()
    dying()
    with pytest.raises(OSError, match="full"):
        store.add(finished([2, 3]))
    assert seen(store.directory) == ({0, 10}, {0, 10})
    assert len(read_curves(store.directory)) == 8


def test_a_table_of_trials_that_is_written_to_half_is_the_one_before(store, dying):
    store.add(finished([0]))
    store.write_trials()
    store.add(finished([1]))
    before = (store.directory / "trials.parquet").read_bytes()
    dying()
    with pytest.raises(OSError, match="full"):
        store.write_trials()
    assert (store.directory / "trials.parquet").read_bytes() == before
    assert seen(store.directory) == ({0, 10}, {0})


def test_no_trials_where_the_first_writing_died(store, dying):
    store.add(finished([0]))
    dying()
    with pytest.raises(OSError, match="full"):
        store.write_trials()
    with pytest.raises(ConfigError, match=r"^dir: no trial was finished in"):
        vsweep.load(store.directory)


def test_a_reader_in_the_middle_sees_whole_parts_alone(store, monkeypatch):
    store.add(finished([0]))
    store.write_trials()
    whole, looks = pq.write_table, []

    def slow(written, where, *rest, **options):
        whole(written, where, *rest, **options)
        if not isinstance(where, str | Path):
            return
        body = Path(where).read_bytes()
        Path(where).write_bytes(body[:40])
        looks.append(seen(store.directory))
        Path(where).write_bytes(body)

    monkeypatch.setattr(pq, "write_table", slow)
    store.add(finished([1]))
    store.add(finished([2, 3]))
    monkeypatch.undo()
    store.write_trials()
    assert looks == [({0}, {0}), ({0, 10}, {0})]
    assert seen(store.directory) == ({0, 10, 20, 30}, {0, 10, 20, 30})


def test_nothing_of_the_writing_is_left(store):
    store.add(finished([0]))
    store.write_trials()
    files = {str(path.relative_to(store.directory)) for path in store.directory.rglob("*") if path.is_file()}
    assert len(files) == 4
    assert files >= {"config.yaml", "plan.json", "trials.parquet"}


def test_a_directory_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigError, match=r"^dir: .* is not empty; it takes a new directory"):
        Store(tmp_path, {}, {}, table(1), METRICS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_directory_is_taken(tmp_path):
    Store(tmp_path, {}, {}, table(1), METRICS)
    assert (tmp_path / "plan.json").is_file()


def test_where_no_directory_can_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^dir: cannot make"):
        Store(tmp_path / "file" / "kept", {}, {}, table(1), METRICS)


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_where_no_sweep_is_is_told(here, where):
    with pytest.raises(ConfigError, match=r"^dir: no sweep in .*; it takes a sweep's directory"):
        vsweep.load(where)
