"""Compose a resolved config from overrides by Hydra, and explain what Hydra refuses in one message."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from vsweep.config import sweep_file
from vsweep.config.groups import CHOICES, CONF, options, sweep_files
from vsweep.config.overrides import Change, Override, as_force_add, override_key, read_overrides, spell
from vsweep.config.values import is_final, put_back, resolve, set_aside
from vsweep.errors import ConfigError, short_repr, suggest

_SECRETS = "variables may be secrets: write the value"
# The lists of the registered sweep files, by the token that replaces each in its file.
_lists: dict[str, list[Any]] = {}


def register_sweeps(overrides: Sequence[Override], *, whole: bool = False) -> None:
    """Make the sweep files that overrides choose, and those in their defaults, choices of `sweep=`.

    Args:
        overrides: The overrides.
        whole: Register every sweep file, with its lists in place, as Hydra's own jobs and flags need them.

    Raises:
        ConfigError: If a chosen sweep file cannot be used.
    """
    store, files, chosen = ConfigStore.instance(), sweep_files(), _chosen_sweeps(overrides)
    trees: dict[str, dict[str, Any]] = {}
    refused: dict[str, ConfigError] = {}
    rest = [*(files if whole else []), *chosen]
    while rest:
        name = rest.pop()
        if name in trees or name in refused or name not in files:
            continue
        try:
            trees[name] = sweep_file.read(files[name])
            rest += _default_sweeps(trees[name])
        except ConfigError as error:
            refused[name] = error
    for name in trees:
        if name in _nested_sweeps([name], trees):
            got = f"the sweep {name} is in the defaults of its own defaults"
            refused[name] = ConfigError("defaults", got, "leave it out of one of them")
    for name in [*chosen, *sorted(_nested_sweeps(chosen, trees))]:
        if name in refused:
            raise refused[name]
    _lists.clear()
    for name in trees.keys() - refused.keys():
        tree = trees[name]
        fields = {key: value for key, value in tree.items() if key != "defaults"}
        node = OmegaConf.create(tree if whole else tree | set_aside(fields, _lists))
        store.store(group="sweep", name=name, node=node, package="_global_", provider="vsweep")


def _default_sweeps(tree: Mapping[str, Any]) -> list[str]:
    """Return the other sweeps in the defaults of a sweep file."""
    return [entry for entry in tree.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]


def _chosen_sweeps(overrides: Sequence[Override]) -> list[str]:
    """Return the sweeps that overrides name, in any of Hydra's ways to write one or several."""
    values = [
        spell(override).partition("=")[2] for override in overrides if override_key(override) == "sweep"
    ]
    return [name for value in values for name in re.split(r"[\s,'\"\[\]()]+", value)]


