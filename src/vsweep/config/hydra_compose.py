"""Compose the choices of groups by Hydra, and let Hydra run jobs."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from vsweep.config import sweep_file
from vsweep.config.groups import CHOICES, CONF, options, sweep_files
from vsweep.config.names import suggest_choice
from vsweep.config.overrides import Override
from vsweep.errors import ConfigError, suggest


@cache
def _composed(*choices: str) -> dict[str, Any]:
    """Return the config that Hydra composes from choices of groups, `group=choice`."""
    running = GlobalHydra.instance()
    outer = running.hydra
    running.clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            tree: Any = OmegaConf.to_container(hydra.compose("config", list(choices)))
    finally:
        running.hydra = outer
    return tree


def compose(overrides: Sequence[Override], chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the config of some overrides, whose interpolations are not resolved.

    Args:
        overrides: The overrides, with those of a sweep file in front.
        chosen: Choices by group, in place of those in the overrides.

    Raises:
        ConfigError: If an override does not fit.
    """
    choices = {override.key: override.value for override in overrides if override.kind == "choose"}
    choices |= chosen or {}
    choices.pop("sweep", None)
    # A choice affects only its own group, so composing each choice once serves all combinations.
    parts = {group: _composed(f"{group}={choice}")[group] for group, choice in choices.items()}
    tree = deepcopy(_composed() | parts)
    for override in overrides:
        override.apply(tree)
    return tree


def register_sweeps() -> None:
    """Register the valid sweep files as choices of `sweep=` in the configs that Hydra itself composes."""
    store = ConfigStore.instance().store
    for name in sweep_files():
        try:
            overrides = sweep_file.read(name)
        except ConfigError:
            # A job that chooses the file is refused before Hydra runs.
            continue
        choices = {override.key: override.value for override in overrides if override.kind == "choose"}
        tree: dict[str, Any] = {"defaults": [{f"override /{key}": value} for key, value in choices.items()]}
        for override in overrides:
            override.apply(tree)
        node = OmegaConf.create(tree)
        store(name, node, group="sweep", package="_global_", provider="vsweep")


def jobs(words: Sequence[str]) -> list[list[str]]:
    """Return the words of every job of Hydra's multirun, the product of the words' values."""
    columns = []
    # Hydra asks for the choices of a group to expand `glob`.
    loader: Any = SimpleNamespace(
        get_group_options=lambda group, **_: options(group) if group in CHOICES else []
    )
    for word in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        if word.is_sweep_override():
            text = word.get_value_string()
            try:
                values = list(word.sweep_string_iterator())
            except HydraException as error:
                takes = "for one job per value it takes a,b,c, choice(…), range(…) or, of a group, glob(…)"
                raise ConfigError(
                    word.key_or_group, f"got {text}, whose values are not listed", takes
                ) from error
            if not values:
                takes = (
                    suggest("", options(word.key_or_group)) if word.key_or_group in CHOICES else "give a,b,c"
                )
                raise ConfigError(word.key_or_group, f"got {text}, which has no values", takes)
            columns.append([f"{word.get_key_element()}={value}" for value in values])
        else:
            columns.append([str(word.input_line)])
    return [list(job) for job in product(*columns)]


def as_config_error(error: Exception, words: Sequence[str]) -> ConfigError:
    """Return an error of Hydra's with the field and the reason, read from Hydra's message."""
    reason = " ".join(str(error).split())
    if match := re.search(r"Could not find '([\w/]+)/([^'/]+)'", reason):
        group, choice = match.groups()
        listed = re.search(r"Available options in '[\w/]+': (.*?) Config search path", reason)
        known = listed[1].split() if listed else []
        return ConfigError(group, f"no such choice {choice!r}", suggest_choice(choice, known))
    if match := re.search(r"(?:Could not override|Error merging override) '?\+*([\w./@-]+)", reason):
        word = next((repr(w) for w in reversed(words) if w.lstrip("+~").startswith(match[1])), "it")
        return ConfigError(match[1], f"Hydra cannot use {word}", "leave it out, or give another value")
    path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    return ConfigError(path or "config", reason.split(" full_key:")[0], "give plain values, as path=value")
