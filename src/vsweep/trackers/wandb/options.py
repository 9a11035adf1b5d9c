"""Read the W&B options from a sweep's config, its `tracker.wandb`."""

import os
from collections.abc import Mapping
from typing import Any

# Older directories lack some of the fields.
_DEFAULTS: dict[str, Any] = {
    "mode": "auto",
    "level": "auto",
    "rows": 200,
    "patience": 45.0,
    "project": "vsweep",
    "entity": None,
}
_MODES = ("online", "offline", "disabled", "shared")


def tracker_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options; config: a resolved config, which may be old or come from someone else."""
    tracker = config.get("tracker")
    options = tracker.get("wandb") if isinstance(tracker, Mapping) else None
    return {**_DEFAULTS, **(options if isinstance(options, Mapping) else {})}


def tracker_mode(options: Mapping[str, Any]) -> str:
    """Return the configured mode; `auto` is replaced by the variable WANDB_MODE, if it is set."""
    variable = os.environ.get("WANDB_MODE", "")
    return variable if options["mode"] == "auto" and variable in _MODES else str(options["mode"])
