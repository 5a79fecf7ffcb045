"""Integer tables that the kernels read, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.cuda.schedule import Launch, Schedule
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.network.labels import CONES
from tn_qnn.program.angles import AngleTable
from tn_qnn.program.job import Job
from tn_qnn.program.placement import Placement, slot_place
from tn_qnn.program.program import Program
from tn_qnn.program.rows import step_row

LARGEST = 2**31 - 1
NO_FACTOR = -1
MOST_FACTORS = 4  # of a monomial


@dataclass(frozen=True, eq=False)
class LaunchTables:
    """What a launch reads beside the arena.

    Attributes
    ----------
    steps
        Shape (steps, 32), int64.
    tables
        Shape (entries,), int32; offsets in the rows begin with the part.
    parts
        Shape (parts, 4), int32: first step, steps, first entry, entries.
    shifts
        Shape (slices, steps, 3), int64: scalars by which left, right and out move in a slice.
    """

    steps: NDArray[np.int64]
    tables: NDArray[np.int32]
    parts: NDArray[np.int32]
    shifts: NDArray[np.int64]


def with_spill(placement: Placement, schedule: Schedule) -> Placement:
    """The placement of a schedule: spilled slots lie behind all others."""
    program, places = schedule.program, dict(placement.places)
    for stage, spilled in zip(program.all_stages, schedule.spilled, strict=True):
        extent = placement.layouts[stage.labels].extent
        for number, offset in spilled.offsets.items():
            base = placement.scalars + offset * extent
            places[number] = slot_place(program, placement.layouts, number, base)
    return replace(placement, places=places, scalars=placement.scalars + schedule.spill_scalars)


def launch_tables(program: Program, placement: Placement, launch: Launch) -> LaunchTables:
    """The tables of a launch.

    Raises
    ------
    MemoryBudgetError
        Where an offset does not fit in 32 bits: the plan needs slices.
    """
    rows: list[NDArray[np.int64]] = []
    entries: list[NDArray[np.int64]] = []
    moves: list[tuple[tuple[int, ...], ...]] = []
    parts: list[tuple[int, ...]] = []
    steps = iter(launch.steps)
    for count in launch.parts:
        first, begin, at = len(rows), sum(map(len, entries)), 0
        for step in islice(steps, count):
            row, table, move = step_row(program, placement, launch.scratch, launch.labels, step, at)
            rows.append(row)
            entries.append(table)
            moves.append(move)
            at += len(table)
        parts.append((first, count, begin, at))
    tables = np.concatenate(entries)
    if max(tables.max(), len(tables)) > LARGEST:
        raise MemoryBudgetError(
            f"memory: a tensor of {tables.max():,} elements is too large for one kernel; slice the"
            " plan by giving less memory"
        )
    values = np.array(
        list(product(*(range(program.network.sizes[i]) for i in program.sliced))), dtype=np.int64
    )
    along = np.array(moves, dtype=np.int64).reshape(len(rows), 3, len(program.sliced))
    shifts = np.einsum("vi,nji->vnj", values.reshape(program.slices, -1), along)
    return LaunchTables(
        np.array(rows),
        tables.astype(np.int32),
        np.array(parts, np.int32),
        np.ascontiguousarray(shifts),
    )


@dataclass(frozen=True, eq=False)
class AngleMonomials:
    """An angle table in the form of the kernel ``fill_angles``.

    Attributes
    ----------
    constants
        Shape (rows * cones,), float64.
    starts
        First monomial of each entry, shape (rows * cones + 1,), int32.
    coefficients
        Shape (monomials,), float64.
    columns
        Shape (monomials, 4), int32: weight column v as v, feature column f as -2 - f, else -1.
    """

    constants: NDArray[np.float64]
    starts: NDArray[np.int32]
    coefficients: NDArray[np.float64]
    columns: NDArray[np.int32]


def angle_monomials(table: AngleTable) -> AngleMonomials:
    """Sort a table's monomials by entry."""
    count = len(table.constants)
    owners, coefficients, columns = [np.zeros(0, np.intp)], [np.zeros(0)], []
    columns.append(np.zeros((0, MOST_FACTORS), np.int32))
    for m in table.monomials:
        owners.append(np.arange(count) if m.entries is None else m.entries)
        coefficients.append(m.coefficients.reshape(-1))
        factors = np.full((len(owners[-1]), MOST_FACTORS), NO_FACTOR, np.int32)
        found = np.concatenate([m.weights, -2 - m.features]).T  # (n, degree)
        factors[:, : found.shape[1]] = found
        columns.append(factors)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(count + 1)).astype(np.int32)
    return AngleMonomials(
        table.constants.reshape(-1),
        starts,
        np.concatenate(coefficients)[order],
        np.ascontiguousarray(np.concatenate(columns)[order]),
    )


@dataclass(frozen=True, eq=False)
class ReadoutTable:
    """A scatter in the form of the kernel ``read_out``: outputs as sums over the arena.

    Attributes
    ----------
    outputs
        Shape (n,), int32.
    starts
        First summand of each output, shape (n + 1,), int32.
    offsets, coefficients
        Scalars of the arena at the batch's first point, and their factors; int64, float64.
    """

    outputs: NDArray[np.int32]
    starts: NDArray[np.int32]
    offsets: NDArray[np.int64]
    coefficients: NDArray[np.float64]


def readout_table(job: Job, placement: Placement) -> ReadoutTable:
    """Where the outputs of a job come from."""
    program = job.program
    place, slot = placement.places[program.output], program.slots[program.output]
    cone = placement.layouts[slot.labels].strides.get(CONES, 0)
    scatter = job.scatter
    if scatter.open_outputs:
        d = round(slot.size**0.5)
        i, j = np.divmod(np.arange(d * d), d)
        imaginary = i > j  # as pack_density has it
        element = np.flatnonzero(~imaginary | slot.complex)
        within = place.base + element * place.stride + imaginary[element] * place.imag
        outputs = np.concatenate([first + element for first in scatter.open_outputs])
        offsets = np.concatenate([within + k * cone for k in range(job.cones)])
        return _sorted_readout(outputs, offsets, np.ones(len(outputs)))
    term, which = np.divmod(scatter.values, job.cones)
    offsets = place.base + term * place.stride + which * cone
    return _sorted_readout(scatter.outputs, offsets, scatter.coefficients)


def _sorted_readout(
    outputs: NDArray[np.intp], offsets: NDArray[np.int64], coefficients: NDArray[np.float64]
) -> ReadoutTable:
    order = np.argsort(outputs, kind="stable")
    found, starts = np.unique(outputs[order], return_index=True)
    return ReadoutTable(
        found.astype(np.int32),
        np.append(starts, len(outputs)).astype(np.int32),
        offsets[order].astype(np.int64),
        coefficients[order].astype(np.float64),
    )


def joined(parts: Sequence[NDArray[np.generic]]) -> tuple[NDArray[np.generic], list[slice]]:
    """Arrays of one dtype as a flat one, for a single upload, and where each lies in it."""
    ends = np.cumsum([part.size for part in parts])
    flat = np.concatenate([part.reshape(-1) for part in parts])
    return flat, [slice(end - part.size, end) for end, part in zip(ends, parts, strict=True)]
