"""The commands of the command line, and Hydra's multirun of them."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import vsweep
from vsweep.cli.arguments import REPRODUCE, parse, split_flags
from vsweep.cli.completion import completion_script
from vsweep.commands.plan import describe, try_plan
from vsweep.config.groups import CONF
from vsweep.config.hydra_compose import as_config_error, jobs, register_sweeps
from vsweep.config.overrides import is_hydra_override
from vsweep.config.sweep_file import sweep_overrides
from vsweep.config.user_input import as_overrides
from vsweep.errors import ConfigError, StuckError, printable, show_message
from vsweep.store.files import VERIFIED
from vsweep.trackers.check_tables import (
    describe_gradient_check,
    print_confirmation,
    print_gradient_check,
    print_verification,
)


def perform(command: str, words: Sequence[str]) -> None:
    """Run a command.

    Args:
        command: The command's name.
        words: The words after the command.

    Raises:
        ConfigError: If an argument or the config is not accepted.
    """
    if command in ("run", "plan"):
        flags, others = split_flags(words)
        if flags or any(map(is_hydra_override, others)):
            _through_hydra(command, flags, others)
        else:
            _HYDRA_COMMANDS[command](others)
    else:
        positional, options = parse(command, words)
        _OTHER_COMMANDS[command](*positional, **options)


def _run(words: Sequence[str]) -> None:
    if any(re.match(r"\+*(trial|from)=", word) for word in words):
        _reproduce(**parse(REPRODUCE, words)[1])
    else:
        _finish(vsweep.sweep(words))


def _finish(trained: vsweep.Sweep) -> None:
    """Print the directory; exit with status 1 if its numbers are wrong or a tracker did not get them all."""
    print(trained.directory, flush=True)
    failed = bool(trained.unsent or (trained.verified or {}).get("wrong"))
    if failed and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        # An exit here would keep the later jobs from running.
        _failed.append(trained.directory)
    elif failed:
        raise SystemExit(1)


# Directories of this process's jobs that failed.
_failed: list[Path] = []


def _reproduce(trial: int, **options: Any) -> None:
    directory, to = options.pop("from"), options.pop("dir", None)
    reproduced = vsweep.reproduce(directory, trial, to=to, quiet=False, **options)
    show_message("vsweep run " + shlex.join(reproduced.overrides))
    print(reproduced.sweep.directory, flush=True)


def _plan(words: Sequence[str]) -> None:
    print(printable(describe(*vsweep.plan(words))))


def _resume(directory: str, *words: str) -> None:
    _finish(vsweep.resume(directory, words))


def _verify(directory: str, **options: Any) -> None:
    verified = vsweep.verify(directory, **options)
    print_verification(verified)
    print(Path(directory) / VERIFIED, flush=True)
    if verified["wrong"]:
        raise SystemExit(1)


def _confirm(directory: str, **options: Any) -> None:
    print_confirmation(*vsweep.confirm(directory, **options))
    print(directory, flush=True)


def _check(*words: str) -> None:
    checked = vsweep.check(words)
    print_gradient_check(checked)
    print(printable(describe_gradient_check(checked)), flush=True)
    if checked.wrong:
        raise SystemExit(1)


_HYDRA_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"run": _run, "plan": _plan}
_OTHER_COMMANDS: dict[str, Callable[..., None]] = {
    "resume": _resume,
    "verify": _verify,
    "confirm": _confirm,
    "check": _check,
    "sync": lambda directory, **options: print(vsweep.sync(directory, **options) or directory, flush=True),
    "dashboard": lambda directory, **options: print(vsweep.dashboard(directory, **options), flush=True),
    "report": lambda directory, **options: print(vsweep.report(directory, **options), flush=True),
    "completion": lambda shell: print(completion_script(shell)),
}


def _words() -> list[str]:
    """Return the overrides of this Hydra job, with a directory of its own under multirun."""
    config = HydraConfig.get()
    words = list(config.overrides.task)
    multirun = config.mode == RunMode.MULTIRUN
    if multirun and not any(word.lstrip("+").startswith("dir=") for word in words):
        words.append(f"dir='{config.runtime.output_dir}'")
    return words


def _job(command: str) -> None:
    """Run one Hydra job, under multirun or with another flag of Hydra."""
    try:
        _HYDRA_COMMANDS[command](_words())
    except ConfigError as error:
        # An error that reaches Hydra is printed with a traceback.
        show_message(f"vsweep: {error}")
        raise SystemExit(2) from error
    except StuckError as error:
        # Later jobs would wait for the same devices.
        show_message(f"vsweep: {error}")
        raise SystemExit(1) from error


# Hydra's launchers send these functions to other processes by name.
@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _run_job(_: DictConfig) -> None:
    _job("run")


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _plan_job(_: DictConfig) -> None:
    _job("plan")


def _through_hydra(command: str, flags: Sequence[str], words: Sequence[str]) -> None:
    """Let Hydra run the jobs, after planning each of them."""
    multirun = "--multirun" in flags
    overrides, notes, _ = as_overrides(words, multirun=multirun)
    words = [override.word for override in overrides]
    if multirun:
        for job in jobs(words):
            _try_job([word for word in job if not is_hydra_override(word)], words)
    else:
        sweep_overrides(overrides)
    register_sweeps()
    for note in notes:
        show_message(f"note: {note}")
    # With this variable Hydra raises its errors, and `_readable_errors` explains them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra accepts overrides on one side of its flags only.
    sys.argv = [sys.argv[0], *flags, *(override.for_hydra() for override in overrides)]
    with _readable_errors(words):
        {"run": _run_job, "plan": _plan_job}[command]()
    if _failed:
        raise SystemExit(1)


def _try_job(job: Sequence[str], words: Sequence[str]) -> None:
    """Plan a job. Raises `ConfigError`, which names the job if its field is not one that the jobs vary."""
    try:
        try_plan(job)
    except ConfigError as error:
        varied = [word for word in job if word not in words]
        if not varied or any(word.startswith(f"{error.field}=") for word in varied):
            raise
        takes = f"{error.takes} (in the job of {' '.join(varied)})"
        raise ConfigError(error.field, error.got, takes) from error


@contextmanager
def _readable_errors(words: Sequence[str]) -> Iterator[None]:
    """Name the override that Hydra cannot use; a job's own errors are re-raised."""
    overrides = [word.partition("=") for word in words if is_hydra_override(word)]
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise as_config_error(error, words) from error
    except OSError as error:
        for key, _, value in overrides:
            if error.filename and value.strip("'\"").startswith(str(error.filename)):
                got = f"cannot make {value} ({error.strerror})"
                raise ConfigError(key, got, "it takes a directory") from error
        raise
    except (AssertionError, TypeError, ValueError) as error:
        frames = [frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)]
        # An error from another process has that process's traceback as its cause.
        if isinstance(error, ConfigError) or not overrides or _job.__name__ in frames or error.__cause__:
            raise
        got = f"Hydra cannot use it ({type(error).__name__}: {error})"
        raise ConfigError(overrides[-1][0], got, "leave it out, or give another value") from error
