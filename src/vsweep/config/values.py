"""Config values as plain trees: read from Python, merged by dotted path, and their interpolations resolved.

OmegaConf wraps every element of a list, which is slow for long lists. A list without interpolations does not
need OmegaConf, so a token takes its place while OmegaConf resolves the rest.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from vsweep.errors import ConfigError

_SCALARS = (str, int, float, bool, type(None))
_SECRETS = "variables may be secrets: write the value itself"
_TOKEN = f"<list {token_hex(8)}:"


def from_python(value: Any) -> Any:
    """Return a Python value as plain mappings, lists and scalars; its text is never interpolated."""
    if type(value) in (int, float, bool, type(None)):
        return value
    if isinstance(value, str):
        # OmegaConf halves backslashes before an interpolation.
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value)) if "${" in value else str(value)
    if isinstance(value, Mapping):
        return {str(key): from_python(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        return from_python(value.tolist())
    if isinstance(value, list | tuple | range):
        return [from_python(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def is_final(value: Any) -> bool:
    """Return True for a plain value without interpolations and `???`, which OmegaConf would resolve."""
    if isinstance(value, str):
        return "${" not in value and value != "???"
    if type(value) is list:
        return all(type(inner) in (int, float) or is_final(inner) for inner in value)
    if type(value) is dict:
        return all(isinstance(key, str) and is_final(inner) for key, inner in value.items())
    return isinstance(value, _SCALARS)


def set_aside(tree: Any, lists: dict[str, list[Any]]) -> Any:
    """Return the tree with a token in place of each final list, which is added to `lists`."""
    if isinstance(tree, dict):
        return {key: set_aside(value, lists) for key, value in tree.items()}
    if type(tree) is not list or not is_final(tree):
        return tree
    token = f"{_TOKEN}{len(lists)}>"
    lists[token] = tree
    return token


def put_back(tree: Any, lists: Mapping[str, list[Any]]) -> Any:
    """Return the tree with the lists in place of their tokens."""
    if isinstance(tree, dict):
        return {key: put_back(value, lists) for key, value in tree.items()}
    return lists.get(tree, tree) if isinstance(tree, str) else tree


def resolve(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with its interpolations resolved. Raises `ConfigError`."""
    if is_final(tree):
        return tree
    # `scripts/bench.py` resolves plain values where OmegaConf is not installed.
    from omegaconf import OmegaConf

    lists: dict[str, list[Any]] = {}
    with interpolation():
        node = OmegaConf.create(set_aside(tree, lists))
        return put_back(OmegaConf.to_container(node, resolve=True, throw_on_missing=True), lists)


def resolve_parts(tree: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return the resolved values at some dotted paths of a tree. Raises `ConfigError`."""
    parts = {path: select(tree, path) for path in paths}
    if is_final(parts):
        return parts
    from omegaconf import OmegaConf

    lists: dict[str, list[Any]] = {}
    with interpolation():
        node = OmegaConf.create(set_aside(tree, lists))
        return {path: put_back(resolved_field(node, path), lists) for path in paths}


def resolved_field(node: Any, path: str) -> Any:
    """Return the value at a dotted path of OmegaConf's config, as plain values."""
    from omegaconf import OmegaConf

    value = OmegaConf.select(node, path, throw_on_missing=True)
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return value


@contextmanager
def interpolation() -> Iterator[None]:
    """Refuse variables of the environment, and turn the errors of OmegaConf into a `ConfigError`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from omegaconf.resolvers import oc

    def refuse(name: str, *_: Any) -> None:
        raise ConfigError("config", f"${{oc.env:{name}}} is refused", _SECRETS)

    # Variables of the environment may be secrets, and the resolved config is stored.
    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)
    try:
        yield
    except RecursionError as error:
        raise ConfigError("config", "a value is nested too deeply", "give plain values") from error
    except (OmegaConfBaseException, ValueError) as error:
        path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None) or "config"
        reason = " ".join(str(error).split())
        if match := re.search(r"\$\{oc\.env:.*? is refused", reason):
            raise ConfigError(path, match[0], _SECRETS) from error
        if "Missing mandatory value" in reason:
            raise ConfigError(path, "got ???, which marks a missing value", "give a value") from error
        raise ConfigError(path, reason.split(" full_key:")[0], "give plain values, as path=value") from error
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


@contextmanager
def only_plain_resolvers() -> Iterator[None]:
    """Let interpolations call the resolvers of OmegaConf alone, not those of Hydra or of the program."""
    from omegaconf import OmegaConf
    from omegaconf.basecontainer import BaseContainer

    registered = BaseContainer._resolvers
    OmegaConf.clear_resolvers()
    try:
        yield
    finally:
        BaseContainer._resolvers = registered


def select(tree: Any, path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def assign(tree: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path of a tree, in place; mappings are merged, anything else is replaced.

    Raises:
        TypeError: If a list would replace a mapping, or a mapping a list.
    """
    *parents, last = path.split(".")
    for key in parents:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    _merge(tree, last, value)


def _merge(tree: dict[str, Any], key: Any, value: Any) -> None:
    present = tree.get(key)
    if {type(present), type(value)} == {dict, list}:
        raise TypeError
    if not isinstance(value, dict):
        tree[key] = value
        return
    # A copy is made, since later merges must not change the override's own value.
    tree[key] = present if isinstance(present, dict) else {}
    for inner, part in value.items():
        _merge(tree[key], inner, part)


def delete(tree: dict[str, Any], path: str) -> None:
    """Delete a field of a tree, in place."""
    parent, _, last = path.rpartition(".")
    del (select(tree, parent) if parent else tree)[last]
