"""The choice of each config group: an entry of its registry, or a function of the user's, and its fields.

All code that depends on the kind of a choice (its label, its traced fields, how its task is made) is in the
choice's methods, so that no other module tests its name.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

from vsweep.config.schema import AUTO, LIMITS, OWN, POINT
from vsweep.errors import ConfigError
from vsweep.tasks.data.builtin import NO_DATA
from vsweep.tasks.data.dataset import Dataset, own_dataset
from vsweep.tasks.layers import has_library_calls
from vsweep.tasks.losses import LOSSES, Loss, default_loss, own_loss, positive
from vsweep.tasks.minimize import FUNCTIONS, MANY, Minimize
from vsweep.tasks.task import Draw, MakeTask, Supervised, fields

# The traced fields of a group, arrays of `(trials, ...)`, and its static fields, which a program has fixed.
BoundFields: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
# The two affine models differ in their targets, numbers or classes.
_OTHER_AFFINE = {"linear": "logistic", "logistic": "linear"}
_TRACED_MODEL_FIELDS = ("init", "init_scale", "width")


class TaskInputs(NamedTuple):
    """The parts of a program's tasks beside the model.

    Attributes:
        loss: The loss from `ModelChoice.make_loss`.
        loss_static: The static fields of the loss.
        dtype: The dtype of the model's products.
        n_features: The number of an example's features.
        n_classes: The number of classes; 0 for numbers.
        draw: A function that draws fresh examples for every step; None for fixed data.
        metric: The metric that the sweep asks for, see `Loss.scores`; None for the loss and accuracy alone.
    """

    loss: Loss
    loss_static: Mapping[str, Any]
    dtype: str
    n_features: int = 0
    n_classes: int = 0
    draw: Draw | None = None
    metric: str | None = None


class Columns(Protocol):
    """The values of a group's fields, one for each trial of a program."""

    def values(self, name: str) -> np.ndarray:
        """Return the values as objects, `(trials,)`."""

    def floats(self, name: str) -> np.ndarray:
        """Return numbers or vectors in the program's dtype, `(trials,)` or `(trials, size)`."""


@dataclass(frozen=True)
class GroupChoice:
    """An entry of a group's registry: an optimizer, a schedule or a loss.

    Attributes:
        name: The entry's name in the registry; `own` for a user's function.
        function: The registered or the user's function; None for `loss=auto`.
        fields: The values of the fields that the function takes.
        is_user_function: True if the function is the user's.
        has_own_fields: True if the function names fields that the schema does not list.
        has_initializer: True if `model.init` and `model.init_scale` draw the weights.
    """

    name: str
    function: Any
    fields: Mapping[str, Any]
    is_user_function: ClassVar[bool] = False
    has_own_fields: ClassVar[bool] = False
    has_initializer: ClassVar[bool] = False

    @property
    def function_name(self) -> str:
        """Return the name under which the choice appears in a sweep's name."""
        return self.name

    @property
    def qualified_name(self) -> str:
        """Return a name that no other choice of the group has."""
        return self.name

    @property
    def label(self) -> str:
        """Return the name of the file that the choice reads, or of the choice itself."""
        path = self.fields.get("path")
        return Path(path).stem if isinstance(path, str) else self.function_name

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        return {"name": self.name, **{key: plain(value) for key, value in self.fields.items()}}

    def is_coordinate(self, key: str) -> bool:
        """Return whether a field is the start of a coordinate of a function to minimize."""
        return False

    def is_traced(self, key: str, values: Sequence[Any]) -> bool:
        """Return whether trials that differ in these values of a field share a program."""
        return True

    def bind(self, columns: Columns) -> BoundFields:
        """Return the traced fields as arrays `(trials, ...)`, and the static ones.

        A field in both becomes a `Within`.
        """
        traced: dict[str, Any] = {}
        static: dict[str, Any] = {}
        for name in self.fields:
            values = columns.values(name)
            if not self.is_traced(name, list(values)):
                static[name] = _hashable(values[0])
            elif self.has_initializer and name in _ENCODED:
                traced[name], static[name] = _ENCODED[name](values)
            else:
                traced[name] = columns.floats(name)
        return traced, static


