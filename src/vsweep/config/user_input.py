"""A config as a person gives it: overrides, or nested mappings of fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.config.grid import is_space
from vsweep.config.overrides import FieldValue
from vsweep.config.wandb.translate import UserConfig, translate_wandb

ConfigInput = Sequence[str] | Mapping[str, Any]


def as_overrides(config: ConfigInput) -> UserConfig:
    """Return a config that a person gives as overrides, with notes of a W&B sweep file in it."""
    if isinstance(config, Mapping):
        return translate_wandb(_nested(config))
    return translate_wandb([config] if isinstance(config, str) else list(config))


def _nested(config: Mapping[str, Any], prefix: str = "") -> list[FieldValue]:
    """Return the fields of nested mappings with their values, choices of groups first."""
    fields: list[FieldValue] = []
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not is_space(value):
            fields += _nested(value, f"{path}.")
        elif path.endswith(".name") and path.count(".") == 1 and not path.startswith("grid."):
            fields.insert(0, FieldValue(path.removesuffix(".name"), value))
        else:
            fields.append(FieldValue(path, value))
    return fields
