"""A trial's results do not depend on its neighbors, its place, its padding or its block."""

import jax
import numpy as np
import pytest
from core_helpers import (
    INITS,
    as_layers,
    assert_same_bits,
    examples,
    make_hparams,
    make_static,
    take,
    train_block,
    trial_of,
)
from jax.sharding import Mesh
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

from vsweep.tasks.task import Data, Examples
from vsweep.training.loop import loop_of_record
from vsweep.training.program import precision_context
from vsweep.training.vectorize import compile_block

LOSS = "softmax_cross_entropy"
TRAIN, VAL = examples(LOSS), examples(LOSS, rows=11, seed=1)
BOUND, WIDTH, LR, BLOCK = 8, 5, 0.05, 8


@pytest.mark.parametrize("classes", [2, 3])
def test_reaches_the_optimum_of_scikit_learn(classes):
    x, y = (load_breast_cancer if classes == 2 else load_iris)(return_X_y=True)
    x = x[:, :8]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    decays = [0.3, 0.05]
    static = make_static(
        "logistic",
        "sigmoid_cross_entropy" if classes == 2 else LOSS,
        features=x.shape[1],
        inits=("zeros",),
        optimizer="nesterov",
        steps=4000,
        record_every=4000,
        dtype="float64",
    )
    hparams = make_hparams(static, lr=0.4, momentum=0.9, weight_decay=decays)
    curve = train_block(static, hparams, Examples(x.T, y.astype(np.int32)))
    assert (curve.metrics["grad_norm"][:, -1] > 1e-3).all()
    for i, decay in enumerate(decays):
        other = LogisticRegression(C=1.0 / (len(y) * decay), solver="newton-cholesky", tol=1e-12)
        other.fit(x, y)
        ((w, b),) = as_layers(curve.params, i)
        np.testing.assert_allclose(w, other.coef_, rtol=1e-7, atol=1e-9)
        # With many classes, only the differences of the intercepts are determined.
        shift = other.intercept_.mean() if classes > 2 else 0.0
        np.testing.assert_allclose(b, other.intercept_ - shift, rtol=1e-7, atol=1e-9)


def _block_of_100():
    """Trials of every initializer at the width in question: at rest, descending, and others between."""
    rng = np.random.default_rng(0)
    widths = rng.integers(1, BOUND + 1, 100)
    inits = rng.choice(INITS, 100)
    seeds = rng.integers(0, 9, 100)
    rates = rng.uniform(0.0, 2 * LR, 100)
    places = rng.permutation(100)[: 2 * len(INITS)].reshape(2, -1)
    widths[places], inits[places], seeds[places] = WIDTH, [INITS, INITS], 3
    rates[places] = [[0.0], [LR]]
    return places, {"width": widths, "init": list(inits), "seed": seeds, "lr": rates}


def _assert_close(alone, among, rtol=1e-5):
    for name, values in alone.metrics.items():
        np.testing.assert_allclose(among.metrics[name], values, rtol=rtol, atol=1e-7, err_msg=name)
    assert alone.diverged_at == among.diverged_at == -1


def _assert_same_start(alone, padded, init, width=WIDTH):
    for i, ((w, b), (wide, wide_b)) in enumerate(
        zip(as_layers(alone.params), as_layers(padded.params), strict=True)
    ):
        inside = wide[: w.shape[0], : w.shape[1]]
        np.testing.assert_array_equal(inside, w, err_msg=f"{init}, layer {i}")
        assert np.count_nonzero(wide) == np.count_nonzero(inside)
        assert not b.any()
        assert not wide_b.any()


@pytest.fixture(scope="module")
def block_of_100():
    places, fields = _block_of_100()
    static = make_static(width=BOUND)
    return places, train_block(static, make_hparams(static, **fields), TRAIN, VAL, vmap_size=4)


@pytest.mark.parametrize("bound", [WIDTH, pytest.param(BOUND, marks=pytest.mark.tail)])
def test_alone_and_among_a_hundred_with_every_initializer(block_of_100, bound):
    places, hundred = block_of_100
    static = make_static(width=bound)
    for i, init in enumerate(INITS):
        at_rest, alone = (
            trial_of(
                train_block(
                    static, make_hparams(static, width=WIDTH, init=init, seed=3, lr=[lr]), TRAIN, VAL
                ),
                0,
            )
            for lr in (0.0, LR)
        )
        _assert_same_start(at_rest, trial_of(hundred, places[0, i]), init)
        among = trial_of(hundred, places[1, i])
        _assert_close(alone, among)
        if init != "zeros":
            assert alone.metrics["train_loss"][-1] < alone.metrics["train_loss"][0] - 1e-3


