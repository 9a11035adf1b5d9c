"""A config as a person gives it: overrides, or nested mappings of fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.config.hydra_compose import CHOICES
from vsweep.config.overrides import to_hydra_literal
from vsweep.config.wandb.translate import TranslatedConfig, translate_wandb

ConfigInput = Sequence[str] | Mapping[str, Any]


def as_overrides(config: ConfigInput) -> TranslatedConfig:
    """A config that a person gives, as overrides, and notes of a W&B sweep file in it."""
    if isinstance(config, Mapping):
        return translate_wandb(_nested(config))
    return translate_wandb([config] if isinstance(config, str) else list(config))


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
            words.append(f"{path}={value if path in CHOICES else to_hydra_literal(value)}")
    return words
