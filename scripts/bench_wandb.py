"""Measure the cost of W&B: training with and without it, its runs beside a plain loop's, and their memory.

`python scripts/bench_wandb.py [CELLS [ROUNDS]]` trains CELLS cells × 8 seeds, with a run per trial, offline.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SEEDS, STEPS, EVERY = 8, 4000, 80


def overrides(cells: int, directory: Path, tracker: str) -> list[str]:
    """Return the overrides of a sweep of one program that trains for a while."""
    return [
        "data=spirals",
        "model=mlp",
        "model.width=16",
        f"grid.optimizer.lr={{logspace:[1e-3,1,{cells}]}}",
        f"seeds={SEEDS}",
        f"steps={STEPS}",
        f"record_every={EVERY}",
        "verify=false",
        f"tracker={tracker}",
        *(["tracker.wandb.mode=offline", "tracker.wandb.level=trial"] if tracker == "wandb" else []),
        f"dir={directory}",
    ]


def train(cells: int, directory: Path, tracker: str) -> tuple[float, float]:
    """Return the seconds of training, and of the whole process."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "vsweep", "run", *overrides(cells, directory, tracker)]
    subprocess.run(command, check=True, capture_output=True)
    whole = time.perf_counter() - begun
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    return plan["happened"]["seconds"]["training"], whole


def loop(directory: Path, into: Path) -> float:
    """Return the seconds of `wandb.init`, `log` and `finish` in a plain loop, for the same runs and rows."""
    import wandb

    from vsweep.trackers.wandb.runs import Runs

    runs = Runs(directory, "trial")
    numbers = list(runs.ids.values())
    seconds = 0.0
    os.environ["WANDB_SILENT"] = "true"
    for record in _in_batches(runs, numbers):
        begun = time.perf_counter()
        run = wandb.init(
            project="bench",
            mode="offline",
            dir=str(into),
            name=record.name,
            group=record.group,
            config=record.config,
        )
        for step, values in record.rows:
            run.log(values, step=step)
        run.summary.update(record.summary)
        run.finish()
        seconds += time.perf_counter() - begun
    wandb.teardown()
    return seconds


def _in_batches(runs: object, numbers: list[int]) -> Iterator:
    for i in range(0, len(numbers), 100):
        yield from runs.build(numbers[i : i + 100], 200)


def peaks(directory: Path) -> tuple[float, int]:
    """Return the peak MiB and open files of all processes that make a run per trial; on Linux only."""
    command = [sys.executable, "-m", "vsweep", "sync", str(directory), "mode=offline", "level=trial"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memory, files = 0.0, 0
    while process.poll() is None:
        usages = [_usage(pid) for pid in _family(process.pid)]
        memory = max(memory, sum(mebibytes for mebibytes, _ in usages))
        files = max(files, sum(count for _, count in usages))
        time.sleep(0.1)
    return memory, files


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    # The list grows while the loop runs over it.
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _usage(pid: int) -> tuple[float, int]:
    """Return the MiB and the open files of a process; zero for one that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        # The first sweep fills the caches of compiled programs and timings that the others read.
        train(cells, Path(folder) / "first", "none")
        ratios, trackers = [], []
        for i in range(rounds):
            off, off_whole = train(cells, Path(folder) / f"off{i}", "none")
            on, on_whole = train(cells, Path(folder) / f"on{i}", "wandb")
            ratios.append(on / off)
            trackers.append(on_whole - off_whole)
            print(
                f"training {off:.1f} s without W&B, {on:.1f} s with; in all {off_whole:.1f}, {on_whole:.1f} s"
            )
        plain = loop(Path(folder) / "on0", Path(folder))
        usage = {}
        for trials in (100, 2000):
            train(trials // SEEDS, Path(folder) / f"{trials}", "none")
            usage[trials] = peaks(Path(folder) / f"{trials}")
    runs, mine = cells * SEEDS, statistics.median(trackers)
    print(f"training with W&B beside training without: {statistics.median(ratios):.3f} (at most 1.05)")
    mean = [f"{seconds:.1f} s, {1000 * seconds / runs:.0f} ms a run" for seconds in (mine, plain)]
    print(f"{runs:,} runs of {STEPS // EVERY + 1} rows: {mean[0]} more; a plain loop {mean[1]}")
    print(f"of the plain loop's time: {mine / plain:.2f} (at most 0.5)")
    for trials, (memory, files) in usage.items():
        print(f"some {trials:,} runs: {memory:.0f} MiB and {files} open files at most")


if __name__ == "__main__":
    main()
