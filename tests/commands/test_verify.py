"""A sweep held against trainings of their own: verify, overrides, reproduce, confirm, what is kept."""

import json
import shlex
import shutil
from hashlib import sha256
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from core_helpers import examples, make_hparams, make_static
from jax.custom_batching import custom_vmap
from scipy.stats import sem
from scipy.stats import t as student
from store_helpers import forge

import vsweep
from vsweep.analysis.ranking import rank_cells
from vsweep.commands.confirm import shrinkage
from vsweep.config.spec import make_spec
from vsweep.engine.checks.compare import Retrained, difference, is_chaotic, is_wrong
from vsweep.engine.checks.verify import (
    BEST,
    DIVERGED,
    FIRST,
    LAST,
    RANDOM,
    choose_trials_to_verify,
    signed,
)
from vsweep.engine.checks.verify import _changed as verdicts
from vsweep.engine.plan import plan_sweep
from vsweep.engine.trial_id import identities
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import ConfigError
from vsweep.reports.page import warnings
from vsweep.store.atomic import decode_lines, encode_line
from vsweep.store.checks import describe_verification
from vsweep.tasks import initializers, models
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.splits import split
from vsweep.tasks.models import Model
from vsweep.tasks.task import Data, param_dtype
from vsweep.trackers.check_tables import print_confirmation
from vsweep.training import loop
from vsweep.training.program import precision_context
from vsweep.training.vectorize import start_one

QUIET = ["tracker=none", "verify=false"]
WORDS = [
    "data=iris",
    "model=mlp",
    "grid.model.width=[2,3]",
    "grid.optimizer.lr=[0.3,1e6]",
    "seeds=[5,3,8]",
    "steps=12",
    "record_every=3",
    # All sweeps of these trials share the programs of one block.
    "block=4",
    *QUIET,
]
# At some steps a kink of ReLU lies between a trial and its twin.
CHAOS = [
    "data=spirals",
    "data.rows=60",
    "data.stratify=false",
    "model=mlp",
    "model.width=8",
    "model.depth=2",
    "model.activation=relu",
    "grid.optimizer.lr=[0.05,2.0]",
    "diverge_above=1e9",
    "steps=100",
    "record_every=10",
    *QUIET,
]
GROUPS = [
    "data=iris",
    "grid.model.name=[logistic,mlp]",
    "grid.model.width=[2,3]",
    "grid.optimizer.name=[sgd,momentum]",
    "schedule=exponential",
    "schedule.decay_steps=2",
    "model.init=normal",
    "seeds=[4,1]",
    "steps=6",
    "record_every=2",
    *QUIET,
]


def shallow(scale=1.0, hidden=2):
    """A model of one's own: `scale` is traced, `hidden` is compiled for."""

    def init(key, n_features, n_outputs):
        ramp = jnp.linspace(-1.0, 1.0, hidden * n_features).astype(jnp.float32)
        return {
            "into": ramp.reshape(hidden, n_features),
            "out": jnp.linspace(0.1, 0.9, n_outputs * hidden).astype(jnp.float32).reshape(n_outputs, hidden),
        }

    def apply(params, x):
        return params["out"] @ jnp.tanh(scale * (params["into"] @ x))

    return Model(init, apply)


def trained_in(tmp_path_factory, words, **own):
    return vsweep.sweep([*words, f"dir='{tmp_path_factory.mktemp('prove') / 'kept'}'"], quiet=True, **own)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """12 trials of padded widths in a program, of which those with lr=1e6 diverged; all parameters kept."""
    made = trained_in(tmp_path_factory, [*WORDS, "keep.params=all"])
    (program,) = made.plan["programs"]
    assert program["padding_waste"] > 0
    return made


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """A sweep over models and optimizers."""
    return trained_in(tmp_path_factory, GROUPS)


@pytest.fixture(scope="module")
def ones_own(tmp_path_factory):
    """A sweep of one's own model and data."""
    x = np.linspace(-1.0, 2.0, 40).reshape(20, 2)
    data = x, (x.sum(axis=1) > 0.7).astype(int)
    words = ["grid.model.scale=[0.5,1.5]", "grid.model.hidden=[2,3]", "steps=5", "seeds=2", *QUIET]
    own = {"model": shallow, "data": data}
    return trained_in(tmp_path_factory, words, **own), own


