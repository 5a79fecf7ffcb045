"""Steps one at a time as batched matrix products: for few points of the batch and big tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tn_qnn.arrays import array_module
from tn_qnn.program.program import Program, Slot, Stage, Step
from tn_qnn.program.tables import Roles, roles

Array = Any  # numpy or cupy


def run_dense(
    program: Program, stage: Stage, values: dict[int, Array], fixed: Mapping[int, int]
) -> dict[int, Array]:
    """Run a stage by BLAS.

    Parameters
    ----------
    program, stage
        What to run.
    values
        Source and exported slots that it reads, shape (C or 1, P or 1, S or 1, *slot.shape).
    fixed
        Values of the sliced indices.

    Returns
    -------
    dict
        The exported slots it writes, in the same form.
    """
    last_use = {slot: now for now, s in enumerate(stage.steps) for slot in (s.left, s.right)}
    live = dict(values)
    for now, step in enumerate(stage.steps):
        live[step.out] = step_product(program, step, live, fixed)
        for slot in {step.left, step.right}:
            if last_use[slot] == now and slot not in program.exported:
                live.pop(slot, None)
    return {s.out: live[s.out] for s in stage.steps if s.out in program.exported}


def dense_peak(program: Program, stage: Stage, sizes: Mapping[str, int]) -> int:
    """Most scalars that :func:`run_dense` holds at once, copies of operands included."""

    def scalars(number: int) -> int:
        slot = program.slots[number]
        batch = math.prod(sizes[x] for x in slot.labels)
        return slot.size * slot.planes * batch

    last_use = {slot: now for now, s in enumerate(stage.steps) for slot in (s.left, s.right)}
    made = {step.out for step in stage.steps}
    live = {n: scalars(n) for n in last_use if n not in made}
    peak = 0
    for now, step in enumerate(stage.steps):
        live[step.out] = scalars(step.out)
        # a transposed operand is copied for BLAS
        peak = max(peak, sum(live.values()) + scalars(step.left) + scalars(step.right))
        for slot in {step.left, step.right}:
            if last_use[slot] == now and slot not in program.exported:
                live.pop(slot, None)
    return peak


def step_product(
    program: Program, step: Step, live: Mapping[int, Array], fixed: Mapping[int, int]
) -> Array:
    """One step as matrix products, operands and result as in :func:`run_dense`."""
    r = roles(program, step)
    left = _matrix(program.slots[step.left], live[step.left], fixed, r, (r.h, r.m, r.k))
    right = _matrix(program.slots[step.right], live[step.right], fixed, r, (r.h, r.k, r.n))
    product = left @ right
    natural = (*r.h, *r.m, *r.n)
    full = product.reshape(*product.shape[:3], *(r.sizes[i] for i in natural))
    out = program.slots[step.out].indices
    if out == natural:
        return full
    return full.transpose(0, 1, 2, *(3 + natural.index(i) for i in out))


def spread(slot: Slot, values: Array) -> Array:
    """Elements first, (elements, C, P, S), as (C, P, S, *shape)."""
    return array_module(values).moveaxis(values, 0, -1).reshape(*values.shape[1:], *slot.shape)


def _matrix(
    slot: Slot,
    value: Array,
    fixed: Mapping[int, int],
    r: Roles,
    groups: tuple[tuple[int, ...], ...],
) -> Array:
    """A value as (C, P, S, h, rows, columns); an index that it lacks is broadcast or summed."""
    kept = value[(..., *(fixed.get(i, slice(None)) for i in slot.indices))]
    mine = [i for i in slot.indices if i not in fixed]
    wanted = [i for group in groups for i in group]
    order = [mine.index(i) for i in wanted if i in mine]
    moved = kept.transpose(0, 1, 2, *(3 + k for k in order))
    shape = [r.sizes[i] if i in mine else 1 for i in wanted]
    full = [r.sizes[i] for i in wanted]
    moved = moved.reshape(*moved.shape[:3], *shape)
    if shape != full:
        moved = array_module(moved).broadcast_to(moved, (*moved.shape[:3], *full))
    return moved.reshape(*moved.shape[:3], *(r.count(group) for group in groups))
