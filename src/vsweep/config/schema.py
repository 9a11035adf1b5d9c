"""The typed schema: every field of a config, and the values that it accepts.

Values are validated by pydantic, and constraints have descriptions for messages.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter

from vsweep.errors import ConfigError, short_repr
from vsweep.metrics import OWN as OWN
from vsweep.metrics import R2, SAME_EXAMPLES
from vsweep.tasks.data.builtin import DATASETS
from vsweep.tasks.data.streams import MAX_BYTES
from vsweep.tasks.data.targets import BY_TYPE, KINDS
from vsweep.tasks.initializers import INITIALIZERS
from vsweep.tasks.losses import LOSSES
from vsweep.tasks.minimize import FUNCTIONS, point
from vsweep.tasks.models import ACTIVATIONS, MODELS
from vsweep.tasks.scores import CLASS_SCORES, NUMBER_SCORES
from vsweep.training.optimizers import OPTIMIZERS
from vsweep.training.schedules import SCHEDULES

# Strict types: text is never read as a number, nor a number as a flag.
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)
# Other libraries' names of values.
_OTHER_NAMES = {
    **dict.fromkeys(("xavier", "glorot", "xavier_uniform", "xavier_uniform_"), "glorot_uniform"),
    **dict.fromkeys(("xavier_normal", "xavier_normal_"), "glorot_normal"),
    **dict.fromkeys(("he", "kaiming", "kaiming_normal", "kaiming_normal_"), "he_normal"),
    **dict.fromkeys(("kaiming_uniform", "kaiming_uniform_"), "he_uniform"),
    **dict.fromkeys(("linear", "none"), "identity"),
    "logistic": "sigmoid",
    **dict.fromkeys(("fp32", "float", "single"), "float32"),
    **dict.fromkeys(("fp64", "double"), "float64"),
    **dict.fromkeys(("fp16", "float16", "half", "bf16"), "bfloat16"),
    **dict.fromkeys(("acc", "accuracy", "val_acc", "val/accuracy"), "val_accuracy"),
    **dict.fromkeys(("loss", "validation_loss", "val/loss"), "val_loss"),
    **{name: f"val_{name}" for name in ("f1", "auc", "rmse", "mae", "r2", "balanced_accuracy")},
}
_MODULE = r"^[^\W\d]\w*(\.[^\W\d]\w*)*$"


@dataclass(frozen=True)
class Constraint:
    """The values that a field takes.

    Attributes:
        text: A description for messages, such as "a number above 0".
        type: The annotated type that pydantic validates.
        names: The names that the field takes, if it takes names alone.
    """

    text: str
    type: Any
    names: tuple[str, ...] = ()

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type, config=_STRICT)

    def parse(self, value: Any, field: str, *, strict: bool = True) -> Any:
        """Return a value as the field's type.

        Args:
            value: The value as the config has it.
            field: The name of the field in messages.
            strict: Whether to refuse text in place of a number or a flag.

        Raises:
            ConfigError: If the field does not accept the value.
        """
        try:
            return self._adapter.validate_python(value, strict=strict)
        except (ValueError, OverflowError, TypeError):
            nearest = self._nearest(value)
            takes = f"it takes {self.text}{f'; did you mean {nearest}?' if nearest else ''}"
            raise ConfigError(field, f"got {short_repr(value)}", takes) from None

    def accepts_each(self, values: Any) -> bool:
        """Return whether values are a list, and each of them is accepted."""
        try:
            return isinstance(values, list) and bool([self.parse(value, "") for value in values])
        except ConfigError:
            return False

    def _nearest(self, value: Any) -> str | None:
        """Return the name that is nearest to a value; None if none is near."""
        word = value.lower() if isinstance(value, str) else ""
        names = [_OTHER_NAMES.get(word), *difflib.get_close_matches(word[:120], self.names, n=1, cutoff=0.75)]
        return next((name for name in names if name in self.names), None)

    def or_null(self) -> "Constraint":
        """Return a constraint that accepts null too."""
        return Constraint(f"{self.text}, or null", self.type | None, self.names)

    def or_word(self, word: str) -> "Constraint":
        """Return a constraint that accepts one word too."""
        return Constraint(f"{self.text}, or {word}", Literal[word] | self.type)


def real(text: str = "", **bounds: Any) -> Constraint:
    """Constrain a field to finite numbers.

    Args:
        text: A description of the bounds for messages.
        bounds: The bounds, as pydantic's `Field` takes them: `gt`, `ge`, `lt`, `le`.
    """
    bounded = Annotated[float, Field(allow_inf_nan=False, **bounds)]
    return Constraint(f"a number {text}".strip(), bounded)


def integer(low: int, high: int = 2**31 - 1) -> Constraint:
    """Constrain a field to the integers from `low` to `high`; 3.0 counts as 3."""
    text = f"an integer of at least {low}" if high == 2**31 - 1 else f"an integer from {low} to {high}"
    return Constraint(text, Annotated[int, Field(ge=low, le=high), BeforeValidator(_without_fraction)])


def one_of(names: Iterable[str]) -> Constraint:
    """Constrain a field to some names."""
    names = tuple(names)
    return Constraint(f"one of {', '.join(names)}", Literal[names], names)


def _without_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require(condition: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that refuses values for which the condition is false."""

    def validate(value: Any) -> Any:
        if not condition(value):
            raise ValueError
        return value

    return AfterValidator(validate)


