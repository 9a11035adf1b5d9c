"""What a registered function takes is what its keyword-only parameters say."""

import inspect
from collections.abc import Callable
from typing import Any


def fields(function: Callable[..., Any]) -> tuple[str, ...]:
    """The config fields that a registered function takes: its keyword-only parameters, in order."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
