"""Prepare a directory for a larger sweep: renumber its trials and move shorter trainings aside.

All new files are written to a folder inside the directory and replace the old ones when they are complete. If
the process dies in between, the next one finishes the replacement or discards the folder.
"""

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from vsweep.errors import ConfigError
from vsweep.store.files import (
    CURVES,
    EARLIER,
    NEW_FILES,
    OBSOLETE,
    READY,
    ROWS,
    STATES,
    TRIALS,
    Files,
    check_names,
)
from vsweep.store.manifest import Block, Ledger
from vsweep.store.trial_table import Table


def has_pending_extension(files: Files) -> bool:
    """Return whether files numbered for two different sweeps may be in a directory."""
    return files.exists(READY)


def finish_extension(files: Files) -> None:
    """Move complete new files into place, and discard incomplete ones."""
    if has_pending_extension(files):
        obsolete = files.read(OBSOLETE).decode().split() if files.exists(OBSOLETE) else []
        # A directory may come from somebody else, so nothing is deleted before all names are checked.
        check_names(obsolete)
        for name in obsolete:
            files.delete(name)
        _adopt(files.nested(NEW_FILES), files, ("", CURVES, ROWS))
        for steps in files.nested(NEW_FILES).folders(EARLIER):
            earlier = files.nested(NEW_FILES).nested(steps)
            _adopt(earlier, files.nested(steps, make=True), (CURVES, ROWS, STATES))
    files.clear(NEW_FILES)


def _adopt(new: Files, files: Files, folders: tuple[str, ...]) -> None:
    """Move new files in place of old ones."""
    for folder in folders:
        for name in new.names(folder):
            new.move(name, name, files)


def extend(
    ledger: Ledger,
    table: Table,
    plan: Mapping[str, Any],
    at_steps: Callable[[int], np.ndarray],
    write_description: Callable[[Files], Any],
) -> None:
    """Renumber the trials in a directory to match a table, and move trials with fewer steps aside.

    Args:
        ledger: The directory's ledger, opened.
        table: The trials of the new sweep.
        plan: The `plan.json` of the old sweep.
        at_steps: Function that returns the identities the table's trials would have with another number of
            steps.
        write_description: Function that writes `config.yaml` and `plan.json` of the new sweep.

    Raises:
        ConfigError: If the directory holds a trial that the table does not have with any number of steps.
    """
    files = ledger.files
    summaries = {block: ledger.read_rows(block) for block in ledger.blocks}
    places = pd.Index(table.identities)
    unknown = pd.concat(summaries.values()).index.difference(places)
    steps = {program["steps"] for program in plan.get("programs", [])}
    if len(unknown) and not (len(steps) == 1 and unknown.isin(at_steps(min(steps))).all()):
        raise ConfigError(
            "dir",
            f"{str(files.root)!r} holds {len(unknown):,} trials that are not in this sweep",
            "it takes the same sweep, or one with more seeds, splits, values or steps, and never with fewer;"
            " give another dir, or add to the sweep that it holds:"
            f" vsweep resume {shlex.quote(str(files.root))}, followed by the overrides that add to it",
        )
    files.clear(NEW_FILES)
    new = files.nested(NEW_FILES, make=True)
    parts, blocks, obsolete = [], [], []
    for block, summary in summaries.items():
        if summary.index.isin(unknown).any():
            obsolete += _copy_shorter(files, block, new.nested(f"{EARLIER}/steps-{min(steps)}", make=True))
            continue
        rows = places.get_indexer(summary.index)
        parts.append(summary.set_axis(rows, axis=0))
        curves = table.renumbered(ledger.read_curves(block), rows)
        blocks.append(block._replace(curves=new.write(block.names[0], partial(pq.write_table, curves))))
    if parts:
        summary = pd.concat(parts).sort_index()
        new.write(TRIALS, lambda file: table.write(file, summary))
    else:
        obsolete.append(TRIALS)
    ledger.write_log(new, blocks)
    # The files and their description change together, for whoever opens the directory next.
    write_description(new)
    files.write_bytes(OBSOLETE, "\n".join(obsolete).encode())
    files.write_bytes(READY, b"")
    finish_extension(files)


def _copy_shorter(files: Files, block: Block, target: Files) -> list[str]:
    """Copy a block to the folder of shorter trainings; return the names of its old files."""
    names = [name for name in [*block.names, f"{STATES}/{block.stem}.npz"] if files.exists(name)]
    for name in names:
        target.write_bytes(name, files.read(name))
    return names
