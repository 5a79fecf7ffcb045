"""The CPU backend: Numba's stage interpreter, BLAS for big tensors without a batch."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.cpu.dense_stage import run_dense
from tn_qnn.backends.cpu.memory_map import (
    KernelTables,
    MemoryMap,
    Sizes,
    kernel_tables,
    make_map,
)
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import BackendError, MemoryBudgetError
from tn_qnn.network.labels import LABELS
from tn_qnn.program.job import Job, block_slot_values
from tn_qnn.program.program import Slot

Array = NDArray[Any]
KEPT_ARENAS = 4
LARGE_ANGLE = 8.0


@dataclass(eq=False)
class Arena:
    """Memory and tables for one batch size; the constants are in it from the start."""

    memory: MemoryMap
    tables: KernelTables
    data: Array
    constant_stage_done: bool = False

    @cached_property
    def angle_views(self) -> dict[tuple[str, ...], Array]:
        """All angle regions."""
        return {labels: self.angle_view(labels) for labels in self.memory.regions}

    @cached_property
    def output(self) -> Array:
        """The output slot, as :meth:`view` shows it."""
        return self.view(self.memory.program.output)

    def view(self, number: int) -> Array:
        """A slot's scalars, shape (planes, elements, C or 1, P or 1, S or 1)."""
        slot, place = self.memory.program.slots[number], self.memory.places[number]
        layout = self.memory.layouts.get(slot.labels)
        sizes = self.memory.sizes.of()
        counts = [sizes[x] if x in slot.labels else 1 for x in LABELS]
        strides = [layout.strides.get(x, 0) if layout else 0 for x in LABELS]
        shape = (slot.planes, slot.size, *counts)
        step = self.data.itemsize
        return np.lib.stride_tricks.as_strided(
            self.data[place.base :],
            shape,
            [step * x for x in (place.imag, place.stride, *strides)],
        )

    def angle_view(self, labels: tuple[str, ...]) -> Array:
        """The functions of a label set's angles, shape (3, rows, C or 1, P or 1, S or 1)."""
        region, layout = self.memory.regions[labels], self.memory.layouts.get(labels)
        extent = layout.extent if layout else 1
        sizes = self.memory.sizes.of()
        counts = [sizes[x] if x in labels else 1 for x in LABELS]
        strides = [layout.strides.get(x, 0) if layout else 0 for x in LABELS]
        step = self.data.itemsize
        return np.lib.stride_tricks.as_strided(
            self.data[region.base :],
            (3, region.rows, *counts),
            [step * x for x in (region.rows * extent, extent, *strides)],
        )

    def write(self, number: int, values: Array) -> None:
        """Store a slot; values of shape (elements, C or 1, P or 1, S or 1)."""
        view = self.view(number)
        view[0] = values.real
        if len(view) == 2:
            view[1] = values.imag

    def read(self, number: int) -> Array:
        """A slot as a new real or complex array, shape (elements, C or 1, P or 1, S or 1)."""
        view = self.output if number == self.memory.program.output else self.view(number)
        return view[0].copy() if len(view) == 1 else view[0] + 1j * view[1]


