"""A config spelt as Hydra overrides: of nested mappings, and of one cell."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.compose import CHOICES
from vsweep.config import Config, as_dict
from vsweep.schema import GROUPS
from vsweep.wandb_sweep import Translated, translated
from vsweep.words import literal

Words = Sequence[str] | Mapping[str, Any]


def as_words(config: Words) -> Translated:
    """A config that a person gives, as overrides, and notes of a W&B sweep file in it."""
    if isinstance(config, Mapping):
        return translated(_nested(config))
    return translated([config] if isinstance(config, str) else list(config))


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


def words_of(config: Config, seed: int) -> list[str]:
    """The overrides of which one trial's config is composed, whatever the defaults are."""
    nested = as_dict(config)
    words = [f"{group}={nested[group].pop('name')}" for group in GROUPS]
    for group in GROUPS:
        words += [f"{group}.{key}={literal(value)}" for key, value in nested.pop(group).items()]
    return [*words, *(f"{key}={literal(value)}" for key, value in nested.items()), f"seeds=[{seed}]"]
