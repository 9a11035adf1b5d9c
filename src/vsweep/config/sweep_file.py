"""A sweep file from disk, as fields: what it may hold, and what it may not say for the person."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from vsweep.config.grid import is_space
from vsweep.config.schema import GROUPS
from vsweep.config.values import set_aside
from vsweep.errors import ConfigError, short_repr, suggest

# Four lists of a hundred thousand values fit; what is beyond is no sweep, or grows when it is read.
_MOST_BYTES = 10_000_000
_MOST_NODES = 500_000
_MOST_NESTED = 50
# It reads YAML as OmegaConf does: 1e-3 is a number, and no key may occur twice. It is in C where C was built.
_FAST = [yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else []
_Loader: Any = type("_Loader", (*_FAST, get_yaml_loader()), {})


def read(file: Path, options: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the fields of a sweep file, its choices of groups in `defaults`, its axes as lists.

    options: the choices of every group, `sweep` included. Raises `ConfigError`.
    """
    with readable("sweep", file):
        tree = load(file)
        _refuse(tree)
        _choose_named(tree, options)
        for name in ("grid", "draws"):
            axes = tree.get(name, {})
            if not isinstance(axes, dict):
                raise ConfigError(name, f"got {short_repr(axes)}", "it takes fields and their values")
            if axes:
                tree[name] = normal_axes(axes, name)
        return tree


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


def load(file: Path) -> dict[str, Any]:
    """Return the fields of a YAML file, as they are written. Raises what `readable` puts in a sentence."""
    if not file.is_file():
        raise ValueError("it is no file")
    with file.open("rb") as opened:
        held = opened.read(_MOST_BYTES + 1)
    if len(held) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    text = held.decode()
    _refuse_depth(text)
    loader = _Loader(text)
    node = loader.get_single_node()
    _refuse_bombs(node)
    tree = None if node is None else loader.construct_document(node)
    tree = {tree: None} if isinstance(tree, str) else tree
    if not isinstance(tree, dict) or not tree:
        raise ValueError("it holds no fields")
    # Integers of more digits than can be written raise here, and not where they are shown.
    repr(tree)
    # OmegaConf refuses keys and values that it cannot hold.
    OmegaConf.create(set_aside(tree, {}))
    return tree


def _refuse_depth(text: str) -> None:
    """Raise ValueError for collections that are nested too deeply; nodes are composed by recursion in C."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_NESTED:
            raise ValueError(f"it is nested more than {_MOST_NESTED} deep")


def _refuse_bombs(root: yaml.Node | None) -> None:
    """Raise ValueError for aliases that would be many nodes when written out."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            # Until it is known: an alias of what is around it has no end.
            sizes[id(node)] = _MOST_NODES
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(1 if type(one) is yaml.ScalarNode else size(one) for one in flat)
        return sizes[id(node)]

    if root is not None and size(root) > _MOST_NODES:
        raise ValueError(f"it holds more than {_MOST_NODES:,} values once its aliases are written out")


def _refuse(node: Mapping[str, Any]) -> None:
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
    given = node["dir"]
    text = given if isinstance(given, str) else ""
    above = any(".." in kind(text).parts or kind(text).anchor for kind in (PurePosixPath, PureWindowsPath))
    if given is not None and (not text or above or "~" in text or "${" in text):
        takes = "in a sweep file it takes a folder below the current one; on the command line any"
        raise ConfigError("dir", f"got {short_repr(given)}", takes)


def _choose_named(node: dict[str, Any], options: Mapping[str, list[str]]) -> None:
    """Let `data: iris` in a sweep file be what `override /data: iris` in its defaults is."""
    defaults = node.get("defaults", [])
    if not isinstance(defaults, list):
        raise ConfigError("defaults", f"got {short_repr(defaults)}", "it takes a list")
    for group in options:
        if group in node and not isinstance(node[group], str | dict):
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