@dataclass(eq=False)
class CpuExecutor:
    """Runs a job; keeps the arenas of the last few batch sizes."""

    job: Job
    dtype: np.dtype[Any]
    threads: int
    budget: Budget
    arenas: dict[Sizes, Arena] = field(default_factory=dict)
    maps: dict[Sizes, MemoryMap] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forecast(self, sets: int, samples: int) -> int:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        sizes = Sizes(self.job.cones, sets, samples)
        return self._map(sizes).total_bytes(self.dtype.itemsize, self.threads)

    def run(self, weights: Array, features: Array) -> Array:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        with self.lock:  # the arena is shared by all threads of the caller
            return self._run(weights, features)

    def _run(self, weights: Array, features: Array) -> Array:
        sets, samples = weights.shape[0], features.shape[0]
        p, s = self._chunk(sets, samples)
        if (p, s) == (sets, samples):
            return self._run_chunk(weights, features)
        rows = []
        for i in range(0, sets, p):
            row = [
                self._run_chunk(
                    weights[i : i + p] if weights.ndim == 2 else weights[i : i + p, j : j + s],
                    features[j : j + s],
                )
                for j in range(0, samples, s)
            ]
            rows.append(np.concatenate(row, axis=3) if row[0].shape[3] == s else row[0])
        return np.concatenate(rows, axis=2) if rows[0].shape[2] == p else rows[0]

    def _chunk(self, sets: int, samples: int) -> tuple[int, int]:
        """The largest halves of halves of the batch that fit in the budget."""
        if Sizes(self.job.cones, sets, samples) in self.arenas:
            return sets, samples
        budget = self.budget.bytes()
        p, s = sets, samples
        while (need := self.forecast(p, s)) > budget:
            if p == 1 and s == 1:
                raise MemoryBudgetError(
                    f"memory: one sample needs {need:,} bytes, the budget is {budget:,};"
                    " give more memory or a smaller circuit"
                )
            p, s = (p, -(-s // 2)) if s > 16 or p == 1 else (-(-p // 2), s)
        return p, s

    def _map(self, sizes: Sizes) -> MemoryMap:
        if sizes not in self.maps:
            self.maps[sizes] = make_map(self.job.program, sizes)
        return self.maps[sizes]

    def _arena(self, sizes: Sizes) -> Arena:
        found = self.arenas.pop(sizes, None) or self._new_arena(sizes)
        self.arenas[sizes] = found  # last used, last out
        while len(self.arenas) > KEPT_ARENAS:
            del self.arenas[next(iter(self.arenas))]
        return found

    def _new_arena(self, sizes: Sizes) -> Arena:
        from tn_qnn.backends.cpu.kernel import new_arena

        memory = self._map(sizes)
        itemsize = self.dtype.itemsize
        scalars = memory.arena_scalars(itemsize, self.threads)
        tables = kernel_tables(memory, itemsize, self.threads)
        arena = Arena(memory, tables, new_arena(scalars, self.dtype))
        arena.data.fill(0)  # lanes of padding are computed too: keep them finite
        for number, values in self.job.program.constants.items():
            arena.write(number, values.reshape(-1, 1, 1, 1))
        for view in arena.angle_views.values():
            view[2] = 1
        return arena

    def _run_chunk(self, weights: Array, features: Array) -> Array:
        arena = self._arena(Sizes(self.job.cones, weights.shape[0], features.shape[0]))
        self._feed(arena, weights, features)
        program = self.job.program
        total: Array | None = None
        for values in product(*(range(program.network.sizes[i]) for i in program.sliced)):
            self._run_slice(arena, dict(zip(program.sliced, values, strict=True)))
            result = arena.read(program.output)
            total = result if program.slices == 1 else result + (0 if total is None else total)
        assert total is not None
        if total.shape[1] == self.job.cones:
            return total
        return np.broadcast_to(total, (len(total), self.job.cones, *total.shape[2:]))

    def _feed(self, arena: Arena, weights: Array, features: Array) -> None:
        for labels, table in self.job.tables.items():
            angles = _reduced(table.evaluate(weights, features)).astype(self.dtype, copy=False)
            view = arena.angle_views[labels]
            np.cos(angles, out=view[0])
            np.sin(angles, out=view[1])
        matrices = {e: table.matrices(weights) for e, table in self.job.blocks.items()}
        for entry in self.job.program.blocks:
            arena.write(entry.slot, block_slot_values(entry, matrices[entry.element]))

    def _run_slice(self, arena: Arena, fixed: dict[int, int]) -> None:
        from tn_qnn.backends.cpu.kernel import run_stages

        steps = arena.tables.steps
        if fixed and arena.tables.shifts:
            steps = steps.copy()
            for row, column, moves in arena.tables.shifts:
                steps[row, column] += sum(v * m for v, m in zip(fixed.values(), moves, strict=True))
        for dense, names, rows in arena.memory.runs:
            if not dense:
                stages = arena.tables.stages[rows]
                run_stages(arena.data, stages, steps, arena.tables.tables, self.threads)
            elif names[0] or fixed or not arena.constant_stage_done:
                self._run_dense(arena, names[0], fixed)

    def _run_dense(self, arena: Arena, labels: tuple[str, ...], fixed: dict[int, int]) -> None:
        program = self.job.program
        stage = next(stage for stage in program.stages if stage.labels == labels)
        wanted = {slot for step in stage.steps for slot in (step.left, step.right)}
        values = {
            number: _spread(program.slots[number], arena.read(number))
            for number in wanted
            if number in arena.memory.places and number not in {s.out for s in stage.steps}
        }
        for number, value in run_dense(program, stage, values, fixed).items():
            flat = np.moveaxis(value, (0, 1, 2), (-3, -2, -1))
            arena.write(number, flat.reshape(-1, *value.shape[:3]))
        arena.constant_stage_done = arena.constant_stage_done or not labels


def _reduced(angles: Array) -> Array:
    """Large angles modulo a turn, before float32 loses their last digits."""
    if angles.size == 0 or max(angles.max(), -angles.min()) < LARGE_ANGLE:
        return angles
    return angles - 2 * np.pi * np.round(angles / (2 * np.pi))


def _spread(slot: Slot, values: Array) -> Array:
    """(elements, C, P, S) as (C, P, S, *shape)."""
    return np.moveaxis(values, 0, -1).reshape(*values.shape[1:], *slot.shape)


@dataclass(frozen=True)
class CpuBackend:
    """Makes :class:`CpuExecutor`.

    Parameters
    ----------
    threads
        Threads of the interpreter; default all cores this process may use.
    """

    threads: int | None = None
    name: str = "cpu"

    def __post_init__(self) -> None:
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise BackendError(f"threads: an integer >= 1 expected, not {self.threads!r}")

    def prepare(self, job: Job, dtype: np.dtype[Any], budget: Budget) -> Executor:
        """Bind a job."""
        return CpuExecutor(job, dtype, self.workers, budget)

    @property
    def workers(self) -> int:
        """Threads that runs use."""
        return self.threads or len(os.sched_getaffinity(0))

    def speed(self, dtype: str) -> float:
        """Multiply-adds a second to expect, measured on this machine."""
        from tn_qnn.backends.cpu.speed import multiply_adds_per_second

        return multiply_adds_per_second(dtype) * self.workers
