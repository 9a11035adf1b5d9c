"""Time vsweep beside what people write by hand: one jit(vmap) of all trials, and a jitted loop.

All three train the same trials by the same function of one trial, and differ only in how trials are
arranged. Each runs in a process of its own (vsweep with one CPU device per core, the others as JAX starts
by itself), and they take turns, so that a machine that changes speed changes it for all. Needs JAX, optax,
NumPy and scikit-learn alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from vsweep.config import check
from vsweep.descent.program import numerics, train_one
from vsweep.execution.devices import prepare, trial_mesh
from vsweep.execution.inputs import arrays
from vsweep.execution.plan import Hardware, Program, make_plan
from vsweep.execution.run import block_rows, compile_program, dispatch, fetch
from vsweep.grid import Axis, expand

CASES = [
    *((data, "mlp", width) for data in ("spirals", "digits") for width in (8, 32, 128)),
    ("digits", "logistic", 0),
    ("breast_cancer", "logistic", 0),
]
CONTENDERS = ("vsweep", "vmap", "loop")


def program_of(case: tuple[str, str, int], trials: int, steps: int, devices: int) -> Program:
    """One program: a full batch, learning rates × seeds."""
    data, model, width = case
    fields: dict[str, Any] = {"init": "lecun_normal", "init_scale": 1.0}
    if model == "mlp":
        fields |= {"width": width, "depth": 1, "activation": "tanh"}
    spirals = {"rows": 400, "arms": 4, "noise": 0.05, "seed": 0} if data == "spirals" else {}
    common = {"batch_size": None, "val_fraction": 0.0, "split_seed": 0, "standardize": True}
    raw = {
        "data": {"name": data, **spirals, **common},
        "model": {"name": model, **fields},
        "loss": {"name": "auto"},
        "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.0},
        "schedule": {"name": "constant"},
        "tracker": {"wandb": {"mode": "disabled", "project": "vsweep"}},
        "steps": steps,
        "record_every": 10,
        "diverge_above": 1e3,
        "dtype": "float32",
        "precision": "highest",
    }
    grid = expand([Axis("optimizer.lr", (0.03, 0.1, 0.3, 1.0))], range(-(-trials // 4)))
    platform = jax.local_devices()[0].platform
    return make_plan(grid, {(): check(raw, {})}, (), Hardware(platform, devices)).programs[0]


def vsweep(program: Program) -> Callable[[], Any]:
    """As `vsweep run` trains it."""
    mesh = trial_mesh()
    compiled = compile_program(program, mesh)

    def run() -> Any:
        curves = [dispatch(program, compiled, mesh, i) for i in range(program.blocks)]
        return [fetch(program, block_rows(program, i), curve) for i, curve in enumerate(curves)]

    return run


def vmap(program: Program) -> Callable[[], Any]:
    """One jit(vmap) over all trials."""
    data = jax.device_put(arrays(program.inputs.split, program.hparams.diverge_above.dtype))
    hparams = jax.device_put(program.hparams)
    with numerics(program.static):
        many = jax.jit(jax.vmap(partial(train_one, program.static), in_axes=(0, None)))
        compiled = many.lower(hparams, data).compile()
    return lambda: jax.device_get(compiled(hparams, data).metrics)


def loop(program: Program) -> Callable[[], Any]:
    """A jitted function of one trial, called for one after another."""
    data = jax.device_put(arrays(program.inputs.split, program.hparams.diverge_above.dtype))
    trials = [jax.tree.map(lambda leaf, i=i: leaf[i], program.hparams) for i in range(len(program.rows))]
    with numerics(program.static):
        compiled = jax.jit(partial(train_one, program.static)).lower(trials[0], data).compile()
    return lambda: [jax.device_get(compiled(trial, data).metrics) for trial in trials]


def work(contender: str, trials: int, steps: int) -> None:
    """Take the number of a case on each line of standard input, and answer with seconds."""
    if contender == "vsweep":
        prepare()
    make = {"vsweep": vsweep, "vmap": vmap, "loop": loop}[contender]
    ready: dict[int, Callable[[], Any]] = {}
    for line in sys.stdin:
        case = int(line)
        answer = {}
        if case not in ready:
            program = program_of(CASES[case], trials, steps, jax.local_device_count())
            start = time.perf_counter()
            ready[case] = make(program)
            answer["compile"] = time.perf_counter() - start
            ready[case]()
        start = time.perf_counter()
        ready[case]()
        answer["run"] = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))))
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        work(options.contender, options.trials, options.steps)
        return
    sizes = ["--trials", str(options.trials), "--steps", str(options.steps)]
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--contender", name, *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in CONTENDERS
    }
    print(f"{options.trials} trials x {options.steps} steps, full batch, median of {options.rounds} rounds")
    print(f"{'':31}{'us a step and trial':^27}{'vsweep is faster than':^22}{'compile, s':^21}")
    print(f"{'data':14}{'model':9}{'width':>6}  " + "".join(f"{n:>9}" for n in CONTENDERS), end="")
    print(f"{'vmap':>11}{'loop':>11}" + "".join(f"{n:>7}" for n in CONTENDERS))
    for case in map(int, options.cases.split(",")):
        row(case, workers, options)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def row(case: int, workers: dict[str, subprocess.Popen[str]], options: argparse.Namespace) -> None:
    """Time one case in turns, and print its line."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    compiles: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            worker.stdin.write(f"{case}\n")
            worker.stdin.flush()
            answer = json.loads(worker.stdout.readline())
            times[name].append(answer["run"])
            compiles.setdefault(name, answer.get("compile", 0.0))
    each = options.trials * options.steps / 1e6
    data, model, width = CASES[case]
    line = f"{data:14}{model:9}{width or '':>6}  "
    line += "".join(f"{statistics.median(times[name]) / each:9.1f}" for name in CONTENDERS)
    for other in ("vmap", "loop"):
        ratio = statistics.median(b / a for a, b in zip(times["vsweep"], times[other], strict=True))
        line += f"{ratio:10.2f}x"
    print(line + "".join(f"{compiles[name]:7.1f}" for name in CONTENDERS), flush=True)


if __name__ == "__main__":
    main()
