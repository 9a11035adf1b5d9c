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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from vsweep.config import overrides as _overrides
from vsweep.config import sweep_file
from vsweep.config.schema import GROUPS
from vsweep.errors import ConfigError, short_repr, suggest

_PACKAGE = Path(__file__).parents[1]
# Beside the package in an installed wheel, at the top in a checkout.
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
CONF = _ROOT / "conf"
_PROVIDER = "vsweep"
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


def register_sweeps(words: Sequence[str]) -> None:
    """Make every sweep file a choice of `sweep=`.

    Raises `ConfigError` for one that cannot be used, if these words choose it.
    """
    store, known = ConfigStore.instance(), _all_options()
    nodes: dict[str, DictConfig] = {}
    refused: dict[str, ConfigError] = {}
    for name, file in _sweep_files().items():
        try:
            nodes[name] = sweep_file.read(file, known)
        except ConfigError as error:
            refused[name] = error
    for name in nodes:
        if name in _within([name], nodes):
            got = f"the sweep {name} is in the defaults of its own defaults"
            refused[name] = ConfigError("defaults", got, "leave it out of one of them")
    # Those of another folder, or of before they were edited, are no choices any more.
    for key, kept in list(store.repo.get("sweep", {}).items()):
        if kept.provider == _PROVIDER:
            del store.repo["sweep"][key]
    for name, node in nodes.items():
        if name not in refused:
            store.store(group="sweep", name=name, node=node, package="_global_", provider=_PROVIDER)
    chosen = _named(words)
    for name in [*chosen, *sorted(_within(chosen, nodes))]:
        if name in refused:
            raise refused[name]


def _named(words: Sequence[str]) -> list[str]:
    """The sweeps that these words name, by any of Hydra's ways to write one or several."""
    given = [word.partition("=") for word in words]
    values = [value for key, _, value in given if key.lstrip("+") == "sweep"]
    return [name for value in values for name in re.split(r"[\s,'\"\[\]()]+", value)]


def _within(names: Iterable[str], nodes: Mapping[str, DictConfig]) -> set[str]:
    """The sweeps in the defaults of these, and in the defaults of those."""
    found: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        defaults = nodes[name].get("defaults", []) if name in nodes else []
        inner = {one for one in defaults if isinstance(one, str)} - found
        found |= inner
        rest += inner
    return found


def as_force_add(words: Sequence[str]) -> list[str]:
    """Hydra overrides such that any field can be given as `path=value`; see `words.forced`."""
    return _overrides.as_force_add(words, CHOICES)


def check_overrides(words: Sequence[str], *, multirun: bool = False) -> None:
    """Raise `ConfigError` for overrides that Hydra would take, and that are no fields here."""
    _overrides.check_overrides(as_force_add(words), _all_options(), multirun=multirun)


def jobs(words: Sequence[str]) -> list[list[str]]:
    """The words of every job of Hydra's multirun: the product of the choices they sweep over."""
    check_overrides(words, multirun=True)
    with readable_errors(words):
        parsed = OverridesParser.create().parse_overrides(as_force_add(words))
        each = []
        for override in parsed:
            if override.is_sweep_override():
                key = override.get_key_element()
                each.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                each.append([str(override.input_line)])
    return [list(job) for job in product(*each)]


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


def compose(words: Sequence[str]) -> Composed:
    """The config of these overrides; sweep files have to be registered. Raises `ConfigError`."""
    for word in words:
        if _overrides.is_hydra_override(word):
            raise ConfigError(word.partition("=")[0], "not of a sweep", "it is for the command line")
    check_overrides(words)
    with _hydra(), readable_errors(words, ValueError), _no_environment():
        cfg = hydra.compose("config", as_force_add(words), return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        fields = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        interpolated = "${" in OmegaConf.to_yaml(fields)
        raw: Any = OmegaConf.to_container(fields, resolve=True, throw_on_missing=True)
    return Composed(raw, choices, interpolated)


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
    if found := re.search(r"'([\w.]+)' does not exist", reason):
        return ConfigError(found[1], "is not there to be taken out", f"leave ~{found[1]} out")
    if found := re.search(r"The value of '([\w.]+)' is (.*) and not", reason):
        got = f"is {found[2]}, and another value was to be taken out"
        return ConfigError(found[1], got, f"give ~{found[1]}")
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
