"""The fused kernel, emulated on a CPU, trains as NumPy does in float64 and as the loop does."""

import ctypes
import struct
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_helpers import (
    CLASSES,
    NUMBERS,
    assert_same_bits,
    examples,
    make_hparams,
    make_static,
    np_gradients,
    np_outputs,
    np_update,
)
from emulation import COMPILER, emulate, library
from jax.sharding import Mesh

from vsweep.engine.kernel_launch import compile_kernel, fill, find_nvrtc, fused_call, launcher
from vsweep.errors import ConfigError
from vsweep.tasks.losses import LOSSES, own_loss
from vsweep.tasks.models import ACTIVATIONS
from vsweep.tasks.task import Data
from vsweep.training.fused import kernel as kernels
from vsweep.training.fused.arrays import TrialArguments, TrialOutputs, pack_data
from vsweep.training.fused.kernel import Kernel, make_kernel, refusal
from vsweep.training.loop import TrainingLength, loop_of_record
from vsweep.training.optimizers import OPTIMIZERS
from vsweep.training.program import precision_context
from vsweep.training.vectorize import compile_block, compile_fused

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")

LENGTH = TrainingLength(steps=7, record_every=3, batch_size=None)
# The shared memory of a thread block of an H100.
MOST = 227 * 1024
SCORES = {True: ("accuracy",), False: ("rmse", "mae")}
# The number of the loss in `LOSSES` that has one, and as `np_loss` has it.
LOSS_NUMBERS = {"clipped_cross_entropy": 1e-8, "huber": 0.7}


def make_layers(features, width, outputs, rng):
    sizes = [features, width, outputs] if width else [features, outputs]
    return [
        (rng.normal(size=(m, k)) / np.sqrt(k), rng.normal(size=m) / 4)
        for m, k in zip(sizes[1:], sizes, strict=False)
    ]


def flat(layers, units):
    """The parameters as `arrays.py` lays them out, padded to `units`."""
    padded = []
    for i, (w, b) in enumerate(layers):
        rows = units if i < len(layers) - 1 else len(b)
        columns = units if i else w.shape[1]
        padded += [np.pad(b, (0, rows - len(b)))]
        padded += [np.pad(w, ((0, rows - w.shape[0]), (0, columns - w.shape[1]))).ravel()]
    return np.concatenate(padded)


def descend(layers, train, val, loss, activation, optimizer, rates):
    """The metrics at each record, and the last parameters, in NumPy float64."""
    delta, kept, rows = LOSS_NUMBERS.get(loss, 1.0), {}, []
    for step in range(LENGTH.steps + 1):
        _, grads = np_gradients(layers, train, loss, activation, delta)
        if step % LENGTH.record_every == 0 or step == LENGTH.steps:
            row = []
            for part in (train, val):
                outputs = np_outputs(layers, part.x, activation)
                row.append(np_gradients(layers, part, loss, activation, delta)[0])
                if CLASSES[loss]:
                    guess = outputs.argmax(axis=0) if len(outputs) > 1 else outputs[0] > 0
                    row.append(np.mean(guess == part.y))
                else:
                    errors = outputs[0] - part.y
                    row += [np.sqrt(np.mean(errors**2)), np.abs(errors).mean()]
            norms = [np.sqrt(sum((a**2).sum() for pair in tree for a in pair)) for tree in (grads, layers)]
            rows.append([*row, *norms])
        if step < LENGTH.steps:
            update = partial(np_update, optimizer, NUMBERS[optimizer], step + 1, lr=-rates[step])
            layers = [
                tuple(
                    update(p, g, kept.setdefault((i, j), {}), weight=p.ndim > 1)
                    for j, (p, g) in enumerate(zip(pair, grad, strict=True))
                )
                for i, (pair, grad) in enumerate(zip(layers, grads, strict=True))
            ]
    return np.asarray(rows), layers


def make_arrays(kernel, layers, data, rates, widths=None):
    """The arrays of a launch for trials with these first layers."""
    trials, records = len(layers), LENGTH.steps // LENGTH.record_every + 2
    width = np.asarray(widths or [kernel.units] * trials, np.int32)
    numbers = NUMBERS[kernel.optimizer]
    first = [numbers[name] for name in ("momentum", "b1", "decay") if name in numbers]
    row = [1e3, *(first or [0.0]), *(numbers.get(name, 0.0) for name in ("b2", "eps", "weight_decay"))]
    row.append(LOSS_NUMBERS.get(kernel.loss, 0.0))
    rows = np.asarray([flat(own, kernel.units) for own in layers], np.float32)
    arguments = TrialArguments(
        step=np.zeros(trials, np.int32),
        params=rows,
        moments=np.zeros((trials, max(kernel.moments, 1), rows.shape[1]), np.float32),
        limit=np.full(trials, np.inf, np.float32),
        diverged_at=np.full(trials, -1, np.int32),
        rates=np.tile(np.asarray(rates, np.float32), (trials, 1)),
        numbers=np.tile(np.asarray(row, np.float32), (trials, 1)),
        width=width,
    )
    outputs = TrialOutputs(
        np.full((trials, records, kernel.metrics), -7, np.float32),
        *(np.full_like(getattr(arguments, name), -7) for name in TrialOutputs._fields[1:]),
    )
    return outputs, arguments, [np.asarray(array) for array in pack_data(data)]