class DataChoice(GroupChoice):
    """A registered data set."""

    @property
    def key_name(self) -> str:
        """Return the name by which a plan knows the data."""
        return self.name

    @property
    def limits(self) -> set[str]:
        """Return the paths of the fields that bound what is read, and change nothing in the data."""
        return set() if self.is_user_function else LIMITS.keys() & {f"data.{name}" for name in self.fields}

    def is_traced(self, key: str, values: Sequence[Any]) -> bool:
        """Return False: a program is compiled for the shapes of its data."""
        return False

    def load(self, targets: str) -> Dataset:
        """Load the data, with classes or numbers as targets; see `read_targets`. Raises `ConfigError`."""
        return self.function(**self.fields).as_targets(targets)


class ModelChoice(GroupChoice):
    """A registered model that is trained on data.

    Attributes:
        trace_hint: The end of the message about a function that cannot be traced.
    """

    has_initializer: ClassVar[bool] = True
    trace_hint: ClassVar[str] = ""

    @property
    def is_padded(self) -> bool:
        """Return whether hidden layers of different widths can share a program."""
        return self.has_initializer and "width" in self.fields

    @property
    def depth(self) -> int:
        """Return the number of hidden layers of a model that has any; otherwise 1."""
        return int(self.fields.get("depth", 1)) if self.has_initializer else 1

    def labels(self, data: GroupChoice, loss: GroupChoice) -> tuple[str, str]:
        """Return the parts of a sweep's name: its data and its model."""
        return data.label, self.label

    def subject(self, data: GroupChoice, loss: GroupChoice) -> str:
        """Return a short description of the task, for messages and reports."""
        return f"{data.name} {self.name}"

    def is_traced(self, key: str, values: Sequence[Any]) -> bool:
        """Return whether trials that differ in these values of a field share a program."""
        return _have_one_shape(values) if key == "start" else key in _TRACED_MODEL_FIELDS

    def check_data(self, data: GroupChoice, loss: GroupChoice) -> None:
        """Raise `ConfigError` if the data or the loss are those of a function to minimize."""
        if data.name == NO_DATA:
            got = f"got {NO_DATA}, and model={self.name} needs data to train on"
            raise ConfigError("data", got, f"give a data set, or model={POINT} and a function to minimize")
        if loss.name in FUNCTIONS:
            got = f"got {loss.name}, a function of a point, and model={self.name}"
            raise ConfigError("loss", got, f"it takes {AUTO} or a loss of examples; or give model={POINT}")

    def make_loss(self, loss: GroupChoice, data: GroupChoice, n_classes: int) -> Loss:
        """Return the loss for `n_classes` classes, 0 for numbers. Raises `ConfigError` if it does not fit."""
        kind = f"data={data.name} has {n_classes} classes" if n_classes else "its target is a number"
        other = f"or give data.targets={'numbers' if n_classes else 'classes'}"
        if self.name in _OTHER_AFFINE and (self.name == "linear") == bool(n_classes):
            takes = f"it takes {_OTHER_AFFINE[self.name]} or mlp; {other}"
            raise ConfigError("model", f"got {self.name}, and {kind}", takes)
        if loss.is_user_function:
            return own_loss(loss.function, n_classes)
        name = loss.name if loss.function is not None else default_loss(n_classes)
        fitting = [n for n, entry in LOSSES.items() if (entry.classify is None) == (n_classes == 0)]
        if name not in fitting:
            raise ConfigError("loss", f"got {name}, and {kind}", f"it takes {', '.join(fitting)}; {other}")
        if LOSSES[name].classify is positive and n_classes != 2:
            raise ConfigError("loss", f"got {name}, and {kind}", "it takes softmax_cross_entropy")
        return LOSSES[name]

    def make_task(self, bound: BoundFields, inputs: TaskInputs) -> MakeTask:
        """Return the maker of a program's tasks.

        Args:
            bound: The traced fields of one trial, and the static ones.
            inputs: The parts of the tasks beside the model.
        """
        static, loss_static = tuple(bound[1].items()), tuple(inputs.loss_static.items())
        sizes = inputs.n_features, inputs.loss.n_outputs(inputs.n_classes)
        scores, final_metrics = map(tuple, inputs.loss.scores(inputs.n_classes, inputs.metric))
        more: Any = {
            "dtype": inputs.dtype,
            "draw": inputs.draw,
            "scores": scores,
            "final_metrics": final_metrics,
        }
        return Supervised(self.function, inputs.loss, *sizes, static, loss_static, **more)

    def recorded(self, n_inputs: int, n_outputs: int, *, record_params: bool) -> int:
        """Return the largest number of parameters that are recorded beside the metrics."""
        return n_outputs * (n_inputs + 1) if record_params else 0

    def weights(self, n_inputs: int, n_outputs: int, width: int) -> int:
        """Return the number of weights of an MLP of some width, or of an affine model, whose width is 0."""
        if not width:
            return n_inputs * n_outputs
        return (n_inputs + n_outputs) * width + (self.depth - 1) * width**2

    def is_one_kernel(self, sizes: Sequence[int], examples: int, loss: GroupChoice) -> bool:
        """Return whether a CPU runs a step without calling a library for its matrix products.

        Args:
            sizes: The sizes of the layers, from the inputs to the outputs.
            examples: The number of examples of a step.
            loss: The choice of the loss.
        """
        return not any(
            has_library_calls(sizes[i + 1], sizes[i], examples, first=i == 0) for i in range(len(sizes) - 1)
        )


