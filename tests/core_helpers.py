"""Programs of a few trials, and the same descents written out in NumPy float64."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.models import MODELS
from vsweep.tasks.task import Data, Examples, Supervised
from vsweep.training.loop import TrainingLength, TrialResult
from vsweep.training.program import HParams, Static, precision_context
from vsweep.training.vectorize import compile_block

INITS = tuple(INITIALIZERS)
CLASSES = {
    "softmax_cross_entropy": 3,
    "sigmoid_cross_entropy": 2,
    "clipped_cross_entropy": 2,
    "squared_error": 0,
    "huber": 0,
}
EPS = 1e-8
# The numbers of each optimizer in its tests.
NUMBERS = {
    "sgd": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.8, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.8, "weight_decay": 0.1},
    "adam": {"b1": 0.8, "b2": 0.95, "eps": 1e-3},
    "adamw": {"b1": 0.8, "b2": 0.95, "eps": 1e-3, "weight_decay": 0.3},
    "rmsprop": {"decay": 0.8, "eps": 1e-3},
    "lion": {"b1": 0.8, "b2": 0.95, "weight_decay": 0.3},
}
_compiled: dict[Any, Any] = {}


def examples(loss: str, *, rows: int = 24, features: int = 3, seed: int = 0) -> Examples:
    """Normal features, and targets that depend on them, float64."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((features, rows))
    score = rng.standard_normal((3, features)) @ x + rng.standard_normal((3, rows))
    if not CLASSES[loss]:
        return Examples(x, score[0])
    return Examples(x, score[: CLASSES[loss]].argmax(axis=0).astype(np.int32))


def make_static(
    model: str = "mlp",
    loss: str = "softmax_cross_entropy",
    *,
    features: int = 3,
    width: int = 8,
    depth: int = 1,
    activation: str = "tanh",
    inits: tuple[str, ...] = INITS,
    optimizer: str = "sgd",
    schedule: str = "constant",
    steps: int = 20,
    record_every: int = 5,
    batch_size: int | None = None,
    dtype: str = "float32",
) -> Static:
    fields: dict[str, Any] = {"init": inits}
    if model == "mlp":
        fields |= {"width": width, "depth": depth, "activation": activation}
    outputs = LOSSES[loss].n_outputs(CLASSES[loss])
    recorded, _ = LOSSES[loss].scores(CLASSES[loss], "auto")
    options = {"dtype": dtype, "scores": tuple(recorded)}
    task = Supervised(MODELS[model], LOSSES[loss], features, outputs, tuple(fields.items()), **options)
    return Static(task, optimizer, schedule, TrainingLength(steps, record_every, batch_size), dtype)


def make_hparams(
    static: Static,
    *,
    trials: int | None = None,
    seed: Any = 0,
    twin: Any = False,
    diverge_above: Any = 1000.0,
    width: Any = None,
    init: Any = None,
    init_scale: Any = 1.0,
    delta: Any = None,
    schedule: dict[str, Any] | None = None,
    **optimizer: Any,
) -> HParams:
    """Numbers for every trial, or one for each of them."""
    if static.optimizer == "sgd":
        optimizer = {"lr": 0.1, "weight_decay": 0.0} | optimizer
    bounds = dict(static.task.static)
    index = [
        bounds["init"].index(name) for name in np.atleast_1d(bounds["init"][0] if init is None else init)
    ]
    whole = {"init": index[0] if np.ndim(init) == 0 else index}
    if "width" in bounds:
        whole["width"] = bounds["width"] if width is None else width
    given = [seed, diverge_above, init_scale, *whole.values(), *optimizer.values()]
    count = trials or max(np.size(v) for v in given)

    def full(value: Any, dtype: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype), (count,)).copy()

    floating = np.float64 if static.dtype == "float64" else np.float32
    model = {name: full(v, np.int32) for name, v in whole.items()}
    return HParams(
        seed=full(seed, np.uint32),
        twin=full(twin, bool),
        diverge_above=full(diverge_above, floating),
        task={
            "model": model | {"init_scale": full(init_scale, floating)},
            "loss": {} if delta is None else {"delta": full(delta, floating)},
        },
        optimizer={name: full(v, floating) for name, v in optimizer.items()},
        schedule={name: full(v, floating) for name, v in (schedule or {}).items()},
    )


