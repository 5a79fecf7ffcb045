"""The arena of one program for one batch size: every slot's address, every kernel table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.cpu.dense_stage import dense_peak
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.program.arena import ALIGN, Layout, Scratch, allocate, is_flat, make_layout, padded
from tn_qnn.program.program import Program, Stage
from tn_qnn.program.tables import element_strides, step_tables, table_bytes

SPLAT, VECTOR, LOCAL = 0, 1, 2
STEP_COLUMNS, OPERAND = 32, 8
TILE_BYTES = 3 << 18  # of scratch a thread, to stay in its second-level cache
MAX_TILE = 128
DENSE_STEP = 1 << 18  # multiply-adds that a step by numpy costs beside its work


@dataclass(frozen=True)
class Sizes:
    """Batch sizes of a run."""

    cones: int
    sets: int
    samples: int

    def of(self) -> dict[str, int]:
        """By label."""
        return {CONES: self.cones, SETS: self.sets, SAMPLES: self.samples}


@dataclass(frozen=True)
class Place:
    """Where a slot lies in the arena.

    Attributes
    ----------
    base
        First scalar of the real plane.
    stride
        Scalars between two elements.
    imag
        Distance to the imaginary plane, 0 for a real slot.
    """

    base: int
    stride: int
    imag: int


@dataclass(frozen=True)
class AngleRegion:
    """Where the angles' functions of a label set lie: (cos, sin, 1) x rows x batch."""

    base: int
    rows: int


