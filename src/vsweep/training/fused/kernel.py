"""The sizes that the fused kernel is compiled for, and the trainings that it takes."""

from typing import Any, NamedTuple

from vsweep.tasks.losses import LOSSES
from vsweep.tasks.models import logistic, mlp
from vsweep.tasks.task import Supervised
from vsweep.training.program import Static

# The choices that `kernel.cu` knows, by the macro that holds the one that is compiled.
_CHOICES: dict[str, tuple[str, ...]] = {
    "ACTIVATION": ("tanh", "relu", "gelu", "sigmoid", "identity"),
    "LOSS": (
        "softmax_cross_entropy",
        "sigmoid_cross_entropy",
        "clipped_cross_entropy",
        "squared_error",
        "huber",
    ),
    "OPTIMIZER": ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "lion"),
}
# The places of these scores are their numbers in `kernel.cu`.
_SCORES: tuple[tuple[str, ...], ...] = ((), ("accuracy",), ("rmse", "mae"))
_TWO_MOMENTS, _NO_MOMENT = ("adam", "adamw"), ("sgd",)
# The bounds of what a thread block holds in registers and shared memory.
_MOST_UNITS, _MOST_FEATURES_OF_UNITS, _MOST_FEATURES, _MOST_OUTPUTS = 256, 8, 128, 16
_WARP = 32
# The number of examples of a tile of a model without a hidden layer.
_TILE = 128
# The gradients that a thread keeps in registers, and the threads of a trial, which more only let wait.
_GRADIENTS, _MOST_THREADS = 48, 128