def take(hparams: HParams, places: Any) -> HParams:
    """Some of the trials, in this order."""
    return jax.tree.map(lambda leaf: leaf[np.asarray(places)], hparams)


def train_block(
    static: Static,
    hparams: HParams,
    train: Examples,
    val: Examples | None = None,
    *,
    vmap_size: int = 1,
    devices: int = 1,
) -> TrialResult:
    """The curves of a block as NumPy arrays; a program is compiled once."""
    floating = np.float64 if static.dtype == "float64" else np.float32

    def cast(part: Examples) -> Examples:
        y = part.y if part.y.dtype == np.int32 else part.y.astype(floating)
        return Examples(part.x.astype(floating), y)

    data = Data(cast(train), None if val is None else cast(val))
    shapes = tuple(leaf.shape for leaf in jax.tree.leaves((hparams, data)))
    key = static, shapes, vmap_size, devices
    if key not in _compiled:
        mesh = Mesh(jax.local_devices()[:devices], ("trials",))
        _compiled[key] = compile_block(static, hparams, data, vmap_size=vmap_size, mesh=mesh)
    with precision_context(static):
        return jax.device_get(_compiled[key](hparams, data))


# The same in NumPy, float64. Parameters are a list of (w, b), inputs stand features first.

Layers = list[tuple[np.ndarray, np.ndarray]]
_GELU = math.sqrt(2.0 / math.pi)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.where(z >= 0, 1.0, np.exp(-np.abs(z))) / (1.0 + np.exp(-np.abs(z)))


