"""Fingerprint a user's function: its source, and all values that it uses from outside."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from types import CodeType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def fingerprint(value: Any) -> str:
    """Return a text that is equal for functions that do the same, in every process.

    The text of a function has its source (or its bytecode, where there is no source), its defaults, the
    values that it closes over, and, in the same way, the functions and constants of its own module that it
    names. Functions of other packages contribute their names.
    """
    return "\n".join(_parts(value, "", set()))


def _parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        yield repr(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, ModuleType):
        yield value.__name__
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield repr(key)
            yield from _parts(item, module, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _parts(item, module, seen)
    elif isinstance(value, partial):
        yield from _parts([value.func, value.args, value.keywords], module, seen)
    elif hasattr(value, "__array__"):
        array = np.asarray(value)
        yield f"{array.dtype} {array.shape} {sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
    elif inspect.isfunction(value) or inspect.ismethod(value):
        yield from _function_parts(value, module, seen)
    else:
        yield from _object_parts(value, module, seen)


def _function_parts(function: Any, module: str, seen: set[int]) -> Iterator[str]:
    yield f"{function.__module__}.{function.__qualname__}"
    # A function of another package is known by its name.
    if module and function.__module__ != module:
        return
    code = function.__code__
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):
        for inner in _codes(code):
            yield inner.co_code.hex()
            yield repr([const for const in inner.co_consts if isinstance(const, _PLAIN)])
    yield from _parts([function.__defaults__, function.__kwdefaults__], function.__module__, seen)
    for cell in function.__closure__ or ():
        yield from _parts(cell.cell_contents, function.__module__, seen)
    if inspect.ismethod(function):
        yield from _parts(function.__self__, function.__module__, seen)
    for name in dict.fromkeys(name for inner in _codes(code) for name in inner.co_names):
        if name in function.__globals__:
            yield name
            yield from _parts(function.__globals__[name], function.__module__, seen)


def _object_parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Yield the name of a class or of an object's class, and, if it is the user's, its source and state."""
    kind = value if inspect.isclass(value) else type(value)
    yield f"{kind.__module__}.{kind.__qualname__}"
    if module and kind.__module__ != module:
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            yield from _parts(wrapped, module, seen)
        return
    with suppress(OSError, TypeError):
        yield inspect.getsource(kind)
    if not inspect.isclass(value):
        yield from _parts(dict(getattr(value, "__dict__", {})), module or kind.__module__, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
