"""Time vsweep beside programs written by hand: one jit(vmap) of all trials, and a jitted loop.

The programs by hand are the obvious ones: examples first, optax's losses, a record every ten steps. They
train the same models on the same data for as many steps as vsweep does. Each contender runs in a process of
its own (vsweep with one CPU device per core, the others with JAX's defaults). The contenders take turns, so
that a change of the machine's speed affects all of them. The script needs only JAX, optax, NumPy and
scikit-learn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random
from jax.sharding import Mesh, PartitionSpec

from vsweep.config.grid import Axis, expand
from vsweep.config.validate import check_config
from vsweep.engine.blocks import fetch, trained_block
from vsweep.engine.compiler import Compiler, block_hparams
from vsweep.engine.devices import cores, prepare, trial_mesh
from vsweep.engine.plan import Program, make_plan
from vsweep.engine.tuning.cost_model import UserLimits
from vsweep.engine.tuning.shape import Hardware
from vsweep.store.blocks import PartialBlock
from vsweep.trackers.wandb.options import tracker_options
from vsweep.training.loop import recorded_steps

CASES = [
    *((data, "mlp", width) for data in ("spirals", "digits") for width in (8, 32, 128)),
    ("digits", "logistic", 0),
    ("breast_cancer", "logistic", 0),
]
CONTENDERS = ("vsweep", "vmap", "highest", "loop", "spread")


def program_of(
    case: tuple[str, str, int],
    trials: int,
    steps: int,
    hardware: Hardware | None = None,
    record_every: int = 10,
    kernel: str = "auto",
) -> Program:
    """Return a program of learning rates × seeds, trained on the full batch, on this machine or another."""
    data, model, width = case
    fields: dict[str, Any] = {"init": "lecun_normal", "init_scale": 1.0, "bias_init": "zeros"}
    if model == "mlp":
        fields |= {"width": width, "depth": 1, "activation": "tanh"}
    spirals = {"rows": 400, "arms": 4, "noise": 0.05, "seed": 0} if data == "spirals" else {}
    fractions = {"val_fraction": 0.0, "test_fraction": 0.0}
    common = {"targets": "auto", "batch_size": None, **fractions, "split_seed": 0}
    common |= {"splits": 1, "folds": None, "fold": None}
    common |= {"standardize": True, "stratify": False, "standardize_target": False}
    raw = {
        "data": {"name": data, **spirals, **common},
        "model": {"name": model, **fields},
        "loss": {"name": "auto"},
        "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.0},
        "schedule": {"name": "constant"},
        "tracker": {"wandb": {**tracker_options({}), "mode": "disabled"}},
        "keep": {"params": 0, "state": False},
        "allow_targets": [],
        "allow_urls": [],
        "verify": False,
        "report": False,
        "pictures": [],
        "steps": steps,
        "record_every": record_every,
        "record_params": False,
        "diverge_above": 1e3,
        "dtype": "float32",
        "precision": "highest",
    }
    grid = expand([Axis("optimizer.lr", (0.03, 0.1, 0.3, 1.0))], range(-(-trials // 4)))
    spec = SimpleNamespace(grid=grid, variants={(): check_config(raw, {})}, group_axes=())
    here = Hardware(jax.local_devices()[0].platform, jax.local_device_count())
    return make_plan(spec, hardware or here, UserLimits(fused=kernel == "fused")).programs[0]


def vsweep(program: Program) -> Callable[[], Any]:
    """Return a function that trains the program as `vsweep run` does."""
    mesh = trial_mesh()
    ready = Compiler(mesh).compile(program, program.arrangement)
    size, trials = ready.arrangement.block, len(program.rows)
    blocks = [np.minimum(np.arange(i, i + size), trials - 1) for i in range(0, trials, size)]

    def run() -> Any:
        curves = [ready.call(block_hparams(program, places), ready.data) for places in blocks]
        block = fetch(program, PartialBlock(program.rows, 0, {}, []), curves)
        return trained_block(program, block, curves, keep_state=False)

    return run


def by_hand(program: Program) -> tuple[Callable[[Array, Array], Any], Any]:
    """Return the training of one trial, a function of its seed and learning rate, and all trials' values."""
    x, y = jnp.asarray(program.inputs.split.x[0].T, jnp.float32), jnp.asarray(program.inputs.split.y[0])
    classes, width, length = program.inputs.n_outputs, program.width, program.static.length
    draw = jax.nn.initializers.lecun_normal()

    def init(key: Array) -> Any:
        sizes = [x.shape[1], width, classes] if width else [x.shape[1], classes]
        keys = random.split(key, len(sizes))
        return [
            (draw(k, (n_in, n_out)), jnp.zeros(n_out))
            for k, n_in, n_out in zip(keys, sizes, sizes[1:], strict=False)
        ]

    def loss(params: Any) -> tuple[Array, Array]:
        out = x
        for w, b in params[:-1]:
            out = jnp.tanh(out @ w + b)
        out = out @ params[-1][0] + params[-1][1]
        if classes == 1:
            losses = optax.sigmoid_binary_cross_entropy(out[:, 0], y.astype(jnp.float32))
            return losses.mean(), jnp.mean((out[:, 0] > 0) == y)
        losses = optax.softmax_cross_entropy_with_integer_labels(out, y)
        return losses.mean(), jnp.mean(out.argmax(axis=1) == y)

    def train(seed: Array, lr: Array) -> Any:
        optimizer = optax.sgd(lr)

        def step(_: int, state: Any) -> Any:
            params, opt_state = state
            grads = jax.grad(loss, has_aux=True)(params)[0]
            updates, opt_state = optimizer.update(grads, opt_state)
            return optax.apply_updates(params, updates), opt_state

        def between_records(state: Any, _: None) -> Any:
            return lax.fori_loop(0, length.record_every, step, state), loss(state[0])

        params = init(random.key(seed))
        records = len(recorded_steps(length)) - 1
        return lax.scan(between_records, (params, optimizer.init(params)), None, length=records)[1]

    return train, (program.hparams.seed, program.hparams.optimizer["lr"])


