"""Leave-out values of a sweep against the jackknife of its predictors' outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from core_helpers import assert_same_bits
from scipy.special import logsumexp
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, roc_auc_score

import vsweep
from vsweep.commands import directory
from vsweep.engine.compiler import Compiler, block_hparams
from vsweep.engine.devices import trial_mesh
from vsweep.engine.tuning.cost_model import Arrangement
from vsweep.metrics import axes_of, default_metric, part_values, without_parts
from vsweep.trackers.wandb.runs import Runs
from vsweep.training import loop

WORDS = ["tracker=none", "verify=false", "keep.params=all", "steps=20", "record_every=5"]
IRIS = ["data=iris", "model=logistic", "grid.optimizer.lr=[0.3,1e30]", "seeds=3", *WORDS]


def absolute(outputs, targets):
    return jnp.abs(outputs[0] - targets)


def swept(tmp_path, *words, name="kept", **own):
    return vsweep.sweep([*WORDS, *words, f"dir='{tmp_path / name}'"], quiet=True, **own)


def held_out(words):
    """The raw rows of both held-out parts, by name."""
    _, plan = vsweep.plan([*WORDS, *words])
    (split,) = plan.splits.values()
    rows = dict(zip(("train", "val", "test"), split.places, strict=True))
    return {part: (split.dataset.x[rows[part]], split.dataset.y[rows[part]]) for part in ("val", "test")}


def left_out(rows):
    """The rows of each group, drawn anew."""
    groups = min(range(10, 21), key=lambda count: (rows % count, -count))
    size = rows // groups
    return np.random.default_rng(rows).permutation(rows)[: groups * size].reshape(groups, size)


def class_scores(outputs, y):
    guess = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
    logits = outputs if outputs.shape[1] > 1 else np.c_[0.0 * outputs, outputs]
    scores = {
        "loss": (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean(),
        "accuracy": accuracy_score(y, guess),
        "f1": f1_score(y, guess, average="macro"),
    }
    if outputs.shape[1] == 1:
        scores["auc"] = roc_auc_score(y, outputs[:, 0])
    return scores


def number_scores(outputs, y):
    off = outputs[:, 0] - y
    return {"rmse": np.sqrt((off**2).mean()), "mae": mean_absolute_error(y, outputs[:, 0])}


def assert_jackknife(sweep, parts, scores, names, loss_unit=1.0):
    """A sweep's values are those of its predictors' outputs without each group."""
    trials = sweep.trials
    known = {f"parts_{part}_{name}" for part in parts for name in names}
    assert {name for name in trials if name.startswith("parts_")} == known
    for part, (x, y) in parts.items():
        values = {name: part_values(trials, f"{part}_{name}") for name in names}
        for i, trial in enumerate(trials["trial"]):
            if trials["status"][i] == "diverged":
                assert all(np.isnan(v[i]).all() for v in values.values())
                continue
            outputs = np.asarray(sweep.predictor(trial).outputs(x), np.float64)
            for g, rows in enumerate(left_out(len(y))):
                want = scores(np.delete(outputs, rows, axis=0), np.delete(y, rows))
                for name in set(names) & set(want):
                    unit = loss_unit if name == "loss" else 1.0
                    np.testing.assert_allclose(values[name][i, g] * unit, want[name], rtol=2e-5, atol=1e-6)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """Rows of iris are sorted by class, and half of the trials diverge."""
    return swept(tmp_path_factory.mktemp("iris"), *IRIS, "metric=val_f1")


def test_classes_and_f1_of_sorted_rows(iris):
    assert set(iris.trials["status"]) == {"ok", "diverged"}
    assert_jackknife(iris, held_out(IRIS), class_scores, ("loss", "accuracy", "f1"))


def test_auc(tmp_path):
    words = ["data=breast_cancer", "model=logistic", "metric=val_auc", "optimizer.lr=0.1"]
    sweep = swept(tmp_path, *words)
    assert_jackknife(sweep, held_out(words), class_scores, ("loss", "accuracy", "auc"))


def test_numbers_are_in_the_unit_of_the_targets(tmp_path):
    words = ["data=diabetes", "model=linear", "optimizer.lr=0.1"]
    sweep = swept(tmp_path, *words)
    parts = held_out(words)
    assert_jackknife(sweep, parts, number_scores, ("loss", "rmse", "mae", "r2"))
    for part, (_, y) in parts.items():
        rmse, r2 = (part_values(sweep.trials, f"{part}_{name}") for name in ("rmse", "r2"))
        np.testing.assert_allclose(r2, 1.0 - (rmse / y.std()) ** 2, rtol=1e-4)
        loss = part_values(sweep.trials, f"{part}_loss")
        np.testing.assert_allclose(np.sqrt(loss) / np.sqrt(loss[0, 0]), rmse / rmse[0, 0], rtol=1e-4)


def test_an_own_loss(tmp_path):
    words, own = ["data=diabetes", "model=linear", "data.targets=numbers"], {"loss": absolute}
    sweep = swept(tmp_path, *words, **own)

    def scores(outputs, y):
        return {"loss": np.abs(outputs[:, 0] - y).mean()}

    assert_jackknife(sweep, held_out(words), scores, ("loss",))


def test_the_mean_of_groups_is_near_the_final_value(iris):
    ok = iris.trials[iris.trials["status"] == "ok"]
    for metric in ("val_loss", "val_accuracy", "test_loss"):
        means = part_values(ok, metric).mean(axis=1)
        np.testing.assert_allclose(means, ok[f"final_{metric}"], rtol=1e-5)


@pytest.mark.parametrize("words", [["block=1"], ["block=2", "segment=2"]])
def test_any_block_has_the_same_values(iris, tmp_path, words):
    other = swept(tmp_path, *IRIS, "metric=val_f1", *words)
    assert_same_parts(other.trials, iris.trials)


def assert_same_parts(trials, expected, rtol=1e-5):
    names = [name.removeprefix("parts_") for name in expected if name.startswith("parts_")]
    assert names
    for name in names:
        got, want = part_values(trials, name), part_values(expected, name)
        np.testing.assert_allclose(got, want, rtol=rtol)


def test_a_resumed_sweep_has_the_same_values(iris, tmp_path):
    swept(tmp_path, *IRIS, "metric=val_f1", "seeds=1")
    extended = vsweep.resume(tmp_path / "kept", ["seeds=3"], quiet=True)
    assert_same_parts(extended.trials, iris.trials)
    assert_same_parts(vsweep.load(tmp_path / "kept").trials, iris.trials)


def test_an_old_directory_is_read_and_extended_with_nulls(iris, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(directory, "part_names", lambda plan: [])
        old = swept(tmp_path, *IRIS, "metric=val_f1", "seeds=1")
    assert part_values(old.trials, "val_loss") is None
    before = (tmp_path / "kept" / "trials.parquet").read_bytes()
    again = vsweep.resume(tmp_path / "kept", quiet=True)
    assert (tmp_path / "kept" / "trials.parquet").read_bytes() == before
    assert again.best("val_loss")["cell"] == old.best("val_loss")["cell"]
    new = vsweep.resume(tmp_path / "kept", ["seeds=3"], quiet=True).trials
    assert [group is None for group in new["parts_val_loss"]] == (new["seed"] == 0).tolist()
    values = part_values(new, "val_loss")
    assert np.isnan(values[new["seed"] == 0]).all()
    later = new["seed"] > 0
    assert_same_parts(new[later], iris.trials[later])
    finished = (tmp_path / "kept" / "trials.parquet").read_bytes()
    vsweep.resume(tmp_path / "kept", ["seeds=3"], quiet=True)
    assert (tmp_path / "kept" / "trials.parquet").read_bytes() == finished
    pd.testing.assert_frame_equal(without_parts(new[~later]).reset_index(drop=True)[
        list(old.trials)].drop(columns="trial"), old.trials.drop(columns="trial"))  # fmt: skip


def test_columns_come_after_the_metrics_and_are_lists_of_their_dtype(iris, tmp_path):
    trials = iris.trials
    names = list(trials.columns)
    parts = [name for name in names if name.startswith("parts_")]
    assert parts == [f"parts_{p}_{name}" for p in ("val", "test") for name in ("loss", "accuracy", "f1")]
    assert names[names.index(parts[0]) :] == [*parts, "identity"]
    schema = pq.read_schema(iris.directory / "trials.parquet")
    assert all(schema.field(name).type.equals(pa.list_(pa.float32())) for name in parts)
    assert all(isinstance(group, np.ndarray) for name in parts for group in trials[name])
    assert (axes_of(trials), default_metric(trials)) == (["optimizer.lr"], "val_accuracy")
    wide = swept(tmp_path, *IRIS, "dtype=float64", "seeds=1").trials["parts_val_loss"]
    assert {group.dtype.name for group in wide} == {"float64"}


def test_runs_do_not_show_them(iris):
    for level in ("trial", "cell"):
        runs = Runs(iris.directory, level)
        for run in runs.build(iris.trials[level].unique().tolist(), 10):
            assert any(key.startswith("final_val_loss") for key in run.summary) or "diverged" in run.tags
            assert not [key for key in run.summary if "parts" in key]


@pytest.mark.parametrize(
    "words",
    [
        ["data=iris", "model=logistic", "data.val_fraction=0"],
        ["data=none", "model=point", "loss=quartic", "grid.model.x=[1.0,2.0]"],
    ],
)
def test_without_held_out_examples_there_are_none(tmp_path, words):
    trials = swept(tmp_path, *words).trials
    assert not [name for name in trials if name.startswith("parts_")]
    assert part_values(trials, "val_loss") is None


def test_curves_and_final_values_are_those_without_them(monkeypatch):
    """Products that were shared with those of the test metrics would round these otherwise."""
    words = ["data=wine", "model=mlp", "grid.optimizer.lr=[0.01,0.1]", "seeds=2", "steps=20"]
    _, plan = vsweep.plan(["tracker=none", *words])
    (program,), mesh = plan.programs, trial_mesh()
    results = []
    for _ in range(2):
        ready = Compiler(mesh).compile(program, Arrangement(4, 2, single_kernel=False))
        results.append(jax.device_get(ready.call(block_hparams(program, np.arange(4)), ready.data)))
        monkeypatch.setattr(loop, "grouped_parts", lambda targets: [])
    assert (len(results[0].parts), len(results[1].parts)) == (4, 0)
    assert_same_bits(results[0]._replace(parts={}), results[1])


def test_part_values_of_different_numbers_of_groups():
    groups = [np.zeros(2, np.float32), None, np.ones(2, np.float32)]
    trials = pd.DataFrame({"parts_val_loss": groups, "parts_test_loss": [np.zeros(2), np.zeros(3), None]})
    values = part_values(trials, "val_loss")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [[0, 0], [np.nan, np.nan], [1, 1]])
    assert part_values(trials, "test_loss") is None
    assert part_values(trials, "train_loss") is None
    assert part_values(trials[:0], "val_loss") is None
