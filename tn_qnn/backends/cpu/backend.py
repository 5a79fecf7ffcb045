"""The CPU backend: Numba's stage interpreter, BLAS for big tensors without a batch."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.cpu.memory_map import (
    KernelTables,
    MemoryMap,
    dense_stages,
    kernel_tables,
    make_map,
)
from tn_qnn.backends.dense_stage import run_dense, spread
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import BackendError, MemoryBudgetError
from tn_qnn.machine import free_memory, num_cores
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.program.arena import ALIGN
from tn_qnn.program.job import Job, block_slot_values
from tn_qnn.program.placement import Sizes, strided

Array = NDArray[Any]
Stages = frozenset[tuple[str, ...]]  # label sets of stages
KEPT_ARENAS, KEPT_MAPS = 4, 64
LARGE_ANGLE = 8.0


@dataclass(eq=False)
class Arena:
    """Memory and tables for one batch size; the constants are in it from the start."""

    memory: MemoryMap
    tables: KernelTables
    data: Array
    fed: bool = False
    constant_stage_done: bool = False

    @cached_property
    def angle_views(self) -> dict[tuple[str, ...], Array]:
        """All angle regions."""
        return {labels: self.angle_view(labels) for labels in self.memory.placement.regions}

    @cached_property
    def output(self) -> Array:
        """The output slot, as :meth:`view` shows it."""
        return self.view(self.memory.program.output)

    def view(self, number: int) -> Array:
        """A slot's scalars, shape (planes, elements, C or 1, P or 1, S or 1)."""
        return self._strided(*self.memory.placement.axes(self.memory.program, number))

    def angle_view(self, labels: tuple[str, ...]) -> Array:
        """The functions of a label set's angles, shape (3, rows, C or 1, P or 1, S or 1)."""
        return self._strided(*self.memory.placement.angle_axes(labels))

    def _strided(self, base: int, axes: tuple[tuple[int, int], ...]) -> Array:
        return strided(self.data, base, axes, np.lib.stride_tricks.as_strided)

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
    arenas: dict[tuple[Sizes, Stages], Arena] = field(default_factory=dict)
    maps: dict[tuple[Sizes, Stages], MemoryMap] = field(default_factory=dict)
    dense: dict[Sizes, Stages] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forecast(self, sets: int, samples: int) -> int:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        sizes = Sizes(self.job.cones, sets, samples)
        return self._bytes(sizes, dense_stages(self.job.program, sizes))

    def _bytes(self, sizes: Sizes, dense: Stages) -> int:
        run = self._map(sizes, dense).total_bytes(self.dtype.itemsize, self.threads)
        return run + self.job.input_bytes(sizes.sets, sizes.samples)

    def run(self, weights: Array, features: Array) -> Array:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        with self.lock:  # the arena is shared by all threads of the caller
            return self._run(weights, features)

    def accumulate(self, weights: Array, features: Array, out: Array) -> None:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        self.job.scatter.add(self.run(weights, features), out)

    def _run(self, weights: Array, features: Array) -> Array:
        whole = Sizes(self.job.cones, weights.shape[0], features.shape[0])
        if whole not in self.dense:
            self.dense[whole] = dense_stages(self.job.program, whole)
        dense = self.dense[whole]
        p, s = self._chunk(whole, dense)
        if (p, s) == (whole.sets, whole.samples):
            return self._run_chunk(weights, features, dense)
        rows = []
        for i in range(0, whole.sets, p):
            row = [
                self._run_chunk(
                    weights[i : i + p] if weights.ndim == 2 else weights[i : i + p, j : j + s],
                    features[j : j + s],
                    dense,
                )
                for j in range(0, whole.samples, s)
            ]
            rows.append(np.concatenate(row, axis=3) if row[0].shape[3] == s else row[0])
        return np.concatenate(rows, axis=2) if rows[0].shape[2] == p else rows[0]

    def _chunk(self, whole: Sizes, dense: Stages) -> tuple[int, int]:
        """The largest halves of halves of the batch that fit in the budget."""
        if (whole, dense) in self.arenas:
            return whole.sets, whole.samples
        budget = self.budget.bytes(free_memory(), self._held())
        p, s = whole.sets, whole.samples
        while (need := self._bytes(Sizes(whole.cones, p, s), dense)) > budget:
            if p == 1 and s == 1:
                raise MemoryBudgetError(
                    f"memory: one sample needs {need:,} bytes, the budget is {budget:,};"
                    " give more memory or a smaller circuit"
                )
            p, s = (p, -(-s // 2)) if s > ALIGN or p == 1 else (-(-p // 2), s)
        return p, s

    def _map(self, sizes: Sizes, dense: Stages) -> MemoryMap:
        key = (sizes, dense)
        if key not in self.maps:
            if len(self.maps) >= KEPT_MAPS:
                self.maps.clear()
            self.maps[key] = make_map(self.job.program, sizes, dense)
        return self.maps[key]

    def _arena(self, sizes: Sizes, dense: Stages) -> Arena:
        key = (sizes, dense)
        found = self.arenas.pop(key, None)
        if found is None:
            self._make_room(self._bytes(sizes, dense))
            found = self._new_arena(sizes, dense)
        self.arenas[key] = found  # last used, last out
        return found

    def _held(self) -> int:
        return sum(arena.data.nbytes for arena in self.arenas.values())

    def _make_room(self, need: int) -> None:
        """Drop the arenas used longest ago, before a new one is made."""
        budget = self.budget.bytes(free_memory(), self._held())
        while self.arenas and (len(self.arenas) >= KEPT_ARENAS or self._held() + need > budget):
            del self.arenas[next(iter(self.arenas))]

    def _new_arena(self, sizes: Sizes, dense: Stages) -> Arena:
        from tn_qnn.backends.cpu.kernel import new_arena

        memory = self._map(sizes, dense)
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

    def _run_chunk(self, weights: Array, features: Array, dense: Stages) -> Array:
        sizes = Sizes(self.job.cones, weights.shape[0], features.shape[0])
        arena = self._arena(sizes, dense)
        self._feed(arena, weights, features)
        program = self.job.program
        if program.slices == 1:
            self._run_slice(arena, {})
            total = arena.read(program.output)
        else:
            total = np.zeros(())  # float64: thousands of slices would lose digits of float32
            for values in product(*(range(program.network.sizes[i]) for i in program.sliced)):
                self._run_slice(arena, dict(zip(program.sliced, values, strict=True)))
                total = total + arena.read(program.output)
        if total.shape[1] == self.job.cones:
            return total
        return np.broadcast_to(total, (len(total), self.job.cones, *total.shape[2:]))

    def _feed(self, arena: Arena, weights: Array, features: Array) -> None:
        for labels, table in self.job.tables.items():
            if arena.fed and not {SETS, SAMPLES} & set(labels):
                continue  # depends on neither weights nor data
            angles = table.evaluate(weights, features)
            if self.dtype == np.float32:
                angles = _reduced(angles).astype(np.float32)
            view = arena.angle_views[labels]
            np.cos(angles, out=view[0])
            np.sin(angles, out=view[1])
        matrices = {e: table.matrices(weights) for e, table in self.job.blocks.items()}
        for entry in self.job.program.blocks:
            arena.write(entry.slot, block_slot_values(entry, matrices[entry.element]))
        arena.fed = True

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
        made = {step.out for step in stage.steps}
        wanted = {slot for step in stage.steps for slot in (step.left, step.right)} - made
        values = {
            number: spread(program.slots[number], arena.read(number))
            for number in wanted
            if number in arena.memory.placement.places
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
        given = self.threads
        if given is not None and (
            isinstance(given, bool) or not isinstance(given, Integral) or given < 1
        ):
            raise BackendError(f"threads: an integer >= 1 expected, not {given!r}")

    def prepare(self, job: Job, dtype: np.dtype[Any], budget: Budget) -> Executor:
        """Bind a job, with fewer threads where their scratch would not fit."""
        executor = CpuExecutor(job, dtype, self.workers, budget)
        while executor.threads > 1 and executor.forecast(1, 1) > budget.bytes(self.free_memory()):
            executor.threads //= 2
        return executor

    def free_memory(self) -> int:
        """Bytes that can be had without swapping."""
        return free_memory()

    @property
    def workers(self) -> int:
        """Threads that runs use."""
        return self.threads or num_cores()

    def speed(self, dtype: str) -> float:
        """Multiply-adds a second to expect, measured on this machine."""
        from tn_qnn.backends.cpu.speed import multiply_adds_per_second

        return multiply_adds_per_second(dtype) * self.workers
