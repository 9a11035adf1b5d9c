"""Convert a user's config to overrides: words of a command line, or nested mappings of fields."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vsweep.config.grid import axis_nodes
from vsweep.config.overrides import Override, from_value, from_word, spell
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.config.wandb.parameters import WORD
from vsweep.config.wandb.translate import fields_of_file, is_about_file

ConfigInput = Sequence[str] | Mapping[str, Any]


class UserConfig(NamedTuple):
    """A config as the user gives it.

    Attributes:
        overrides: The overrides in order; later ones replace earlier ones.
        notes: Remarks on a W&B sweep file.
        recorded: The overrides of the sweep that these overrides change.
    """

    overrides: list[Override]
    notes: tuple[str, ...] = ()
    recorded: Sequence[Override] = ()


def as_overrides(config: ConfigInput, *, multirun: bool = False) -> UserConfig:
    """Return a config as overrides, those of a W&B sweep file in front.

    Args:
        config: Words, each of which is parsed once, or values, which are not parsed: text is text, but for
            interpolations of fields, such as `${optimizer.lr}`.
        multirun: Accept words that hold the values of several jobs.

    Raises:
        ConfigError: If an override or the W&B sweep file is not accepted.
    """
    if isinstance(config, Mapping):
        # The content of a W&B sweep is no tree of our fields, and an empty mapping has no fields.
        whole = {key: value for key, value in config.items() if key == WORD and _is_content(value)}
        whole |= {key: {} for key, value in config.items() if key in ("grid", "draws") and value == {}}
        nodes = axis_nodes({key: value for key, value in config.items() if key not in whole})
        entries = [*whole.items(), *((_group_or_field(path), value) for path, value in nodes)]
        overrides = [_from_entry(path, value) for path, value in entries if not is_about_file(path)]
        about_file: list[Any] = [entry for entry in entries if is_about_file(entry[0])]
    else:
        words = [config] if isinstance(config, str) else config
        overrides = [from_word(word, multirun=multirun) for word in words if not is_about_file(word)]
        parts = [word.partition("=") for word in words if is_about_file(word)]
        about_file = [(key, text) for key, _, text in parts]
    if not about_file:
        return UserConfig(overrides)
    fields, overrides, notes = fields_of_file(about_file, overrides)
    return UserConfig([*(from_value(path, value) for path, value in fields.items()), *overrides], notes)


def _is_content(value: Any) -> bool:
    """Return whether a value is the content of a W&B sweep, not the options on its file."""
    return isinstance(value, Mapping) and (not value or bool({"method", "parameters"} & set(value)))


def _from_entry(path: str, value: Any) -> Override:
    """Return the override of a field of a mapping; text that interpolates fields alone is interpolated."""
    items = value if isinstance(value, list | tuple) else [value]
    texts = [item for item in items if isinstance(item, str) and "${" in item]
    names = [name for text in texts for name in re.findall(r"\$\{([^{}]*)\}", text)]
    if not names or sum(text.count("${") for text in texts) != len(names) or not all(map(_is_field, names)):
        return from_value(path, value)
    return from_word(spell(path, value).replace("\\${", "${"))


def _is_field(path: str) -> bool:
    group, _, key = path.partition(".")
    return (
        path in FIELDS or path in SWEEP_FIELDS or path == "seeds" or (group in GROUPS and key.isidentifier())
    )


def _group_or_field(path: str) -> str:
    """Return the path of a field of a mapping; the `name` of a group is the group's choice."""
    group, _, key = path.partition(".")
    return group if key == "name" and group != "grid" else path
