"""Overrides: the changes that a user makes to a config, as words of a command line or as values.

Words are read by Hydra's grammar. An override that no config can use is refused here.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override as ParsedWord
from hydra.errors import OverrideParseException

from vsweep.config.grid import SPACES, axis_nodes
from vsweep.config.groups import CHOICES, check_choice, options
from vsweep.config.names import suggest_field
from vsweep.config.schema import GROUPS, SWEEP_FIELDS
from vsweep.config.values import assign, delete, from_python, select
from vsweep.errors import ConfigError, short_repr

# These fields of Hydra's own config say where and how its jobs run. All others are refused, because they can
# import modules, call functions and load configs.
_HYDRAS = re.compile(
    r"hydra\.(launcher\.[\w.]+|sweeper\.(?!params)[\w.]+)|hydra\.(run\.dir|sweep\.dir|sweep\.subdir)"
)
_LONGEST = 200
_SWEEPER = "hydra/sweeper"
_PLUGINS = ("hydra/launcher", _SWEEPER)
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
# A list of numbers, names and quoted text without escapes is read here as Hydra's grammar reads it, because
# the grammar's parser takes time quadratic in the length of a list.
_INT = r"[+-]?(?:0|[1-9][0-9]{0,17})"
_FLOAT = rf"{_INT}(?:\.[0-9]+(?:[eE][+-]?[0-9]{{1,3}})?|[eE][+-]?[0-9]{{1,3}})"
_ITEM = rf"(?:{_FLOAT}|{_INT}|[A-Za-z]\w*|'[^'\\$\n\r]+'|\"[^\"\\$\n\r]+\")"
_LIST = re.compile(rf"\[ *{_ITEM}(?: *, *{_ITEM})* *\]", re.ASCII)
# Hydra reads these words as constants where they are not quoted.
_CONSTANTS = {"true": True, "false": False, "null": None, "nan": float("nan"), "inf": float("inf")}


class Override(NamedTuple):
    """A change of a config.

    Attributes:
        kind: `choose` from a group; `assign` or `delete` a field; or `hydra` for a field of Hydra's config.
        key: The group or the field.
        value: The choice, the value to assign, or the value that the field must have to be deleted.
        source: The override as the user gave it: a word, or a field and its value.
    """

    kind: Literal["choose", "assign", "delete", "hydra"]
    key: str
    value: Any
    source: str | tuple[str, Any]

    @property
    def word(self) -> str:
        """The override as a word of a command line."""
        return self.source if isinstance(self.source, str) else spell(*self.source)

    def paths(self) -> list[str]:
        """Return the paths of the fields that an override concerns, those of a mapping that it assigns."""
        return list(self.fields())

    def fields(self) -> dict[str, Any]:
        """Return the value of each field that an override concerns, by its path."""
        return self._nested() or {self.key: self.value}

    def word_of(self, path: str) -> str:
        """Return the word that gives one of these fields its value, for messages, without a long value."""
        nested = self._nested()
        word = spell(path, nested[path]) if path in nested else self.word.lstrip("+")
        return word if len(word) <= _LONGEST else f"{path}=…"

    def _nested(self) -> dict[str, Any]:
        is_mapping = self.kind == "assign" and isinstance(self.value, dict)
        return dict(axis_nodes({self.key: self.value})) if is_mapping else {}

    def for_hydra(self) -> str:
        """Return the word that makes the same change in a config that Hydra composes.

        Hydra accepts a new key only behind `++`. It would merge a mapping with the axis that the mapping
        replaces, so a mapping is put in a list.
        """
        if self.kind in ("delete", "hydra"):
            return self.word
        text = self.word.partition("=")[2]
        text = f"[{text}]" if _is_axis(self.key) and text.startswith("{") else text
        return f"{'' if self.kind == 'choose' else '++'}{self.key}={text}"

    def apply(self, tree: dict[str, Any]) -> None:
        """Change a field of a composed config, in place. Raises `ConfigError`."""
        if self.kind == "hydra":
            raise ConfigError(self.key, "is not a field of a sweep", "give it on the command line")
        if self.kind == "delete":
            present = select(tree, self.key)
            for field in (f"{part}.{self.key}{'.name' * (self.key in GROUPS)}" for part in ("grid", "draws")):
                if select(tree, field) is not None:
                    got = f"got {self.word}, but its values are those of the axis {field}"
                    raise ConfigError(self.key, got, f"to remove the axis give ~{field}")
            if present is None:
                takes = f"leave ~{self.key} out"
                raise ConfigError(self.key, "is not in the config, so it cannot be deleted", takes)
            shown = select(tree, f"{self.key}.name") if self.key in GROUPS else present
            if self.value is not None and self.value != shown:
                got = f"is {shown}, which is not the value to delete"
                raise ConfigError(self.key, got, f"give ~{self.key}")
            delete(tree, self.key)
        elif self.kind == "assign":
            try:
                assign(tree, self.key, self.value)
            except TypeError:
                raise _misfit(self.key, self.word) from None


def _misfit(key: str, word: str) -> ConfigError:
    return ConfigError(key, f"got {short_repr(word)}", "a list and a mapping cannot replace each other")


def is_hydra_override(word: str) -> bool:
    """Return True for an override of Hydra's own config."""
    return bool(re.match(r"[+~]*hydra\b", word))


