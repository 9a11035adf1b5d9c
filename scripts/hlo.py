"""Read the kernels of a training step, and the bytes that they move, from a program's optimised HLO."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple


class Array(NamedTuple):
    """A part of an instruction's result.

    Attributes:
        scalar: Whether the part has no axes.
        bytes: Its size with the padding of its tiles.
        tiled: Whether it is stored in tiles, as on a TPU.
        on_chip: Whether it is stored outside the device's main memory.
    """

    scalar: bool
    bytes: int
    tiled: bool
    on_chip: bool


class Instruction(NamedTuple):
    """An instruction of a module.

    Attributes:
        name: Its name.
        opcode: Its operation.
        arrays: The parts of its result.
        operands: The names of its operands.
        rest: The text after the operands.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    rest: str


class Module(NamedTuple):
    """Instructions in order, by computation and by name."""

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str


class Kernel(NamedTuple):
    """An instruction that a device runs by itself.

    Attributes:
        name: The instruction's name.
        source: Its place in the traced function.
        times: The number of times that a step runs it.
        bytes: The bytes that it reads and writes each time, with every operand in full.
        main_bytes: The part of these bytes in the device's main memory.
    """

    name: str
    source: str
    times: int
    bytes: int
    main_bytes: int


class Step(NamedTuple):
    """A step of training.

    Attributes:
        kernels: The kernels in order.
        waits: The number of times that the program depends on a computed value, for which a GPU's host waits.
    """

    kernels: tuple[Kernel, ...]
    waits: int

    @property
    def launches(self) -> int:
        """The number of kernels that run."""
        return sum(kernel.times for kernel in self.kernels)

    @property
    def bytes(self) -> int:
        """The bytes that the kernels read and write."""
        return sum(kernel.times * kernel.bytes for kernel in self.kernels)

    @property
    def main_bytes(self) -> int:
        """The bytes that the kernels read from and write to the device's main memory."""
        return sum(kernel.times * kernel.main_bytes for kernel in self.kernels)


# No device runs these instructions; they name values that exist already.
_NO_KERNEL = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier",
    "add-dependency", "partition-id", "replica-id",
}  # fmt: skip
_BUFFER_ONLY = re.compile(r'custom_call_target="(AllocateBuffer|Sharding|SPMD\w+)"')
_NAME = r"%?([\w.\-]+)"
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")


def parse(text: str) -> Module:
    """Parse the text of a module, as `Compiled.as_text()` returns it."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, inside = "", None
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if inside is None:
            if header := re.match(rf"(ENTRY )?{_NAME} \(.*\{{$", line):
                inside = computations[header[2]] = {}
                entry = header[2] if header[1] else entry
        elif line == "}":
            inside = None
        else:
            instruction = _instruction(line)
            inside[instruction.name] = instruction
    if not entry:
        raise ValueError("no HLO module: it has no ENTRY")
    return Module(computations, entry)


def _instruction(line: str) -> Instruction:
    assigned = re.match(rf"\s+(?:ROOT )?{_NAME} = ", line)
    if not assigned:
        raise ValueError(f"no HLO instruction: {line!r}")
    rest = line[assigned.end() :]
    end = _closing(rest) if rest[0] == "(" else rest.index(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    rest = rest[len(opcode) :]
    end = _closing(rest)
    operands = re.findall(r"%([\w.\-]+)", rest[:end])
    return Instruction(assigned[1], opcode, tuple(_arrays(shape)), tuple(operands), rest[end:])


def _closing(text: str) -> int:
    """Return the position after the parenthesis that closes the text's first one."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"a parenthesis stays open: {text!r}")


