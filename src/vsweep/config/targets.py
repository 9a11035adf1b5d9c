"""Import the functions that a config names by `_target_`, only from allowed modules."""

import pkgutil
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, short_repr, suggest

# The functions in these modules of the package only compute.
_SHIPPED = ("vsweep.tasks",)
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_TAKES = "it takes a function's dotted path, as module.function"


def resolve(field: str, target: Any, allowed: Sequence[str]) -> Any:
    """Return the function at a dotted path.

    Args:
        field: The name of the field in messages.
        target: The dotted path.
        allowed: The modules that the user named in `allow_targets`; modules in the current folder are allowed
            too.

    Raises:
        ConfigError: If the path leads to no function of an allowed module. No other module is imported.
    """
    if not isinstance(target, str) or not re.fullmatch(rf"{_NAME}(\.|:){_NAME}", target):
        raise ConfigError(field, f"got {short_repr(target)}", _TAKES)
    module = target.partition(":")[0] if ":" in target else target.rpartition(".")[0]
    if not _is_allowed(module, allowed):
        top = module.partition(".")[0]
        if top not in sys.modules and _find_spec(top) is None:
            stems = [file.stem for file in sorted(Path.cwd().glob("*.py"))]
            raise ConfigError(field, f"there is no module {top}", suggest(top, stems) if stems else _TAKES)
        got = f"{target!r} is in the module {module}, which is not in the current folder"
        raise ConfigError(field, got, _how_to_allow([*allowed, module]))
    try:
        function = pkgutil.resolve_name(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(field, f"cannot import {target!r} ({reason})", _TAKES) from error
    owner = _owner(function)
    if owner is not None and not _is_allowed(owner, allowed):
        # A path such as `mine.os.system` leads through an allowed module to a function of another.
        got = f"{target!r} is a function of the module {owner}, which is not in the current folder"
        raise ConfigError(field, got, _how_to_allow([*allowed, owner]))
    return function


def _find_spec(top: str) -> ModuleSpec | None:
    """Return the spec of a top-level module, on the import path or in the current folder."""
    try:
        return find_spec(top) or PathFinder.find_spec(top, [str(Path.cwd())])
    except (ImportError, ValueError):
        return None


def _how_to_allow(modules: Sequence[str]) -> str:
    return f"if you trust it, give allow_targets=[{','.join(modules)}] on the command line"


def _is_allowed(module: str, allowed: Sequence[str]) -> bool:
    parts = module.split(".")
    packages = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return bool(packages & {*allowed, *_SHIPPED}) or _is_in_current_folder(parts[0])


def _is_in_current_folder(name: str) -> bool:
    """Return True if importing a top-level name loads a module from the current folder."""
    if name in sys.stdlib_module_names or name in ("vsweep", "__main__"):
        return False
    local = _files(PathFinder.find_spec(name, [str(Path.cwd())]))
    try:
        imported = _files(find_spec(name))
    except (ImportError, ValueError):
        return False
    # A module that is not on the import path is allowed, because importing it raises a clear error.
    return bool(local) and imported in (local, set())


def _files(spec: ModuleSpec | None) -> set[Path]:
    if spec is None:
        return set()
    files = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations or []
    return {Path(file).resolve() for file in files}


def _owner(member: Any) -> str | None:
    """Return the module that defines a function; None for values, which run nothing."""
    while isinstance(member, partial):
        member = member.func
    if not callable(member):
        return None
    owner = getattr(member, "__module__", None)
    # A method of a built-in type, such as `"".join`, has no module of its own.
    return owner if isinstance(owner, str) else type(getattr(member, "__self__", member)).__module__
