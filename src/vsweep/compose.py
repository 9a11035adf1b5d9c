"""From a person's words to a resolved config, through Hydra; and what Hydra refuses, in a sentence."""

import re
from collections.abc import Iterator, Mapping, Sequence
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
from yaml import YAMLError

from vsweep.errors import ConfigError, nearest
from vsweep.grid import is_space
from vsweep.schema import GROUPS

_PACKAGE = Path(__file__).parent
# Beside the package in an installed wheel, at the top in a checkout.
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
CONF = _ROOT / "conf"
CHOICES = [*GROUPS, "tracker", "sweep"]


def options(group: str) -> list[str]:
    """The choices of a config group."""
    if group == "sweep":
        return list(_sweep_files())
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _sweep_files() -> dict[str, Path]:
    """Sweep files by name: those shipped, and those in `./sweeps`, which come first."""
    files = [*(_ROOT / "sweeps").glob("*.yaml"), *Path("sweeps").glob("*.yaml")]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def register_sweeps(words: Sequence[str]) -> None:
    """Make every sweep file a choice of `sweep=`.

    Raises `ConfigError` for one that cannot be read, if these words choose it.
    """
    for name, file in _sweep_files().items():
        try:
            node = OmegaConf.load(file)
            if not isinstance(node, DictConfig):
                raise ValueError("it holds no fields")
            _choose_named(node)
            if isinstance(node.get("grid"), DictConfig):
                node["grid"] = _normal_axes(OmegaConf.to_container(node["grid"]))
        except (YAMLError, OmegaConfBaseException, OSError, ValueError) as error:
            if f"sweep={name}" in words:
                reason = " ".join(str(error).split())
                raise ConfigError("sweep", f"cannot read {file} ({reason})", "it takes YAML") from error
            continue
        ConfigStore.instance().store(group="sweep", name=name, node=node, package="_global_")


def _choose_named(node: DictConfig) -> None:
    """Let `data: iris` in a sweep file be what `override /data: iris` in its defaults is."""
    for group in CHOICES:
        if isinstance(node.get(group), str):
            chosen = {f"override /{group}": node.pop(group)}
            node["defaults"] = [*node.get("defaults", []), chosen]


def _normal_axes(tree: Any) -> dict[str, Any]:
    """A `grid:` tree in which every axis is a list, at the nested place of its dotted path.

    Hydra cannot put a list where a mapping stands, and would merge two mappings: as lists, axes replace
    one another.
    """
    made: dict[str, Any] = {}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, Mapping) and not is_space(node):
            for key, value in node.items():
                visit(value, f"{path}.{key}" if path else str(key))
            return
        *parents, last = (f"{path}.name" if path in GROUPS else path).split(".")
        place = made
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = [node] if isinstance(node, Mapping) else node

    visit(tree, "")
    return made


def forced(words: Sequence[str]) -> list[str]:
    """Hydra overrides such that any field can be given as `path=value`, new keys included.

    What is no field is refused later, by the schema, with the nearest name.
    """
    made = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key not in CHOICES and key.split(".")[0] != "hydra" and re.match(r"[\w.]+$", key):
            axis = key.removeprefix("grid.")
            key = f"{key}.name" if key != axis and axis in GROUPS else key
            value = f"[{value}]" if key != axis and value.startswith("{") else value
            word = f"++{key}={value}"
        made.append(word)
    return made


def jobs(words: Sequence[str]) -> list[list[str]]:
    """The words of every job of Hydra's multirun: the product of the choices they sweep over."""
    with readable_errors(words):
        parsed = OverridesParser.create().parse_overrides(forced(words))
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


class Composed(NamedTuple):
    """raw: the resolved config. choices: of each group. interpolated: whether fields stood for others."""

    raw: dict[str, Any]
    choices: Mapping[str, str]
    interpolated: bool


def compose(words: Sequence[str]) -> Composed:
    """The config of these overrides; sweep files have to be registered. Raises `ConfigError`."""
    with _hydra(), readable_errors(words, ValueError):
        cfg = hydra.compose("config", forced(words), return_hydra_config=True)
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
        raise ConfigError("override", f"cannot parse {word!r}", "it takes path=value") from error
    except (HydraException, OmegaConfBaseException, *more) as error:
        raise _translated(error, words) from error


def _translated(error: Exception, words: Sequence[str]) -> ConfigError:
    """The field, and what was wrong with it, out of Hydra's own words."""
    for word in words:
        group, _, choice = word.partition("=")
        known = options(group) if group in CHOICES else []
        if known and choice not in known and "," not in choice:
            return ConfigError(group, f"no such choice {choice!r}", nearest(choice, known))
    reason = " ".join(str(error).split())
    if found := re.search(r"Could not find '(\w+)/(\w+)'", reason):
        group, choice = found.groups()
        return ConfigError(group, f"no such choice {choice!r}", nearest(choice, options(group)))
    if found := re.search(r"'([\w.]+)' does not exist", reason):
        return ConfigError(found[1], "is not there to be taken out", f"leave ~{found[1]} out")
    path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    return ConfigError(path or "config", reason.split(" full_key:")[0], "")
