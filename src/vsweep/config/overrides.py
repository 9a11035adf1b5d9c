"""Parse overrides: words of a command line, read by Hydra's grammar, and fields given as values.

An override that no config can use is refused here; any other becomes a `Change` of a config.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import OverrideParseException

from vsweep.config.groups import CHOICES, check_choice
from vsweep.config.schema import GROUPS
from vsweep.config.values import assign, delete, from_python, select
from vsweep.errors import ConfigError, short_repr, suggest

# The accepted flags of Hydra, and the values that each takes. Other flags would load configs from elsewhere.
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
# These fields of Hydra's own config say where and how its jobs run. The others import, call and load.
_HYDRAS = re.compile(
    r"hydra\.(launcher\.[\w.]+|sweeper\.(?!params)[\w.]+)|hydra\.(run\.dir|sweep\.dir|sweep\.subdir)"
)
_LONGEST = 200
# Hydra reads these words as constants where they are not quoted.
_NOT_TEXT = ("true", "false", "null", "nan", "inf")
_PLUGINS = ("hydra/launcher", "hydra/sweeper")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
# A list of numbers, names and quoted text without escapes is read here as Hydra's grammar reads it, because
# the grammar's parser takes time quadratic in the length of a list.
_INT = r"[+-]?(?:0|[1-9][0-9]{0,17})"
_FLOAT = rf"{_INT}(?:\.[0-9]+(?:[eE][+-]?[0-9]{{1,3}})?|[eE][+-]?[0-9]{{1,3}})"
_ITEM = rf"(?:{_FLOAT}|{_INT}|[A-Za-z]\w*|'[^'\\$\n\r]+'|\"[^\"\\$\n\r]+\")"
_LIST = re.compile(rf"\[ *{_ITEM}(?: *, *{_ITEM})* *\]", re.ASCII)
_CONSTANTS = {"true": True, "false": False, "null": None, "nan": float("nan"), "inf": float("inf")}


class FieldValue(NamedTuple):
    """A field given as a value, from Python or a W&B sweep file.

    Attributes:
        path: The field's dotted path.
        value: The field's value.
    """

    path: str
    value: Any


Override = str | FieldValue


class Change(NamedTuple):
    """The effect of an override on a config.

    Attributes:
        kind: `choose` from a group, which Hydra does; `assign` or `delete` a field; or `hydra` for a field of
            Hydra's own config.
        key: The group or the field.
        value: The value to assign, or the value that the field must have to be deleted.
        override: The override as the user gave it.
    """

    kind: Literal["choose", "assign", "delete", "hydra"]
    key: str
    value: Any
    override: Override

    def apply(self, tree: dict[str, Any]) -> None:
        """Change a composed config, in place. Raises `ConfigError`."""
        if self.kind == "delete":
            present = select(tree, self.key)
            if present is None:
                raise ConfigError(
                    self.key, "is not in the config, so it cannot be deleted", f"leave ~{self.key} out"
                )
            if self.value is not None and self.value != present:
                got = f"is {present}, which is not the value to delete"
                raise ConfigError(self.key, got, f"give ~{self.key}")
            delete(tree, self.key)
        elif self.kind == "assign":
            try:
                assign(tree, self.key, self.value)
            except TypeError:
                raise _misfit(self.key, self.override) from None


def _misfit(key: str, override: Override) -> ConfigError:
    takes = f"{short_repr(spell(override))} does not fit its field"
    return ConfigError(key, "cannot be given there", takes)


def override_key(override: Override) -> str:
    """Return the field or group that an override names."""
    key = override.path if isinstance(override, FieldValue) else override.partition("=")[0]
    return key.lstrip("+")


def spell(override: Override) -> str:
    """Return an override as a word of a command line."""
    if isinstance(override, str):
        return override
    return f"{override.path}={to_hydra_literal(override.value)}"


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Hydra's flags in their long form, and the other words. Raises `ConfigError`."""
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
    """Return True for an override of Hydra's own config."""
    return bool(re.match(r"[+~]*hydra\b", word))


def as_force_add(word: str) -> str:
    """Return a Hydra override such that any field can be given as `path=value`, new keys included.

    The schema later refuses a key that is no field, with the nearest name.
    """
    key, equals, value = word.partition("=")
    key = key.lstrip("+") if re.match(r"\+{1,2}\w", key) and not is_hydra_override(key) else key
    if equals and key in CHOICES:
        return f"{key}={value}"
    if equals and not is_hydra_override(key) and re.match(r"[\w.]+$", key):
        value = f"[{value}]" if _is_axis(key) and value.startswith("{") else value
        return f"++{_normal_key(key)}={value}"
    return word


def _is_axis(key: str) -> bool:
    return key.startswith(("grid.", "draws."))


def _normal_key(key: str) -> str:
    """Return the path of a field in a config; an axis over a group is at the group's `name`."""
    return f"{key}.name" if _is_axis(key) and key.partition(".")[2] in GROUPS else key


