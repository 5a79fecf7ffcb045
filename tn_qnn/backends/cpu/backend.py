"""The CPU backend: Numba's stage interpreter, BLAS for big tensors without a batch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
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
    Run,
    dense_stages,
    kernel_tables,
    make_map,
)
from tn_qnn.backends.cpu.sums import run_sums, sum_rows
from tn_qnn.backends.dense_stage import run_dense, spread
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import BackendError, MemoryBudgetError
from tn_qnn.machine import free_memory, num_cores
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.program.arena import ALIGN
from tn_qnn.program.job import Job
from tn_qnn.program.local_forms import added_forms, gathered_forms, joined_forms
from tn_qnn.program.placement import Sizes, strided

Array = NDArray[Any]
Stages = frozenset[int]  # positions of stages
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
    group_views: dict[tuple[int, ...], Array] = field(default_factory=dict)
    forward_of: tuple[Array, Array] | None = None  # weights and data whose values it holds

    @cached_property
    def angle_views(self) -> dict[tuple[str, ...], Array]:
        """All angle regions."""
        return {labels: self.angle_view(labels) for labels in self.memory.placement.regions}

    @cached_property
    def sum_tables(self) -> dict[int, Any]:
        """Tables of the sums that are taken together, by the first stage of their run."""
        program, placement = self.memory.program, self.memory.placement
        return {x.stages[0]: sum_rows(program, placement, x.sums) for x in self.memory.reverse}

    @cached_property
    def environment_views(self) -> dict[tuple[str, ...], Array]:
        """Real parts of the environments of angles, as :meth:`angle_view` shows the angles."""
        placement = self.memory.placement
        return {x: self._strided(*placement.environment_axes(x)) for x in placement.environments}

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

    def group_view(self, numbers: tuple[int, ...]) -> Array:
        """Slots that move as one, shape (planes, elements, slots, C or 1, P or 1, S or 1)."""
        if numbers not in self.group_views:
            placement, program = self.memory.placement, self.memory.program
            self.group_views[numbers] = self._strided(*placement.group_axes(program, numbers))
        return self.group_views[numbers]

    def given_view(self, numbers: tuple[int, ...]) -> Array:
        """All given slots of a label set, shape (rows, C or 1, P or 1, S or 1)."""
        axes = self.memory.placement.given_axes(self.memory.program, numbers)
        return self._strided(*axes)

    def write_group(self, numbers: tuple[int, ...], values: Array) -> None:
        """Store slots that move as one; values (elements, slots, C or 1, P or 1, S or 1)."""
        view = self.group_view(numbers)
        view[0] = values.real
        if len(view) == 2:
            view[1] = values.imag

    def read_group(self, numbers: tuple[int, ...]) -> Array:
        """The inverse of :meth:`write_group`, as a new array."""
        view = self.group_view(numbers)
        return view[0].copy() if len(view) == 1 else view[0] + 1j * view[1]

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

    def pull_back(self, weights: Array, features: Array, slopes: Array, gradient: Array) -> None:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        with self.lock:
            whole, dense = self._sizes(weights, features)
            p, s = self._chunk(whole, dense)
            for i, j in product(range(0, whole.sets, p), range(0, whole.samples, s)):
                sets, samples = slice(i, i + p), slice(j, j + s)
                here = slopes[:, sets, samples]
                if (p, s) == (whole.sets, whole.samples):
                    self._sweep(weights, features, here, gradient, dense)
                else:
                    self._sweep(weights[sets], features[samples], here, gradient[sets], dense)

    def local_forms(self, weights: Array, features: Array) -> tuple[Array, ...]:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        with self.lock:
            whole, dense = self._sizes(weights, features)
            _, s = self._chunk(whole, dense)
            found = [
                self._forms(weights, features[j : j + s], dense) for j in range(0, whole.samples, s)
            ]
        return joined_forms(self.job.program, found)

    def _forms(self, weights: Array, features: Array, dense: Stages) -> list[Array]:
        """Forms of what fits at once."""
        arena = self._arena(Sizes(self.job.cones, len(weights), len(features)), dense)
        program, memory = self.job.program, arena.memory
        self._feed(arena, weights, features)
        total: list[Array] = []
        for fixed in self._slices():
            self._run_stages(arena, memory.forward, fixed)

            def sweep(seed: Array, fixed: Mapping[int, int] = fixed) -> None:
                assert program.reverse is not None
                arena.write(program.reverse.seed, seed)
                self._run_stages(arena, memory.reverse, fixed)

            total = added_forms(total, gathered_forms(program, sweep, arena.read))
        return total

    def _sizes(self, weights: Array, features: Array) -> tuple[Sizes, Stages]:
        """The batch, and the stages that run by BLAS for it."""
        whole = Sizes(self.job.cones, weights.shape[0], features.shape[0])
        if whole not in self.dense:
            self.dense[whole] = dense_stages(self.job.program, whole)
        return whole, self.dense[whole]

    def _run(self, weights: Array, features: Array) -> Array:
        whole, dense = self._sizes(weights, features)
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
            self._run_stages(arena, arena.memory.forward, {})
            total = arena.read(program.output)
            arena.forward_of = weights, features
        else:
            total = np.zeros(())  # float64: thousands of slices would lose digits of float32
            for fixed in self._slices():
                self._run_stages(arena, arena.memory.forward, fixed)
                total = total + arena.read(program.output)
        if total.shape[1] == self.job.cones:
            return total
        return np.broadcast_to(total, (len(total), self.job.cones, *total.shape[2:]))

    def _slices(self) -> Iterator[dict[int, int]]:
        program = self.job.program
        for values in product(*(range(program.network.sizes[i]) for i in program.sliced)):
            yield dict(zip(program.sliced, values, strict=True))

    def _sweep(
        self, weights: Array, features: Array, slopes: Array, gradient: Array, dense: Stages
    ) -> None:
        """Run back what fits at once, forward again where its values are not there any more."""
        sizes = Sizes(self.job.cones, weights.shape[0], features.shape[0])
        arena = self._arena(sizes, dense)
        program, memory = self.job.program, arena.memory
        assert program.reverse is not None
        held = arena.forward_of
        ready = held is not None and held[0] is weights and held[1] is features
        if not ready:
            self._feed(arena, weights, features)
        arena.write(program.reverse.seed, self.job.seed(slopes))
        for fixed in self._slices():
            if not ready or fixed:
                self._run_stages(arena, memory.forward, fixed)
            self._run_stages(arena, memory.reverse, fixed)
            for labels, view in arena.environment_views.items():
                functions = arena.angle_views[labels]
                self.job.pull_back_angles(labels, view, functions, weights, features, gradient)
            around = self.job.block_environments(arena.read_group, fixed)
            self.job.pull_back_blocks(around, weights, gradient)

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
        for given in self.job.given:
            if given.columns is not None or not arena.fed:
                arena.given_view(given.slots)[...] = given.rows(features)
        for numbers, values in self.job.block_values(weights):
            arena.write_group(numbers, values)
        arena.fed, arena.forward_of = True, None

    def _run_stages(self, arena: Arena, runs: Iterable[Run], fixed: Mapping[int, int]) -> None:
        from tn_qnn.backends.cpu.kernel import run_stages

        steps = arena.tables.steps
        if fixed and arena.tables.shifts:
            steps = steps.copy()
            for row, column, moves in arena.tables.shifts:
                steps[row, column] += sum(v * m for v, m in zip(fixed.values(), moves, strict=True))
        for run in runs:
            if not run.dense:
                stages = arena.tables.stages[run.rows]
                run_stages(arena.data, stages, steps, arena.tables.tables, self.threads)
            else:
                self._run_dense(arena, run.stages[0], fixed)
            if run.sums:
                run_sums(arena.data, arena.sum_tables[run.stages[0]])

    def _run_dense(self, arena: Arena, number: int, fixed: Mapping[int, int]) -> None:
        program = self.job.program
        stage = program.all_stages[number]
        if not stage.labels and not fixed and arena.constant_stage_done:
            return
        made = {step.out for step in stage.steps}
        wanted = {slot for step in stage.steps for slot in (step.left, step.right)} - made
        values = {
            slot: spread(program.slots[slot], arena.read(slot))
            for slot in wanted
            if slot in arena.memory.placement.places
        }
        for slot, value in run_dense(program, stage, values, fixed).items():
            flat = np.moveaxis(value, (0, 1, 2), (-3, -2, -1))
            arena.write(slot, flat.reshape(-1, *value.shape[:3]))
        arena.constant_stage_done = arena.constant_stage_done or not stage.labels


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
