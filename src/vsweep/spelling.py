"""A config spelt as Hydra overrides: of nested mappings, and of one cell."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsweep.compose import CHOICES
from vsweep.config import Config, as_dict
from vsweep.schema import GROUPS

Words = Sequence[str] | Mapping[str, Any]
# What Hydra takes for something else where it is not quoted.
_NOT_TEXT = ("true", "false", "null", "nan", "inf")


def as_words(config: Words) -> list[str]:
    """A config that a person gives, as overrides."""
    if isinstance(config, Mapping):
        return _nested(config)
    return [config] if isinstance(config, str) else list(config)


def _nested(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested mappings as Hydra overrides."""
    words = []
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not set(value) & {"logspace", "linspace", "range"}:
            words += _nested(value, f"{path}.")
        elif path.endswith(".name") and path.count(".") == 1 and not path.startswith("grid."):
            words.insert(0, f"{path.removesuffix('.name')}={value}")
        else:
            words.append(f"{path}={value if path in CHOICES else literal(value)}")
    return words


def literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | range | np.ndarray):
        return "[" + ",".join(literal(v) for v in value) + "]"
    if isinstance(value, np.generic):
        return literal(value.item())
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in _NOT_TEXT:
        return value
    if isinstance(value, str):
        # Backslashes are themselves, but before a quote, before an interpolation, and at the end.
        return "'" + re.sub(r"(\\*)('|\$\{|$)", _escape, value) + "'"
    return str(value)


def _escape(found: re.Match[str]) -> str:
    slashes, what = found.groups()
    return slashes * 2 + (f"\\{what}" if what else "")


def words_of(config: Config, seed: int) -> list[str]:
    """The overrides of which one trial's config is composed, whatever the defaults are."""
    nested = as_dict(config)
    words = [f"{group}={nested[group].pop('name')}" for group in GROUPS]
    for group in GROUPS:
        words += [f"{group}.{key}={literal(value)}" for key, value in nested.pop(group).items()]
    return [*words, *(f"{key}={literal(value)}" for key, value in nested.items()), f"seeds=[{seed}]"]