def read_overrides(overrides: Sequence[Override], *, multirun: bool = False) -> list[Change]:
    """Return the changes that overrides make to a config.

    Args:
        overrides: Words, each of which is parsed once, and values, which are not parsed.
        multirun: Accept words that hold the values of several jobs.

    Raises:
        ConfigError: If an override cannot be parsed, or names no field and no choice.
    """
    return [_read(override, multirun=multirun) for override in overrides]


def _read(override: Override, *, multirun: bool) -> Change:
    if isinstance(override, FieldValue):
        path, value = override
        if not _KEY.fullmatch(path) or is_hydra_override(path):
            # Hydra's parser explains why it refuses such a key.
            return _read(spell(override), multirun=False)
        if path in CHOICES:
            return _choice(path, value, str(value), override)
        value = from_python(value)
        value = [value] if _is_axis(path) and isinstance(value, dict) else value
        return _assignment(_normal_key(path), value, override)
    word = as_force_add(override)
    key, _, value = word.partition("=")
    if key.startswith("++") and _KEY.fullmatch(key[2:]) and _LIST.fullmatch(value):
        return _assignment(key[2:], [_item(text) for text in re.findall(_ITEM, value, re.ASCII)], override)
    parsed = _parse(word)
    _refuse_hydra_fields(parsed)
    key = parsed.key_or_group
    if is_hydra_override(key):
        return Change("hydra", key, parsed.value(), override)
    # Hydra looks for a folder of the group's name, and file systems limit the length of names.
    if parsed.package is not None or "/" in key or not 0 < len(key) <= _LONGEST:
        field = f"{key}@{parsed.package}" if parsed.package is not None else key
        raise ConfigError(field or "override", "no such field", suggest(key, CHOICES))
    if parsed.is_sweep_override():
        _refuse_target(key)
        if not multirun:
            got = f"got several values, {short_repr(parsed.get_value_string())}"
            raise ConfigError(key, got, f"give -m for one job per value, or grid.{key}=[…] for an axis")
        return Change("assign", key, None, override)
    if parsed.is_delete():
        return Change("choose" if key in CHOICES else "delete", key, parsed.value(), override)
    if key in CHOICES:
        return _choice(key, parsed.value(), parsed.get_value_string(), override)
    if not (parsed.is_add() or parsed.is_force_add()):
        raise _misfit(key, override)
    return _assignment(key, parsed.value(), override)


def _item(text: str) -> Any:
    """Return an item of a list that `_LIST` matches, as Hydra's grammar reads it."""
    if text[0] in "'\"":
        return text[1:-1]
    if text[0].isalpha():
        return _CONSTANTS.get(text.lower(), text)
    return int(text) if re.fullmatch(_INT, text) else float(text)


def _parse(word: str) -> HydraOverride:
    try:
        (parsed,) = OverridesParser.create().parse_overrides([word])
    except (OverrideParseException, ValueError, RecursionError) as error:
        # Python refuses integers of too many digits, and brackets that are nested too deeply.
        got = f"cannot parse {short_repr(word.removeprefix('++'))}"
        raise ConfigError("override", got, "it takes path=value") from error
    return parsed


def _refuse_hydra_fields(parsed: HydraOverride) -> None:
    """Raise `ConfigError` for a field of Hydra's own config that users may not set."""
    key, value = parsed.key_or_group, parsed.value()
    plugin = key in _PLUGINS and isinstance(value, str) and re.fullmatch(r"\w+", value)
    allowed = (plugin or _HYDRAS.fullmatch(key)) and "_target_" not in str(parsed.input_line)
    if is_hydra_override(key) and not allowed:
        takes = "of Hydra's own it takes hydra/launcher, hydra/sweeper, their fields, run.dir and sweep.dir"
        raise ConfigError(key, "cannot be set here", takes)


def _refuse_target(key: str) -> None:
    if key.endswith("_target_") and key not in ("data._target_", "model._target_", "loss._target_"):
        raise ConfigError(key, "no such field", "own functions are data=own, model=own and loss=own")


def _assignment(key: str, value: Any, override: Override) -> Change:
    _refuse_target(key)
    return Change("assign", key, value, override)


def _choice(group: str, value: Any, text: str, override: Override) -> Change:
    check_choice(group, value, text=text)
    return Change("choose", group, value, override)


def to_hydra_literal(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{to_hydra_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | range):
        return "[" + ",".join(to_hydra_literal(v) for v in value) + "]"
    if hasattr(value, "tolist"):
        return to_hydra_literal(value.tolist())
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value)
        and value.lower() not in _NOT_TEXT
    ):
        return value
    if isinstance(value, str):
        # Backslashes are doubled before a quote, before an interpolation, and at the end.
        escaped = re.sub(
            r"(\\*)('|\$\{|$)", lambda match: match[1] * 2 + (match[2] and f"\\{match[2]}"), value
        )
        return f"'{escaped}'"
    return str(value)


def unquoted(text: str) -> str:
    """Return text without the quotes of Hydra's grammar; text that has none as it is."""
    try:
        return str(_parse(f"text={text}").value()) if text[:1] in ("'", '"') else text
    except ConfigError:
        return text
