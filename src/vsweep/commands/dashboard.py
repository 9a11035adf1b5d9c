"""Save a workspace of a sweep in Weights & Biases."""

from contextlib import closing
from pathlib import Path

from vsweep.commands.directory import open_untrusted
from vsweep.commands.tracker import wandb_options
from vsweep.errors import ServiceError, show_message
from vsweep.trackers.wandb.options import WHERE, Options
from vsweep.trackers.wandb.worker_process import Report, WorkerProcess


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
        project: The W&B project; by default the one in the sweep's config, or in WANDB_PROJECT.
        entity: The W&B entity; by default the one in the sweep's config, in WANDB_ENTITY, or your own.
        level: The unit of a W&B run, if the runs were uploaded with another level than the config's
            (`sync(…, level="cell")`).
        quiet: Do not list the panels.

    Returns:
        The workspace's URL.

    Raises:
        ConfigError: If there is no sweep, or W&B does not accept a name.
        ServiceError: If W&B did not save the workspace.
    """
    sweep = open_untrusted(directory)
    arguments = {"project": project, "entity": entity, "level": level}
    changes = {name: value for name, value in arguments.items() if value is not None}
    # A dashboard is only on a server, whatever the mode of the sweep was.
    options = wandb_options(sweep, {**changes, "mode": "online"}, (*WHERE, "mode", "patience"))
    nothing = Report("online", 1)
    worker = WorkerProcess(
        sweep.directory, Options(**options), nothing, lambda complete: None, task="dashboard"
    )
    with closing(worker):
        report = worker.finish()
    for note in report.notes:
        show_message(note)
    if report.why:
        raise ServiceError(f"W&B saved no dashboard ({report.why})")
    if not quiet:
        show_message("\n".join(report.panels))
    return report.where
