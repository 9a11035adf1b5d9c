"""Upload a sweep to Weights & Biases, using only its directory."""

from pathlib import Path
from typing import Any

from vsweep.commands.directory import explained_failures, open_untrusted
from vsweep.commands.tracker import wandb_options
from vsweep.errors import ConfigError, ServiceError, show_message
from vsweep.store.writer import FORMATS
from vsweep.trackers.wandb.environment import describe_environment
from vsweep.trackers.wandb.options import WHERE
from vsweep.trackers.wandb.tracker import WandbTracker

SYNC = (*WHERE, "rows", "mode", "patience")


def sync(directory: str | Path, *, quiet: bool = False, **options: Any) -> str:
    """Upload the runs of a sweep that W&B lacks, using only the sweep's directory; no run is sent twice.

    A call that was stopped can be repeated.

    Args:
        directory: The sweep's directory.
        quiet: Show nothing.
        **options: `project`, `entity`, `level`, `rows`, `mode` (`online`, or `offline` for files)
            and `patience`, as in `tracker.wandb`; by default those of the sweep's config, online.

    Returns:
        The URL of the runs' page; empty for offline files.

    Raises:
        ConfigError: If there is no sweep, or no such option.
        ServiceError: If W&B did not receive all of the sweep; the message says what it received.
        Interrupted: On Ctrl-C or SIGTERM; the message says what W&B lacks.
    """
    for name in options:
        if name not in SYNC:
            raise ConfigError("sync", f"got {name}", f"it takes {', '.join(f'{key}=…' for key in SYNC)}")
    sweep = open_untrusted(directory)
    if sweep.plan.get("format") not in FORMATS:
        raise ConfigError("dir", f"{str(directory)!r} was made by another version", "sync with that version")
    fields = wandb_options(sweep, {"mode": "online", **options}, SYNC)
    if fields["mode"] in ("auto", "disabled"):
        raise ConfigError("mode", f"got {fields['mode']!r}", "it takes online or offline")
    if not quiet:
        for line in describe_environment(fields):
            show_message(line)
    arguments = {name: str(value) for name, value in options.items() if value is not None}
    counts = sweep.plan["trials"], sweep.plan["cells"]
    tracker = WandbTracker(sweep.directory, fields, *counts, sync=True, quiet=quiet, arguments=arguments)

    def unsent() -> str:
        tracker.close()
        return tracker.unsent

    with explained_failures(sweep.directory, unsent):
        tracker.end(sweep)
    if tracker.unsent:
        raise ServiceError(tracker.unsent)
    return tracker.where
