"""A directory that is opened again: what is there is not trained, and the rest is as it would have been."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from fault_helpers import contents, same
from jax import random
from store_helpers import forge

import vsweep
from vsweep.config.spec import make_spec
from vsweep.engine import executor
from vsweep.engine.plan import plan_sweep
from vsweep.engine.trial_id import identities
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import Dataset

WORDS = [
    "data=iris",
    "grid.model.name=[logistic,mlp]",
    "grid.model.width=[2,3]",
    "grid.optimizer.lr=[0.1,0.3]",
    "model.init=normal",
    "steps=10",
    "record_every=5",
    "tracker=none",
    "verify=false",
]


RATES = "grid.optimizer.lr=[0.03,0.1,0.3]"


@pytest.fixture
def trained(monkeypatch):
    """The places of the trials that were trained, as they are."""
    seen = []
    trained_block = executor.trained_block

    def count(program, block, curves, **options):
        seen.extend(block.rows.tolist())
        return trained_block(program, block, curves, **options)

    monkeypatch.setattr(executor, "trained_block", count)
    return seen


def sweep(*words, **options):
    """A sweep whose blocks all have one shape, so that its programs are compiled once for all tests."""
    return vsweep.sweep([*WORDS, "block=4", *words], quiet=True, **options)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """9 cells of 3 seeds, trained at once, in blocks of another size."""
    words = ["seeds=[4,0,9]", RATES, f"dir='{tmp_path_factory.mktemp('l') / 'kept'}'"]
    return vsweep.sweep([*WORDS, *words], quiet=True)


# Another block is another program, whose results are equal up to rounding.
def close(one, other):
    numbers = [name for name in one.curves if name not in ("trial", "step")]
    pd.testing.assert_frame_equal(one.curves[["trial", "step"]], other.curves[["trial", "step"]])
    np.testing.assert_allclose(one.curves[numbers], other.curves[numbers], rtol=1e-5, atol=1e-7)
    named = [name for name in one.trials if not name.startswith(("final_", "best_"))]
    pd.testing.assert_frame_equal(one.trials[named], other.trials[named])


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (["seeds=[0,9,4]"], ["seeds=[4,0,9]", RATES]),
        (
            ["seeds=[4,0,9]", "grid.model.width=[3]", "grid.optimizer.lr=[0.3,0.03,0.1]"],
            ["seeds=[4,0,9]", RATES],
        ),
    ],
)
def test_more_seeds_and_values_train_what_is_new_alone(larger, trained, tmp_path, first, more):
    directory = f"dir='{tmp_path / 'kept'}'"
    before = sweep(*first, directory)
    held = len(before.trials)
    del trained[:]
    after = sweep(*more, directory)
    assert len(trained) == len(larger.trials) - held
    assert len(set(trained)) == len(trained)
    close(after, larger)
    assert_holds(after, before)


def assert_holds(after, before):
    """Assert that a sweep still holds the trials of an earlier one, to the bit."""
    kept = after.trials.set_index("identity").loc[before.trials["identity"]]
    for name in ("final_train_loss", "best_val_loss", "final_test_loss"):
        assert kept[name].to_numpy().tobytes() == before.trials[name].to_numpy().tobytes()


def test_resume_takes_the_changes(larger, trained, tmp_path):
    before = sweep("seeds=[4]", f"dir='{tmp_path / 'kept'}'")
    del trained[:]
    after = vsweep.resume(tmp_path / "kept", ["seeds=[4,0,9]", RATES], quiet=True)
    assert len(trained) == len(set(trained)) == len(larger.trials) - 6
    close(after, larger)
    assert_holds(after, before)
    assert vsweep.load(tmp_path / "kept").config["seeds"] == [4, 0, 9]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """6 cells of 2 seeds."""
    return sweep("seeds=2", f"dir='{tmp_path_factory.mktemp('finished') / 'kept'}'")


def test_a_finished_sweep_is_shown_without_its_data(here, capsys):
    (here / "points.csv").write_text("x,y\n" + "".join(f"{i / 10},{i % 2}\n" for i in range(20)))
    words = ["data=csv", "data.path=points.csv", "data.target=y", "model=logistic", "steps=2", "tracker=none"]
    vsweep.sweep([*words, "dir=kept"], quiet=True)
    (here / "points.csv").unlink()
    before = {path: path.read_bytes() for path in (here / "kept").rglob("*") if path.is_file()}
    capsys.readouterr()
    shown = vsweep.resume("kept")
    assert "all 1 trials are already in kept" in capsys.readouterr().err
    assert len(shown.trials) == 1
    assert {path: path.read_bytes() for path in (here / "kept").rglob("*") if path.is_file()} == before


def test_a_finished_sweep_trains_nothing(finished, trained):
    before, plan = contents(finished.directory), finished.plan
    sweep("seeds=2", f"dir='{finished.directory}'")
    vsweep.resume(finished.directory, quiet=True)
    assert trained == []
    assert contents(finished.directory) == before
    assert vsweep.load(finished.directory).plan == plan


MINIBATCHES = ["data.batch_size=16", "schedule=exponential", "schedule.decay_steps=3"]


@pytest.mark.parametrize("more", [MINIBATCHES, pytest.param([], marks=pytest.mark.tail)])
def test_more_steps_go_on_from_the_state_that_is_kept(trained, tmp_path, monkeypatch, more):
    words = ["optimizer=momentum", "seeds=2", "keep.state=true", "segment=5", *more]
    short = sweep(*words, f"dir='{tmp_path / 'kept'}'")
    total = short.curves["train_loss"].sum()
    started = []

    def watch(self, program, block, arrangement):
        started.append(block.records)
        return call(self, program, block, arrangement)

    call = executor._Run._call
    monkeypatch.setattr(executor._Run, "_call", watch)
    long = sweep(*words, "steps=20", f"dir='{tmp_path / 'kept'}'")
    assert min(started) == 2, "steps 0 and 5 are there"
    whole = sweep(*words, "steps=20", f"dir='{tmp_path / 'whole'}'")
    same(long.directory, whole.directory)
    # The shorter trainings are not lost, and are not taken for damaged.
    assert not (tmp_path / "kept" / "damaged").exists()
    kept = pd.read_parquet(tmp_path / "kept" / "earlier" / "steps-10" / "curves")
    assert kept["train_loss"].sum() == pytest.approx(total, rel=1e-6)


def test_more_steps_without_a_state_begin_anew(trained, tmp_path):
    sweep("seeds=2", f"dir='{tmp_path / 'kept'}'")
    long = sweep("seeds=2", "steps=15", f"dir='{tmp_path / 'kept'}'")
    same(long.directory, sweep("seeds=2", "steps=15", f"dir='{tmp_path / 'whole'}'").directory)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["seeds=1"], 6),
        (["seeds=2", "steps=5"], 12),
        (["seeds=2", "data=wine"], 12),
        (["seeds=2", "grid.optimizer.lr=[0.1]"], 6),
    ],
)
def test_what_would_lose_trials_is_refused(finished, words, count):
    made, directory = finished, finished.directory
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    takes = (
        "it takes the same sweep, or one with more seeds, splits, values or steps, and never with fewer;"
        f" give another dir, or add to the sweep that it holds: vsweep resume {directory}, followed by the"
        " overrides that add to it"
    )
    with pytest.raises(ConfigError) as refused:
        sweep(*words, f"dir='{directory}'")
    assert str(refused.value) == (
        f"dir: {str(directory)!r} holds {count} trials that are not in this sweep; {takes}"
    )
    after = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert {p: b for p, b in after.items() if p.name != ".lock"} == {
        p: b for p, b in before.items() if p.name != ".lock"
    }
    assert len(made.trials) == 12


def planned(*words):
    """The table of trials that would be trained, by its axes and seeds, with their identities."""
    _, plan = vsweep.plan(["steps=1", *words])
    grid = plan.grid
    _, row, seed = grid.trials()
    columns = {axis.path: grid.column(i)[row] for i, axis in enumerate(grid.axes)}
    return pd.DataFrame({**columns, "seed": seed, "identity": identities(plan)})


def test_an_identity_is_of_what_determines_a_trial_and_not_of_its_place():
    mlp = ["data=iris", "model=mlp", "model.width=2"]
    (fixed,) = planned(*mlp, "optimizer.lr=0.1", "seeds=[7]")["identity"]
    axes = planned(*mlp, "grid.optimizer.lr=[1.0,0.1]", "grid.model.init=[zeros,lecun_normal]", "seeds=[3,7]")
    assert axes["identity"].is_unique
    (found,) = axes[axes["identity"] == fixed].to_dict("records")
    assert (found["optimizer.lr"], found["model.init"], found["seed"]) == (0.1, "lecun_normal", 7)
    others = ["optimizer.lr=0.2", "steps=2", "data.val_fraction=0.3", "dtype=float64", "diverge_above=10"]
    others += ["optimizer.weight_decay=0.1", "data.split_seed=1", "record_every=2"]
    for other in others:
        assert planned(*mlp, "optimizer.lr=0.1", "seeds=[7]", other)["identity"][0] != fixed, other
    for other in ("block=1", "keep.params=0", "keep.state=true", "segment=1", "dir=elsewhere"):
        assert planned(*mlp, "optimizer.lr=0.1", "seeds=[7]", other)["identity"][0] == fixed, other


def test_weights_of_zero_have_no_scale():
    words = ["data=iris", "model=mlp", "model.width=2", "model.init=zeros"]
    one, other = (planned(*words, f"model.init_scale={scale}")["identity"][0] for scale in (1.0, 2.0))
    assert one == other
    words[-1] = "model.init=normal"
    one, other = (planned(*words, f"model.init_scale={scale}")["identity"][0] for scale in (1.0, 2.0))
    assert one != other


def test_data_are_what_they_hold_and_not_where_they_lie(here):
    rows = "a,b,y\n" + "".join(f"{i % 7},{i % 3},{'xz'[i % 2]}\n" for i in range(30))
    (here / "one.csv").write_text(rows)
    (here / "other.csv").write_text(rows)
    (here / "changed.csv").write_text(rows.replace("6,", "7,"))
    words = ["data=csv", "data.target=y", "model=logistic"]
    one, other, changed = (
        planned(*words, f"data.path={name}.csv")["identity"][0] for name in ("one", "other", "changed")
    )
    assert one == other != changed


def test_data_are_known_by_what_draws_them_too():
    words = ["data=curve", "model=linear"]
    made, same, fixed = (planned(*words, *more)["identity"][0] for more in ([], [], ["data.fresh=false"]))
    assert made == same != fixed
    x, y = np.linspace(0.0, 1.0, 20)[:, None], np.linspace(0.0, 2.0, 20)

    def identity(draw):
        data = Dataset(x, y, (), ("x",), draw=draw)
        words = ["model=linear", "steps=1", "data.batch_size=4", "tracker=none"]
        made = make_spec(words, {"data": lambda: data})
        return identities(plan_sweep(made, TimingCache(), {})[0])[0]

    def drawing(scale):
        def draw(key, size):
            x = scale * random.normal(key, (1, size))
            return x, 2.0 * x[0]

        return draw

    one, again, other, none = map(identity, (drawing(1.0), drawing(1.0), drawing(2.0), None))
    assert one == again
    assert len({one, other, none}) == 3


def test_ones_own_functions_are_their_source(here):
    (here / "data.csv").write_text("x,y\n" + "".join(f"{i},{2.0 * i}\n" for i in range(20)))
    words = ["data=csv", "data.path=data.csv", "data.target=y", "steps=1", "tracker=none", "verify=false"]

    def near(outputs, targets):
        return abs(outputs[0] - targets)

    def far(outputs, targets):
        return abs(outputs[0] - targets) * 2.0

    near_id, far_id, again = (
        vsweep.sweep([*words, "model=linear"], loss=loss, quiet=True).trials["identity"][0]
        for loss in (near, far, near)
    )
    assert near_id == again != far_id


def test_trials_that_nothing_tells_apart_are_all_trained(here):
    rows = "a,y\n" + "".join(f"{i % 7},{'xz'[i % 2]}\n" for i in range(30))
    for name in ("one", "two"):
        (here / f"{name}.csv").write_text(rows)
    words = ["data=csv", "data.target=y", "grid.data.path=[one.csv,two.csv]", "model=logistic", "steps=1"]
    made = vsweep.sweep([*words, "tracker=none", "dir=kept"], quiet=True)
    assert len(made.trials) == 2
    assert made.trials["identity"].is_unique
    assert len(vsweep.resume("kept", quiet=True).trials) == 2


def test_a_sweep_of_ones_own_functions_is_resumed_with_them(here, trained):
    x = np.linspace(0.0, 1.0, 20)

    def near(outputs, targets):
        return abs(outputs[0] - targets)

    words = ["model=linear", "steps=2", "tracker=none", "verify=false", "dir=kept"]
    vsweep.sweep(words, loss=near, data=(x, 2.0 * x), quiet=True)
    del trained[:]
    more = vsweep.resume("kept", ["seeds=3"], loss=near, data=(x, 2.0 * x), quiet=True)
    assert (len(trained), len(more.trials)) == (2, 3)


def test_started_is_when_the_first_trial_was(tmp_path):
    made = sweep("seeds=1", f"dir='{tmp_path / 'kept'}'")
    plan = tmp_path / "kept" / "plan.json"
    record = json.loads(plan.read_text()) | {"started": "2001-01-01T00:00:00+00:00"}
    plan.write_text(json.dumps(record))
    forge(made.directory)
    assert sweep("seeds=2", f"dir='{made.directory}'").plan["started"] == record["started"]


# Directories of before a field existed.


def as_of_0_1(directory):
    """Take from a directory what version 0.1 did not write."""
    config = yaml.safe_load((directory / "config.yaml").read_text())
    newer = ("stratify",) if "target" in config["data"] else ("stratify", "targets")
    plan = json.loads((directory / "plan.json").read_text())
    for data in (config["data"], *(variant["config"]["data"] for variant in plan["study"]["variants"])):
        for name in newer:
            del data[name]
        data |= {"targets": "auto"} if "targets" in data else {}
    study = plan["study"]
    study["words"] = [word for word in study["words"] if not word.startswith(("data.targets", "data.strat"))]
    for data in plan["data"].values():
        for name in ("labels", "label_type", "target"):
            data.pop(name, None)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    forge(directory)
    (directory / "plan.json").write_text(json.dumps(plan | {"format": 3}))
    forge(directory)


RULES_OF_0_1 = ["data.targets=by_type", "data.stratify=false"]


@pytest.mark.parametrize("source", ["bundled", "table", "arrays"])
def test_a_directory_of_before_keeps_its_targets_its_split_and_its_trials(here, source):
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.random.default_rng(1).permutation(60) // 2
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).to_csv("t.csv", index=False)
    words, own = {
        "bundled": (["data=iris"], {}),
        "table": (["data=csv", "data.path=t.csv", "data.target=y"], {}),
        "arrays": ([], {"data": (x, y)}),
    }[source]
    words = [*words, "model=logistic", "steps=3", "seeds=2", "tracker=none", "verify=false", "report=false"]
    words += ["keep.params=all"]
    before = vsweep.sweep([*words, *RULES_OF_0_1, "dir=old"], quiet=True, **own)
    as_of_0_1(here / "old")
    # No field of the names that the data have in `plan.json` is newer.
    assert "stratify" not in str([*before.plan["data"]])
    old = vsweep.load("old", **own)
    pd.testing.assert_frame_equal(old.trials, before.trials)
    labels = old.predictor(0)(x if source != "bundled" else np.zeros((3, 4)))
    assert labels.dtype.kind == "U"
    assert vsweep.verify("old", k=1, own=own)["changed"] == []
    # A block that is trained again writes the record in this version's format.
    (here / "old" / "ledger" / "log.jsonl").unlink()
    again = vsweep.resume("old", quiet=True, **own)
    pd.testing.assert_frame_equal(again.trials, before.trials)
    more = vsweep.resume("old", ["seeds=3"], quiet=True, **own)
    assert len(more.trials) == 3
    assert set(before.trials["identity"]) < set(more.trials["identity"])
    assert more.config["data"]["stratify"] is False
    assert more.config["data"]["targets"] == "by_type"
    (record,) = more.plan["data"].values()
    assert len(record["classes"]) == (3 if source == "bundled" else 30)
    new = vsweep.sweep([*words, "dir=new"] if source == "bundled" else [*words, "model=linear", "dir=new"],
                       quiet=True, **own)  # fmt: skip
    assert not set(new.trials["identity"]) & set(before.trials["identity"])
