"""Compile programs for accelerators that are not here, and say what a training step of them costs.

The programs of the default sweep and the bench's spirals are compiled ahead of time for an H100 and for the
TPUs v5e and v2, with so many trials side by side as `LANES` says. Counted is a step in which nothing is
recorded:

kernels: instructions of the optimised HLO that a device runs by themselves, such as fusions, library calls
and copies. The test of a loop whose length XLA does not know is one; what a TPU's scalar unit does is not.
Where XLA turns one instruction into two launches, it is still one.
moved: what these kernels read and write, as laid out on the device and every operand whole, whatever a
cache may hold. Of it, main: what lies in the device's main memory, not in that of its cores.
waits: how often the way on hangs on a computed value (a branch; a loop of unknown length), which a GPU's
host waits for at each step.
memory: what a call is predicted to take of the device, for arguments, results and all between.

Nothing is tuned without a device: there, XLA may choose other kernels for the products. Ends with 1 where a
step has more kernels or waits than accepted in aot.json, or moves over 2 % more.
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
from vsweep.engine.inputs import arrays
from vsweep.engine.plan import Program, make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.training.vectorize import compile_block

HERE = Path(__file__).parent
ACCEPTED = HERE / "aot.json"
SWEEP = "digits"
LANES = 64
# By how much the bytes of a step may grow.
TOLERANCE = 0.02
_ROW = "{:8}{:20}{:>8}{:>7}{:>11}{:>10}{:>12}{:>12}"
GATED = ("kernels", "waits", "moved", "main")


class Target(NamedTuple):
    """platform: as JAX names it. topology: of devices, of which one is compiled for. config: a GPU's."""

    platform: str
    topology: str
    config: Path | None = None


TARGETS = {
    "h100": Target("cuda", "1x1x1", HERE / "h100.txtpb"),
    "v5e": Target("tpu", "v5e:2x2"),
    "v2": Target("tpu", "v2:2x2"),
}


class Compiled(NamedTuple):
    """step: of training. memory: bytes of the device that a call takes."""

    step: Step
    memory: int

    def costs(self) -> dict[str, int]:
        """What is printed, accepted and compared."""
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
    """Without the remarks of libraries that look for a device and find none; what fails still raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def meshes(names: str) -> dict[str, Mesh]:
    """One device of each target, by name."""
    # Other processes may have libtpu loaded; there is no device that they could quarrel over.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    jax.config.update("jax_platforms", "cpu")
    with silence():
        jax.local_devices()
        return {name: mesh_of(TARGETS[name]) for name in names.split(",")}


def mesh_of(target: Target) -> Mesh:
    """One device of a target."""
    if target.config is None:
        topology = get_topology_desc(target.topology, target.platform)
    else:
        config = target.config.read_text(encoding="utf-8")
        topology = get_topology_desc(platform=target.platform, topology=target.topology, target_config=config)
    return Mesh(topology.devices[:1], ("trials",))


@cache
def programs(platform: str) -> dict[str, Program]:
    """The default sweep's programs, as planned for one device, and the bench's spirals, by name."""
    made = make_spec([f"sweep={SWEEP}", "tracker=none"])
    plan = make_plan(made.grid, made.variants, made.group_axes, Hardware(platform, 1))
    found = [*plan.programs]
    found += [bench.program_of(case, LANES, 50, 1) for case in bench.CASES if case[0] == "spirals"]
    named = {}
    for program in found:
        config = program.inputs.config
        named[" ".join([config.data.name, config.model.name, str(program.width or "")]).strip()] = program
    if len(named) < len(found):
        raise ValueError("two programs of the same data, model and width: give them other names")
    return named


def compiled(program: Program, mesh: Mesh) -> Compiled:
    """A program for a device that is not here."""

    def on(spec: PartitionSpec, tree: Any) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    hparams = jax.tree.map(lambda leaf: np.resize(leaf, LANES), program.hparams)
    data = arrays(program.inputs.split, program.hparams.diverge_above.dtype)
    executable = compile_block(
        program.static,
        on(PartitionSpec("trials"), hparams),
        on(PartitionSpec(), data),
        vmap_size=LANES,
        mesh=mesh,
    )
    memory = executable.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Compiled(step_of(parse(executable.as_text())), needed - memory.alias_size_in_bytes)


def growth(found: Mapping[str, int], accepted: Mapping[str, int] | None) -> Iterator[str]:
    """What a program costs more than was accepted for it, in words."""
    if accepted is None:
        yield "nothing is accepted for it yet"
        return
    for name in GATED:
        before, now = accepted[name], found[name]
        if now > before * (1.0 if name in ("kernels", "waits") else 1.0 + TOLERANCE):
            yield f"{name} grew from {before:,} to {now:,}"


def versions() -> dict[str, str]:
    """What the numbers hang on, besides the programs."""
    found = {}
    for name in ("jax", "jaxlib", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12", "libtpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="keep these numbers as those to compare with")
    parser.add_argument("--targets", default=",".join(TARGETS), help="some of %(default)s")
    parser.add_argument("--programs", default="", help="those alone that have this in their name")
    parser.add_argument("--kernels", action="store_true", help="list the kernels of each step")
    options = parser.parse_args()
    kept = json.loads(ACCEPTED.read_text(encoding="utf-8")) if ACCEPTED.exists() else {}
    found, grown = measure(options, kept.get("programs", {}))
    if options.accept:
        costs = {**kept.get("programs", {}), **found}
        text = json.dumps({"lanes": LANES, "versions": versions(), "programs": costs}, indent=1)
        ACCEPTED.write_text(text + "\n", encoding="utf-8")
        return 0
    for line in grown:
        print(line, file=sys.stderr)
    if grown:
        print("Mend it or, where it is worth it, accept it: make aot ARGS=--accept", file=sys.stderr)
        if kept and kept["versions"] != versions():
            print(f"Accepted with {kept['versions']}; these are {versions()}", file=sys.stderr)
    return 1 if grown else 0


def measure(
    options: argparse.Namespace, accepted: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Compile, print a line each; give the costs by program and target, and what has grown."""
    found: dict[str, dict[str, int]] = {}
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
            made = compiled(program, mesh)
            spent = time.perf_counter() - start
            name = f"{target}: {program_name}"
            costs = found[name] = made.costs()
            grown += [f"{name}: {what}" for what in growth(costs, accepted.get(name))]
            megabytes = (f"{costs[key] / 1e6:.2f}" for key in ("moved", "main", "memory"))
            counts = target, program_name, costs["kernels"], costs["waits"]
            print(_ROW.format(*counts, *megabytes, f"{spent:.1f}"), flush=True)
            if options.kernels:
                list_kernels(made.step)
    return found, grown


def list_kernels(step: Step) -> None:
    """Print a step's kernels, the one that moves most first."""
    for kernel in sorted(step.kernels, key=lambda each: -each.times * each.bytes):
        moved = f"{kernel.times * kernel.bytes / 1e6:10.3f} MB"
        print(f"{moved}  {kernel.name:34} {'/'.join(kernel.source.split('/')[-3:])}")


if __name__ == "__main__":
    sys.exit(main())
