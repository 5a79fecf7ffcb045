"""Steps as rows of integers, which the interpreters of all backends read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tn_qnn.program.arena import Scratch
from tn_qnn.program.placement import Placement
from tn_qnn.program.program import Program, Step
from tn_qnn.program.tables import element_strides, step_tables

#: Kinds of operands: one value for all lanes, one a lane in the arena, one a lane in scratch.
SPLAT, VECTOR, LOCAL = 0, 1, 2
STEP_COLUMNS, OPERAND = 32, 8


def operand_kind(program: Program, scratch: Scratch, labels: tuple[str, ...], number: int) -> int:
    """How a stage of a label set meets a slot."""
    if number in scratch.offsets:
        return LOCAL
    same = program.slots[number].labels == labels
    return VECTOR if same or labels[-1] in program.slots[number].labels else SPLAT


def step_row(
    program: Program,
    placement: Placement,
    scratch: Scratch,
    labels: tuple[str, ...],
    step: Step,
    first: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[tuple[int, ...], ...]]:
    """A step for an interpreter.

    Parameters
    ----------
    program, placement
        What runs, and where its slots lie in the arena.
    scratch
        Where intermediates lie that the arena does not hold.
    labels
        Of the step's stage.
    step
        If one operand only is a splat, let it be the left one.
    first
        Where the step's tables begin among all tables.

    Returns
    -------
    row
        Shape (32,): H, M, N, K, first, 0, 0, 0, then kind, base, imag, stride, s0, s1, 0, 0 of
        left, right and out.
    tables
        The nine offset tables.
    moves
        For left, right and out: by how many scalars the base moves with each sliced index.
    """
    sizes, tables = step_tables(program, step)
    row = np.zeros(STEP_COLUMNS, dtype=np.int64)
    row[:5] = (*sizes, first)
    numbers = (step.left, step.right, step.out)
    for k, number in enumerate(numbers, start=1):
        row[OPERAND * k : OPERAND * k + 6] = _operand(program, placement, scratch, labels, number)
    return row, tables, tuple(_moves(program, placement, number) for number in numbers)


def _operand(
    program: Program,
    placement: Placement,
    scratch: Scratch,
    labels: tuple[str, ...],
    number: int,
) -> tuple[int, ...]:
    slot, kind = program.slots[number], operand_kind(program, scratch, labels, number)
    if kind == LOCAL:
        return kind, scratch.offsets[number], slot.size if slot.complex else 0, 0, 0, 0
    place, strides = placement.places[number], placement.layouts[slot.labels].strides
    s0, s1 = (strides.get(x, 0) for x in placement.layouts[labels].outer)
    return kind, place.base, place.imag, place.stride, s0, s1


def _moves(program: Program, placement: Placement, number: int) -> tuple[int, ...]:
    strides = element_strides(program.slots[number])
    scale = placement.places[number].stride if number in placement.places else 0
    return tuple(strides.get(i, 0) * scale for i in program.sliced)
