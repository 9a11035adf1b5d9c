"""Functions that a config names by `_target_`: found in allowed modules alone, and imported only then."""

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

# Of this package, the modules whose functions only compute.
_SHIPPED = ("vsweep.tasks",)
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_TAKES = "it takes a function's dotted path, as module.function"


def resolve(field: str, target: Any, allowed: Sequence[str]) -> Any:
    """The function at a dotted path.

    allowed: modules that the person named in `allow_targets`; those in the folder where they stand are
    allowed too. Raises `ConfigError`, naming `field`, before anything else is imported.
    """
    if not isinstance(target, str) or not re.fullmatch(rf"{_NAME}(\.|:){_NAME}", target):
        raise ConfigError(field, f"got {short_repr(target)}", _TAKES)
    module = target.partition(":")[0] if ":" in target else target.rpartition(".")[0]
    if not _is_allowed(module, allowed):
        top = module.partition(".")[0]
        if top not in sys.modules and _spec(top) is None:
            here = [file.stem for file in sorted(Path.cwd().glob("*.py"))]
            raise ConfigError(field, f"there is no module {top}", suggest(top, here) if here else _TAKES)
        got = f"{target!r} is in the module {module}, which is not in the folder where you stand"
        raise ConfigError(field, got, _ask([*allowed, module]))
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(field, f"cannot import {target!r} ({reason})", _TAKES) from error
    owner = _owner(found)
    if owner is not None and not _is_allowed(owner, allowed):
        # As `mine.os.system` would be: a path through an allowed module to what is another's.
        got = f"{target!r} is a function of the module {owner}, which is not in the folder where you stand"
        raise ConfigError(field, got, _ask([*allowed, owner]))
    return found


def _spec(top: str) -> ModuleSpec | None:
    """Where a top-level module is found, here or anywhere."""
    try:
        return find_spec(top) or PathFinder.find_spec(top, [str(Path.cwd())])
    except (ImportError, ValueError):
        return None


def _ask(modules: Sequence[str]) -> str:
    return f"if you trust it, give allow_targets=[{','.join(modules)}] on the command line"


def _is_allowed(module: str, allowed: Sequence[str]) -> bool:
    parents = module.split(".")
    names = {".".join(parents[: i + 1]) for i in range(len(parents))}
    return bool(names & {*allowed, *_SHIPPED}) or _stands_here(parents[0])


def _stands_here(name: str) -> bool:
    """Whether importing this top-level name gives what lies in the current folder."""
    if name in sys.stdlib_module_names or name in ("vsweep", "__main__"):
        return False
    here = _places(PathFinder.find_spec(name, [str(Path.cwd())]))
    try:
        found = _places(find_spec(name))
    except (ImportError, ValueError):
        return False
    # Where it is found nowhere, importing it says so.
    return bool(here) and found in (here, set())


def _places(spec: ModuleSpec | None) -> set[Path]:
    if spec is None:
        return set()
    places = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations or []
    return {Path(place).resolve() for place in places}


def _owner(found: Any) -> str | None:
    """The module of what was found; None for values, which run nothing."""
    while isinstance(found, partial):
        found = found.func
    if not callable(found):
        return None
    owner = getattr(found, "__module__", None)
    if not isinstance(owner, str):
        # A method of a built-in type, as `"".join`.
        owner = type(getattr(found, "__self__", found)).__module__
    return owner
