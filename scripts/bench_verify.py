"""Verify that a sweep's numbers do not depend on batching: train it in many blocks and on many devices.

`python scripts/bench_verify.py [--k 32] [--sweep digits]`
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCKS = ("1", "7", "64", "all")
DEVICES = (1, 2, 8)
# A trial whose twin differs by at most WITHIN must do so too; others may differ TIMES as much as their twins.
WITHIN, TIMES = 1e-5, 10.0


def vsweep(devices: int, *words: str) -> None:
    """Run a command with a number of CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    process = subprocess.run(
        [sys.executable, "-m", "vsweep", *words],
        env={**os.environ, "XLA_FLAGS": flags.strip()},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise SystemExit(process.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", default="32", help="the number of random trials, beside the chosen ones")
    parser.add_argument("--sweep", default="digits")
    arguments = parser.parse_args()
    print("block devices  checked  steady: largest difference   others: of the twin's   verdicts changed")
    sound = True
    for block in BLOCKS:
        for devices in DEVICES:
            with tempfile.TemporaryDirectory() as folder:
                where = Path(folder) / "kept"
                size = 1_000_000 if block == "all" else block
                words = [f"sweep={arguments.sweep}", f"block={size}", "tracker=none", "verify=false"]
                vsweep(devices, "run", *words, f"dir='{where}'")
                vsweep(devices, "verify", str(where), f"k={arguments.k}")
                result = json.loads((where / "verify.json").read_text())
            steady = [t["difference"] for t in result["trials"] if t["twin"] <= WITHIN]
            others = [t["difference"] / t["twin"] for t in result["trials"] if t["twin"] > WITHIN]
            most, times = max(steady, default=0.0), max(others, default=0.0)
            print(
                f"{block:>5} {devices:7} {result['checked']:8} {len(steady):7}: {most:<17.1e}"
                f" {len(others):6}: {times:<15.2g} {len(result['changed']):8}",
                flush=True,
            )
            sound &= most <= WITHIN and times <= TIMES and not result["changed"]
    print("all within bounds" if sound else "NOT within bounds")
    raise SystemExit(not sound)


if __name__ == "__main__":
    main()
