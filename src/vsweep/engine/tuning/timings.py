"""What earlier sweeps measured here: speeds, arrangements, compile times. Only time hangs on it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from vsweep.store.atomic import write_whole

# Entries that are kept; the oldest go first.
_MOST = 2000
# What no measurement reaches, of times since 1970 either.
_LARGEST = 1e12


class TimingCache:
    """A table of measurements by name, kept in the user's cache directory.

    A table that cannot be read is begun anew, and one that cannot be written is for this process alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        """path: the file; None for a table that is never written."""
        self.path = path
        self._noted: set[str] = set()
        self._table: dict[str, dict[str, Any]] = {}
        if path is not None:
            with suppress(OSError, ValueError):
                self._table = _checked(json.loads(path.read_text(encoding="utf-8")))

    def get(self, name: str) -> Mapping[str, Any]:
        """What is known of a name; empty for nothing."""
        return self._table.get(name, {})

    def note(self, name: str, **measured: Any) -> None:
        """Add to what is known of a name; `save` writes it."""
        self._table[name] = {**self._table.pop(name, {}), **measured}
        self._noted.add(name)

    def mean(self, name: str, **measured: float) -> None:
        """Note running means, in which the newest counts for a third."""
        before = self.get(name)
        self.note(name, **{key: v + (before.get(key, v) - v) * 2 / 3 for key, v in measured.items()})

    def save(self) -> None:
        """Write what was noted into the table as it is by now: another process may have written too."""
        if self.path is None:
            return
        others = TimingCache(self.path)._table
        noted = {name: entry for name, entry in self._table.items() if name in self._noted}
        table = {name: entry for name, entry in others.items() if name not in noted} | noted
        text = json.dumps(dict(list(table.items())[-_MOST:]), indent=0)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, lambda part: part.write_text(text, encoding="utf-8"))


def _checked(table: Any) -> dict[str, dict[str, Any]]:
    """What a person, or a file system, may have changed is left out: all values are positive numbers."""

    def positive(value: Any) -> bool:
        return isinstance(value, int | float) and 0 <= value < _LARGEST

    entries = table.items() if isinstance(table, dict) else ()
    kept = ((name, entry) for name, entry in entries if isinstance(entry, dict))
    return {name: entry for name, entry in kept if all(map(positive, entry.values()))}


def load_timings() -> TimingCache:
    """The table of this user."""
    directory = cache_directory()
    return TimingCache(directory and directory / "measured.json")


def cache_directory() -> Path | None:
    """Where this user's compiled programs and measurements are kept; None for nowhere."""
    try:
        # Here, so that all else runs where it is not installed.
        from platformdirs import user_cache_path
    except ImportError:
        return None
    return user_cache_path("vsweep")


def short_name(**facts: Any) -> str:
    """A short name for what a measurement hangs on."""
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
