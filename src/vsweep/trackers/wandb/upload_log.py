"""Record which W&B runs of a sweep are complete, in `wandb/runs.jsonl`."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsweep.store.files import WANDB, Files

_LOG = f"{WANDB}/runs.jsonl"


class UploadLog:
    """The log of a sweep's directory; a run that is not in the log is looked up on the server or remade.

    A destination of runs is `offline`, or a server with a project.

    Attributes:
        folder: The folder of the log.
    """

    def __init__(self, directory: Path) -> None:
        """Read the log; nothing is written before `add`."""
        self._files = Files(directory)
        self.folder = self._files.path(WANDB)
        self._levels: dict[tuple[str, str], str] = {}
        if not self._files.exists(_LOG):
            return
        for line in self._files.read(_LOG).decode(errors="replace").splitlines():
            # A killed process may have left an incomplete line, and an earlier version had other records.
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                self._apply(json.loads(line))

    def ids(self, place: str) -> dict[str, str]:
        """Return the level of each run at a destination, by id."""
        return {run: level for (run, to), level in self._levels.items() if to == place}

    def best_place(self, ids: Collection[str]) -> tuple[str, int]:
        """Return the destination that has most of these runs, and how many it has."""
        counts = Counter(place for run, place in self._levels if run in ids)
        return next(iter(counts.most_common(1)), ("", 0))

    def add(self, levels: Mapping[str, str], place: str) -> None:
        """Record complete runs at a destination; levels: the level of each run by its id."""
        self._append({"id": run, "level": level, "to": place, "gone": False} for run, level in levels.items())

    def delete(self, ids: Iterable[str], place: str) -> None:
        """Record runs that were deleted at a destination."""
        self._append({"id": run, "level": "", "to": place, "gone": True} for run in ids)

    def _apply(self, record: Mapping[str, Any]) -> None:
        key = str(record["id"]), str(record["to"])
        if record.get("gone"):
            self._levels.pop(key, None)
        else:
            self._levels[key] = str(record["level"])

    def _append(self, records: Iterable[Mapping[str, Any]]) -> None:
        records = list(records)
        self._files.append(_LOG, b"".join(json.dumps(record).encode() + b"\n" for record in records))
        for record in records:
            self._apply(record)
