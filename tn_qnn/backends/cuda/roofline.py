"""What every launch of a schedule should take at best: bytes, operations, predicted time.

A model, not a measurement: everything it gives is labelled predicted wherever it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from tn_qnn.backends.cuda.ceilings import DTYPE_BYTES, Ceilings
from tn_qnn.backends.cuda.schedule import (
    GEMM,
    LARGE,
    ROW_BYTES,
    STAGE,
    SUMS,
    Launch,
    Schedule,
    tile_shape,
)
from tn_qnn.backends.cuda.sums import ROW as SUM_ROW
from tn_qnn.backends.cuda.sums import WARP, lanes, results
from tn_qnn.program.placement import Sizes
from tn_qnn.program.program import Program, Step
from tn_qnn.program.tables import roles, table_bytes

#: Seconds that a launch costs beside its work: a node of a replayed graph, and a call from Python.
#: These and the constants below are leads from the literature: nobody has measured them here.
NODE_SECONDS, CALL_SECONDS = 1e-6, 5e-6
#: Bytes a clock that one multiprocessor can draw from device memory.
MEMORY_BYTES_PER_CLOCK = 64
#: Cycles until a thread is through: what a step costs beside its register tiles, what a tile costs
#: beside its k, what a k costs, and what a tile waits for where an operand lies in the arena.
STEP_CYCLES, TILE_CYCLES, K_CYCLES, ARENA_CYCLES = 100, 100, 35, 250
#: Values of a sum that a thread has under way at once, and what a warp's exchange takes.
SUM_AHEAD, TREE_CYCLES = 4, 150
#: Outputs of a block of run_gemm along m and n, its warps, and what one access takes of the port.
GEMM_BLOCK, GEMM_WARPS, ONE_READ = 64, 8, 128
#: Bytes of shared memory that the system takes of every block; registers of a multiprocessor, and
#: about as many of a thread as the compiler gives the interpreter (see docs/gpu.md).
RESERVED, REGISTERS, THREAD_REGISTERS = 1 << 10, 1 << 16, 96


@dataclass(frozen=True)
class Load:
    """What a launch moves and computes.

    Attributes
    ----------
    device_bytes
        From and to device memory: every value that a launch reads from the arena or writes to it,
        once. What is read again comes from the caches; a working set beyond them is not modelled.
    chip_bytes
        Through shared memory and the first-level cache, which are one memory with one port: every
        operand and table entry that a thread loads, every result that it stores.
    operations
        Floating-point operations, two a real multiply-add.
    cycles, all_cycles
        Clock cycles until the longest block is through, each step waiting for the one before, and
        those of all blocks together.
    blocks
        Of the grid.
    resident
        Blocks that a multiprocessor holds at once, by threads and shared memory.
    """

    device_bytes: int
    chip_bytes: int
    operations: int
    cycles: int
    all_cycles: int
    blocks: int
    resident: int


@dataclass(frozen=True)
class Line:
    """One launch in the table.

    Attributes
    ----------
    kernel, labels, steps, points
        The launch: its kernel, its stage, steps or sums that it runs, points of the batch.
    load
        What it does.
    memory, chip, arithmetic, latency
        Seconds by each ceiling: device memory, shared memory and first-level cache, the vector
        units, and the chain of steps in one block.
    overhead
        Seconds of the launch itself.
    runs
        How often it runs: once a slice.
    measured
        Seconds of one run where it was measured.
    """

    kernel: str
    labels: tuple[str, ...]
    steps: int
    points: int
    load: Load
    memory: float
    chip: float
    arithmetic: float
    latency: float
    overhead: float
    runs: int = 1
    measured: float | None = None

    @property
    def ceiling(self) -> float:
        """Seconds by the ceilings of those multiprocessors that have a block."""
        return max(self.memory, self.chip, self.arithmetic)

    @property
    def seconds(self) -> float:
        """Predicted seconds of one run."""
        return self.overhead + max(self.ceiling, self.latency)

    @property
    def limit(self) -> str:
        """What takes longest."""
        parts = {x: getattr(self, x) for x in ("memory", "chip", "arithmetic", "latency")}
        return max({**parts, "launch": self.overhead}.items(), key=lambda item: item[1])[0]

    @property
    def fraction(self) -> float | None:
        """Share of the ceiling that was reached; None where nothing was measured."""
        return None if self.measured is None else self.ceiling / self.measured


def step_chip_bytes(program: Program, step: Step, kernel: str, itemsize: int) -> int:
    """Bytes that the threads load and store for a step and one point of the batch.

    A table entry is one load for all lanes of a warp, and costs as much as one of four bytes each.
    """
    r = roles(program, step)
    h, m, n, k = (r.count(x) for x in (r.h, r.m, r.n, r.k))
    left, right, out = (program.slots[x].planes for x in (step.left, step.right, step.out))
    stored = itemsize * h * m * n * out
    if kernel == GEMM:
        blocks = h * -(-m // GEMM_BLOCK) * -(-n // GEMM_BLOCK)
        # A warp is two rows of threads: of left it reads next to nothing, of right a whole row.
        read = GEMM_WARPS * (ONE_READ * left + itemsize * GEMM_BLOCK * right)
        return blocks * k * (read + itemsize * GEMM_BLOCK * (left + right)) + stored
    rows, columns = tile_shape(program, step, itemsize)
    tiles = h * (m // rows) * (n // columns)
    entries = 3 + 2 * (rows + columns) + 2 * k
    return tiles * (itemsize * k * (rows * left + columns * right) + 4 * entries) + stored


def step_cycles(
    program: Program, step: Step, launch: Launch, itemsize: int, workers: int = 1
) -> int:
    """Cycles that a step takes a block whose ``workers`` share the register tiles of a lane."""
    r = roles(program, step)
    k = r.count(r.k)
    in_arena = {step.left, step.right} - launch.scratch.offsets.keys()
    each = TILE_CYCLES + K_CYCLES * k + (ARENA_CYCLES if in_arena else 0)
    if launch.kernel == GEMM:
        return STEP_CYCLES + each
    rows, columns = tile_shape(program, step, itemsize)
    tiles = r.count(r.h) * (r.count(r.m) // rows) * (r.count(r.n) // columns)
    return STEP_CYCLES + -(-tiles // workers) * each


def device_bytes(program: Program, launch: Launch, sizes: Sizes, itemsize: int) -> int:
    """Bytes of all arena values that a launch reads or writes, each once, and of its tables."""
    read = {x for step in launch.steps for x in (step.left, step.right)}
    written = {step.out for step in launch.steps}
    scalars = sum(
        slot_scalars(program, number, sizes)
        for group in (read, written)
        for number in group
        if number not in launch.scratch.offsets
    )
    return itemsize * scalars + launch_table_bytes(program, launch)


def slot_scalars(program: Program, number: int, sizes: Sizes) -> int:
    """Scalars of a slot over its batch, those that one slice reads."""
    slot, counts = program.slots[number], sizes.of()
    kept = [n for i, n in zip(slot.indices, slot.shape, strict=True) if i not in program.sliced]
    return math.prod(kept) * slot.planes * math.prod(counts[x] for x in slot.labels)


def launch_table_bytes(program: Program, launch: Launch) -> int:
    """Bytes of a launch's rows and int32 offset tables."""
    return sum(ROW_BYTES + table_bytes(program, step) // 2 for step in launch.steps)


def launch_load(
    program: Program, launch: Launch, sizes: Sizes, itemsize: int, device: Ceilings
) -> Load:
    """What a launch moves and computes."""
    if launch.kernel == SUMS:
        return sum_load(program, launch, sizes, itemsize, device)
    points, blocks = launch.loops.points, math.prod(launch.grid)
    kernel, steps = launch.kernel, launch.steps
    chip = points * sum(step_chip_bytes(program, step, kernel, itemsize) for step in steps)
    if kernel == STAGE:  # every block copies rows and tables of its part into shared memory
        chip += launch.grid[0] * launch_table_bytes(program, launch)
    workers = launch.block[1] * (launch.grid[1] if kernel == LARGE else 1)
    cycles = [step_cycles(program, step, launch, itemsize, workers) for step in steps]
    ends = list(accumulate(launch.parts))
    parts = [sum(cycles[end - n : end]) for end, n in zip(ends, launch.parts, strict=True)]
    return Load(
        device_bytes(program, launch, sizes, itemsize),
        chip,
        2 * points * sum(program.step_size(step) for step in steps),
        max(parts),
        blocks * sum(parts) // len(parts),
        blocks,
        resident_blocks(launch, device),
    )


def sum_load(
    program: Program, launch: Launch, sizes: Sizes, itemsize: int, device: Ceilings
) -> Load:
    """What a launch of sums over labels of the batch moves: every value once, nothing twice."""
    cycles = []
    values = written = 0
    for total in launch.sums:
        made, threads = results(program, total, sizes.of()), lanes(program, total)
        read = slot_scalars(program, total.value, sizes)
        values, written = values + read, written + made
        turns = -(-read // (made * threads * SUM_AHEAD))
        # a block whose threads have no result of this sum ends at once
        busy = -(-made * threads // math.prod(launch.block))
        each = STEP_CYCLES + turns * ARENA_CYCLES + (TREE_CYCLES if threads == WARP else 0)
        cycles += [each] * busy + [0] * (launch.grid[0] - busy)
    moved = itemsize * (values + written)
    return Load(
        moved + 8 * SUM_ROW * len(launch.sums),
        moved,
        values,
        max(cycles),
        sum(cycles),
        math.prod(launch.grid),
        resident_blocks(launch, device),
    )


def resident_blocks(launch: Launch, device: Ceilings) -> int:
    """Blocks of a launch that one multiprocessor holds at once."""
    threads = min(device.threads, REGISTERS // THREAD_REGISTERS)
    by_threads = threads // math.prod(launch.block)
    by_shared = device.shared_multiprocessor // (launch.shared + RESERVED)
    return max(1, min(by_threads, by_shared))


def line(
    program: Program,
    launch: Launch,
    sizes: Sizes,
    dtype: str,
    device: Ceilings,
    overhead: float = NODE_SECONDS,
) -> Line:
    """Predict one launch.

    Parameters
    ----------
    program, launch, sizes
        What runs, and its batch.
    dtype
        "float32" or "float64".
    device
        Its ceilings.
    overhead
        Seconds that a launch costs beside its work.
    """
    load = launch_load(program, launch, sizes, DTYPE_BYTES[dtype], device)
    # Multiprocessors without a block help nobody.
    busy = min(1.0, load.blocks / device.multiprocessors)
    drawn = busy * device.multiprocessors * MEMORY_BYTES_PER_CLOCK * device.clock
    return Line(
        launch.kernel,
        launch.labels,
        len(launch.steps) + len(launch.sums),
        launch.loops.points,
        load,
        load.device_bytes / min(device.reachable_bandwidth, drawn),
        load.chip_bytes / (busy * device.shared_bandwidth),
        load.operations / (busy * device.operations(dtype)),
        max(load.cycles, load.all_cycles / (load.resident * device.multiprocessors)) / device.clock,
        overhead,
        program.slices,
    )


def predict(
    schedule: Schedule,
    sizes: Sizes,
    dtype: str,
    device: Ceilings,
    overhead: float = NODE_SECONDS,
    measured: Sequence[float] | None = None,
) -> tuple[Line, ...]:
    """Predict every launch of a schedule.

    Parameters
    ----------
    schedule, sizes, dtype, device, overhead
        As :func:`line`.
    measured
        Seconds of one run of each launch, where there are any.

    Returns
    -------
    tuple of Line
        In the order of the launches.
    """
    lines = [
        line(schedule.program, launch, sizes, dtype, device, overhead)
        for launch in schedule.launches
    ]
    if measured is not None:
        lines = [replace(x, measured=s) for x, s in zip(lines, measured, strict=True)]
    return tuple(lines)