def run_arrays(kernel, layers, data, rates, *, order=2, widths=None):
    """The results of trials with these first layers."""
    outputs, arguments, shared = make_arrays(kernel, layers, data, rates, widths)
    given = fill(LENGTH, lambda array: array.ctypes.data, outputs, arguments, shared)
    assert library(kernel).run(ctypes.byref(given), order) == 0
    return outputs


def cast(part):
    y = part.y if part.y.dtype == np.int32 else part.y.astype(np.float32)
    return part._replace(x=part.x.astype(np.float32), y=y)


def assert_trains_as_numpy(kernel, *, rows=(45, 7), rates=None, width=None):
    rng = np.random.default_rng(kernel.features)
    parts = [cast(examples(kernel.loss, rows=n, features=kernel.features, seed=n)) for n in rows]
    rates = -0.1 / (1 + np.arange(LENGTH.steps)) if rates is None else rates
    layers = [make_layers(kernel.features, width or kernel.units, kernel.outputs, rng) for _ in range(2)]
    layers = [[(w.astype(np.float32), b.astype(np.float32)) for w, b in own] for own in layers]
    got = run_arrays(kernel, layers, Data(*parts), rates, widths=width and [width] * 2)
    for trial, own in enumerate(layers):
        own = [(w.astype(float), b.astype(float)) for w, b in own]
        every = np.broadcast_to(rates, LENGTH.steps)
        want, last = descend(own, *parts, kernel.loss, kernel.activation, kernel.optimizer, every)
        np.testing.assert_allclose(got.metrics[trial], want, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(got.params[trial], flat(last, kernel.units), rtol=2e-5, atol=2e-6)
    assert got.diverged_at.tolist() == [-1, -1]


def kernel_of(loss, *, units=8, activation="tanh", optimizer="sgd", features=3, **sizes):
    outputs = LOSSES[loss].n_outputs(CLASSES[loss])
    scores = SCORES[CLASSES[loss] > 0]
    kernel = Kernel(features, outputs, units, activation, loss, optimizer, scores, held_out=True)
    return kernel._replace(**sizes)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer):
    assert_trains_as_numpy(kernel_of("softmax_cross_entropy", optimizer=optimizer))
    assert_trains_as_numpy(kernel_of("softmax_cross_entropy", optimizer=optimizer), rates=[-0.05])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_activation_and_loss(loss, activation):
    assert_trains_as_numpy(kernel_of(loss, activation=activation, optimizer="momentum"))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("features", [1, 40])
def test_models_without_a_hidden_layer(loss, features):
    kernel = kernel_of(loss, units=0, activation="identity", features=features, optimizer="adam", trials=3)
    assert_trains_as_numpy(kernel, rows=(131, 129))


@pytest.mark.parametrize(
    ("units", "width", "sizes"),
    [
        (5, 5, {}),
        (8, 3, {"examples": 2, "units_a_thread": 2}),
        (13, 13, {"threads": 64}),
        (32, 9, {"threads": 64, "units_a_thread": 4}),
        (40, 33, {"threads": 128, "examples": 2}),
        (65, 65, {"threads": 64, "units_a_thread": 2}),
    ],
)
def test_every_width_and_number_of_threads(units, width, sizes):
    kernel = kernel_of("softmax_cross_entropy", units=units, features=2, **sizes)
    for rows in ((1, 1), (31, 64), (129, 1)):
        assert_trains_as_numpy(kernel, rows=rows, width=width)


