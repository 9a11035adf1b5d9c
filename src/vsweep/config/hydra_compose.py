"""From a person's words to a resolved config, through Hydra; and what Hydra refuses, in a sentence."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from vsweep.config import overrides, sweep_file
from vsweep.config.overrides import Change, Override, override_key, spell
from vsweep.config.schema import GROUPS
from vsweep.config.values import is_final, put_back, resolve, set_aside
from vsweep.errors import ConfigError, short_repr, suggest

_PACKAGE = Path(__file__).parents[1]
# Beside the package in an installed wheel, at the top in a checkout.
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
CONF = _ROOT / "conf"
_SECRETS = "variables may be secrets: write the value"
CHOICES = [*GROUPS, "tracker", "sweep"]


def options(group: str) -> list[str]:
    """The choices of a config group."""
    if group == "sweep":
        return list(_sweep_files())
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _all_options() -> dict[str, list[str]]:
    return {group: options(group) for group in CHOICES}


def _sweep_files() -> dict[str, Path]:
    """Sweep files by name: those shipped, and those in `./sweeps`, which come first."""
    files = [*(_ROOT / "sweeps").glob("*.yaml"), *Path("sweeps").glob("*.yaml")]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem) if file.stem.strip(".")}


def register_sweeps(overrides: Sequence[Override], *, whole: bool = False) -> None:
    """Make the sweep files that these overrides choose, and those in their defaults, choices of `sweep=`.

    whole: for Hydra's own jobs and flags, which show every sweep file, and with its lists in place. Raises
    `ConfigError` for one that is chosen and cannot be used.
    """
    store, known, files = ConfigStore.instance(), _all_options(), _sweep_files()
    chosen = _named(overrides)
    trees: dict[str, dict[str, Any]] = {}
    refused: dict[str, ConfigError] = {}
    rest = [*(files if whole else []), *chosen]
    while rest:
        name = rest.pop()
        if name in trees or name in refused or name not in files:
            continue
        try:
            trees[name] = sweep_file.read(files[name], known)
            rest += _inner(trees[name])
        except ConfigError as error:
            refused[name] = error
    for name in trees:
        if name in _within([name], trees):
            got = f"the sweep {name} is in the defaults of its own defaults"
            refused[name] = ConfigError("defaults", got, "leave it out of one of them")
    for name in [*chosen, *sorted(_within(chosen, trees))]:
        if name in refused:
            raise refused[name]
    _lists.clear()
    for name in trees.keys() - refused.keys():
        tree = trees[name]
        fields = {key: value for key, value in tree.items() if key != "defaults"}
        node = OmegaConf.create(tree if whole else tree | set_aside(fields, _lists))
        store.store(group="sweep", name=name, node=node, package="_global_", provider="vsweep")


# The lists of the sweep files that are registered, by the token that stands for each in its file.
_lists: dict[str, list[Any]] = {}


def _inner(tree: Mapping[str, Any]) -> list[str]:
    """Return the other sweeps in the defaults of a sweep file."""
    return [entry for entry in tree.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]


def _named(overrides: Sequence[Override]) -> list[str]:
    """Return the sweeps that overrides name, in any of Hydra's ways to write one or several."""
    values = [
        spell(override).partition("=")[2] for override in overrides if override_key(override) == "sweep"
    ]
    return [name for value in values for name in re.split(r"[\s,'\"\[\]()]+", value)]


