"""The typed schema: every field of a config, and what it takes."""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from vsweep.descent.optimizer import OPTIMIZERS, SCHEDULES
from vsweep.errors import ConfigError, shown
from vsweep.tasks.data import DATASETS
from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.models import ACTIVATIONS, MODELS


class Takes(NamedTuple):
    """What a field takes. text: in words. parse: the value as its type; raises ValueError."""

    text: str
    parse: Callable[[Any], Any]


def _number(given: Any, low: float, high: float, *, ends: tuple[bool, bool], whole: bool) -> float | int:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError
    above = given > low or (ends[0] and given == low)
    below = given < high or (ends[1] and given == high)
    if not (above and below) or (whole and given != int(given)):
        raise ValueError
    return int(given) if whole else float(given)


def _real(text: str, low: float, high: float = math.inf, ends: tuple[bool, bool] = (True, False)) -> Takes:
    return Takes(f"a number {text}", partial(_number, low=low, high=high, ends=ends, whole=False))


def _whole(low: int, high: int = 2**31 - 1) -> Takes:
    text = f"an integer of at least {low}" if high == 2**31 - 1 else f"an integer from {low} to {high}"
    return Takes(text, partial(_number, low=low, high=high, ends=(True, True), whole=True))


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError
    return given


def _directory(given: Any) -> str:
    if "\x00" in _text(given):
        raise ValueError
    return str(given)


def _flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError
    return given


def _one_of(names: Any) -> Takes:
    def parse(given: Any) -> str:
        if given not in names:
            raise ValueError
        return str(given)

    return Takes("one of " + ", ".join(names), parse)


def _examples(given: Any) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers; of one feature, the numbers alone will do."""
    if not isinstance(given, list) or not given:
        raise ValueError
    flat = not any(isinstance(row, list) for row in given)
    rows = tuple(map(_numbers, [[one] for one in given] if flat else given))
    if len(set(map(len, rows))) > 1:
        raise ValueError
    return rows


def _numbers(given: Any) -> tuple[float, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError
    return tuple(map(_ANY.parse, given))


def _classes(given: Any) -> tuple[str, ...]:
    names = _names(given)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError
    return names


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise ValueError
    return tuple(given)


def _modules(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    names = given if isinstance(given, list) else [None]
    if not all(isinstance(name, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) for name in names):
        raise ValueError
    return tuple(names)


def _project(given: Any) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"[^/\\#?%:\x00-\x1f\x7f]{1,128}", given):
        raise ValueError
    return given


def _or_null(takes: Takes) -> Takes:
    return Takes(f"{takes.text}, or null", lambda v: None if v is None else takes.parse(v))


def _share_or_auto(given: Any) -> float | str:
    return AUTO if given == AUTO else _UNIT.parse(given)


def _count_or_all(given: Any) -> int | str:
    return given if given == "all" else int(_whole(0).parse(given))


_PATH = Takes("text", _text)
_ANY = Takes("a number", partial(_number, low=-math.inf, high=math.inf, ends=(False, False), whole=False))
_UNIT = _real("from 0 to below 1", 0.0, 1.0)
_POSITIVE = _real("above 0", 0.0, ends=(False, False))
_NOT_NEGATIVE = _real("of at least 0", 0.0)

# Each group's registry: what `name` chooses from. `own` stands for a person's own, by `_target_`.
GROUPS: dict[str, Mapping[str, Any]] = {
    "data": DATASETS,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
OWN = "own"
AUTO = "auto"

FIELDS: dict[str, Takes] = {
    "data.path": _PATH,
    "data.target": Takes("a column's name", _text),
    "data.features": _or_null(Takes("a list of columns' names", _names)),
    "data.targets": _one_of(["auto", "classes", "numbers"]),
    "data.rows": _whole(2, 10_000_000),
    "data.x": Takes("rows of as many finite numbers each, [[…], …], or a list of numbers", _examples),
    "data.y": Takes("a list of finite numbers", _numbers),
    "data.classes": _or_null(Takes("a list of two or more names, all different", _classes)),
    "data.arms": _whole(2, 1000),
    "data.noise": _NOT_NEGATIVE,
    "data.slope": _ANY,
    "data.intercept": _ANY,
    "data.fresh": Takes("true or false", _flag),
    "data.seed": _whole(0),
    "data.batch_size": _or_null(_whole(1)),
    "data.val_fraction": _UNIT,
    "data.test_fraction": Takes(f"{_UNIT.text}, or auto", _share_or_auto),
    "data.split_seed": _whole(0),
    "data.standardize": Takes("true or false", _flag),
    "model.width": _whole(1, 65536),
    "model.depth": _whole(1, 4),
    "model.activation": _one_of(ACTIVATIONS),
    "model.init": _one_of(INITIALIZERS),
    "model.init_scale": _NOT_NEGATIVE,
    "loss.delta": _POSITIVE,
    "loss.eps": _POSITIVE,
    "optimizer.lr": _POSITIVE,
    "optimizer.momentum": _UNIT,
    "optimizer.b1": _UNIT,
    "optimizer.b2": _UNIT,
    "optimizer.eps": _POSITIVE,
    "optimizer.decay": _UNIT,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "schedule.final": _real("from 0 to 1", 0.0, 1.0, (True, True)),
    "schedule.warmup_steps": _whole(0),
    "schedule.decay_rate": _real("above 0, up to 1", 0.0, 1.0, (False, True)),
    "schedule.decay_steps": _whole(1),
    "steps": _whole(1),
    "record_every": _whole(1),
    "diverge_above": _real("above 1", 1.0, ends=(False, False)),
    "dtype": _one_of(["float32", "float64", "bfloat16"]),
    "precision": _one_of(["highest", "high", "default"]),
}
# What a choice of a group takes in a field that other choices have too, where that is not the same.
CHOICE_FIELDS: dict[tuple[str, str], Takes] = {("food_water", "data.path"): _or_null(_PATH)}
# Fields of the sweep as a whole, which no cell can differ in.
SWEEP_FIELDS: dict[str, Takes] = {
    "dir": _or_null(Takes("a directory", _directory)),
    "allow_targets": Takes("a list of modules' names", _modules),
    "block": _or_null(_whole(1)),
    "segment": _or_null(_whole(1)),
    "keep.params": Takes("an integer of at least 0, or all", _count_or_all),
    "keep.state": Takes("true or false", _flag),
    "verify": Takes("true or false", _flag),
    "tracker.wandb.mode": _one_of(["auto", "online", "offline", "disabled"]),
    "tracker.wandb.project": Takes("up to 128 characters, none of them / \\\\ # ? % :", _project),
    "tracker.wandb.entity": _or_null(Takes("text", _text)),
}
# Fields of every data set, and those of no group.
EVERY_DATASET = ("batch_size", "val_fraction", "test_fraction", "split_seed", "standardize")
TOP = [path for path in FIELDS if "." not in path]


def parse_field(path: str, given: Any, field: str | None = None, choice: str = "") -> Any:
    """A field's value as its type.

    field: what to name it by, where that is not its path. choice: of its group.

    Raises `ConfigError`.
    """
    takes = CHOICE_FIELDS.get((choice, path)) or FIELDS.get(path) or SWEEP_FIELDS[path]
    try:
        return takes.parse(given)
    except (ValueError, OverflowError, TypeError):
        raise ConfigError(field or path, f"got {shown(given)}", f"it takes {takes.text}") from None
