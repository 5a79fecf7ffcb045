"""Everything that one batch size needs on the device: memory, tables, ready-made launches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tn_qnn.backends.cuda.pull import pull_table
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.backends.cuda.schedule import STAGE, SUMS, WARP, Launch, Limits, Schedule, make_schedule
from tn_qnn.backends.cuda.sources import variant
from tn_qnn.backends.cuda.sums import sum_rows
from tn_qnn.backends.cuda.tables import (
    angle_monomials,
    joined,
    launch_tables,
    readout_table,
    with_spill,
)
from tn_qnn.network.labels import LABELS, SAMPLES, SETS
from tn_qnn.program.job import Job
from tn_qnn.program.placement import Placement, Sizes, place, strided

Array = Any  # of CuPy
Labels = tuple[str, ...]
KEPT_ARENAS = 4  # of a job
THREADS = 128  # a block of the kernels that fill and read


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything lies for one batch size, and what is launched; nothing is allocated."""

    placement: Placement
    schedule: Schedule

    def bytes(self, itemsize: int) -> int:
        """Arena and tables."""
        return self.placement.scalars * itemsize + self.schedule.table_bytes

    def reachable(self, itemsize: int) -> bool:
        """Whether neighbouring elements are less than 4 GiB apart: kernels count in 32 bits."""
        return max(x.extent for x in self.placement.layouts.values()) * itemsize < 1 << 32


def lay_out(job: Job, sizes: Sizes, itemsize: int, limits: Limits) -> Layout:
    """Placement and schedule of a job for a batch size."""
    placement = place(job.program, sizes)
    schedule = make_schedule(job.program, placement, itemsize, limits)
    return Layout(with_spill(placement, schedule), schedule)


@dataclass(frozen=True, eq=False)
class Call:
    """A launch with its arguments; ``shifts`` holds those of all slices, one after the other."""

    launch: Launch
    variant: str
    before: tuple[Any, ...]
    shifts: Array | None = None
    behind: tuple[Any, ...] = ()

    def arguments(self, number: int) -> tuple[Any, ...]:
        """Arguments for a slice."""
        if self.shifts is None:
            return self.before
        each = 3 * len(self.launch.steps)
        whole = len(self.shifts) == each
        shifts = self.shifts if whole else self.shifts[each * number : each * (number + 1)]
        return (*self.before, shifts, *self.behind)


@dataclass(frozen=True, eq=False)
class Fill:
    """Arguments of ``fill_angles`` before and behind weights and features; whether they change."""

    constants: tuple[Any, ...]
    place: tuple[Any, ...]
    count: int
    labels: Labels


@dataclass(frozen=True, eq=False)
class Pull:
    """Arguments of ``pull_angles`` behind weights and features, up to strides of these."""

    tables: tuple[Array, ...]
    place: tuple[Any, ...]


