"""Numbers of a sweep keep the dtype that they were trained in."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import vsweep
from vsweep.charts.style import compact
from vsweep.commands import directory
from vsweep.store.blocks import read_params, write_params
from vsweep.store.files import Files

# The function is quadratic, so that a descent is a product: x + 3/2 shrinks by 1 - 2 lr a step.
WORDS = ["data=none", "model=point", "loss=parabola", "model.x=1.0", "steps=40", "record_every=10"]
QUIET = ["tracker=none", "verify=false"]
RATES = np.array([1e-3, 0.3, 0.2, 0.05])
FLOATING = ["train_loss", "grad_norm", "param_norm", "param.x"]


def run(folder, *words):
    common = [*QUIET, f"dir='{folder}'"]
    return vsweep.sweep([*WORDS, f"grid.optimizer.lr={RATES.tolist()}", *words, *common], quiet=True)


def dtypes(folder):
    """The dtypes of the curves, file by file, and of the table of trials."""
    files = [pq.read_schema(path) for path in (folder / "curves").glob("*.parquet")]
    curves = {str(schema.field(name).type) for schema in files for name in FLOATING}
    trials = pd.read_parquet(folder / "trials.parquet").dtypes.astype(str)
    return curves, {trials[f"{kind}_{name}"] for kind in ("final", "best") for name in ("train_loss",)}


def losses(steps):
    """The loss after these steps at all rates, in closed form."""
    distance = 2.5 * (1 - 2 * RATES[:, None]) ** steps
    return distance**2 - 7.25


@pytest.mark.parametrize(
    ("word", "arrow", "pandas", "rtol"),
    [
        ("dtype=float64", "double", "float64", 1e-14),
        ("dtype=float32", "float", "float32", 1e-6),
        ("dtype=bfloat16", "float", "float32", 1e-6),
    ],
)
def test_numbers_keep_their_dtype(tmp_path, word, arrow, pandas, rtol):
    sweep = run(tmp_path / "kept", word)
    assert dtypes(sweep.directory) == ({arrow}, {pandas})
    assert pd.read_parquet(sweep.directory / "curves")["train_loss"].dtype == pandas
    want = losses(np.arange(0, 41, 10))
    np.testing.assert_allclose(sweep.curves["train_loss"].to_numpy().reshape(4, 5), want, rtol=rtol)
    np.testing.assert_allclose(sweep.trials["final_train_loss"], want[:, -1], rtol=rtol)
    np.testing.assert_allclose(sweep.trials["best_train_loss"], want[:, -1], rtol=rtol)


def test_tests_keep_their_dtype_too(tmp_path):
    words = ["data=diabetes", "model=linear", "steps=20", "dtype=float64", "data.test_fraction=0.2"]
    sweep = vsweep.sweep([*words, *QUIET, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    for name in ("final_test_loss", "final_val_loss", "final_train_loss"):
        value = sweep.trials[name].to_numpy()
        assert value.dtype == np.float64
        assert (value != value.astype(np.float32)).all(), f"{name} has no more digits than float32"


def test_a_large_loss_of_a_trial_that_is_ok_is_finite(tmp_path):
    """A distance of 2.5 grows by 19 a step, to 1e102, whose square float32 does not hold."""
    sweep = run(tmp_path / "kept", "dtype=float64", "grid.optimizer.lr=[10.0]", "diverge_above=1e250")
    assert sweep.trials["status"].tolist() == ["ok"]
    np.testing.assert_allclose(sweep.trials["final_train_loss"], (2.5 * 19.0**40) ** 2, rtol=1e-12)
    # A report shows it as well.
    path = sweep.report()
    assert path.is_file()


def test_a_table_takes_the_widest_dtype(tmp_path):
    sweep = run(tmp_path / "kept", "grid.dtype=[float32,float64]", "keep.params=all")
    assert dtypes(sweep.directory) == ({"double"}, {"float64"})
    for _, trial in sweep.trials.iterrows():
        assert sweep.params(trial["trial"])["x"].dtype == trial["dtype"]


def test_parameters_of_two_dtypes_share_a_file(tmp_path):
    params = [("a", {"w": np.float32([1.5])}), ("b", {"w": np.float64([0.1])})]
    files = Files(tmp_path)
    write_params(files, "params/best.npz", params)
    read = {name: leaves["w"] for name, leaves in read_params(files, "params/best.npz").items()}
    for name, leaves in params:
        np.testing.assert_array_equal(read[name], leaves["w"], strict=True)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A float64 sweep as earlier versions stored it, in float32, in some blocks."""
    folder, table = tmp_path_factory.mktemp("earlier") / "kept", directory.trial_table
    with pytest.MonkeyPatch.context() as before:
        before.setattr(directory, "trial_table", lambda plan: table(plan)._replace(dtype="float32"))
        run(folder, "dtype=float64", "block=1")
    assert dtypes(folder) == ({"float"}, {"float32"})
    return folder


def test_an_earlier_directory_loads_and_is_shown(earlier, tmp_path):
    folder = shutil.copytree(earlier, tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in (folder / "curves").iterdir()}
    assert len(vsweep.load(folder).curves) == 20
    assert vsweep.resume(folder, quiet=True).trials["status"].tolist() == ["ok"] * 4
    # A finished directory is not rewritten.
    assert {path.name: path.read_bytes() for path in (folder / "curves").iterdir()} == before
    verified = vsweep.verify(folder)
    # The best trial is not overtaken by the rounding of the others.
    assert (verified["wrong"], verified["changed"]) == ([], [])


@pytest.mark.parametrize("rates", [[*RATES, 0.1], [0.1, *RATES]])
def test_an_earlier_directory_grows_in_the_wider_dtype(earlier, tmp_path, rates):
    folder = shutil.copytree(earlier, tmp_path / "kept")
    old = vsweep.load(folder).trials.set_index("identity")
    sweep = run(folder, "dtype=float64", f"grid.optimizer.lr={list(map(float, rates))}")
    assert dtypes(folder) == ({"double"}, {"float64"})
    new = sweep.trials.set_index("identity")
    assert len(new) == 5
    np.testing.assert_array_equal(new.loc[old.index, "final_train_loss"], old["final_train_loss"])
    fresh = new.loc[new.index.difference(old.index), "final_train_loss"]
    np.testing.assert_allclose(fresh, (2.5 * 0.8**40) ** 2 - 7.25, rtol=1e-14)
    assert vsweep.verify(folder, k=5)["wrong"] == []


def test_an_earlier_directory_is_resumed(earlier, tmp_path):
    """The first of its blocks stays, and the others are lost."""
    folder = shutil.copytree(earlier, tmp_path / "kept")
    first, *others = sorted((folder / "curves").iterdir())
    kept = np.isin(range(4), pd.read_parquet(first)["trial"])
    assert others
    for path in others:
        path.write_bytes(b"")
    sweep = vsweep.resume(folder, quiet=True)
    assert dtypes(folder) == ({"double"}, {"float64"})
    values, want = sweep.trials["final_train_loss"].to_numpy(), losses(40.0)[:, 0]
    np.testing.assert_array_equal(values[kept], values[kept].astype(np.float32))
    np.testing.assert_allclose(values[kept], want[kept], rtol=1e-6)
    np.testing.assert_allclose(values[~kept], want[~kept], rtol=1e-14)


def test_charts_are_compact_unless_numbers_are_too_large():
    small, large = compact([1.0, np.inf, np.nan]), compact([1.0, -1e39, np.nan])
    assert (small.dtype, large.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(large, [1.0, -1e39, np.nan])
