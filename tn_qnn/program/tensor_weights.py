"""Matrices of tensor-valued weights for a job: all blocks of one kind at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.circuit.blocks import Block, Chart, block_gradient, block_matrices
from tn_qnn.program.program import BlockInput, Program, Slot
from tn_qnn.program.sparse import SparseSum


@dataclass(frozen=True, eq=False)
class _Matrices:
    matrices: Array


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Blocks of one kind and size, whose matrices are worked out together.

    Attributes
    ----------
    elements
        Positions of the blocks in the cone, E of them.
    columns
        Weight columns, shape (E, cones or 1, coordinates of the block); -1 for a frozen one.
    values
        What frozen coordinates are, of the same shape.
    num_qubits, block
        Size, and kind and chart (its name means nothing).
    """

    elements: tuple[int, ...]
    columns: NDArray[np.intp]
    values: NDArray[np.float64]
    num_qubits: int
    block: Block

    @cached_property
    def frozen(self) -> bool:
        """True where no coordinate of any block is a weight."""
        return not (self.columns >= 0).any()

    def matrices(self, weights: Array) -> Array:
        """All matrices, shape (E, cones or 1, P or 1, S or 1, d, d); of the weights' module."""
        if self.frozen:
            return beside(self._constant, weights).matrices
        return block_matrices(self._coordinates(weights), *self._kind)

    def pull_back(self, cotangents: Array, weights: Array, gradient: Array) -> None:
        """Add the derivative by the weights.

        Parameters
        ----------
        cotangents
            Shape (E, cones or 1, P, 1, d, d): dL = Re sum(cotangent * dU).
        weights
            Shape (P, W), float64.
        gradient
            Shape (P, W), float64, is added to.
        """
        found = block_gradient(self._coordinates(weights), cotangents, *self._kind)
        # (E, cones, P, n) to one row a coordinate
        rows = array_module(found).moveaxis(found[:, :, :, 0], 2, -1)
        self._scatter.add(rows.reshape(-1, len(weights)), gradient.T)

    @property
    def _kind(self) -> tuple[int, bool, Chart]:
        return self.num_qubits, self.block.real, self.block.chart

    @cached_property
    def _constant(self) -> _Matrices:
        return _Matrices(block_matrices(self.values[:, :, None, None], *self._kind))

    @cached_property
    def _scatter(self) -> SparseSum:
        free = np.flatnonzero(self.columns >= 0)
        return SparseSum(self.columns.reshape(-1)[free], free, None)

    @cached_property
    def _mixed(self) -> bool:
        return bool((self.columns < 0).any())

    def _coordinates(self, weights: Array) -> Array:
        """Shape (E, cones or 1, P, S or 1, coordinates)."""
        here = beside(self, weights)
        picked = weights[..., here.columns]  # (P, [S,] E, cones, n)
        if self._mixed:
            picked = array_module(weights).where(here.columns < 0, here.values, picked)
        picked = array_module(weights).moveaxis(picked, (-3, -2), (0, 1))
        return picked[:, :, :, None] if weights.ndim == 2 else picked


def block_tables(
    entries: Sequence[BlockInput],
    columns: Mapping[int, Sequence[Sequence[int | float]]],
    kinds: Mapping[int, tuple[int, Block]],
) -> tuple[BlockTable, ...]:
    """Group the blocks of a program.

    Parameters
    ----------
    entries
        Slots of tensor-valued weights, of ket and bra.
    columns
        By element, the weight columns in each cone; of one cone where all share them. A float
        is the value of a frozen coordinate.
    kinds
        By element, number of qubits and block.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for element in dict.fromkeys(entry.element for entry in entries):
        qubits, block = kinds[element]
        rows = columns[element]
        frozen = all(isinstance(column, float) for row in rows for column in row)
        key = qubits, block.kind, block.chart, len(rows), frozen
        groups.setdefault(key, []).append(element)
    return tuple(
        BlockTable(tuple(elements), *_split([columns[e] for e in elements]), *kinds[elements[0]])
        for elements in groups.values()
    )


def _split(
    given: Sequence[Sequence[Sequence[int | float]]],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Columns, -1 for a frozen coordinate, and the values of these."""
    frozen = [[[isinstance(c, float) for c in row] for row in rows] for rows in given]
    numbers = np.array(given, dtype=np.float64)
    return np.where(frozen, -1, numbers).astype(np.intp), np.where(frozen, numbers, 0.0)


@dataclass(frozen=True)
class BlockGroup:
    """Slots of tensor-valued weights of one form, which lie side by side and move as one.

    Attributes
    ----------
    entries
        E of them, equal but for slot and element.
    """

    entries: tuple[BlockInput, ...]

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """Their slots."""
        return tuple(entry.slot for entry in self.entries)


def block_groups(program: Program) -> tuple[BlockGroup, ...]:
    """The blocks of a program, those of one form together."""
    found: dict[Hashable, list[BlockInput]] = {}
    for entry in program.blocks:
        slot = program.slots[entry.slot]
        lost = tuple(axis for axis, i in enumerate(slot.indices) if i in program.sliced)
        which = tuple(slot.indices[axis] for axis in lost)
        key = entry.conj, entry.fixed, slot.labels, slot.complex, lost, which
        found.setdefault(key, []).append(entry)
    return tuple(BlockGroup(tuple(entries)) for entries in found.values())


def block_slot_values(entry: BlockInput, matrices: Array) -> Array:
    """A block's matrices (..., d, d) as the elements of its slot, shape (elements, ...)."""
    d = matrices.shape[-1]
    k = d.bit_length() - 1
    batch = matrices.shape[:-2]
    tensor = matrices.reshape(*batch, *(2,) * (2 * k))
    lead = len(batch)
    tensor = tensor.transpose(*(lead + axis for axis in _interleaved(k)), *range(lead))
    kept = tensor[tuple(0 if f else slice(None) for f in entry.fixed)]
    flat = kept.reshape(-1, *batch)
    return flat.conj() if entry.conj else flat


def block_slot_cotangent(entry: BlockInput, environment: Array) -> Array:
    """Elements of a slot's environment (elements, ...) as matrices (..., d, d).

    What :func:`block_slot_values` leaves out, columns that never meet a qubit but in |0>, is zero.
    """
    xp = array_module(environment)
    batch = environment.shape[1:]
    k = len(entry.fixed) // 2
    full = xp.zeros((*(2,) * (2 * k), *batch), dtype=environment.dtype)
    kept = tuple(0 if f else slice(None) for f in entry.fixed)
    full[kept] = environment.reshape(full[kept].shape)
    back = np.argsort(_interleaved(k)).tolist()
    matrices = full.transpose(*(2 * k + axis for axis in range(len(batch))), *back)
    return matrices.reshape(*batch, 2**k, 2**k)


def unsliced(slot: Slot, values: Array, fixed: Mapping[int, int]) -> Array:
    """Elements of an environment as those of its source: zero where a slice leaves indices out.

    Parameters
    ----------
    slot
        The source.
    values
        Shape (elements without the sliced indices, ...).
    fixed
        Values of all sliced indices.
    """
    if not fixed.keys() & set(slot.indices):
        return values
    full = array_module(values).zeros((*slot.shape, *values.shape[1:]), dtype=values.dtype)
    where = tuple(fixed.get(i, slice(None)) for i in slot.indices)
    full[where] = values.reshape(full[where].shape)
    return full.reshape(-1, *values.shape[1:])


def _interleaved(k: int) -> list[int]:
    """Axes of a matrix on k qubits, out and in of each qubit side by side."""
    return [axis for q in range(k) for axis in (q, k + q)]
