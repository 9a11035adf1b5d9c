"""What the command line's words do, and how Hydra's multirun comes to them."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vsweep import api
from vsweep.compose import CONF, forced, jobs, readable_errors, refuse, register_sweeps
from vsweep.errors import ConfigError
from vsweep.execution.describe import as_text
from vsweep.words import is_hydras, split_flags


def perform(command: str, words: Sequence[str]) -> None:
    """Do what a command says. Raises `ConfigError`."""
    flags, others = split_flags(words)
    if flags or any(map(is_hydras, others)):
        _through_hydra(command, flags, others)
    else:
        _COMMANDS[command](others)


def _run(words: Sequence[str]) -> None:
    print(api.sweep(words).directory, flush=True)


def _plan(words: Sequence[str]) -> None:
    made, planned = api.plan(words)
    print(as_text(made.name, planned))


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"run": _run, "plan": _plan}


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


def _through_hydra(command: str, flags: Sequence[str], words: Sequence[str]) -> None:
    """Let Hydra make the jobs, once each of them is known to run."""
    register_sweeps(words)
    refuse(words, multirun="--multirun" in flags)
    if "--multirun" in flags:
        for job in jobs(words):
            api.check([word for word in job if not is_hydras(word)])
    # Hydra raises what it would else print, and `readable_errors` says it in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Flags first: Hydra takes no words on both sides of one.
    sys.argv = [sys.argv[0], *flags, *forced(words)]
    with readable_errors(words), _hydras_own(words):
        {"run": _run_job, "plan": _plan_job}[command]()


@contextmanager
def _hydras_own(words: Sequence[str]) -> Iterator[None]:
    """Name the word of Hydra's own that it cannot use; what a job raises is no word's."""
    given = [word.partition("=") for word in words if is_hydras(word)]
    try:
        yield
    except OSError as error:
        for key, _, value in given:
            if error.filename and value.strip("'\"").startswith(str(error.filename)):
                got = f"cannot make {value} ({error.strerror})"
                raise ConfigError(key, got, "it takes a directory") from error
        raise
    except (AssertionError, TypeError, ValueError) as error:
        frames = [frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)]
        # Another process's error has that one's traceback as its cause.
        if isinstance(error, ConfigError) or not given or _job.__name__ in frames or error.__cause__:
            raise
        got = f"Hydra cannot use it ({type(error).__name__}: {error})"
        raise ConfigError(given[-1][0], got, "leave it out, or give another value") from error