def vmap(program: Program) -> Callable[[], Any]:
    """Return a function that trains all trials by one jit(vmap)."""
    train, hparams = by_hand(program)
    compiled = jax.jit(jax.vmap(train)).lower(*hparams).compile()
    return lambda: jax.device_get(compiled(*hparams))


def highest(program: Program) -> Callable[[], Any]:
    """Return the function of `vmap` with full float32 products, as vsweep's are; a GPU's default is less."""
    with jax.default_matmul_precision("highest"):
        return vmap(program)


def loop(program: Program) -> Callable[[], Any]:
    """Return a function that calls a jitted training of one trial for each trial in turn."""
    train, (seeds, rates) = by_hand(program)
    trials = list(zip(seeds, rates, strict=True))
    compiled = jax.jit(train).lower(*trials[0]).compile()
    return lambda: [jax.device_get(compiled(*trial)) for trial in trials]


def spread(program: Program) -> Callable[[], Any]:
    """Return a function that trains one trial after another inside one program, on one device per core."""
    train, hparams = by_hand(program)
    mesh = Mesh(jax.local_devices(), ("trials",))
    specs = PartitionSpec("trials")

    def many(seeds: Array, rates: Array) -> Any:
        return lax.map(lambda trial: train(*trial), (seeds, rates))

    sharded = jax.shard_map(many, mesh=mesh, in_specs=specs, out_specs=specs, check_vma=False)
    compiled = jax.jit(sharded).lower(*hparams).compile()
    return lambda: jax.device_get(compiled(*hparams))


def sgemm_rate() -> float:
    """Return the multiply-adds per second of a large float32 product on one device."""
    a = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    jax.block_until_ready(product(a))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(product(a))
        seconds.append(time.perf_counter() - start)
    return 2048**3 / min(seconds)


def work(contender: str, trials: int, steps: int) -> None:
    """Read the number of a case on each line of standard input, and print its seconds."""
    if contender == "vsweep":
        prepare()
    if contender == "spread" and jax.config.values["jax_num_cpu_devices"] < 0:
        jax.config.update("jax_num_cpu_devices", cores())
    make = {"vsweep": vsweep, "vmap": vmap, "highest": highest, "loop": loop, "spread": spread}[contender]
    ready: dict[int, Callable[[], Any]] = {}
    for line in sys.stdin:
        if line.strip() == "sgemm":
            print(json.dumps({"rate": sgemm_rate()}), flush=True)
            continue
        case = int(line)
        answer = {}
        if case not in ready:
            program = program_of(CASES[case], trials, steps)
            start = time.perf_counter()
            ready[case] = make(program)
            answer["compile"] = time.perf_counter() - start
            answer["madds"] = program.shape.flops
            ready[case]()
        start = time.perf_counter()
        ready[case]()
        answer["run"] = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


class Worker:
    """A contender in its own process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--contender", name]
        command += ["--trials", str(options.trials), "--steps", str(options.steps)]
        # The contenders share a GPU, whose memory the first of them would otherwise take.
        share = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=share
        )

    def ask(self, line: str) -> dict[str, float]:
        """Send the process a line, and return its answer."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))))
    usual = "vsweep,vmap,loop,spread"
    parser.add_argument("--contenders", default=usual, help="on a GPU: vsweep,vmap,highest,loop")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        work(options.contender, options.trials, options.steps)
        return
    workers = {name: Worker(name, options) for name in options.contenders.split(",")}
    print(f"{options.trials} trials x {options.steps} steps, full batch, median of {options.rounds} rounds")
    print(f"{'':31}us per step and trial, and how many times faster vsweep is")
    print(f"{'data':14}{'model':9}{'width':>6}  " + "".join(f"{n:>9}" for n in workers), end="")
    print("".join(f"{n:>10}" for n in list(workers)[1:]) + f"{'of sgemm':>10}{'compile':>9}")
    for case in map(int, options.cases.split(",")):
        row(case, workers, options)
    for worker in workers.values():
        worker.close()


def row(case: int, workers: dict[str, Worker], options: argparse.Namespace) -> None:
    """Time a case by all contenders in turn, and print its line."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    first: dict[str, dict[str, float]] = {}
    rates = []
    for _ in range(options.rounds):
        for name, worker in workers.items():
            answer = worker.ask(str(case))
            times[name].append(answer["run"])
            first.setdefault(name, answer)
        rates.append(workers.get("loop", worker).ask("sgemm")["rate"])
    million_steps = options.trials * options.steps / 1e6
    data, model, width = CASES[case]
    line = f"{data:14}{model:9}{width or '':>6}  "
    line += "".join(f"{statistics.median(times[name]) / million_steps:9.3g}" for name in workers)
    for other in list(workers)[1:]:
        ratio = statistics.median(b / a for a, b in zip(times["vsweep"], times[other], strict=True))
        line += f"{ratio:9.2f}x"
    madds = first["vsweep"]["madds"] * options.trials * options.steps
    share = statistics.median(madds / t / rate for t, rate in zip(times["vsweep"], rates, strict=True))
    print(line + f"{share:10.0%}{first['vsweep']['compile']:8.1f}s", flush=True)


if __name__ == "__main__":
    main()
