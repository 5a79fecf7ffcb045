"""Sums over labels of the batch, as a reverse sweep takes them: the rows that the kernel reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.program.placement import Placement
from tn_qnn.program.program import Program, Sum

ROW = 24  # integers of a row
KEPT, SUMMED = 4, 3  # axes of a row
WARP = 32


def results(program: Program, total: Sum, sizes: Mapping[str, int]) -> int:
    """Scalars that a sum gives."""
    slot = program.slots[total.out]
    return slot.size * slot.planes * math.prod(sizes[x] for x in slot.labels)


def lanes(program: Program, total: Sum) -> int:
    """Threads that share a result: a warp where values that lie side by side are summed."""
    innermost = program.slots[total.value].labels[-1]
    return 1 if innermost in program.slots[total.out].labels else WARP


def sum_rows(program: Program, placement: Placement, sums: Sequence[Sum]) -> NDArray[np.int64]:
    """Rows of the kernel ``sum_batch``, shape (sums, 24)."""
    rows = np.zeros((len(sums), ROW), dtype=np.int64)
    for row, total in zip(rows, sums, strict=True):
        at, inside = placement.axes(program, total.value)
        to, outside = placement.axes(program, total.out)
        both = [(n, a, b) for (n, a), (m, b) in zip(inside, outside, strict=True) if n == m]
        kept = [axis for axis in both if axis[0] > 1]
        summed = [x for x, (m, _) in zip(inside, outside, strict=True) if x[0] > m]
        kept = [(1, 0, 0)] * (KEPT - len(kept)) + kept
        summed = [(1, 0)] * (SUMMED - len(summed)) + summed
        entries = [at, to, lanes(program, total)]
        entries += [n for axis in (*kept, *summed) for n in axis]
        row[: len(entries)] = entries
    return rows
