"""Read a sweep file as overrides, and refuse fields that only the command line may set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from vsweep.config.grid import axis_nodes, is_space
from vsweep.config.groups import CHOICES, check_choice, sweep_files
from vsweep.config.overrides import Override, assignment
from vsweep.config.schema import PERMISSIONS
from vsweep.config.values import set_aside
from vsweep.errors import ConfigError, short_repr

# Four lists of 100,000 values fit. A larger file is no sweep file, or its aliases expand to far more values.
_MOST_BYTES = 10_000_000
_MOST_VALUES = 500_000
_MOST_NESTED = 50
_NUMBER = re.compile(r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?")
# YAML's merge key: the entries of its mappings become entries of the mapping that has the key.
_MERGE = "<<"
# YAML's parser in C is faster, but is not built on every platform.
_FAST = [yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else []
# Scalars are read as OmegaConf reads them: 1e-3 is a number, and a date is text.
_Scalars: Any = type("_Scalars", (*_FAST, get_yaml_loader()), {})


class _Loader(_Scalars):
    """A loader that builds values from the parser's events, three times as fast as from a tree of nodes.

    It raises ValueError for values nested too deeply, and for aliases that stand for too many values.
    """

    def document(self) -> Any:
        """Return the values of the one document, None if there is none."""
        self._count = 0
        # The value of each anchor, and the number of values in it.
        self._anchors: dict[str, tuple[Any, int]] = {}
        self.get_event()
        if self.check_event(yaml.StreamEndEvent):
            return None
        self.get_event()
        tree = self._value(self.get_event(), 0)
        self.get_event()
        if not self.check_event(yaml.StreamEndEvent):
            raise ValueError("it has several documents")
        return tree

    def _value(self, event: Any, depth: int) -> Any:
        before, self._count = self._count, self._count + 1
        if type(event) is yaml.AliasEvent:
            if event.anchor not in self._anchors:
                raise ValueError(f"the alias *{event.anchor} comes before its anchor")
            value, size = self._anchors[event.anchor]
            self._count = before + size
        elif type(event) is yaml.ScalarEvent:
            value = self._scalar(event)
        elif depth == _MOST_NESTED:
            raise ValueError(f"it is nested more than {_MOST_NESTED} deep")
        elif event.tag not in (None, "!"):
            raise ValueError(f"the tag {event.tag} is not accepted here")
        elif type(event) is yaml.SequenceStartEvent:
            value = []
            while type(inner := self.get_event()) is not yaml.SequenceEndEvent:
                value.append(self._value(inner, depth + 1))
        else:
            value = {}
            merged: dict[Any, Any] = {}
            while type(inner := self.get_event()) is not yaml.MappingEndEvent:
                key, entry = self._value(inner, depth + 1), self._value(self.get_event(), depth + 1)
                if key in value:
                    raise ValueError(f"it has the key {key!r} twice")
                if key == _MERGE:
                    for mapping in reversed(entry if isinstance(entry, list) else [entry]):
                        if not isinstance(mapping, dict):
                            raise ValueError(f"{_MERGE} takes mappings")
                        merged |= mapping
                else:
                    value[key] = entry
            value = merged | value
        if self._count > _MOST_VALUES:
            raise ValueError(f"it holds more than {_MOST_VALUES:,} values once its aliases are written out")
        if event.anchor:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _scalar(self, event: Any) -> Any:
        is_plain = event.implicit[0]
        # Most values of a long list are such numbers, and the loader is slow with them.
        if is_plain and _NUMBER.fullmatch(event.value):
            return float(event.value)
        tag = event.tag or self.resolve(yaml.ScalarNode, event.value, event.implicit)
        value = _MERGE if event.value == _MERGE else self.construct_object(yaml.ScalarNode(tag, event.value))
        # An integer with too many digits to be printed raises here rather than where a message shows it.
        repr(value)
        return value


def sweep_overrides(overrides: Sequence[Override]) -> list[Override]:
    """Return the overrides of the sweep file that some overrides choose. Raises `ConfigError`."""
    names = [o.value for o in overrides if (o.kind, o.key) == ("choose", "sweep")]
    return read(names[-1]) if names else []


def read(name: str, outer: tuple[str, ...] = ()) -> list[Override]:
    """Return the overrides of a sweep file, those of the sweeps in its defaults first.

    Args:
        name: The sweep's name.
        outer: The sweeps in whose defaults the sweep is.

    Raises:
        ConfigError: If the file cannot be read, or sets a field that no sweep file may set.
    """
    if name in outer:
        got = f"the sweep {name} is in the defaults of its own defaults"
        raise ConfigError("defaults", got, "leave it out of one of them")
    file = sweep_files()[name]
    with readable("sweep", file):
        tree = load(file)
        _refuse_fields(tree)
        defaults = tree.pop("defaults", [])
        if not isinstance(defaults, list):
            raise ConfigError("defaults", f"got {short_repr(defaults)}", "it takes a list")
        # `data: iris` and `data: {name: iris}` stand for `override /data: iris` in the defaults.
        short = [(group, tree.pop(group)) for group in CHOICES if not isinstance(tree.get(group, {}), dict)]
        short += [(group, tree[group].pop("name")) for group in CHOICES if "name" in tree.get(group, {})]
        choices = [*filter(None, map(_choice, defaults)), *short]
        for group, choice in choices:
            check_choice(group, choice)
        fields = list(_fields(tree))
        _refuse_fixed_axes(fields)
    nested: list[Override] = []
    for entry in defaults:
        if entry == "_self_":
            nested, fields = nested + fields, []
        elif isinstance(entry, str):
            nested += read(entry, (*outer, name))
    return [*nested, *fields, *(Override("choose", *choice, choice) for choice in choices)]


@contextmanager
def readable(field: str, file: Path) -> Iterator[None]:
    """Name the file in the message of a `ConfigError`, and turn the errors of `load` into one.

    Args:
        field: The field in the message about a file that cannot be read.
        file: The file.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.field, f"in {file}: {error.got}", error.takes) from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, RecursionError, TypeError) as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        got = f"cannot read {file} ({' '.join(reason.split())})"
        raise ConfigError(field, got, "it takes YAML") from error