@pytest.mark.parametrize("units", [0, 13])
def test_no_order_of_threads_changes_a_bit(units):
    """A result that depends on the order in which threads run shows a race."""
    sizes = {"threads": 64, "units_a_thread": 2} if units else {"trials": 3}
    kernel = kernel_of("softmax_cross_entropy", units=units, optimizer="adam", **sizes)
    data = Data(*(cast(examples("softmax_cross_entropy", rows=rows, seed=rows)) for rows in (150, 9)))
    layers = [make_layers(3, units, 3, np.random.default_rng(seed)) for seed in range(4)]
    results = [run_arrays(kernel, layers, data, [-0.1], order=order) for order in (0, 1, 2, 3)]
    for other in results[1:]:
        assert_same_bits(other, results[0])
    # A trial is the same alone, and wherever it stands.
    assert_same_bits(
        run_arrays(kernel, layers[2:3], data, [-0.1]), jax.tree.map(lambda a: a[2:3], results[0])
    )


def fused(static, hparams, data, *segment, devices=1):
    """The result of a block that the emulated kernel trains."""
    assert refusal(static) == ""
    kernel = make_kernel(static, held_out=data.val is not None, most_bytes=MOST)
    mesh = Mesh(jax.local_devices()[:devices], ("trials",))
    options = {"kernel": kernel, "run": emulate(kernel, static.length), "vmap_size": 2, "mesh": mesh}
    with precision_context(static):
        return jax.device_get(
            compile_fused(static, hparams, data, *segment, **options)(hparams, data, *segment)
        )


def loop_block(static, hparams, data, *segment):
    """The result of the same block that XLA's program trains."""
    mesh = Mesh(jax.local_devices()[:1], ("trials",))
    call = compile_block(static, hparams, data, *segment, vmap_size=1, mesh=mesh)
    with precision_context(static):
        return jax.device_get(call(hparams, data, *segment))


def assert_close(got, want):
    wanted = dict(jax.tree_util.tree_leaves_with_path(want))
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for path, leaf in jax.tree_util.tree_leaves_with_path(got):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(leaf, wanted[path], rtol=3e-5, atol=3e-6, err_msg=name)


# A trial that diverges, a twin, several widths.
TRIALS = {"seed": [0, 1, 1, 2], "twin": [False, False, True, False], "lr": [0.3, 0.1, 0.1, 1e30]}
PARTS = [cast(examples("softmax_cross_entropy", rows=rows, seed=rows)) for rows in (45, 31)]


@pytest.mark.parametrize(
    ("model", "optimizer", "schedule", "padding"),
    [
        ("mlp", "momentum", "cosine", 0),
        ("mlp", "adamw", "constant", 1),
        ("logistic", "lion", "step", 2),
        ("logistic", "sgd", "warmup_cosine", 0),
    ],
)
def test_a_block_is_what_the_loop_makes_of_it(model, optimizer, schedule, padding):
    """Also the test metrics, the leave-out values and the last parameters."""
    fields = {
        "cosine": {"final": 0.1},
        "step": {"decay_rate": 0.5, "decay_steps": 3.0},
        "warmup_cosine": {"warmup_steps": 3.0, "final": 0.0},
    }
    with jax.numpy_dtype_promotion("standard"):
        static = make_static(
            model, optimizer=optimizer, schedule=schedule, inits=("lecun_normal",), steps=12, record_every=5
        )
        widths = {"width": [3, 8, 8, 5]} if model == "mlp" else {}
        numbers = {**NUMBERS[optimizer], **TRIALS, **widths}
        scale = 0.1 if optimizer in ("adamw", "lion") else 1.0
        numbers["lr"] = [lr * scale for lr in TRIALS["lr"]]
        hparams = make_hparams(static, schedule=fields.get(schedule), **numbers)
        train, val = PARTS
        if padding:
            counts = [np.int32(len(part.y) - padding) for part in PARTS]
            train, val = (part._replace(count=count) for part, count in zip(PARTS, counts, strict=True))
        data = Data(train, val, PARTS[1])
        want = loop_block(static, hparams, data)
        got = fused(static, hparams, data)
    assert got.diverged_at.tolist() == want.diverged_at.tolist()
    assert got.diverged_at[3] > 0
    fine = partial(jax.tree.map, lambda leaf: leaf[:3])
    assert_close(fine(got), fine(want))
    first = got.params[0]["w"]
    assert (first[1] != first[2]).any()


