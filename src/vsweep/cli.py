"""`vsweep run | plan`: each one call of `vsweep.api`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vsweep.compose import CONF, forced, readable_errors, register_sweeps
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


def _or_exit(job: Callable[[], None]) -> None:
    """Run a job; a config that cannot be run ends the process with status 2 and one message."""
    try:
        job()
    except ConfigError as error:
        _fail(error)


def _fail(error: ConfigError) -> NoReturn:
    print(f"vsweep: {error}", file=sys.stderr)
    raise SystemExit(2) from error


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _run(_: DictConfig) -> None:
    from vsweep.api import sweep

    _or_exit(lambda: print(sweep(_words()).directory, flush=True))


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _plan(_: DictConfig) -> None:
    from vsweep.api import plan
    from vsweep.execution.describe import as_text

    def job() -> None:
        made, planned = plan(_words())
        print(as_text(made.name, planned))

    _or_exit(job)


_COMMANDS: dict[str, Callable[[], None]] = {"run": _run, "plan": _plan}


def main() -> None:
    """The command line."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(_USAGE, end="")
        return
    if command not in _COMMANDS:
        _fail(ConfigError("command", f"no such command {command!r}", nearest(command, _COMMANDS)))
    # A person's own functions are found from where they stand, as with `python -m`.
    sys.path.insert(0, str(Path.cwd()))
    # Hydra raises what it would else print, and `readable_errors` says it in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *forced(words)]
    try:
        register_sweeps()
        with readable_errors(words):
            _COMMANDS[command]()
    except ConfigError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("vsweep: stopped; what was finished is kept", file=sys.stderr)
        raise SystemExit(130) from None
