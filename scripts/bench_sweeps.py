"""Time whole sweeps through the command line: the time outside training, the memory, and resuming.

The four figures come from fresh processes with a cache of compiled programs that a first run has filled: the
share of a sweep of 10,000 short trainings that is not spent on the devices; the seconds from the start of
its process to its first trained block; the peak memory of 100,000 trainings over that of 1,000; and the
seconds to resume these.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_LOGISTIC = [
    "model=logistic",
    "data=spirals",
    "tracker=none",
    "verify=false",
    "grid.optimizer.lr={logspace:[1e-3,1,100]}",
]


class Run(NamedTuple):
    """The process of a sweep.

    Attributes:
        wall_s: Its seconds.
        first_s: The seconds until its first block.
        training_s: The seconds of training.
        mebibytes: Its peak memory.
    """

    wall_s: float
    first_s: float
    training_s: float
    mebibytes: float


def sweep(directory: Path, *words: str) -> Run:
    """Train a sweep in a process of its own, and measure the process."""
    command = [sys.executable, "-m", "vsweep", "run", *words, f"dir='{directory}'"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = None
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if first is None and any(directory.glob("curves/part-*")):
            first = time.perf_counter() - start
        time.sleep(0.005)
    wall = time.perf_counter() - start
    _, status, usage = ended
    if status:
        raise SystemExit(f"vsweep ended with {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    happened = json.loads((directory / "plan.json").read_text(encoding="utf-8"))["happened"]
    return Run(wall, first or wall, happened["seconds"]["training"], kilobytes / 1024)


def seconds(*words: str) -> float:
    """Return the seconds that a process takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        ten_thousand = [*_LOGISTIC, "seeds=100", "steps=200"]
        for i in range(3):
            run = sweep(Path(folder) / f"overhead{i}", *ten_thousand)
        other = run.wall_s - run.training_s
        print(
            f"10,000 logistic trainings x 200 steps: {run.wall_s:.1f} s, {run.training_s:.1f} s of it on the"
            f" devices; all else {other:.1f} s, {other / run.wall_s:.0%}"
        )
        print(f"  its first block was trained {run.first_s:.1f} s after the process began")
        few = sweep(Path(folder) / "few", *_LOGISTIC, "seeds=10", "steps=50").mebibytes
        many = sweep(Path(folder) / "many", *_LOGISTIC, "seeds=1000", "steps=50").mebibytes
        print(f"peak memory: {many:.0f} MiB for 100,000 trials, {few:.0f} for 1,000: {many / few:.2f} times")
        kept, last = Path(folder) / "many", sorted((Path(folder) / "many" / "curves").iterdir())[-1]
        imports = seconds("-c", "import vsweep.cli.commands")
        finished = min(seconds("-m", "vsweep", "resume", str(kept)) for _ in range(3))
        last.unlink()
        missing = seconds("-m", "vsweep", "resume", str(kept))
        print(
            f"resume of 100,000 finished trials: {finished:.1f} s, {imports:.1f} of them imports;"
            f" with one of {len(list(kept.glob('curves/part-*')))} blocks missing: {missing:.1f} s"
        )


if __name__ == "__main__":
    main()
