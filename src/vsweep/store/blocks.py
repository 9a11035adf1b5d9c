"""Blocks of trials that pass from the devices to the store, and the npz files of unfinished ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import NamedTuple

import numpy as np

from vsweep.errors import DamagedError
from vsweep.store.files import Files

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
        parts: The leave-out values of metrics, floating `(trials, groups)` each.
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
    parts: Mapping[str, np.ndarray] = {}
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


def write_checkpoint(files: Files, name: str, block: PartialBlock, identities: np.ndarray) -> None:
    """Write a block between two segments; identities: those of all trials of the sweep, by their rows."""
    arrays = {f"metric/{metric}": values for metric, values in block.metrics.items()}
    arrays |= {f"state/{i:04d}": leaf for i, leaf in enumerate(block.state)}
    arrays["identities"] = identities[block.rows].astype("S")
    arrays["records"] = np.asarray(block.records)
    _write(files, name, arrays)


def read_checkpoints(files: Files, folder: str, identities: np.ndarray) -> Iterator[PartialBlock]:
    """Yield the blocks in a folder's files, without damaged files and without unknown trials.

    Args:
        files: The files of the directory.
        folder: The folder, which need not exist.
        identities: Text `(trials,)`, the identities that the files may hold, by the trials' rows.
    """
    rows = {identity: row for row, identity in enumerate(identities.tolist()) if identity}
    for name in files.names(folder):
        # The trials of a damaged file are trained from their start.
        with suppress(DamagedError):
            arrays = _read(files, name)
            with files.parsing(name):
                places = np.asarray([rows.get(one, -1) for one in arrays["identities"].astype(str)])
                metrics = {
                    key.removeprefix("metric/"): arrays[key] for key in arrays if key.startswith("metric/")
                }
                state = [arrays[key] for key in sorted(arrays) if key.startswith("state/")]
                block = PartialBlock(places, int(arrays["records"]), metrics, state).select(places >= 0)
            yield block


def write_params(files: Files, name: str, params: Sequence[tuple[str, Params]]) -> None:
    """Write the parameters of trials, given with their identities.

    Trials whose parameters have the same shapes and dtypes are stacked in one array per parameter.
    """
    groups: dict[tuple[tuple[str, tuple[int, ...], np.dtype], ...], list[tuple[str, Params]]] = {}
    for identity, leaves in params:
        shapes = tuple((key, leaf.shape, leaf.dtype) for key, leaf in leaves.items())
        groups.setdefault(shapes, []).append((identity, leaves))
    arrays = {}
    for i, (shapes, members) in enumerate(groups.items()):
        arrays[f"{i}/identities"] = np.asarray([identity for identity, _ in members], "S")
        arrays |= {f"{i}/{key}": np.stack([leaves[key] for _, leaves in members]) for key, *_ in shapes}
    _write(files, name, arrays)


def read_params(files: Files, name: str) -> dict[str, Params]:
    """Return the parameters in a file by the identity of their trial.

    Raises:
        DamagedError: If the file is damaged.
    """
    arrays, params = _read(files, name), {}
    with files.parsing(name):
        for key in [key for key in arrays if key.endswith("/identities")]:
            group = key.removesuffix("identities")
            leaves = {k.removeprefix(group): arrays[k] for k in arrays if k.startswith(group) and k != key}
            for i, identity in enumerate(arrays[key].astype(str).tolist()):
                params[identity] = {leaf: values[i] for leaf, values in leaves.items()}
    return params


def _write(files: Files, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    files.write(name, lambda file: np.savez(file, allow_pickle=False, **arrays))


def _read(files: Files, name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name. Raises `DamagedError`."""
    content = files.read(name)
    if not content.startswith(b"PK"):
        # NumPy would take it for a pickle, and advise to load it all the same.
        raise files.damaged(name, "it is no file of arrays")
    with files.parsing(name), np.load(BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