def _arrays(shape: str) -> Iterator[Array]:
    for dtype, axes, layout in _ARRAY.findall(shape):
        sizes = [int(size.lstrip("<=")) for size in axes.split(",") if size]
        order, _, more = layout.partition(":")
        tile = re.search(r"T\(([\d,]+)\)", more)
        if tile:
            # The tile is on the axes that vary fastest, which `order` names first.
            minor = [sizes[int(i)] for i in order.split(",") if i]
            tiles = [int(size) for size in tile[1].split(",")][::-1]
            minor += [1] * (len(tiles) - len(minor))
            padded = [-(-size // by) * by for size, by in zip(minor, tiles, strict=False)]
            elements = prod(padded + minor[len(tiles) :])
        else:
            elements = prod(sizes)
        bits = 8 if dtype == "pred" else int((re.findall(r"\d+", dtype) or ["0"])[0])
        on_chip = bool(re.search(r"S\([1-9]\d*\)", more))
        yield Array(not sizes, -(-elements * bits // 8), bool(tile), on_chip)


def step_of(module: Module) -> Step:
    """Return a step of training: an iteration of the heaviest loop within the heaviest loop of the program.

    With all trials side by side, these loops are over the records, and over the steps between two records.
    """
    return _turn(module, _heaviest(module, _called(_heaviest(module, module.entry), "body")))


def record_of(module: Module) -> Step:
    """Return a record: an iteration of the heaviest loop of the program, without the loops inside it."""
    return _turn(module, _heaviest(module, module.entry), loops=False)


def _heaviest(module: Module, computation: str) -> Instruction:
    loops = list(_loops(module, computation))
    if not loops:
        raise ValueError("no loop over steps within a loop over records")
    return max(loops, key=lambda loop: _steps(module, _called(loop, "body")).launches)


def _loops(module: Module, computation: str) -> Iterator[Instruction]:
    """Yield the loops of a computation, without those inside other loops."""
    for instruction in module.computations[computation].values():
        if instruction.opcode == "while":
            yield instruction
        elif instruction.opcode in ("call", "conditional"):
            for name in _branches(instruction):
                yield from _loops(module, name)


def _steps(module: Module, computation: str, *, loops: bool = True) -> Step:
    """Return the kernels and waits of a computation, with those of its loops or without."""
    kernels: list[Kernel] = []
    waits = 0
    within = module.computations[computation]
    for instruction in within.values():
        if instruction.opcode == "while" and not loops:
            continue
        if instruction.opcode == "while":
            turn, times = _turn(module, instruction), _turns(instruction) or 1
        elif instruction.opcode in ("call", "conditional", "async-start"):
            parts = [_steps(module, name, loops=loops) for name in _branches(instruction)]
            turn, times = max(parts, key=lambda part: (part.launches, part.bytes)), 1
            waits += instruction.opcode == "conditional"
        else:
            if _is_kernel(instruction):
                kernels.append(_kernel(within, instruction))
            continue
        kernels += [kernel._replace(times=times * kernel.times) for kernel in turn.kernels]
        waits += times * turn.waits
    return Step(tuple(kernels), waits)


def _turn(module: Module, loop: Instruction, *, loops: bool = True) -> Step:
    """Return one iteration of a loop; it computes the condition only if the loop's length is unknown."""
    body = _steps(module, _called(loop, "body"), loops=loops)
    if _turns(loop):
        return body
    condition = _steps(module, _called(loop, "condition"))
    return Step(body.kernels + condition.kernels, body.waits + condition.waits + 1)


def _turns(loop: Instruction) -> int | None:
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    return int(known[1]) if known else None


def _called(instruction: Instruction, attribute: str) -> str:
    called = re.search(rf"\b{attribute}={_NAME}", instruction.rest)
    if not called:
        raise ValueError(f"{instruction.name} has no {attribute}")
    return called[1]


def _branches(instruction: Instruction) -> Sequence[str]:
    """Return the computations that a call runs, or of which a conditional runs one."""
    several = re.search(r"\bbranch_computations=\{([^}]*)\}", instruction.rest)
    if several:
        return re.findall(r"[\w.\-]+", several[1])
    attributes = ("to_apply", "calls", "true_computation", "false_computation")
    matches = [re.search(rf"\b{name}={_NAME}", instruction.rest) for name in attributes]
    return [match[1] for match in matches if match]


def _is_kernel(instruction: Instruction) -> bool:
    opcode = instruction.opcode
    if opcode in _NO_KERNEL or opcode.endswith(("-done", "-update")):
        return False
    if opcode == "custom-call":
        return not _BUFFER_ONLY.search(instruction.rest)
    # A TPU's scalar unit computes these beside the kernels; on a GPU a scalar costs a launch as well.
    beside = all(array.scalar and array.tiled for array in instruction.arrays)
    return opcode == "fusion" or not beside


def _kernel(within: Mapping[str, Instruction], instruction: Instruction) -> Kernel:
    arrays = list(instruction.arrays)
    if instruction.opcode.endswith("-start"):
        # A start's result includes its operands; the kernel writes the result of the other half.
        done = [i for i in within.values() if instruction.name in i.operands and i.opcode.endswith("-done")]
        arrays = [array for i in done for array in i.arrays]
    for operand in instruction.operands:
        arrays += within[operand].arrays
    source = re.search(r'op_name="([^"]*)"', instruction.rest)
    return Kernel(
        instruction.name,
        source[1] if source else "",
        1,
        sum(array.bytes for array in arrays),
        sum(array.bytes for array in arrays if not array.on_chip),
    )
