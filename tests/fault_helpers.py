"""Sweeps as processes that can be killed, and stores held against each other to the bit."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

import numpy as np
import pandas as pd

import vsweep

# 48 trials of padded widths in blocks of 4, each in 4 segments: many moments to die in.
WORDS = [
    "data=iris",
    "model=mlp",
    "grid.model.width=[2,3]",
    "grid.optimizer.lr=[0.1,1e6]",
    "seeds=12",
    "steps=40",
    "record_every=5",
    "data.batch_size=16",
    "optimizer=adam",
    "block=4",
    "segment=15",
    "verify=false",
    "tracker=none",
]


class Zygote:
    """Starts sweeps in a moment; see `zygote.py`."""

    def __init__(self, environment):
        script = Path(__file__).parent / "faults" / "zygote.py"
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._answers = Queue()
        self._ended = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._answers.put([int(word) for word in line.split()])

    def start(self, folder, *words):
        """The process id of a command in a folder."""
        print(json.dumps([str(folder), *map(str, words)]), file=self._process.stdin, flush=True)
        while True:
            answer = self._answers.get(timeout=120)
            if len(answer) == 1:
                return answer[0]
            self._ended[answer[0]] = answer[1]

    def ended(self, pid, timeout=120):
        """How a process ended: its status, or minus its signal. Waits for it."""
        until = time.monotonic() + timeout
        while pid not in self._ended:
            try:
                answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                raise TimeoutError(f"process {pid} goes on") from None
            self._ended[answer[0]] = answer[1]
        return self._ended[pid]

    def run(self, folder, *words):
        """How a command ended."""
        return self.ended(self.start(folder, *words))

    def kill(self, pid, number):
        """Send a process a signal, unless it has ended, which it may do at any moment."""
        with suppress(ProcessLookupError):
            if pid not in self._ended:
                os.kill(pid, number)

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._reader.join(timeout=60)
        self._process.stdout.close()


def contents(directory):
    """All that a store says, as bytes by name."""
    sweep = vsweep.load(directory)
    assert sweep.trials["trial"].is_unique
    assert not sweep.curves.duplicated(["trial", "step"]).any()
    pd.testing.assert_frame_equal(sweep.curves, _sorted(pd.read_parquet(directory / "curves")))
    found = {f"trials.{name}": _bytes(column) for name, column in sweep.trials.items()}
    found |= {f"curves.{name}": _bytes(column) for name, column in sweep.curves.items()}
    for path in sorted((directory / "params").glob("*.npz")):
        with np.load(path) as file:
            found |= {f"{path.name}.{name}": file[name].tobytes() for name in file}
    return found


def _sorted(curves):
    return curves.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def _bytes(column):
    values = column.to_numpy()
    return values.tobytes() if values.dtype.kind in "iuf" else repr(values.tolist()).encode()


def same(directory, other):
    """Two stores hold the same to the bit."""
    one, two = contents(directory), contents(other)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def when(holds, timeout=60.0):
    """Wait until something holds."""
    until = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < until, "it never held"
        time.sleep(0.005)


def parts(directory):
    """How many parts of curves a directory has."""
    return len(list((directory / "curves").glob("part-*.parquet")))
