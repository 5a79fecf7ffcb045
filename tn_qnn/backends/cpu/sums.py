"""Sums over batch labels, all those of a stage in one call."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.program.placement import Placement
from tn_qnn.program.program import Program, Sum

BLOCK = 256  # lanes that are summed in the arena's own precision, blocks then in double
ROW = 17  # elements, planes, C, P, S; then base, imag, stride and strides of C, P, S, in and out


def sum_rows(program: Program, placement: Placement, sums: Iterable[Sum]) -> NDArray[np.int64]:
    """Sums as rows of integers, shape (sums, 17)."""
    rows = []
    for total in sums:
        base, (planes, elements, *batch) = placement.axes(program, total.value)
        start, (plane, element, *held) = placement.axes(program, total.out)
        row = [elements[0], planes[0], *(count for count, _ in batch)]
        row += [base, planes[1], elements[1], *(stride for _, stride in batch)]
        row += [start, plane[1], element[1], *(stride for _, stride in held)]
        rows.append(row)
    return np.array(rows, dtype=np.int64).reshape(-1, ROW)


def run_sums(arena: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Take the sums of a stage.

    The order of a sum depends on the sizes of the batch alone.

    Parameters
    ----------
    arena
        Shape (scalars,), float32 or float64.
    rows
        From :func:`sum_rows`.
    """
    _kernel()(arena, rows)


@functools.cache
def _kernel() -> Any:
    from numba import njit

    return njit(cache=True, nogil=True, fastmath={"reassoc"})(_sum_all)


def _sum_all(arena: Any, rows: Any) -> None:
    zero = arena[0] * 0  # of the arena's type
    for row in rows:
        elements, planes, cones, sets, samples = row[0], row[1], row[2], row[3], row[4]
        base, imag, stride, sc, sp = row[5], row[6], row[7], row[8], row[9]
        start, plane, element, oc, op, os = row[11], row[12], row[13], row[14], row[15], row[16]
        kept, lost = (cones, 1) if oc else (1, cones)
        for x in range(planes):
            for e in range(elements):
                for c in range(kept):
                    for p in range(sets):
                        src = base + x * imag + e * stride + c * sc + p * sp
                        dst = start + x * plane + e * element + c * oc + p * op
                        if os:  # samples lie side by side
                            arena[dst : dst + samples] = zero
                            for more in range(lost):
                                for s in range(samples):
                                    arena[dst + s] += arena[src + more * sc + s]
                            continue
                        total = 0.0
                        for more in range(lost):
                            for first in range(0, samples, BLOCK):
                                at = src + more * sc + first
                                part = zero
                                for value in arena[at : at + min(BLOCK, samples - first)]:
                                    part += value
                                total += part
                        arena[dst] = total
