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
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.program.job import Job
from tn_qnn.program.local_forms import added_forms, gathered_forms, joined_forms
from tn_qnn.program.placement import Sizes

Array = Any  # of CuPy
Run = Callable[[Arena, Array, Array, slice, slice], None]
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

        def add(arena: Arena, w: Array, x: Array, sets: slice, samples: slice) -> None:
            self._feed(arena, w, x)
            part = out[:, sets, samples]
            if self.job.program.slices == 1:
                self._run_slice(arena, 0)
                arena.read_out(part)
                if not arena.in_graph:  # whose replays nobody here sees
                    arena.forward_of = weights, features, sets, samples
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

    def pull_back(
        self,
        weights: Array,
        features: Array,
        slopes: Array,
        gradient: Array,
        groups: slice = slice(None),
    ) -> None:
        """Add the derivative of a loss by the weights to ``gradient``.

        What :meth:`accumulate` has left of the same two arrays is used; it is worked out again
        where another call, or a shortage of memory, has taken its place, and for a plan that is
        sliced. A chunk is added when it is whole, so a shortage leaves nothing half added.

        Parameters
        ----------
        weights, features
            Device arrays of float64, shapes (P, W) and (S, F).
        slopes
            Derivatives of the loss by the outputs: device array of float64, shape (K, P, S).
        gradient
            Device array of float64, shape (P, W).
        groups
            As :meth:`accumulate` takes them.

        Raises
        ------
        MemoryBudgetError
            When not even one sample with one set of weights fits.
        """
        numbers = [n for group in slice_groups(self.job.program.slices)[groups] for n in group]

        def sweep(arena: Arena, w: Array, x: Array, sets: slice, samples: slice) -> None:
            ready = arena.holds(weights, features, sets, samples)
            if not ready:
                self._feed(arena, w, x)
            found = self.runtime.cp.zeros_like(w)
            self._write_seed(arena, slopes[:, sets, samples])
            for number in numbers:
                if not ready or self.job.program.slices > 1:
                    self._run_slice(arena, number)
                self._sweep_slice(arena, number)
                arena.pull_angles(w, x, found)
                around = self.job.block_environments(arena.read_group, self._fixed(number))
                self.job.pull_back_blocks(around, w, found)
            part = gradient[sets]
            part += found

        with self.runtime.use():
            self._in_all(weights, features, sweep)

    def local_forms(self, weights: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, ...]:
        """See :class:`~tn_qnn.backends.protocol.Executor`; from and to arrays of NumPy."""
        program, chunks = self.job.program, []

        def collect(arena: Arena, w: Array, x: Array, sets: slice, samples: slice) -> None:
            self._feed(arena, w, x)
            total: list[np.ndarray] = []
            for number in range(program.slices):
                self._run_slice(arena, number)

                def sweep(seed: np.ndarray, number: int = number) -> None:
                    assert program.reverse is not None
                    arena.write(program.reverse.seed, self.runtime.to_device(seed, seed.dtype))
                    self._sweep_slice(arena, number)

                def read(slot: int) -> np.ndarray:
                    return self.runtime.to_host(arena.read(slot))

                total = added_forms(total, gathered_forms(program, sweep, read))
            chunks.append(total)

        with self.runtime.use():
            w, x = (self.runtime.to_device(a, np.float64) for a in (weights, features))
            self._in_all(w, x, collect)
        return joined_forms(program, chunks)

    def run(self, weights: Array, features: Array) -> np.ndarray:
        """See :class:`~tn_qnn.backends.protocol.Executor`; from and to arrays of NumPy."""
        slot = self.job.program.slots[self.job.program.output]
        batch = [n if x in slot.labels else 1 for x, n in
                 ((SETS, len(weights)), (SAMPLES, len(features)))]  # fmt: skip
        cones = self.job.cones
        kind = np.result_type(self.dtype, "c8") if slot.complex else self.dtype
        values = np.zeros((slot.size, cones, *batch), kind)

        def keep(arena: Arena, w: Array, x: Array, sets: slice, samples: slice) -> None:
            self._feed(arena, w, x)
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
        arena.in_graph |= self.runtime.capturing
        run(arena, w, x, sets, samples)

    def _feed(self, arena: Arena, weights: Array, features: Array) -> None:
        """Fill in all that depends on weights and data."""
        arena.forward_of = None
        for given in self.job.given:
            if given.columns is not None or not arena.fed:
                arena.given_view(given.slots)[...] = given.rows(features)
        arena.fill(weights, features)
        for numbers, values in self.job.block_values(weights):
            arena.write_group(numbers, values)

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
        """Launch all forward stages for one slice."""
        done = arena.constant_stage_done and self.job.program.slices == 1
        forward = len(self.job.program.stages)
        for call in arena.calls:
            launch = call.launch
            if launch.stage < forward and not (done and not launch.labels):
                self._launch(arena, call, number)
        arena.constant_stage_done = True

    def _sweep_slice(self, arena: Arena, number: int) -> None:
        """Launch all stages of the sweep back for one slice, whose forward values are there."""
        for call in arena.calls:
            if call.launch.stage >= len(self.job.program.stages):
                self._launch(arena, call, number)

    def _write_seed(self, arena: Arena, slopes: Array) -> None:
        reverse = self.job.program.reverse
        if reverse is None:
            raise InputError(
                "gradient: the program of this executor has no reverse stages; prepare a job"
                " of with_reverse(program)"
            )
        arena.write(reverse.seed, self.job.seed(slopes))

    def _launch(self, arena: Arena, call: Call, number: int) -> None:
        launch = call.launch
        if launch.kernel == GEMM and self._by_cublas(launch.steps[0]):
            self._multiply(arena, call, number)
            return
        self.runtime.launch(
            launch.kernel,
            call.variant,
            launch.grid,
            launch.block,
            call.arguments(number),
            launch.shared,
        )

    def _fixed(self, number: int) -> dict[int, int]:
        """Values of the sliced indices in a slice."""
        program = self.job.program
        sizes = [program.network.sizes[i] for i in program.sliced]
        values = np.unravel_index(number, sizes) if sizes else ()
        return {i: int(value) for i, value in zip(program.sliced, values, strict=True)}

    def _by_cublas(self, step: Any) -> bool:
        work = self.job.program.step_size(step)
        return work >= CUBLAS_WORK and not self.runtime.capturing

    def _multiply(self, arena: Arena, call: Call, number: int) -> None:
        """A large step as batched matrix products by cuBLAS."""
        program, step = self.job.program, call.launch.steps[0]
        fixed = self._fixed(number)
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
