"""`vsweep run | plan`: each one call of `vsweep.api`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vsweep.compose import CONF, forced, jobs, readable_errors, register_sweeps
from vsweep.errors import ConfigError, nearest

_USAGE = """\
vsweep trains a grid of models in a few compiled programs, and keeps every curve.

  vsweep run  [sweep=NAME] [field=value ...]    train it; the last line printed is its directory
  vsweep plan [sweep=NAME] [field=value ...]    say what would run, and train nothing

  axes:    grid.optimizer.lr='{logspace:[1e-3,1,8]}'  grid.model.width='[8,16]'  ~grid.model.init
  groups:  data= model= loss= optimizer= schedule= tracker=
  Hydra's own flags work too: -m for one sweep per job, --cfg job, --help.
"""


def _words() -> list[str]:
    """The overrides of this Hydra job; under multirun, into the job's own directory."""
    config = HydraConfig.get()
    words = list(config.overrides.task)
    multirun = config.mode == RunMode.MULTIRUN
    if multirun and not any(word.lstrip("+").startswith("dir=") for word in words):
        words.append(f"dir='{config.runtime.output_dir}'")
    return words


def _fail(error: ConfigError) -> NoReturn:
    print(f"vsweep: {error}", file=sys.stderr)
    raise SystemExit(2) from error


def _run(words: Sequence[str]) -> None:
    from vsweep.api import sweep

    print(sweep(words).directory, flush=True)


def _plan(words: Sequence[str]) -> None:
    from vsweep.api import plan
    from vsweep.execution.describe import as_text

    made, planned = plan(words)
    print(as_text(made.name, planned))


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"run": _run, "plan": _plan}


def _job(command: str) -> None:
    """One Hydra job: under multirun, or with another of Hydra's own flags."""
    try:
        _COMMANDS[command](_words())
    except ConfigError as error:
        _fail(error)


# Hydra's launchers send these to other processes, by name.
@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _run_job(_: DictConfig) -> None:
    _job("run")


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _plan_job(_: DictConfig) -> None:
    _job("plan")


def _through_hydra(command: str, words: Sequence[str]) -> None:
    """Let Hydra make the jobs, once each of them is known to run."""
    from vsweep.api import check

    if {"-m", "--multirun"} & set(words):
        for job in jobs([word for word in words if not word.startswith("-")]):
            check([word for word in job if not word.startswith("hydra")])
    # Hydra raises what it would else print, and `readable_errors` says it in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *forced(words)]
    with readable_errors(words):
        {"run": _run_job, "plan": _plan_job}[command]()


def main() -> None:
    """The command line."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(_USAGE, end="")
        return
    # A person's own functions are found from where they stand, as with `python -m`.
    sys.path.insert(0, str(Path.cwd()))
    try:
        if command not in _COMMANDS:
            raise ConfigError("command", f"no such command {command!r}", nearest(command, _COMMANDS))
        register_sweeps(words)
        if any(word.startswith(("-", "hydra")) for word in words):
            _through_hydra(command, words)
        else:
            _COMMANDS[command](words)
    except ConfigError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("vsweep: stopped; what was finished is kept", file=sys.stderr)
        raise SystemExit(130) from None
