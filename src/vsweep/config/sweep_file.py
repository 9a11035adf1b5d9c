"""A sweep file from disk, as fields: what it may hold, and what it may not say for the person."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vsweep.config.grid import is_space
from vsweep.config.schema import GROUPS
from vsweep.errors import ConfigError, short_repr, suggest

# A list of a hundred thousand values fits; what is beyond is no sweep, or grows when it is read.
_MOST_BYTES = 1_000_000
_MOST_NODES = 200_000
_MOST_NESTED = 50
# To measure with, in C where there is one: OmegaConf's own reads once more.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path, options: Mapping[str, list[str]]) -> DictConfig:
    """The fields of a sweep file, its choices of groups in `defaults`, its axes as lists.

    options: the choices of every group, `sweep` included. Raises `ConfigError`.
    """
    with readable("sweep", file):
        node = load(file)
        _refuse(node)
        _choose_named(node, options)
        for name in ("grid", "draws"):
            axes = OmegaConf.to_container(node).get(name, {})  # type: ignore[union-attr]
            if not isinstance(axes, dict):
                raise ConfigError(name, f"got {short_repr(axes)}", "it takes fields and their values")
            if axes:
                node[name] = normal_axes(axes, name)
        return node


@contextmanager
def readable(field: str, file: Path) -> Iterator[None]:
    """Name the file in what is refused of it, and the field in what `load` and others raise."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.field, f"in {file}: {error.got}", error.takes) from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, RecursionError, TypeError) as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        got = f"cannot read {file} ({' '.join(reason.split())})"
        raise ConfigError(field, got, "it takes YAML") from error


def load(file: Path) -> DictConfig:
    """The fields of a YAML file, as they are written. Raises what `readable` puts in a sentence."""
    if not file.is_file():
        raise ValueError("it is no file")
    with file.open("rb") as opened:
        held = opened.read(_MOST_BYTES + 1)
    if len(held) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    text = held.decode()
    _refuse_bombs(text)
    node = OmegaConf.load(io.StringIO(text))
    if not isinstance(node, DictConfig) or not node:
        raise ValueError("it holds no fields")
    # Integers of more digits than can be written raise here, and not where they are shown.
    OmegaConf.to_yaml(node)
    return node


def _refuse_bombs(text: str) -> None:
    """Raise ValueError for aliases that would be many nodes when written out, or too deep ones."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_NESTED:
            raise ValueError(f"it is nested more than {_MOST_NESTED} deep")
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            # Until it is known: an alias of what is around it has no end.
            sizes[id(node)] = _MOST_NODES
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(map(size, flat))
        return sizes[id(node)]

    root = yaml.compose(text, _LOADER)
    if root is not None and size(root) > _MOST_NODES:
        raise ValueError(f"it holds more than {_MOST_NODES:,} values once its aliases are written out")


def _refuse(node: DictConfig) -> None:
    """What the command line alone may say: where to write, what to import, and what Hydra does."""
    for key in node:
        name = str(key)
        if re.split(r"[./@]", name)[0] == "hydra":
            raise ConfigError(name, "a sweep file cannot set Hydra up", "give it on the command line")
    if "allow_targets" in node:
        got = "a sweep file cannot allow itself modules"
        raise ConfigError("allow_targets", got, "give allow_targets=[…] on the command line")
    if "sweep" in node:
        raise ConfigError("sweep", "no field of a sweep file", "name the other sweep in its defaults")
    if "dir" not in node:
        return
    # As written: what stands for another field could be any text.
    given = OmegaConf.to_container(node, resolve=False)["dir"]  # type: ignore[index, call-overload]
    text = given if isinstance(given, str) else ""
    above = any(".." in kind(text).parts or kind(text).anchor for kind in (PurePosixPath, PureWindowsPath))
    if given is not None and (not text or above or "~" in text or "${" in text):
        takes = "in a sweep file it takes a folder below the current one; on the command line any"
        raise ConfigError("dir", f"got {short_repr(given)}", takes)


def _choose_named(node: DictConfig, options: Mapping[str, list[str]]) -> None:
    """Let `data: iris` in a sweep file be what `override /data: iris` in its defaults is."""
    defaults = OmegaConf.to_container(node).get("defaults", [])  # type: ignore[union-attr]
    if not isinstance(defaults, list):
        raise ConfigError("defaults", f"got {short_repr(defaults)}", "it takes a list")
    for group in options:
        if group in node and not isinstance(node.get(group), str | DictConfig):
            known = options[group]
            raise ConfigError(group, f"no such choice {short_repr(node.get(group))}", suggest("", known))
        if isinstance(node.get(group), str):
            defaults = [*defaults, {f"override /{group}": node.pop(group)}]
    for one in defaults:
        _check_default(one, options)
    if defaults:
        node["defaults"] = defaults


def _check_default(given: Any, options: Mapping[str, list[str]]) -> None:
    if isinstance(given, str) and (given == "_self_" or given in options["sweep"]):
        return
    if isinstance(given, dict) and len(given) == 1:
        ((key, choice),) = given.items()
        group = str(key).removeprefix("override /")
        if group != key and group in options and group != "sweep":
            if choice in options[group]:
                return
            raise ConfigError(
                group, f"no such choice {short_repr(choice)}", suggest(str(choice), options[group])
            )
    takes = "an entry is `override /group: choice`, the name of another sweep, or _self_"
    raise ConfigError("defaults", f"got {short_repr(given)}", takes)


def normal_axes(tree: Any, name: str = "grid") -> dict[str, Any]:
    """A tree of axes, `grid` or `draws`, in which each is a list, at the nested place of its dotted path.

    Hydra cannot put a list where a mapping stands, and would merge two mappings: as lists, axes replace
    one another. Raises `ConfigError` where an axis stands twice, or within another.
    """
    made: dict[str, Any] = {}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, Mapping) and not is_space(node):
            for key, value in node.items():
                visit(value, f"{path}.{key}" if path else str(key))
            return
        *parents, last = (f"{path}.name" if path in GROUPS else path).split(".")
        place: Any = made
        for key in parents:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last in place:
            raise ConfigError(f"{name}.{path}", "given twice", "give an axis once")
        place[last] = [node] if isinstance(node, Mapping) else node

    visit(tree, "")
    return made
