"""Record which blocks are in the store: a log with a line per block, written last.

A block is two files, `curves/part-N.parquet` and `ledger/part-N.parquet` (a row per trial: its identity and
its summary), and a line of `ledger/log.jsonl` with the checksums of both. A block without a line is not in
the store. A block whose files do not match its line is damaged and is moved to `damaged/`.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vsweep.store.atomic import checksum, sync_directory, write_whole

CURVES = "curves"
ROWS = "ledger"
_DAMAGED = "damaged"
_LOG = "log.jsonl"


class Block(NamedTuple):
    """A line of the log.

    Attributes:
        part: Number of the block's files.
        trials: Number of its trials.
        curves: Checksum of its curves.
        rows: Checksum of its rows.
    """

    part: int
    trials: int
    curves: str
    rows: str

    @property
    def stem(self) -> str:
        """The name of its files, without a suffix."""
        return f"part-{self.part:06d}"


class Ledger:
    """The log of a directory; read once and appended to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.blocks: list[Block] = []
        self._log = directory / ROWS / _LOG

    def open(self) -> list[str]:
        """Read the log, move damaged files to `damaged/` and delete incomplete ones.

        Returns:
            The new names of the damaged files.
        """
        for folder in (CURVES, ROWS):
            (self.directory / folder).mkdir(exist_ok=True)
        lines, invalid = _read(self._log)
        blocks = {block.part: block for block in lines}.values()
        damaged = [block for block in blocks if not self._is_intact(block)]
        self.blocks = [block for block in blocks if block not in damaged]
        if damaged or invalid or len(blocks) < len(lines):
            self.write_log(self.directory / ROWS, self.blocks)
        moved = [self._move_aside(path) for block in damaged for path in self.paths(block) if path.exists()]
        known = {path.name for block in self.blocks for path in self.paths(block)}
        stray = [path for path in self._files() if path.name not in known]
        # A process that dies leaves at most an incomplete last line, and one block without a line.
        complete = {path.name for path in stray if path.suffix != ".part"}
        lines_lost = len(complete) > 1 or any(line.endswith(b"\n") for line in invalid)
        for path in stray:
            if lines_lost and path.name in complete:
                moved.append(self._move_aside(path))
            else:
                path.unlink()
        return moved

    def paths(self, block: Block) -> list[Path]:
        """Return the files of a block: its curves, and its rows."""
        return [self.directory / folder / f"{block.stem}.parquet" for folder in (CURVES, ROWS)]

    def read_rows(self, block: Block) -> pd.DataFrame:
        """Return the summaries of a block's trials, indexed by `identity`."""
        return pq.read_table(self.paths(block)[1]).to_pandas().set_index("identity")

    def intact_rows(self) -> pd.DataFrame:
        """Return the summaries of all trials, indexed by `identity`; change nothing.

        Raises:
            ValueError: If a block is damaged, or there is none.
        """
        blocks, invalid = _read(self._log)
        if invalid or not all(map(self._is_intact, blocks)):
            raise ValueError("a block is damaged")
        return pd.concat(map(self.read_rows, blocks))

    @property
    def next(self) -> Block:
        """The next block, which has no trials yet."""
        return Block(1 + max((block.part for block in self.blocks), default=-1), 0, "", "")

    def add(self, curves: pa.Table, rows: pd.DataFrame) -> None:
        """Write a block's files, then its line.

        Args:
            curves: The curves of the block's trials.
            rows: The trials' summaries, with their `identity`.
        """
        paths = self.paths(self.next)
        tables = curves, pa.Table.from_pandas(rows, preserve_index=False)
        for path, table in zip(paths, tables, strict=True):
            write_whole(path, partial(pq.write_table, table))
        block = Block(self.next.part, len(rows), *map(checksum, paths))
        new = not self._log.exists()
        size = 0 if new else self._log.stat().st_size
        with self._log.open("ab") as file:
            try:
                file.write(_line(block))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # The next line must not be appended to an incomplete one.
                os.truncate(self._log, size)
                raise
        if new:
            sync_directory(self._log.parent)
        self.blocks.append(block)

    @staticmethod
    def write_log(folder: Path, blocks: Sequence[Block]) -> None:
        """Write a complete log to a folder."""
        write_whole(folder / _LOG, lambda path: path.write_bytes(b"".join(map(_line, blocks))))

    def _is_intact(self, block: Block) -> bool:
        try:
            return [checksum(path) for path in self.paths(block)] == [block.curves, block.rows]
        except OSError:
            return False

    def _files(self) -> Iterator[Path]:
        """Yield the files of blocks and their incomplete versions; other files are not the ledger's."""
        for folder in (CURVES, ROWS):
            for pattern in ("part-*.parquet", ".*.part"):
                yield from (self.directory / folder).glob(pattern)

    def _move_aside(self, path: Path) -> str:
        folder = self.directory / _DAMAGED
        folder.mkdir(exist_ok=True)
        number, target = 1, folder / f"{path.parent.name}-{path.name}"
        while target.exists():
            number += 1
            target = folder / f"{path.parent.name}-{path.stem}_{number}{path.suffix}"
        path.rename(target)
        return f"{_DAMAGED}/{target.name}"


def _line(block: Block) -> bytes:
    text = json.dumps(block._asdict())
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _read(log: Path) -> tuple[list[Block], list[bytes]]:
    """Read the blocks of the log's valid lines, and the lines that are not valid."""
    blocks, invalid = [], []
    for line in log.read_bytes().splitlines(keepends=True) if log.exists() else ():
        crc, _, text = line.rstrip(b"\n").partition(b" ")
        if line.endswith(b"\n") and crc == b"%08x" % zlib.crc32(text):
            blocks.append(Block(**json.loads(text)))
        else:
            invalid.append(line)
    return blocks, invalid
