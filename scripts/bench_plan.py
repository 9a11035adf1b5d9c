"""Time planning a hundred thousand cells: draws of two fields, and an axis with a list of values.

Each figure is the processor time of a fresh process that plans and trains nothing: from Python, from words of
the command line, from a sweep file and from a W&B sweep file.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_CELLS = 100_000
_COMMON = {"data": "iris", "model": "logistic", "tracker": "none", "steps": 10}
# Systems limit the length of a word from another process, so the words are read from a file.
_COMMAND = (
    "import sys; from vsweep.cli.main import main; sys.argv[1:] = open('words').read().split('\\n'); main()"
)
_PYTHON = "import json, vsweep; print(len(vsweep.plan(json.load(open('config.json')))[1].grid))"


def processor_s(folder: str, *words: str) -> float:
    """Return the processor time of a process in seconds."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def main() -> None:
    rng = np.random.default_rng(0)
    rates, decays = np.exp(rng.uniform(-7.0, 0.0, _CELLS)).tolist(), rng.random(_CELLS).tolist()
    fields = {
        "draws of two fields": {"draws": {"optimizer": {"lr": rates, "weight_decay": decays}}},
        "values of one axis": {"grid": {"optimizer": {"lr": rates}}},
    }
    wandb = {
        "method": "random",
        "run_cap": _CELLS,
        "parameters": {"lr": {"min": 1e-3, "max": 1.0}, "weight_decay": {"min": 0.0, "max": 0.1}},
    }
    words = [f"{key}={value}" for key, value in _COMMON.items()]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sweeps").mkdir()
        Path(folder, "wandb.yaml").write_text(json.dumps(wandb))
        command = ["-m", "vsweep", "plan"]
        # The first process fills caches that the later ones read.
        processor_s(folder, *command, *words)
        print(f"planning one cell: {processor_s(folder, *command, *words):.1f} s of processor time")
        for name, field in fields.items():
            Path(folder, "config.json").write_text(json.dumps(_COMMON | field))
            Path(folder, "sweeps", "large.yaml").write_text(json.dumps(_COMMON | field))
            lists = [
                f"{group}.{path}={values}"
                for group, tree in field.items()
                for path, values in ((f"optimizer.{key}", v) for key, v in tree["optimizer"].items())
            ]
            Path(folder, "words").write_text("\n".join(["plan", *words, *lists]))
            python = processor_s(folder, "-c", _PYTHON)
            word = processor_s(folder, "-c", _COMMAND)
            file = processor_s(folder, *command, "sweep=large", "tracker=none")
            print(f"{_CELLS:,} {name}: {python:.1f} s from Python, {word:.1f} s from words,", end=" ")
            print(f"{file:.1f} s from a sweep file")
        drawn = processor_s(folder, *command, "wandb_sweep=wandb.yaml", *words)
        print(f"{_CELLS:,} draws of a W&B sweep file: {drawn:.1f} s")


if __name__ == "__main__":
    main()
