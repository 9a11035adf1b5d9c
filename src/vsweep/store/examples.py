"""Keep the examples that can be drawn, those of at most two features, in the sweep's directory."""

from pathlib import Path

import pandas as pd

from vsweep.store.atomic import write_whole


def write_examples(directory: Path, number: int, frame: pd.DataFrame) -> None:
    """Write the examples of a data set; number: its index in the plan."""
    path = _path(directory, number)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda part: frame.to_parquet(part, index=False))


def read_examples(directory: Path, number: int = 0) -> pd.DataFrame | None:
    """Read the examples of a data set, or return None if they were not kept."""
    path = _path(directory, number)
    return pd.read_parquet(path) if path.is_file() else None


def _path(directory: Path, number: int) -> Path:
    return directory / "examples" / f"{number}.parquet"