@dataclass(frozen=True, eq=False)
class MemoryMap:
    """Everything about a program that depends on the batch size.

    Attributes
    ----------
    layouts
        By label set.
    places
        Of the slots that live in the arena.
    regions
        Angle regions by label set.
    dense
        Stages that run by BLAS.
    scalars
        Length of the arena without scratch.
    scratch
        Scratch of each stage, in elements of one lane.
    """

    program: Program
    sizes: Sizes
    layouts: Mapping[tuple[str, ...], Layout]
    places: Mapping[int, Place]
    regions: Mapping[tuple[str, ...], AngleRegion]
    dense: frozenset[tuple[str, ...]]
    scalars: int
    scratch: Mapping[tuple[str, ...], Scratch]

    @cached_property
    def multiply_adds(self) -> int:
        """Multiply-adds of one run, all slices."""
        return self.program.multiply_adds(self.sizes.of())

    @cached_property
    def runs(self) -> tuple[tuple[bool, tuple[tuple[str, ...], ...], slice], ...]:
        """Stages in order, as (dense, label sets, kernel rows): neighbours in the kernel as one."""
        found: list[tuple[bool, tuple[tuple[str, ...], ...], slice]] = []
        rows = 0
        for stage in self.program.stages:
            if stage.labels in self.dense:
                found.append((True, (stage.labels,), slice(rows, rows)))
                continue
            rows += 1
            if found and not found[-1][0]:
                _, names, old = found.pop()
                found.append((False, (*names, stage.labels), slice(old.start, rows)))
            else:
                found.append((False, (stage.labels,), slice(rows - 1, rows)))
        return tuple(found)

    def tile(self, labels: tuple[str, ...], itemsize: int, threads: int) -> int:
        """Lanes that a stage handles at once: scratch in cache, work for every thread."""
        n0, n1, inner = self.layouts[labels].loops
        fits = TILE_BYTES // (itemsize * max(1, self.scratch[labels].size))
        even = inner * n0 * n1 // threads
        return max(ALIGN, min(fits, even, inner, MAX_TILE) // ALIGN * ALIGN)

    def scratch_scalars(self, itemsize: int, threads: int) -> int:
        """Scratch of one thread: the most that any stage needs."""
        return max(
            (s.size * self.tile(x, itemsize, threads) for x, s in self.scratch.items()), default=0
        )

    def arena_scalars(self, itemsize: int, threads: int) -> int:
        """Length of the arena with the scratch of all threads."""
        return self.scalars + threads * self.scratch_scalars(itemsize, threads) + ALIGN

    @cached_property
    def dense_scalars(self) -> int:
        """What the stages that run by BLAS hold beside the arena."""
        stages = (stage for stage in self.program.stages if stage.labels in self.dense)
        return max((dense_peak(self.program, x, self.sizes.of()) for x in stages), default=0)

    @cached_property
    def table_bytes(self) -> int:
        """The kernel's tables: those kept with the program, and joined in one piece."""
        steps = [x for s in self.program.stages if s.labels not in self.dense for x in s.steps]
        return sum(2 * table_bytes(self.program, x) + 8 * STEP_COLUMNS for x in steps)

    def total_bytes(self, itemsize: int, threads: int) -> int:
        """All that a run holds: arena, tables, and the arrays of dense stages."""
        scalars = self.arena_scalars(itemsize, threads) + self.dense_scalars
        return itemsize * scalars + self.table_bytes


def make_map(
    program: Program, sizes: Sizes, dense: frozenset[tuple[str, ...]] | None = None
) -> MemoryMap:
    """Lay a program out for a batch size.

    Parameters
    ----------
    program, sizes
        The program and the sizes of the batch, or of a chunk of it.
    dense
        Stages that run by BLAS; for a chunk those of the whole batch, so that it gives the same
        bits as the whole. By default :func:`dense_stages` of the sizes.
    """
    if dense is None:
        dense = dense_stages(program, sizes)
    by_label = sizes.of()
    label_sets = {slot.labels for slot in program.slots if slot.labels}
    layouts = {x: make_layout(x, by_label, is_flat(program, x)) for x in sorted(label_sets)}
    top = 0
    regions = {}
    for labels, elements in program.row_elements.items():
        extent = layouts[labels].extent if labels else 1
        regions[labels] = AngleRegion(top, len(elements))
        top += padded(3 * len(elements) * extent)
    places: dict[int, Place] = {}
    for angle in program.angles:
        labels = program.slots[angle.slot].labels
        extent = layouts[labels].extent if labels else 1
        region = regions[labels]
        places[angle.slot] = Place(region.base + angle.row * extent, region.rows * extent, 0)
    stored = [*program.constants, *(b.slot for b in program.blocks), *sorted(program.exported)]
    for number in dict.fromkeys(stored):
        slot = program.slots[number]
        if number in places:
            continue
        extent = layouts[slot.labels].extent if slot.labels else 1
        plane = slot.size * extent
        places[number] = Place(top, extent, plane if slot.complex else 0)
        top += padded(plane * slot.planes)
    scratch = {x.labels: allocate(program, x) for x in program.stages if x.labels not in dense}
    return MemoryMap(program, sizes, layouts, places, regions, dense, padded(top) + ALIGN, scratch)


def dense_stages(program: Program, sizes: Sizes) -> frozenset[tuple[str, ...]]:
    """Label sets of the stages that run by BLAS for a batch of these sizes."""
    counts = sizes.of()
    return frozenset(x.labels for x in program.stages if _prefers_dense(program, x, counts))


def _prefers_dense(program: Program, stage: Stage, sizes: Mapping[str, int]) -> bool:
    """Few points of the batch and much work for each: lanes would run empty."""
    if not stage.labels:
        return True
    batch = math.prod(sizes[x] for x in stage.labels)
    work = sum(program.step_size(step) for step in stage.steps)
    wasted = work * (padded(batch) - batch)
    return batch < ALIGN and wasted > DENSE_STEP * len(stage.steps)


@dataclass(frozen=True, eq=False)
class KernelTables:
    """The integer tables that the kernel walks over.

    Attributes
    ----------
    stages, steps, tables
        As the kernel wants them.
    shifts
        Triples (step row, column, scalars by which the base moves for each sliced index).
    """

    stages: NDArray[np.int64]
    steps: NDArray[np.int64]
    tables: NDArray[np.int64]
    shifts: tuple[tuple[int, int, tuple[int, ...]], ...]


def kernel_tables(memory: MemoryMap, itemsize: int, threads: int) -> KernelTables:
    """Tables of all stages that the kernel runs."""
    program = memory.program
    stage_rows: list[list[int]] = []
    steps: list[NDArray[np.int64]] = []
    pool: list[NDArray[np.int64]] = []
    shifts: list[tuple[int, int, tuple[int, ...]]] = []
    scratch = memory.scratch_scalars(itemsize, threads)
    at = 0
    for stage in program.stages:
        if stage.labels in memory.dense:
            continue
        tile = memory.tile(stage.labels, itemsize, threads)
        first = len(steps)
        for step in stage.steps:
            left, right = step.left, step.right
            if _kind(memory, stage, right) == SPLAT:
                left, right = right, left
            sizes, table = step_tables(program, type(step)(left, right, step.out))
            row = np.zeros(STEP_COLUMNS, dtype=np.int64)
            row[:5] = (*sizes, at)
            for place, number in enumerate((left, right, step.out)):
                column = OPERAND * (place + 1)
                row[column : column + OPERAND] = _operand(memory, stage, number)
                moves = _slice_moves(memory, number)
                if any(moves):
                    shifts.append((len(steps), column + 1, moves))
            steps.append(row)
            pool.append(table)
            at += len(table)
        loops = memory.layouts[stage.labels].loops
        stage_rows.append([first, len(steps), *loops, tile, memory.scalars, scratch])
    return KernelTables(
        np.array(stage_rows, dtype=np.int64).reshape(-1, 8),
        np.array(steps, dtype=np.int64).reshape(-1, STEP_COLUMNS),
        np.concatenate(pool) if pool else np.zeros(0, dtype=np.int64),
        tuple(shifts),
    )


def _kind(memory: MemoryMap, stage: Stage, number: int) -> int:
    if number not in memory.places:
        return LOCAL
    return VECTOR if stage.labels[-1] in memory.program.slots[number].labels else SPLAT


def _operand(memory: MemoryMap, stage: Stage, number: int) -> tuple[int, ...]:
    slot = memory.program.slots[number]
    kind = _kind(memory, stage, number)
    if kind == LOCAL:
        base = memory.scratch[stage.labels].offsets[number]
        return (kind, base, slot.size if slot.complex else 0, 0, 0, 0, 0, 0)
    place = memory.places[number]
    strides = memory.layouts[slot.labels].strides if slot.labels else {}
    s0, s1 = (strides.get(x, 0) for x in memory.layouts[stage.labels].outer)
    return (kind, place.base, place.imag, place.stride, s0, s1, 0, 0)


def _slice_moves(memory: MemoryMap, number: int) -> tuple[int, ...]:
    slot = memory.program.slots[number]
    strides = element_strides(slot)
    scale = memory.places[number].stride if number in memory.places else 0
    return tuple(strides.get(i, 0) * scale for i in memory.program.sliced)
