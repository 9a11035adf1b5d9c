"""A config as the user gives it: overrides, or nested mappings of fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.config.grid import axis_nodes
from vsweep.config.overrides import FieldValue
from vsweep.config.wandb.translate import UserConfig, translate_wandb

ConfigInput = Sequence[str] | Mapping[str, Any]


def as_overrides(config: ConfigInput) -> UserConfig:
    """Return a config as overrides, with notes about a W&B sweep file in it. Raises `ConfigError`."""
    if isinstance(config, Mapping):
        return translate_wandb([_field_value(path, value) for path, value in axis_nodes(config)])
    return translate_wandb([config] if isinstance(config, str) else list(config))


def _field_value(path: str, value: Any) -> FieldValue:
    """Return a field with its value; the `name` of a group is the group's choice."""
    group, _, key = path.partition(".")
    return FieldValue(group if key == "name" and group != "grid" else path, value)
