"""A directory made ready for a larger sweep: its trials renumbered, shorter trainings laid aside.

All of it is written beside the directory's files, and takes their place once it is whole; a process that
dies in between leaves what the next one finishes, or drops.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from vsweep.errors import ConfigError
from vsweep.store.atomic import checksum, write_whole
from vsweep.store.checkpoints import Checkpoint, read_checkpoint
from vsweep.store.manifest import CURVES, ROWS, Block, Ledger
from vsweep.store.trial_table import Table, read_rows

IdentitiesAtSteps = Callable[[int], np.ndarray]
TRIALS, STATES, EARLIER = "trials.parquet", "states", "earlier"
_BESIDE, _READY, _GONE = ".extended", "ready", "gone"


def has_pending_extension(directory: Path) -> bool:
    """Whether files of two numberings may stand in a directory."""
    return (directory / _BESIDE / _READY).exists()


def finish_extension(directory: Path) -> None:
    """Put what was written whole in its place, and drop what was not."""
    beside = directory / _BESIDE
    if has_pending_extension(directory):
        gone = (beside / _GONE).read_text(encoding="utf-8").split() if (beside / _GONE).exists() else []
        for name in gone:
            (directory / name).unlink(missing_ok=True)
        for path in sorted(beside.rglob("*")):
            if path.is_file() and path.name not in (_READY, _GONE):
                target = directory / path.relative_to(beside)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    if beside.exists():
        shutil.rmtree(beside)


def index_by_row(places: pd.Index, rows: pd.DataFrame) -> pd.DataFrame:
    """A block's summary by the places of its trials. places: the table's identities."""
    return rows.set_axis(places.get_indexer(rows.index), axis=0)


def extend(
    ledger: Ledger,
    table: Table,
    before: Mapping[str, Any],
    at_steps: IdentitiesAtSteps,
    write_description: Callable[[Path], Any],
) -> None:
    """Renumber what a directory holds for a table.

    before: its `plan.json`. at_steps: the identities of the table's trials, had they so many steps. A
    trial that is to have more steps is laid aside. write_description: writes `config.yaml` and `plan.json` of
    the new sweep into a folder.

    Raises `ConfigError` where the directory holds a trial that is in neither way the table's.
    """
    directory = ledger.directory
    rows = {block: read_rows(ledger.path(ROWS, block.part)) for block in ledger.blocks}
    held = pd.Index([identity for each in rows.values() for identity in each.index])
    places = pd.Index(table.identities)
    strange = held.difference(places)
    steps = {program["steps"] for program in before.get("programs", [])}
    if len(strange):
        shorter = at_steps(min(steps)) if len(steps) == 1 else np.asarray([""])
        if not strange.isin(shorter).all():
            raise ConfigError(
                "dir",
                f"{str(directory)!r} holds {len(strange):,} trials that are not in this sweep",
                "it takes the same sweep, or one with more seeds, values or steps; give another dir",
            )
    beside = directory / _BESIDE
    if beside.exists():
        shutil.rmtree(beside)
    gone = _copy_aside(
        ledger, [b for b in rows if rows[b].index.isin(strange).any()], beside, min(steps, default=0)
    )
    kept = [block for block in rows if not rows[block].index.isin(strange).any()]
    summaries = []
    lines = []
    for block in kept:
        summaries.append(index_by_row(places, rows[block]))
        curves = table.renumbered(
            pq.read_table(ledger.path(CURVES, block.part)), summaries[-1].index.to_numpy()
        )
        path = beside / CURVES / block.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, partial(pq.write_table, curves))
        lines.append(block._replace(curves=checksum(path)))
    beside.mkdir(exist_ok=True)
    if not summaries:
        gone.append(TRIALS)
    else:
        write_whole(beside / TRIALS, lambda part: table.write(part, pd.concat(summaries).sort_index()))
    (beside / ROWS).mkdir(exist_ok=True)
    ledger.write_log(beside / ROWS, lines)
    # Whoever opens it next, with whatever config, finds what stands in the files.
    write_description(beside)
    write_whole(beside / _GONE, lambda part: part.write_text("\n".join(gone), encoding="utf-8"))
    write_whole(beside / _READY, lambda part: part.touch())
    finish_extension(directory)


def _copy_aside(ledger: Ledger, blocks: list[Block], beside: Path, steps: int) -> list[str]:
    """Copy blocks to where shorter trainings are kept; returns what is to go from where it was."""
    gone = []
    for block in blocks:
        state = ledger.directory / STATES / f"{Path(block.name).stem}.npz"
        for path in (ledger.path(CURVES, block.part), ledger.path(ROWS, block.part), state):
            if path.exists():
                target = beside / EARLIER / f"steps-{steps}" / path.relative_to(ledger.directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                gone.append(str(path.relative_to(ledger.directory)))
    return gone


def earlier_states(directory: Path, table: Table, at_steps: IdentitiesAtSteps) -> Iterator[Checkpoint]:
    """The states in which shorter trainings of the table's trials ended, where they were kept."""
    for folder in sorted((directory / EARLIER).glob("steps-*")):
        shorter = at_steps(int(folder.name.removeprefix("steps-"))).tolist()
        place = {identity: i for i, identity in enumerate(shorter) if identity}
        for path in sorted((folder / STATES).glob("*.npz")):
            saved = read_checkpoint(path)
            if saved is not None:
                here = np.asarray([place.get(identity, -1) for identity in saved.identities])
                kept = here >= 0
                metrics = {name: values[kept] for name, values in saved.metrics.items()}
                state = [leaf[kept] for leaf in saved.state]
                yield Checkpoint(table.identities[here[kept]], saved.records, metrics, state)
