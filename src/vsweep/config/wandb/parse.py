"""What a W&B sweep file says, read and checked: its parameters by our fields, and what is no use here."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vsweep.config.constraints import Constraint
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.config.sweep_file import load
from vsweep.errors import ConfigError, short_repr, suggest

# The words that say which field a parameter is of.
NAMES = "wandb_sweep.names"
# What W&B's file says: of itself, of what W&B starts and shows, and what cannot be had here.
_ITS_OWN = ["method", "parameters", "run_cap", "name", "description", "project", "entity"]
_ITS_OWN += ["kind", "apiVersion", "version"]
_UNUSED = {
    **dict.fromkeys(
        ("program", "command", "job", "image_uri", "launch", "scheduler", "controller"),
        "vsweep trains the models itself",
    ),
    "metric": "cells are ranked by what is held out, and vsweep.load(…).cells(metric) ranks by another",
}
_KEYS = (*_ITS_OWN, *_UNUSED, "early_terminate")
# What others call our fields.
_ALIASES = {
    "learning_rate": "optimizer.lr",
    "beta1": "optimizer.b1",
    "beta2": "optimizer.b2",
    "hidden": "model.width",
    "hidden_size": "model.width",
}
# And what they call what is not quite the same here, for a person to decide.
_LIKE = {
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "iterations"), "steps"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "total_steps"), "steps"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers"), "depth"),
    **dict.fromkeys(("units", "num_units", "layer_size", "fc_layer_size", "hidden_dim"), "width"),
    "wd": "weight_decay",
}
# Text that stands for something else.
_WRITTEN: tuple[tuple[Callable[[str], Any], str], ...] = (
    (int, r"[-+]?[0-9]{1,18}"),
    (float, r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"),
    (lambda text: text.lower() == "true", r"(?i:true|false)"),
)


class WandbFile(NamedTuple):
    """A W&B sweep file.

    random: whether its method is random, and not grid. parameters: by our field, what to name each by, and
    what is said of it. run_cap: as it is written, or None. tracker: `project` and `entity`, where they are
    given. unused: what it says that has no part here, and why.
    """

    random: bool
    parameters: Mapping[str, tuple[str, Mapping[str, Any]]]
    run_cap: Any
    tracker: Mapping[str, str]
    unused: Mapping[str, str]


def read(path: Path, names: Mapping[str, str | None]) -> WandbFile:
    """A W&B sweep file.

    names: by a parameter's name the field that it is of, None for one to leave out; the others name their
    own. Raises `ConfigError`, and what `sweepfile.readable` puts in a sentence.
    """
    given = load(path)
    _refuse_keys(given)
    tracker = {key: given[key] for key in ("project", "entity") if given.get(key) is not None}
    unused = {key: why for key, why in _UNUSED.items() if key in given}
    named = _named(given.get("parameters"), names)
    return WandbFile(given["method"] == "random", named, given.get("run_cap"), tracker, unused)


def _refuse_keys(given: Mapping[Any, Any]) -> None:
    """Raise `ConfigError` for what says how to go about the trainings in a way that is not had here."""
    for key in given:
        if key not in _KEYS:
            raise ConfigError(str(key), "no field of a W&B sweep file", suggest(str(key), _KEYS))
    method = given.get("method")
    if method not in ("grid", "random"):
        got = "got nothing" if method is None else f"got {short_repr(method)}"
        raise ConfigError("method", got, "it takes grid or random: all is planned before the first training")
    if given.get("early_terminate"):
        got = f"got {short_repr(given['early_terminate'])}"
        raise ConfigError("early_terminate", got, "every training goes to its end: leave it out")
    metric = given.get("metric")
    if isinstance(metric, Mapping) and "target" in metric:
        raise ConfigError(
            "metric.target", f"got {short_repr(metric['target'])}", "no value ends a sweep: leave it out"
        )
    for key in ("project", "entity"):
        if given.get(key) is not None and not isinstance(given[key], str):
            raise ConfigError(key, f"got {short_repr(given[key])}", "it takes text")


def _named(parameters: Any, names: Mapping[str, str | None]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By our field, what to name each parameter by, and what is said of it. Raises `ConfigError`."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    flat = dict(_flat(parameters, ""))
    for name in names:
        if name not in flat:
            raise ConfigError(f"{NAMES}.{name}", "no such parameter", suggest(name, flat))
    for name, given in flat.items():
        said = names.get(name, name)
        if said is None:
            continue
        path, field = _field_of(said, name), f"parameters.{name}"
        if path in found:
            raise ConfigError(field, f"{path} is given twice, by {found[path][0]} too", "give it once")
        found[path] = (field, _typed(path, given))
    return found


def _typed(path: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, with numbers and booleans that are written as text, of a field that takes no such text.

    W&B hands values to a program as words of its command line, where "1e-3" and 1e-3 are the same, and its
    own YAML reads 1e-3 as text.
    """
    takes = FIELDS.get(path)
    if takes is None:
        return given

    def typed(value: Any) -> Any:
        if not isinstance(value, str) or _taken(takes, value):
            return value
        read = next((kind(value) for kind, pattern in _WRITTEN if re.fullmatch(pattern, value)), value)
        return read if _taken(takes, read) else value

    made = dict(given)
    if "value" in made:
        made["value"] = typed(made["value"])
    if isinstance(made.get("values"), list):
        made["values"] = [typed(value) for value in made["values"]]
    return made