def _distinct(values: tuple[Any, ...]) -> bool:
    return len(set(values)) == len(values)


def _as_rows(values: Any) -> Any:
    """Return a list of numbers, examples of one feature, as rows of one number each."""
    flat = isinstance(values, list) and not any(isinstance(row, list) for row in values)
    return [[value] for value in values] if flat else values


def _with_arguments(entries: Any) -> list[Any]:
    """Return pictures as mappings from a name to its arguments; a plain name has no arguments."""
    entries = entries if isinstance(entries, list) else [entries]
    return [{entry: {}} if isinstance(entry, str) else entry for entry in entries]


def _with_text_keys(entry: Mapping[Any, Mapping[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {str(name): dict(arguments) for name, arguments in entry.items()}


_FINITE = Annotated[float, Field(allow_inf_nan=False)]
_NUMBERS = Annotated[list[_FINITE], Field(min_length=1), AfterValidator(tuple)]
_NAMES = Annotated[list[str], Field(min_length=1), AfterValidator(tuple)]
_ROWS = Annotated[
    list[_NUMBERS],
    Field(min_length=1),
    BeforeValidator(_as_rows),
    AfterValidator(tuple),
    _require(lambda rows: len(set(map(len, rows))) == 1),
]
_PICTURE = Annotated[Mapping[Any, Mapping[Any, Any]], AfterValidator(_with_text_keys)]

TEXT = Constraint("text", Annotated[str, Field(min_length=1)])
# A path of an object store, as it is given and as `Path` writes it; a drive of Windows has one letter.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
DIRECTORY = Constraint(
    "a directory on a disk (no URI)",
    Annotated[str, Field(min_length=1), _require(lambda p: "\0" not in p and not _URI.match(p))],
)
FLAG = Constraint("true or false", bool)
ANY = real()
UNIT = real("from 0 to below 1", ge=0, lt=1)
POSITIVE = real("above 0", gt=0)
NOT_NEGATIVE = real("of at least 0", ge=0)
NUMBERS = Constraint("a list of finite numbers", _NUMBERS)
EXAMPLES = Constraint("rows of equally many finite numbers, [[…], …], or a list of numbers", _ROWS)
# The start of a coordinate is a field with the coordinate's name, which the function chooses.
COORDINATE = Constraint("a number, or a list of numbers", _FINITE | _NUMBERS)
NAMES = Constraint("a list of columns' names", _NAMES)
CLASSES = Constraint(
    "a list of two or more names, all different",
    Annotated[_NAMES, Field(min_length=2), _require(_distinct)],
)
COORDINATES = Constraint("a list of coordinates' names", Annotated[list[str], AfterValidator(tuple)])
MODULES = Constraint(
    "a list of modules' names",
    Annotated[list[Annotated[str, Field(pattern=_MODULE)]], AfterValidator(tuple)],
)
URLS = Constraint(
    "a list of URLs: http://…, https://…, ftp://… or file://…",
    Annotated[list[Annotated[str, Field(pattern=r"^(https?|ftp|file)://")]], AfterValidator(tuple)],
)
SPLITS = Constraint(
    "the number of splits, or a list of their seeds, integers of at least 0, all different",
    Annotated[int, Field(ge=1), BeforeValidator(_without_fraction)]
    | Annotated[
        list[Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_without_fraction)]],
        Field(min_length=1),
        AfterValidator(tuple),
        _require(_distinct),
    ],
)
PICTURES = Constraint(
    "a list of pictures' names, or of {name: {argument: value}}",
    Annotated[list[_PICTURE], BeforeValidator(_with_arguments), AfterValidator(tuple)],
)
# W&B's own rule for the names of projects and of their owners.
PROJECT = Constraint(
    "up to 128 characters, none of them / \\ # ? % :",
    Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\#?%:\x00-\x1f\x7f]+$")],
)
# W&B's own rule for the tags in WANDB_TAGS, which commas separate.
TAGS = Constraint(
    "tags of 1 to 64 characters, separated by commas",
    list[Annotated[str, Field(min_length=1, max_length=64)]],
)

# The metrics that can rank cells: those on the test examples have no part in choosing.
METRICS = (
    "auto",
    *(f"{part}_{name}" for part in ("val", "train") for name in ("loss", *CLASS_SCORES, *NUMBER_SCORES, R2)),
)

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
    "data.max_bytes": Constraint("an integer of at least 1", integer(1, 2**63 - 1).type),
    "data.targets": one_of(KINDS),
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
    "data.val_fraction": UNIT.or_null(),
    "data.test_fraction": UNIT.or_word("auto"),
    "data.split_seed": integer(0),
    "data.standardize": FLAG,
    "data.standardize_target": FLAG.or_word("auto"),
    "data.stratify": FLAG,
    "data.splits": SPLITS,
    "data.folds": integer(2).or_null(),
    "data.fold": integer(0).or_null(),
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
# These choices accept other values in a field than `FIELDS` says.
CHOICE_FIELDS: dict[tuple[str, str], Constraint] = {("food_water", "data.path"): TEXT.or_null()}
# These fields are the sweep's own: cells cannot differ in them.
SWEEP_FIELDS: dict[str, Constraint] = {
    "dir": DIRECTORY.or_null(),
    "metric": one_of(METRICS).or_null(),
    "allow_targets": MODULES,
    "allow_urls": URLS,
    "block": integer(1).or_null(),
    "kernel": one_of(["auto", "xla", "fused"]).or_null(),
    "segment": integer(1).or_null(),
    "keep.params": integer(0).or_word("all"),
    "keep.state": FLAG,
    "verify": FLAG,
    "report": FLAG,
    "pictures": PICTURES,
    "tracker.wandb.mode": one_of(["auto", "online", "offline", "disabled"]),
    "tracker.wandb.level": one_of(["auto", "trial", "cell", "sweep"]),
    "tracker.wandb.rows": integer(2, 100_000),
    "tracker.wandb.patience": NOT_NEGATIVE,
    "tracker.wandb.project": PROJECT.or_null(),
    "tracker.wandb.entity": PROJECT.or_null(),
}
# These fields are permissions of one command, so a recorded value of them is ignored.
PERMISSIONS = ("allow_targets", "allow_urls")
# Every data set has these fields.
EVERY_DATASET = ("targets", *SAME_EXAMPLES)
# Directories of earlier versions lack these fields; with these values a sweep is what it was then.
BEFORE: dict[str, Any] = {
    "data.targets": BY_TYPE,
    "data.stratify": False,
    "data.standardize_target": False,
    "data.splits": 1,
    "data.folds": None,
    "data.fold": None,
    "metric": None,
}
# These fields bound what a choice may read, and change nothing in a trial. A directory may come from someone
# else, so the bound that it records does not count.
LIMITS: dict[str, Any] = {"data.max_bytes": MAX_BYTES}
# All cells are trained on the same number of splits.
OF_SPLITS = ("data.splits", "data.folds", "data.fold")
SPLIT_SEED = "data.split_seed"
TOP = [path for path in FIELDS if "." not in path]


def parse_field(path: str, value: Any, field: str | None = None, choice: str = "") -> Any:
    """Return the value of a field as the field's type.

    Args:
        path: The field's dotted path.
        value: The value as the config has it.
        field: The name of the field in messages; by default its path.
        choice: The choice of the field's group, if choices accept different values.

    Raises:
        ConfigError: If the field does not accept the value.
    """
    constraint = CHOICE_FIELDS.get((choice, path)) or FIELDS.get(path) or SWEEP_FIELDS[path]
    try:
        return constraint.parse(value, field or path)
    except ConfigError as error:
        is_axis = path in FIELDS and path not in (*LIMITS, *OF_SPLITS)
        if field in (None, path) and is_axis and constraint.accepts_each(value):
            takes = f"{error.takes}; for an axis give grid.{path}=[…]"
            raise ConfigError(error.field, error.got, takes) from None
        raise