class PointChoice(ModelChoice):
    """The start of a descent of a function: no model, no data, and parameters that are a point."""

    has_initializer: ClassVar[bool] = False
    has_own_fields: ClassVar[bool] = True
    trace_hint: ClassVar[str] = "; it has to take its coordinates and return a scalar, in jax.numpy"

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Return the names of the function's coordinates, in its order."""
        return tuple(key for key in self.fields if key not in fields(self.function))

    def is_coordinate(self, key: str) -> bool:
        """Return whether a field is the start of a coordinate."""
        return key in self.coordinates

    def labels(self, data: GroupChoice, loss: GroupChoice) -> tuple[str, str]:
        """Return the parts of a sweep's name, both the function."""
        return (self.subject(data, loss),) * 2

    def subject(self, data: GroupChoice, loss: GroupChoice) -> str:
        """Return the name of the function that is minimized."""
        return getattr(loss.function, "__name__", loss.name)

    def is_traced(self, key: str, values: Sequence[Any]) -> bool:
        """Return whether trials that differ in these values of a field share a program."""
        return _have_one_shape(values) if self.is_coordinate(key) else key == "spread"

    def bind(self, columns: Columns) -> BoundFields:
        """Return the spread and the start of each coordinate, and the coordinates that stay fixed."""
        for name in self.coordinates:
            if columns.values(name)[0] is None:
                raise ConfigError(f"model.{name}", "got nothing", f"give the start of {name}: model.{name}=…")
        return super().bind(columns)

    def check_data(self, data: GroupChoice, loss: GroupChoice) -> None:
        """Raise `ConfigError` if the config chooses data."""
        if data.name != NO_DATA:
            got = f"got {data.name}, and model={self.name} is trained without data"
            raise ConfigError("data", got, f"give data={NO_DATA}")

    def make_loss(self, loss: GroupChoice, data: GroupChoice, n_classes: int) -> Loss:
        """Return the function that is minimized."""
        return own_loss(loss.function, 0)

    def make_task(self, bound: BoundFields, inputs: TaskInputs) -> MakeTask:
        """Return the maker of a program's tasks; see `ModelChoice.make_task`."""
        starts, static = bound
        shapes = tuple((name, starts[name].shape) for name in self.coordinates)
        loss_static = tuple(inputs.loss_static.items())
        return Minimize(inputs.loss.value, shapes, static["fixed"], loss_static, inputs.dtype)

    def recorded(self, n_inputs: int, n_outputs: int, *, record_params: bool) -> int:
        """Return how many numbers the point has."""
        return sum(np.size(self.fields[name]) for name in self.coordinates)

    def weights(self, n_inputs: int, n_outputs: int, width: int) -> int:
        """Return how many numbers the point has, with those of its Hessian at the end if it is computed."""
        size = self.recorded(n_inputs, n_outputs, record_params=True)
        return size + (size**2 if size <= MANY else 0)

    def is_one_kernel(self, sizes: Sequence[int], examples: int, loss: GroupChoice) -> bool:
        """Return whether the function is a registered one; a user's function may call anything."""
        return not loss.is_user_function


