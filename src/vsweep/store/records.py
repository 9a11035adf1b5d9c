"""Check the records in a directory's files, which may come from somebody else or from an earlier version."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple


class _Each(NamedTuple):
    """A mapping from text to values of one shape."""

    shape: Any


class _Or(NamedTuple):
    """A value of one of several shapes; None stands for null."""

    shapes: tuple[Any, ...]


class _From(NamedTuple):
    """A finite number that is not below another; kind: `int`, or `float` for both kinds."""

    least: float
    kind: type = int


_MOST = sys.float_info.max
_NUMBER, _COUNT = _From(-_MOST, float), _From(0)
_OPTIONAL = "?"
# Numbers that may be NaN or infinite.
_ANY_NUMBER = _Or((float, int))
_NUMBERS, _TEXTS = [_NUMBER], [str]
# A shape is a type, a list of one shape, a mapping of shapes by key, or one of the tuples above. A key with a
# question mark may be missing. Keys that no shape names may have any values, since later versions add some.
_PLAN = {
    "numerics": int,
    "name": str,
    "command": str,
    "started": str,
    "python": str,
    "table": str,
    "id?": str,
    "commit?": _Or((str, None)),
    "versions": _Each(str),
    "trials": _From(1),
    "cells": _From(1),
    "study": {
        "name": str,
        "words": _TEXTS,
        "variants": [{"choice": _TEXTS, "config": dict, "followers?": [dict]}],
    },
    "pictures?": object,
    "devices": {"platform": str, "devices": _From(1), "kind": str},
    "asked?": list,
    "programs": [
        {
            "name": str,
            "steps": _COUNT,
            "record_every": _From(1),
            "trials": _From(1),
            "blocks": _COUNT,
            "block": _From(1),
            "lanes": _From(1),
            "segment": _COUNT,
            "fused?": bool,
            "data?": str,
            "target?": _NUMBERS,
            "predicted": _Each(_NUMBER),
        }
    ],
    "data": _Each(
        {
            "features": _TEXTS,
            "classes": _TEXTS,
            "mean": _NUMBERS,
            "std": _NUMBERS,
            "train_rows?": _COUNT,
            "val_rows?": _COUNT,
            "test_rows?": _COUNT,
            "labels?": list,
            "label_type?": str,
            "target?": str,
            "moments?": _NUMBERS,
            "fields?": dict,
            "split?": _COUNT,
            "baseline?": _Each(_ANY_NUMBER),
            "note?": str,
        }
    ),
    "happened?": {
        "trials": _COUNT,
        "seconds": {"total": _From(1e-9, float)},
        "predicted": _Each(_NUMBER),
        "device_bytes": _NUMBER,
        "predicted_device_bytes": _NUMBER,
    },
}
_GROUP = {"name": str}
_CONFIG = {
    "data?": _GROUP,
    "model?": _GROUP,
    "loss?": _GROUP,
    "optimizer?": _GROUP,
    "tracker?": {"wandb?": dict},
    "grid?": _Or((dict, None)),
    "draws?": _Or((dict, None)),
    "keep?": dict,
    "metric?": _Or((str, None)),
    "diverge_above?": _Or((_NUMBER, None)),
    "pictures?": _Or(([_Or((str, dict))], None)),
}
_VERIFICATION = {
    "checked": _COUNT,
    "of": _COUNT,
    "failed?": str,
    "changed?": [_COUNT],
    "chaotic?": [_COUNT],
    "wrong?": [_COUNT],
    "trials": [{"chaotic": bool, "difference": _ANY_NUMBER, "twin": _ANY_NUMBER}],
}


def check_plan(plan: Any, formats: tuple[int, ...]) -> None:
    """Check the content of `plan.json`; that of another version is only a mapping.

    Args:
        plan: The content.
        formats: The versions of the layout that are known.

    Raises:
        ValueError: If the content is something else.
    """
    _check(plan, _PLAN if isinstance(plan, dict) and plan.get("format") in formats else dict)


def check_config(config: Any) -> None:
    """Check the content of `config.yaml`. Raises `ValueError`."""
    _check(config, _CONFIG)


def check_verification(record: Any) -> None:
    """Check the content of `verify.json`. Raises `ValueError`."""
    _check(record, _VERIFICATION)


def _check(value: Any, shape: Any, path: str = "") -> None:
    """Raise `ValueError` for a value of another shape; path: the keys that lead to the value."""
    if isinstance(shape, dict) and isinstance(value, dict):
        for key, part in shape.items():
            name = key.removesuffix(_OPTIONAL)
            if name in value:
                _check(value[name], part, f"{path}.{name}".lstrip("."))
            elif name == key:
                raise ValueError(f"{f'{path}.{name}'.lstrip('.')} is missing")
    elif isinstance(shape, list) and isinstance(value, list):
        for i, item in enumerate(value):
            _check(item, shape[0], f"{path}[{i}]")
    elif isinstance(shape, _Each) and isinstance(value, Mapping):
        for key, item in value.items():
            _check(key, str, path)
            _check(item, shape.shape, f"{path}.{str(key)[:80]}".lstrip("."))
    elif not _has_type(value, shape):
        raise ValueError(f"{path or 'it'} is {type(value).__name__} {str(value)[:80]!r}")


def _has_type(value: Any, shape: Any) -> bool:
    if isinstance(shape, _Or):
        return any(_fits(value, one) for one in shape.shapes)
    if isinstance(shape, _From):
        kinds = (int, float) if shape.kind is float else (int,)
        most = 2**63 if shape.kind is int else _MOST
        return type(value) in kinds and shape.least <= value <= most
    return value is None if shape is None else isinstance(shape, type) and isinstance(value, shape)


def _fits(value: Any, shape: Any) -> bool:
    try:
        _check(value, shape)
    except ValueError:
        return False
    return True
