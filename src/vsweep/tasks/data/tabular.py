"""Load the user's tables from files and URLs; no other module of `tasks` asks for files."""

import csv as csv_rows
import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import HTTPRedirectHandler, build_opener, url2pathname

import numpy as np

from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.tasks.data.dataset import RawDataset, repeated
from vsweep.tasks.data.parquet_file import parquet_frame
from vsweep.tasks.data.streams import CHUNK, MAX_BYTES, check_columns, opened, too_large, unpacked

_TAKES = "it takes a file's path or URL"
# The number of columns that a message lists, at most.
_MOST_LISTED = 12
_FILE = "file://"
_SCHEMES = ("http://", "https://", "ftp://", _FILE)


class FetchError(ConfigError):
    """A URL that could not be fetched, but may be another time."""


def csv(*, path: str, target: str, features: Sequence[str] | None, max_bytes: int = MAX_BYTES) -> RawDataset:
    """Load the user's CSV file, which has a header."""
    return _table(_read(_csv_frame, path, max_bytes), target, features)


def parquet(
    *, path: str, target: str, features: Sequence[str] | None, max_bytes: int = MAX_BYTES
) -> RawDataset:
    """Load the user's Parquet file."""
    return _table(_read(_parquet_frame, path, max_bytes), target, features)


def local_copy(path: str, most: int = MAX_BYTES) -> Path:
    """Return the file at a path, or a copy of that at a URL, which is fetched once into the user's cache.

    Args:
        path: A path or a URL.
        most: The largest number of bytes to fetch.

    Raises:
        ConfigError: If there is no such file, or that at the URL is larger.
        FetchError: If the URL cannot be fetched.
    """
    copy = cached_copy(path)
    if copy is None:
        return _regular_file(path, path)
    if path.startswith(_FILE):
        host, file = urlparse(path).netloc, url2pathname(urlparse(path).path)
        # No file of this machine has a name with a null character.
        return _regular_file(file if host in ("", "localhost") else "\0", path)
    if not copy.exists():
        with _fetched(path, most) as chunks:
            _keep(chunks, copy, path)
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
        # The copy keeps the suffixes, by which compressed files are recognized.
        endings = Path(urlparse(path).path).suffixes[-2:]
    except ValueError as error:
        raise ConfigError("data.path", f"not a URL: {short_repr(path)} ({error})", _TAKES) from error
    suffixes = "".join(suffix for suffix in endings if re.fullmatch(r"\.\w{1,9}", suffix))
    digest = hashlib.sha256(path.encode()).hexdigest()[:32]
    return user_cache_path("vsweep") / "data" / f"{digest}{suffixes}"


def _regular_file(path: str, name: str) -> Path:
    """Return the regular file at a path. Raises `ConfigError` if there is none."""
    kind = ""
    # These errors mean that no file can have this name, or that the home directory is unknown.
    with suppress(OSError, ValueError, RuntimeError):
        if (file := Path(path).expanduser()).is_file():
            return file
        if file.exists():
            kind = f", but a {'directory' if file.is_dir() else 'pipe or a device'}"
    raise ConfigError("data.path", f"no file at {short_repr(name)}{kind}", _TAKES)


