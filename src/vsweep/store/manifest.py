"""Record which blocks are in the store: a log with a line per block, written last.

A block is two files, `curves/part-N.parquet` and `ledger/part-N.parquet` (a row per trial: its identity and
its summary), and a line of `ledger/log.jsonl` with the checksums of both. A block without a line is not in
the store. A block whose files do not match its line is damaged and is moved to `damaged/`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vsweep.errors import DamagedError
from vsweep.store.atomic import decode_lines, encode_line
from vsweep.store.files import CURVES, DAMAGED, PARAMS, ROWS, STATES, Files
from vsweep.store.trial_table import as_arrow, as_frame

_LOG = f"{ROWS}/log.jsonl"
# The bytes at the end of a file of curves in which its footer lies, unless it has hundreds of columns.
_END = 2**16


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

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self | None:
        """Return the block of a line; None if the line has other fields."""
        kinds = {"part": int, "trials": int, "curves": str, "rows": str}
        if record.keys() != kinds.keys() or not all(type(record[key]) is kinds[key] for key in kinds):
            return None
        return cls(**record) if record["part"] >= 0 else None

    @property
    def stem(self) -> str:
        """The name of its files, without a suffix."""
        return f"part-{self.part:06d}"

    @property
    def checksums(self) -> dict[str, str]:
        """The checksum of each of its files by name: its curves, and its rows."""
        return {f"{CURVES}/{self.stem}.parquet": self.curves, f"{ROWS}/{self.stem}.parquet": self.rows}

    @property
    def names(self) -> list[str]:
        """The names of its files: its curves, and its rows."""
        return list(self.checksums)


class Part(NamedTuple):
    """The part of the curves that is read.

    Attributes:
        trials: The numbers of the trials; None for all.
        step: The step; None for all.
        columns: The columns, with those that the others need; None for all.
    """

    trials: Sequence[int] | None = None
    step: int | None = None
    columns: list[str] | None = None


ALL = Part()


class Ledger:
    """The log of a directory; read once and appended to."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.blocks: list[Block] = []

    def open(self) -> list[str]:
        """Read the log, move damaged files to `damaged/` and delete incomplete ones.

        Returns:
            The new names of the damaged files.
        """
        self.files.make(CURVES, ROWS)
        lines, invalid = _read(self.files)
        blocks = _unique(lines)
        damaged = [block for block in blocks if not self._is_intact(block)]
        self.blocks = [block for block in blocks if block not in damaged]
        if damaged or invalid or len(blocks) < len(lines):
            self.write_log(self.files, self.blocks)
        moved = [
            self._move_aside(name) for block in damaged for name in block.names if self.files.exists(name)
        ]
        known = {name for block in self.blocks for name in block.names}
        stray = [name for name in self._files() if name not in known]
        # A process that dies leaves at most an incomplete last line, and one block without a line.
        stems = {PurePosixPath(name).stem for name in stray}
        lines_lost = len(stems) > 1 or any(line.endswith(b"\n") for line in invalid)
        for name in stray:
            if lines_lost:
                moved.append(self._move_aside(name))
            else:
                self.files.delete(name)
        self.files.clear_unfinished(CURVES, ROWS)
        return moved

    def set_aside(self, blocks: Sequence[Block]) -> list[str]:
        """Drop blocks, whose trials are to be trained again, and return the new names of all their files."""
        self.blocks = [block for block in self.blocks if block not in blocks]
        if blocks:
            self.write_log(self.files, self.blocks)
        others = [f"{folder}/{block.stem}.npz" for block in blocks for folder in (PARAMS, STATES)]
        names = [name for block in blocks for name in block.names] + others
        return [self._move_aside(name) for name in names if self.files.exists(name)]

    def read_rows(self, block: Block) -> pd.DataFrame:
        """Return the summaries of a block's trials, indexed by `identity`. Raises `DamagedError`."""
        name = block.names[1]
        rows = _parsed(self.files, name, self._read(block, name), ALL)
        with self.files.parsing(name):
            return as_frame(rows).set_index("identity")

    def read_curves(self, block: Block, part: Part = ALL) -> pa.Table:
        """Return the curves of a block, or a part of them.

        Raises:
            DamagedError: If the file is not what was written, or is missing.
        """
        name = block.names[0]
        return _parsed(self.files, name, self._read(block, name), part)

    def may_have(self, block: Block, trials: Sequence[int]) -> bool:
        """Return False if a block's curves say that they are of none of some trials; no checksum is read."""
        name = block.names[0]
        # A file whose end cannot be read is damaged or lost, and `read_curves` says so.
        with suppress(DamagedError, OSError), self.files.parsing(name):
            metadata = pq.read_metadata(pa.BufferReader(self.files.read_end(name, _END)))
            column = metadata.schema.names.index("trial")
            groups = (metadata.row_group(i).column(column) for i in range(metadata.num_row_groups))
            limits = [group.statistics for group in groups]
            return any(limit is None or limit.min <= t <= limit.max for limit in limits for t in trials)
        return True

    def intact_rows(self) -> pd.DataFrame:
        """Return the summaries of all trials, indexed by `identity`; change nothing.

        Raises:
            ValueError: If a block is damaged, or there is none.
        """
        blocks, invalid = _read(self.files)
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
        tables = curves, as_arrow(rows)
        writers = [partial(pq.write_table, table) for table in tables]
        block = Block(self.next.part, len(rows), *map(self.files.write, self.next.names, writers))
        self.files.append(_LOG, encode_line(block._asdict()))
        self.blocks.append(block)

    @staticmethod
    def write_log(files: Files, blocks: Sequence[Block]) -> None:
        """Write a complete log."""
        files.write_bytes(_LOG, b"".join(encode_line(block._asdict()) for block in blocks))

    def _read(self, block: Block, name: str) -> bytes:
        """Return the content of one of a block's files. Raises `DamagedError`."""
        try:
            content = self.files.read(name)
        except FileNotFoundError as error:
            raise self.files.damaged(name, "it is missing") from error
        if sha256(content).hexdigest() != block.checksums[name]:
            raise self.files.damaged(name, "its checksum differs")
        return content

    def _is_intact(self, block: Block) -> bool:
        try:
            for name in block.names:
                self._read(block, name)
        except DamagedError:
            return False
        return True

    def _files(self) -> Iterator[str]:
        """Yield the names of files of blocks; other files are not the ledger's."""
        for folder in (CURVES, ROWS):
            yield from (name for name in self.files.names(folder) if name.endswith(".parquet"))

    def _move_aside(self, name: str) -> str:
        path = PurePosixPath(name)
        number, target = 1, f"{DAMAGED}/{path.parent.name}-{path.name}"
        while self.files.exists(target):
            number += 1
            target = f"{DAMAGED}/{path.parent.name}-{path.stem}_{number}{path.suffix}"
        self.files.move(name, target)
        return target


