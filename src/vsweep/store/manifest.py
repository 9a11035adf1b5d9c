"""Record which blocks are in the store: a log with a line per block, written last.

A block is two files, `curves/part-N.parquet` and `ledger/part-N.parquet` (a row per trial: its identity and
its summary), and a line of `ledger/log.jsonl` with the checksums of both. A block without a line is not in
the store. A block whose files do not match its line is damaged and is moved to `damaged/`.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vsweep.store.atomic import checksum, sync_directory, write_whole

CURVES = "curves"
ROWS = "ledger"
_DAMAGED = "damaged"
_LOG = "log.jsonl"
# A process that dies can leave the last line incomplete ("torn"); any other bad line is damage.
_LogState = Literal["whole", "torn", "damaged"]


def _stem(part: int) -> str:
    return f"part-{part:06d}"


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
    def name(self) -> str:
        """The name of both of its files."""
        return f"{_stem(self.part)}.parquet"


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
        lines, state = _read(self._log)
        blocks = {block.part: block for block in lines}.values()
        damaged = [block for block in blocks if not self._is_intact(block)]
        self.blocks = [block for block in blocks if block not in damaged]
        if damaged or state != "whole" or len(blocks) < len(lines):
            self.write_log(self.directory / ROWS, self.blocks)
        files = [self.path(folder, block.part) for block in damaged for folder in (CURVES, ROWS)]
        moved = [self._move_aside(path) for path in files if path.exists()]
        known = {block.name for block in self.blocks}
        stray = [path for path in self._files() if path.name not in known]
        # An intact log lacks at most one block, the one that was being written.
        complete = {path.name for path in stray if path.suffix != ".part"}
        lines_lost = state == "damaged" or len(complete) > 1
        for path in stray:
            if lines_lost and path.name in complete:
                moved.append(self._move_aside(path))
            else:
                path.unlink()
        return moved

    def holds(self, trials: int) -> bool:
        """Return whether the log's blocks are intact and have this many trials; change nothing."""
        blocks, state = _read(self._log)
        total = sum(block.trials for block in blocks)
        return state == "whole" and total == trials and all(map(self._is_intact, blocks))

    def rows(self) -> list[Path]:
        """Return the files with the rows of the log's blocks."""
        return [self.path(ROWS, block.part) for block in _read(self._log)[0]]

    def path(self, folder: str, part: int) -> Path:
        """Return the path of a block's file in a folder, `CURVES` or `ROWS`."""
        return self.directory / folder / f"{_stem(part)}.parquet"

    @property
    def next_stem(self) -> str:
        """The name of the next block's files, without a suffix."""
        return _stem(self._next)

    @property
    def _next(self) -> int:
        return 1 + max((block.part for block in self.blocks), default=-1)

    def add(
        self, trials: int, write_curves: Callable[[Path], Any], write_rows: Callable[[Path], Any]
    ) -> None:
        """Write a block's files, then its line."""
        paths = [self.path(folder, self._next) for folder in (CURVES, ROWS)]
        for path, write in zip(paths, (write_curves, write_rows), strict=True):
            write_whole(path, write)
        block = Block(self._next, trials, *map(checksum, paths))
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
            sums = [checksum(self.path(folder, block.part)) for folder in (CURVES, ROWS)]
        except OSError:
            return False
        return sums == [block.curves, block.rows]

    def _files(self) -> Iterator[Path]:
        """Yield the files of blocks and their incomplete versions; other files are not the ledger's."""
        for folder in (CURVES, ROWS):
            for pattern in ("part-*.parquet", ".*.part"):
                yield from (self.directory / folder).glob(pattern)

    def _move_aside(self, path: Path) -> str:
        folder = self.directory / _DAMAGED
        folder.mkdir(exist_ok=True)
        target = _unused(folder / f"{path.parent.name}-{path.name}")
        path.rename(target)
        return f"{_DAMAGED}/{target.name}"


def _unused(path: Path) -> Path:
    """Return the path, with a number appended if it exists."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate


def _line(block: Block) -> bytes:
    text = json.dumps(block._asdict())
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _read(log: Path) -> tuple[list[Block], _LogState]:
    """Read the blocks of the log's valid lines."""
    try:
        lines = log.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return [], "whole"
    blocks = []
    for line in lines:
        crc, _, text = line.rstrip(b"\n").partition(b" ")
        if line.endswith(b"\n") and crc == b"%08x" % zlib.crc32(text):
            blocks.append(Block(**json.loads(text)))
    invalid = len(lines) - len(blocks)
    torn = invalid == 1 and not lines[-1].endswith(b"\n")
    return blocks, "torn" if torn else "damaged" if invalid else "whole"
