"""From Hydra's words to a study: the base config, its axes, and a variant per choice of groups."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vsweep.config import GROUPS, OWN, Config, check, parse_axis, sweep_seeds, taken, with_values
from vsweep.errors import ConfigError, nearest
from vsweep.grid import Axis, Grid, axis_values, expand

_PACKAGE = Path(__file__).parent
# Beside the package in an installed wheel, at the top in a checkout.
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
CONF = _ROOT / "conf"
_CHOICES = [*GROUPS, "tracker", "sweep"]
_INIT = "model.init"
# A sweep without a name is called after these.
_NAMING = ("data", "model")


@dataclass(frozen=True)
class Study:
    """What a sweep is to train, composed and checked.

    name: of the sweep. words: the overrides that it was composed from. raw: the resolved config as
    written. grid: all its cells. variants: the config of the cells of each choice on the axes over groups,
    by those values in axis order. group_axes: which axes these are. own: a person's own functions.
    """

    name: str
    words: tuple[str, ...]
    raw: Mapping[str, Any]
    grid: Grid
    variants: Mapping[tuple[str, ...], Config]
    group_axes: tuple[int, ...]
    own: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, number: int) -> Config:
        """The config of a cell, by its number."""
        row = int(np.searchsorted(self.grid.cells, number))
        axes = zip(self.grid.axes, self.grid.index[row], strict=True)
        values = {axis.path: axis.values[i] for axis, i in axes if i >= 0}
        choice = tuple(values[self.grid.axes[a].path] for a in self.group_axes)
        return with_values(self.variants[choice], values)


def register_sweeps() -> list[str]:
    """Make every sweep file a choice of `sweep=`: those shipped, and those in `./sweeps`."""
    store, names = ConfigStore.instance(), []
    files = [*sorted((_ROOT / "sweeps").glob("*.yaml")), *sorted(Path("sweeps").glob("*.yaml"))]
    for file in files:
        try:
            node = OmegaConf.load(file)
        except (YAMLError, OSError, UnicodeDecodeError) as error:
            if f"sweep={file.stem}" in sys.argv:
                reason = " ".join(str(error).split())
                raise ConfigError("sweep", f"cannot read {file} ({reason})", "it takes YAML") from error
            continue
        store.store(group="sweep", name=file.stem, node=node, package="_global_")
        names.append(file.stem)
    return list(dict.fromkeys(names))


def forced(words: Sequence[str]) -> list[str]:
    """Hydra overrides such that any field can be given as `path=value`, new keys included.

    What is no field is refused later, by the schema, with the nearest name. A mapping on an axis goes in
    a list, since Hydra would merge it with the mapping that the sweep file has there.
    """
    made = []
    for word in words:
        key, equals, value = word.partition("=")
        plain = equals and key[:1] not in "+~-" and key not in _CHOICES
        if plain and not key.startswith("hydra") and "@" not in key and "/" not in key:
            value = f"[{value}]" if key.startswith("grid.") and value.startswith("{") else value
            word = f"++{key}={value}"
        made.append(word)
    return made


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


def compose(words: Sequence[str]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The resolved config of these overrides, and the choice of each group.

    Raises `ConfigError`.
    """
    with _hydra(), readable_errors(words):
        cfg = hydra.compose("config", forced(words), return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        fields = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        raw: Any = OmegaConf.to_container(fields, resolve=True, throw_on_missing=True)
    return raw, choices


@contextmanager
def readable_errors(words: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into one clear message."""
    try:
        yield
    except OverrideParseException as error:
        word = str(error.override).removeprefix("++")
        raise ConfigError("override", f"cannot parse {word!r}", "it takes path=value") from error
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _translated(error, words) from error


def _translated(error: Exception, words: Sequence[str]) -> ConfigError:
    for word in words:
        group, _, choice = word.partition("=")
        known = options(group) if group in _CHOICES else []
        if known and choice not in known and "," not in choice:
            return ConfigError(group, f"no such choice {choice!r}", nearest(choice, known))
    path = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    reason = str(error).splitlines()[0].strip()
    return ConfigError(path or "config", reason, "")


def options(group: str) -> list[str]:
    """The choices of a config group."""
    if group == "sweep":
        return register_sweeps()
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def study(words: Sequence[str], own: Mapping[str, Any] | None = None) -> Study:
    """Compose and check a sweep.

    words: Hydra overrides. own: a person's own functions for `model`, `loss`, and `data`.

    Raises `ConfigError`.
    """
    own = dict(own or {})
    register_sweeps()
    words = [w for w in words if w.partition("=")[0] not in own] + [f"{g}={OWN}" for g in own]
    raw, choices = compose(words)
    written = _written_axes(raw.get("grid"))
    for path, values in written:
        if path in GROUPS:
            for value in values:
                if value not in options(path):
                    message = nearest(str(value), options(path))
                    raise ConfigError(f"grid.{path}", f"no such choice {value!r}", message)
    over_groups = tuple(i for i, (path, _) in enumerate(written) if path in GROUPS)
    variants = {}
    for combination in product(*(written[i][1] for i in over_groups)):
        chosen = {written[i][0]: value for i, value in zip(over_groups, combination, strict=True)}
        variant = raw if not chosen else compose(_choosing(words, chosen))[0]
        with _axis_errors(path for path, _ in written):
            variants[combination] = check(_without_axes(variant, written), own, strict=not chosen)
    axes = _checked_axes(written, list(variants.values()))
    grid = expand(axes, sweep_seeds(raw), *_collapse(axes, over_groups, variants))
    name = choices.get("sweep") or "-".join(_called(next(iter(variants.values())), g) for g in _NAMING)
    return Study(name, tuple(words), raw, grid, variants, over_groups, own)


@contextmanager
def _axis_errors(paths: Iterable[str]) -> Iterator[None]:
    """Name the axis, where the value that is refused stands on one."""
    try:
        yield
    except ConfigError as error:
        if error.field not in paths:
            raise
        raise ConfigError(f"grid.{error.field}", error.got, error.takes) from error


def _called(config: Config, group: str) -> str:
    part = getattr(config, group)
    return part.name if part.name != OWN else getattr(part.function, "__name__", "arrays")


def _choosing(words: Sequence[str], chosen: Mapping[str, str]) -> list[str]:
    kept = [word for word in words if word.partition("=")[0] not in chosen]
    return [*kept, *(f"{group}={choice}" for group, choice in chosen.items())]


def _written_axes(tree: Any) -> list[tuple[str, tuple[Any, ...]]]:
    """Every axis of a `grid:` tree, in order; the `name` of a group is the group's own axis."""
    found: list[tuple[str, tuple[Any, ...]]] = []

    def visit(node: Any, path: str) -> None:
        space = isinstance(node, Mapping) and set(node) & {"logspace", "linspace", "range"}
        if isinstance(node, Mapping) and not space:
            for key, value in node.items():
                visit(value, f"{path}.{key}" if path else str(key))
            return
        if not path:
            raise ConfigError("grid", f"got {node!r}", "it takes fields and their values")
        group = path.removesuffix(".name")
        path = group if group in GROUPS else path
        found.append((path, axis_values(path, node)))

    visit(tree or {}, "")
    paths = [path for path, _ in found]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"grid.{path}", "given twice", "give an axis once")
    return found


def _without_axes(raw: Mapping[str, Any], axes: list[tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
    """The config with each axis's first value in place, so that what it lacks is not missed."""
    made = OmegaConf.create(dict(raw))
    for path, values in axes:
        group = path.partition(".")[0]
        known = isinstance(raw.get(group), Mapping) and path not in GROUPS
        if known and path.partition(".")[2] in raw[group]:
            OmegaConf.update(made, path, values[0], merge=False)
    plain: Any = OmegaConf.to_container(made)
    return plain


def _checked_axes(written: list[tuple[str, tuple[Any, ...]]], variants: list[Config]) -> list[Axis]:
    return [
        Axis(path, values if path in GROUPS else parse_axis(path, values, variants))
        for path, values in written
    ]


def _collapse(axes: list[Axis], over_groups: tuple[int, ...], variants: Mapping[tuple, Config]) -> Any:
    """What `expand` needs to know which fields a cell has."""
    selectors = [axes[i].path for i in over_groups]
    inits = [axis.path for axis in axes if axis.path == _INIT and "zeros" in axis.values]

    def has(chosen: Mapping[str, Any]) -> set[str]:
        config = variants[tuple(chosen[path] for path in selectors)]
        paths = taken(config)
        if _INIT in chosen and _INIT in paths and config.model.fields.get("init_scale") is not None:
            scale = {"model.init_scale"}
            paths = paths - scale if chosen[_INIT] == "zeros" else paths | scale
        return paths

    return [*selectors, *inits], has
