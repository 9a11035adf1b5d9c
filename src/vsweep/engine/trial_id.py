"""Hash all that determines a trial, the user's functions included, but not its place in the grid."""

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b, sha256
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from vsweep.config.grid import Grid
from vsweep.config.validate import Config, as_dict, fields_before, leaves
from vsweep.engine.inputs import Target
from vsweep.engine.plan import Plan, Program
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.synthetic import DrawCurve
from vsweep.training.program import NUMERICS

_INIT, _SCALE = "model.init", "model.init_scale"
# With these schedules a longer training differs from a shorter one from the first steps on.
_OF_ALL_STEPS = ("cosine", "warmup_cosine")


def identities(plan: Plan, steps: int | None = None) -> np.ndarray:
    """Return the identity of every trial, text `(trials,)` of 32 hexadecimal digits.

    An identity is a hash of the trial's resolved config, the contents of its data (not their path), the
    fingerprints of the user's functions, its seed, and the version of the numerical results.

    Args:
        plan: The plan of the sweep.
        steps: The number of steps, in place of the config's, for which to return the identities; the text is
            empty if it is not smaller, or if a longer training does not begin like a shorter one.
    """
    # NumPy's text would take four times as many bytes.
    hashes = np.zeros(len(plan.grid), "S32")
    for program in plan.programs:
        config = program.inputs.config
        if steps is not None:
            if config.schedule.name in _OF_ALL_STEPS or steps >= config.steps:
                continue
            config = replace(config, steps=steps)
        hashes[program.rows] = _program_hashes(plan.grid, program, config)
    return _distinct(hashes).astype(str)


def _program_hashes(grid: Grid, program: Program, config: Config) -> np.ndarray:
    _, cell_row, seeds = grid.trials()
    cells, place = np.unique(cell_row[program.rows], return_inverse=True)
    digests = _cell_digests(grid, cells, program, config)
    pairs = zip(place.tolist(), seeds[program.rows].tolist(), strict=True)
    hashes = (
        blake2b(b"%b %d" % (digests[c], seed), digest_size=16).hexdigest().encode() for c, seed in pairs
    )
    return np.fromiter(hashes, "S32", len(program.rows))


def _cell_digests(grid: Grid, cells: np.ndarray, program: Program, config: Config) -> list[bytes]:
    """Return the digest of each cell of a program, from its fields in order."""
    fields = dict(leaves(as_dict(config)))
    # Data are identified by their contents, so only tables have these fields, as they always had.
    for path in ("data.path", *config.data.limits):
        fields.pop(path, None)
    if "data.target" not in fields:
        del fields["data.targets"]
    # A split of numbers is the same either way, and targets are scaled or not, whoever decided it.
    fields["data.stratify"] = program.inputs.split.stratified
    fields["data.standardize_target"] = program.inputs.target != Target()
    fields = fields_before(fields)
    axes = {axis.path: i for i, axis in enumerate(grid.axes)}

    def column(path: str) -> list[bytes]:
        if path not in axes:
            return [_text(path, fields[path])] * len(cells)
        texts = [*(_text(path, value) for value in grid.axes[axes[path]].values), b""]
        return [texts[i] for i in grid.index[cells, axes[path]].tolist()]

    scaled = [_SCALE] if _SCALE in fields and config.model.has_initializer else []
    columns = [column(path) for path in sorted(fields) if path not in scaled]
    for path in scaled:
        # Zero weights have no scale, so the scale must not change their hash.
        pairs = zip(column(_INIT), column(path), strict=True)
        columns.append([b"" if init == _text(_INIT, "zeros") else scale for init, scale in pairs])
    base = f"{NUMERICS} {_data_digest(program.inputs.split.dataset)} {_sources(config)}".encode()
    rows = zip(*columns, strict=True)
    return [blake2b(base + b"\n".join(row), digest_size=16).digest() for row in rows]


def _text(path: str, value: Any) -> bytes:
    return f"{path}={json.dumps(value, sort_keys=True, default=str)}".encode()


def _data_digest(dataset: Dataset) -> str:
    """Hash the contents of data: the examples, and the function that draws fresh ones."""
    digest = sha256(json.dumps([list(dataset.classes), str(dataset.y.dtype), dataset.x.shape]).encode())
    for array in (dataset.x, dataset.y):
        digest.update(np.ascontiguousarray(array).tobytes())
    if dataset.draw is not None:
        # The `repr` of a user's function has its address, which differs in every process.
        is_ours = isinstance(dataset.draw, DrawCurve)
        digest.update((repr(dataset.draw) if is_ours else fingerprint(dataset.draw)).encode())
    return digest.hexdigest()


def _sources(config: Config) -> str:
    """Hash the fingerprints of the user's functions."""
    texts = [fingerprint(function) for function in config.user_functions.values()]
    return sha256("\n".join(texts).encode()).hexdigest()


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Make the hashes of equal trials (as of two files with the same data) distinct, by their order."""
    if len(np.unique(hashes)) < len(hashes):
        repeats = pd.Series(hashes).groupby(hashes).cumcount().to_numpy()
        for i in np.flatnonzero((repeats > 0) & (hashes != b"")).tolist():
            text = b"%b %d" % (hashes[i], repeats[i])
            hashes[i] = blake2b(text, digest_size=16).hexdigest().encode()
    return hashes


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
