"""The typed schema: every field of a config, and the values that the field accepts."""

from collections.abc import Mapping
from typing import Any

from vsweep.config.constraints import (
    ANY,
    CLASSES,
    COORDINATES,
    DIRECTORY,
    EXAMPLES,
    FLAG,
    MODULES,
    NAMES,
    NOT_NEGATIVE,
    NUMBERS,
    PICTURES,
    POSITIVE,
    PROJECT,
    TEXT,
    UNIT,
    Constraint,
    integer,
    one_of,
    real,
)
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.minimize import FUNCTIONS, point
from vsweep.tasks.models import ACTIVATIONS, MODELS
from vsweep.training.optimizers import OPTIMIZERS
from vsweep.training.schedules import SCHEDULES

OWN = "own"
AUTO = "auto"
# A free point in place of a model: its coordinates are the parameters, and the loss is a function of them.
POINT = "point"
# The registry of each group, from which `name` chooses; `own` stands for a user's function, by `_target_`.
GROUPS: dict[str, Mapping[str, Any]] = {
    "data": DATASETS,
    "model": {**MODELS, POINT: point},
    "loss": {**LOSSES, **FUNCTIONS},
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

FIELDS: dict[str, Constraint] = {
    "data.path": TEXT,
    "data.target": Constraint("a column's name", TEXT.type),
    "data.features": NAMES.or_null(),
    "data.targets": one_of(["auto", "classes", "numbers"]),
    "data.rows": integer(2, 10_000_000),
    "data.x": EXAMPLES,
    "data.y": NUMBERS,
    "data.classes": CLASSES.or_null(),
    "data.arms": integer(2, 1000),
    "data.noise": NOT_NEGATIVE,
    "data.slope": ANY,
    "data.intercept": ANY,
    "data.fresh": FLAG,
    "data.seed": integer(0),
    "data.batch_size": integer(1).or_null(),
    "data.val_fraction": UNIT,
    "data.test_fraction": UNIT.or_word("auto"),
    "data.split_seed": integer(0),
    "data.standardize": FLAG,
    "model.width": integer(1, 65536),
    "model.depth": integer(1, 4),
    "model.activation": one_of(ACTIVATIONS),
    "model.init": one_of(INITIALIZERS),
    "model.init_scale": NOT_NEGATIVE,
    "model.bias_init": one_of(["zeros", "normal", "uniform"]),
    "model.start": Constraint("a list of numbers: the weights, then the biases", NUMBERS.type).or_null(),
    "model.spread": NOT_NEGATIVE,
    "model.fixed": COORDINATES,
    "loss.delta": POSITIVE,
    "loss.eps": POSITIVE,
    "optimizer.lr": POSITIVE,
    "optimizer.momentum": UNIT,
    "optimizer.b1": UNIT,
    "optimizer.b2": UNIT,
    "optimizer.eps": POSITIVE,
    "optimizer.decay": UNIT,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "schedule.final": real("from 0 to 1", ge=0, le=1),
    "schedule.warmup_steps": integer(0),
    "schedule.decay_rate": real("above 0, up to 1", gt=0, le=1),
    "schedule.decay_steps": integer(1),
    "steps": integer(1),
    "record_every": integer(1),
    "record_params": FLAG,
    "diverge_above": real("above 1", gt=1),
    "dtype": one_of(["float32", "float64", "bfloat16"]),
    "precision": one_of(["highest", "high", "default"]),
}
# A choice of a group may accept other values in a field than the other choices that have the field.
CHOICE_FIELDS: dict[tuple[str, str], Constraint] = {("food_water", "data.path"): TEXT.or_null()}
# These fields are the sweep's own: cells cannot differ in them.
SWEEP_FIELDS: dict[str, Constraint] = {
    "dir": DIRECTORY.or_null(),
    "allow_targets": MODULES,
    "block": integer(1).or_null(),
    "segment": integer(1).or_null(),
    "keep.params": integer(0).or_word("all"),
    "keep.state": FLAG,
    "verify": FLAG,
    "report": FLAG,
    "pictures": PICTURES,
    "tracker.wandb.mode": one_of(["auto", "online", "offline", "shared", "disabled"]),
    "tracker.wandb.level": one_of(["auto", "trial", "cell", "sweep"]),
    "tracker.wandb.rows": integer(2, 100_000),
    "tracker.wandb.patience": NOT_NEGATIVE,
    "tracker.wandb.project": PROJECT,
    "tracker.wandb.entity": PROJECT.or_null(),
}
# Every data set has these fields.
EVERY_DATASET = ("batch_size", "val_fraction", "test_fraction", "split_seed", "standardize")
TOP = [path for path in FIELDS if "." not in path]


def parse_field(path: str, value: Any, field: str | None = None, choice: str = "") -> Any:
    """Return the value of a field as the field's type.

    Args:
        path: The field's dotted path.
        value: The value as the config has it.
        field: The name of the field in messages; by default its path.
        choice: The choice of the field's group, where choices differ in what they accept.

    Raises:
        ConfigError: If the field does not accept the value.
    """
    constraint = CHOICE_FIELDS.get((choice, path)) or FIELDS.get(path) or SWEEP_FIELDS[path]
    return constraint.parse(value, field or path)
