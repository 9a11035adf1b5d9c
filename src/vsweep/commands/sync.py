"""Send a sweep to Weights & Biases from its directory alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vsweep.config.schema import parse_field
from vsweep.errors import ConfigError, Interrupted, ServiceError
from vsweep.results import Sweep
from vsweep.store.lock import check_inside, check_no_links
from vsweep.store.writer import FORMAT
from vsweep.trackers.wandb.options import options
from vsweep.trackers.wandb.tracker import WandbTracker

_WHERE = ("project", "entity", "level")
SYNC = (*_WHERE, "rows", "mode", "patience")


def sync(directory: str | Path, *, quiet: bool = False, **given: Any) -> str:
    """Send W&B what it has not yet of a sweep, from its store alone; never a second copy of a run.

    given: `project`, `entity`, `level`, `rows`, `mode` (`online`, `shared`, or `offline` for files) and
    `patience`, as of `tracker.wandb`; by default those of the sweep's config, online. It can be stopped and
    begun again.

    Returns the page that the runs are on, empty for offline files. Raises `ConfigError` for what is no
    sweep, and `ServiceError` where not all came to W&B, saying what did.
    """
    for name in given:
        if name not in SYNC:
            raise ConfigError("sync", f"got {name}", f"it takes {', '.join(f'{key}=…' for key in SYNC)}")
    sweep = _opened(directory)
    if sweep.plan.get("format") != FORMAT:
        raise ConfigError("dir", f"{str(directory)!r} was made by another version", "sync with that version")
    asked = _asked(sweep, {"mode": "online", **given}, SYNC)
    if asked["mode"] in ("auto", "disabled"):
        raise ConfigError("mode", f"got {asked['mode']!r}", "it takes one of online, shared, offline")
    words = {name: str(value) for name, value in given.items() if value is not None}
    plan = sweep.plan
    tracker = WandbTracker(
        sweep.directory, asked, plan["trials"], plan["cells"], sync=True, quiet=quiet, words=words
    )
    try:
        tracker.end(sweep)
    except KeyboardInterrupt as stop:
        tracker.close()
        raise Interrupted(f"stopped; {tracker.lacks}", getattr(stop, "status", 130)) from None
    if tracker.lacks:
        raise ServiceError(tracker.lacks)
    return tracker.where


def _opened(directory: str | Path) -> Sweep:
    """A sweep, of a directory that may come from others. Raises `ConfigError`."""
    sweep = Sweep(directory)
    check_no_links(sweep.directory)
    check_inside(sweep.directory)
    return sweep


def _asked(sweep: Sweep, given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Fields of `tracker.wandb`, as they are given or the sweep's config says. Raises `ConfigError`."""
    asked = {**options(sweep.config), **given}
    return {name: parse_field(f"tracker.wandb.{name}", asked[name], name) for name in names}
