"""Measurements of earlier sweeps on this machine: speeds, arrangements, compile times.

They decide how fast a sweep is trained, and never what it computes beyond rounding.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from statistics import median_low
from typing import Any

from filelock import FileLock

from vsweep.store.atomic import write_whole

# The table keeps this many entries, the newest ones.
_MAX_ENTRIES = 2000
# The number of measurements whose median counts.
_SAMPLES = 5
# A process that writes the table takes milliseconds.
_WAIT_S = 2.0
# Every measurement is below this, seconds since 1970 too.
_LARGEST = 1e12


class TimingCache:
    """A table of measurements by name, kept in the user's cache directory.

    If the file cannot be read, the table starts empty; if it cannot be written, the table serves only this
    process.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read the table from a file; with None, it is never written."""
        self.path = path
        self._noted: set[str] = set()
        self._table: dict[str, dict[str, Any]] = {}
        if path is not None:
            # A text of many brackets is too deep for the parser.
            with suppress(OSError, ValueError, RecursionError):
                self._table = _checked(json.loads(path.read_text(encoding="utf-8")))

    def get(self, name: str) -> Mapping[str, Any]:
        """Return the measurements of a name; empty if there are none."""
        return self._table.get(name, {})

    def note(self, name: str, **measured: Any) -> None:
        """Add measurements to a name; `save` writes them."""
        self._table[name] = {**self._table.pop(name, {}), **measured}
        self._noted.add(name)

    def sample(self, name: str, **measured: float) -> None:
        """Add measurements that vary; an entry is the median of the latest ones, the lower of two.

        One sweep on a busy machine, or one odd program, does not move a median.
        """
        for key, value in measured.items():
            entry = self.get(name)
            # Tables of earlier versions have the entry alone.
            earlier = [entry[f"{key}.{i}"] for i in range(_SAMPLES) if f"{key}.{i}" in entry]
            latest = [value, *(earlier or ([entry[key]] if key in entry else []))][:_SAMPLES]
            numbered = {f"{key}.{i}": sample for i, sample in enumerate(latest)}
            self.note(name, **numbered, **{key: median_low(latest)})

    def save(self) -> None:
        """Merge the new measurements into the file, which another process may have changed."""
        if self.path is None:
            return
        noted = {name: entry for name, entry in self._table.items() if name in self._noted}
        with suppress(OSError), self._alone(self.path):
            stored = TimingCache(self.path)._table
            table = {name: entry for name, entry in stored.items() if name not in noted} | noted
            text = json.dumps(dict(list(table.items())[-_MAX_ENTRIES:]), indent=0)
            if self.path.is_dir():
                self.path.rmdir()
            write_whole(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    @staticmethod
    @contextmanager
    def _alone(path: Path) -> Iterator[None]:
        """Let other processes wait for a moment, so that none overwrites what this one writes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=_WAIT_S)
        # Without a lock, measurements may be lost, and are made again.
        with suppress(OSError, NotImplementedError):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _checked(table: Any) -> dict[str, dict[str, Any]]:
    """Leave out entries that are damaged or edited: all values have to be positive numbers."""

    def positive(value: Any) -> bool:
        return isinstance(value, int | float) and 0 <= value < _LARGEST

    entries = table.items() if isinstance(table, dict) else ()
    pairs = ((name, entry) for name, entry in entries if isinstance(entry, dict))
    return {name: entry for name, entry in pairs if all(map(positive, entry.values()))}


def load_timings() -> TimingCache:
    """Return the table of this user."""
    directory = cache_directory()
    return TimingCache(directory and directory / "measured.json")


def cache_directory() -> Path | None:
    """Return the directory of this user's compiled programs and measurements; None if there is none."""
    try:
        # The import is here so that training runs where the package is not installed.
        from platformdirs import user_cache_path
    except ImportError:
        return None
    return user_cache_path("vsweep")


def short_name(**facts: Any) -> str:
    """Return a short name, a hash of the facts that a measurement depends on."""
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
