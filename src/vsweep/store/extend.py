"""Prepare a directory for a larger sweep: renumber its trials and move shorter trainings aside.

All new files are written to a folder inside the directory and replace the old ones when they are complete. If
the process dies in between, the next one finishes the replacement or discards the folder.
"""

import shlex
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from vsweep.errors import ConfigError
from vsweep.store.atomic import checksum, write_text, write_whole
from vsweep.store.manifest import CURVES, ROWS, Block, Ledger
from vsweep.store.trial_table import Table

TRIALS = "trials.parquet"
STATES = "states"
EARLIER = "earlier"
_NEW_FILES, _READY, _OBSOLETE = ".extended", "ready", "gone"


def has_pending_extension(directory: Path) -> bool:
    """Return whether files numbered for two different sweeps may be in a directory."""
    return (directory / _NEW_FILES / _READY).exists()


def finish_extension(directory: Path) -> None:
    """Move complete new files into place, and discard incomplete ones."""
    folder = directory / _NEW_FILES
    if has_pending_extension(directory):
        obsolete = folder / _OBSOLETE
        for name in obsolete.read_text(encoding="utf-8").split() if obsolete.exists() else []:
            (directory / name).unlink(missing_ok=True)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in (_READY, _OBSOLETE):
                target = directory / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    if folder.exists():
        shutil.rmtree(folder)


def extend(
    ledger: Ledger,
    table: Table,
    plan: Mapping[str, Any],
    at_steps: Callable[[int], np.ndarray],
    write_description: Callable[[Path], Any],
) -> None:
    """Renumber the trials in a directory to match a table, and move trials with fewer steps aside.

    Args:
        ledger: The directory's ledger, opened.
        table: The trials of the new sweep.
        plan: The `plan.json` of the old sweep.
        at_steps: Function that returns the identities the table's trials would have with another number of
            steps.
        write_description: Function that writes `config.yaml` and `plan.json` of the new sweep to a folder.

    Raises:
        ConfigError: If the directory holds a trial that the table does not have with any number of steps.
    """
    directory = ledger.directory
    summaries = {block: ledger.read_rows(block) for block in ledger.blocks}
    places = pd.Index(table.identities)
    unknown = pd.concat(summaries.values()).index.difference(places)
    steps = {program["steps"] for program in plan.get("programs", [])}
    if len(unknown) and not (len(steps) == 1 and unknown.isin(at_steps(min(steps))).all()):
        raise ConfigError(
            "dir",
            f"{str(directory)!r} holds {len(unknown):,} trials that are not in this sweep",
            "it takes the same sweep, or one with more seeds, values or steps; give another dir, or continue"
            f" with the sweep that it holds: vsweep resume {shlex.quote(str(directory))}, followed by the"
            " overrides that change",
        )
    folder = directory / _NEW_FILES
    if folder.exists():
        shutil.rmtree(folder)
    (folder / CURVES).mkdir(parents=True)
    (folder / ROWS).mkdir()
    parts, blocks, obsolete = [], [], []
    for block, summary in summaries.items():
        if summary.index.isin(unknown).any():
            obsolete += _copy_shorter(ledger, block, folder / EARLIER / f"steps-{min(steps)}")
            continue
        rows, path = places.get_indexer(summary.index), ledger.paths(block)[0]
        parts.append(summary.set_axis(rows, axis=0))
        curves = table.renumbered(pq.read_table(path), rows)
        path = folder / CURVES / path.name
        write_whole(path, partial(pq.write_table, curves))
        blocks.append(block._replace(curves=checksum(path)))
    if parts:
        summary = pd.concat(parts).sort_index()
        write_whole(folder / TRIALS, lambda part: table.write(part, summary))
    else:
        obsolete.append(TRIALS)
    ledger.write_log(folder / ROWS, blocks)
    # The files and their description change together, for whoever opens the directory next.
    write_description(folder)
    write_text(folder / _OBSOLETE, "\n".join(obsolete))
    write_whole(folder / _READY, lambda part: part.touch())
    finish_extension(directory)


def _copy_shorter(ledger: Ledger, block: Block, target: Path) -> list[str]:
    """Copy a block to the folder of shorter trainings; return the names of its old files."""
    files = [*ledger.paths(block), ledger.directory / STATES / f"{block.stem}.npz"]
    names = [str(path.relative_to(ledger.directory)) for path in files if path.exists()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ledger.directory / name, target / name)
    return names
