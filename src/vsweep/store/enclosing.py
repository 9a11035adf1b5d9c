"""Find the sweep's directory that a path lies in, which may come from someone else."""

import os
from pathlib import Path


def enclosing_sweep(path: str | Path) -> Path | None:
    """Return the sweep's directory that a path lies in, as written or where its links lead, or None.

    A sweep's directory is known by `plan.json` beside `ledger` or `config.yaml`, so that one whose files are
    damaged is found too.
    """
    # The parents of `shared/../mine` are those of `mine`, so the path is normalized first.
    written = Path(os.path.abspath(path))  # noqa: PTH100
    for place in (written, written.resolve()):
        for folder in (place, *place.parents):
            if _has(folder, "plan.json") and (_has(folder, "ledger") or _has(folder, "config.yaml")):
                return folder
    return None


def _has(folder: Path, name: str) -> bool:
    # A link that leads nowhere counts too.
    return os.path.lexists(folder / name)
