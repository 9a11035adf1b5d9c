"""What W&B costs a sweep: training with it and without, its runs beside a plain loop's, and their memory.

`python scripts/bench_wandb.py [CELLS [ROUNDS]]`: so many cells × 8 seeds, a run per trial, offline.
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


def words(cells: int, directory: Path, tracker: str) -> list[str]:
    """A sweep of one program that trains for some time."""
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
    """Seconds of training alone, and of the whole process."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "vsweep", "run", *words(cells, directory, tracker)]
    subprocess.run(command, check=True, capture_output=True)
    whole = time.perf_counter() - begun
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    return plan["happened"]["seconds"]["training"], whole


def loop(directory: Path, into: Path) -> float:
    """Seconds that `wandb.init`, `log` and `finish` take in a plain loop, for the same runs and rows."""
    import wandb

    from vsweep.trackers.wandb.runs import Runs

    runs = Runs(directory, "trial")
    numbers = list(runs.ids.values())
    taken = 0.0
    os.environ["WANDB_SILENT"] = "true"
    for made in _in_pieces(runs, numbers):
        begun = time.perf_counter()
        run = wandb.init(
            project="bench",
            mode="offline",
            dir=str(into),
            name=made.name,
            group=made.group,
            config=made.config,
        )
        for step, values in made.rows:
            run.log(values, step=step)
        run.summary.update(made.summary)
        run.finish()
        taken += time.perf_counter() - begun
    wandb.teardown()
    return taken


def _in_pieces(runs: object, numbers: list[int]) -> Iterator:
    for i in range(0, len(numbers), 100):
        yield from runs.build(numbers[i : i + 100], 200)


def peaks(directory: Path) -> tuple[float, int]:
    """The most MiB, and open files, of all processes that make a run for each trial; on Linux alone."""
    command = [sys.executable, "-m", "vsweep", "sync", str(directory), "mode=offline", "level=trial"]
    making = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memory, files = 0.0, 0
    while making.poll() is None:
        found = [_held(pid) for pid in _family(making.pid)]
        memory = max(memory, sum(each[0] for each in found))
        files = max(files, sum(each[1] for each in found))
        time.sleep(0.1)
    return memory, files


def _family(pid: int) -> list[int]:
    """A process, and all that it started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


def _held(pid: int) -> tuple[float, int]:
    """MiB and open files of a process; nothing of one that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        # What is compiled and measured first is found by all the others.
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
        held = {}
        for trials in (100, 2000):
            train(trials // SEEDS, Path(folder) / f"{trials}", "none")
            held[trials] = peaks(Path(folder) / f"{trials}")
    runs, mine = cells * SEEDS, statistics.median(trackers)
    print(f"training with W&B beside training without: {statistics.median(ratios):.3f} (at most 1.05)")
    mean = [f"{seconds:.1f} s, {1000 * seconds / runs:.0f} ms a run" for seconds in (mine, plain)]
    print(f"{runs:,} runs of {STEPS // EVERY + 1} rows: {mean[0]} more; a plain loop {mean[1]}")
    print(f"of the plain loop's time: {mine / plain:.2f} (at most 0.5)")
    for trials, (memory, files) in held.items():
        print(f"some {trials:,} runs: {memory:.0f} MiB and {files} open files at most")


if __name__ == "__main__":
    main()
