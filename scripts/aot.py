"""Compile programs for absent accelerators, and print the cost of a training step and of a record of each.

The programs of `bench.py` and of the default sweep are compiled ahead of time for an H100 and for the TPUs
v5e and v2, for as many trials as `LANES` says: side by side on a GPU, and as planned on a TPU. For the H100,
the programs of `bench.py` stand beside the same trainings written by hand. A step records nothing; the costs
are:

kernels: The number of instructions of the optimised HLO that a device runs by themselves, such as fusions,
library calls and copies. The test of a loop whose length XLA does not know counts as one kernel; the work of
a TPU's scalar unit does not count. An instruction that XLA turns into two launches counts once.
record: The number of kernels that a record adds to a step. A record of vsweep makes the step that follows it,
since it has computed the gradient; one by hand computes the losses alone.
moved: The bytes that the kernels of a step read and write, as laid out on the device, with every operand in
full and caches ignored. `main` is the part in the device's main memory, outside that of its cores.
waits: The number of times that a step and a record depend on a computed value (a branch; a loop of unknown
length), for which a GPU's host waits.
memory: The predicted device memory of a call, for arguments, results and temporaries.

Without a device nothing is tuned, so XLA may choose other kernels for the products on one. The exit status is
1 if a cost is higher than accepted in aot.json (kernels and waits at all, bytes by over 2 %), or becomes
higher than by hand (the kernels of a record by over half).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import bench
import jax
import numpy as np
from hlo import Step, parse, record_of, step_of
from jax.experimental.topologies import get_topology_desc
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vsweep.config.spec import make_spec
from vsweep.engine.plan import Program, make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.training.vectorize import compile_block

HERE = Path(__file__).parent
ACCEPTED = HERE / "aot.json"
SWEEP = "digits"
# The trials, and the steps of a training of so many in the bench.
LANES = {128: 50, 4096: 200}
# A cost may be higher by this share than the accepted one, and than the one by hand.
TOLERANCE = {
    "kernels": (0.0, 0.0),
    "record": (0.0, 0.5),
    "waits": (0.0, 0.0),
    "moved": (0.02, 0.0),
    "main": (0.02, 0.0),
}
_ROW = "{:6}{:>6} {:24}{:>12}{:>12}{:>7}{:>20}{:>10}{:>12}{:>12}"


class Target(NamedTuple):
    """A device to compile for.

    Attributes:
        platform: JAX's name of the platform.
        topology: The topology of devices, one of which is compiled for.
        config: The file that describes a GPU.
    """

    platform: str
    topology: str
    config: Path | None = None


TARGETS = {
    "h100": Target("cuda", "1x1x1", HERE / "h100.txtpb"),
    "v5e": Target("tpu", "v5e:2x2"),
    "v2": Target("tpu", "v2:2x2"),
}


class Compiled(NamedTuple):
    """A compiled program's costs.

    Attributes:
        step: The training step.
        record: A record, and the step that it may make.
        makes_step: Whether a record makes a step.
        memory: The device memory of a call, in bytes.
    """

    step: Step
    record: Step
    makes_step: bool
    memory: int

    def costs(self) -> dict[str, int]:
        """Return the costs that are printed, accepted and compared."""
        step = self.step
        return {
            "kernels": step.launches,
            "record": self.record.launches - self.makes_step * step.launches,
            "waits": step.waits + self.record.waits,
            "moved": step.bytes,
            "main": step.main_bytes,
            "memory": self.memory,
        }


@contextmanager
def silence() -> Iterator[None]:
    """Hide the remarks of libraries that look for a device and find none; errors still raise."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def meshes(names: str) -> dict[str, Mesh]:
    """Return one device of each target, by name."""
    # Other processes may have libtpu loaded, which does no harm without a device.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    jax.config.update("jax_platforms", "cpu")
    with silence():
        jax.local_devices()
        return {name: mesh_of(TARGETS[name]) for name in names.split(",")}