@pytest.fixture(scope="module")
def verified(made):
    """The verification of all trials of the honest sweep."""
    return vsweep.verify(made.directory, k=20)


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the sweep, to tamper with."""
    return shutil.copytree(made.directory, tmp_path / "copied")


def parts_of(directory):
    """The files of curves that confirming wrote, each with the time at which it did."""
    return {(path, path.stat().st_mtime_ns) for path in (directory / "confirm").glob("*/curves/*.parquet")}


def trials_in(parts):
    """Count the trials of files of curves."""
    return sum(pd.read_parquet(path)["trial"].nunique() for path, _ in parts)


def curve_of(sweep, trial):
    return sweep.curves[sweep.curves["trial"] == trial].drop(columns="trial").reset_index(drop=True)


def trial_of(sweep, trial):
    return sweep.trials.set_index("trial").loc[trial]


def by_trial(found):
    return {each["trial"]: each for each in found["trials"]}


# The public names.


@pytest.mark.parametrize(
    ("name", "module"),
    [("verify", "verify"), ("overrides", "reproduce"), ("reproduce", "reproduce"), ("confirm", "confirm")],
)
def test_each_is_there_by_its_name(name, module):
    """An import before changes nothing."""
    assert getattr(vsweep, name) is getattr(import_module(f"vsweep.commands.{module}"), name)


# Verify.


def test_an_honest_sweep_is_what_its_trials_give_alone(made, verified):
    assert verified["checked"] == verified["of"] == 12
    assert verified["changed"] == verified["chaotic"] == []
    assert verified["largest_difference"] <= 1e-5
    assert 0 < verified["largest_twin"] <= 1e-5
    for each in verified["trials"]:
        trial = trial_of(made, each["trial"])
        assert (each["cell"], each["seed"]) == (trial["cell"], trial["seed"])
        assert each["difference"] <= verified["largest_difference"]
    # Twins are other trials; of some, what one unit in the last place moves is rounded away.
    assert sum(each["twin"] > 0 for each in verified["trials"]) > 6
    assert describe_verification(verified).startswith("verified: 12 of 12 trials retrained alone; ")
    assert describe_verification(verified).endswith("; no verdict changed")


def test_what_was_found_is_kept(made, verified):
    assert json.loads((made.directory / "verify.json").read_text()) == verified
    assert vsweep.load(made.directory).verified == verified


def test_why_each_was_chosen_is_told(made, verified):
    why = [each["why"] for each in verified["trials"]]
    assert why[:2] == [BEST, DIVERGED]
    assert set(why[2:4]) == {FIRST, LAST}
    assert set(why[4:]) == {RANDOM}
    first = by_trial(verified)[verified["trials"][0]["trial"]]
    assert (
        trial_of(made, first["trial"])["final_val_accuracy"]
        == made.trials.loc[made.trials["status"] == "ok", "final_val_accuracy"].max()
    )


@pytest.mark.tail
def test_models_and_optimizers_of_many_kinds_are_verified(groups):
    found = vsweep.verify(groups.directory, k=20)
    assert found["checked"] == 12
    assert found["changed"] == []
    assert found["largest_difference"] <= 1e-5


def test_ones_own_functions_are_verified(ones_own):
    sweep, own = ones_own
    found = vsweep.verify(sweep.directory, k=20, own=own)
    assert found["checked"] == 8
    assert found["changed"] == []
    assert found["largest_difference"] <= 1e-5


def test_a_trial_whose_twin_goes_elsewhere_is_chaotic(tmp_path_factory):
    sweep = trained_in(tmp_path_factory, CHAOS)
    assert (sweep.trials["status"] == "ok").all()
    found = vsweep.verify(sweep.directory, k=2)
    steady, chaotic = by_trial(found)[0], by_trial(found)[1]
    assert steady["twin"] < 1e-3 < 0.1 < chaotic["twin"]
    assert (steady["chaotic"], chaotic["chaotic"]) == (False, True)
    assert found["chaotic"] == [1]
    assert describe_verification(found).endswith("; chaotic, so that rounding decides the curve: trial 1")


def rewrite(path, change):
    """Change a table, and its checksum where there is one, as somebody can on purpose."""
    before = sha256(path.read_bytes()).hexdigest()
    frame = pd.read_parquet(path)
    schema = pq.read_schema(path)
    change(frame)
    frame.to_parquet(path, index=False)
    assert pq.read_schema(path).names == schema.names
    root = path.parent.parent if path.parent.name == "curves" else path.parent
    forge(root)
    log = root / "ledger" / "log.jsonl"
    after = sha256(path.read_bytes()).hexdigest()
    lines = [
        encode_line({key: after if value == before else value for key, value in line.items()})
        for line in decode_lines(log.read_bytes())[0]
    ]
    log.write_bytes(b"".join(lines))


def picks_of(sweep):
    """The numbers of the trials in order, the best first."""
    return sweep.trials["trial"].to_numpy()[np.argsort(signed(sweep.trials, "val_accuracy"), kind="stable")]


def test_a_tampered_curve_and_a_trial_that_is_not_the_best_are_found(made, copied):
    worst = int(picks_of(made)[5])
    assert trial_of(made, worst)["status"] == "ok"

    def change_curve(curves):
        mine = (curves["trial"] == worst) & (curves["step"] == 6)
        assert mine.sum() == 1
        curves.loc[mine, "val_loss"] *= np.float32(1.25)

    def call_best(trials):
        trials.loc[trials["trial"] == worst, "final_val_accuracy"] = np.float32(1.0)

    parts = (copied / "curves").iterdir()
    (part,) = (path for path in parts if worst in pd.read_parquet(path)["trial"].tolist())
    rewrite(part, change_curve)
    rewrite(copied / "trials.parquet", call_best)
    found = vsweep.verify(copied, k=2)
    trial = by_trial(found)[worst]
    # The table is held against the trial as its curve is.
    accuracy = trial_of(made, worst)["final_val_accuracy"]
    assert 1.0 - accuracy > 0.2
    assert trial["difference"] == pytest.approx(1.0 - accuracy)
    assert trial["metric"] == "val_accuracy"
    assert found["largest_difference"] == trial["difference"]
    others = [other["difference"] for other in found["trials"] if other["trial"] != worst]
    assert max(others) <= 1e-5
    assert trial["why"] == BEST
    assert trial["changed"] == ["not best"]
    assert found["changed"] == [worst]
    assert found["wrong"] == [worst]
    assert f"; WRONG: trial {worst} trained alone differs by far more" in describe_verification(found)
    assert f"; the verdict changed for trial {worst}" in describe_verification(found)


def test_verdicts_that_the_table_denies_are_found(made, copied):
    """The best trial is listed as bad, a trial as diverged that did not, and one as ok that did."""
    best, second = map(int, picks_of(made)[:2])
    diverged = int(made.trials.loc[made.trials["status"] == "diverged", "trial"].iloc[-1])

    def change(trials):
        trials.loc[trials["trial"] == best, "final_val_accuracy"] = np.float32(0.0)
        for trial, status, step in ((second, "diverged", 3), (diverged, "ok", pd.NA)):
            trials.loc[trials["trial"] == trial, "status"] = status
            trials.loc[trials["trial"] == trial, "diverged_at"] = step

    rewrite(copied / "trials.parquet", change)
    found = vsweep.verify(copied, k=20)
    changed = {trial: by_trial(found)[trial]["changed"] for trial in (best, second, diverged)}
    assert changed[best] == ["best"]
    assert "not diverged" in changed[second]
    assert "diverged" in changed[diverged]
    assert {best, second, diverged} <= set(found["changed"])
    assert {best, second, diverged} <= set(found["wrong"])


# Faults in the programs of many trials, each of which a trial alone does not have.


def leak(share):
    """Gradients with a share of the neighbour's, wherever trials stand side by side."""

    @custom_vmap
    def leaking(leaf):
        return leaf

    @leaking.def_vmap
    def mixed(axis_size, in_batched, leaf):
        return (1 - share) * leaf + share * jnp.roll(leaf, 1, axis=0), True

    def update(optimizer, state, grads):
        return plain_update(optimizer, state, jax.tree.map(leaking, grads))

    return update


plain_update, true_mask = loop._update, initializers.inside
# Leaks through the step of one trial that are small, measured by what rounding is there.
LEAKS = [("float32", 0.01), ("float64", 1e-5), ("bfloat16", 0.5)]
SIDE_BY_SIDE = ["data=digits", "model=logistic", "grid.optimizer.lr=[0.05,0.5,0.1,0.3]", "seeds=1"]
PADDED = ["data=iris", "model=mlp", "grid.model.width=[2,6]", "optimizer.lr=0.3", "seeds=2"]
SHORT = ["steps=20", "record_every=2", *QUIET]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("words", [SIDE_BY_SIDE, PADDED], ids=["side by side", "padded"])
def test_an_honest_sweep_is_right_in_every_dtype(words, dtype, tmp_path_factory):
    """Twins move from weights of zero, too: there is something to hold a difference against."""
    sweep = trained_in(tmp_path_factory, [*words, *SHORT, f"dtype={dtype}"])
    found = vsweep.verify(sweep.directory)
    assert (found["wrong"], found["checked"]) == ([], 4)
    unit = float(jnp.finfo(dtype).eps)
    assert all(unit / 8 < trial["twin"] for trial in found["trials"])
    assert all(trial["difference"] < 100 * unit for trial in found["trials"])


