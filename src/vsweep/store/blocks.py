"""Blocks of trials that pass from the devices to the store, and the npz files of unfinished ones."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vsweep.store.atomic import write_whole

Params = dict[str, np.ndarray]


def empty_params(places: np.ndarray) -> list[Params]:
    """Return no parameters for each trial."""
    return [{} for _ in places]


class TrainedBlock(NamedTuple):
    """Finished trials.

    Attributes:
        rows: Int64 `(trials,)`, rows of the table of trials.
        steps: Int64 `(records,)`.
        metrics: Floating `(trials, records)` for each metric.
        diverged_at: Int32 `(trials,)`, -1 for a trial that did not diverge.
        final: Metrics after the last step alone, as those on the test examples, floating `(trials,)` each.
        columns: Further columns of the table of trials, numbers or text `(trials,)` each.
        params: Function that returns the parameters of the trials at some places in `rows`, as arrays of
            their true shapes by name.
        state: The state from which training can continue, or None if it is not kept.
    """

    rows: np.ndarray
    steps: np.ndarray
    metrics: Mapping[str, np.ndarray]
    diverged_at: np.ndarray
    final: Mapping[str, np.ndarray] = {}
    columns: Mapping[str, np.ndarray] = {}
    params: Callable[[np.ndarray], list[Params]] = empty_params
    state: "PartialBlock | None" = None


class PartialBlock(NamedTuple):
    """Trials between two segments.

    Attributes:
        rows: Int64 `(trials,)`, rows of the table of trials.
        records: The number of records made so far.
        metrics: Floating `(trials, records)` for each metric.
        state: Leaves of the training state, `(trials, ...)` each.
    """

    rows: np.ndarray
    records: int
    metrics: Mapping[str, np.ndarray]
    state: Sequence[np.ndarray]

    def select(self, mask: np.ndarray) -> "PartialBlock":
        """Return some of the trials; mask: bool `(trials,)`."""
        metrics = {name: values[mask] for name, values in self.metrics.items()}
        return PartialBlock(self.rows[mask], self.records, metrics, [leaf[mask] for leaf in self.state])


# NumPy raises one of these for an incomplete file.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def write_checkpoint(path: Path, block: PartialBlock, identities: np.ndarray) -> None:
    """Write a block between two segments; identities: those of all trials of the sweep, by their rows."""
    arrays = {f"metric/{name}": values for name, values in block.metrics.items()}
    arrays |= {f"state/{i:04d}": leaf for i, leaf in enumerate(block.state)}
    arrays["identities"] = identities[block.rows].astype("S")
    arrays["records"] = np.asarray(block.records)
    _write(path, arrays)


def read_checkpoints(folder: Path, identities: np.ndarray) -> Iterator[PartialBlock]:
    """Yield the blocks in a folder's files, without damaged files and without unknown trials.

    Args:
        folder: The folder, which need not exist.
        identities: Text `(trials,)`, the identities that the files may hold, by the trials' rows.
    """
    rows = {identity: row for row, identity in enumerate(identities.tolist()) if identity}
    for path in sorted(folder.glob("*.npz")):
        with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
            places = np.asarray([rows.get(identity, -1) for identity in file["identities"].astype(str)])
            metrics = {
                name.removeprefix("metric/"): file[name] for name in file if name.startswith("metric/")
            }
            state = [file[name] for name in sorted(file) if name.startswith("state/")]
            yield PartialBlock(places, int(file["records"]), metrics, state).select(places >= 0)


def write_params(path: Path, params: Sequence[tuple[str, Params]]) -> None:
    """Write the parameters of trials, given with their identities.

    Trials whose parameters have the same shapes and dtypes are stacked in one array per parameter.
    """
    groups: dict[tuple[tuple[str, tuple[int, ...], np.dtype], ...], list[tuple[str, Params]]] = {}
    for identity, leaves in params:
        shapes = tuple((name, leaf.shape, leaf.dtype) for name, leaf in leaves.items())
        groups.setdefault(shapes, []).append((identity, leaves))
    arrays = {}
    for i, (shapes, members) in enumerate(groups.items()):
        arrays[f"{i}/identities"] = np.asarray([identity for identity, _ in members], "S")
        arrays |= {f"{i}/{name}": np.stack([leaves[name] for _, leaves in members]) for name, *_ in shapes}
    _write(path, arrays)


def read_params(path: Path) -> Iterator[tuple[str, Params]]:
    """Yield each identity in a file and its parameters; nothing if the file is damaged."""
    with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
        for key in [name for name in file if name.endswith("/identities")]:
            group = key.removesuffix("identities")
            names = [name for name in file if name.startswith(group) and name != key]
            leaves = {name.removeprefix(group): file[name] for name in names}
            for i, identity in enumerate(file[key].astype(str).tolist()):
                yield identity, {name: leaf[i] for name, leaf in leaves.items()}


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    path.parent.mkdir(exist_ok=True)
    write_whole(path, write)
