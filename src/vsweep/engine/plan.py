"""Group a sweep's trials into programs, and each program's trials into blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.sharding import Mesh

from vsweep.config.grid import Grid
from vsweep.config.schema import parse_field
from vsweep.config.validate import with_values
from vsweep.engine.devices import prepare, shortcoming, trial_mesh
from vsweep.engine.hyperparams import bind, is_traced, widths
from vsweep.engine.inputs import Inputs, load_inputs
from vsweep.engine.kernel_launch import shared_memory, shortcoming_of_kernels
from vsweep.engine.library_calls import library_calls
from vsweep.engine.tuning.cost_model import LOAD_S, NO_LIMITS, Arrangement, Costs, UserLimits
from vsweep.engine.tuning.shape import Hardware, ProgramShape, program_shape, step_flops
from vsweep.engine.tuning.timings import TimingCache
from vsweep.tasks.data.splits import Split
from vsweep.training.fused.kernel import Kernel, make_kernel, refusal
from vsweep.training.loop import recorded_steps
from vsweep.training.program import HParams, Static

if TYPE_CHECKING:
    # A spec needs Hydra, which `scripts/bench.py` does without.
    from vsweep.config.spec import SweepSpec

# The values of a program in `plan.json` that a later plan keeps.
_RECORDED = {"name", "trials", "family", "padded_width", "block", "lanes", "fused", "segment"}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled function, and the trials that it trains.

    Attributes:
        number: The program's place in its plan.
        inputs: The config, the data and the loss.
        static: The values that the program is compiled for.
        rows: Int64 `(trials,)`, the trials' places in the order of `Grid.trials()`.
        hparams: NumPy leaves of `(trials,)`.
        shape: The size of a trial's training, padded to the widest.
        padding_fraction: The share of the work that padding adds.
        arrangement: How the trials lie on the devices.
        step_s: The predicted seconds of a step and trial, with other trials beside it.
        compile_s: The predicted seconds of the compilation.
        measured: Whether such a program was trained before.
        family: The name that is shared by programs that differ only in width.
        segment: The number of records between two saves of the state; 0 for the whole training at once.
        kernel: The kernel that trains it on a GPU; None for XLA's program.
        refusal: The reason why no kernel was found for a user who asked for it; else "".
    """

    number: int
    inputs: Inputs
    static: Static
    rows: np.ndarray
    hparams: HParams
    shape: ProgramShape
    padding_fraction: float
    arrangement: Arrangement
    step_s: float
    compile_s: float
    measured: bool
    family: str = ""
    segment: int = 0
    kernel: Kernel | None = None
    refusal: str = ""

    @property
    def name(self) -> str:
        """The name of the program's measurements in the timing cache."""
        return self.shape.key

    @property
    def width(self) -> int:
        """The padded width; 0 where there is none."""
        return self.shape.width

    @property
    def records(self) -> int:
        """The number of records of a curve."""
        return len(recorded_steps(self.static.length))

    @property
    def blocks(self) -> int:
        """The number of calls that train all trials."""
        return -(-len(self.rows) // self.arrangement.block)

    @property
    def train_s(self) -> float:
        """The predicted seconds of training, without compiling."""
        return self.blocks * self.arrangement.block * self.static.length.steps * self.step_s

    @property
    def device_bytes(self) -> float:
        """The predicted bytes on a device: the data, and the trials that are side by side."""
        return self.inputs.split.x[0].nbytes + self.arrangement.vmap_size * self.shape.live_bytes


@dataclass(frozen=True)
class Plan:
    """All programs of a sweep, in the order of their numbers.

    Attributes:
        grid: The cells and seeds.
        programs: One for every combination of static values.
        splits: The data that they train on, by key.
        hardware: The devices that the plan is for.
        limits: The user's limits.
        pinned: Whether programs and blocks are those of an earlier plan.
        notes: Remarks on the overrides and the devices.
    """

    grid: Grid
    programs: tuple[Program, ...]
    splits: Mapping[str, Split]
    hardware: Hardware
    limits: UserLimits = NO_LIMITS
    pinned: bool = False
    notes: tuple[str, ...] = ()

    @property
    def compilations(self) -> int:
        """The number of programs that do not take the executable of another."""
        return sum(program.compile_s > 0.0 for program in self.programs)

    @property
    def compiling_s(self) -> float:
        """The predicted seconds of all compilations, one after another."""
        return sum(program.compile_s for program in self.programs)

    @property
    def training_s(self) -> float:
        """The predicted seconds of training all programs."""
        return sum(program.train_s for program in self.programs)

    @property
    def predicted_s(self) -> float:
        """The predicted seconds of the sweep; two programs compile at a time, and others train meanwhile."""
        first_s = self.programs[0].compile_s
        later_s = sum(program.compile_s for program in self.programs[1:]) / 2
        # On a CPU, compiling and training share the same cores.
        on_cpu = self.hardware.platform == "cpu"
        return first_s + (self.training_s + later_s if on_cpu else max(self.training_s, later_s))


def plan_sweep(spec: "SweepSpec", known: TimingCache, before: Mapping[str, Any]) -> tuple[Plan, Any]:
    """Plan a sweep for the devices of this process.

    Args:
        spec: The sweep.
        known: The measurements of earlier sweeps.
        before: The record of an earlier plan of the sweep; empty where there is none.

    Returns:
        The plan, and the mesh of the devices to train on.

    Raises:
        ConfigError: If the sweep cannot be trained.
    """
    mesh = trial_mesh()
    slow = shortcoming(mesh)
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    limits = UserLimits(
        parse_field("block", spec.raw.get("block")),
        parse_field("segment", spec.raw.get("segment")),
        parse_field("keep.state", spec.raw["keep"]["state"]),
        parse_field("kernel", spec.raw.get("kernel")) == "fused",
    )
    plan = make_plan(spec, hardware, limits, known, before)
    if any(program.shape.library.batched for program in plan.programs) and mesh.devices.size > 1:
        # Calls of one device after another leave threads that work for them.
        mesh, hardware = Mesh(mesh.devices[:1], mesh.axis_names), hardware._replace(devices=1)
        plan = make_plan(spec, hardware, limits, known, before)
    notes = [*spec.notes, slow, *map(_library_note, plan.programs), *map(_kernel_note, plan.programs)]
    return replace(plan, notes=tuple(dict.fromkeys(filter(None, notes)))), mesh


def _library_note(program: Program) -> str:
    """Say how a program is trained that would wait for ever in a library; "" for others."""
    if not program.shape.library.any or not program.shape.has_user_function:
        return ""
    batched = " on batches of matrices, and run on one device" if program.shape.library.batched else ""
    return f"your own functions call LAPACK{batched}: trials run one after another on a CPU device"


def _kernel_note(program: Program) -> str:
    """Say why XLA trains a program of a user who asked for the fused kernel; "" for others."""
    why = f"kernel=fused: XLA trains {program.inputs.subject}, since {program.refusal}"
    return why if program.refusal else ""


def make_plan(
    spec: "SweepSpec",
    hardware: Hardware,
    limits: UserLimits = NO_LIMITS,
    known: TimingCache | None = None,
    before: Mapping[str, Any] | None = None,
) -> Plan:
    """Group the cells into programs by their static values, and load the data that they train on.

    Args:
        spec: The sweep.
        hardware: The devices to plan for.
        limits: The user's limits.
        known: The measurements of earlier sweeps.
        before: The record of an earlier plan. If that plan is of the same trials on the same hardware, its
            programs and blocks are kept, so that every curve is the same, bit for bit.

    Raises:
        ConfigError: If data cannot be loaded, do not fit the model or the loss, or a user's function fails.
    """
    grid, variants = spec.grid, spec.variants
    static_axes = [i for i, axis in enumerate(grid.axes) if not is_traced(axis, variants.values())]
    combinations, combination_of_cell = np.unique(grid.index[:, static_axes], axis=0, return_inverse=True)
    combination_of_trial, split_of_trial = (
        combination_of_cell.ravel()[grid.trials()[1]],
        grid.split_of_trial(),
    )
    earlier = _earlier_programs(before or {}, limits, len(grid))
    costs = Costs(hardware, known or TimingCache(), earlier)
    splits: dict[str, Split] = {}
    programs: list[Program] = []
    for i, combination in enumerate(combinations):
        axes = [grid.axes[a] for a in static_axes]
        values = {axis.path: axis.values[v] for axis, v in zip(axes, combination, strict=True) if v >= 0}
        variant = variants[tuple(values[grid.axes[a].path] for a in spec.group_axes)]
        for number in range(grid.splits):
            inputs = load_inputs(with_values(variant, values), splits, number)
            rows = np.flatnonzero((combination_of_trial == i) & (split_of_trial == number))
            trial_widths, family, bounds = widths(grid, inputs.config, rows), "", [0]
            if inputs.config.model.is_padded:
                family, bounds = costs.split(inputs, *np.unique(trial_widths, return_counts=True))
            part_of_trial = np.searchsorted(bounds, trial_widths)
            for part in range(len(bounds)):
                program = make_program(grid, inputs, rows[part_of_trial == part], costs, limits)
                programs.append(replace(program, number=len(programs), family=family))
    pinned = bool(earlier) and [(program.name, len(program.rows)) for program in programs] == [
        (record["name"], record["trials"]) for record in earlier
    ]
    if pinned:
        programs = [
            replace(
                program,
                arrangement=_recorded_arrangement(record, program),
                segment=record["segment"],
            )
            for program, record in zip(programs, earlier, strict=True)
        ]
    return Plan(grid, _without_shared_compilations(programs), splits, hardware, limits, pinned)


def _without_shared_compilations(programs: Sequence[Program]) -> tuple[Program, ...]:
    """Return programs that take no time to compile where an earlier one has their executable."""
    compiled, kept = set(), []
    for program in programs:
        executable = program.static, program.name, program.arrangement, program.segment
        kept.append(replace(program, compile_s=0.0) if executable in compiled else program)
        compiled.add(executable)
    return tuple(kept)


def _recorded_arrangement(record: Mapping[str, Any], program: Program) -> Arrangement:
    """Return an arrangement of an earlier plan, unless it would wait for ever."""
    arrangement = Arrangement(record["block"], record["lanes"], record["fused"])
    may_wait = arrangement.vmap_size > 1 and program.shape.library.any
    return program.arrangement if may_wait else arrangement


def _earlier_programs(
    before: Mapping[str, Any], limits: UserLimits, trials: int
) -> Sequence[Mapping[str, Any]]:
    """Return the records of an earlier plan's programs; none if the user's limits or the trials differ."""
    # Records of earlier versions have fewer limits.
    asked = before.get("asked")
    is_asked = asked is not None and list(limits) == [*asked, *NO_LIMITS[len(asked) :]]
    same = is_asked and before.get("trials") == trials
    programs = before.get("programs", []) if same else []
    # The record may come from someone else, so its programs may lack values.
    return programs if all(set(program) >= _RECORDED for program in programs) else []


def make_program(
    grid: Grid, inputs: Inputs, rows: np.ndarray, costs: Costs, limits: UserLimits = NO_LIMITS
) -> Program:
    """Make the program that trains some trials, which differ in traced fields only.

    Args:
        grid: The cells and seeds.
        inputs: The config, data and loss of the trials.
        rows: Int64 `(trials,)`, places in the order of `Grid.trials()`.
        costs: The costs of programs on the hardware.
        limits: The user's limits.

    Raises:
        ConfigError: If the program's dtype cannot hold a number, or a user's function fails.
    """
    static, hparams = bind(grid, inputs, rows)
    sizes, counts = np.unique(widths(grid, inputs.config, rows), return_counts=True)
    inits = len(dict(static.task.static)["init"]) if inputs.config.model.has_initializer else 1
    shape = program_shape(inputs, int(sizes[-1]), costs.hardware, inits)
    if costs.hardware.platform == "cpu":
        library = library_calls(static, hparams, inputs, has_user_function=shape.has_user_function)
        shape = replace(shape, library=library)
    kernel, reason = _find_kernel(static, inputs, costs.hardware) if limits.fused else (None, "")
    shape = shape.in_one_kernel() if kernel else shape
    needed_flops = np.average([step_flops(inputs, width) for width in sizes.tolist()], weights=counts)
    arrangement = costs.arrange(shape, len(rows), limits.block)
    step_s, measured = costs.step_s(shape, len(rows)), costs.measured(shape, arrangement.block)
    return Program(
        number=0,
        inputs=inputs,
        static=static,
        rows=rows,
        hparams=hparams,
        shape=shape,
        padding_fraction=1.0 - float(needed_flops) / shape.flops,
        arrangement=arrangement,
        step_s=step_s,
        compile_s=LOAD_S if measured else costs.compile_s(shape, arrangement.vmap_size),
        measured=measured,
        segment=limits.segment_records(inputs.config, arrangement.block * step_s),
        kernel=kernel,
        refusal=reason,
    )


def _find_kernel(static: Static, inputs: Inputs, hardware: Hardware) -> tuple[Kernel | None, str]:
    """Return the kernel that trains a program on a GPU, or the reason why there is none."""
    if reason := shortcoming_of_kernels(hardware.platform) or refusal(static):
        return None, reason
    kernel = make_kernel(static, held_out=inputs.split.x[1] is not None, most_bytes=shared_memory())
    return kernel, "" if kernel else "a trial does not fit the shared memory of this GPU"
