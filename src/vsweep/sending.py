"""What a sweep's directory holds, sent to W&B."""

from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, Interrupted, ServiceError
from vsweep.results.lock import refuse_links, refuse_within
from vsweep.results.store import FORMAT
from vsweep.results.sweep import Sweep
from vsweep.schema import WANDB, parse_field
from vsweep.trackers.wandb.tracker import WandbTracker

_FIELDS = ("project", "entity", "level", "rows", "mode", "patience")


def sync(directory: str | Path, *, quiet: bool = False, **given: Any) -> str:
    """Send W&B what it has not yet of a sweep, from its store alone; never a second copy of a run.

    given: `project`, `entity`, `level`, `rows`, `mode` (`online`, `shared`, or `offline` for files) and
    `patience`, as of `tracker.wandb`; by default those of the sweep's config, online. It can be stopped and
    begun again.

    Returns the page that the runs are on, empty for offline files. Raises `ConfigError` for what is no
    sweep, and `ServiceError` where not all came to W&B, saying what did.
    """
    directory = Path(directory)
    sweep = Sweep(directory)
    plan = sweep.plan
    if plan.get("format") != FORMAT:
        raise ConfigError("dir", f"{str(directory)!r} was made by another version", "sync with that version")
    refuse_links(directory)
    refuse_within(directory)
    raw = (sweep.config.get("tracker") or {}).get("wandb") or {}
    asked = {**WANDB, **raw, "mode": "online", **given}
    for name in given:
        if name not in _FIELDS:
            raise ConfigError("sync", f"got {name}", f"it takes {', '.join(f'{key}=…' for key in _FIELDS)}")
    options = {name: parse_field(f"tracker.wandb.{name}", asked.get(name), name) for name in _FIELDS}
    if options["mode"] in ("auto", "disabled"):
        raise ConfigError("mode", f"got {options['mode']!r}", "it takes one of online, shared, offline")
    words = {name: str(value) for name, value in given.items() if value is not None}
    tracker = WandbTracker(
        directory, options, plan["trials"], plan["cells"], sync=True, quiet=quiet, words=words
    )
    try:
        tracker.end(sweep)
    except KeyboardInterrupt as stop:
        tracker.close()
        raise Interrupted(f"stopped; {tracker.lacks}", getattr(stop, "status", 130)) from None
    if tracker.lacks:
        raise ServiceError(tracker.lacks)
    return tracker.where