def mesh_of(target: Target) -> Mesh:
    """Return one device of a target."""
    if target.config is None:
        topology = get_topology_desc(target.topology, target.platform)
    else:
        config = target.config.read_text(encoding="utf-8")
        topology = get_topology_desc(platform=target.platform, topology=target.topology, target_config=config)
    return Mesh(topology.devices[:1], ("trials",))


class Case(NamedTuple):
    """A program to compile.

    Attributes:
        program: The program.
        lanes: The trials side by side.
        is_benched: Whether it is one of the bench, which has a program by hand beside it.
    """

    program: Program
    lanes: int
    is_benched: bool


def cases(target: Target, kind: str) -> dict[str, Case]:
    """Return the programs of the bench and of the default sweep, as planned for one device, by name.

    Args:
        target: The device.
        kind: The name of its kind.
    """
    hardware = Hardware("tpu" if target.platform == "tpu" else "gpu", 1, kind)
    planned = make_plan(make_spec([f"sweep={SWEEP}", "tracker=none"]), hardware).programs
    found = {}
    for trials, steps in LANES.items():
        benched = [bench.program_of(case, trials, steps, hardware) for case in bench.CASES]
        for program, is_benched in [*((p, True) for p in benched), *((p, False) for p in planned)]:
            config = program.inputs.config
            # A GPU has room for all.
            lanes = min(trials, program.arrangement.vmap_size) if hardware.platform == "tpu" else trials
            parts = trials, config.data.name, config.model.name, program.width or ""
            name = " ".join(map(str, parts)).strip() + ("" if is_benched else " of the sweep")
            if name in found:
                raise ValueError(f"two programs are called {name}: give them other names")
            found[name] = Case(program, lanes, is_benched)
    return found


