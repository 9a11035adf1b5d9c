"""The words of a command line: Hydra's flags apart, what no override may be, and how values are spelt."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from vsweep.config.schema import GROUPS
from vsweep.errors import ConfigError, short_repr, suggest

# Hydra's flags that are known here, and the values that each takes. Others load configs from elsewhere.
_FLAGS: dict[str, tuple[str, ...]] = {
    "--multirun": (),
    "--cfg": ("job", "hydra", "all"),
    "--resolve": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--hydra-help": (),
    "--help": (),
    "--version": (),
}
_SHORT = {"-m": "--multirun", "-c": "--cfg", "-i": "--info", "-h": "--help"}
# What may be said of Hydra's own config: where and how its jobs run. The rest imports, calls and loads.
_HYDRAS = re.compile(
    r"hydra\.(launcher\.[\w.]+|sweeper\.(?!params)[\w.]+)|hydra\.(run\.dir|sweep\.dir|sweep\.subdir)"
)
_LONGEST = 200
# What Hydra takes for something else where it is not quoted.
_NOT_TEXT = ("true", "false", "null", "nan", "inf")
_PLUGINS = ("hydra/launcher", "hydra/sweeper")


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags, in their long form, and the other words. Raises `ConfigError`."""
    flags: list[str] = []
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            others.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = _SHORT.get(name, name)
        if flag not in _FLAGS:
            raise ConfigError(name, "no such flag", suggest(name, [*_FLAGS, *_SHORT]))
        takes = _FLAGS[flag]
        if takes and not equals and (flag == "--cfg" or (rest and rest[0] in takes)):
            value, equals = rest.pop(0) if rest else "", "="
        if equals and value not in takes:
            text = f"it takes one of {', '.join(takes)}" if takes else "it takes no value"
            raise ConfigError(name, f"got {value!r}", text)
        flags.append(f"{flag}={value}" if equals else flag)
    return flags, others


def is_hydra_override(word: str) -> bool:
    """Whether an override is of Hydra's own config."""
    return bool(re.match(r"[+~]*hydra\b", word))


def as_force_add(words: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Hydra overrides such that any field can be given as `path=value`, new keys included.

    What is no field is refused later, by the schema, with the nearest name.
    """
    made = []
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lstrip("+") if re.match(r"\+{1,2}\w", key) and not is_hydra_override(key) else key
        if equals and key in choices:
            word = f"{key}={value}"
        elif equals and not is_hydra_override(key) and re.match(r"[\w.]+$", key):
            axis = key.removeprefix("grid.").removeprefix("draws.")
            key = f"{key}.name" if key != axis and axis in GROUPS else key
            value = f"[{value}]" if key != axis and value.startswith("{") else value
            word = f"++{key}={value}"
        made.append(word)
    return made


def check_overrides(
    words: Sequence[str], options: Mapping[str, list[str]], *, multirun: bool = False
) -> None:
    """Raise `ConfigError` for overrides that Hydra would take, and that are no fields here.

    words: as `as_force_add` makes them. options: the choices of every group. multirun: whether each may hold
    the values of several jobs.
    """
    for word in words:
        try:
            (override,) = OverridesParser.create().parse_overrides([word])
        except (OverrideParseException, ValueError, RecursionError) as error:
            # An integer of more digits than Python reads, or brackets without end.
            got = f"cannot parse {short_repr(word.removeprefix('++'))}"
            raise ConfigError("override", got, "it takes path=value") from error
        _refuse_one(override, options, multirun=multirun)


def _refuse_one(override: Override, options: Mapping[str, list[str]], *, multirun: bool) -> None:
    key, value = override.key_or_group, override.value()
    if is_hydra_override(key):
        plugin = key in _PLUGINS and isinstance(value, str) and re.fullmatch(r"\w+", value)
        if not (plugin or _HYDRAS.fullmatch(key)) or "_target_" in str(override.input_line):
            takes = (
                "of Hydra's own it takes hydra/launcher, hydra/sweeper, their fields, run.dir and sweep.dir"
            )
            raise ConfigError(key, "not to be set here", takes)
        return
    # Hydra looks for a group's folder of that name, which no file system has of any length.
    if override.package is not None or "/" in key or not 0 < len(key) <= _LONGEST:
        said = f"{key}@{override.package}" if override.package is not None else key
        raise ConfigError(said or "override", "no such field", suggest(key, options))
    if key.endswith("_target_") and key not in ("data._target_", "model._target_", "loss._target_"):
        raise ConfigError(key, "no such field", "own functions are data=own, model=own and loss=own")
    if override.is_sweep_override():
        if not multirun:
            text = override.get_value_string()
            takes = f"give -m for a job of each, or grid.{key}=[…] for an axis"
            raise ConfigError(key, f"got several values, {short_repr(text)}", takes)
    elif key in options and not override.is_delete() and value not in options[key]:
        said = override.get_value_string() if not isinstance(value, str) else value
        raise ConfigError(key, f"no such choice {short_repr(said)}", suggest(said, options[key]))


def to_hydra_literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{to_hydra_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | range | np.ndarray):
        return "[" + ",".join(to_hydra_literal(v) for v in value) + "]"
    if isinstance(value, np.generic):
        return to_hydra_literal(value.item())
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in _NOT_TEXT:
        return value
    if isinstance(value, str):
        # Backslashes are themselves, but before a quote, before an interpolation, and at the end.
        return "'" + re.sub(r"(\\*)('|\$\{|$)", _escape, value) + "'"
    return str(value)


def _escape(found: re.Match[str]) -> str:
    slashes, what = found.groups()
    return slashes * 2 + (f"\\{what}" if what else "")


def unquoted(text: str) -> str:
    """Return the text that `to_hydra_literal` or a person has quoted; any other text as it is."""
    if text[:1] not in ("'", '"'):
        return text
    try:
        (override,) = OverridesParser.create().parse_overrides([f"text={text}"])
        value = override.value()
    except (OverrideParseException, ValueError):
        return text
    # Hydra keeps a quoted text as an object of its own, for what it says.
    return str(getattr(value, "text", value))