@pytest.mark.parametrize(
    "activation",
    [
        "relu",
        *(pytest.param(name, marks=pytest.mark.tail) for name in ("sigmoid", "gelu", "identity", "tanh")),
    ],
)
def test_two_padded_layers_with_every_activation(activation):
    inits = ("glorot_normal", "he_uniform")
    alone_static = make_static(width=WIDTH, depth=2, activation=activation, inits=inits)
    static = make_static(width=BOUND, depth=2, activation=activation, inits=inits)
    hparams = make_hparams(
        static,
        width=[BOUND, WIDTH, 1, WIDTH, WIDTH, 3, WIDTH],
        init=[inits[i] for i in (1, 0, 0, 1, 0, 1, 1)],
        lr=[LR, 0.0, LR, 0.0, LR, LR, LR],
    )
    padded = train_block(static, hparams, TRAIN)
    for i, init in enumerate(inits):
        rest, moving = (
            trial_of(train_block(alone_static, make_hparams(alone_static, init=init, lr=[lr]), TRAIN), 0)
            for lr in (0.0, LR)
        )
        _assert_same_start(rest, trial_of(padded, 1 + 2 * i), init)
        _assert_close(moving, trial_of(padded, 4 + 2 * i))
        for w, b in as_layers(trial_of(padded, 4 + 2 * i).params)[:2]:
            assert not w[WIDTH:].any()
            assert not b[WIDTH:].any()
            assert b[:WIDTH].any() or activation == "relu"


def _others(static, seed):
    rng = np.random.default_rng(seed)
    mlp = "width" in dict(static.task.static)
    return make_hparams(
        static,
        seed=rng.integers(0, 1000, BLOCK),
        lr=rng.uniform(0.01, 0.5, BLOCK),
        init=list(rng.choice(["lecun_normal", "zeros"], BLOCK)),
        width=rng.integers(1, BOUND, BLOCK) if mlp else None,
        init_scale=rng.uniform(0.5, 2.0, BLOCK),
    )


def _replace(block, place, one):
    """The block with a trial of its own in a place."""

    def leaf(many, single):
        many = many.copy()
        many[place] = single
        return many

    return jax.tree.map(leaf, block, one)


# (model, vmap_size, devices): one after another, side by side, and on two devices.
@pytest.fixture(
    scope="module",
    params=[
        ("mlp", 1, 1),
        ("mlp", 8, 1),
        ("logistic", 1, 1),
        ("logistic", 8, 1),
        ("logistic", 2, 2),
    ],
    ids=lambda p: f"{p[0]}-vmap_size{p[1]}-devices{p[2]}",
)
def program(request):
    """`(static, run)`, of blocks of one shape."""
    model, vmap_size, devices = request.param
    if devices > len(jax.local_devices()):
        pytest.skip("needs two devices")
    static = make_static(model, width=BOUND - 1, inits=("lecun_normal", "zeros"))
    return static, lambda hparams: train_block(
        static, hparams, TRAIN, VAL, vmap_size=vmap_size, devices=devices
    )


def test_neighbors_and_place_change_no_bit(program):
    static, run = program
    block, others = _others(static, 1), _others(static, 2)
    one = take(block, 0)
    want = trial_of(run(block), 0)
    assert np.ptp(want.metrics["train_loss"]) > 1e-3
    for place in range(BLOCK):
        assert_same_bits(trial_of(run(_replace(others, place, one)), place), want)


def test_a_diverging_trial_changes_no_other(program):
    static, run = program
    healthy = _others(static, 3)
    want = run(healthy)
    for place in (0, 3, BLOCK - 1):
        wild = take(healthy, place)
        wild = wild._replace(optimizer=wild.optimizer | {"lr": np.float32(1e30)})
        got = run(_replace(healthy, place, wild))
        assert got.diverged_at[place] == 1
        assert got.metrics["train_loss"][place, -1] > 1e25 or np.isnan(got.metrics["train_loss"][place, -1])
        for i in set(range(BLOCK)) - {place}:
            assert_same_bits(trial_of(got, i), trial_of(want, i))
            assert got.diverged_at[i] == -1


# A training in segments: a state goes to the host after each, and may be gone on with later.