def _nested_sweeps(names: Iterable[str], trees: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the sweeps in the defaults of some sweeps, and in the defaults of those, at any depth."""
    nested: set[str] = set()
    rest = list(names)
    while rest:
        new = set(_default_sweeps(trees.get(rest.pop(), {}))) - nested
        nested |= new
        rest += new
    return nested


def jobs(words: Sequence[str]) -> list[list[str]]:
    """Return the words of every job of Hydra's multirun, the product of the values that the words sweep over.

    Raises:
        ConfigError: If Hydra cannot parse a word.
    """
    read_overrides(words, multirun=True)
    with readable_errors(words):
        parsed = OverridesParser.create().parse_overrides(list(map(as_force_add, words)))
        columns = []
        for override in parsed:
            if override.is_sweep_override():
                key = override.get_key_element()
                columns.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                columns.append([str(override.input_line)])
    return [list(job) for job in product(*columns)]


@contextmanager
def _hydra() -> Iterator[None]:
    """Use the running Hydra if `vsweep` started it, and otherwise a new one."""
    running = GlobalHydra.instance()
    if running.is_initialized():
        paths = [str(p.path) for p in running.config_loader().get_search_path().get_path()]
        if any(path.removeprefix("file://") == str(CONF) for path in paths):
            yield
            return
    kept = running.hydra
    running.clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        running.hydra = kept


@contextmanager
def _no_environment() -> Iterator[None]:
    """Refuse variables of the environment, which may be secrets, in the config that is stored."""

    def refuse(name: str, *_: Any) -> None:
        raise ConfigError("config", f"${{oc.env:{name}}} is refused", _SECRETS)

    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


class Composed(NamedTuple):
    """A composed config.

    Attributes:
        raw: The resolved config.
        choices: The choice of each group.
        interpolated: Whether fields referred to others.
    """

    raw: dict[str, Any]
    choices: Mapping[str, str]
    interpolated: bool


def compose(changes: Sequence[Change], chosen: Mapping[str, str] | None = None) -> Composed:
    """Compose the choices of groups by Hydra, and change fields of the result.

    Args:
        changes: The changes from `read_overrides`; the sweep files that they choose must be registered.
        chosen: Choices by group, in place of those in the changes.

    Raises:
        ConfigError: If the config cannot be composed.
    """
    chosen = chosen or {}
    for change in changes:
        if change.kind == "hydra":
            key = override_key(change.override)
            raise ConfigError(key, "is no field of a sweep", "give it on the command line")
    words = [
        spell(change.override)
        for change in changes
        if change.kind == "choose" and override_key(change.override) not in chosen
    ]
    words += [f"{group}={value}" for group, value in chosen.items()]
    with _hydra(), readable_errors(words, ValueError), _no_environment():
        cfg = hydra.compose("config", list(map(as_force_add, words)), return_hydra_config=True)
        fields = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        tree = put_back(OmegaConf.to_container(fields, resolve=False), _lists)
        for change in changes:
            change.apply(tree)
        return Composed(resolve(tree), dict(cfg.hydra.runtime.choices), not is_final(tree))


@contextmanager
def readable_errors(words: Sequence[str], *more: type[Exception]) -> Iterator[None]:
    """Turn an error of Hydra or OmegaConf into a `ConfigError`.

    Args:
        words: The overrides that Hydra was given.
        more: Other errors that Hydra raises here.
    """
    try:
        yield
    except ConfigError:
        raise
    except OverrideParseException as error:
        word = str(error.override).removeprefix("++")
        raise ConfigError("override", f"cannot parse {short_repr(word)}", "it takes path=value") from error
    except RecursionError as error:
        raise ConfigError("config", "a value is nested too deeply", "give plain values") from error
    except (HydraException, OmegaConfBaseException, *more) as error:
        raise _as_config_error(error, words) from error


def _as_config_error(error: Exception, words: Sequence[str]) -> ConfigError:
    """Return an error of Hydra's with the field and the reason, read from Hydra's message."""
    reason = " ".join(str(error).split())
    path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    if match := re.search(r"\$\{oc\.env:.*? is refused", reason):
        return ConfigError(path or "config", match[0], _SECRETS)
    if match := re.search(r"Could not find '([\w/]+)/([^'/]+)'", reason):
        group, choice = match.groups()
        # Hydra's message lists the choices of a group of its own.
        listed = re.search(r"Available options in '[\w/]+': (.*?) Config search path", reason)
        known = options(group) if group in CHOICES else listed[1].split() if listed else []
        return ConfigError(group, f"no such choice {choice!r}", suggest(choice, known))
    if match := re.search(r"Could not delete '(\w+)=(\w+)'", reason):
        got = f"is not {match[2]}, so ~{match[1]}={match[2]} deletes nothing"
        return ConfigError(match[1], got, f"leave ~{match[1]} out")
    if "Missing mandatory value" in reason:
        return ConfigError(path or "config", "got ???, which stands for no value", "give one")
    if match := re.search(r"(?:Could not override|Error merging override) '?\+*([\w./@-]+)", reason):
        word = next((repr(w) for w in reversed(words) if w.lstrip("+~").startswith(match[1])), "it")
        return ConfigError(match[1], "cannot be given there", f"{word} does not fit its field")
    return ConfigError(path or "config", reason.split(" full_key:")[0], "give plain values, as path=value")
