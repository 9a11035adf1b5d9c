"""A block that is larger than what the process may take, under a limit of the system's own."""

import json
import subprocess
import sys

import pytest

import vsweep

# Each trial gives a megabyte of parameters back.
SCRIPT = """
import resource, sys
from pathlib import Path
import sklearn.datasets
import vsweep.cli.commands
from vsweep.engine.devices import prepare

prepare()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + 3000 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
vsweep.sweep(
    ["data=spirals", "data.rows=20", "data.arms=2", "model=mlp", "model.width=65536", "model.init=normal",
     "steps=1", "record_every=1", "optimizer.lr=1e-6", "seeds=1024", "block=1024", "keep.params=1",
     "tracker=none", "verify=false", "dir=kept"],
    quiet=True,
)
"""


@pytest.mark.tail
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_block_too_large_for_the_memory_is_trained_in_halves(environment, tmp_path):
    # malloc gets one arena: an arena per thread would use the limit up without using the memory.
    env = {**environment, "MALLOC_ARENA_MAX": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    plan = json.loads((tmp_path / "kept" / "plan.json").read_text())
    assert plan["programs"][0]["block"] == 1024
    devices = plan["devices"]["devices"]
    # Three blocks' parameters are alive at a time: whole, they would take 3 GiB.
    assert devices * plan["happened"]["device_bytes"] <= 0.9 * 3000 * 2**20
    trials = vsweep.load(tmp_path / "kept").trials
    assert trials["trial"].tolist() == list(range(1024))
    assert (trials["status"] == "ok").all()