def _within(names: Iterable[str], trees: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the sweeps in the defaults of these, and in the defaults of those."""
    found: set[str] = set()
    rest = list(names)
    while rest:
        inner = set(_inner(trees.get(rest.pop(), {}))) - found
        found |= inner
        rest += inner
    return found


def as_force_add(words: Sequence[str]) -> list[str]:
    """Return Hydra overrides such that any field can be given as `path=value`."""
    return overrides.as_force_add(words, CHOICES)


def read_overrides(given: Sequence[Override], *, multirun: bool = False) -> list[Change]:
    """Return what overrides do to a config; see `overrides.read_overrides`. Raises `ConfigError`."""
    return overrides.read_overrides(given, _all_options(), multirun=multirun)


def jobs(words: Sequence[str]) -> list[list[str]]:
    """Return the words of every job of Hydra's multirun: the product of the choices they sweep over."""
    read_overrides(words, multirun=True)
    with readable_errors(words):
        parsed = OverridesParser.create().parse_overrides(as_force_add(words))
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
    """Our Hydra: the one that is running, if `vsweep` started it, else a new one."""
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
    """Keep variables of the environment, which may be secrets, out of what is kept of a sweep."""

    def refuse_it(name: str, *_: Any) -> None:
        raise ConfigError(
            "config", f"${{oc.env:{name}}} is refused", "variables may be secrets: write the value"
        )

    OmegaConf.register_new_resolver("oc.env", refuse_it, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


class Composed(NamedTuple):
    """raw: the resolved config. choices: of each group. interpolated: whether fields stood for others."""

    raw: dict[str, Any]
    choices: Mapping[str, str]
    interpolated: bool


def compose(changes: Sequence[Change], chosen: Mapping[str, str] | None = None) -> Composed:
    """Compose the choices of groups by Hydra, and change the fields of what they give.

    Args:
        changes: From `read_overrides`; the sweep files that they choose have to be registered.
        chosen: Choices of groups that stand for those of the changes.

    Raises:
        ConfigError: For what cannot be composed.
    """
    chosen = chosen or {}
    for change in changes:
        if change.kind == "hydra":
            raise ConfigError(override_key(change.override), "not of a sweep", "it is for the command line")
    words = [
        spell(change.override)
        for change in changes
        if change.kind == "choose" and override_key(change.override) not in chosen
    ]
    words += [f"{group}={value}" for group, value in chosen.items()]
    with _hydra(), readable_errors(words, ValueError), _no_environment():
        cfg = hydra.compose("config", as_force_add(words), return_hydra_config=True)
        fields = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        tree = put_back(OmegaConf.to_container(fields, resolve=False), _lists)
        for change in changes:
            change.apply(tree)
        return Composed(resolve(tree), dict(cfg.hydra.runtime.choices), not is_final(tree))


@contextmanager
def readable_errors(words: Sequence[str], *more: type[Exception]) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into one clear message. more: what else they raise here."""
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
        raise _translated(error, words) from error


def _translated(error: Exception, words: Sequence[str]) -> ConfigError:
    """The field, and what was wrong with it, out of Hydra's own words."""
    reason = " ".join(str(error).split())
    path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    if found := re.search(r"\$\{oc\.env:.*? is refused", reason):
        return ConfigError(path or "config", found[0], _SECRETS)
    if found := re.search(r"Could not find '([\w/]+)/([^'/]+)'", reason):
        group, choice = found.groups()
        known = options(group) if group in CHOICES else _plugins(reason)
        return ConfigError(group, f"no such choice {choice!r}", suggest(choice, known))
    if found := re.search(r"Could not delete '(\w+)=(\w+)'", reason):
        got = f"is not {found[2]}, which was to be taken out"
        return ConfigError(found[1], got, f"leave ~{found[1]} out")
    if "Missing mandatory value" in reason:
        return ConfigError(path or "config", "got ???, which stands for no value", "give one")
    if found := re.search(r"(?:Could not override|Error merging override) '?\+*([\w./@-]+)", reason):
        takes = f"{_word_of(found[1], words)} does not fit its field"
        return ConfigError(found[1], "cannot be given there", takes)
    return ConfigError(path or "config", reason.split(" full_key:")[0], "give plain values, as path=value")


def _word_of(path: str, words: Sequence[str]) -> str:
    """The word that gave a path, as far as it can be told."""
    return next((repr(word) for word in reversed(words) if word.lstrip("+~").startswith(path)), "it")


def _plugins(reason: str) -> list[str]:
    """Of a group of Hydra's own the choices, out of what it says."""
    found = re.search(r"Available options in '[\w/]+': (.*?) Config search path", reason)
    return found[1].split() if found else []
