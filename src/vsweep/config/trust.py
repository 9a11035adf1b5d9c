"""The modules, data files and URLs that a command may use: those that its own words name or allow.

A sweep's directory may come from someone else, so a name in its record is no permission.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from vsweep.config.schema import PERMISSIONS, parse_field
from vsweep.errors import ConfigError, short_repr
from vsweep.store.enclosing import enclosing_sweep
from vsweep.tasks.data.tabular import cached_copy

# The one field of the shipped data sets that names a file.
DATA_FILE = "data.path"


@dataclass(frozen=True)
class Trust:
    """The permissions of a command.

    Attributes:
        targets: The modules of `allow_targets`.
        urls: The URLs of `allow_urls`.
        named: The modules, files and URLs that the command's own words name, of which the modules have to be
            in the current folder; None where the whole config is the command's own words.
        max_bytes: The bound `data.max_bytes` of the command's own words; None for the default.
        trains: False where a record is only read: its functions are imported when they are called, and its
            data are not opened.
    """

    targets: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    named: frozenset[str] | None = frozenset()
    max_bytes: int | None = None
    trains: bool = True

    def is_named(self, name: str) -> bool:
        """Return whether the command's own words name a module, a file or a URL."""
        return self.named is None or name in self.named

    def check_data(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the data files and URLs that only the record names.

        Args:
            paths: All data files and URLs of the sweep.

        Raises:
            ConfigError: If one lies in a sweep's directory, or would be fetched without permission.
        """
        recorded = tuple(path for path in dict.fromkeys(paths) if not self.is_named(path))
        for path in recorded if self.trains else ():
            copy = cached_copy(path)
            if copy is None:
                _refuse_inside(path)
            elif path not in self.urls and not copy.exists():
                got = f"{short_repr(path)} is named by the sweep's directory, not by this command"
                takes = f"if you trust it, give {allow('allow_urls', [*self.urls, path])} on the command line"
                raise ConfigError(DATA_FILE, got, takes)
        return recorded


READ_ONLY = Trust(trains=False)


def own_words(raw: Mapping[str, Any]) -> Trust:
    """Return the permissions of a command whose own words are the whole config. Raises `ConfigError`."""
    targets, urls = (parse_field(field, raw.get(field, [])) for field in PERMISSIONS)
    return Trust(targets, urls, None)


def of_record(
    allow_targets: Sequence[str] = (),
    allow_urls: Sequence[str] = (),
    max_bytes: int | None = None,
    **fields: Any,
) -> Trust:
    """Return the permissions of a command on a sweep's directory.

    Args:
        allow_targets: The modules that the user trusts.
        allow_urls: The URLs that the user trusts.
        max_bytes: The bound `data.max_bytes`; None for the default.
        **fields: The values of the fields in the command's own words, by their dotted paths.

    Raises:
        ConfigError: If an argument does not accept its value.
    """
    values = {"allow_targets": allow_targets, "allow_urls": allow_urls}
    lists = {field: list(value) if isinstance(value, tuple) else value for field, value in values.items()}
    bound = None if max_bytes is None else parse_field("data.max_bytes", max_bytes, "max_bytes")
    return replace(own_words(lists), named=frozenset(_names(fields)), max_bytes=bound)


def allow(field: str, values: Sequence[str]) -> str:
    """Return the word of a command line that allows modules or URLs, as a shell takes it."""
    if all(re.fullmatch(r"[\w.:/@+%-]+", value, re.ASCII) for value in values):
        return f"{field}=[{','.join(values)}]"
    # `scripts/bench.py` checks configs where Hydra is not installed.
    from vsweep.config.overrides import spell

    return shlex.quote(spell(field, list(values)))


def module_of(target: str) -> str:
    """Return the module of a function's dotted path, `module.function` or `module:function`."""
    return target.partition(":")[0] if ":" in target else target.rpartition(".")[0]


def prefixes(path: str) -> Iterator[str]:
    """Yield `a`, `a.b` and `a.b.c` of a dotted path `a.b.c`."""
    return accumulate(path.split("."), "{}.{}".format)


def _names(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules and data files that fields name, the values of axes among them."""
    for path, value in fields.items():
        field = re.sub(r"^(grid|draws)\.", "", path)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and field.endswith("._target_"):
                # Importing a module imports its packages, and `module.Class.method` is of `module`.
                yield from prefixes(module_of(text))
            elif isinstance(text, str) and field == DATA_FILE:
                yield text


def _refuse_inside(path: str) -> None:
    """Raise `ConfigError` for a data file in a sweep's directory."""
    folder = None
    # These errors mean that no file can have this name, or that the home directory is unknown.
    with suppress(OSError, ValueError, RuntimeError):
        folder = enclosing_sweep(Path(path).expanduser())
    if folder is not None:
        got = f"{short_repr(path)} lies in a sweep's directory, {str(folder)!r}"
        raise ConfigError(DATA_FILE, got, "if you trust it, copy it elsewhere, and give data.path=…")
