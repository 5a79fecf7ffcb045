"""The arena of one program for one batch size: every slot's address, every kernel table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.dense_stage import dense_peak
from tn_qnn.program.arena import ALIGN, Scratch, allocate, padded
from tn_qnn.program.placement import Placement, Sizes, place
from tn_qnn.program.program import Program, Stage, Step, Sum
from tn_qnn.program.rows import OPERAND, SPLAT, STEP_COLUMNS, operand_kind, step_row
from tn_qnn.program.tables import table_bytes

TILE_BYTES = 3 << 18  # of scratch a thread, to stay in its second-level cache
MAX_TILE = 128
DENSE_STEP = 1 << 18  # multiply-adds that a step by numpy costs beside its work


@dataclass(frozen=True)
class Run:
    """Neighbouring stages that run in one go.

    Attributes
    ----------
    dense
        Whether by BLAS.
    stages
        Positions in the program, one only where it is dense.
    rows
        Rows of the kernel's table of stages.
    sums
        Taken at the end.
    """

    dense: bool
    stages: tuple[int, ...]
    rows: slice
    sums: tuple[Sum, ...]


@dataclass(frozen=True, eq=False)
class MemoryMap:
    """Everything about a program that depends on the batch size.

    Attributes
    ----------
    placement
        Addresses of what outlives a stage.
    dense
        Positions of the stages that run by BLAS.
    scratch
        Scratch of each of the other stages, in elements of one lane.
    """

    program: Program
    placement: Placement
    dense: frozenset[int]
    scratch: Mapping[int, Scratch]

    @property
    def scalars(self) -> int:
        """Length of the arena without scratch."""
        return self.placement.scalars + ALIGN

    @cached_property
    def forward(self) -> tuple[Run, ...]:
        """What runs from weights and data to the output."""
        return self._runs(range(len(self.program.stages)))

    @cached_property
    def reverse(self) -> tuple[Run, ...]:
        """What runs from the seed to the environments."""
        return self._runs(range(len(self.program.stages), len(self.program.all_stages)))

    def _runs(self, numbers: range) -> tuple[Run, ...]:
        """Stages in order, neighbours in the kernel as one up to sums that come between."""
        found: list[Run] = []
        rows = sum(number not in self.dense for number in range(numbers.start))
        for number in numbers:
            sums = self.program.all_stages[number].sums
            if number in self.dense:
                found.append(Run(True, (number,), slice(rows, rows), sums))
                continue
            rows += 1
            if found and not found[-1].dense and not found[-1].sums:
                old = found.pop()
                start, before = old.rows.start, old.stages
            else:
                start, before = rows - 1, ()
            found.append(Run(False, (*before, number), slice(start, rows), sums))
        return tuple(found)

    def tile(self, number: int, itemsize: int, threads: int) -> int:
        """Lanes that a stage handles at once: scratch in cache, work for every thread."""
        labels = self.program.all_stages[number].labels
        n0, n1, inner = self.placement.layouts[labels].loops
        fits = TILE_BYTES // (itemsize * max(1, self.scratch[number].size))
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
        sizes = self.placement.sizes.of()
        stages = (self.program.all_stages[number] for number in self.dense)
        return max((dense_peak(self.program, x, sizes) for x in stages), default=0)

    @cached_property
    def table_bytes(self) -> int:
        """The kernel's tables: those kept with the program, and joined in one piece."""
        steps = [x for number in self.scratch for x in self.program.all_stages[number].steps]
        return sum(2 * table_bytes(self.program, x) + 8 * STEP_COLUMNS for x in steps)

    def total_bytes(self, itemsize: int, threads: int) -> int:
        """All that a run holds: arena, tables, and the arrays of dense stages."""
        scalars = self.arena_scalars(itemsize, threads) + self.dense_scalars
        return itemsize * scalars + self.table_bytes


def make_map(program: Program, sizes: Sizes, dense: frozenset[int] | None = None) -> MemoryMap:
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
    scratch = {
        number: allocate(program, [[step] for step in stage.steps], program.exported)
        for number, stage in enumerate(program.all_stages)
        if number not in dense
    }
    return MemoryMap(program, place(program, sizes), dense, scratch)


def dense_stages(program: Program, sizes: Sizes) -> frozenset[int]:
    """Positions of the stages that run by BLAS for a batch of these sizes."""
    counts = sizes.of()
    return frozenset(
        number
        for number, stage in enumerate(program.all_stages)
        if _prefers_dense(program, stage, counts)
    )


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
    for number, own in memory.scratch.items():
        stage = program.all_stages[number]
        tile = memory.tile(number, itemsize, threads)
        first = len(steps)
        for step in stage.steps:
            if operand_kind(program, own, stage.labels, step.right) == SPLAT:
                step = Step(step.right, step.left, step.out)
            row, table, moves = step_row(program, memory.placement, own, stage.labels, step, at)
            for operand, along in enumerate(moves, start=1):
                if any(along):
                    shifts.append((len(steps), OPERAND * operand + 1, along))
            steps.append(row)
            pool.append(table)
            at += len(table)
        loops = memory.placement.layouts[stage.labels].loops
        stage_rows.append([first, len(steps), *loops, tile, memory.scalars, scratch])
    return KernelTables(
        np.array(stage_rows, dtype=np.int64).reshape(-1, 8),
        np.array(steps, dtype=np.int64).reshape(-1, STEP_COLUMNS),
        np.concatenate(pool) if pool else np.zeros(0, dtype=np.int64),
        tuple(shifts),
    )