def from_value(path: str, value: Any) -> Override:
    """Return the override of a field or group that is given as a value. Raises `ConfigError`."""
    if not _KEY.fullmatch(path) or is_hydra_override(path):
        # Hydra's parser explains why it refuses such a key.
        return from_word(spell(path, value))
    if path in CHOICES:
        return _choice(path, value, str(value), (path, value))
    return assignment(path, from_python(value), (path, value))


def from_word(word: str, *, multirun: bool = False) -> Override:
    """Return the override of a word.

    Args:
        word: The word.
        multirun: Accept a word that holds the values of several jobs.

    Raises:
        ConfigError: If the word cannot be parsed, or names no field and no choice.
    """
    key, _, text = re.sub(r"^\+{1,2}", "", word).partition("=")
    if _KEY.fullmatch(key) and _LIST.fullmatch(text) and not (key in CHOICES or is_hydra_override(key)):
        return assignment(key, [_item(item) for item in re.findall(_ITEM, text, re.ASCII)], word)
    parsed = _parse(word)
    _refuse_hydra_fields(parsed)
    key = parsed.key_or_group
    if is_hydra_override(key):
        return Override("hydra", key, parsed.value(), word)
    if parsed.package is not None or "/" in key or not 0 < len(key) <= _LONGEST:
        field = f"{key}@{parsed.package}" if parsed.package is not None else key
        raise ConfigError(field or "override", "no such field", suggest_field(key, CHOICES))
    if parsed.is_sweep_override():
        if not multirun:
            text = parsed.get_value_string()
            raise ConfigError(key, f"got several values, {short_repr(text)}", _as_list(key, text))
        return Override("choose", key, None, word) if key in CHOICES else assignment(key, None, word)
    if parsed.is_delete():
        return Override("delete", key, parsed.value(), word)
    if key in CHOICES:
        return _choice(key, parsed.value(), parsed.get_value_string(), word)
    if not re.fullmatch(r"[\w.]+", key):
        raise ConfigError(key, "no such field", suggest_field(key, CHOICES))
    return assignment(key, parsed.value(), word)


def _as_list(key: str, text: str) -> str:
    """Return how to write several values, which are those of one field, of an axis or of several jobs."""
    call = re.fullmatch(r"(\w+)\((.*)\)", text)
    listed = f"'[{text}]'"
    if call:
        listed = (
            f"'{{range:[{call[2]}]}}'"
            if call[1] == "range"
            else f"'[{call[2] if call[1] == 'choice' else '…'}]'"
        )
    if _is_axis(key):
        return f"give {key}={listed}"
    if key == "seeds" or key in SWEEP_FIELDS:
        # These fields are no axes, and some of them take a list.
        listed = "'[…]'" if call else listed
        return f"give {key}={listed} for a list, or -m for one job per value"
    return f"give -m for one job per value, or grid.{key}=[…] for an axis"