def test_segments_go_on_where_the_one_before_ended():
    with jax.numpy_dtype_promotion("standard"):
        static = make_static("mlp", optimizer="adam", inits=("lecun_normal",), steps=12, record_every=5)
        hparams = make_hparams(static, **TRIALS, **NUMBERS["adam"])
        data = Data(*PARTS)
        whole = fused(static, hparams, data)
        index, mesh = loop_of_record(static.length), Mesh(jax.local_devices()[:1], ("trials",))
        start = compile_block(static, hparams, data, vmap_size=1, mesh=mesh, only_start=True)
        with precision_context(static):
            state = jax.device_get(start(hparams, data))
        tree = jax.tree.structure(state)
        first = fused(static, hparams, data, state, index[:2])
        assert jax.tree.structure(first.state) == tree
        assert first.state.step.tolist() == [10] * 4
        # The last segment is padded.
        last = fused(static, hparams, data, first.state, np.asarray([*index[2:], 0, 0], np.int32))
        for name, values in whole.metrics.items():
            joined = np.concatenate([first.metrics[name], last.metrics[name]], axis=1)
            np.testing.assert_array_equal(joined[:, :4], values, err_msg=name)
            np.testing.assert_array_equal(joined[:, 4], values[:, 3])
        for one, other in ((last.params, whole.params), (last.diverged_at, whole.diverged_at)):
            assert_same_bits(one, other)
        # The loop goes on from a state of the kernel.
        continued = loop_block(static, hparams, data, first.state, index[2:])
        fine = partial(jax.tree.map, lambda leaf: leaf[:3])
        assert_close(fine(continued.params), fine(whole.params))


def test_devices_change_no_bit():
    static = make_static("mlp", inits=("lecun_normal",), steps=12, record_every=5)
    hparams, data = make_hparams(static, **TRIALS), Data(*PARTS)
    assert_same_bits(fused(static, hparams, data, devices=2), fused(static, hparams, data))


def test_what_the_kernel_does_not_take_is_named():
    fine = make_static("mlp", inits=("lecun_normal",))
    assert refusal(fine) == ""
    task = fine.task
    for want, static in {
        "the kernel does not know the loss": replace(fine, task=replace(task, loss=own_loss(jnp.sum, 3))),
        "the kernel takes full batches": replace(fine, length=fine.length._replace(batch_size=8)),
        "the kernel has no float64 with precision=highest": replace(fine, dtype="float64"),
        "the kernel has no float32 with precision=default": replace(fine, precision="default"),
        "the kernel has no f1": replace(fine, task=replace(task, scores=("accuracy", "f1"))),
        "there are 2 hidden layers": make_static("mlp", depth=2),
        "there are more than 256 units": make_static("mlp", width=257),
        "there are more than 8 features": make_static("mlp", features=9),
        "there are more than 128 features": make_static("logistic", features=129),
    }.items():
        assert refusal(static) == want
    assert make_kernel(fine, held_out=True, most_bytes=MOST).threads == 32


@pytest.mark.parametrize(
    ("macro", "table"), [("ACTIVATION", ACTIVATIONS), ("LOSS", LOSSES), ("OPTIMIZER", OPTIMIZERS)]
)
def test_a_choice_that_the_kernel_lacks_is_refused(monkeypatch, macro, table):
    """It would be trained as another one otherwise."""
    assert set(kernels._CHOICES[macro]) == set(table)
    rest = tuple(
        name for name in kernels._CHOICES[macro] if name not in ("tanh", "softmax_cross_entropy", "sgd")
    )
    monkeypatch.setitem(kernels._CHOICES, macro, rest)
    assert refusal(make_static("mlp", inits=("lecun_normal",))).startswith("the kernel does not know ")


def test_a_residual_that_is_not_finite_has_no_gradient():
    static = make_static("mlp", "huber", activation="relu", inits=("lecun_normal",), steps=4, record_every=1)
    hparams = make_hparams(static, lr=[1e12, 0.1], delta=[0.7, 0.7])
    data = Data(*(cast(examples("huber", rows=rows, seed=rows)) for rows in (45, 31)))
    got, want = fused(static, hparams, data), loop_block(static, hparams, data)
    assert np.isnan(want.metrics["grad_norm"]).any()
    for name, values in want.metrics.items():
        np.testing.assert_array_equal(np.isnan(got.metrics[name]), np.isnan(values), err_msg=name)


def test_losses_and_norms_that_overflow_are_told_as_the_loop_tells_them():
    """Outputs beyond the largest number have no class, and weights that are not finite no metric."""
    static = make_static(
        "logistic", "softmax_cross_entropy", inits=("lecun_normal",), steps=4, record_every=1
    )
    hparams = make_hparams(static, lr=[1e37, np.inf, 0.1])
    data = Data(*PARTS)
    got, want = fused(static, hparams, data), loop_block(static, hparams, data)
    assert got.diverged_at.tolist() == want.diverged_at.tolist() == [1, 1, -1]
    assert np.isnan(got.metrics["train_accuracy"]).any()
    for name in ("train_loss", "train_accuracy", "val_accuracy", "param_norm"):
        np.testing.assert_array_equal(np.isnan(got.metrics[name]), np.isnan(want.metrics[name]), err_msg=name)


