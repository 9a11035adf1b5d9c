"""What the command line's words do, and how Hydra's multirun comes to them."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vsweep.commands.check import check
from vsweep.commands.confirm import confirm
from vsweep.commands.dashboard import dashboard
from vsweep.commands.plan import describe, plan, try_plan
from vsweep.commands.report import report
from vsweep.commands.reproduce import reproduce
from vsweep.commands.resume import resume
from vsweep.commands.sweep import sweep
from vsweep.commands.sync import SYNC, sync
from vsweep.commands.verify import verify
from vsweep.config.hydra_compose import (
    CONF,
    as_force_add,
    check_overrides,
    jobs,
    readable_errors,
    register_sweeps,
)
from vsweep.config.overrides import is_hydra_override, split_flags
from vsweep.config.spec import override_key
from vsweep.config.wandb.translate import translate_wandb
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.reader import VERIFIED
from vsweep.trackers.check_tables import (
    describe_gradient_check,
    print_confirmation,
    print_gradient_check,
    print_verification,
)


def perform(command: str, words: Sequence[str]) -> None:
    """Do what a command says. Raises `ConfigError`."""
    flags, others = split_flags(words)
    if flags and command not in ("run", "plan"):
        raise ConfigError(flags[0], f"vsweep {command} has no flags", "leave it out")
    if command in ("run", "plan") and (flags or any(map(is_hydra_override, others))):
        _through_hydra(command, flags, *translate_wandb(others))
    else:
        _COMMANDS[command](others)


def _run(words: Sequence[str]) -> None:
    keys = [override_key(word) for word in words]
    if "trial" in keys or "from" in keys:
        print(_reproduce(words).directory, flush=True)
    else:
        _trained(sweep(words))


def _trained(trained: Sweep) -> None:
    """Print the directory; end with 1 where something did not come to where it was to be shown."""
    print(trained.directory, flush=True)
    if trained.unsent and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        # The jobs after this one are to run.
        _unsent.append(trained.unsent)
    elif trained.unsent:
        raise SystemExit(1)


# What jobs of this process could not show.
_unsent: list[str] = []


def _reproduce(words: Sequence[str]) -> Sweep:
    """`trial=N from=DIR [dir=DIR]`."""
    given = _given("run", words, ("trial", "from", "dir", "allow_targets"))
    if not given.get("from"):
        raise ConfigError("from", "got nothing", "trial=N from=DIR takes a sweep's directory")
    trial = _count("trial", given.get("trial"), 0)
    allowed = _names(given)
    to = given.get("dir")
    made = reproduce(given["from"], trial, to=to, allow_targets=allowed, quiet=False)
    print("vsweep run " + shlex.join(made.overrides), file=sys.stderr)
    return made.sweep


def _plan(words: Sequence[str]) -> None:
    print(describe(*plan(words)))


def _resume(words: Sequence[str]) -> None:
    _trained(resume(_directory("resume", words), words[1:]))


def _directory(command: str, words: Sequence[str]) -> str:
    """The directory that a command is about, its first word."""
    if not words or "=" in words[0]:
        raise ConfigError(command, "got no directory", f"vsweep {command} DIR takes a sweep's directory")
    return words[0]


def _verify(words: Sequence[str]) -> None:
    directory = _directory("verify", words)
    given = _given("verify", words[1:], ("k", "seed", "allow_targets"))
    k, seed = _count("k", given.get("k", "8"), 0), _count("seed", given.get("seed", "0"), 0)
    found = verify(directory, k=k, seed=seed, allow_targets=_names(given))
    print_verification(found)
    print(Path(directory) / VERIFIED, flush=True)


def _confirm(words: Sequence[str]) -> None:
    directory = _directory("confirm", words)
    given = _given("confirm", words[1:], ("top", "seeds", "metric", "allow_targets"))
    seeds = _count("seeds", given["seeds"], 1) if "seeds" in given else None
    top = _count("top", given.get("top", "5"), 1)
    found = confirm(directory, top=top, seeds=seeds, metric=given.get("metric"), allow_targets=_names(given))
    print_confirmation(*found)
    print(directory, flush=True)


def _sync(words: Sequence[str]) -> None:
    directory = _directory("sync", words)
    given: dict[str, Any] = _given("sync", words[1:], SYNC)
    for name in {"rows", "patience"} & set(given):
        given[name] = _count(name, given[name], 2 if name == "rows" else 0)
    print(sync(directory, **given) or directory, flush=True)


def _check(words: Sequence[str]) -> None:
    found = check(words)
    print_gradient_check(found)
    print(describe_gradient_check(found), flush=True)
    if found.wrong:
        raise SystemExit(1)


def _dashboard(words: Sequence[str]) -> None:
    directory = _directory("dashboard", words)
    given: dict[str, Any] = _given("dashboard", words[1:], ("project", "entity", "level"))
    url = dashboard(directory, **given)
    print(url, flush=True)


def _report(words: Sequence[str]) -> None:
    directory = _directory("report", words)
    given = _given("report", words[1:], ("metric", "path", "allow_targets"))
    metric, path = given.get("metric"), given.get("path")
    print(report(directory, path, metric=metric, allow_targets=_names(given)), flush=True)


def _given(command: str, words: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Words of `key=value`, of these keys."""
    given = {}
    takes = "it takes " + ", ".join(f"{name}=…" for name in known)
    for word in words:
        key, equals, value = word.partition("=")
        if key not in known or not equals:
            raise ConfigError(command, f"got {word!r}", takes)
        given[key] = value
    return given


def _names(given: Mapping[str, str]) -> list[str]:
    """The modules of `allow_targets=[a,b]`."""
    return [name for name in given.get("allow_targets", "").strip("[]").split(",") if name]


def _count(field: str, given: str | None, least: int) -> int:
    if given is None or not given.isdecimal() or int(given) < least:
        got = "got nothing" if given is None else f"got {given!r}"
        raise ConfigError(field, got, f"it takes an integer of at least {least}")
    return int(given)


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": _run,
    "plan": _plan,
    "resume": _resume,
    "verify": _verify,
    "confirm": _confirm,
    "check": _check,
    "sync": _sync,
    "dashboard": _dashboard,
    "report": _report,
}


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


def _through_hydra(command: str, flags: Sequence[str], words: Sequence[str], notes: Sequence[str]) -> None:
    """Let Hydra make the jobs, once each of them is known to run."""
    register_sweeps(words)
    check_overrides(words, multirun="--multirun" in flags)
    if "--multirun" in flags:
        for job in jobs(words):
            try_plan([word for word in job if not is_hydra_override(word)])
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    # Hydra raises what it would else print, and `readable_errors` says it in a sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Flags first: Hydra takes no words on both sides of one.
    sys.argv = [sys.argv[0], *flags, *as_force_add(words)]
    with readable_errors(words), _hydras_own(words):
        {"run": _run_job, "plan": _plan_job}[command]()
    if _unsent:
        raise SystemExit(1)


@contextmanager
def _hydras_own(words: Sequence[str]) -> Iterator[None]:
    """Name the word of Hydra's own that it cannot use; what a job raises is no word's."""
    given = [word.partition("=") for word in words if is_hydra_override(word)]
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
