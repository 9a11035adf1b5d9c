"""Record which W&B runs of a sweep are complete, in `wandb/runs.jsonl`."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = "wandb"
OFFLINE = "offline"


class UploadedRun(NamedTuple):
    """A complete run.

    Attributes:
        id: The run's id.
        level: Its level.
        to: `offline`, or the server and project.
        gone: Whether it was deleted.
    """

    id: str
    level: str
    to: str
    gone: bool = False


class UploadLog:
    """The log of a sweep's directory; a run that is not in the log is looked up on the server or remade."""

    def __init__(self, directory: Path) -> None:
        """Read the log; nothing is written before `add`."""
        self.folder = directory / FOLDER
        self._runs: dict[tuple[str, str], UploadedRun] = {}
        # The id of W&B's sweep on each server.
        self.sweeps: dict[str, str] = {}
        for line in _read(self._file):
            if "sweep" in line:
                self.sweeps[str(line.get("to"))] = str(line["sweep"])
            elif line.keys() >= {"id", "level", "to"}:
                run_id, level, to = (str(line[key]) for key in ("id", "level", "to"))
                self._note(UploadedRun(run_id, level, to, bool(line.get("gone"))))

    @property
    def _file(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def places(self) -> set[str]:
        """The destinations of runs: `offline`, and servers with projects."""
        return {to for _, to in self._runs}

    def ids(self, to: str, level: str | None = None) -> set[str]:
        """Return the ids of the runs at a destination; level: only runs of this level."""
        return {run.id for run in self._runs.values() if run.to == to and level in (None, run.level)}

    def add(self, runs: Iterable[UploadedRun]) -> None:
        """Record runs that are complete or were deleted."""
        runs = list(runs)
        self._append([run._asdict() for run in runs])
        for run in runs:
            self._note(run)

    def add_sweep(self, to: str, sweep: str) -> None:
        """Record the W&B sweep that the runs at a destination belong to."""
        self._append([{"sweep": sweep, "to": to}])
        self.sweeps[to] = sweep

    def _note(self, run: UploadedRun) -> None:
        self._runs.pop((run.id, run.to), None)
        if not run.gone:
            self._runs[run.id, run.to] = run

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        self.folder.mkdir(exist_ok=True)
        with self._file.open("ab") as file:
            # A process that was killed may have left an incomplete line.
            torn = file.tell() and self._file.read_bytes()[-1:] != b"\n"
            text = "".join(json.dumps(line) + "\n" for line in lines)
            file.write(("\n" * bool(torn) + text).encode())
            file.flush()
            os.fsync(file.fileno())


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
