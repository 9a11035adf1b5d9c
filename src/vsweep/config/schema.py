"""The typed schema: every field of a config, and what it takes."""

from collections.abc import Mapping
from typing import Any

from vsweep.config.constraints import (
    ANY,
    NOT_NEGATIVE,
    PATH,
    POSITIVE,
    UNIT,
    Constraint,
    classes,
    count_or_all,
    directory,
    examples,
    flag,
    integer,
    modules,
    names,
    numbers,
    one_of,
    or_null,
    pictures,
    project,
    real,
    share_or_auto,
    some_names,
    text,
)
from vsweep.errors import ConfigError, short_repr
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.minimize import FUNCTIONS, point
from vsweep.tasks.models import ACTIVATIONS, MODELS
from vsweep.training.optimizers import OPTIMIZERS
from vsweep.training.schedules import SCHEDULES

OWN = "own"
AUTO = "auto"
# The model that is no model: the parameters are a point, and the loss is a function of it.
POINT = "point"
# Each group's registry: what `name` chooses from. `own` stands for a person's own, by `_target_`.
GROUPS: dict[str, Mapping[str, Any]] = {
    "data": DATASETS,
    "model": {**MODELS, POINT: point},
    "loss": {**LOSSES, **FUNCTIONS},
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

# What W&B takes for a project, and for whose it is.
_PROJECT = Constraint("up to 128 characters, none of them / \\ # ? % :", project)
FIELDS: dict[str, Constraint] = {
    "data.path": PATH,
    "data.target": Constraint("a column's name", text),
    "data.features": or_null(Constraint("a list of columns' names", names)),
    "data.targets": one_of(["auto", "classes", "numbers"]),
    "data.rows": integer(2, 10_000_000),
    "data.x": Constraint("rows of as many finite numbers each, [[…], …], or a list of numbers", examples),
    "data.y": Constraint("a list of finite numbers", numbers),
    "data.classes": or_null(Constraint("a list of two or more names, all different", classes)),
    "data.arms": integer(2, 1000),
    "data.noise": NOT_NEGATIVE,
    "data.slope": ANY,
    "data.intercept": ANY,
    "data.fresh": Constraint("true or false", flag),
    "data.seed": integer(0),
    "data.batch_size": or_null(integer(1)),
    "data.val_fraction": UNIT,
    "data.test_fraction": Constraint(f"{UNIT.text}, or auto", share_or_auto),
    "data.split_seed": integer(0),
    "data.standardize": Constraint("true or false", flag),
    "model.width": integer(1, 65536),
    "model.depth": integer(1, 4),
    "model.activation": one_of(ACTIVATIONS),
    "model.init": one_of(INITIALIZERS),
    "model.init_scale": NOT_NEGATIVE,
    "model.bias_init": one_of(["zeros", "normal", "uniform"]),
    "model.start": or_null(Constraint("a list of numbers: the weights, then the biases", numbers)),
    "model.spread": NOT_NEGATIVE,
    "model.fixed": Constraint("a list of coordinates' names", some_names),
    "loss.delta": POSITIVE,
    "loss.eps": POSITIVE,
    "optimizer.lr": POSITIVE,
    "optimizer.momentum": UNIT,
    "optimizer.b1": UNIT,
    "optimizer.b2": UNIT,
    "optimizer.eps": POSITIVE,
    "optimizer.decay": UNIT,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "schedule.final": real("from 0 to 1", 0.0, 1.0, (True, True)),
    "schedule.warmup_steps": integer(0),
    "schedule.decay_rate": real("above 0, up to 1", 0.0, 1.0, (False, True)),
    "schedule.decay_steps": integer(1),
    "steps": integer(1),
    "record_every": integer(1),
    "record_params": Constraint("true or false", flag),
    "diverge_above": real("above 1", 1.0, ends=(False, False)),
    "dtype": one_of(["float32", "float64", "bfloat16"]),
    "precision": one_of(["highest", "high", "default"]),
}
# What a choice of a group takes in a field that other choices have too, where that is not the same.
CHOICE_FIELDS: dict[tuple[str, str], Constraint] = {("food_water", "data.path"): or_null(PATH)}
# Fields of the sweep as a whole, which no cell can differ in.
SWEEP_FIELDS: dict[str, Constraint] = {
    "dir": or_null(Constraint("a directory", directory)),
    "allow_targets": Constraint("a list of modules' names", modules),
    "block": or_null(integer(1)),
    "segment": or_null(integer(1)),
    "keep.params": Constraint("an integer of at least 0, or all", count_or_all),
    "keep.state": Constraint("true or false", flag),
    "verify": Constraint("true or false", flag),
    "report": Constraint("true or false", flag),
    "pictures": Constraint("a list of pictures' names, or of {name: {argument: value}}", pictures),
    "tracker.wandb.mode": one_of(["auto", "online", "offline", "shared", "disabled"]),
    "tracker.wandb.level": one_of(["auto", "trial", "cell", "sweep"]),
    "tracker.wandb.rows": integer(2, 100_000),
    "tracker.wandb.patience": NOT_NEGATIVE,
    "tracker.wandb.project": _PROJECT,
    "tracker.wandb.entity": or_null(_PROJECT),
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
    return parse(takes, path, given, field)


def parse(takes: Constraint, path: str, given: Any, field: str | None = None) -> Any:
    """The same of what no table of fields has."""
    try:
        return takes.parse(given)
    except (ValueError, OverflowError, TypeError):
        raise ConfigError(field or path, f"got {short_repr(given)}", f"it takes {takes.text}") from None
