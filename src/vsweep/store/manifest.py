"""Which trials are in the store: a line of a log for every block, written last.

A block is two files, `curves/part-N.parquet` and `ledger/part-N.parquet` (a row per trial: its identity and
its summary), and then a line of `ledger/log.jsonl` with the checksums of both. Without its line a block is
not there; what does not fit its line is damaged, and is set aside.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from vsweep.store.atomic import checksum, sync_directory, write_whole

CURVES, ROWS, ASIDE = "curves", "ledger", "damaged"
_LOG = "log.jsonl"


class Block(NamedTuple):
    """A line of the log. part: the number of its files. trials: how many. curves, rows: checksums."""

    part: int
    trials: int
    curves: str
    rows: str

    @property
    def name(self) -> str:
        """Of both of its files."""
        return f"part-{self.part:06d}.parquet"


class Ledger:
    """The log of a directory, read once and added to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.blocks: list[Block] = []

    def open(self) -> list[str]:
        """Read the log, and leave the files that it speaks of: whole, and no others.

        Returns the names of what was damaged, now in `damaged/`.
        """
        for name in (CURVES, ROWS):
            (self.directory / name).mkdir(exist_ok=True)
        lines, state = _read(self.directory / ROWS / _LOG)
        kept = {block.part: block for block in lines}
        damaged = [block for block in kept.values() if not self._fits(block)]
        self.blocks = [block for block in kept.values() if block not in damaged]
        if damaged or state is not _Log.WHOLE or len(kept) < len(lines):
            self.write_log(self.directory / ROWS, self.blocks)
        aside = [name for block in damaged for name in self._set_aside(block)]
        known = {block.name for block in self.blocks}
        stray = [p for p in self._files() if p.name not in known]
        # A block that was being written is the only one that a sound log does not know.
        whole = {path.name for path in stray if path.suffix != ".part"}
        lost = state is _Log.DAMAGED or len(whole) > 1
        for path in stray:
            if lost and path.name in whole:
                aside.append(self._move_aside(path))
            else:
                path.unlink()
        return aside

    def holds(self, trials: int) -> bool:
        """Whether the blocks of the log are whole, and have so many trials; changes nothing."""
        blocks, state = _read(self.directory / ROWS / _LOG)
        return (
            state is _Log.WHOLE
            and sum(block.trials for block in blocks) == trials
            and all(map(self._fits, blocks))
        )

    def rows(self) -> list[Path]:
        """The files of the log's blocks that hold the rows of their trials."""
        return [self.path(ROWS, block.part) for block in _read(self.directory / ROWS / _LOG)[0]]

    def path(self, folder: str, part: int) -> Path:
        """Where a block's file is."""
        return self.directory / folder / Block(part, 0, "", "").name

    @property
    def next_stem(self) -> str:
        """What the files of the next block are called, without their suffix."""
        return f"part-{self._next:06d}"

    @property
    def _next(self) -> int:
        return 1 + max((block.part for block in self.blocks), default=-1)

    def add(
        self, trials: int, write_curves: Callable[[Path], Any], write_rows: Callable[[Path], Any]
    ) -> None:
        """Write a block's files, then its line."""
        part = self._next
        sums = []
        for folder, write in ((CURVES, write_curves), (ROWS, write_rows)):
            path = self.path(folder, part)
            write_whole(path, write)
            sums.append(checksum(path))
        block = Block(part, trials, *sums)
        log = self.directory / ROWS / _LOG
        new = not log.exists()
        before = 0 if new else log.stat().st_size
        with log.open("ab") as file:
            try:
                file.write(_line(block))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # No half a line, to which a later one would be added.
                os.truncate(log, before)
                raise
        if new:
            sync_directory(log.parent)
        self.blocks.append(block)

    @staticmethod
    def write_log(folder: Path, blocks: Sequence[Block]) -> None:
        """Write a whole log."""
        text = b"".join(map(_line, blocks))
        write_whole(folder / _LOG, lambda path: path.write_bytes(text))

    def _fits(self, block: Block) -> bool:
        pairs = ((CURVES, block.curves), (ROWS, block.rows))
        try:
            return all(checksum(self.path(folder, block.part)) == said for folder, said in pairs)
        except OSError:
            return False

    def _files(self) -> Iterator[Path]:
        """The files of blocks, and what is left of writing them; what others put there is theirs."""
        for folder in (CURVES, ROWS):
            for pattern in ("part-*.parquet", ".*.part"):
                yield from (self.directory / folder).glob(pattern)

    def _set_aside(self, block: Block) -> Iterator[str]:
        for folder in (CURVES, ROWS):
            path = self.path(folder, block.part)
            if path.exists():
                yield self._move_aside(path)

    def _move_aside(self, path: Path) -> str:
        aside = self.directory / ASIDE
        aside.mkdir(exist_ok=True)
        target = _free(aside / f"{path.parent.name}-{path.name}")
        path.rename(target)
        return f"{ASIDE}/{target.name}"


def _free(path: Path) -> Path:
    """The path, or one like it that is not taken."""
    i, found = 1, path
    while found.exists():
        i += 1
        found = path.with_name(f"{path.stem}_{i}{path.suffix}")
    return found


def _line(block: Block) -> bytes:
    text = json.dumps(block._asdict())
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


class _Log(Enum):
    """How a log is: a process that dies may leave its last line in half, and no more."""

    WHOLE = "whole"
    TORN = "torn"
    DAMAGED = "damaged"


def _read(log: Path) -> tuple[list[Block], _Log]:
    """The blocks of the lines that are whole."""
    try:
        lines = log.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return [], _Log.WHOLE
    blocks = []
    for line in lines:
        said, _, text = line.rstrip(b"\n").partition(b" ")
        if line.endswith(b"\n") and said == b"%08x" % zlib.crc32(text):
            blocks.append(Block(**json.loads(text)))
    bad = len(lines) - len(blocks)
    torn = bad == 1 and not lines[-1].endswith(b"\n")
    return blocks, _Log.WHOLE if not bad else _Log.TORN if torn else _Log.DAMAGED