def np_activation(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The activation and its derivative."""
    if name == "tanh":
        return np.tanh(z), 1.0 - np.tanh(z) ** 2
    if name == "relu":
        return np.maximum(z, 0.0), (z > 0).astype(float)
    if name == "sigmoid":
        return sigmoid(z), sigmoid(z) * (1.0 - sigmoid(z))
    if name == "gelu":
        t = np.tanh(_GELU * (z + 0.044715 * z**3))
        inner = _GELU * (1.0 + 3.0 * 0.044715 * z**2)
        return 0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t**2) * inner
    assert name == "identity", f"no activation {name!r} in NumPy"
    return z, np.ones_like(z)


def np_loss(loss: str, z: np.ndarray, y: np.ndarray, delta: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Each example's loss, and its gradient in the outputs."""
    if loss == "softmax_cross_entropy":
        shifted = z - z.max(axis=0)
        total = np.exp(shifted).sum(axis=0)
        hot = np.arange(len(z))[:, None] == y
        return np.log(total) - (shifted * hot).sum(axis=0), np.exp(shifted) / total - hot
    z = z[0]
    if loss == "sigmoid_cross_entropy":
        value = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - y * z
        return value, (sigmoid(z) - y)[None]
    if loss == "clipped_cross_entropy":
        p, q = sigmoid(z), sigmoid(-z)
        value = -(y * np.log(p + EPS) + (1 - y) * np.log(q + EPS))
        return value, (p * q * ((1 - y) / (q + EPS) - y / (p + EPS)))[None]
    r = z - y
    if loss == "squared_error":
        return r**2, (2.0 * r)[None]
    near = np.abs(r) <= delta
    value = np.where(near, r**2 / 2.0, delta * np.abs(r) - delta**2 / 2.0)
    return value, np.where(near, r, delta * np.sign(r))[None]


def np_outputs(layers: Layers, x: np.ndarray, activation: str) -> np.ndarray:
    for w, b in layers[:-1]:
        x = np_activation(activation, w @ x + b[:, None])[0]
    return layers[-1][0] @ x + layers[-1][1][:, None]


def np_gradients(
    layers: Layers, part: Examples, loss: str, activation: str = "identity", delta: float = 1.0
) -> tuple[float, Layers]:
    """The mean loss and its gradient by hand-written backpropagation."""
    inputs, slopes, h = [], [], np.asarray(part.x, np.float64)
    for i, (w, b) in enumerate(layers):
        inputs.append(h)
        z = w @ h + b[:, None]
        h, slope = np_activation(activation if i < len(layers) - 1 else "identity", z)
        slopes.append(slope)
    value, back = np_loss(loss, h, part.y, delta)
    back = back / len(part.y)
    grads: Layers = []
    for (w, _), below, slope in zip(layers[::-1], inputs[::-1], slopes[::-1], strict=True):
        back = back * slope
        grads.insert(0, (back @ below.T, back.sum(axis=1)))
        back = w.T @ back
    return float(value.mean()), grads


def np_metrics(layers: Layers, part: Examples, loss: str, activation: str = "identity") -> dict[str, float]:
    """Loss, accuracy (of classes) and the norms of the gradient and of the parameters."""
    value, grads = np_gradients(layers, part, loss, activation)
    metrics = {"loss": value}
    outputs = np_outputs(layers, part.x, activation)
    if loss == "softmax_cross_entropy":
        metrics["accuracy"] = float(np.mean(outputs.argmax(axis=0) == part.y))
    elif loss == "sigmoid_cross_entropy":
        metrics["accuracy"] = float(np.mean((outputs[0] > 0) == (part.y == 1)))
    for name, layers_ in (("grad_norm", grads), ("param_norm", layers)):
        metrics[name] = math.sqrt(sum(float((a**2).sum()) for layer in layers_ for a in layer))
    return metrics


def as_layers(params: Any, trial: int | None = None) -> Layers:
    """Parameters of a program (of one of its trials) as float64 layers."""
    pick = (lambda a: a) if trial is None else (lambda a: a[trial])
    return [(pick(p["w"]).astype(np.float64), pick(p["b"]).astype(np.float64)) for p in params]


def assert_same_bits(got: Any, want: Any) -> None:
    """Two trees of arrays are equal bit for bit."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, strict=True)


def trial_of(curve: TrialResult, place: int) -> TrialResult:
    return jax.tree.map(lambda leaf: leaf[place], curve)


def np_update(
    name: str,
    n: Mapping[str, float],
    t: int,
    p: np.ndarray,
    g: np.ndarray,
    kept: dict[str, Any],
    lr: float,
    *,
    weight: bool,
) -> np.ndarray:
    """One update of an array, the t-th from 1, by the papers' formulas; n: the optimizer's numbers."""
    decay = n.get("weight_decay", 0.0) if weight else 0.0
    if name in ("sgd", "momentum", "nesterov"):
        g = g + decay * p
        mu = n.get("momentum", 0.0)
        kept["v"] = mu * kept.get("v", 0.0) + g
        return p - lr * (g + mu * kept["v"] if name == "nesterov" else kept["v"])
    if name == "rmsprop":
        kept["v"] = n["decay"] * kept.get("v", 0.0) + (1 - n["decay"]) * g**2
        return p - lr * g / np.sqrt(kept["v"] + n["eps"])
    m = kept.get("m", 0.0)
    if name == "lion":
        kept["m"] = n["b2"] * m + (1 - n["b2"]) * g
        return p - lr * (np.sign(n["b1"] * m + (1 - n["b1"]) * g) + decay * p)
    kept["m"] = n["b1"] * m + (1 - n["b1"]) * g
    kept["v"] = n["b2"] * kept.get("v", 0.0) + (1 - n["b2"]) * g**2
    mean, square = kept["m"] / (1 - n["b1"] ** t), kept["v"] / (1 - n["b2"] ** t)
    return p - lr * (mean / (np.sqrt(square) + n["eps"]) + decay * p)