def _taken(takes: Constraint, value: Any) -> bool:
    try:
        takes.parse(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _flat(parameters: Any, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every parameter by its dotted name, those of nested ones too."""
    if not isinstance(parameters, Mapping) or not parameters:
        got = "got nothing" if parameters is None else f"got {short_repr(parameters)}"
        takes = "it takes names, and of each its values, value, or min and max"
        raise ConfigError(f"parameters.{prefix}".rstrip("."), got, takes)
    for key, given in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(given, Mapping) and set(given) == {"parameters"}:
            yield from _flat(given["parameters"], f"{name}.")
        elif isinstance(given, Mapping):
            yield name, given
        else:
            takes = f"it takes a mapping, as {{value: {short_repr(given)}}}"
            raise ConfigError(f"parameters.{name}", f"got {short_repr(given)}", takes)


def _field_of(said: str, name: str) -> str:
    """The field that is said: by its path, or by a last part that one field alone has. name: for whom."""
    group, _, rest = said.partition(".")
    last = said.rpartition(".")[2]
    field = f"parameters.{name}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", said):
        raise ConfigError(field, "no such field", _near(last, name))
    if said in SWEEP_FIELDS or group in ("tracker", "keep", "hydra", "grid", "draws", "sweep"):
        takes = f"give {said}=… on the command line"
        raise ConfigError(field, "no field of a training", takes)
    if group in GROUPS:
        # Of a person's own functions the fields are not known here.
        return group if rest == "name" else said
    if last in ("seed", "seeds"):
        return "seeds"
    found = [path for path in FIELDS if path.rpartition(".")[2] == last]
    if len(found) == 1:
        return found[0]
    if said in _ALIASES:
        return _ALIASES[said]
    takes = f"say which: {NAMES}.{name}={' or '.join(found)}" if found else _near(last, name)
    raise ConfigError(field, "no such field", takes)


def _near(last: str, name: str) -> str:
    """Which of the names that are known a last part is nearest to, and how to say another."""
    fields = dict.fromkeys([*GROUPS, "seed", *(path.rpartition(".")[2] for path in FIELDS)])
    near = f"did you mean {_LIKE[last]}?" if last in _LIKE else suggest(last, [*fields, *_ALIASES])
    says = f"{NAMES}.{name}=… says its field, or null to leave it out"
    # Where none is near, what to do goes before all that there is.
    return f"{near} {says}" if near.endswith("?") else f"{says}; fields are {', '.join(fields)}"
