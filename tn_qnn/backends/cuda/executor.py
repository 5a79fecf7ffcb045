"""Runs a job on one device: chunks that fit, slices, and a retry when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

import numpy as np

from tn_qnn.backends.cuda.arena import Arena, Call, Layout, Shelf, lay_out, make_arena
from tn_qnn.backends.cuda.chunking import fitting_chunk, needed
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.backends.cuda.schedule import GEMM, Limits
from tn_qnn.backends.dense_stage import spread, step_product
from tn_qnn.backends.memory import Budget
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.program.job import Job, block_slot_values
from tn_qnn.program.placement import Sizes

Array = Any  # of CuPy
Run = Callable[[Arena, slice, slice], None]
KEPT_LAYOUTS = 64
GROUPS = 8  # of slices, which are summed apart
#: Multiply-adds of a tiled step for one point of the batch from which cuBLAS takes it, outside
#: of a graph. By the model of the roofline; not measured.
CUBLAS_WORK = 1 << 22
log = logging.getLogger("tn_qnn.backends.cuda")


@dataclass(eq=False)
class CudaExecutor:
    """Runs a job; keeps the arenas of the last few batch sizes."""

    job: Job
    dtype: np.dtype[Any]
    runtime: CudaRuntime
    budget: Budget
    shelf: Shelf = field(default_factory=Shelf)
    layouts: dict[Sizes, Layout] = field(default_factory=dict)
    chunks: dict[Sizes, Sizes] = field(default_factory=dict)
    ceiling: int | None = None  # bytes, once memory ran out below the budget

    @property
    def arenas(self) -> dict[Sizes, Arena]:
        """What it keeps, by batch size."""
        return self.shelf.of(self)

    def release(self) -> None:
        """Let go of all memory that is kept between calls, other jobs' of the model too."""
        self.shelf.arenas.clear()

    def forecast(self, sets: int, samples: int) -> int:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        return self._bytes(Sizes(self.job.cones, sets, samples))

    def accumulate(
        self, weights: Array, features: Array, out: Array, groups: slice = slice(None)
    ) -> None:
        """Add the job's outputs to ``out``.

        Parameters
        ----------
        weights, features
            Device arrays of float64, shapes (P, W) or (P, S, W), and (S, F).
        out
            Device array of float64, shape (K, P, S), with any strides.
        groups
            Which of the groups of slices to add, for a plan that is sliced.

        Raises
        ------
        MemoryBudgetError
            When not even one sample with one set of weights fits.
        """
        chosen = slice_groups(self.job.program.slices)[groups]

        def add(arena: Arena, sets: slice, samples: slice) -> None:
            part = out[:, sets, samples]
            if self.job.program.slices == 1:
                self._run_slice(arena, 0)
                arena.read_out(part)
                return
            # summed apart: memory that runs out in the middle leaves nothing behind
            totals = [self.runtime.cp.zeros_like(part) for _ in chosen]
            for total, numbers in zip(totals, chosen, strict=True):
                for number in numbers:
                    self._run_slice(arena, number)
                    arena.read_out(total)
            part += tree_sum(totals)

        with self.runtime.use():
            self._in_all(weights, features, add)

    def run(self, weights: Array, features: Array) -> np.ndarray:
        """See :class:`~tn_qnn.backends.protocol.Executor`; from and to arrays of NumPy."""
        slot = self.job.program.slots[self.job.program.output]
        batch = [n if x in slot.labels else 1 for x, n in
                 ((SETS, len(weights)), (SAMPLES, len(features)))]  # fmt: skip
        cones = self.job.cones
        kind = np.result_type(self.dtype, "c8") if slot.complex else self.dtype
        values = np.zeros((slot.size, cones, *batch), kind)

        def keep(arena: Arena, sets: slice, samples: slice) -> None:
            total: Array = 0.0
            for number in range(self.job.program.slices):
                self._run_slice(arena, number)
                total = total + arena.read(self.job.program.output).astype(wide)
            where = [s if n > 1 else slice(0, 1)
                     for s, n in zip((sets, samples), batch, strict=True)]  # fmt: skip
            values[:, :, *where] = self.runtime.to_host(total)

        wide = np.result_type(kind, "f8")  # thousands of slices would lose digits of float32
        with self.runtime.use():
            w, x = (self.runtime.to_device(a, np.float64) for a in (weights, features))
            self._in_all(w, x, keep)
        return values

    def _in_all(self, weights: Array, features: Array, run: Run) -> None:
        # kernels take rows of neighbours; CuPy keeps the order of a Fortran array, of the host too
        w, x = (self.runtime.cp.ascontiguousarray(a) for a in (weights, features))
        self._in_chunks(w, x, slice(0, len(w)), slice(0, len(x)), run)

    def _in_chunks(
        self, weights: Array, features: Array, sets: slice, samples: slice, run: Run
    ) -> None:
        """Run a part of the batch, whole if it fits, else in chunks."""
        part = Sizes(self.job.cones, sets.stop - sets.start, samples.stop - samples.start)
        size = self._chunk(part)
        if size != part:
            for p, s in product(_cut(sets, size.sets), _cut(samples, size.samples)):
                self._in_chunks(weights, features, p, s, run)
            return
        try:
            self._run_chunk(weights, features, sets, samples, run)
            return
        except Exception as error:
            if self.runtime.capturing or not self.runtime.is_out_of_memory(error):
                raise
            self._shrink(part, error)
        # only now is the memory free that the error's frames held
        self._in_chunks(weights, features, sets, samples, run)

    def _run_chunk(
        self, weights: Array, features: Array, sets: slice, samples: slice, run: Run
    ) -> None:
        w = weights[sets] if weights.ndim == 2 else weights[sets, samples]
        x = features[samples]
        arena = self._arena(Sizes(self.job.cones, len(w), len(x)))
        self.runtime.keep(arena)
        arena.fill(w, x)
        matrices = {e: table.matrices(w) for e, table in self.job.blocks.items()}
        for entry in self.job.program.blocks:
            arena.write(entry.slot, block_slot_values(entry, matrices[entry.element]))
        run(arena, sets, samples)

    def _chunk(self, whole: Sizes) -> Sizes:
        """What runs at once: halves of halves of a batch, each time the half that costs less."""
        if (self, whole) in self.shelf.arenas:
            return whole
        if whole not in self.chunks:
            why = "the budget" if self.ceiling is None else "what was left when it ran out"
            size = fitting_chunk(
                self.job,
                whole,
                self.dtype.itemsize,
                self._budget(),
                self._layout,
                f"{why} of {self.runtime.facts.name}",
            )
            self.chunks |= {whole: size, size: size}
        return self.chunks[whole]

    def _shrink(self, failed: Sizes, error: Exception) -> None:
        """After a shortage: drop what is kept, and never again ask for as much."""
        self.release()
        self.chunks.clear()
        need = self._bytes(failed)
        if (failed.sets, failed.samples) == (1, 1):
            raise MemoryBudgetError(
                f"memory: one sample needs {need:,} bytes and {self.runtime.facts.name} has no"
                f" more ({error}); free memory or slice the plan by giving less `memory`"
            ) from error
        self.ceiling = need - 1
        log.warning(
            "out of memory with %d sets of weights and %d samples (%s bytes): going on with half",
            failed.sets, failed.samples, f"{need:,}",
        )  # fmt: skip

    def _budget(self) -> int:
        budget = self.budget.bytes(self.runtime.free_memory(), self.shelf.held)
        return budget if self.ceiling is None else min(budget, self.ceiling)

    def _bytes(self, sizes: Sizes) -> int:
        return needed(self.job, self._layout(sizes), self.dtype.itemsize)

    def _layout(self, sizes: Sizes) -> Layout:
        if sizes not in self.layouts:
            if len(self.layouts) >= KEPT_LAYOUTS:
                self.layouts.clear()
            facts = self.runtime.facts
            limits = Limits(facts.shared_bytes, facts.multiprocessors)
            self.layouts[sizes] = lay_out(self.job, sizes, self.dtype.itemsize, limits)
        return self.layouts[sizes]

    def _arena(self, sizes: Sizes) -> Arena:
        found = self.shelf.take(self, sizes)
        if found is None:
            self.shelf.make_room(self, self._bytes(sizes), self._budget())
            found = make_arena(self.job, self.runtime, self._layout(sizes), self.dtype)
        self.shelf.put(self, sizes, found)
        return found

    def _run_slice(self, arena: Arena, number: int) -> None:
        """Launch everything for one slice."""
        done = arena.constant_stage_done and self.job.program.slices == 1
        for call in arena.calls:
            launch = call.launch
            if done and not launch.labels:
                continue
            if launch.kernel == GEMM and self._by_cublas(launch.steps[0]):
                self._multiply(arena, call, number)
                continue
            self.runtime.launch(
                launch.kernel,
                call.variant,
                launch.grid,
                launch.block,
                call.arguments(number),
                launch.shared,
            )
        arena.constant_stage_done = True

    def _by_cublas(self, step: Any) -> bool:
        work = self.job.program.step_size(step)
        return work >= CUBLAS_WORK and not self.runtime.capturing

    def _multiply(self, arena: Arena, call: Call, number: int) -> None:
        """A large step as batched matrix products by cuBLAS."""
        program, step = self.job.program, call.launch.steps[0]
        sizes = [program.network.sizes[i] for i in program.sliced]
        values = np.unravel_index(number, sizes) if sizes else ()
        fixed = {i: int(value) for i, value in zip(program.sliced, values, strict=True)}
        live = {
            slot: spread(program.slots[slot], arena.read(slot)) for slot in (step.left, step.right)
        }
        out = step_product(program, step, live, fixed)
        flat = self.runtime.cp.moveaxis(out, (0, 1, 2), (-3, -2, -1))
        arena.write(step.out, flat.reshape(-1, *out.shape[:3]))


def slice_groups(slices: int) -> tuple[range, ...]:
    """Slices in at most ``GROUPS`` groups, each summed in order, the same on any devices.

    Examples
    --------
    >>> slice_groups(3), len(slice_groups(1000))
    ((range(0, 1), range(1, 2), range(2, 3)), 8)
    """
    count = min(slices, GROUPS)
    ends = [slices * k // count for k in range(count + 1)]
    return tuple(range(a, b) for a, b in pairwise(ends))


def tree_sum(parts: Sequence[Array]) -> Array:
    """The sum of some arrays by neighbours, then neighbours of these, and so on.

    Examples
    --------
    >>> tree_sum([1.0, 2.0, 3.0])
    6.0
    """
    while len(parts) > 1:
        pairs = [parts[k : k + 2] for k in range(0, len(parts), 2)]
        parts = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def _cut(whole: slice, size: int) -> list[slice]:
    return [slice(i, min(i + size, whole.stop)) for i in range(whole.start, whole.stop, size)]