@dataclass(eq=False)
class Arena:
    """Memory and tables for one batch size; the constants are in it from the start.

    Attributes
    ----------
    calls
        Launches with their arguments, forward ones first.
    fills, readout, pulls
        Arguments of the kernels that fill in angles, read outputs and work out gradients.
    forward_of
        Weights, data and the chunk of them of which it holds what a sweep back reads; None where
        that is gone.
    in_graph
        Whether a captured graph works on it.
    """

    job: Job
    runtime: CudaRuntime
    layout: Layout
    data: Array
    calls: tuple[Call, ...]
    fills: tuple[Fill, ...]
    readout: tuple[Array, ...]
    pulls: tuple[Pull, ...]
    fed: bool = False
    constant_stage_done: bool = False
    forward_of: tuple[Array, ...] | None = None
    in_graph: bool = False

    def view(self, number: int) -> Array:
        """A slot's scalars, shape (planes, elements, C or 1, P or 1, S or 1)."""
        base, axes = self.layout.placement.axes(self.job.program, number)
        return strided(self.data, base, axes, self.runtime.cp.lib.stride_tricks.as_strided)

    def given_view(self, numbers: tuple[int, ...]) -> Array:
        """All given slots of a label set, shape (rows, C or 1, P or 1, S or 1)."""
        base, axes = self.layout.placement.given_axes(self.job.program, numbers)
        return strided(self.data, base, axes, self.runtime.cp.lib.stride_tricks.as_strided)

    def write(self, number: int, values: Array) -> None:
        """Store a slot; values of shape (elements, C or 1, P or 1, S or 1)."""
        view = self.view(number)
        view[0] = values.real
        if len(view) == 2:
            view[1] = values.imag

    def read(self, number: int) -> Array:
        """A slot as a new real or complex array, shape (elements, C or 1, P or 1, S or 1)."""
        view = self.view(number)
        return view[0].copy() if len(view) == 1 else view[0] + 1j * view[1]

    def group_view(self, numbers: tuple[int, ...]) -> Array:
        """Slots that move as one, shape (planes, elements, slots, C or 1, P or 1, S or 1)."""
        base, axes = self.layout.placement.group_axes(self.job.program, numbers)
        return strided(self.data, base, axes, self.runtime.cp.lib.stride_tricks.as_strided)

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

    def holds(self, weights: Array, features: Array, sets: slice, samples: slice) -> bool:
        """Whether the forward values of a chunk of these very arrays are in it."""
        held = self.forward_of
        same = held is not None and held[0] is weights and held[1] is features
        return same and held is not None and held[2:] == (sets, samples)

    def fill(self, weights: Array, features: Array) -> None:
        """Work out all angles, and their cos and sin, from device arrays of float64."""
        for fill in self.fills:
            if self.fed and not {SETS, SAMPLES} & set(fill.labels):
                continue  # depends on neither weights nor data
            strides = (*_scalar_strides(weights), features.strides[0] // 8)
            arguments = (
                self.data,
                weights,
                features,
                *fill.constants,
                *fill.place,
                *(np.int64(stride) for stride in strides),
            )
            grid = (-(-fill.count // THREADS),)
            kind = variant("fill_angles", self.data.dtype)
            self.runtime.launch("fill_angles", kind, grid, (THREADS,), arguments)
        self.fed = True

    def pull_angles(self, weights: Array, features: Array, gradient: Array) -> None:
        """Add the derivative through the angles to ``gradient``, float64, shape (P, W)."""
        strides = (weights.strides[0] // 8, features.strides[0] // 8, gradient.strides[0] // 8)
        kind = variant("pull_angles", self.data.dtype)
        for pull in self.pulls:
            arguments = (
                self.data,
                gradient,
                weights,
                features,
                *pull.tables,
                *pull.place,
                *(np.int64(stride) for stride in strides),
            )
            grid = (-(-len(pull.tables[0]) * len(weights) * WARP // THREADS),)
            self.runtime.launch("pull_angles", kind, grid, (THREADS,), arguments)

    def read_out(self, out: Array) -> None:
        """Add the job's outputs to ``out``, float64, shape (K, P, S) with any strides."""
        *lists, stride_p, stride_s = self.readout
        _, sets, samples = out.shape
        count = len(lists[0])
        arguments = (
            self.data,
            out,
            *lists,
            *(np.int32(n) for n in (count, sets, samples)),
            *(np.int64(n) for n in (stride_p, stride_s, *(s // 8 for s in out.strides))),
        )
        grid = (-(-count * sets * samples // THREADS),)
        kind = variant("read_out", self.data.dtype)
        self.runtime.launch("read_out", kind, grid, (THREADS,), arguments)


@dataclass(eq=False)
class Shelf:
    """The arenas that a device keeps for all jobs of a model, used longest ago first."""

    arenas: dict[tuple[object, Sizes], Arena] = field(default_factory=dict)

    def of(self, owner: object) -> dict[Sizes, Arena]:
        """The arenas of one executor."""
        return {sizes: arena for (of, sizes), arena in self.arenas.items() if of is owner}

    def take(self, owner: object, sizes: Sizes) -> Arena | None:
        """Take an arena from the shelf, if it is there."""
        return self.arenas.pop((owner, sizes), None)

    def put(self, owner: object, sizes: Sizes, arena: Arena) -> None:
        """Put an arena on the shelf: last used, last out."""
        self.arenas[owner, sizes] = arena

    @property
    def held(self) -> int:
        """Bytes of all arenas."""
        return sum(arena.data.nbytes for arena in self.arenas.values())

    def make_room(self, owner: object, need: int, budget: int) -> None:
        """Drop what was used longest ago: of the owner where it has many, of all where memory is
        short."""
        own = [key for key in self.arenas if key[0] is owner]
        if len(own) >= KEPT_ARENAS:
            del self.arenas[own[0]]
        while self.arenas and self.held + need > budget:
            del self.arenas[next(iter(self.arenas))]


def make_arena(job: Job, runtime: CudaRuntime, layout: Layout, dtype: np.dtype[Any]) -> Arena:
    """Allocate an arena, upload its tables, write its constants."""
    cp, placement = runtime.cp, layout.placement
    data = cp.zeros(placement.scalars, dtype=dtype)
    arena = Arena(
        job,
        runtime,
        layout,
        data,
        _calls(job, runtime, layout, data),
        tuple(_fills(job, runtime, placement)),
        _readout(job, runtime, placement),
        tuple(_pulls(job, runtime, placement)),
    )
    for call in arena.calls:  # even those that cuBLAS stands in for, outside of a graph
        runtime.ready(call.launch.kernel, call.variant, call.launch.shared)
    for number, values in job.program.constants.items():
        arena.write(number, cp.asarray(values.reshape(-1, 1, 1, 1)))
    for labels in placement.regions:
        base, axes = placement.angle_axes(labels)
        strided(data, base, axes, cp.lib.stride_tricks.as_strided)[2] = 1
    return arena


def _calls(job: Job, runtime: CudaRuntime, layout: Layout, data: Array) -> tuple[Call, ...]:
    launches = layout.schedule.launches
    if not launches:
        return ()
    of_steps = [launch for launch in launches if launch.steps]
    made = [launch_tables(job.program, layout.placement, launch) for launch in of_steps]
    uploads = []
    for name in ("steps", "tables", "shifts", "parts"):
        flat, where = joined([getattr(tables, name) for tables in made])
        device = runtime.cp.asarray(flat)
        uploads.append([device[w] for w in where])
    tables_of = dict(zip(of_steps, zip(*uploads, strict=True), strict=True))
    calls = []
    for launch in launches:
        kind = variant(launch.kernel, data.dtype, launch.complex)
        if launch.kernel == SUMS:
            rows = sum_rows(job.program, layout.placement, launch.sums)
            calls.append(Call(launch, kind, (data, runtime.cp.asarray(rows))))
            continue
        steps, tables, shifts, parts = tables_of[launch]
        middle = (parts, np.int32(launch.scratch.size)) if launch.kernel == STAGE else ()
        loops = (np.int32(launch.loops.n1), np.int64(launch.loops.inner))
        calls.append(Call(launch, kind, (data, steps, tables), shifts, (*middle, *loops)))
    return tuple(calls)


def _fills(job: Job, runtime: CudaRuntime, placement: Placement) -> list[Fill]:
    fills = []
    for labels, table in job.tables.items():
        entries = angle_monomials(table)
        arrays = (entries.constants, entries.starts, entries.coefficients, entries.columns)
        base, (_, (rows, extent), *batch) = placement.angle_axes(labels)
        counts = [n for n, _ in batch]
        strides = [stride for _, stride in batch]
        where = (
            np.int64(base),
            *(np.int32(n) for n in (rows, *counts)),
            *(np.int64(n) for n in (extent, *strides)),
        )
        constants = tuple(runtime.cp.asarray(array) for array in arrays)
        fills.append(Fill(constants, where, rows * int(np.prod(counts)), labels))
    return fills


def _pulls(job: Job, runtime: CudaRuntime, placement: Placement) -> Iterator[Pull]:
    for labels in placement.environments:
        table = pull_table(job.tables[labels])
        if not len(table.outputs):
            continue
        lists = (table.outputs, table.starts, table.entries, table.coefficients, table.columns)
        base, (_, (rows, extent), *batch) = placement.angle_axes(labels)
        around, _ = placement.environment_axes(labels)
        place = (
            np.int32(len(table.outputs)),
            np.int64(base),
            np.int64(around),
            *(np.int32(n) for n in (rows, *(n for n, _ in batch))),
            *(np.int64(n) for n in (extent, *(stride for _, stride in batch))),
        )
        yield Pull(tuple(runtime.cp.asarray(x) for x in lists), place)


def _readout(job: Job, runtime: CudaRuntime, placement: Placement) -> tuple[Array, ...]:
    table = readout_table(job, placement)
    labels = job.program.slots[job.program.output].labels
    strides: Mapping[str, int] = dict(
        zip(LABELS, (stride for _, stride in placement.batch_axes(labels)), strict=True)
    )
    lists = (table.outputs, table.starts, table.offsets, table.coefficients)
    return (*(runtime.cp.asarray(x) for x in lists), strides[SETS], strides[SAMPLES])


def _scalar_strides(weights: Array) -> tuple[int, int]:
    """Distance in scalars between weight sets, and between samples (0 where they share them)."""
    if weights.ndim == 2:
        return weights.strides[0] // 8, 0
    return weights.strides[0] // 8, weights.strides[1] // 8
