"""From stages to kernel launches: what is fused, what lies in shared memory, what is a launch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, zip_longest

from tn_qnn.backends.cuda.sums import ROW as SUM_ROW
from tn_qnn.backends.cuda.sums import lanes, results
from tn_qnn.program.arena import Scratch, allocate
from tn_qnn.program.placement import Placement
from tn_qnn.program.program import Program, Stage, Step, Sum
from tn_qnn.program.tables import roles, table_bytes

WARP = 32
STAGE, LARGE, GEMM, SUMS = "run_stage", "run_large", "run_gemm", "sum_batch"
#: Of a step's row in device memory, and of what shared memory holds in its place.
ROW_BYTES, STEP_BYTES = 8 * 32, 96
TABLE_BYTES = 48 << 10  # of step rows and tables that a launch copies into shared memory, at most
#: Multiply-adds of a step for a point of the batch from which it is worth a launch of its own,
#: where the batch alone does not fill the device, and from which it is a tiled product, where
#: there is hardly a batch. By the model of the roofline; not measured.
LARGE_WORK, GEMM_WORK, GEMM_OUTPUTS = 1 << 12, 1 << 14, 1 << 8
#: Threads a multiprocessor wants, to hide the latency of memory.
BUSY = 1024
#: Blocks for each multiprocessor up to which independent steps get blocks of their own.
BLOCKS, MOST_PARTS = 16, 4096
MOST_GROUPS = 16
#: What a step and a barrier cost a block beside its register tiles, in tiles; not measured.
STEP_TURNS, BARRIER_TURNS = 2.0, 0.3
MOST_GRID = 65535  # blocks along the second and the third axis of a grid
SUM_THREADS = 128  # of a block of "sum_batch"
NOTHING = Scratch({}, 0)


@dataclass(frozen=True)
class Limits:
    """What a device allows: shared memory of a block in bytes, and its multiprocessors."""

    shared_bytes: int
    multiprocessors: int

    @property
    def room(self) -> int:
        """Shared memory that a launch takes at most: two blocks a multiprocessor have room."""
        return self.shared_bytes // 2

    @property
    def tables(self) -> int:
        """The part of it for step rows and tables."""
        return min(TABLE_BYTES, self.room // 2)


@dataclass(frozen=True)
class Loops:
    """The batch of a stage: rows ``n0 x n1`` of ``inner`` lanes, without padding."""

    n0: int
    n1: int
    inner: int

    @property
    def points(self) -> int:
        """Points of the batch."""
        return self.n0 * self.n1 * self.inner

    def tiles(self, lanes: int) -> int:
        """Blocks of the grid's first axis."""
        return self.n0 * self.n1 * -(-self.inner // lanes)


@dataclass(frozen=True, eq=False)
class Launch:
    """One kernel launch.

    Attributes
    ----------
    kernel
        "run_stage" for a run of small steps, "run_large" or "run_gemm" for one large step,
        "sum_batch" for sums over labels of the batch.
    stage
        Position of its stage among all stages of the program.
    labels, steps, loops
        The stage's label set, steps of it, and its batch.
    parts
        Numbers of steps that blocks of their own run side by side, since neither needs the other.
    scratch
        Places of intermediates in shared memory, in elements of one lane.
    grid, block
        Of the launch; a block of "run_stage" is lanes by groups.
    shared
        Bytes of shared memory that it asks for.
    complex
        Whether any value of it has an imaginary plane.
    sums
        Sums that it takes, where it runs no steps.
    """

    kernel: str
    stage: int
    labels: tuple[str, ...]
    steps: tuple[Step, ...]
    loops: Loops
    parts: tuple[int, ...]
    scratch: Scratch
    grid: tuple[int, ...]
    block: tuple[int, int]
    shared: int
    complex: bool
    sums: tuple[Sum, ...] = ()


@dataclass(frozen=True, eq=False)
class Schedule:
    """All launches of one run, in order.

    Attributes
    ----------
    launches
        What runs.
    spilled
        For each stage, by position, where intermediates lie in the arena's spill region that are
        handed from launch to launch or do not fit in shared memory; in elements of one point of
        the batch.
    spill_scalars
        Length of that region; stages share it.
    """

    program: Program
    launches: tuple[Launch, ...]
    spilled: tuple[Scratch, ...]
    spill_scalars: int

    @cached_property
    def table_bytes(self) -> int:
        """Bytes of rows, offset tables and slice shifts of all launches."""
        steps = [step for launch in self.launches for step in launch.steps]
        shifts = 3 * 8 * self.program.slices * len(steps)
        parts = 16 * sum(len(launch.parts) for launch in self.launches)
        tables = sum(table_bytes(self.program, step) // 2 for step in steps)
        sums = 8 * SUM_ROW * sum(len(launch.sums) for launch in self.launches)
        return ROW_BYTES * len(steps) + tables + shifts + parts + sums


def loops_of(placement: Placement, labels: tuple[str, ...]) -> Loops:
    """The batch of a stage."""
    sizes, outer = placement.sizes.of(), placement.layouts[labels].outer
    n0, n1 = (sizes[x] if x else 1 for x in outer)
    return Loops(n0, n1, math.prod(sizes[x] for x in labels if x not in outer))


def tile_shape(program: Program, step: Step, itemsize: int) -> tuple[int, int]:
    """Outputs along m and n that a thread of run_stage and run_large holds in registers.

    As ``run_planes`` in kernels/tile.cuh chooses it: what divides them, so no tile is partly empty.
    """
    most = 2 if itemsize * program.slots[step.out].planes > 8 else 4
    r = roles(program, step)
    m, n = (1 if x % 2 else 2 if x % most else most for x in (r.count(r.m), r.count(r.n)))
    return m, n


def oriented(program: Program, step: Step, itemsize: int) -> Step:
    """The step with left and right such that its tiles load least for each multiply-add."""
    other = Step(step.right, step.left, step.out)

    def loads(tile: tuple[int, int]) -> float:
        return (tile[0] + tile[1]) / (tile[0] * tile[1])

    here, there = (loads(tile_shape(program, x, itemsize)) for x in (step, other))
    return other if there < here else step


def make_schedule(
    program: Program, placement: Placement, itemsize: int, limits: Limits
) -> Schedule:
    """Cut every stage into launches.

    What does not depend on each other within a stage (the blocks of an ansatz, say) runs side by
    side. Neighbouring small steps become one launch, which keeps what only they need in shared
    memory; where that is too small the largest intermediates go to the arena, by this plan and
    not by the compiler. How a program is cut changes no bit of its results.
    """
    launches: list[Launch] = []
    spilled: list[Scratch] = []
    longest = 0
    for position, stage in enumerate(program.all_stages):
        loops = loops_of(placement, stage.labels)
        mine = _stage_launches(program, position, loops, itemsize, limits)
        local = {slot for launch in mine for slot in launch.scratch.offsets}
        moments = [moment for launch in mine for moment in _moments(launch)]
        spilled.append(allocate(program, moments, program.exported | local))
        extent = placement.layouts[stage.labels].extent
        longest = max(longest, spilled[-1].size * extent)
        launches += mine
        launches += _sum_launches(program, placement, position, loops)
    return Schedule(program, tuple(launches), tuple(spilled), longest)


def _stage_launches(
    program: Program, position: int, loops: Loops, itemsize: int, limits: Limits
) -> list[Launch]:
    """The steps of a stage as launches."""
    stage = program.all_stages[position]
    queues = [list(_runs(program, x, loops, limits)) for x in components(stage)]
    found: list[Launch] = []
    for ready in zip_longest(*queues):
        runs = [run for run in ready if run]
        fused = [steps for kernel, steps in runs if kernel == STAGE]
        if fused:
            parts = _joined(program, fused, loops, limits)
            found.append(_fused(program, position, parts, loops, itemsize, limits))
        found += [_single(program, position, steps[0], loops, itemsize, kernel)
                  for kernel, steps in runs if kernel != STAGE]  # fmt: skip
    return found


def _sum_launches(
    program: Program, placement: Placement, position: int, loops: Loops
) -> Iterator[Launch]:
    """The sums of a stage, side by side: neither needs another."""
    stage, sizes = program.all_stages[position], placement.sizes.of()
    for first in range(0, len(stage.sums), MOST_GRID):
        sums = stage.sums[first : first + MOST_GRID]
        threads = max(results(program, x, sizes) * lanes(program, x) for x in sums)
        grid = -(-threads // SUM_THREADS), len(sums)
        planes = any(program.slots[x.value].complex for x in sums)
        yield Launch(SUMS, position, stage.labels, (), loops, (), NOTHING, grid, (SUM_THREADS, 1),
                     0, planes, sums)  # fmt: skip


def components(stage: Stage) -> list[tuple[Step, ...]]:
    """Steps of a stage that depend on each other, in order; others have nothing to do with them."""
    group: dict[int, list[Step]] = {}  # by slot; lists are shared by what is connected
    for step in stage.steps:
        joined: list[Step] = []
        for known in {id(g): g for x in (step.left, step.right) if (g := group.get(x))}.values():
            joined += known
        joined.append(step)
        for member in joined:
            group[member.out] = joined
    order = {step: now for now, step in enumerate(stage.steps)}
    found = {id(steps): steps for steps in group.values()}.values()
    return sorted(
        (tuple(sorted(x, key=order.__getitem__)) for x in found), key=lambda x: order[x[0]]
    )


def _moments(launch: Launch) -> list[tuple[Step, ...]]:
    """What of a launch runs in turn: its steps, but all at once where it has parts."""
    return [launch.steps] if len(launch.parts) > 1 else [(step,) for step in launch.steps]


def _runs(
    program: Program, steps: Sequence[Step], loops: Loops, limits: Limits
) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Neighbouring steps that one launch can run, with their kernel."""
    for kernel, group in groupby(steps, lambda s: _kernel(program, s, loops, limits)):
        run: list[Step] = []
        held = 0
        for step in group:
            need = _step_bytes(program, step)
            if run and (kernel != STAGE or held + need > limits.tables):
                yield kernel, tuple(run)
                run, held = [], 0
            run.append(step)
            held += need
        yield kernel, tuple(run)


def _joined(
    program: Program, runs: Sequence[tuple[Step, ...]], loops: Loops, limits: Limits
) -> list[tuple[Step, ...]]:
    """Independent runs as parts: no more than keep the device busy, as nearly equal as they are."""
    most = max(1, min(MOST_PARTS, BLOCKS * limits.multiprocessors // loops.tiles(WARP)))
    least = sum(len(run) for run in runs) / most
    parts: list[tuple[Step, ...]] = []
    held = 0
    for run in runs:
        need = sum(_step_bytes(program, step) for step in run)
        if parts and len(parts[-1]) + len(run) / 2 <= least and held + need <= limits.tables:
            parts[-1] += run
            held += need
        else:
            parts.append(run)
            held = need
    return parts


def _kernel(program: Program, step: Step, loops: Loops, limits: Limits) -> str:
    """Which kernel a step is for."""
    r, work = roles(program, step), program.step_size(step)
    if loops.points < WARP and work >= GEMM_WORK and r.count(r.m) * r.count(r.n) >= GEMM_OUTPUTS:
        return GEMM
    idle = loops.tiles(WARP) < 2 * limits.multiprocessors
    if (idle and work >= LARGE_WORK) or _step_bytes(program, step) > limits.tables:
        return LARGE
    return STAGE


def _fused(
    program: Program,
    position: int,
    parts: Sequence[tuple[Step, ...]],
    loops: Loops,
    itemsize: int,
    limits: Limits,
) -> Launch:
    """One launch for runs of small steps, side by side."""
    stage = program.all_stages[position]
    tables = max(sum(_step_bytes(program, step) for step in part) for part in parts)
    room = limits.room - tables
    each = [_scratch(program, stage, part, room // (WARP * itemsize)) for part in parts]
    scratch = Scratch(
        {slot: offset for one in each for slot, offset in one.offsets.items()},
        max(one.size for one in each),
    )
    steps = tuple(oriented(program, step, itemsize) for part in parts for step in part)
    items = [_items(program, step, itemsize) for step in steps]
    lanes, groups = _block(items, loops.points * len(parts), limits)
    while lanes > WARP and scratch.size * lanes * itemsize > room:
        lanes //= 2
    return Launch(
        STAGE,
        position,
        stage.labels,
        steps,
        loops,
        tuple(len(part) for part in parts),
        scratch,
        (loops.tiles(lanes), len(parts)),
        (lanes, groups),
        scratch.size * lanes * itemsize + tables,
        _complex(program, steps),
    )


def _single(
    program: Program, position: int, step: Step, loops: Loops, itemsize: int, kernel: str
) -> Launch:
    """One launch for a large step."""
    labels = program.all_stages[position].labels
    step = oriented(program, step, itemsize)
    r = roles(program, step)
    grid: tuple[int, ...]
    if kernel == GEMM:
        block = (16, 16)
        tiles = -(-r.count(r.m) // 64) * -(-r.count(r.n) // 64)
        grid = (tiles, min(r.count(r.h), MOST_GRID), loops.points)
    else:
        block = (WARP, 8)
        items = _items(program, step, itemsize)
        grid = (loops.tiles(WARP), min(-(-items // block[1]), MOST_GRID))
    planes = _complex(program, (step,))
    return Launch(kernel, position, labels, (step,), loops, (1,), NOTHING, grid, block, 0, planes)


def _scratch(program: Program, stage: Stage, steps: tuple[Step, ...], elements: int) -> Scratch:
    """Shared memory of a launch, of at most so many elements of a lane; the largest go first."""
    made = {step.out for step in steps}
    elsewhere = {x for s in stage.steps if s.out not in made for x in (s.left, s.right)}
    local = made - elsewhere - program.exported
    while True:
        found = allocate(program, [[step] for step in steps], made - local)
        if found.size <= elements:
            return found
        sizes = {x: program.slots[x].size * program.slots[x].planes for x in local}
        largest = max(sizes.values())
        local = {x for x in local if sizes[x] < largest}


def _block(items: Sequence[int], points: int, limits: Limits) -> tuple[int, int]:
    """Lanes and groups of a block: groups share a lane's work where lanes are too few."""
    wanted = limits.multiprocessors * BUSY
    if points >= 2 * wanted:
        return 4 * WARP, 1

    def turns(groups: int) -> float:
        return sum(STEP_TURNS + (groups > 1) * BARRIER_TURNS + -(-n // groups) for n in items)

    groups = 1
    while 2 * groups <= min(MOST_GROUPS, wanted // points) and turns(2 * groups) < turns(groups):
        groups *= 2
    return WARP, groups


def _items(program: Program, step: Step, itemsize: int) -> int:
    """Register tiles of a step's outputs for one point of the batch."""
    r, (rows, columns) = roles(program, step), tile_shape(program, step, itemsize)
    return r.count(r.h) * (r.count(r.m) // rows) * (r.count(r.n) // columns)


def _step_bytes(program: Program, step: Step) -> int:
    """Bytes of shared memory for a step and its int32 tables."""
    return STEP_BYTES + table_bytes(program, step) // 2


def _complex(program: Program, steps: Sequence[Step]) -> bool:
    return any(program.slots[x].complex for s in steps for x in (s.left, s.right, s.out))
