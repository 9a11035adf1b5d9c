"""The examples of a sweep that can be drawn, kept in its directory as they came."""

from functools import partial
from pathlib import Path

import pandas as pd

from vsweep.store.atomic import write_whole

_FOLDER = "examples"


def write_examples(directory: Path, number: int, frame: pd.DataFrame) -> None:
    """Keep those of a data set. number: which of the plan's it is."""
    (directory / _FOLDER).mkdir(exist_ok=True)
    write_whole(_path(directory, number), partial(_write, frame))


def _write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False)


def read_examples(directory: Path, number: int = 0) -> pd.DataFrame | None:
    """Those of a data set; None where they were not kept."""
    path = _path(directory, number)
    return pd.read_parquet(path) if path.is_file() else None


def _path(directory: Path, number: int) -> Path:
    return directory / _FOLDER / f"{number}.parquet"
