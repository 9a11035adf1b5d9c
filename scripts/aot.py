"""Compile programs for absent accelerators, and print the cost of a training step of each.

The programs of the default sweep and the bench's spirals are compiled ahead of time for an H100 and for the
TPUs v5e and v2, with `LANES` trials side by side. The costs are those of a step that records nothing:

kernels: The number of instructions of the optimised HLO that a device runs by themselves, such as fusions,
library calls and copies. The test of a loop whose length XLA does not know counts as one kernel; the work of
a TPU's scalar unit does not count. An instruction that XLA turns into two launches counts once.
moved: The bytes that these kernels read and write, as laid out on the device, with every operand in full and
caches ignored. `main` is the part in the device's main memory, outside that of its cores.
waits: The number of times that the program depends on a computed value (a branch; a loop of unknown length),
for which a GPU's host waits at each step.
memory: The predicted device memory of a call, for arguments, results and temporaries.

Without a device nothing is tuned, so XLA may choose other kernels for the products on one. The exit status is
1 if a step has more kernels or waits than accepted in aot.json, or moves over 2 % more bytes.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import bench
import jax
import numpy as np
from hlo import Step, parse, step_of
from jax.experimental.topologies import get_topology_desc
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vsweep.config.spec import make_spec
from vsweep.engine.plan import Program, make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.training.vectorize import compile_block

HERE = Path(__file__).parent
ACCEPTED = HERE / "aot.json"
SWEEP = "digits"
LANES = 64
# The share by which the bytes of a step may grow.
TOLERANCE = 0.02
_ROW = "{:8}{:20}{:>8}{:>7}{:>11}{:>10}{:>12}{:>12}"
GATED = ("kernels", "waits", "moved", "main")


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
        memory: The device memory of a call, in bytes.
    """

    step: Step
    memory: int

    def costs(self) -> dict[str, int]:
        """Return the costs that are printed, accepted and compared."""
        step = self.step
        return {
            "kernels": step.launches,
            "waits": step.waits,
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


@cache
def programs(platform: str) -> dict[str, Program]:
    """Return the default sweep's programs, as planned for one device, and the bench's spirals, by name."""
    spec = make_spec([f"sweep={SWEEP}", "tracker=none"])
    plan = make_plan(spec, Hardware(platform, 1))
    spirals = [bench.program_of(case, LANES, 50, 1) for case in bench.CASES if case[0] == "spirals"]
    by_name = {}
    for program in [*plan.programs, *spirals]:
        config = program.inputs.config
        by_name[" ".join([config.data.name, config.model.name, str(program.width or "")]).strip()] = program
    if len(by_name) < len(plan.programs) + len(spirals):
        raise ValueError("two programs of the same data, model and width: give them other names")
    return by_name


def compiled(program: Program, mesh: Mesh) -> Compiled:
    """Compile a program for an absent device."""

    def placed(spec: PartitionSpec, tree: Any) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    hparams = jax.tree.map(lambda leaf: np.resize(leaf, LANES), program.hparams)
    executable = compile_block(
        program.static,
        placed(PartitionSpec("trials"), hparams),
        placed(PartitionSpec(), program.inputs.arrays),
        vmap_size=LANES,
        mesh=mesh,
    )
    memory = executable.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Compiled(step_of(parse(executable.as_text())), needed - memory.alias_size_in_bytes)


def growth(costs: Mapping[str, int], accepted: Mapping[str, int] | None) -> Iterator[str]:
    """Yield a message for each cost of a program that is higher than accepted."""
    if accepted is None:
        yield "nothing is accepted for it yet"
        return
    for name in GATED:
        before, now = accepted[name], costs[name]
        if now > before * (1.0 if name in ("kernels", "waits") else 1.0 + TOLERANCE):
            yield f"{name} grew from {before:,} to {now:,}"


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
        costs = {**kept.get("programs", {}), **measured}
        text = json.dumps({"lanes": LANES, "versions": versions(), "programs": costs}, indent=1)
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
    options: argparse.Namespace, accepted: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Compile each program and print a line for it; return the costs by name, and messages on grown costs."""
    measured: dict[str, dict[str, int]] = {}
    grown: list[str] = []
    devices = meshes(options.targets)
    print(f"A step of {LANES} trials")
    heads = ("target", "program", "kernels", "waits", "moved, MB", "main, MB", "memory, MB", "compile, s")
    print(_ROW.format(*heads))
    for target, mesh in devices.items():
        for program_name, program in programs("tpu" if TARGETS[target].platform == "tpu" else "gpu").items():
            if options.programs not in program_name:
                continue
            start = time.perf_counter()
            result = compiled(program, mesh)
            spent = time.perf_counter() - start
            name = f"{target}: {program_name}"
            costs = measured[name] = result.costs()
            grown += [f"{name}: {message}" for message in growth(costs, accepted.get(name))]
            megabytes = (f"{costs[key] / 1e6:.2f}" for key in ("moved", "main", "memory"))
            counts = target, program_name, costs["kernels"], costs["waits"]
            print(_ROW.format(*counts, *megabytes, f"{spent:.1f}"), flush=True)
            if options.kernels:
                list_kernels(result.step)
    return measured, grown


def list_kernels(step: Step) -> None:
    """Print a step's kernels, the one that moves the most bytes first."""
    for kernel in sorted(step.kernels, key=lambda kernel: -kernel.times * kernel.bytes):
        moved = f"{kernel.times * kernel.bytes / 1e6:10.3f} MB"
        print(f"{moved}  {kernel.name:34} {'/'.join(kernel.source.split('/')[-3:])}")


if __name__ == "__main__":
    sys.exit(main())