def read_curves(files: Files, part: Part) -> pa.Table:
    """Return the curves of all blocks, or a part of them.

    Blocks that say they have none of the trials are not held against their checksums. A caller that asks for
    trials has to look for each of them.

    Raises:
        DamagedError: If a block that is read is damaged, or there is none.
    """
    while True:
        ledger = Ledger(files)
        blocks = read = _unique(_read(files)[0])
        if part.trials is not None:
            # One block is always read, for its columns.
            read = [block for block in blocks if ledger.may_have(block, part.trials)] or blocks[:1]
        try:
            with ThreadPoolExecutor() as pool:
                tables = list(pool.map(partial(ledger.read_curves, part=part), read))
        except DamagedError:
            # A process that extends the sweep replaces blocks and the log together.
            if blocks == _unique(_read(files)[0]):
                raise
        else:
            break
    if not files.exists(_LOG):
        # An early version kept no log.
        tables = [_parsed(files, name, files.read(name), part) for name in files.names(CURVES)]
    if not tables:
        raise files.damaged(_LOG, "no block is in it")
    return pa.concat_tables(tables, promote_options="default")


def _parsed(files: Files, name: str, content: bytes, part: Part) -> pa.Table:
    """Return a part of the table in a file; Arrow's function for filters takes ten times as long."""
    with files.parsing(name):
        table = pq.ParquetFile(pa.BufferReader(content)).read(part.columns)
        if part.trials is not None:
            table = table.filter(pc.field("trial").isin(part.trials))
        return table if part.step is None else table.filter(pc.field("step") == part.step)


def _unique(blocks: Sequence[Block]) -> list[Block]:
    """Return the last block of each number."""
    return list({block.part: block for block in blocks}.values())


def _read(files: Files) -> tuple[list[Block], list[bytes]]:
    """Read the blocks of the log's valid lines, and the lines that are not valid."""
    try:
        records, invalid = decode_lines(files.read(_LOG))
    except FileNotFoundError:
        return [], []
    blocks = list(map(Block.from_record, records))
    odd = [encode_line(record) for record, block in zip(records, blocks, strict=True) if block is None]
    return [block for block in blocks if block is not None], [*invalid, *odd]
