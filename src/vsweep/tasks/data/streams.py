"""Bound the bytes of the user's files: those that are read, fetched and unpacked."""

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vsweep.errors import ConfigError, short_repr

# The default of data.max_bytes.
MAX_BYTES = 4_000_000_000
# The number of bytes of a value in a table.
VALUE_BYTES = 8
# A table with more columns takes minutes to read, and most of its memory is not that of its values.
MOST_COLUMNS = 100_000
# The number of unpacked bytes that are read at once, and in which a table's first rows have to end.
CHUNK = 1 << 22
# Endings of archives and of compressed files that are not unpacked.
_UNKNOWN = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".7z", ".rar", ".z", ".lz4", ".br")
# The first bytes of compressed data: gzip, bzip2, xz, zip, zstd, 7z, lz4; and the mark of a tar archive.
_PACKED = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"PK\x03\x04",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf",
    b"\x04\x22M\x18",
)
_TAR = b"ustar"


def too_large(name: str, holds: str, most: int) -> ConfigError:
    """Return the error about a file that is larger than `most` bytes.

    Args:
        name: The file's path or URL.
        holds: The part of the message that says what is too large, such as "has 5,000 bytes".
        most: The value of data.max_bytes.
    """
    got = f"{short_repr(name)} {holds}, and at most {most:,} are taken"
    return ConfigError("data.max_bytes", got, "give a larger value if you trust the file")


def check_columns(names: list[str]) -> None:
    """Raise `ValueError` for a table of more columns than can be read in a reasonable time."""
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"it has {len(names):,} columns, and at most {MOST_COLUMNS:,} are read")


@contextmanager
def opened(file: Path, name: str, most: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most `most` bytes.

    Args:
        file: The file.
        name: Its path or URL, for messages.
        most: The value of data.max_bytes.

    Raises:
        ConfigError: If the file is larger.
        ValueError: If it is empty, as the files of `/proc` seem to be, whose reads may never end.
    """
    with file.open("rb", buffering=1 << 17) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise too_large(name, f"has {size:,} bytes", most)
        if not size:
            raise ValueError("it is empty, or not a file on a disk")
        yield stream


class CountedStream(io.RawIOBase):
    """A stream that ends with an error after `most` bytes, or at the row with which its table is larger."""

    def __init__(self, source: Any, name: str, most: int) -> None:
        """Take the stream, the name of its file for messages, and the value of data.max_bytes."""
        self._source, self._name, self._most = source, name, most
        self._bytes = self._lines = self._columns = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer. Raises `ConfigError` beyond the bound."""
        view, count = memoryview(buffer), 0
        while count < len(view) and (more := self._source.readinto(view[count:])):
            count += more
        self._bytes += count
        if self._bytes > self._most:
            raise too_large(self._name, f"holds {self._bytes:,} bytes or more", self._most)
        chunk = np.frombuffer(view[:count], np.uint8)
        # A single carriage return ends a line too.
        self._lines += max(int(np.count_nonzero(chunk == end)) for end in b"\n\r")
        self.count_values(self._columns)
        return count

    def count_values(self, columns: int) -> None:
        """Count the values of all lines from here on: short lines are filled up to the number of columns."""
        self._columns = columns
        size = self._lines * columns * VALUE_BYTES
        if size > self._most:
            holds = f"holds {self._lines:,} rows or more of {columns:,} columns ({VALUE_BYTES} bytes a value)"
            raise too_large(self._name, holds, self._most)


def _only_member(stream: BinaryIO) -> Any:
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len(members) != 1:
        raise ValueError(f"the archive holds {len(members)} files, and one is taken")
    return archive.open(members[0])


def _zstd(stream: BinaryIO) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")


_UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zip": _only_member,
    ".zst": _zstd,
}


@contextmanager
def unpacked(file: Path, name: str, most: int) -> Iterator[tuple["io.BufferedReader[Any]", CountedStream]]:
    """Open a file as `opened` does, and unpack it by its ending.

    Returns:
        The stream to read from, and the one below it that counts.

    Raises:
        ConfigError: If the file, or what it unpacks to, is larger than `most` bytes.
        ValueError: If it is empty, an archive, or compressed in another way.
    """
    *inner, ending = ["", "", *map(str.lower, file.suffixes)][-2:]
    unpack = _UNPACKERS.get(ending)
    takes = f"it takes a file as it is, or as {' '.join(_UNPACKERS)}"
    for kind in [ending, *(inner if unpack else ())]:
        if kind in _UNKNOWN:
            raise ValueError(f"{kind} is not unpacked; {takes}")
    with ExitStack() as stack:
        source: Any = stack.enter_context(opened(file, name, most))
        if unpack is not None:
            source = stack.enter_context(unpack(source))
        counted = stack.enter_context(CountedStream(source, name, most))
        stream: io.BufferedReader[Any] = stack.enter_context(io.BufferedReader(counted, CHUNK))
        head = stream.peek()
        if head.startswith(_PACKED) or head[257:262] == _TAR:
            raise ValueError(f"it holds an archive, or compressed data without such an ending; {takes}")
        yield stream, counted
