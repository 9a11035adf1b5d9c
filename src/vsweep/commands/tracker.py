"""Check the fields of `tracker.wandb`, and the environment variables that complete them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from vsweep.config.schema import PROJECT, TAGS, Constraint, one_of, parse_field
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.trackers.wandb.environment import VARIABLES
from vsweep.trackers.wandb.options import MODES, tracker_mode, tracker_options


def wandb_options(sweep: Sweep, options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return fields of `tracker.wandb`.

    Args:
        sweep: The sweep, whose config has the default values.
        options: Values that replace those of the config.
        names: The names of the fields.

    Raises:
        ConfigError: If a field, or a variable of the environment, does not accept its value.
    """
    values = {**tracker_options(sweep.config), **options}
    fields = {name: parse_field(f"tracker.wandb.{name}", values[name], name) for name in names}
    check_environment({**values, **fields})
    return fields


def check_environment(options: Mapping[str, Any]) -> None:
    """Check the environment variables of W&B's client that count beside a config.

    Empty variables count as if they were not set.

    Args:
        options: The config's `tracker.wandb`.

    Raises:
        ConfigError: If W&B's client would not accept the value of a variable; the message names it.
    """
    if tracker_mode(options) == "disabled":
        return
    constraints: dict[str, Constraint] = {"WANDB_TAGS": TAGS}
    if options["mode"] == "auto":
        constraints["WANDB_MODE"] = one_of(MODES)
    constraints |= {variable: PROJECT for field, variable in VARIABLES.items() if options[field] is None}
    for variable, constraint in constraints.items():
        if value := os.environ.get(variable):
            constraint.parse(value.split(",") if constraint is TAGS else value, variable)
    _check_url(os.environ.get("WANDB_BASE_URL") or "https://wandb.ai")


def _check_url(url: str) -> None:
    try:
        accepted = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        accepted = False
    if not accepted:
        raise ConfigError("WANDB_BASE_URL", f"got {url!r}", "it takes a URL such as https://api.wandb.ai")
