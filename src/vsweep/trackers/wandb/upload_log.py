"""What was made of a sweep for W&B, and where it is: a line of `wandb/runs.jsonl` for each run."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = "wandb"
_LOG = "runs.jsonl"
OFFLINE = "offline"


class UploadedRun(NamedTuple):
    """A run that is whole. to: `offline`, or where on which server it is. gone: whether it was taken away."""

    id: str
    level: str
    to: str
    gone: bool = False


class UploadLog:
    """The log of a sweep's directory. What it does not say is to be found out, or made again."""

    def __init__(self, directory: Path) -> None:
        """Nothing is written before `add`."""
        self.folder = directory / FOLDER
        self._sent: dict[tuple[str, str], UploadedRun] = {}
        # Each server's sweep that the runs belong to.
        self.sweeps: dict[str, str] = {}
        for line in _lines(self.folder / _LOG):
            if "sweep" in line:
                self.sweeps[str(line.get("to"))] = str(line["sweep"])
            elif line.keys() >= {"id", "level", "to"}:
                gone = bool(line.get("gone"))
                self._note(UploadedRun(str(line["id"]), str(line["level"]), str(line["to"]), gone))

    @property
    def places(self) -> set[str]:
        """Where runs are: `offline`, and on servers."""
        return {to for _, to in self._sent}

    def ids(self, to: str, level: str | None = None) -> set[str]:
        """The runs that are there. level: of these alone."""
        return {one.id for (_, at), one in self._sent.items() if at == to and level in (None, one.level)}

    def add(self, sent: Iterable[UploadedRun]) -> None:
        """Note runs that are whole there, or were taken away."""
        made = list(sent)
        self._write([one._asdict() for one in made])
        for one in made:
            self._note(one)

    def add_sweep(self, to: str, sweep: str) -> None:
        """Note the W&B sweep that the runs belong to."""
        self._write([{"sweep": sweep, "to": to}])
        self.sweeps[to] = sweep

    def _note(self, one: UploadedRun) -> None:
        if one.gone:
            self._sent.pop((one.id, one.to), None)
        else:
            self._sent[one.id, one.to] = one

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        self.folder.mkdir(exist_ok=True)
        log = self.folder / _LOG
        with log.open("ab") as file:
            # A process that was killed may have left half a line.
            torn = file.tell() and log.read_bytes()[-1:] != b"\n"
            text = "".join(json.dumps(line) + "\n" for line in lines)
            file.write(("\n" if torn else "").encode() + text.encode())
            file.flush()
            os.fsync(file.fileno())


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """What the log says, as far as its lines can be read."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said
