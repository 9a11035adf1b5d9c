"""Record which W&B runs of a sweep are complete, in `wandb/runs.jsonl`."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = "wandb"
OFFLINE = "offline"


class UploadLog:
    """The log of a sweep's directory; a run that is not in the log is looked up on the server or remade.

    Attributes:
        folder: The folder of the log.
        sweeps: The id of W&B's sweep at each destination.
    """

    def __init__(self, directory: Path) -> None:
        """Read the log; nothing is written before `add`."""
        self.folder = directory / FOLDER
        self._file = self.folder / "runs.jsonl"
        self._levels: dict[tuple[str, str], str] = {}
        self.sweeps: dict[str, str] = {}
        for record in _read(self._file):
            self._apply(record)

    @property
    def places(self) -> set[str]:
        """The destinations of runs: `offline`, and servers with projects."""
        return {place for _, place in self._levels}

    def ids(self, place: str, level: str | None = None) -> set[str]:
        """Return the ids of the runs at a destination; level: only runs of this level."""
        return {run for (run, to), known in self._levels.items() if to == place and level in (None, known)}

    def add(self, ids: Iterable[str], place: str, level: str) -> None:
        """Record complete runs at a destination."""
        self._append([{"id": run, "level": level, "to": place, "gone": False} for run in ids])

    def delete(self, ids: Iterable[str], place: str) -> None:
        """Record runs that were deleted at a destination."""
        self._append([{"id": run, "level": "", "to": place, "gone": True} for run in ids])

    def add_sweep(self, place: str, sweep: str) -> None:
        """Record the W&B sweep that the runs at a destination belong to."""
        self._append([{"sweep": sweep, "to": place}])

    def _apply(self, record: Mapping[str, Any]) -> None:
        place = str(record.get("to"))
        if "sweep" in record:
            self.sweeps[place] = str(record["sweep"])
        elif record.get("gone"):
            self._levels.pop((str(record.get("id")), place), None)
        elif record.keys() >= {"id", "level", "to"}:
            self._levels[str(record["id"]), place] = str(record["level"])

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        if not records:
            return
        self.folder.mkdir(exist_ok=True)
        with self._file.open("ab") as file:
            # A process that was killed may have left an incomplete line.
            torn = file.tell() and self._file.read_bytes()[-1:] != b"\n"
            text = "".join(json.dumps(record) + "\n" for record in records)
            file.write(("\n" * bool(torn) + text).encode())
            file.flush()
            os.fsync(file.fileno())
        for record in records:
            self._apply(record)


def _read(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the valid lines of the log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
