"""A job: one program, the equal cones that run it, and where their values go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.circuit.blocks import block_matrices
from tn_qnn.circuit.observables import pack_density
from tn_qnn.network.canonical import Cone
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.program.angles import AngleTable, angle_table
from tn_qnn.program.program import BlockInput, Program


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Where a tensor-valued weight finds its coordinates.

    Attributes
    ----------
    columns
        Weight columns, shape (cones or 1, weights of the block).
    num_qubits, real
        Its size and kind.
    """

    columns: NDArray[np.intp]
    num_qubits: int
    real: bool

    def matrices(self, weights: Array) -> Array:
        """All its matrices, shape (cones, P, S or 1, d, d); of the weights' module."""
        picked = weights[..., beside(self, weights).columns]  # (P, [S,] cones, n)
        picked = array_module(weights).moveaxis(picked, -2, 0)
        if weights.ndim == 2:
            picked = picked[:, :, None]
        return block_matrices(picked, self.num_qubits, self.real)


@dataclass(frozen=True, eq=False)
class Addends:
    """Values that are added to outputs which are all different: one indexed addition.

    Attributes
    ----------
    outputs, values, coefficients
        As in :class:`Scatter`.
    """

    outputs: NDArray[np.intp]
    values: NDArray[np.intp]
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scatter:
    """How a job's values add up to the outputs of a model.

    Attributes
    ----------
    outputs, values, coefficients
        ``out[outputs[i]] += coefficients[i] * value[values[i]]``, value flattened over
        (term, cone); shapes (n,).
    open_outputs
        For an open readout: the first output of each cone; else empty.
    """

    outputs: NDArray[np.intp]
    values: NDArray[np.intp]
    coefficients: NDArray[np.float64]
    open_outputs: tuple[int, ...]

    @cached_property
    def _rounds(self) -> tuple[Addends, ...]:
        """First addends of all outputs, second ones, ...: a fixed order, without atomics."""
        order = np.argsort(self.outputs, kind="stable")
        counts = np.unique(self.outputs, return_counts=True)[1]
        turn = np.empty(len(order), dtype=np.intp)
        turn[order] = np.concatenate([np.arange(count) for count in counts])
        return tuple(
            Addends(self.outputs[now], self.values[now], self.coefficients[now])
            for now in (turn == k for k in range(counts.max()))
        )

    def add(self, values: Array, out: Array) -> None:
        """Add values (terms, cones, P, S) to the outputs (K, P, S), both NumPy or CuPy."""
        if self.open_outputs:
            xp = array_module(values)
            d = int(np.sqrt(len(values)))
            rho = xp.moveaxis(values.reshape(d, d, *values.shape[1:]), (0, 1), (-2, -1))
            packed = pack_density(rho)
            for cone, first in enumerate(self.open_outputs):
                out[first : first + d * d] += xp.moveaxis(packed[cone], -1, 0)
            return
        flat = values.real.reshape(-1, *values.shape[2:])
        for addends in (beside(some, values) for some in self._rounds):
            scale = addends.coefficients.astype(flat.dtype)[:, None, None]
            out[addends.outputs] += flat[addends.values] * scale


@dataclass(frozen=True, eq=False)
class Job:
    """What a backend runs.

    Attributes
    ----------
    program
        The common program.
    cones
        How many equal cones run it.
    tables
        Angle tables by label set.
    blocks
        Block tables by position of the element in the cone.
    scatter
        Where the values go.
    """

    program: Program
    cones: int
    tables: Mapping[tuple[str, ...], AngleTable]
    blocks: Mapping[int, BlockTable]
    scatter: Scatter

    def input_bytes(self, sets: int, samples: int) -> int:
        """Bytes of the temporaries by which angles and blocks are worked out, about."""
        sizes = {CONES: self.cones, SETS: sets, SAMPLES: samples}

        def batch(labels: tuple[str, ...]) -> int:
            return math.prod(sizes[x] for x in labels)

        slots = self.program.slots
        angles = [3 * 8 * t.rows * batch(labels) for labels, t in self.tables.items()]
        entries = [
            4 ** self.blocks[b.element].num_qubits * batch(slots[b.slot].labels)
            for b in self.program.blocks
        ]
        # generator, eigenvectors, their product and the result of a block are complex128
        return max(angles, default=0) + 4 * 16 * sum(entries)


def make_job(program: Program, cones: Sequence[Cone], weight_index: Mapping[str, int]) -> Job:
    """Fill in what differs between cones of one program."""
    tables = {
        labels: angle_table(
            labels, [[c.elements[e].angle for c in cones] for e in elements], weight_index
        )
        for labels, elements in program.row_elements.items()
    }
    blocks = {b.element: _block_table(program, b, cones, weight_index) for b in program.blocks}
    return Job(program, len(cones), tables, blocks, _scatter(cones))


def _block_table(
    program: Program, entry: BlockInput, cones: Sequence[Cone], weight_index: Mapping[str, int]
) -> BlockTable:
    some = cones if CONES in program.slots[entry.slot].labels else cones[:1]
    elements = [c.elements[entry.element] for c in some]
    columns = [[weight_index[name] for name in e.weights] for e in elements]
    block = elements[0].block
    assert block is not None
    return BlockTable(np.array(columns, dtype=np.intp), len(elements[0].wires), block.real)


def _scatter(cones: Sequence[Cone]) -> Scatter:
    if not cones[0].terms:
        firsts = tuple(c.parts[0][0][0] for c in cones)
        none = np.zeros(0, dtype=np.intp)
        return Scatter(none, none, np.zeros(0), firsts)
    rows = [
        (output, term * len(cones) + k, coefficient)
        for k, cone in enumerate(cones)
        for term, parts in enumerate(cone.parts)
        for output, coefficient in parts
    ]
    outputs, values, coefficients = zip(*rows, strict=True)
    return Scatter(
        np.array(outputs, dtype=np.intp),
        np.array(values, dtype=np.intp),
        np.array(coefficients, dtype=float),
        (),
    )


def block_slot_values(entry: BlockInput, matrices: Array) -> Array:
    """A block's matrices as the elements of its slot, shape (elements, cones, P, S)."""
    d = matrices.shape[-1]
    k = d.bit_length() - 1
    batch = matrices.shape[:-2]
    tensor = matrices.reshape(*batch, *(2,) * (2 * k))
    lead = len(batch)
    interleaved = [lead + axis for q in range(k) for axis in (q, k + q)]
    tensor = tensor.transpose(*interleaved, *range(lead))
    kept = tensor[tuple(0 if f else slice(None) for f in entry.fixed)]
    flat = kept.reshape(-1, *batch)
    return flat.conj() if entry.conj else flat
