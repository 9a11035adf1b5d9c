"""The environment variables of W&B's client: how they complete a config, and which the runs do without."""

import os
from collections.abc import Mapping
from typing import Any

from vsweep.trackers.wandb.options import Options, tracker_mode

# The variables that stand for fields of `tracker.wandb` that are null.
VARIABLES = {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY"}
# W&B's files stay in the sweep's `wandb/` folder, so that a directory can be moved and deleted as a whole.
_FOLDERS = (
    *("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"),
    *("WANDB_USE_DOT_WANDB", "WANDB__FILES_DIR", "WANDB__SYNC_DIR_SUFFIX"),
)
# These describe a single run, and a sweep has many. Within a W&B sweep, the client would replace these.
_OF_ONE_RUN = (
    *("WANDB_NAME", "WANDB_NOTES", "WANDB_JOB_TYPE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_LAUNCH"),
    *("WANDB_RESUME", "WANDB_RESUME_FROM", "WANDB_FORK_FROM"),
    *("WANDB_SWEEP_PARAM_PATH", "WANDB_CONFIG_PATHS", "WANDB_SYNC_TENSORBOARD"),
    *("WANDB__LABEL", "WANDB__PRIMARY", "WANDB__UPDATE_FINISH_STATE"),
)
# A notebook's own service must not be used: it would keep the runs of a worker that was killed.
_SERVICE = "WANDB_SERVICE"


def client_environment(options: Options, temporary: str) -> dict[str, str]:
    """Return the environment of a process that uses W&B's client.

    It has the variables of this process, except those that are empty, that the config replaces, or that runs
    of a sweep cannot use; the client would refuse some values even of variables that are replaced.

    Args:
        options: The options of the tracker.
        temporary: A folder for temporary files.
    """
    replaced = {variable for field, variable in VARIABLES.items() if getattr(options, field) is not None}
    unused = {*replaced, *_FOLDERS, *_OF_ONE_RUN, _SERVICE, "WANDB_MODE"}
    environment = {
        name: value for name, value in os.environ.items() if value or not name.startswith("WANDB_")
    }
    environment = {name: value for name, value in environment.items() if name not in unused}
    if options.mode != "auto":
        environment["WANDB_MODE"] = options.mode
    environment |= dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "TMPDIR"), temporary)
    return environment | {"WANDB_SILENT": "true"}


def replaced_fields(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that the environment sets, and their values; options: a config's `tracker.wandb`."""
    values = {field: os.environ.get(variable, "") for field, variable in VARIABLES.items()}
    return {field: value for field, value in values.items() if value and options[field] is None}


def describe_environment(options: Mapping[str, Any]) -> list[str]:
    """Describe the variables that turn W&B off or have no effect; options: a config's `tracker.wandb`."""
    if options["mode"] == "disabled":
        return []
    if tracker_mode(options) == "disabled":
        return ["W&B: disabled in the environment (WANDB_MODE or WANDB_DISABLED)"]
    ignored = {
        "its files stay in the sweep's wandb/": _FOLDERS,
        "the names, ids and configs of the runs follow from the sweep": _OF_ONE_RUN,
    }
    lines = {reason: [name for name in names if os.environ.get(name)] for reason, names in ignored.items()}
    return [f"W&B: {reason}; no effect: {', '.join(names)}" for reason, names in lines.items() if names]