@pytest.mark.parametrize(("dtype", "share"), LEAKS)
def test_a_leak_of_a_neighbour_is_wrong(dtype, share, tmp_path_factory, monkeypatch):
    with monkeypatch.context() as faulty:
        faulty.setattr(loop, "_update", leak(share))
        sweep = trained_in(tmp_path_factory, [*SIDE_BY_SIDE, *SHORT, f"dtype={dtype}"])
        assert sweep.plan["programs"][0]["lanes"] > 1
        # The fault is there while verifying, and a trial alone has no neighbour.
        found = vsweep.verify(sweep.directory)
    assert found["wrong"] == [trial["trial"] for trial in found["trials"]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_wrong_mask_of_the_padding_is_wrong(dtype, tmp_path_factory, monkeypatch):
    """A layer has a unit too many, where the program has room for it."""
    with monkeypatch.context() as faulty:
        faulty.setattr(models, "inside", lambda shape, out, into: true_mask(shape, out + 1, into + 1))
        sweep = trained_in(tmp_path_factory, [*PADDED, *SHORT, f"dtype={dtype}"])
        found = vsweep.verify(sweep.directory)
    narrow = sweep.trials.loc[sweep.trials["model.width"] == 2, "trial"]
    assert sorted(found["wrong"]) == sorted(narrow)


def test_a_wrong_curve_is_a_failure_whatever_the_verdict(cli, made, copied):
    """The last of the trials of a table, by a millionth of what would change its rank."""
    last = int(picks_of(made)[5])

    def change(curves):
        curves.loc[(curves["trial"] == last) & (curves["step"] == 3), "grad_norm"] *= np.float32(1.01)

    for path in (copied / "curves").iterdir():
        rewrite(path, change)
    done = cli("verify", str(copied), "k=20")
    assert (done.status, done.out) == (1, f"{copied / 'verify.json'}\n")
    found = json.loads((copied / "verify.json").read_text())
    assert (found["wrong"], found["changed"]) == ([last], [])
    assert f"; WRONG: trial {last} trained alone" in done.err
    (report,) = [text for text in warnings(vsweep.load(copied)) if "WRONG" in text]
    assert report == describe_verification(found)


def test_a_run_whose_trials_are_wrong_ends_with_status_1(cli, monkeypatch):
    monkeypatch.setattr("vsweep.commands.verify._SHARE", 1e9)
    monkeypatch.setattr(models, "inside", lambda shape, out, into: true_mask(shape, out + 1, into + 1))
    done = cli("run", *PADDED, "steps=20", "tracker=none", "dir=kept")
    assert (done.status, done.out) == (1, "kept\n")
    assert "; WRONG: trials 0, 1 trained alone" in done.err


# The twin.


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("init", ["lecun_normal", "normal", "orthogonal", "zeros"])
def test_the_first_weights_of_a_twin_are_a_unit_in_the_last_place_away(init, dtype):
    """Only weights that are not 0 are moved: padding, biases and weights of zero stay what they are.

    It is the last place of the products: where these are rounded, they see a move by exactly one unit.
    """
    static, stored = make_static(width=8, inits=(init,), dtype=dtype), param_dtype(dtype)
    data = Data(examples("softmax_cross_entropy"), None)
    data = jax.tree.map(lambda leaf: leaf if leaf.dtype == np.int32 else leaf.astype(stored), data)
    hparams = make_hparams(static, trials=2, seed=3, twin=[False, True], width=5)
    with precision_context(static):
        states = jax.vmap(lambda one: start_one(static, one, data))(hparams)
        states = jax.device_get(states)
    plain, twin = ([leaf[i] for leaf in jax.tree.leaves(states.params)] for i in range(2))
    moved = 0
    for one, other in zip(plain, twin, strict=True):
        assert one.dtype == other.dtype == stored
        products = one.astype(dtype)
        want = np.where(one == 0, products, np.nextafter(products, np.asarray(np.inf, dtype)))
        np.testing.assert_array_equal(other, want.astype(stored), strict=True)
        moved += (one != other).sum()
    # 5 of 8 units of 3 features, and as many weights of 3 outputs.
    assert moved == (0 if init == "zeros" else 30)
    assert twin_free(states, 0) == twin_free(states, 1)


def twin_free(states, place):
    """All of a trial's first state but its parameters."""
    rest = states._replace(params=())
    return [leaf[place].tobytes() for leaf in jax.tree.leaves(rest)]


# The difference of two curves.


@pytest.mark.parametrize(
    ("stored", "twin", "unit", "wrong"),
    [
        # Half as many digits as the twin, and no more than half of those that there are.
        ([1.0, 1.009, 1.0], [1.0, 1.0001, 1.0], 1e-7, False),
        ([1.0, 1.011, 1.0], [1.0, 1.0001, 1.0], 1e-7, True),
        ([1.0, 1.0003, 1.0], [1.0, 1.0, 1.0], 1e-7, False),
        ([1.0, 1.001, 1.0], [1.0, 1.0, 1.0], 1e-7, True),
        ([1.0, 1.05, 1.0], [1.0, 1.0, 1.0], 2.0**-7, False),
        ([1.0, 1.2, 1.0], [1.0, 1.0, 1.0], 2.0**-7, True),
        # The twin's later differences excuse no earlier one, its earlier ones a later one.
        ([1.0, 1.2, 1.0], [1.0, 1.0, 1.2], 1e-7, True),
        ([1.0, 1.0, 1.1], [1.0, 1.05, 1.0], 1e-7, False),
        ([1.0, 1.0, 9.0], [1.0, 1.2, 1.0], 1e-7, False),
        # A value that is lost, unless the twin's is.
        ([1.0, np.nan, np.nan], [1.0, 1.0, 1.0], 1e-7, True),
        ([1.0, 1.0, 1.0], [1.0, 1.0, np.nan], 1e-7, False),
    ],
)
def test_a_curve_is_wrong_far_beyond_its_twin(stored, twin, unit, wrong):
    alone = again(train_loss=[1.0, 1.0, 1.0])
    assert is_wrong(again(train_loss=stored), alone, again(train_loss=twin), unit) == wrong


def test_a_trial_that_is_said_to_have_diverged_is_wrong():
    loss = {"train_loss": [1.0, 1.0]}
    ok, gone, chaotic = again(**loss), again(1, **loss), again(train_loss=[1.0, 2.0])
    assert is_wrong(gone, ok, ok, 1e-7)
    assert is_wrong(ok, gone, gone, 1e-7)
    assert not is_wrong(gone, ok, gone, 1e-7)
    assert not is_wrong(gone, ok, chaotic, 1e-7)


def test_an_example_on_a_boundary_is_not_wrong():
    loss = {"train_loss": [1.0, 0.5]}
    one, other = again(val_accuracy=[0.5, 0.90], **loss), again(val_accuracy=[0.5, 0.97], **loss)
    assert not is_wrong(one, other, other, 1e-7)
    assert is_wrong(one, again(val_accuracy=[0.5, 0.7], **loss), again(val_accuracy=[0.5, 0.7], **loss), 1e-7)


def test_an_example_on_a_boundary_is_not_chaotic():
    """It moves the accuracy of thirty examples by 3 %, and the loss hardly at all."""
    alone = again(val_accuracy=[0.5, 0.9], train_loss=[1.0, 0.5])
    assert not is_chaotic(alone, again(val_accuracy=[0.5, 0.9333], train_loss=[1.0, 0.5001]))
    assert is_chaotic(alone, again(val_accuracy=[0.5, 0.9], train_loss=[1.0, 0.51]))


def test_float32_curves_of_a_float64_training_are_not_wrong():
    """Directories of earlier versions hold them, with what overflows as infinity."""
    with np.errstate(over="ignore"):
        stored = again(train_loss=np.float32([1 / 3, 1e39]))
    alone = Retrained({"train_loss": np.array([1 / 3, 1e39])}, -1)
    assert not is_wrong(stored, alone, alone, 2.0**-52)


def test_float32_values_of_a_float64_training_change_no_verdict():
    """Two seeds of one result are both the best, also where float32 rounded them down."""
    stored, alone = (Retrained({"val_loss": kind([2843.167793])}, -1) for kind in (np.float32, np.float64))
    assert stored.metrics["val_loss"] < alone.metrics["val_loss"]
    ranked = pd.Series(np.float64(stored.metrics["val_loss"][[0, 0]]))
    assert verdicts(stored, alone, ranked, 0, "val_loss") == []
    worse = Retrained({"val_loss": np.array([2843.2])}, -1)
    assert verdicts(stored, worse, ranked, 0, "val_loss") == ["not best"]


def again(diverged_at=-1, **metrics):
    return Retrained({name: np.float32(values) for name, values in metrics.items()}, diverged_at)


def test_the_difference_of_two_curves():
    nan = np.nan
    one = again(train_loss=[4.0, 2.0, 1.0], val_accuracy=[0.5, 0.1, 0.9])
    assert difference(one, one) == (0.0, "")
    other = again(train_loss=[4.0, 2.5, 1.0], val_accuracy=[0.5, 0.1, 0.8])
    assert difference(one, other) == (pytest.approx(0.2), "train_loss")
    assert difference(other, one) == (pytest.approx(0.2), "train_loss")
    # An accuracy's is taken as it is.
    other = again(train_loss=[4.0, 2.0, 1.0], val_accuracy=[0.5, 0.2, 0.9])
    assert difference(one, other) == (pytest.approx(0.1), "val_accuracy")
    # Records after the first that is not finite in either curve do not count.
    wild = again(train_loss=[4.0, nan, 77.0], val_accuracy=[0.5, 0.1, 0.9])
    assert difference(one, wild) == difference(wild, one) == (0.0, "")
    assert difference(again(train_loss=[0.0, 1.0]), again(train_loss=[0.0, 1.0])) == (0.0, "")
    assert difference(again(train_loss=[0.0]), again(train_loss=[-2.0])) == (1.0, "train_loss")


@pytest.mark.parametrize("name", ["train_loss", "grad_norm"])
def test_a_blow_up_does_not_hide_what_came_before(name):
    one, other = again(**{name: [1.0, 2.0, 3.0, 1e20]}), again(**{name: [1.0, 2.0, 30.0, 1e20]})
    assert difference(one, other) == difference(other, one) == (pytest.approx(0.9), name)


@pytest.mark.parametrize(
    ("name", "first", "least"),
    [("grad_norm", 4.0, 4e-3), ("param.x", 4.0, 4e-3), ("train_loss", 4.0, 4e-6), ("train_loss", -4.0, 4e-3)],
)
def test_what_is_left_by_rounding_is_no_difference(name, first, least):
    """It is held against the least that a curve's own size lets be told from it."""
    one, other = (again(**{name: [first, least * factor]}) for factor in (0.001, 0.101))
    assert difference(one, other) == difference(other, one) == (pytest.approx(0.1, rel=1e-3), name)
    larger = again(**{name: [first, least * 10.0]}), again(**{name: [first, least * 11.0]})
    assert difference(*larger) == (pytest.approx(1.0 / 11.0, rel=1e-3), name)


def test_the_best_are_those_of_cells_that_can_be_compared(tmp_path_factory):
    """The value of one function says nothing about that of another: each has a best trial of its own."""
    words = [
        "model=point",
        "data=none",
        "model.x=1.5",
        "model.spread=0.1",
        "optimizer.lr=0.01",
        "grid.loss=[parabola,quartic]",
        "steps=5",
        "seeds=2",
        *QUIET,
    ]
    sweep = trained_in(tmp_path_factory, words)
    found = vsweep.verify(sweep.directory, k=0)
    best = [trial["trial"] for trial in found["trials"] if trial["why"] == BEST]
    expected = sweep.trials.sort_values("final_train_loss").drop_duplicates("loss")["trial"]
    assert sorted(best) == sorted(expected)

    def worsen(trials):
        trials.loc[trials["trial"] == best[1], "final_train_loss"] += np.float32(1e6)

    rewrite(sweep.directory / "trials.parquet", worsen)
    assert by_trial(vsweep.verify(sweep.directory, k=4))[best[1]]["changed"] == ["best"]


def test_no_sweep_is_told(here):
    for call in (vsweep.verify, vsweep.confirm):
        with pytest.raises(ConfigError, match=r"^dir: no sweep in 'nowhere'"):
            call("nowhere")
    with pytest.raises(ConfigError, match=r"^dir: "):
        vsweep.overrides("nowhere", 0)


# The trials that are verified.


@pytest.fixture(scope="module")
def plan():
    return vsweep.plan(WORDS)[1]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_trials_that_are_chosen(made, plan, count):
    chosen = choose_trials_to_verify(plan, made.trials, count)
    why = list(chosen.values())
    (program,) = plan.programs
    assert why.count(RANDOM) == count
    assert why[0] == BEST
    assert next(iter(chosen)) == picks_of(made)[0]
    assert made.trials["status"].iloc[list(chosen)[1]] == "diverged"
    assert {program.rows[0], program.rows[-1]} <= set(chosen)


def test_more_than_there_are_is_all_of_them(made, plan):
    assert sorted(choose_trials_to_verify(plan, made.trials, 1000)) == list(range(12))


def test_those_at_random_hang_on_the_seed_alone(made, plan):
    one = choose_trials_to_verify(plan, made.trials, 3, seed=1)
    assert choose_trials_to_verify(plan, made.trials, 3, seed=1) == one
    assert any(choose_trials_to_verify(plan, made.trials, 3, seed=seed) != one for seed in range(2, 8))


def test_of_those_that_are_done(made, plan):
    """A sweep that was stopped has no others to be verified."""
    some = made.trials.iloc[[1, 4, 7, 8]].copy()
    some["final_val_accuracy"] = [0.5, np.nan, 0.9, 0.5]
    chosen = choose_trials_to_verify(plan, some, 1000)
    assert sorted(chosen) == [1, 4, 7, 8]
    assert chosen[1] == FIRST
    assert chosen[4] == DIVERGED


def test_where_all_diverged_there_is_no_best(made, plan):
    chosen = choose_trials_to_verify(plan, made.trials[made.trials["status"] == "diverged"], 1)
    assert BEST not in chosen.values()
    assert next(iter(chosen.values())) == DIVERGED


# Overrides.


def composed(words, own=None):
    """The plan of a sweep of these words."""
    return plan_sweep(make_spec(words, own), TimingCache(), {})[0]


@pytest.mark.parametrize("which", ["made", "groups", "ones_own"])
def test_the_overrides_of_a_trial_are_that_trial_alone(which, request):
    sweep, own = request.getfixturevalue(which), None
    if which == "ones_own":
        sweep, own = sweep
    for _, trial in sweep.trials.iloc[::3].iterrows():
        words = vsweep.overrides(sweep.directory, trial["trial"], own)
        assert identities(composed(words, own)).tolist() == [trial["identity"]]


@pytest.mark.parametrize("trial", [-1, 12, 10_000])
def test_a_trial_that_is_not_there_is_told(made, trial):
    for call in (vsweep.overrides, vsweep.reproduce):
        with pytest.raises(ConfigError) as refused:
            call(made.directory, trial)
        assert str(refused.value) == (
            f"trial: no trial {trial} in {str(made.directory)!r}; it has 12 trials, numbered up to 11"
        )


def test_a_number_that_was_collapsed_is_no_trial(groups):
    """Logistic has no width: its two widths are one cell."""
    numbers = set(groups.trials["trial"])
    gone = set(range(max(numbers))) - numbers
    assert gone
    for trial in gone:
        with pytest.raises(ConfigError, match=rf"^trial: no trial {trial} in "):
            vsweep.overrides(groups.directory, trial)


# Reproduce.


def assert_reproduces(found, sweep, trial):
    alone = found.sweep
    assert alone.trials["identity"].tolist() == [trial_of(sweep, trial)["identity"]]
    (number,) = alone.trials["trial"]
    got, want = curve_of(alone, number), curve_of(sweep, trial)
    assert got["step"].tolist() == want["step"].tolist()
    for name in set(want) - {"step"}:
        if want[name].notna().any():
            np.testing.assert_allclose(got[name], want[name], rtol=1e-6, atol=1e-7, err_msg=name)


# A trial of a padded program, one of its own width, and one that diverged.
REPRODUCED = 1, 6, 11


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    """Some of the trials, each trained again in a directory of its own, by number."""
    folder = tmp_path_factory.mktemp("alone")
    return {trial: vsweep.reproduce(made.directory, trial, to=folder / str(trial)) for trial in REPRODUCED}


@pytest.mark.parametrize("trial", REPRODUCED)
def test_a_trial_that_is_trained_again_is_the_same(made, alone, trial):
    found = alone[trial]
    assert found.sweep.directory.name == str(trial)
    assert found.overrides == vsweep.overrides(made.directory, trial)
    assert_reproduces(found, made, trial)
    kept = made.params(trial)
    width = trial_of(made, trial)["model.width"]
    assert {name: leaf.shape for name, leaf in found.params.items()} == {
        "0.w": (width, 4),
        "0.b": (width,),
        "1.w": (3, width),
        "1.b": (3,),
    }
    for name, leaf in kept.items():
        np.testing.assert_allclose(found.params[name], leaf, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_trial_of_other_groups_is_trained_again(groups, here):
    trial = int(groups.trials["trial"].iloc[-1])
    assert trial_of(groups, trial)["optimizer"] == "momentum"
    found = vsweep.reproduce(groups.directory, trial)
    assert found.sweep.directory.parts[:2] == ("outputs", f"trial-{trial}")
    assert_reproduces(found, groups, trial)


def test_ones_own_functions_are_trained_again(ones_own, tmp_path):
    sweep, own = ones_own
    found = vsweep.reproduce(sweep.directory, 7, to=tmp_path / "again", own=own)
    assert_reproduces(found, sweep, 7)
    assert {name: leaf.shape for name, leaf in found.params.items()} == {"into": (3, 2), "out": (1, 3)}
    x, y = own["data"]
    data = Dataset(x, y, ("0", "1"), ("a", "b"))
    held = split(data, 0.2, 0, test_fraction="auto", standardize=True, stratify=True).places[1]
    assert (found.predictor(x[held]) == y[held]).mean() == pytest.approx(
        trial_of(sweep, 7)["final_val_accuracy"], rel=1e-6
    )


def test_ones_own_model_is_found_by_its_name_where_that_is_allowed(tmp_path_factory, tmp_path):
    words = ["data=iris", "grid.model.scale=[0.5,1.5]", "steps=3", *QUIET]
    sweep = trained_in(tmp_path_factory, words, model=shallow)
    with pytest.raises(ConfigError, match=r"^model\._target_: .*allow_targets"):
        vsweep.verify(sweep.directory)
    allowed = [__name__]
    assert vsweep.verify(sweep.directory, allow_targets=allowed)["changed"] == []
    found = vsweep.reproduce(sweep.directory, 1, to=tmp_path / "again", allow_targets=allowed)
    assert_reproduces(found, sweep, 1)


def held_out(dataset):
    """The examples for validation as they came, by the numbers of their rows."""
    rows = split(dataset, 0.2, 0, test_fraction="auto", standardize=True, stratify=True).places[1]
    return dataset.x[rows], dataset.y[rows]


@pytest.mark.parametrize("trial", REPRODUCED)
def test_predictions_on_the_held_out_examples_give_their_accuracy(made, alone, trial):
    iris = DATASETS["iris"]()
    x, y = held_out(iris)
    for predictor in (made.predictor(trial), alone[trial].predictor):
        right = int((predictor(x) == np.array(iris.classes)[y]).sum())
        assert np.float32(right) / np.float32(len(y)) == pytest.approx(
            trial_of(made, trial)["final_val_accuracy"], rel=1e-6
        )


def test_predictions_of_numbers_give_their_loss(tmp_path_factory, tmp_path):
    words = ["data=diabetes", "grid.model.name=[linear,mlp]", "grid.model.width=[2,3]", "steps=10"]
    words += ["optimizer.lr=0.01", *QUIET]
    sweep = trained_in(tmp_path_factory, words)
    x, y = held_out(DATASETS["diabetes"]())
    for trial in sweep.trials["trial"]:
        predictor = sweep.predictor(trial)
        assert predictor(x).shape == y.shape
        mse, record = np.mean((predictor(x) - y) ** 2), trial_of(sweep, trial)
        assert np.sqrt(mse) == pytest.approx(record["final_val_rmse"], rel=1e-5)
        # The targets are trained in units of their deviation.
        scale = sweep.target_scales[0]
        assert mse / scale**2 == pytest.approx(record["final_val_loss"], rel=1e-5)
    last = int(sweep.trials["trial"].iloc[-1])
    found = vsweep.reproduce(sweep.directory, last, to=tmp_path / "again")
    np.testing.assert_allclose(found.predictor(x), sweep.predictor(last)(x), rtol=1e-5)
    with pytest.raises(ValueError, match=r"x has the shape \(3, 2\); expected \(examples, 10\): age, "):
        predictor(np.zeros((3, 2)))


# The parameters that are kept.


def kept_in(sweep):
    """The trials of which the parameters are kept."""
    found = []
    for trial in sweep.trials["trial"]:
        try:
            sweep.params(trial)
        except KeyError:
            continue
        found.append(trial)
    return found


def assert_readable(sweep):
    """NumPy reads each file of them, without unpickling anything."""
    files = sorted((sweep.directory / "params").glob("*"))
    assert files
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            assert all(file[name].dtype.kind in "fS" for name in file)


def assert_own_shapes(sweep, trials):
    for trial in trials:
        width = trial_of(sweep, trial)["model.width"]
        shapes = {name: leaf.shape for name, leaf in sweep.params(trial).items()}
        assert shapes == {"0.w": (width, 4), "0.b": (width,), "1.w": (3, width), "1.b": (3,)}
        norm = np.sqrt(sum(float((leaf.astype(float) ** 2).sum()) for leaf in sweep.params(trial).values()))
        assert norm == pytest.approx(trial_of(sweep, trial)["final_param_norm"], rel=1e-5)


def test_all_parameters_are_kept(made):
    assert kept_in(made) == list(range(12))
    assert_readable(made)
    assert_own_shapes(made, range(12))


def test_no_parameters_are_kept(tmp_path):
    sweep = vsweep.sweep([*WORDS, "keep.params=0", f"dir='{tmp_path / 'kept'}'"], quiet=True)
    assert kept_in(sweep) == []
    assert not list(tmp_path.rglob("*.npz"))
    with pytest.raises(KeyError, match=r"the parameters of trial 6 were not kept; vsweep\.reproduce"):
        sweep.predictor(6)
    with pytest.raises(KeyError, match=r"trial 77 does not exist or is not finished"):
        sweep.params(77)


def test_the_best_parameters_are_kept(tmp_path):
    rates = "grid.optimizer.lr=[0.3,1e6,1.0]"
    words = [*WORDS, "keep.params=3", rates, f"dir='{tmp_path / 'kept'}'"]
    sweep = vsweep.sweep(words, quiet=True)
    assert_best_three(sweep)


def test_fresh_seeds_do_not_wrap_around(tmp_path):
    words = ["data=iris", "model=logistic", "seeds=[4294967290]", "steps=1", "tracker=none"]
    vsweep.sweep([*words, f"dir='{tmp_path / 'kept'}'"], quiet=True)
    with pytest.raises(ConfigError, match=r"^seeds: 8 after 4294967290; seeds are below 4294967296$"):
        vsweep.confirm(tmp_path / "kept", quiet=True)
    assert not (tmp_path / "kept" / "confirm.json").exists()


def test_the_best_are_kept_of_a_sweep_that_has_grown(tmp_path):
    words = [*WORDS, "keep.params=3", f"dir='{tmp_path / 'kept'}'"]
    less = vsweep.sweep([*words, "seeds=[3]"], quiet=True)
    assert len(kept_in(less)) == 2, "of two trials that did not diverge"
    assert_best_three(vsweep.sweep([*words, "grid.optimizer.lr=[0.3,1e6,1.0]"], quiet=True))


def assert_best_three(sweep):
    kept = kept_in(sweep)
    assert len(kept) == 3
    ok = sweep.trials[sweep.trials["status"] == "ok"].set_index("trial")["final_val_accuracy"]
    assert len(ok) > 3
    assert sorted(ok[kept]) == sorted(ok)[-3:]
    assert_readable(sweep)
    assert_own_shapes(sweep, kept)


# Confirm.


@pytest.fixture(scope="module")
def confirmed(made):
    """The three best cells of the sweep on two fresh seeds, and where these were trained."""
    found = vsweep.confirm(made.directory, top=3, seeds=2, quiet=True)
    (folder,) = (made.directory / "confirm").iterdir()
    return found, vsweep.load(folder)


def test_cells_are_confirmed_on_seeds_that_the_sweep_did_not_have(made, confirmed):
    _, fresh = confirmed
    seeds = set(fresh.trials["seed"])
    assert len(seeds) == 2
    assert not seeds & set(made.trials["seed"])
    assert not set(fresh.trials["identity"]) & set(made.trials["identity"])
    assert len(fresh.trials) == 6


def test_the_cells_that_are_confirmed_are_the_best_in_order(made, confirmed):
    found, fresh = confirmed
    before = made.cells().head(3)
    assert found.metric == "val_accuracy"
    assert list(found.cells) == [
        "cell", "model.width", "optimizer.lr", "mean", "sem", "error", "confirmed", "confirmed_sem",
        "confirmed_error", "confirmed_low", "confirmed_high", "diverged", "rank", "shrinkage",
        "shrinkage_margin",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(
        found.cells[["cell", "model.width", "optimizer.lr", "mean", "sem", "error"]],
        before[["cell", "model.width", "optimizer.lr", "mean", "sem", "error"]],
    )
    for _, row in found.cells.iterrows():
        mine = fresh.trials[fresh.trials["cell"] == row["cell"]]
        # A cell is the same cell by its number too.
        assert mine["model.width"].unique().tolist() == [row["model.width"]]
        assert mine["optimizer.lr"].unique().tolist() == [row["optimizer.lr"]]
        values = mine.loc[mine["status"] == "ok", "final_val_accuracy"].astype(float)
        assert row["diverged"] == 2 - len(values)
        if len(values):
            assert row["confirmed"] == pytest.approx(values.mean())
            assert row["confirmed_sem"] == pytest.approx(values.std() / np.sqrt(2))
            assert row["shrinkage"] == pytest.approx(row["mean"] - row["confirmed"])
        else:
            assert np.isnan(row["confirmed"])
    order = rank_cells(fresh.trials, "val_accuracy")["cell"].tolist()
    assert found.cells["rank"].tolist() == [order.index(cell) + 1 for cell in found.cells["cell"]]
    assert sorted(found.cells["rank"]) == [1, 2, 3]


def test_what_was_confirmed_is_kept(made, confirmed):
    found, fresh = confirmed
    record = json.loads((made.directory / "confirm.json").read_text())
    assert record["metric"] == "val_accuracy"
    assert record["seeds"] == sorted(set(fresh.trials["seed"]))
    kept = pd.DataFrame(record["cells"]).astype(found.cells.dtypes)
    pd.testing.assert_frame_equal(kept, found.cells)


def test_what_is_confirmed_already_is_not_trained_again(copied):
    """By default a cell is trained on eight seeds; the sweep's own files stay as they are."""
    before = {path.name: path.read_bytes() for path in copied.glob("*.parquet")}
    parts = parts_of(copied)
    first = vsweep.confirm(copied, top=1, quiet=True)
    after = parts_of(copied)
    assert parts <= after
    assert trials_in(after - parts) == 8
    second = vsweep.confirm(copied, top=1, quiet=True)
    assert parts_of(copied) == after
    pd.testing.assert_frame_equal(second.cells, first.cells)
    vsweep.confirm(copied, top=1, seeds=3, quiet=True)
    assert after <= parts_of(copied)
    assert trials_in(parts_of(copied) - after) == 3
    assert {path.name: path.read_bytes() for path in copied.glob("*.parquet")} == before


@pytest.mark.parametrize("number", [{"top": 0}, {"top": "5"}, {"seeds": 0}, {"seeds": -2}, {"seeds": 2.5}])
def test_no_cells_and_no_seeds_confirm_nothing(tmp_path, number):
    ((name, value),) = number.items()
    with pytest.raises(ConfigError, match=f"^{name}: got {value!r}; it takes an integer of at least 1$"):
        vsweep.confirm(tmp_path, quiet=True, **number)


def test_a_metric_that_was_not_recorded_confirms_nothing(copied):
    parts = parts_of(copied)
    with pytest.raises(ConfigError, match=r"^metric: no metric 'val_acc': this sweep recorded train_loss, "):
        vsweep.confirm(copied, metric="val_acc", quiet=True)
    assert parts_of(copied) == parts


def test_ones_own_functions_are_confirmed(ones_own):
    sweep, own = ones_own
    found = vsweep.confirm(sweep.directory, top=2, seeds=1, own=own, quiet=True)
    assert found.cells["cell"].tolist() == sweep.cells()["cell"].head(2).tolist()
    assert found.cells["confirmed"].notna().all()


def fresh(values, metric, cells):
    """Trials of `values[cell][seed]` on fresh seeds; NaN is one that diverged."""
    values = np.asarray(values, float)
    cell, seed = (place.ravel() for place in np.indices(values.shape))
    return pd.DataFrame(
        {
            "trial": np.arange(values.size), "cell": np.asarray(cells)[cell], "seed": seed,
            "lr": np.asarray(cells)[cell], "status": np.where(np.isnan(values.ravel()), "diverged", "ok"),
            f"final_{metric}": values.ravel(),
        }
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["val_r2", "val_loss"])
def test_shrinkage_is_how_much_worse(metric):
    higher = metric == "val_r2"
    before = pd.DataFrame({"cell": [4, 7], "lr": [4, 7], "mean": [0.9, 0.8], "sem": 0.01, "error": 0.02})
    before = before.assign(seeds=3, diverged=0)
    values = [[0.85, 0.95, 0.8], [0.6, 0.8, np.nan]]
    table = shrinkage(before, fresh(values, metric, [7, 4]), ["lr"], metric)
    sign = 1 if higher else -1
    np.testing.assert_allclose(table["shrinkage"], [sign * 0.2, sign * (0.8 - np.mean(values[0]))])
    assert table["rank"].tolist() == [2, 1]
    np.testing.assert_allclose(table["confirmed"], [0.7, np.mean(values[0])])
    np.testing.assert_allclose(table["confirmed_sem"], [0.1, sem(values[0])])
    assert table["diverged"].tolist() == [1, 0]
    for row, known in zip(table.itertuples(), ([0.6, 0.8], values[0]), strict=True):
        expected = student.interval(0.95, len(known) - 1, np.mean(known), sem(known))
        np.testing.assert_allclose([row.confirmed_low, row.confirmed_high], expected)
        margin = student.ppf(0.975, len(known) - 1) * np.hypot(0.01, sem(known))
        assert row.shrinkage_margin == pytest.approx(margin)


def test_the_interval_on_fresh_seeds_is_that_of_the_cells():
    before = pd.DataFrame({"cell": [0, 1], "lr": [0, 1], "mean": [0.9, 0.8], "sem": 0.0, "error": 0.0})
    before = before.assign(seeds=4, diverged=0)
    trials = fresh([[0.9] * 4, [0.9, 0.9, 0.9, 0.8]], "val_accuracy", [0, 1])
    trials["final_val_loss"] = np.arange(8.0)
    table = shrinkage(before, trials, ["lr"], "val_accuracy")
    cells = rank_cells(trials, "val_accuracy")
    for name in ("sem", "error", "low", "high"):
        np.testing.assert_array_equal(table[f"confirmed_{name}"], cells[name])
    # Equal accuracies of four seeds may hide the rounding to one example in ten.
    assert table["confirmed_high"][0] > 0.91
    table = shrinkage(before, fresh([[0.9], [0.8]], "val_loss", [0, 1]), ["lr"], "val_loss")
    assert table[["confirmed_low", "confirmed_high"]].isna().all(axis=None)


def test_a_confirmed_mean_owes_nothing_to_the_choice():
    """In each of many sweeps, ten cells that are equal but for luck: the best one has a lead that is luck."""
    rng, sweeps, cells, seeds = np.random.default_rng(0), 200, 10, 4

    def trials():
        values = rng.standard_normal((sweeps * cells, seeds))
        return fresh(values, "val_loss", np.arange(sweeps * cells)).assign(
            data=np.arange(sweeps * cells).repeat(seeds) // cells
        )[["trial", "cell", "seed", "data", "lr", "status", "final_val_loss"]]

    before = rank_cells(trials(), "val_loss")
    before = before[before["rank"] == 1]
    again = trials()
    table = shrinkage(before, again[again["cell"].isin(before["cell"])], ["data", "lr"], "val_loss")
    assert table["mean"].mean() < -0.6
    assert abs(table["confirmed"].mean()) < 3 / np.sqrt(sweeps * seeds)
    hit = (table["confirmed_low"] <= 0.0) & (table["confirmed_high"] >= 0.0)
    assert abs(hit.mean() - 0.95) <= 0.02 + 2 * np.sqrt(0.95 * 0.05 / sweeps)


def test_a_change_that_may_be_luck_is_said_to_be(capsys):
    cells = pd.DataFrame(
        {
            "cell": [1, 2], "lr": [0.1, 0.2], "mean": [0.5, 0.6], "sem": 0.01, "error": 0.01,
            "confirmed": [0.52, 0.63], "confirmed_sem": 0.01, "confirmed_error": 0.04,
            "diverged": 0, "rank": [1, 2],
            "confirmed_low": [0.49, 0.58], "confirmed_high": [0.55, 0.68], "shrinkage": [0.02, 0.03],
            "shrinkage_margin": [0.026, 0.028],
        }
    )  # fmt: skip
    print_confirmation(cells, "val_loss")
    said = " ".join(capsys.readouterr().err.split())
    assert "0.52 on fresh seeds (95 % interval 0.49 to 0.55), still rank 1 of 2" in said
    assert said.endswith("these cells are worse by 0.025 on average, which may be luck of the seeds")
    print_confirmation(cells.assign(shrinkage_margin=0.022), "val_loss")
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("these cells are worse by 0.025 on average: so much of their lead was luck")
    print_confirmation(cells.assign(confirmed=cells["mean"], shrinkage=[1e-8, -2e-8]), "val_loss")
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("these cells are as good as in the sweep on average")
    assert "e-08" not in said
    print_confirmation(cells.assign(confirmed=np.nan, shrinkage=np.nan), "val_loss")
    assert " ".join(capsys.readouterr().err.split()).endswith("no cell has a value in both")


# The command line.


def test_the_command_verifies(cli, copied):
    done = cli("verify", str(copied), "k=1", "seed=2")
    assert (done.status, done.out) == (0, f"{copied / 'verify.json'}\n")
    found = json.loads((copied / "verify.json").read_text())
    assert [each["why"] for each in found["trials"]].count(RANDOM) == 1
    lines = done.err.strip().splitlines()
    assert lines[0].split() == ["trial", "seed", "why", "difference", "metric", "twin", "verdict"]
    assert lines[-1] == describe_verification(found)
    shown = [line.split()[0] for line in lines if line.strip() and line.split()[0].isdecimal()]
    assert shown == [str(each["trial"]) for each in found["trials"]]


def test_the_command_confirms(cli, made, copied):
    """The metric is a loss, which shrinks upwards."""
    done = cli("confirm", str(copied), "top=2", "seeds=2", "metric=val_loss")
    assert (done.status, done.out) == (0, f"{copied}\n")
    record = json.loads((copied / "confirm.json").read_text())
    assert (record["metric"], len(record["cells"]), len(record["seeds"])) == ("val_loss", 2, 2)
    cells = pd.DataFrame(record["cells"])
    assert cells["cell"].tolist() == made.cells("val_loss")["cell"].head(2).tolist()
    np.testing.assert_allclose(cells["shrinkage"], cells["confirmed"] - cells["mean"])
    last = done.err.splitlines()[-1]
    first = record["cells"][0]
    assert last.startswith(
        f"val_loss of the best cell: {first['mean']:.4g} in the sweep, {first['confirmed']:.4g} on fresh"
    )
    change = cells["shrinkage"].mean()
    word = "worse" if change > 0 else "better"
    assert f"; these cells are {word} by {abs(change):.4g} on average" in last
    (head,) = [line for line in done.err.splitlines() if "shrinkage " in line]
    assert head.split() == [
        "width",
        "in",
        "the",
        "sweep",
        "on",
        "fresh",
        "seeds",
        "95",
        "%",
        "interval",
        "shrinkage",
        "rank",
    ]


def test_the_command_trains_a_trial_again(cli, made, here):
    done = cli("run", "trial=7", f"from={made.directory}", "dir=again")
    assert (done.status, done.out) == (0, "again\n")
    alone = vsweep.load(here / "again")
    assert alone.trials["identity"].tolist() == [trial_of(made, 7)["identity"]]
    (line,) = [line for line in done.err.splitlines() if line.startswith("vsweep run ")]
    words = shlex.split(line)[2:]
    assert words == vsweep.overrides(made.directory, 7)
    assert identities(composed(words)).tolist() == alone.trials["identity"].tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify"], "verify: got no directory; vsweep verify DIR takes a sweep's directory"),
        (["confirm"], "confirm: got no directory; vsweep confirm DIR takes a sweep's directory"),
        (["verify", "k=1"], "verify: got no directory; vsweep verify DIR takes a sweep's directory"),
        (["verify", "DIR", "k=-1"], "k: got '-1'; it takes an integer of at least 0"),
        (["verify", "DIR", "top=1"], "verify: got 'top=1'; it takes k=…, seed=…, allow_targets=…"),
        (["confirm", "DIR", "top=0"], "top: got '0'; it takes an integer of at least 1"),
        (["confirm", "DIR", "seeds=0"], "seeds: got '0'; it takes an integer of at least 1"),
        (["confirm", "DIR", "k"], "confirm: got 'k'; it takes top=…, seeds=…, metric=…, allow_targets=…"),
        (["run", "trial=1"], "from: got nothing; trial=N from=DIR takes a sweep's directory"),
        (["run", "from=DIR"], "trial: got nothing; it takes an integer of at least 0"),
        (["run", "trial=x", "from=DIR"], "trial: got 'x'; it takes an integer of at least 0"),
        (["run", "trial=99", "from=DIR"], "trial: no trial 99 in 'DIR'; it has 12 trials, numbered up to 11"),
        (["run", "trial=1", "from=DIR", "steps=2"], "run: got 'steps=2'; it takes trial=…, from=…, dir=…"),
    ],
)
def test_words_that_say_nothing_are_told(cli, made, here, words, said):
    shutil.copytree(made.directory, here / "DIR")
    before = {path for path in here.rglob("*") if path.name != ".lock"}
    done = cli(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"vsweep: {said}")
    assert {path for path in here.rglob("*") if path.name != ".lock"} == before
