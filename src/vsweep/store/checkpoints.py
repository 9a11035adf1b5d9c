"""Arrays of trials in npz files: states to go on from, and parameters."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vsweep.store.atomic import write_whole
from vsweep.store.blocks import Params

# What NumPy raises of a file that is not whole.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Checkpoint(NamedTuple):
    """Trials between two segments, as they are in a file: see `Underway`. identities: `(trials,)`."""

    identities: np.ndarray
    records: int
    metrics: Mapping[str, np.ndarray]
    state: Sequence[np.ndarray]


def write_checkpoint(path: Path, saved: Checkpoint) -> None:
    """Write one to a file."""
    arrays = {f"metric/{name}": values for name, values in saved.metrics.items()}
    arrays |= {f"state/{i:04d}": leaf for i, leaf in enumerate(saved.state)}
    arrays |= {"identities": saved.identities.astype("S"), "records": np.asarray(saved.records)}
    _write(path, arrays)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """What a file holds, or None where it is not whole."""
    with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
        metrics = {name.removeprefix("metric/"): file[name] for name in file if name.startswith("metric/")}
        state = [file[name] for name in sorted(file) if name.startswith("state/")]
        return Checkpoint(file["identities"].astype(str), int(file["records"]), metrics, state)
    return None


def write_params(path: Path, params: Sequence[tuple[str, Params]]) -> None:
    """Write the parameters of trials, by identity; those of the same shapes stand together."""
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[tuple[str, Params]]] = {}
    for identity, each in params:
        shapes = tuple((name, leaf.shape) for name, leaf in each.items())
        groups.setdefault(shapes, []).append((identity, each))
    arrays = {}
    for i, (shapes, members) in enumerate(groups.items()):
        arrays[f"{i}/identities"] = np.asarray([identity for identity, _ in members], "S")
        arrays |= {f"{i}/{name}": np.stack([each[name] for _, each in members]) for name, _ in shapes}
    _write(path, arrays)


def read_params(path: Path) -> Iterator[tuple[str, Params]]:
    """The parameters that a file holds, by identity; none where it is not whole."""
    with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
        for key in [name for name in file if name.endswith("/identities")]:
            group = key.partition("/")[0] + "/"
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
