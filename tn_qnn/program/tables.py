"""A step as index arithmetic: which elements of its slots meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tn_qnn.program.program import Program, Slot, Step


@dataclass(frozen=True)
class Roles:
    """Indices of a step by role.

    Attributes
    ----------
    h
        On both operands and on the result: a batch of small matrix products.
    m, n
        On the result and one operand, left or right.
    k
        Summed.
    sizes
        Size of each index.
    """

    h: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    sizes: Mapping[int, int]

    def count(self, indices: Iterable[int]) -> int:
        """Number of values that some indices take together."""
        return math.prod([self.sizes[i] for i in indices])


def roles(program: Program, step: Step) -> Roles:
    """Sort the indices of a step by role; sliced indices have none."""
    key = ("roles", step)
    if key not in program.memo:
        program.memo[key] = _roles(program, step)
    found: Roles = program.memo[key]
    return found


def _roles(program: Program, step: Step) -> Roles:
    left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
    sizes = dict(zip(left.indices, left.shape, strict=True))
    sizes |= dict(zip(right.indices, right.shape, strict=True))
    a = [i for i in left.indices if i not in program.sliced]
    b = [i for i in right.indices if i not in program.sliced]
    kept = out.indices
    return Roles(
        tuple(i for i in kept if i in a and i in b),
        tuple(i for i in kept if i in a and i not in b),
        tuple(i for i in kept if i in b and i not in a),
        tuple(i for i in dict.fromkeys([*a, *b]) if i not in kept),
        sizes,
    )


def element_strides(slot: Slot) -> dict[int, int]:
    """Distance in elements along each index of a slot."""
    strides, step = {}, 1
    for index, size in zip(reversed(slot.indices), reversed(slot.shape), strict=True):
        strides[index] = step
        step *= size
    return strides


def offsets(slot: Slot, indices: Iterable[int], sizes: Mapping[int, int]) -> NDArray[np.int64]:
    """Element offset in a slot for every value of some indices, the last one fastest.

    An index that the slot lacks has stride 0.
    """
    strides = element_strides(slot)
    total = np.zeros(1, dtype=np.int64)
    for i in indices:
        along = np.arange(sizes[i], dtype=np.int64) * strides.get(i, 0)
        total = np.add.outer(total, along).reshape(-1)
    return total


def step_tables(program: Program, step: Step) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Sizes (H, M, N, K) and the nine offset tables of a step, one after the other.

    The order of the tables is left h, m, k; right h, k, n; out h, m, n.
    """
    key = ("tables", step)
    if key not in program.memo:
        program.memo[key] = _step_tables(program, step)
    found: tuple[tuple[int, ...], NDArray[np.int64]] = program.memo[key]
    return found


def table_bytes(program: Program, step: Step) -> int:
    """Bytes of a step's tables, without making them."""
    r = roles(program, step)
    return 8 * (3 * r.count(r.h) + 2 * (r.count(r.m) + r.count(r.n) + r.count(r.k)))


def _step_tables(program: Program, step: Step) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    r = roles(program, step)
    left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
    parts = [
        *(offsets(left, x, r.sizes) for x in (r.h, r.m, r.k)),
        *(offsets(right, x, r.sizes) for x in (r.h, r.k, r.n)),
        *(offsets(out, x, r.sizes) for x in (r.h, r.m, r.n)),
    ]
    return tuple(r.count(x) for x in (r.h, r.m, r.n, r.k)), np.concatenate(parts)