SEGMENTED = [
    ("nesterov", None, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("adam", 7, {"lr": 0.02, "b1": 0.9, "b2": 0.99, "eps": 1e-8}),
]


DATA = Data(*(Examples(part.x.astype(np.float32), part.y) for part in (TRAIN, VAL, TRAIN)))


class InSegments:
    """Trains a block of trials, so many records at a time."""

    def __init__(self, static, hparams, start, records):
        self._static, self._hparams, self._first, self._records = static, hparams, start, records
        loop_index = np.zeros(records, np.int32)
        self._call = compile_block(
            static,
            hparams,
            DATA,
            start,
            loop_index,
            vmap_size=BLOCK,
            mesh=Mesh(jax.local_devices()[:1], ("trials",)),
        )

    def start(self):
        return self._first

    def rest(self, state, made=0, hparams=None):
        """The curves from a record on: the metrics of all of its segments, and the last one's curve."""
        loop_index, metrics = loop_of_record(self._static.length), []
        while made < len(loop_index):
            part = np.zeros(self._records, np.int32)
            due = loop_index[made : made + self._records]
            part[: len(due)] = due
            with precision_context(self._static):
                curve = self._call(self._hparams if hparams is None else hparams, DATA, state, part)
            curve = jax.device_get(curve)
            metrics.append({name: values[:, : len(due)] for name, values in curve.metrics.items()})
            state, made = curve.state, made + len(due)
            yield made, curve
        self.metrics = {name: np.concatenate([m[name] for m in metrics], axis=1) for name in metrics[0]}


@pytest.fixture(scope="module")
def cut(request):
    """`(static, hparams, whole, in_segments)`; in_segments gives the program of a length of segments."""
    optimizer, batch_size, numbers = request.param
    static = make_static(
        width=WIDTH,
        inits=("lecun_normal", "zeros"),
        optimizer=optimizer,
        schedule="exponential",
        steps=22,
        batch_size=batch_size,
    )
    hparams = make_hparams(
        static,
        seed=np.arange(BLOCK),
        width=[5, 3, 1, 5, 4, 2, 5, 5],
        init=["lecun_normal"] * 7 + ["zeros"],
        schedule={"decay_rate": 0.5, "decay_steps": 10.0},
        **numbers,
    )
    # This trial diverges.
    hparams.optimizer["lr"][4] = 1e30
    made = {}

    def in_segments(records):
        if records not in made:
            with jax.numpy_dtype_promotion(promotion):
                made[records] = InSegments(static, hparams, start, records)
        return made[records]

    # optax's Adam raises a traced number to the power of an integer count.
    promotion = "standard" if optimizer.startswith("adam") else "strict"
    with jax.numpy_dtype_promotion(promotion):
        whole = train_block(static, hparams, TRAIN, VAL, vmap_size=BLOCK)
        mesh = Mesh(jax.local_devices()[:1], ("trials",))
        begin = compile_block(static, hparams, DATA, vmap_size=BLOCK, mesh=mesh, only_start=True)
        with precision_context(static):
            start = begin(hparams, DATA)
    return static, hparams, whole, in_segments


def _cut_by(some, tail):
    """Parameters for some pairs of an optimizer's number and a length of segments, and for a tail of them."""
    return pytest.mark.parametrize(
        ("cut", "records"),
        [
            pytest.param(SEGMENTED[i], records, id=f"{SEGMENTED[i][0]}-{records}", marks=marks)
            for pairs, marks in ((some, ()), (tail, pytest.mark.tail))
            for i, records in pairs
        ],
        indirect=["cut"],
    )


@_cut_by([(0, 4), (0, 9)], [(0, 1), (0, 2), (0, 6), *((1, records) for records in (1, 2, 4, 6, 9))])
def test_segments_of_any_length_give_the_whole_curve(cut, records):
    """There are 6 records, and the last comes after fewer steps; a segment may be longer than all of them."""
    _, _, whole, in_segments = cut
    assert whole.state is None
    program = in_segments(records)
    *_, (made, curve) = program.rest(program.start())
    assert made == 6
    fine = np.arange(BLOCK) != 4
    assert np.ptp(whole.metrics["train_loss"][0]) > 1e-3
    for name, values in whole.metrics.items():
        got = program.metrics[name]
        assert got.shape == values.shape == (BLOCK, 6)
        np.testing.assert_allclose(got[fine], values[fine], rtol=1e-6, atol=1e-7, err_msg=name)
    np.testing.assert_array_equal(curve.diverged_at, whole.diverged_at)
    assert curve.diverged_at[4] > 0
    assert (curve.diverged_at[fine] == -1).all()
    assert curve.state.step.tolist() == [22] * BLOCK
    for got, want in zip(jax.tree.leaves(curve.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(got[fine], want[fine], rtol=1e-6, atol=1e-6)


@_cut_by([(0, 4), (1, 4)], [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_from_a_saved_state_the_rest_is_the_same_to_the_bit(cut, records):
    """The trials stand in other places of the block then."""
    _, hparams, _, in_segments = cut
    program = in_segments(records)
    stops = list(program.rest(program.start()))
    uncut, last = program.metrics, stops[-1][1]
    order = np.array([6, 4, 0, 7, 2, 1, 3, 5])
    for made, curve in stops[:-1]:
        saved = jax.tree.map(lambda leaf: np.array(leaf)[order], curve.state)
        *_, (_, again) = program.rest(saved, made, take(hparams, order))
        assert_same_bits(program.metrics, {name: v[order, made:] for name, v in uncut.items()})
        for got, want in (
            (again.state, last.state),
            (again.params, last.params),
            (again.diverged_at, last.diverged_at),
            (again.final, last.final),
        ):
            assert_same_bits(got, jax.tree.map(lambda leaf: leaf[order], want))
