"""Read a sweep file, and refuse what only the user may say, on the command line."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from vsweep.config.grid import axis_nodes, is_space
from vsweep.config.groups import CHOICES, check_choice, options
from vsweep.config.schema import GROUPS
from vsweep.config.values import set_aside
from vsweep.errors import ConfigError, short_repr

# Four lists of a hundred thousand values fit; a larger file is no sweep, or grows when it is read.
_MOST_BYTES = 10_000_000
_MOST_NODES = 500_000
_MOST_NESTED = 50
# The loader reads YAML as OmegaConf does: 1e-3 is a number, and no key may occur twice. YAML's loader in C is
# the faster one, and is not built everywhere.
_FAST = [yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else []
_Loader: Any = type("_Loader", (*_FAST, get_yaml_loader()), {})


def read(file: Path) -> dict[str, Any]:
    """Return the fields of a sweep file: its choices of groups in `defaults`, its axes as lists.

    Raises:
        ConfigError: If the file cannot be read, or holds what no sweep file may hold.
    """
    with readable("sweep", file):
        tree = load(file)
        _refuse_fields(tree)
        _choices_as_defaults(tree)
        for name in ("grid", "draws"):
            axes = tree.get(name, {})
            if not isinstance(axes, dict) or is_space(axes):
                raise ConfigError(name, f"got {short_repr(axes)}", "it takes fields and their values")
            if axes:
                tree[name] = _axes_as_lists(axes, name)
        return tree


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
    text = content.decode()
    _refuse_depth(text)
    loader = _Loader(text)
    node = loader.get_single_node()
    _refuse_bombs(node)
    tree = None if node is None else loader.construct_document(node)
    tree = {tree: None} if isinstance(tree, str) else tree
    if not isinstance(tree, dict) or not tree:
        raise ValueError("it holds no fields")
    # An integer of too many digits to be written raises here, and not where it is shown.
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
            # An alias of a node around it has no end, and counts as too many nodes while the size is unknown.
            sizes[id(node)] = _MOST_NODES
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            nodes = [inner for part in parts for inner in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(1 if type(inner) is yaml.ScalarNode else size(inner) for inner in nodes)
        return sizes[id(node)]

    if root is not None and size(root) > _MOST_NODES:
        raise ValueError(f"it holds more than {_MOST_NODES:,} values once its aliases are written out")


def _refuse_fields(tree: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for fields of the command line alone: where to write, imports, and Hydra's own."""
    for key in tree:
        name = str(key)
        if re.split(r"[./@]", name)[0] == "hydra":
            raise ConfigError(name, "a sweep file cannot set Hydra up", "give it on the command line")
    if "allow_targets" in tree:
        got = "a sweep file cannot allow itself modules"
        raise ConfigError("allow_targets", got, "give allow_targets=[…] on the command line")
    if "sweep" in tree:
        raise ConfigError("sweep", "no field of a sweep file", "name the other sweep in its defaults")
    path = tree.get("dir")
    text = path if isinstance(path, str) else ""
    above = any(".." in kind(text).parts or kind(text).anchor for kind in (PurePosixPath, PureWindowsPath))
    if path is not None and (not text or above or "~" in text or "${" in text):
        takes = "in a sweep file it takes a folder below the current one; on the command line any"
        raise ConfigError("dir", f"got {short_repr(path)}", takes)


def _choices_as_defaults(tree: dict[str, Any]) -> None:
    """Move `data: iris` in a sweep file to its defaults, as `override /data: iris`."""
    defaults = tree.get("defaults", [])
    if not isinstance(defaults, list):
        raise ConfigError("defaults", f"got {short_repr(defaults)}", "it takes a list")
    for group in CHOICES:
        if group in tree and not isinstance(tree[group], str | dict):
            check_choice(group, tree[group])
        if isinstance(tree.get(group), str):
            defaults = [*defaults, {f"override /{group}": tree.pop(group)}]
    for entry in defaults:
        _check_default(entry)
    if defaults:
        tree["defaults"] = defaults


def _check_default(entry: Any) -> None:
    if isinstance(entry, str) and (entry == "_self_" or entry in options("sweep")):
        return
    if isinstance(entry, dict) and len(entry) == 1:
        ((key, choice),) = entry.items()
        group = str(key).removeprefix("override /")
        if group != key and group in CHOICES and group != "sweep":
            check_choice(group, choice)
            return
    takes = "an entry is `override /group: choice`, the name of another sweep, or _self_"
    raise ConfigError("defaults", f"got {short_repr(entry)}", takes)


def _axes_as_lists(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the tree of `grid` or `draws` with each axis as a list, at the nested keys of its dotted path.

    Hydra cannot put a list in place of a mapping, and would merge two mappings; as lists, axes replace one
    another. Raises `ConfigError` if an axis occurs twice, or within another.
    """
    nested: dict[str, Any] = {}
    for path, node in axis_nodes(tree):
        *parents, last = (f"{path}.name" if path in GROUPS else path).split(".")
        parent: Any = nested
        for key in parents:
            parent = parent.setdefault(key, {}) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or last in parent:
            raise ConfigError(f"{name}.{path}", "given twice", "give an axis once")
        parent[last] = [node] if isinstance(node, Mapping) else node
    return nested