def _item(text: str) -> Any:
    """Return an item of a list that `_LIST` matches, as Hydra's grammar reads it."""
    if text[0] in "'\"":
        return text[1:-1]
    if text[0].isalpha():
        return _CONSTANTS.get(text.lower(), text)
    return int(text) if re.fullmatch(_INT, text) else float(text)


def _parse(word: str) -> ParsedWord:
    try:
        (parsed,) = OverridesParser.create().parse_overrides([word])
    except (OverrideParseException, ValueError, RecursionError) as error:
        # Python refuses integers of too many digits, and brackets that are nested too deeply.
        got = f"cannot parse {short_repr(word.removeprefix('++'))}"
        raise ConfigError("override", got, _cure(word)) from error
    return parsed


def _cure(word: str) -> str:
    """Return how to write a word that cannot be parsed."""
    key, equals, text = (part.strip() for part in word.lstrip("+~").partition("="))
    if not equals:
        groups = [group for group in reversed(CHOICES) if key in options(group)]
        return f"did you mean {groups[0]}={key}?" if groups else "it takes path=value"
    quoted = spell(key, text)
    if _is_axis(key) and (call := re.fullmatch(r"(\w*)\((.*)\)", text)):
        # Calls are Python's way, and Hydra's for jobs.
        values = f"{{{call[1]}:[{call[2]}]}}" if call[1] in SPACES else f"[{call[2]}]"
        return f"did you mean {key}='{values}'?"
    if not _KEY.fullmatch(key) or len(word) > _LONGEST or re.match(r"[\[{'\"]|.*\$\{", text):
        return "it takes path=value"
    if word.lstrip("+~") != f"{key}={text}":
        return f"it takes path=value without spaces around =: {key}={text}"
    return f'it takes path=value, with quotes around text that has spaces or signs: "{quoted}"'


def _refuse_hydra_fields(parsed: ParsedWord) -> None:
    """Raise `ConfigError` for a field of Hydra's own config that users may not set."""
    key, value = parsed.key_or_group, parsed.value()
    if key == _SWEEPER and value != "basic":
        got = (
            f"got {parsed.get_value_string() or 'nothing'}, and jobs are whole sweeps, which it cannot search"
        )
        raise ConfigError(key, got, "leave it out, and list the values: grid.FIELD=[a,b,c]")
    plugin = key in _PLUGINS and isinstance(value, str) and re.fullmatch(r"\w+", value)
    allowed = (plugin or _HYDRAS.fullmatch(key)) and "_target_" not in str(parsed.input_line)
    if is_hydra_override(key) and not allowed:
        takes = "the fields to set are hydra/launcher, its fields, run.dir and sweep.dir"
        raise ConfigError(key, "cannot be set here", takes)


def _is_axis(key: str) -> bool:
    return key.startswith(("grid.", "draws."))


def assignment(key: str, value: Any, source: str | tuple[str, Any]) -> Override:
    """Return the override that assigns a value; an axis over a group is at the group's `name`."""
    if key.endswith("_target_") and key not in ("data._target_", "model._target_", "loss._target_"):
        raise ConfigError(key, "no such field", "only data, model and loss have _target_, with own as choice")
    if _is_axis(key):
        key = f"{key}.name" if key.partition(".")[2] in GROUPS else key
        value = [value] if isinstance(value, dict) else value
    return Override("assign", key, value, source)


def _choice(group: str, value: Any, text: str, source: str | tuple[str, Any]) -> Override:
    check_choice(group, value, text=text)
    return Override("choose", group, value, source)


def spell(path: str, value: Any) -> str:
    """Return a field and its value as a word of a command line."""
    return f"{path}={to_hydra_literal(value)}"


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
    if not isinstance(value, str):
        return str(value)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value) and value.lower() not in _CONSTANTS:
        return value
    # Backslashes are doubled before a quote, before an interpolation, and at the end.
    escaped = re.sub(r"(\\*)('|\$\{|$)", lambda match: match[1] * 2 + (match[2] and f"\\{match[2]}"), value)
    return f"'{escaped}'"
