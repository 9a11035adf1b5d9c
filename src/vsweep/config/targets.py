"""Import the functions that a config names by `_target_`, only where the command trusts their modules."""

import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any

from vsweep.config.trust import Trust, allow, module_of, prefixes
from vsweep.errors import ConfigError, short_repr, suggest
from vsweep.store.enclosing import enclosing_sweep

# The functions in these modules of the package only compute, but for those that read files and URLs.
_SHIPPED = ("vsweep.tasks",)
_READERS = ("vsweep.tasks.data.tabular", "vsweep.tasks.data.food_water")
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_TAKES = "it takes a function's dotted path, as module.function"


def resolve(field: str, target: Any, trust: Trust) -> Any:
    """Return the function at a dotted path.

    Args:
        field: The name of the field in messages.
        target: The dotted path.
        trust: The permissions of the command.

    Raises:
        ConfigError: If the path leads to no function of an allowed module, or into a sweep's directory. No
            module that is not allowed is imported.
    """
    if not isinstance(target, str) or not re.fullmatch(rf"{_NAME}(\.|:){_NAME}", target):
        raise ConfigError(field, f"got {short_repr(target)}", _TAKES)
    module = module_of(target)
    if not _is_allowed(module, trust):
        top = module.partition(".")[0]
        if trust.named is None and top not in sys.modules and _find_part(top, None) is None:
            stems = [file.stem for file in sorted(Path.cwd().glob("*.py"))]
            raise ConfigError(field, f"there is no module {top}", suggest(top, stems) if stems else _TAKES)
        raise _not_allowed(field, f"{target!r} is in the module {module}", module, trust)
    _refuse_inside(field, target.partition(":")[0])
    try:
        function = pkgutil.resolve_name(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(field, f"cannot import {target!r} ({reason})", _TAKES) from error
    owner = _owner(function)
    if owner is not None:
        # A path such as `mine.os.system` leads through an allowed module to a function of another.
        if not _is_allowed(owner, trust):
            raise _not_allowed(field, f"{target!r} is a function of the module {owner}", owner, trust)
        _refuse_inside(field, owner)
    return function


class RecordedFunction:
    """A function that a record names, with the recorded fields as its parameters.

    It is imported when it is called, so that a record can be read without importing anything.
    """

    def __init__(
        self, field: str, target: str, trust: Trust, arguments: Sequence[str], fields: Mapping[str, Any]
    ) -> None:
        """Take the function's name and its parameters.

        Args:
            field: The name of the field in messages.
            target: The dotted path.
            trust: The permissions for the import.
            arguments: The names of the first parameters, which no config sets.
            fields: The other parameters, with their recorded values as defaults.

        Raises:
            ConfigError: If these are no names of parameters.
        """
        self._field, self._target, self._trust = field, target, trust
        self.__module__, _, self.__qualname__ = target.rpartition(".")
        self.__name__ = self.__qualname__
        kind = Parameter.POSITIONAL_OR_KEYWORD
        try:
            first = [Parameter(name, kind) for name in arguments]
            others = [Parameter(name, kind, default=value) for name, value in fields.items()]
            self.__signature__ = Signature([*first, *others])
        except (ValueError, TypeError) as error:
            got = f"the record of {short_repr(target)} names no parameters ({error})"
            raise ConfigError(field, got, "it takes a sweep's directory") from error

    @cached_property
    def _function(self) -> Any:
        return resolve(self._field, self._target, self._trust)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function. Raises `ConfigError` as `resolve` does."""
        return self._function(*args, **kwargs)


def recorded_object(kind: str) -> Any:
    """Return a stand-in for an object of a type whose name is all that a record has of it."""
    return type(kind, (), {})()


def _not_allowed(field: str, got: str, module: str, trust: Trust) -> ConfigError:
    where = "the current folder" if trust.named is None else "this command's own words"
    takes = f"if you trust it, give {allow('allow_targets', [*trust.targets, module])} on the command line"
    return ConfigError(field, f"{got}, which is not in {where}", takes)


def _is_allowed(module: str, trust: Trust) -> bool:
    packages = set(prefixes(module))
    shipped = packages & {*_SHIPPED} and not packages & {*_READERS}
    own = trust.is_named(module) and _is_in_current_folder(module.partition(".")[0])
    return bool(shipped or own or packages & {*trust.targets})


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


def _refuse_inside(field: str, path: str) -> None:
    """Raise `ConfigError` if importing along a dotted path would load a module from a sweep's directory."""
    for name, spec in _loaded(path):
        folder = next(filter(None, map(enclosing_sweep, _places(spec))), None)
        if folder is not None:
            got = f"the module {name} lies in a sweep's directory, {str(folder)!r}"
            takes = "nothing there is imported: if you trust it, move the module elsewhere"
            raise ConfigError(field, got, takes)


def _loaded(path: str) -> Iterator[tuple[str, ModuleSpec]]:
    """Yield the names and specs of the modules that importing along a dotted path loads; import none of them.

    The last part of `module.function` is among them if it is a module.
    """
    folders: Sequence[str] | None = None
    for name in prefixes(path):
        module = sys.modules.get(name)
        spec = _find_part(name, folders) if module is None else _spec_of(module)
        if spec is None:
            return
        yield name, spec
        if spec.submodule_search_locations is None:
            return
        folders = list(spec.submodule_search_locations)


def _find_part(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Return the spec of a module in the folders of its package, without importing the package.

    A module without a package is looked for on the import path, and then in the current folder.
    """
    for finder in sys.meta_path:
        # The path finder itself looks for the package of a name with dots among the imported modules.
        wanted = name.rpartition(".")[2] if finder is PathFinder else name
        # A finder may need the package as well.
        with suppress(ImportError, KeyError, ValueError, AttributeError):
            if (spec := finder.find_spec(wanted, folders)) is not None:
                return spec
    return None if folders is not None else PathFinder.find_spec(name, [str(Path.cwd())])


def _spec_of(module: ModuleType) -> ModuleSpec:
    """Return the files and the folders that a module was loaded from, as a spec."""
    spec = ModuleSpec(module.__name__, None, origin=getattr(module, "__file__", None))
    spec.has_location = spec.origin is not None
    if (path := getattr(module, "__path__", None)) is not None:
        spec.submodule_search_locations = list(path)
    return spec


def _places(spec: ModuleSpec) -> list[str]:
    """Return a module's file, and the folders of a package."""
    files = [spec.origin] if spec.has_location and spec.origin else []
    return [*files, *(spec.submodule_search_locations or ())]


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