class Kernel(NamedTuple):
    """A kernel to compile.

    Attributes:
        features: The number of features of an example.
        outputs: The number of outputs of the model.
        units: The padded width of the hidden layer; 0 without one.
        activation: The name of the activation.
        loss: The name of the loss.
        optimizer: The name of the optimizer.
        scores: The names of the scores at each record.
        held_out: Whether examples are held out for validation.
        threads: The number of threads that train a trial.
        trials: The number of trials of a thread block.
        units_a_thread: The number of units that a thread takes backwards.
        examples: The number of examples that a thread takes forwards at once.
    """

    features: int
    outputs: int
    units: int
    activation: str
    loss: str
    optimizer: str
    scores: tuple[str, ...]
    held_out: bool
    threads: int = _WARP
    trials: int = 1
    units_a_thread: int = 1
    examples: int = 1

    @property
    def moments(self) -> int:
        """The number of moments that the optimizer keeps of each parameter."""
        return 2 if self.optimizer in _TWO_MOMENTS else 0 if self.optimizer in _NO_MOMENT else 1

    @property
    def metrics(self) -> int:
        """The number of metrics of a record."""
        return (1 + len(self.scores)) * (1 + self.held_out) + 2

    @property
    def macros(self) -> dict[str, int]:
        """The macros that `kernel.cu` is compiled with, by name."""
        names = {name.upper(): number for choices in _CHOICES.values() for number, name in enumerate(choices)}
        chosen = {macro: names[getattr(self, macro.lower()).upper()] for macro in _CHOICES}
        return {
            **names,
            **chosen,
            "FEATURES": self.features,
            "OUTPUTS": self.outputs,
            "UNITS": self.units,
            "SCORES": _SCORES.index(self.scores),
            "HELD_OUT": int(self.held_out),
            "THREADS": self.threads,
            "TRIALS": self.trials,
            "UNITS_A_THREAD": self.units_a_thread,
            "EXAMPLES": self.examples,
        }

    @property
    def shared_bytes(self) -> int:
        """The bytes of shared memory that a thread block takes, as `kernel.cu` lays them out."""

        def up_to_4(count: int) -> int:
            return -(-count // 4) * 4

        warps = self.threads // _WARP
        if self.units:
            row, common = up_to_4(self.features + 1 + self.outputs), 0
            slots, tile = self.units * row, self.threads * self.examples
            forwards = tile * up_to_4(self.outputs + self.features) + up_to_4(tile * (self.units | 1))
            work = max(forwards, self.threads * self.units_a_thread * row)
        else:
            row = self.outputs if self.outputs <= 2 else up_to_4(self.outputs)
            held = -(-self.features // _WARP) * _WARP
            common = held * (_TILE + 4) + _TILE
            slots, work = self.features * row, max(self.outputs * _TILE, up_to_4(held * row))
        places = up_to_4(slots) + up_to_4(self.outputs)
        scratch = up_to_4(warps * (1 + self.outputs + 2 + 3 + 3))
        return 4 * (common + self.trials * (places * (1 + self.moments) + work + scratch))


def refusal(static: Static) -> str:
    """Say why the kernel does not take a training; "" where it does."""
    task = static.task
    if not isinstance(task, Supervised) or task.model not in (logistic, mlp):
        return "the task is your own or has no data"
    sizes = dict(task.static)
    layers, activation = sizes.get("depth", 0), sizes.get("activation", "identity")
    losses = [LOSSES[name] for name in _CHOICES["LOSS"]]
    most = _MOST_FEATURES_OF_UNITS if layers else _MOST_FEATURES
    reasons = {
        "the kernel does not know the loss": task.loss not in losses,
        f"the kernel does not know {activation}": activation not in _CHOICES["ACTIVATION"],
        f"the kernel does not know {static.optimizer}": static.optimizer not in _CHOICES["OPTIMIZER"],
        f"the kernel has no {static.dtype} with precision={static.precision}": (
            static.dtype,
            static.precision,
        )
        != ("float32", "highest"),
        "the kernel takes full batches": static.length.batch_size is not None or task.draw is not None,
        "the kernel records no parameters": bool(task.recorded),
        f"the kernel has no {task.scores[-1] if task.scores else ''}": task.scores not in _SCORES,
        f"there are {layers} hidden layers": layers > 1,
        f"there are more than {_MOST_UNITS} units": layers > 0 and sizes["width"] > _MOST_UNITS,
        f"there are more than {most} features": task.n_features > most,
        f"there are more than {_MOST_OUTPUTS} outputs": task.n_outputs > _MOST_OUTPUTS,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def make_kernel(static: Static, *, held_out: bool, most_bytes: int) -> Kernel | None:
    """Return the kernel for a training that `refusal` does not refuse; None if no size of it fits a GPU.

    Args:
        static: The values that the program is compiled for.
        held_out: Whether examples are held out for validation.
        most_bytes: The bytes of shared memory that a thread block may take.
    """
    task: Any = static.task
    fields = dict(task.static)
    units = int(fields.get("width", 0))
    loss = next(name for name, loss in LOSSES.items() if loss == task.loss)
    activation = fields.get("activation", "identity")
    kernel = Kernel(
        task.n_features, task.n_outputs, units, activation, loss, static.optimizer, task.scores, held_out
    )
    sizes: list[Kernel]
    if not units:
        sizes = [kernel._replace(trials=trials) for trials in (8, 4, 2, 1)]
    else:
        rounded = 1 << (units - 1).bit_length()
        # A thread keeps the gradients of its units in registers.
        row = kernel.features + 1 + 2 * kernel.outputs
        own = max(u for u in (1, 2, 4) if u == 1 or (u * row <= _GRADIENTS and 16 * u <= rounded))
        most = max(_WARP, min(_MOST_THREADS, rounded), rounded // own)
        counts = [count for count in (most, most // 2, most // 4) if count >= max(_WARP, rounded // own)]
        # Two examples at a time share the loads of the weights, where they take little shared memory.
        both = 2 if rounded <= _WARP else 1
        sizes = [kernel._replace(threads=count, units_a_thread=own, examples=both) for count in counts]
    return next((sized for sized in sizes if sized.shared_bytes <= most_bytes), None)
