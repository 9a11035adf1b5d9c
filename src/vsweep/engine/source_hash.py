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
    """Return a text that identifies what a function does, the same in every process.

    The text of a function has its source (or its bytecode, if there is no source), its defaults, the values
    that it closes over, and, in the same way, the functions and constants of its own module that it names.
    Functions of other packages contribute only their names.
    """
    return "\n".join(_Fingerprint().parts(value, ""))


class _Once:
    """An object that equals only itself and is kept alive, so that no later object gets its address."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and self.value is other.value

    def __hash__(self) -> int:
        return object.__hash__(self.value)


class _Fingerprint:
    """The parts of a fingerprint; a value that is met twice contributes once."""

    def __init__(self) -> None:
        self._seen: set[_Once] = set()

    def parts(self, value: Any, module: str) -> Iterator[str]:
        """Yield the parts of a value that is used by a function of this module."""
        if isinstance(value, _PLAIN):
            yield repr(value)
            return
        if _Once(value) in self._seen:
            return
        self._seen.add(_Once(value))
        if isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield repr(key)
                yield from self.parts(item, module)
        elif isinstance(value, list | tuple | set | frozenset):
            for item in value:
                yield from self.parts(item, module)
        elif isinstance(value, partial):
            yield from self.parts([value.func, value.args, value.keywords], module)
        elif hasattr(value, "__array__"):
            array = np.asarray(value)
            yield f"{array.dtype} {array.shape} {sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
        elif inspect.isfunction(value) or inspect.ismethod(value):
            yield from self._function_parts(value, module)
        else:
            yield from self._object_parts(value, module)

    def _function_parts(self, function: Any, module: str) -> Iterator[str]:
        yield f"{function.__module__}.{function.__qualname__}"
        # A function of another package contributes only its name.
        if module and function.__module__ != module:
            return
        codes = list(_codes(function.__code__))
        try:
            yield inspect.getsource(function)
        except (OSError, TypeError):
            for code in codes:
                yield code.co_code.hex()
                yield repr([const for const in code.co_consts if isinstance(const, _PLAIN)])
        used: list[Any] = [[function.__defaults__, function.__kwdefaults__]]
        used += [cell.cell_contents for cell in function.__closure__ or ()]
        used += [function.__self__] if inspect.ismethod(function) else []
        for value in used:
            yield from self.parts(value, function.__module__)
        for name in dict.fromkeys(name for code in codes for name in code.co_names):
            if name in function.__globals__:
                yield name
                yield from self.parts(function.__globals__[name], function.__module__)

    def _object_parts(self, value: Any, module: str) -> Iterator[str]:
        """Yield the name of a class or an object's class, and, if it is the user's, its source and state."""
        kind = value if inspect.isclass(value) else type(value)
        yield f"{kind.__module__}.{kind.__qualname__}"
        if module and kind.__module__ != module:
            # A function of the user's may be wrapped by another package, as by `jax.jit`.
            if getattr(value, "__wrapped__", None) is not None:
                yield from self.parts(value.__wrapped__, module)
            return
        with suppress(OSError, TypeError):
            yield inspect.getsource(kind)
        if not inspect.isclass(value):
            yield from self.parts(dict(getattr(value, "__dict__", {})), module or kind.__module__)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
