"""Read and write npz files of training states and of parameters."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from vsweep.store.atomic import write_whole
from vsweep.store.blocks import Params, PartialBlock

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
