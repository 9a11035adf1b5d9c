"""What the command line's words do, and how Hydra's multirun comes to them."""

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vsweep import api
from vsweep.compose import CONF, forced, jobs, readable_errors, register_sweeps
from vsweep.errors import ConfigError
from vsweep.execution.describe import as_text


def perform(command: str, words: Sequence[str]) -> None:
    """Do what a command says. Raises `ConfigError`."""
    register_sweeps(words)
    if command in ("run", "plan") and any(word.startswith(("-", "hydra")) for word in words):
        _through_hydra(command, words)
    else:
        _COMMANDS[command](words)


def _run(words: Sequence[str]) -> None:
    print(api.sweep(words).directory, flush=True)


def _plan(words: Sequence[str]) -> None:
    made, planned = api.plan(words)
    print(as_text(made.name, planned))


def _resume(words: Sequence[str]) -> None:
    print(api.resume(_directory("resume", words), words[1:]).directory, flush=True)


def _directory(command: str, words: Sequence[str]) -> str:
    """The directory that a command is about, its first word."""
    if not words or "=" in words[0]:
        raise ConfigError(command, "got no directory", f"vsweep {command} DIR takes a sweep's directory")
    return words[0]


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"run": _run, "plan": _plan, "resume": _resume}


def _words() -> list[str]:
    """The overrides of this Hydra job; under multirun, into the job's own directory."""
    config = HydraConfig.get()
    words = list(config.overrides.task)
    multirun = config.mode == RunMode.MULTIRUN
    if multirun and not any(word.lstrip("+").startswith("dir=") for word in words):
        words.append(f"dir='{config.runtime.output_dir}'")
    return words


def _job(command: str) -> None:
    """One Hydra job: under multirun, or with another of Hydra's own flags."""
    try:
        _COMMANDS[command](_words())
    except ConfigError as error:
        # Hydra would say more than this.
        print(f"vsweep: {error}", file=sys.stderr)
        raise SystemExit(2) from error


# Hydra's launchers send these to other processes, by name.
@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _run_job(_: DictConfig) -> None:
    _job("run")


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _plan_job(_: DictConfig) -> None:
    _job("plan")


def _through_hydra(command: str, words: Sequence[str]) -> None:
    """Let Hydra make the jobs, once each of them is known to run."""
    if {"-m", "--multirun"} & set(words):
        for job in jobs([word for word in words if not word.startswith("-")]):
            api.check([word for word in job if not word.startswith("hydra")])
    # Hydra raises what it would else print, and `readable_errors` says it in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *forced(words)]
    with readable_errors(words):
        {"run": _run_job, "plan": _plan_job}[command]()