class _Redirects(HTTPRedirectHandler):
    """Follows the redirects of a server to the web, and to no file of this machine or its network."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request of the new URL. Raises `HTTPError` for a URL of another scheme."""
        if not newurl.lower().startswith(("http://", "https://")):
            raise HTTPError(req.full_url, code, f"a redirect to {short_repr(newurl)}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _fetched(url: str, most: int) -> Iterator[Iterator[bytes]]:
    """Fetch a URL, chunk by chunk.

    Raises:
        FetchError: If it cannot be fetched whole.
        ConfigError: If it can never be fetched, or holds more than `most` bytes.
    """

    def explained(error: Exception) -> ConfigError:
        kind = ConfigError if isinstance(error, ValueError | InvalidURL) else FetchError
        return kind("data.path", f"could not fetch {short_repr(url)} ({error})", _TAKES)

    def chunks(answer: Any, size: int | None) -> Iterator[bytes]:
        count = 0
        try:
            while chunk := answer.read(CHUNK):
                count += len(chunk)
                if count > most:
                    raise too_large(url, f"sends {count:,} bytes or more", most)
                yield chunk
        except (OSError, HTTPException) as error:
            raise explained(error) from error
        if size is not None and count < size:
            got = f"could not fetch {short_repr(url)} (it ended after {count:,} of {size:,} bytes)"
            raise FetchError("data.path", got, _TAKES)

    try:
        answer = build_opener(_Redirects).open(url, timeout=30)
    except (OSError, ValueError, HTTPException) as error:
        raise explained(error) from error
    with answer:
        # An answer in chunks has no length.
        size = getattr(answer, "length", None)
        if size is not None and size > most:
            raise too_large(url, f"has {size:,} bytes", most)
        yield chunks(answer, size)


def _keep(chunks: Iterator[bytes], copy: Path, url: str) -> None:
    """Write a file that appears whole or not at all. Raises `ConfigError` if it cannot be written."""
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(chunks)
        part.replace(copy)
    except OSError as error:
        got = f"could not keep {short_repr(url)} in {str(copy.parent)!r} ({error})"
        raise ConfigError("data.path", got, "make that folder writable, or give a local file") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _csv_frame(file: Path, name: str, most: int) -> Any:
    """Read a CSV file. Raises `ValueError` where pandas would rename, shift or drop columns."""
    import pandas as pd

    with unpacked(file, name, most) as (stream, counted):
        names, first = _first_rows(stream.peek())
        check_columns(names)
        if (column := repeated(names)) is not None:
            raise ValueError(f"two columns are called {column!r}")
        counted.count_values(len(names))
        try:
            if len(first) > len(names):
                raise pd.errors.ParserWarning
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return pd.read_csv(stream, low_memory=False, index_col=False)
        except pd.errors.ParserWarning as error:
            raise ValueError("rows have more columns than the header") from error


def _first_rows(head: bytes) -> tuple[list[str], list[str]]:
    """Return the header and the first row of a CSV file, from its first bytes.

    pandas fills up all rows to the length of either, so both are counted before it reads them.
    """
    text = io.TextIOWrapper(io.BytesIO(head), "utf-8-sig", errors="replace", newline="")
    limit = csv_rows.field_size_limit(len(head) + 1)
    try:
        # pandas leaves out lines that are blank.
        rows = (row for row in csv_rows.reader(text) if len(row) > 1 or "".join(row).strip())
        names, first = next(rows, []), next(rows, [])
    finally:
        csv_rows.field_size_limit(limit)
    if len(head) >= CHUNK and not text.read(1):
        check_columns(names)
        raise ValueError(f"its first two rows take more than {CHUNK:,} bytes")
    return names, first


def _parquet_frame(file: Path, name: str, most: int) -> Any:
    with opened(file, name, most) as stream:
        return parquet_frame(stream, name, most)


def _read(reader: Callable[[Path, str, int], Any], path: str, most: int) -> Any:
    file = local_copy(path, most)
    try:
        return reader(file, path, most)
    except ConfigError:
        raise
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
    known = set(columns)
    for field, name in used:
        if name not in known:
            takes = suggest(name, columns)
            many = f"it takes one of {len(columns):,} columns, from {short_repr(columns[0])} on"
            raise ConfigError(field, f"no column {short_repr(name)}", takes if len(takes) < 1000 else many)
    if (name := repeated(names)) is not None:
        raise ConfigError("data.features", f"{name!r} is named twice", "it takes distinct names")
    if target in names:
        raise ConfigError("data.features", f"{target!r} is the target too", "leave it out")
    if not len(frame):
        raise ConfigError("data.path", "the table has no rows", "it takes at least two rows")
    gaps = dict(zip(columns, frame.isna().any().to_numpy(), strict=True))
    for field, name in used:
        if gaps[name]:
            missing = frame[name].isna().to_numpy()
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

    numeric = {name: is_numeric_dtype(kind) for name, kind in columns.dtypes.items()}
    usable, text = ([name for name in numeric if numeric[name] is is_number] for is_number in (True, False))
    if text:
        values = columns[text[0]].map(str)
        row = int(pd.to_numeric(values, errors="coerce").isna().to_numpy().argmax())
        others = f", and likewise {', '.join(map(repr, text[1:]))}" if 1 < len(text) <= _MOST_LISTED else ""
        odd = f"such as {short_repr(values.iloc[row])} in row {row}"
        listed = f", here {', '.join(usable)}" if 0 < len(usable) <= _MOST_LISTED else ""
        got = f"column {text[0]!r} holds text or dates, {odd}{others}"
        raise ConfigError("data.features", got, f"it takes columns of numbers{listed}")
