"""Overrides: words of a command line, which Hydra's grammar reads, and fields given as values.

What no override may be is refused here, and what is read becomes `Change`s of a config.
"""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import OverrideParseException

from vsweep.config.schema import GROUPS
from vsweep.config.values import assign, delete, from_python, select
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
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
# A list of numbers, names and quoted text without escapes means here what it means in Hydra's grammar, whose
# parser takes time quadratic in the length of a list.
_INT = r"[+-]?(?:0|[1-9][0-9]{0,17})"
_FLOAT = rf"{_INT}(?:\.[0-9]+(?:[eE][+-]?[0-9]{{1,3}})?|[eE][+-]?[0-9]{{1,3}})"
_ITEM = rf"(?:{_FLOAT}|{_INT}|[A-Za-z]\w*|'[^'\\$\n\r]+'|\"[^\"\\$\n\r]+\")"
_LIST = re.compile(rf"\[ *{_ITEM}(?: *, *{_ITEM})* *\]", re.ASCII)
_CONSTANTS = {"true": True, "false": False, "null": None, "nan": float("nan"), "inf": float("inf")}


class FieldValue(NamedTuple):
    """A field given as a value, from Python or a W&B sweep file. path: dotted."""

    path: str
    value: Any


Override = str | FieldValue


class Change(NamedTuple):
    """What an override does to a config.

    kind: `choose` from a group, which Hydra does, `assign` a field or `delete` it, or none of a sweep
    (`hydra`). key: the group or the field. value: what it is given, or has to have. override: as it came.
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
                raise ConfigError(self.key, "is not there to be taken out", f"leave ~{self.key} out")
            if self.value is not None and self.value != present:
                got = f"is {present}, and another value was to be taken out"
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


def as_force_add(words: Sequence[str], choices: Container[str]) -> list[str]:
    """Return Hydra overrides such that any field can be given as `path=value`, new keys included.

    The schema refuses a key that is no field later, with the nearest name.
    """
    return [_force_add(word, choices) for word in words]


def _force_add(word: str, choices: Container[str]) -> str:
    key, equals, value = word.partition("=")
    key = key.lstrip("+") if re.match(r"\+{1,2}\w", key) and not is_hydra_override(key) else key
    if equals and key in choices:
        return f"{key}={value}"
    if equals and not is_hydra_override(key) and re.match(r"[\w.]+$", key):
        value = f"[{value}]" if _is_axis(key) and value.startswith("{") else value
        return f"++{_normal_key(key)}={value}"
    return word


def _is_axis(key: str) -> bool:
    return key.startswith(("grid.", "draws."))


def _normal_key(key: str) -> str:
    """Return the place in a config of a field; an axis over a group stands at the group's `name`."""
    return f"{key}.name" if _is_axis(key) and key.partition(".")[2] in GROUPS else key


def read_overrides(
    overrides: Sequence[Override], options: Mapping[str, list[str]], *, multirun: bool = False
) -> list[Change]:
    """Return what overrides do to a config. Raises `ConfigError` for those that are no fields here.

    Args:
        overrides: Words, each of which is parsed once, and values, which are not parsed.
        options: The choices of every group.
        multirun: Whether a word may hold the values of several jobs.
    """
    return [_read(override, options, multirun=multirun) for override in overrides]


def _read(override: Override, options: Mapping[str, list[str]], *, multirun: bool) -> Change:
    if isinstance(override, FieldValue):
        path, value = override
        if not _KEY.fullmatch(path) or is_hydra_override(path):
            # The grammar says what is wrong with such a key.
            return _read(spell(override), options, multirun=False)
        if path in options:
            return _choice(path, value, str(value), options, override)
        value = from_python(value)
        value = [value] if _is_axis(path) and isinstance(value, dict) else value
        return _assignment(_normal_key(path), value, override)
    word = _force_add(override, options)
    key, _, value = word.partition("=")
    if key.startswith("++") and _KEY.fullmatch(key[2:]) and _LIST.fullmatch(value):
        return _assignment(key[2:], [_item(text) for text in re.findall(_ITEM, value, re.ASCII)], override)
    parsed = _parse(word)
    _refuse_hydras(parsed)
    key = parsed.key_or_group
    if is_hydra_override(key):
        return Change("hydra", key, parsed.value(), override)
    # Hydra looks for a group's folder of that name, which no file system has of any length.
    if parsed.package is not None or "/" in key or not 0 < len(key) <= _LONGEST:
        named = f"{key}@{parsed.package}" if parsed.package is not None else key
        raise ConfigError(named or "override", "no such field", suggest(key, options))
    if parsed.is_sweep_override():
        _refuse_target(key)
        if not multirun:
            text = parsed.get_value_string()
            takes = f"give -m for a job of each, or grid.{key}=[…] for an axis"
            raise ConfigError(key, f"got several values, {short_repr(text)}", takes)
        return Change("assign", key, None, override)
    if parsed.is_delete():
        return Change("choose" if key in options else "delete", key, parsed.value(), override)
    if key in options:
        return _choice(key, parsed.value(), parsed.get_value_string(), options, override)
    if not (parsed.is_add() or parsed.is_force_add()):
        raise _misfit(key, override)
    return _assignment(key, parsed.value(), override)


def _item(text: str) -> Any:
    """Return an item of a list that `_LIST` takes, as Hydra's grammar reads it."""
    if text[0] in "'\"":
        return text[1:-1]
    if text[0].isalpha():
        return _CONSTANTS.get(text.lower(), text)
    return int(text) if re.fullmatch(_INT, text) else float(text)


def _parse(word: str) -> HydraOverride:
    try:
        (parsed,) = OverridesParser.create().parse_overrides([word])
    except (OverrideParseException, ValueError, RecursionError) as error:
        # An integer of more digits than Python reads, or brackets without end.
        got = f"cannot parse {short_repr(word.removeprefix('++'))}"
        raise ConfigError("override", got, "it takes path=value") from error
    return parsed


def _refuse_hydras(parsed: HydraOverride) -> None:
    """Raise `ConfigError` for a field of Hydra's own that is not to be set."""
    key, value = parsed.key_or_group, parsed.value()
    plugin = key in _PLUGINS and isinstance(value, str) and re.fullmatch(r"\w+", value)
    allowed = (plugin or _HYDRAS.fullmatch(key)) and "_target_" not in str(parsed.input_line)
    if is_hydra_override(key) and not allowed:
        takes = "of Hydra's own it takes hydra/launcher, hydra/sweeper, their fields, run.dir and sweep.dir"
        raise ConfigError(key, "not to be set here", takes)


def _refuse_target(key: str) -> None:
    if key.endswith("_target_") and key not in ("data._target_", "model._target_", "loss._target_"):
        raise ConfigError(key, "no such field", "own functions are data=own, model=own and loss=own")


def _assignment(key: str, value: Any, override: Override) -> Change:
    _refuse_target(key)
    return Change("assign", key, value, override)


def _choice(
    group: str, value: Any, text: str, options: Mapping[str, list[str]], override: Override
) -> Change:
    if value not in options[group]:
        text = value if isinstance(value, str) else text
        raise ConfigError(group, f"no such choice {short_repr(text)}", suggest(text, options[group]))
    return Change("choose", group, value, override)


def to_hydra_literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{to_hydra_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | range):
        return "[" + ",".join(to_hydra_literal(v) for v in value) + "]"
    if hasattr(value, "tolist"):
        return to_hydra_literal(value.tolist())
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
    try:
        return str(_parse(f"text={text}").value()) if text[:1] in ("'", '"') else text
    except ConfigError:
        return text
