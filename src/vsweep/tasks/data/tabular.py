"""Load the user's tables from files and URLs; no other module of `tasks` opens files."""

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import urlopen

import numpy as np

from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.data.dataset import RawDataset, repeated

_TAKES = "it takes a file's path or URL"
# The number of columns that a message lists, at most.
_MOST_LISTED = 12
_SCHEMES = ("http://", "https://", "ftp://", "file://")


class FetchError(ConfigError):
    """A URL that could not be fetched, but may be another time."""


def csv(*, path: str, target: str, features: Sequence[str] | None) -> RawDataset:
    """Load the user's CSV file, which has a header."""
    return _table(_read(_csv_frame, path), target, features)


def parquet(*, path: str, target: str, features: Sequence[str] | None) -> RawDataset:
    """Load the user's Parquet file."""
    import pandas as pd

    return _table(_read(pd.read_parquet, path), target, features)


def local_copy(path: str) -> Path:
    """Return the file at a path, or a copy of that at a URL, which is fetched once into the user's cache.

    Raises:
        ConfigError: If there is no such file.
        FetchError: If the URL cannot be fetched.
    """
    copy = cached_copy(path)
    if copy is None:
        # These errors mean that no file can have this name, or that the home directory is unknown.
        with suppress(OSError, ValueError, RuntimeError):
            if (file := Path(path).expanduser()).is_file():
                return file
        raise ConfigError("data.path", f"no file at {short_repr(path)}", _TAKES)
    if not copy.exists():
        body = _fetched(path)
        part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(body)
            part.replace(copy)
        except OSError as error:
            got = f"could not keep {short_repr(path)} in {str(copy.parent)!r} ({error})"
            raise ConfigError("data.path", got, "make that folder writable, or give a local file") from error
    return copy


def cached_copy(path: str) -> Path | None:
    """Return the place of a URL's copy in the user's cache; None for the path of a file.

    Raises:
        ConfigError: If the URL is malformed.
    """
    if not path.startswith(_SCHEMES):
        return None
    from platformdirs import user_cache_path

    try:
        # The copy keeps the suffixes, by which pandas recognizes compressed files.
        endings = Path(urlparse(path).path).suffixes[-2:]
    except ValueError as error:
        raise ConfigError("data.path", f"not a URL: {short_repr(path)} ({error})", _TAKES) from error
    suffixes = "".join(suffix for suffix in endings if re.fullmatch(r"\.\w{1,9}", suffix))
    digest = hashlib.sha256(path.encode()).hexdigest()[:32]
    return user_cache_path("vsweep") / "data" / f"{digest}{suffixes}"


def _fetched(url: str) -> bytes:
    """Fetch a URL. Raises `FetchError`, or `ConfigError` for a URL that can never be fetched."""
    try:
        with urlopen(url, timeout=30) as answer:
            return answer.read()
    except (OSError, ValueError, HTTPException) as error:
        local = url.startswith("file://") or isinstance(error, ValueError | InvalidURL)
        kind = ConfigError if local else FetchError
        raise kind("data.path", f"could not fetch {url!r} ({error})", _TAKES) from error


def _csv_frame(file: Path) -> Any:
    """Read a CSV file. Raises `ValueError` where pandas would rename, shift or drop columns."""
    import pandas as pd

    names = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    if (name := repeated(names)) is not None:
        raise ValueError(f"two columns are called {name!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(file, low_memory=False, index_col=False)
        except pd.errors.ParserWarning as error:
            raise ValueError("rows have more columns than the header") from error


def _read(reader: Callable[[Path], Any], path: str) -> Any:
    file = local_copy(path)
    try:
        return reader(file)
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        kind = "a Parquet file" if reader is not _csv_frame else "a CSV file in UTF-8, with a header"
        got = f"cannot read {short_repr(path)} ({lines[0]})"
        raise ConfigError("data.path", got, f"it takes {kind}") from error


def _table(frame: Any, target: str, features: Sequence[str] | None) -> RawDataset:
    """Convert a data frame to a data set."""
    columns = frame.columns = list(map(str, frame.columns))
    names = [name for name in columns if name != target] if features is None else list(features)
    if (name := repeated(columns)) is not None:
        raise ConfigError("data.path", f"two columns are called {name!r}", "it takes distinct names")
    used = [("data.target", target), *(("data.features", name) for name in names)]
    for field, name in used:
        if name not in columns:
            raise ConfigError(field, f"no column {name!r}", suggest(name, columns))
    if (name := repeated(names)) is not None:
        raise ConfigError("data.features", f"{name!r} is named twice", "it takes distinct names")
    if target in names:
        raise ConfigError("data.features", f"{target!r} is the target too", "leave it out")
    if not len(frame):
        raise ConfigError("data.path", "the table has no rows", "it takes at least two rows")
    for field, name in used:
        missing = frame[name].isna().to_numpy()
        if missing.any():
            count = f"{missing.sum()} missing value{'' if missing.sum() == 1 else 's'}"
            where = f"first in row {missing.argmax()}, counted from 0 below the header"
            raise ConfigError(field, f"column {name!r} has {count} ({where})", "fill or drop them")
    if not names:
        raise ConfigError("data.features", f"no column beside {target!r}", "it takes at least one column")
    _check_numbers(frame[names])
    x = np.stack([frame[name].to_numpy(np.float64) for name in names], axis=1)
    return RawDataset(x, frame[target], tuple(names), "data.target", f"column {target!r}")


def _check_numbers(columns: Any) -> None:
    """Check that columns hold numbers. Raises `ConfigError` with the ones that do, if these are few."""
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    usable = [name for name in columns if is_numeric_dtype(columns[name].dtype)]
    text = [name for name in columns if name not in usable]
    if text:
        values = columns[text[0]].map(str)
        row = int(pd.to_numeric(values, errors="coerce").isna().to_numpy().argmax())
        others = f", and likewise {', '.join(map(repr, text[1:]))}" if 1 < len(text) <= _MOST_LISTED else ""
        odd = f"such as {short_repr(values.iloc[row])} in row {row}"
        listed = f", here {', '.join(usable)}" if 0 < len(usable) <= _MOST_LISTED else ""
        got = f"column {text[0]!r} holds text or dates, {odd}{others}"
        raise ConfigError("data.features", got, f"it takes columns of numbers{listed}")
