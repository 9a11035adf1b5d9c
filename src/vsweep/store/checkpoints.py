"""Read and write npz files of training states and of parameters."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vsweep.store.atomic import write_whole
from vsweep.store.blocks import Params

# NumPy raises one of these for an incomplete file.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Checkpoint(NamedTuple):
    """A stored `PartialBlock`, which names its trials by their identities, text `(trials,)`."""

    identities: np.ndarray
    records: int
    metrics: Mapping[str, np.ndarray]
    state: Sequence[np.ndarray]

    def select(self, kept: np.ndarray) -> "Checkpoint":
        """Return the checkpoint of some of the trials; kept: bool `(trials,)`."""
        metrics = {name: values[kept] for name, values in self.metrics.items()}
        return Checkpoint(self.identities[kept], self.records, metrics, [leaf[kept] for leaf in self.state])


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to a file."""
    arrays = {f"metric/{name}": values for name, values in checkpoint.metrics.items()}
    arrays |= {f"state/{i:04d}": leaf for i, leaf in enumerate(checkpoint.state)}
    arrays["identities"] = checkpoint.identities.astype("S")
    arrays["records"] = np.asarray(checkpoint.records)
    _write(path, arrays)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint in a file, or None if the file is damaged."""
    with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
        metrics = {name.removeprefix("metric/"): file[name] for name in file if name.startswith("metric/")}
        state = [file[name] for name in sorted(file) if name.startswith("state/")]
        return Checkpoint(file["identities"].astype(str), int(file["records"]), metrics, state)
    return None


def write_params(path: Path, params: Sequence[tuple[str, Params]]) -> None:
    """Write the parameters of trials, given with their identities.

    Trials whose parameters have the same shapes are stacked in one array per parameter.
    """
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[tuple[str, Params]]] = {}
    for identity, leaves in params:
        shapes = tuple((name, leaf.shape) for name, leaf in leaves.items())
        groups.setdefault(shapes, []).append((identity, leaves))
    arrays = {}
    for i, (shapes, members) in enumerate(groups.items()):
        arrays[f"{i}/identities"] = np.asarray([identity for identity, _ in members], "S")
        arrays |= {f"{i}/{name}": np.stack([leaves[name] for _, leaves in members]) for name, _ in shapes}
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
