"""What a sweep's config says of W&B: its `tracker.wandb`."""

import os
from collections.abc import Mapping
from typing import Any

# Of a directory that is older than some of the fields.
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
    """All of its fields. config: a resolved config, of old directories too, which may come from others."""
    tracker = config.get("tracker")
    said = tracker.get("wandb") if isinstance(tracker, Mapping) else None
    return {**_DEFAULTS, **(said if isinstance(said, Mapping) else {})}


def tracker_mode(options: Mapping[str, Any]) -> str:
    """The mode that is asked for, or, where that is `auto`, what W&B's own variable says."""
    variable = os.environ.get("WANDB_MODE", "")
    return variable if options["mode"] == "auto" and variable in _MODES else str(options["mode"])
