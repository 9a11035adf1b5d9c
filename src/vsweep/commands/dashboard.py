"""Save a workspace of a sweep in Weights & Biases."""

import sys
from pathlib import Path

from vsweep.commands.sync import _WHERE, _asked, _opened
from vsweep.trackers.wandb.granularity import shown_as


def dashboard(
    directory: str | Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    level: str | None = None,
    quiet: bool = False,
) -> str:
    """Save a workspace of a sweep in Weights & Biases, and give its URL.

    project, entity: by default as the sweep's config says, and your own. level: what W&B has a run of, where
    that is not as the config says (`sync(…, level="cell")`). quiet: do not say what it shows.
    Made again, it is the same workspace, brought up to date.

    Raises `ConfigError` where there is no sweep, or for a name that W&B does not take, and `ServiceError`
    where W&B does not save it.
    """
    # Only here: without W&B's client, all else works.
    from vsweep.trackers.wandb import workspace

    sweep = _opened(directory)
    given = {"project": project, "entity": entity, "level": level}
    asked = _asked(sweep, {name: value for name, value in given.items() if value is not None}, _WHERE)
    shown = shown_as(asked["level"], sweep.plan["trials"], sweep.plan["cells"]).level
    url = workspace.save(sweep, project=asked["project"], entity=asked["entity"], level=shown)
    if not quiet:
        print("\n".join(workspace.panels(sweep, shown)), file=sys.stderr)
    return url