class UserFunction(GroupChoice):
    """A function of the user's, whose parameters are the fields: a loss, or one of the classes below."""

    is_user_function: ClassVar[bool] = True
    has_own_fields: ClassVar[bool] = True

    @property
    def function_name(self) -> str:
        """Return the function's name, or `arrays` for data that are not a function."""
        return getattr(self.function, "__name__", "arrays")

    @property
    def qualified_name(self) -> str:
        """Return the function's dotted path."""
        return qualified_name(self.function)

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        return {"name": OWN, "_target_": self.qualified_name, **super().as_dict()}

    def is_traced(self, key: str, values: Sequence[Any]) -> bool:
        """Return whether all values are numbers, and one of them or the parameter's type is float."""
        parameter = parameters(self.function)[key]
        is_float = parameter.annotation in (float, "float") or isinstance(parameter.default, float)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        return numbers and (is_float or any(isinstance(v, float) for v in values))


class UserData(UserFunction, DataChoice):
    """The user's data: a function that returns them, or a pair of arrays."""

    is_traced = DataChoice.is_traced

    @property
    def key_name(self) -> str:
        """Return the name by which a plan knows the data."""
        return getattr(self.function, "__qualname__", "arrays")

    def load(self, targets: str) -> Dataset:
        """Call the function, or take the arrays; see `DataChoice.load`. Raises `ConfigError`."""
        if not callable(self.function):
            return own_dataset(self.function, "data").as_targets(targets)
        try:
            arrays = self.function(**self.fields)
        except Exception as error:
            reason = f"your function raised {type(error).__name__}: {error}"
            raise ConfigError("data._target_", reason, "it has to return (x, y)") from error
        return own_dataset(arrays, "data._target_").as_targets(targets)


class UserModel(UserFunction, ModelChoice):
    """The user's model."""

    has_initializer: ClassVar[bool] = False

    def is_one_kernel(self, sizes: Sequence[int], examples: int, loss: GroupChoice) -> bool:
        """Return False: nothing is known of the products."""
        return False


def _numbered(values: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return the index of each value among the distinct values, and the distinct values."""
    distinct = tuple(dict.fromkeys(values))
    return np.asarray([distinct.index(value) for value in values], np.int32), distinct


# These fields are both traced and static: the trials' values are traced, and a program is compiled for their
# bound, the widest width or the names of the initializers.
_ENCODED: dict[str, Callable[[np.ndarray], tuple[np.ndarray, Any]]] = {
    "width": lambda values: (values.astype(np.int32), int(values.max())),
    "init": _numbered,
}


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a user's function that a config can set."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(function).parameters.items() if p.kind in kinds}


def qualified_name(function: Any) -> str:
    """Return the dotted path of a function, or the type of something else."""
    if not callable(function):
        return type(function).__name__
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"


def _have_one_shape(values: Sequence[Any]) -> bool:
    """Return whether all values are numbers, or all are lists of the same length."""
    return None not in values and len({np.shape(value) for value in values}) == 1


def plain(value: Any) -> Any:
    """Return a field's value with lists in place of tuples."""
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        raise ConfigError("config", f"your own function got the mapping {value!r}", "give text or numbers")
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value
