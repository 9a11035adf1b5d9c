"""Time vsweep on a GPU beside the same trainings written by hand, and write the figures as JSON.

Each row is trained by vsweep, by its fused kernel where that takes the training, and by two contenders of
`bench.py`: `vmap`, one jit(vmap) in a GPU's default precision, and `highest`, the same in full float32,
which is vsweep's. They take turns in one process, and compile ahead in threads. The kernel's curves are
compared with those of XLA's program. Then as many trainings of the size of a trainability fractal's as some
seconds hold are run, from which the time of 4096 × 4096 is extrapolated, and a few trials are trained on
the CPU too.

The script needs only JAX, optax, NumPy and scikit-learn. It is made to take under 4 minutes: it starts no row
after `--limit` seconds, and says which rows it left out.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import bench
import jax
import numpy as np
from jax.sharding import Mesh

from vsweep.engine.compiler import Compiler, block_hparams
from vsweep.engine.devices import trial_mesh
from vsweep.engine.plan import Program
from vsweep.training.program import precision_context

Case = tuple[str, str, int]
CASES: tuple[Case, ...] = (
    ("spirals", "mlp", 8),
    ("spirals", "mlp", 32),
    ("spirals", "mlp", 128),
    ("digits", "mlp", 32),
    ("digits", "logistic", 0),
)
# Trials and steps.
SIZES = (4096, 200), (128, 50)
CONTENDERS: dict[str, Callable[[Program], Callable[[], Any]]] = {
    "vsweep": bench.vsweep,
    "fused": bench.vsweep,
    "vmap": bench.vmap,
    "highest": bench.highest,
}
_FRACTAL: Case = ("spirals", "mlp", 16)
_FRACTAL_STEPS, _FRACTAL_TRIALS = 500, 4096**2
_COMPILED_AT_ONCE = 4


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        case: Data, model and width.
        trials: The number of trials.
        steps: The number of steps.
    """

    case: Case
    trials: int
    steps: int

    @property
    def name(self) -> str:
        """The name in the table."""
        data, model, width = self.case
        return f"{data} {model} {width or ''}".strip() + f", {self.trials} × {self.steps}"


def ready(row: Row, contender: str) -> tuple[Callable[[], Any] | None, float]:
    """Return a contender's function, None if it does not take the row, and the seconds of compiling."""
    start = time.perf_counter()
    kernel = "fused" if contender == "fused" else "auto"
    program = bench.program_of(row.case, row.trials, row.steps, kernel=kernel)
    if contender == "fused" and program.kernel is None:
        return None, 0.0
    return CONTENDERS[contender](program), time.perf_counter() - start


def contenders() -> list[str]:
    """Return the names of the contenders; the fused kernel needs a GPU."""
    is_gpu = jax.local_devices()[0].platform == "gpu"
    return [name for name in CONTENDERS if is_gpu or name != "fused"]


def time_row(
    row: Row, made: dict[str, Future[tuple[Callable[[], Any] | None, float]]], rounds: int
) -> dict[str, Any]:
    """Time the contenders of a row in turn.

    Returns:
        By contender, the microseconds a step and trial, the seconds of compiling and how many times as fast
        vsweep is, the median over rounds.
    """
    runs: dict[str, tuple[Callable[[], Any], float]] = {}
    for name, future in made.items():
        try:
            run, compile_s = future.result()
        except Exception as error:
            # The other figures are worth having without it.
            if name != "fused":
                raise
            print(f"{row.name}: the fused kernel failed: {error}")
            continue
        if run is not None:
            runs[name] = run, compile_s
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run, _ in runs.values():
        run()
    for _ in range(rounds):
        for name, (run, _) in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    work = row.trials * row.steps / 1e6
    figures: dict[str, Any] = {}
    for name, (_, compile_s) in runs.items():
        ratios = [other / own for own, other in zip(seconds["vsweep"], seconds[name], strict=True)]
        figures[name] = {
            "us": statistics.median(seconds[name]) / work,
            "compile_s": compile_s,
            "vsweep_is_faster": statistics.median(ratios),
        }
    return figures


def fractal(seconds: float, kernel: str) -> dict[str, float]:
    """Train blocks of the size of a fractal's trainings for some seconds, and extrapolate to all of them."""
    # A block has as many trials as a plan of all of them would give it.
    program = bench.program_of(_FRACTAL, 2**16, _FRACTAL_STEPS, record_every=_FRACTAL_STEPS, kernel=kernel)
    mesh = trial_mesh()
    compiled = Compiler(mesh).compile(program, program.arrangement)
    size = compiled.arrangement.block

    def dispatch(block: int) -> Any:
        places = (block * size + np.arange(size)) % len(program.rows)
        result = compiled.call(block_hparams(program, places), compiled.data)
        return result.diverged_at, result.metrics["train_loss"]

    jax.block_until_ready(dispatch(0))
    start, blocks, ahead = time.perf_counter(), 0, dispatch(0)
    while blocks == 0 or time.perf_counter() - start < seconds:
        # One block trains while the results of the one before are fetched.
        last, ahead = ahead, dispatch(blocks + 1)
        jax.device_get(last)
        blocks += 1
    spent = time.perf_counter() - start
    trained = blocks * size
    return {
        "trained": trained,
        "seconds": spent,
        "share": trained / _FRACTAL_TRIALS,
        "extrapolated_s": spent * _FRACTAL_TRIALS / trained,
    }