def load(file: Path) -> dict[str, Any]:
    """Return the fields of a YAML file as they are written. Raises the errors that `readable` explains."""
    if not file.is_file():
        raise ValueError("it is not a file")
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    tree = _Loader(content.decode()).document()
    tree = {tree: None} if isinstance(tree, str) else tree
    if not isinstance(tree, dict) or not tree:
        raise ValueError("it holds no fields")
    # OmegaConf refuses keys and values that it cannot hold.
    OmegaConf.create(set_aside(tree, {}))
    return tree


def _refuse_fields(tree: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for fields that only the command line may set, such as imports and Hydra's own."""
    for key in tree:
        name = str(key)
        if re.split(r"[./@]", name)[0] == "hydra":
            raise ConfigError(name, "a sweep file cannot configure Hydra", "give it on the command line")
    for field in PERMISSIONS:
        if field in tree:
            got = f"a sweep file cannot allow {'modules' if field == 'allow_targets' else 'URLs'} for itself"
            raise ConfigError(field, got, f"give {field}=[…] on the command line")
    if "sweep" in tree:
        raise ConfigError("sweep", "no field of a sweep file", "name the other sweep in its defaults")
    path = tree.get("dir")
    text = path if isinstance(path, str) else ""
    above = any(".." in kind(text).parts or kind(text).anchor for kind in (PurePosixPath, PureWindowsPath))
    if path is not None and (not text or above or "~" in text or "${" in text):
        takes = "in a sweep file it takes a folder below the current one; on the command line any"
        raise ConfigError("dir", f"got {short_repr(path)}", takes)


def _refuse_fixed_axes(fields: Sequence[Override]) -> None:
    """Raise `ConfigError` for a field that a file both fixes and varies."""
    fixed = {path for override in fields for path in override.paths()}
    for override in fields:
        group, _, path = override.key.partition(".")
        if group in ("grid", "draws") and path in fixed:
            raise ConfigError(path, f"is fixed, and is an axis too, {override.key}", "leave one of them out")


def _choice(entry: Any) -> tuple[str, Any] | None:
    """Return the group and the choice of an entry of `defaults`; None for a sweep, and for `_self_`."""
    if isinstance(entry, str) and (entry == "_self_" or entry in sweep_files()):
        return None
    if isinstance(entry, dict) and len(entry) == 1:
        ((key, choice),) = entry.items()
        group = str(key).removeprefix("override /")
        if group != key and group in CHOICES and group != "sweep":
            return group, choice
    takes = "an entry is `override /group: choice`, the name of another sweep, or _self_"
    raise ConfigError("defaults", f"got {short_repr(entry)}", takes)


def _fields(tree: Mapping[str, Any]) -> Iterator[Override]:
    """Yield the override of each field and axis. Raises `ConfigError` for an axis that occurs twice."""
    for key, value in tree.items():
        if key not in ("grid", "draws"):
            yield assignment(str(key), value, (str(key), value))
            continue
        if not isinstance(value, dict) or is_space(value):
            raise ConfigError(key, f"got {short_repr(value)}", "it takes fields and their values")
        axes: list[str] = []
        for path, node in axis_nodes(value):
            axis = assignment(f"{key}.{path}", node, (f"{key}.{path}", node))
            # An axis within another would replace it.
            if any(f"{axis.key}.".startswith(f"{a}.") or f"{a}.".startswith(f"{axis.key}.") for a in axes):
                raise ConfigError(f"{key}.{path}", "given twice", "give an axis once")
            axes.append(axis.key)
            yield axis
