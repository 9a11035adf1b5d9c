"""The layout of a program's trials: how many train in one call, how many side by side, and how long."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from vsweep.config.validate import Config
from vsweep.engine.inputs import Inputs
from vsweep.engine.tuning.shape import Hardware, ProgramShape, program_shape
from vsweep.engine.tuning.timings import TimingCache, short_name

# The seconds that a segment should take.
_SEGMENT_S = 15.0


class Arrangement(NamedTuple):
    """The layout of trials on the devices.

    Attributes:
        block: The number of trials of one call.
        vmap_size: The number of trials side by side on one device; further ones follow one another.
        single_kernel: Whether a trial is one kernel: XLA's on a CPU, the fused kernel on a GPU.
    """

    block: int
    vmap_size: int
    single_kernel: bool = False

    def smaller(self, devices: int) -> "Arrangement | None":
        """Return the arrangement with half the trials in a block, or None where there is no smaller one."""
        if self.block <= devices:
            return None
        per_device = -(-self.block // devices // 2)
        vmap_size = min(self.vmap_size, 2 ** int(np.log2(per_device)))
        return self._replace(block=-(-per_device // vmap_size) * vmap_size * devices, vmap_size=vmap_size)


class UserLimits(NamedTuple):
    """Limits that the user may set for a plan.

    Attributes:
        block: The number of trials of one call; None lets the planner choose.
        segment: The number of steps between two saves of the state; None lets the planner choose.
        keep_state: Whether the last state of every trial is kept.
        fused: Whether programs train as one kernel of a GPU where it takes them.
    """

    block: int | None = None
    segment: int | None = None
    keep_state: bool = False
    fused: bool = False

    def segment_records(self, config: Config, block_step_s: float) -> int:
        """Choose the records of a segment, 0 for the whole training at once.

        Args:
            config: The config of the program.
            block_step_s: The seconds that a step of a whole block takes.
        """
        records = -(-config.steps // config.record_every) + 1
        if self.segment is not None:
            segment = max(1, self.segment // config.record_every)
        else:
            # Segments have equal lengths, so a training hardly longer than one segment is not divided.
            segment = -(-records // max(1, int(block_step_s * config.steps / _SEGMENT_S)))
        if segment >= records:
            return records if self.keep_state else 0
        return segment


NO_LIMITS = UserLimits()

# The seconds of loading a program that was compiled before.
LOAD_S = 1.0
# Guesses for a machine without measurements: the seconds of a step that does nothing, and the multiply-adds
# per second of one core and of an accelerator.
_STEP_S = 4.0e-6
_FLOPS = {"cpu": 1.0e10, "gpu": 8.0e12, "tpu": 2.0e12}
# On a GPU a step waits for its memory, or for the launches of its kernels. Programs compiled for an H100 pass
# over the activations so often, and the times of an H200 fit so many bytes a second, and launches of so long.
_GPU_PASSES, _GPU_BYTES, _GPU_LAUNCHES_S = 8.5, 2.0e12, 5.4e-5
# The multiply-adds per second of the fused kernel, from the instructions of kernels compiled for an H100.
_FUSED_FLOPS = 8.0e12
# Programs with trials side by side take this many times as long to compile.
_SIDE_BY_SIDE = 1.5
# A measured time is at most this many times the guess, and a compilation at least the inverse. A step of a
# user's function may take much longer, since its work is not known.
_SLOWER, _SLOWER_WITH_USER_FUNCTION = 30.0, 1e4
# The seconds that a block should take.
_BLOCK_S = 1.0
# Bounds of a block: its trials and its bytes on each device, and the bytes of its curves on the host.
_BLOCK_TRIALS = 8192
_DEVICE_BYTES = 4 * 2**30
_CURVE_BYTES = 64 * 2**20
# The bytes of activations that stay in a core's cache.
_CACHE_BYTES = 512 * 1024
# The bytes of a TPU's memory beside its cores, in which XLA keeps arrays between kernels: that of JAX's table
# (`jax.experimental.pallas.tpu.get_tpu_info`), and for v4 its common memory. XLA keeps none on v2 and v3.
_FAST_BYTES = {"TPU v4": 2**27, "TPU v5 lite": 2**27, "TPU v5": 2**26, "TPU v6 lite": 2**27}
# This share of it holds what a step needs, as programs compiled for these TPUs show.
_FAST_SHARE = 0.8
# On a CPU, an MLP with more multiply-adds per step than this gains nothing from trials side by side.
_LARGE_FLOPS = 3.0e6
# A product with data of at most this many features is a sum of outer products.
_FEW_FEATURES = 4
_MAX_VMAP_SIZE = {"cpu": 32, "gpu": 8192, "tpu": 8192}


class Costs:
    """The costs of programs on some hardware.

    Guesses are scaled by the median ratio, over earlier sweeps, of measured to guessed times of programs of
    the same kind, or of all programs without a user's function where the kind is new.
    """

    def __init__(
        self, hardware: Hardware, known: TimingCache, earlier: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Look up the measurements of the hardware.

        Args:
            hardware: The devices.
            known: The measurements of earlier sweeps.
            earlier: The records of an earlier plan's programs, which settle how trials are split by width.
        """
        self.hardware, self._known, self._earlier = hardware, known, earlier

    def guess_compile_s(self, shape: ProgramShape, vmap_size: int = 1) -> float:
        """Guess the seconds of a compilation from the model, and whether trials train side by side."""
        return shape.compile_s * (_SIDE_BY_SIDE if vmap_size > 1 else 1.0)

    def compile_s(self, shape: ProgramShape, vmap_size: int = 1) -> float:
        """Predict the seconds of compiling a program that is not in the cache."""
        return self.guess_compile_s(shape, vmap_size) * self._ratio(shape, "compiling")

    def _ratio(self, shape: ProgramShape, name: str) -> float:
        """Return how many times the guess of a step or a compilation takes."""
        kind = self._known.get(shape.kind)
        machine = {} if self._is_fused(shape) else self._known.get(self.hardware.key)
        return float(kind.get(name) or machine.get(name) or 1.0)

    def _is_fused(self, shape: ProgramShape) -> bool:
        return self.hardware.platform == "gpu" and shape.single_kernel

    def _is_common(self, shape: ProgramShape) -> bool:
        """Return whether the ratios of a program tell something about other kinds."""
        return not shape.has_user_function and not self._is_fused(shape)

    def learn(self, name: str, ratios: Sequence[tuple[ProgramShape, float]]) -> None:
        """Note by how much guesses were off.

        Args:
            name: `step` or `compiling`.
            ratios: Programs, and the measured time of each over the guessed one.
        """
        by_kind: dict[str, list[float]] = {}
        for shape, ratio in ratios:
            unknown = shape.has_user_function and name == "step"
            most = _SLOWER_WITH_USER_FUNCTION if unknown else _SLOWER
            # An accelerator with many trials side by side is thousands of times as fast as guessed.
            least = 1.0 / _SLOWER if name == "compiling" else 0.0
            bounded = min(max(ratio, least), most)
            kinds = [shape.kind, self.hardware.key] if self._is_common(shape) else [shape.kind]
            for kind in kinds:
                by_kind.setdefault(kind, []).append(bounded)
        for kind, values in by_kind.items():
            self._known.sample(kind, **{name: median(values)})

    def guess_step_s(self, shape: ProgramShape, trials: int) -> float:
        """Guess the seconds of a step and trial from its work, where so many trials are trained."""
        platform, devices, *_ = self.hardware
        if self._is_fused(shape):
            return shape.flops / _FUSED_FLOPS / devices
        if platform == "gpu":
            moved_s = _GPU_PASSES * shape.activation_bytes / _GPU_BYTES
            launches_s = _GPU_LAUNCHES_S / self.max_vmap_size(shape, trials)
            return (max(moved_s, shape.flops / _FLOPS["gpu"]) + launches_s) / devices
        return (shape.flops / _FLOPS.get(platform, _FLOPS["tpu"]) + _STEP_S) / devices

    def step_s(self, shape: ProgramShape, trials: int) -> float:
        """Predict the seconds of a step and trial, with others of so many trials beside it on all devices."""
        measured = self._known.get(shape.key).get("step_s")
        return float(measured or self.guess_step_s(shape, trials) * self._ratio(shape, "step"))

    def measured(self, shape: ProgramShape, block: int) -> bool:
        """Return whether such a program was trained before, in such a block."""
        return bool(self._known.get(shape.key).get("block") == block)

    def split(self, inputs: Inputs, widths: np.ndarray, counts: np.ndarray) -> tuple[str, list[int]]:
        """Split trials by width into programs such that compiling and padding together cost the least.

        A split is decided once: a later measurement must not move a trial into another program.

        Args:
            inputs: The inputs of the trials.
            widths: The distinct widths of the trials, ascending, `(n,)`.
            counts: The number of trials of each width, `(n,)`.

        Returns:
            The name of the family of programs, and the widest width of each program.
        """
        sizes = widths.tolist()
        shapes = [program_shape(inputs, width, self.hardware) for width in [0, *sizes]]
        name = short_name(program=shapes[0].key, widths=sizes, counts=counts.tolist())
        settled = {record["padded_width"] for record in self._earlier if record["family"] == name}
        settled = settled or set(self._known.get(name).values())
        if settled and settled <= set(sizes) and max(settled) == sizes[-1]:
            return name, sorted(settled)
        trials = int(counts.sum())
        trial_s = [inputs.config.steps * self.step_s(shape, trials) for shape in shapes[1:]]
        # best[end] holds the least cost of the first `end` widths, and where their last program begins.
        best = [(0.0, 0)]
        for end in range(1, len(sizes) + 1):
            padded = [counts[begin:end].sum() * trial_s[end - 1] for begin in range(end)]
            compile_s = self.compile_s(shapes[end])
            best.append(min((best[b][0] + compile_s + padded[b], b) for b in range(end)))
        bounds: list[int] = []
        end = len(sizes)
        while end:
            bounds.insert(0, sizes[end - 1])
            end = best[end][1]
        self._known.note(name, **{str(i): bound for i, bound in enumerate(bounds)})
        return name, bounds

    def arrange(self, shape: ProgramShape, trials: int, block: int | None) -> Arrangement:
        """Choose the arrangement of a program's trials, as measured or as guessed.

        Args:
            shape: The shape of the program.
            trials: The number of trials that it trains.
            block: The number of trials of a block, if the user has set it.
        """
        devices = self.hardware.devices
        most = self.max_vmap_size(shape, min(block or trials, trials))
        vmap_size, single_kernel = self._guess_vmap_size(shape, most)
        if self.tried(shape, trials):
            measured = self._known.get(shape.key)
            vmap_size, single_kernel = int(measured["lanes"]), bool(measured["fused"])
        vmap_size = max(1, int(min(vmap_size, most)))
        if block is None:
            unit = devices * vmap_size
            limit = min(self.block_limit(shape, trials) // unit * unit, -(-trials // unit) * unit)
            # With blocks of equal size, the last block needs the least padding.
            block = -(-trials // -(-trials // max(limit, unit)))
        # A vmap size that divides the number of trials of a device leaves no round half empty.
        per_device = -(-min(block, trials) // devices)
        rounds = -(-per_device // vmap_size)
        vmap_size = -(-per_device // rounds)
        return Arrangement(rounds * vmap_size * devices, vmap_size, single_kernel)

    def block_limit(self, shape: ProgramShape, trials: int) -> int:
        """Bound the block of so many trials by its time, the bytes of its curves, and their number.

        An earlier bound within a factor of eight is kept, because a block of another size is another program,
        which would have to be compiled.
        """
        trial_s = shape.steps * self.step_s(shape, trials)
        fitting = min(_BLOCK_S / trial_s, _CURVE_BYTES / shape.curve_bytes)
        limit = int(min(fitting, _BLOCK_TRIALS * self.hardware.devices))
        earlier = int(self._known.get(shape.key).get("limit", limit))
        return earlier if earlier / 8 <= limit <= earlier * 8 else limit

    def tried(self, shape: ProgramShape, trials: int) -> bool:
        """Return whether arrangements were tried with at least half as many trials side by side."""
        measured = self._known.get(shape.key)
        return "lanes" in measured and self.max_vmap_size(shape, trials) <= 2 * measured.get("room", 0)

    def max_vmap_size(self, shape: ProgramShape, trials: int) -> float:
        """Bound the vmap size by a device's memory, the bytes of the curves, and the number of trials."""
        platform, devices, *_ = self.hardware
        if shape.library.any:
            return 1
        bounds = [
            _DEVICE_BYTES / shape.live_bytes,
            _CURVE_BYTES / shape.curve_bytes / devices,
            _MAX_VMAP_SIZE.get(platform, _MAX_VMAP_SIZE["gpu"]),
            -(-trials // devices),
        ]
        return max(1, min(bounds))

    def _guess_vmap_size(self, shape: ProgramShape, most: float) -> tuple[int, bool]:
        """Guess the best vmap size up to a bound, and whether to run a trial as one kernel.

        The guesses follow measurements on other machines.
        """
        if self.hardware.platform != "cpu":
            fast_bytes = _FAST_SHARE * _FAST_BYTES.get(self.hardware.kind, np.inf)
            return int(min(most, max(1.0, fast_bytes / shape.live_bytes))), shape.single_kernel
        if shape.width and (shape.single_kernel or shape.flops > _LARGE_FLOPS):
            return 1, shape.single_kernel
        # Without a hidden layer, trials side by side share one product with the data.
        if shape.single_kernel and shape.n_features <= _FEW_FEATURES:
            return 1, True
        most = min(most, _CACHE_BYTES / shape.activation_bytes)
        return 2 ** int(np.log2(max(1, most))), False
