"""The size of a program's training, computed once when the program is planned."""

from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import jax

from vsweep.engine.inputs import Inputs
from vsweep.engine.library_calls import NO_CALLS, LibraryCalls
from vsweep.engine.tuning.timings import short_name

# The largest number of metrics of a curve, without recorded parameters.
_METRICS = 6


# Guesses of the seconds of a compilation: without any layer, for a layer, for each draw of its weights, and
# for shuffling the examples.
_COMPILE_S, _LAYER_S, _DRAW_S, _SHUFFLE_S = 0.4, 0.3, 1.5, 1.0


class Hardware(NamedTuple):
    """The devices that a plan is for.

    Attributes:
        platform: `cpu`, `gpu` or `tpu`.
        devices: The number of devices.
        kind: The model of the devices.
        one_kernel: Whether a CPU's compiler was told to make one kernel of a training that fits its cache.
    """

    platform: str
    devices: int
    kind: str = ""
    one_kernel: bool = True

    @property
    def key(self) -> str:
        """The name of the measurements of this hardware as a whole."""
        return short_name(versions=_versions(), hardware=self)


@dataclass(frozen=True)
class ProgramShape:
    """The size of one trial's training at one width.

    Attributes:
        key: The name of the measurements of such programs; it hashes everything that their speed depends on.
        kind: The name of the measurements of programs of this kind: of one model, or with a user's functions.
        has_user_function: Whether the training calls a user's function, whose work is unknown.
        width: The padded width of the hidden layers; 0 where there are none.
        steps: The number of steps.
        n_features: The number of features of an example.
        flops: The multiply-adds of a step's products.
        weights: The number of weights; a user's model is counted as if it were affine.
        activation_bytes: The bytes of the activations of a step.
        curve_bytes: The bytes of the recorded metrics.
        single_kernel: Whether the hardware runs the training as one kernel: a CPU if it can do without a
            library's products, a GPU if the user asks for the fused kernel.
        compile_s: A guess of the seconds that a compilation takes, on a machine without measurements.
        library: The calls of LAPACK, which a CPU must not make for trials side by side.
    """

    key: str
    kind: str
    has_user_function: bool
    width: int
    steps: int
    n_features: int
    flops: float
    weights: int
    activation_bytes: float
    curve_bytes: float
    single_kernel: bool
    compile_s: float
    library: LibraryCalls = NO_CALLS

    @property
    def live_bytes(self) -> float:
        """The bytes that a trial takes on its device while it trains, an estimate."""
        # The parameters, their gradient, an optimizer's two moments, and their next values, in float32.
        return 2 * self.activation_bytes + 6 * 4 * self.weights + self.curve_bytes

    def in_one_kernel(self) -> "ProgramShape":
        """Return the shape of the training in the fused kernel, whose speed is measured apart."""
        return replace(self, key=f"{self.key}-fused", kind=f"{self.kind}-fused", single_kernel=True)


def step_flops(inputs: Inputs, width: int) -> float:
    """Count the multiply-adds of one step's products at a width (0: no hidden layer).

    Each layer has a product forwards, one for the gradient of its weights, and, except the first layer, one
    for the gradient of its inputs.
    """
    first = inputs.n_features * (width or inputs.n_outputs)
    return inputs.examples * (3.0 * _weights(inputs, width) - first)


def program_shape(inputs: Inputs, width: int, hardware: Hardware, inits: int = 1) -> ProgramShape:
    """Compute the shape of a program on some hardware.

    Args:
        inputs: The config, data and loss of its trials.
        width: The padded width; 0 where there is no hidden layer.
        hardware: The devices.
        inits: The number of initializers that the program draws weights with.
    """
    config = inputs.config
    users = _user_functions(inputs)
    layers = config.model.depth if width else 0
    sizes = [inputs.n_features, *[width] * layers, inputs.n_outputs]
    recorded = config.model.recorded(inputs.n_features, inputs.n_outputs, record_params=config.record_params)
    cpu_kernel = hardware.platform == "cpu" and hardware.one_kernel
    return ProgramShape(
        key=_key(inputs, width, hardware),
        kind=short_name(versions=_versions(), hardware=hardware, kind=users or config.model.name),
        has_user_function=bool(users),
        width=width,
        steps=config.steps,
        n_features=inputs.n_features,
        flops=step_flops(inputs, width),
        weights=_weights(inputs, width),
        activation_bytes=4 * inputs.examples * (width * config.model.depth + inputs.n_outputs),
        curve_bytes=(config.steps / config.record_every + 2) * (_METRICS + recorded) * 4,
        single_kernel=cpu_kernel and config.model.is_one_kernel(sizes, inputs.examples, config.loss),
        compile_s=_compile_s(inputs, layers + 1, inits),
    )


def _weights(inputs: Inputs, width: int) -> int:
    return inputs.config.model.weights(inputs.n_features, inputs.n_outputs, width)


def _user_functions(inputs: Inputs) -> list[str]:
    """Return the names of the user's functions that a step calls: the model, the loss, the draw of data."""
    config = inputs.config
    choices = [config.model, config.loss, *([config.data] if inputs.draw else [])]
    return [choice.qualified_name for choice in choices if choice.is_user_function]


def _compile_s(inputs: Inputs, layers: int, inits: int) -> float:
    """Guess the seconds of a compilation; drawing the weights of a layer takes more than training it."""
    config = inputs.config
    draws = inits if config.model.fields.get("start") is None else 0
    shuffles = config.batch_size is not None
    return _COMPILE_S + layers * (_LAYER_S + _DRAW_S * draws) + _SHUFFLE_S * shuffles


def _key(inputs: Inputs, width: int, hardware: Hardware) -> str:
    config = inputs.config
    model = config.model
    starts = {name: "" for name in model.fields if model.is_coordinate(name)}
    values = {**model.fields, **starts, "init": "", "init_scale": "", "start": "", "width": width}
    return short_name(
        versions=_versions(),
        hardware=hardware,
        model=[model.qualified_name, values],
        loss=config.loss.qualified_name,
        optimizer=[config.optimizer.name, config.schedule.name],
        shapes=[inputs.n_outputs, *((inputs.n_features, size) for size in inputs.sizes if size)],
        batch=config.batch_size,
        steps=[config.steps, config.record_every],
        numbers=[config.dtype, config.precision],
        **({"draw": config.data.qualified_name} if inputs.draw else {}),
    )


def _versions() -> list[str]:
    return [_own_version(), jax.__version__]


@cache
def _own_version() -> str:
    # It is read from a file, and a sweep may have a program for each of many splits.
    try:
        return version("vsweep")
    except PackageNotFoundError:
        # A checkout on the import path is not installed.
        return "unknown"