def kernel_agreement(row: Row, trials: int = 256) -> dict[str, Any]:
    """Train trials by the fused kernel twice, and by XLA, and compare their curves."""
    losses = []
    for kernel in ("fused", "fused", "auto"):
        program = bench.program_of(row.case, trials, row.steps, kernel=kernel)
        compiled = Compiler(trial_mesh()).compile(program, program.arrangement)
        with precision_context(program.static):
            hparams = block_hparams(program, np.arange(compiled.arrangement.block) % trials)
            metrics = jax.device_get(compiled.call(hparams, compiled.data).metrics)
        losses.append(metrics["train_loss"])
    first, second, xla = losses
    apart = np.abs(first - xla) / np.abs(xla)
    return {
        "same_bits_twice": bool((first == second).all()),
        "median_apart": float(np.nanmedian(apart)),
        "most_apart": float(np.nanmax(apart)),
        "as_many_nan": int(np.isnan(first).sum()) == int(np.isnan(xla).sum()),
    }


def agreement(row: Row, trials: int = 8) -> dict[str, Any]:
    """Train a few trials on this device and on the CPU, and compare their curves."""
    program = bench.program_of(row.case, trials, row.steps)
    curves = []
    for device in (jax.local_devices()[0], jax.local_devices(backend="cpu")[0]):
        compiled = Compiler(Mesh([device], ("trials",))).compile(program, program.arrangement)
        with precision_context(program.static):
            hparams = block_hparams(program, np.arange(compiled.arrangement.block) % trials)
            curves.append(jax.device_get(compiled.call(hparams, compiled.data).metrics))
    here, cpu = curves
    apart = np.abs(here["train_loss"] - cpu["train_loss"]) / np.abs(cpu["train_loss"])
    return {
        "first_norms_equal": bool((here["param_norm"][:, 0] == cpu["param_norm"][:, 0]).all()),
        "first_norms_apart": float(np.abs(here["param_norm"][:, 0] / cpu["param_norm"][:, 0] - 1.0).max()),
        "losses_apart": float(np.nanmax(apart)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=170.0, help="the seconds after which no row starts")
    parser.add_argument("--fractal", type=float, default=10.0, help="the seconds of the fractal's trainings")
    parser.add_argument("--only", default="", help="only rows with this text in their name")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")) / "bench_gpu.json")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    device = jax.local_devices()[0]
    record: dict[str, Any] = {
        "device": device.device_kind,
        "jax": jax.__version__,
        "rows": {},
        "left_out": [],
    }
    print(f"{device.device_kind}, jax {jax.__version__}")
    names = contenders()
    print("us per step and trial, and how many times faster vsweep is")
    heading = "".join(f"{name:>9}" for name in names) + "".join(f"{name:>8}" for name in names[1:])
    print(f"{'':34}{heading}{'compile, s':>12}")
    rows = [Row(case, *size) for size in SIZES for case in CASES]
    rows = [row for row in rows if options.only in row.name]
    with ThreadPoolExecutor(_COMPILED_AT_ONCE) as pool:
        made = {row: {name: pool.submit(ready, row, name) for name in names} for row in rows}
        for row in rows:
            # The functions keep arrays on the device.
            waiting = made.pop(row)
            if time.perf_counter() - begun > options.limit:
                for future in waiting.values():
                    future.cancel()
                record["left_out"].append(row.name)
                continue
            figures = record["rows"][row.name] = time_row(row, waiting, options.rounds)
            us = [f"{figures[name]['us']:.3g}" if name in figures else "-" for name in names]
            faster = [
                f"{figures[name]['vsweep_is_faster']:.2f}x" if name in figures else "-" for name in names[1:]
            ]
            line = "".join(f"{text:>9}" for text in us) + "".join(f"{text:>8}" for text in faster)
            print(f"{row.name:34}{line}{figures['vsweep']['compile_s']:12.1f}", flush=True)
            del waiting
            if "fused" in figures:
                figures["kernel"] = kernel_agreement(row)
                print(f"{'  the kernel beside XLA':34}{json.dumps(figures['kernel'])}", flush=True)
            _write(options.out, record)
    if record["left_out"]:
        print("left out for lack of time:", "; ".join(record["left_out"]))
    for name, kernel in (("fractal", "auto"), ("fractal_fused", "fused")):
        if not options.fractal or (kernel == "fused" and "fused" not in names):
            continue
        found = record[name] = fractal(options.fractal, kernel)
        print(
            f"{name}: {found['trained']:,} of {_FRACTAL_TRIALS:,} trainings of {_FRACTAL_STEPS} steps in"
            f" {found['seconds']:.1f} s; all would take {found['extrapolated_s']:.0f} s"
        )
        _write(options.out, record)
    record["cpu"] = agreement(Row(CASES[0], *SIZES[-1]))
    print("beside the CPU:", json.dumps(record["cpu"]))
    record["seconds"] = time.perf_counter() - begun
    _write(options.out, record)
    print(f"{record['seconds']:.0f} s in all; {options.out}")
    return 0


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write the figures so far, which outlast whatever ends the script."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
