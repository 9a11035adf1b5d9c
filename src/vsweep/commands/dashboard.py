"""Save a workspace of a sweep in Weights & Biases."""

from pathlib import Path

from vsweep.commands.directory import open_untrusted
from vsweep.commands.sync import wandb_options
from vsweep.errors import show_message
from vsweep.trackers.wandb.options import WHERE, plan_runs


def dashboard(
    directory: str | Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    level: str | None = None,
    quiet: bool = False,
) -> str:
    """Save a workspace of a sweep in Weights & Biases; a later call updates the same workspace.

    Args:
        directory: The sweep's directory.
        project: The W&B project; by default the one in the sweep's config.
        entity: The W&B entity; by default the one in the sweep's config, or your own.
        level: The unit of a W&B run, if the runs were uploaded with another level than the config's
            (`sync(…, level="cell")`).
        quiet: Do not list the panels.

    Returns:
        The workspace's URL.

    Raises:
        ConfigError: If there is no sweep, or W&B does not accept a name.
        ServiceError: If W&B did not save the workspace.
    """
    # The module needs W&B's client, without which all other commands work.
    from vsweep.trackers.wandb.dashboard import describe_panels
    from vsweep.trackers.wandb.workspace import save_workspace

    sweep = open_untrusted(directory)
    arguments = {"project": project, "entity": entity, "level": level}
    changes = {name: value for name, value in arguments.items() if value is not None}
    options = wandb_options(sweep, changes, WHERE)
    shown = plan_runs(options["level"], sweep.plan["trials"], sweep.plan["cells"]).level
    url = save_workspace(sweep, project=options["project"], entity=options["entity"], level=shown)
    if not quiet:
        show_message("\n".join(describe_panels(sweep, shown)))
    return url