def test_a_launch_hands_the_driver_what_the_kernel_takes():
    """The emulation stands in for the driver, and refuses other sizes, contexts and streams."""
    kernel = kernel_of("softmax_cross_entropy", units=64, optimizer="adam", threads=128)
    rng = np.random.default_rng(0)
    layers, data = [make_layers(3, 64, 3, rng) for _ in range(3)], Data(*PARTS)
    want = run_arrays(kernel, layers, data, [-0.1])
    driver, address = library(kernel), lambda array: array.ctypes.data
    launch = launcher(kernel, LENGTH, b"k", driver, address)
    for stream in (7, 9, 7):
        outputs, arguments, shared = make_arrays(kernel, layers, data, [-0.1])
        launch(SimpleNamespace(stream=stream), outputs, arguments, shared)
        assert_same_bits(outputs, want)
    wrong = launcher(kernel._replace(trials=2), LENGTH, b"k", driver, address)
    with pytest.raises(RuntimeError, match="cuLaunchKernel returned the CUDA error 1"):
        wrong(SimpleNamespace(stream=7), outputs, arguments, shared)
    with pytest.raises(RuntimeError, match="cuModuleLoadData"):
        launcher(kernel, LENGTH, b"x", driver, address)(SimpleNamespace(stream=7), outputs, arguments, shared)


def compiled_kernel(units, features, outputs, **sizes):
    activation = "tanh" if units else "identity"
    kernel = kernel_of(
        "softmax_cross_entropy", units=units, features=features, activation=activation, **sizes
    )
    return kernel._replace(outputs=outputs)


COMPILED = {
    "spirals 8": compiled_kernel(8, 2, 4),
    "spirals 32": compiled_kernel(32, 2, 4),
    "spirals 128": compiled_kernel(128, 2, 4, threads=128, units_a_thread=4),
    "digits logistic": compiled_kernel(0, 64, 10, trials=8),
}


def resources(binary):
    """The registers of a thread of a compiled kernel, and the bytes that it spills."""
    assert binary[:4] == b"\x7fELF"
    offset, size, count, names = struct.unpack_from("<Q10xHHH", binary, 40)
    sections = [struct.unpack_from("<IIQQQQIIQQ", binary, offset + i * size) for i in range(count)]
    strings = sections[names][4]
    by_name = {binary[strings + s[0] :].split(b"\0", 1)[0]: s for s in sections}
    info, at, found = by_name[b".nv.info"], 0, {}
    while at < info[5]:
        kind, attribute, length = struct.unpack_from("<BBH", binary, info[4] + at)
        if kind == 4 and attribute in (_REGISTERS, _FRAME):
            value = struct.unpack_from("<II", binary, info[4] + at + 4)[1]
            found[attribute] = max(value, found.get(attribute, 0))
        at += 4 + (length if kind == 4 else 0)
    return found[_REGISTERS], found[_FRAME]


# The attributes of a kernel in NVIDIA's machine code that tell its registers and the bytes of its stack.
_REGISTERS, _FRAME = 0x2F, 0x11


@pytest.mark.skipif(find_nvrtc() is None, reason="no NVRTC")
@pytest.mark.parametrize("capability", ["7.5", "8.0", "9.0", "10.0"])
def test_compiled_kernels_fit_a_gpu(capability):
    for name, kernel in COMPILED.items():
        registers, spilled = resources(compile_kernel(kernel, capability))
        # In half of the registers, the logits of a lane do not all fit on every GPU.
        assert spilled <= (64 if name == "digits logistic" else 0), name
        assert 32 <= registers <= 128, name


@pytest.mark.skipif(find_nvrtc() is None, reason="no NVRTC")
def test_every_choice_compiles():
    choices = [
        *zip(LOSSES, ACTIVATIONS, OPTIMIZERS, strict=False),
        *zip(LOSSES, ACTIVATIONS, ("rmsprop", "lion"), strict=False),
    ]
    for loss, activation, optimizer in choices:
        compile_kernel(kernel_of(loss, activation=activation, optimizer=optimizer), "9.0")
        compile_kernel(kernel_of(loss, units=0, activation="identity", optimizer=optimizer, trials=8), "9.0")
    kernel = kernel_of("huber")
    with pytest.raises(ConfigError, match="kernel: got fused, and NVRTC: "):
        fused_call(kernel, LENGTH, [SimpleNamespace(compute_capability="0.1")])
    with pytest.raises(ConfigError, match="compute capabilities"):
        fused_call(kernel, LENGTH, [SimpleNamespace(compute_capability=name) for name in ("8.0", "9.0")])