def placed(mesh: Mesh, spec: PartitionSpec, tree: Any) -> Any:
    """Return the shapes of arrays that lie on an absent device."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def compiled(case: Case, mesh: Mesh) -> Compiled:
    """Compile a program for an absent device."""
    program, spread = case.program, PartitionSpec("trials")
    hparams = jax.tree.map(lambda leaf: np.resize(leaf, (case.lanes, *leaf.shape[1:])), program.hparams)
    executable = compile_block(
        program.static,
        placed(mesh, spread, hparams),
        placed(mesh, PartitionSpec(), program.inputs.arrays),
        vmap_size=case.lanes,
        mesh=mesh,
    )
    return _costs_of(executable, makes_step=program.static.length.batch_size is None)


def by_hand(case: Case, mesh: Mesh) -> Compiled:
    """Compile the training by hand, in the same precision, for an absent device."""
    train, hparams = bench.by_hand(case.program)
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(jax.vmap(train)).lower(*placed(mesh, PartitionSpec("trials"), hparams))
    return _costs_of(lowered.compile(), makes_step=False)


def _costs_of(executable: jax.stages.Compiled, *, makes_step: bool) -> Compiled:
    memory, module = executable.memory_analysis(), parse(executable.as_text())
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Compiled(step_of(module), record_of(module), makes_step, needed - memory.alias_size_in_bytes)


def growth(
    costs: Mapping[str, int], accepted: Mapping[str, int] | None, hand: Mapping[str, int] | None = None
) -> Iterator[str]:
    """Yield a message for each cost of a program that is too high.

    A cost is held against the accepted one. It may grow a little below the one by hand, and not above it; one
    of which nothing is accepted is held against that by hand.
    """
    if accepted is None and hand is None:
        yield "nothing is accepted for it yet"
        return
    for name, (more, more_than_hand) in TOLERANCE.items():
        bound = float("inf") if accepted is None else accepted[name] * (1.0 + more)
        if hand is not None:
            known = 0 if accepted is None else accepted[name]
            bound = min(bound, max(hand[name] * (1.0 + more_than_hand), known))
        if costs[name] > bound:
            others = [f"{accepted[name]:,} accepted"] if accepted else []
            others += [f"{hand[name]:,} by hand"] if hand else []
            yield f"{name} is {costs[name]:,}, of {' and '.join(others)}"


def versions() -> dict[str, str]:
    """Return the versions of the packages that the costs depend on."""
    installed = {}
    for name in ("jax", "jaxlib", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12", "libtpu"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "none"
    return installed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="store these costs as the accepted ones")
    parser.add_argument("--targets", default=",".join(TARGETS), help="some of %(default)s")
    parser.add_argument("--programs", default="", help="only programs with this text in their name")
    parser.add_argument("--kernels", action="store_true", help="list the kernels of each step")
    options = parser.parse_args()
    kept = json.loads(ACCEPTED.read_text(encoding="utf-8")) if ACCEPTED.exists() else {}
    measured, grown = measure(options, kept.get("programs", {}))
    if options.accept:
        programs = {**kept.get("programs", {}), **measured}
        text = json.dumps({"versions": versions(), "programs": programs}, indent=1)
        ACCEPTED.write_text(text + "\n", encoding="utf-8")
        return 0
    for line in grown:
        print(line, file=sys.stderr)
    if grown:
        print("Reduce the cost, or accept it: make aot ARGS=--accept", file=sys.stderr)
        if kept and kept["versions"] != versions():
            print(f"Accepted with {kept['versions']}; these are {versions()}", file=sys.stderr)
    return 1 if grown else 0


def measure(
    options: argparse.Namespace, accepted: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Compile each program and print a line for it; return the costs by name, and messages on grown costs."""
    measured: dict[str, dict[str, Any]] = {}
    grown: list[str] = []
    heads = "kernels", "record", "waits", "moved, MB", "main, MB", "memory, MB", "compile, s"
    print(_ROW.format("target", "lanes", "program", *heads))
    print("with a cost by hand behind the slash")
    for target, mesh in meshes(options.targets).items():
        for name, case in cases(TARGETS[target], mesh.devices.flat[0].device_kind).items():
            if options.programs not in name:
                continue
            start = time.perf_counter()
            result = compiled(case, mesh)
            costs: dict[str, Any] = result.costs()
            spent = time.perf_counter() - start
            # A TPU lays out both alike, and takes long to compile.
            hand = by_hand(case, mesh) if case.is_benched and target == "h100" else None
            other = hand.costs() if hand else None
            key = f"{target}: {name}"
            grown += [f"{key}: {message}" for message in growth(costs, accepted.get(key), other)]
            measured[key] = costs | ({"by hand": other} if other else {})
            print(_line(target, name, costs, other, spent), flush=True)
            if options.kernels:
                list_kernels(result.step)
    return measured, grown


def _line(
    target: str, name: str, costs: Mapping[str, int], hand: Mapping[str, int] | None, seconds: float
) -> str:
    def both(key: str, unit: float = 1.0, digits: int = 0) -> str:
        values = [costs[key], *([hand[key]] if hand else [])]
        return " / ".join(f"{value / unit:.{digits}f}" for value in values)

    lanes, _, program = name.partition(" ")
    counts = both("kernels"), both("record"), costs["waits"], both("moved", 1e6, 1)
    return _ROW.format(
        target,
        lanes,
        program,
        *counts,
        *(f"{costs[key] / 1e6:.2f}" for key in ("main", "memory")),
        f"{seconds:.1f}",
    )


def list_kernels(step: Step) -> None:
    """Print a step's kernels, the one that moves the most bytes first."""
    for kernel in sorted(step.kernels, key=lambda kernel: -kernel.times * kernel.bytes):
        moved = f"{kernel.times * kernel.bytes / 1e6:10.3f} MB"
        print(f"{moved}  {kernel.name:34} {'/'.join(kernel.source.split('/')[-3:])}")


if __name__ == "__main__":
    sys.exit(main())
