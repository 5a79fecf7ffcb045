"""A job: one program, the equal cones that run it, and where their values go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module
from tn_qnn.circuit.blocks import Block
from tn_qnn.circuit.observables import pack_density
from tn_qnn.network.canonical import Cone
from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS
from tn_qnn.program.angles import NOTHING, AngleTable, angle_table
from tn_qnn.program.given import NO_SUPPLY, GivenTable, Supply, given_tables
from tn_qnn.program.program import Program
from tn_qnn.program.sparse import SparseSum
from tn_qnn.program.tensor_weights import (
    BlockGroup,
    BlockTable,
    block_groups,
    block_slot_cotangent,
    block_slot_values,
    block_tables,
    unsliced,
)


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
    def _sums(self) -> SparseSum:
        return SparseSum(self.outputs, self.values, self.coefficients)

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
        self._sums.add(values.real.reshape(-1, *values.shape[2:]), out)

    def by_cone(self, values: Array, cones: slice, num_cones: int, num_outputs: int) -> Array:
        """What each cone alone adds to the outputs, shape (cones, K, ...).

        Parameters
        ----------
        values
            Shape (terms, cones, ...), of some of the cones; NumPy.
        cones
            Which.
        num_cones, num_outputs
            Of the job, and K.
        """
        terms, count, *batch = values.shape
        out = np.zeros((count, num_outputs, *batch))
        if self.open_outputs:
            d = int(np.sqrt(terms))
            rho = np.moveaxis(values.reshape(d, d, *values.shape[1:]), (0, 1), (-2, -1))
            packed = np.moveaxis(pack_density(rho), -1, 1)
            for place, first in enumerate(self.open_outputs[cones]):
                out[place, first : first + d * d] = packed[place]
            return out
        term, cone = np.divmod(self.values, num_cones)
        here = (cone >= cones.start) & (cone < cones.stop)
        place = cone[here] - cones.start
        of, to = term[here] * count + place, place * num_outputs + self.outputs[here]
        flat = out.reshape(count * num_outputs, *batch)
        real = values.real.reshape(terms * count, *batch)
        SparseSum(to, of, self.coefficients[here]).add(real, flat)
        return out

    def pull_back(self, slopes: Array, terms: int, cones: int) -> Array:
        """Derivatives by the values, shape (terms, cones, P, S), of those by the outputs.

        Parameters
        ----------
        slopes
            Shape (K, P, S), float64.
        terms, cones
            Values of the program: terms, or elements of a density matrix, and cones.

        Returns
        -------
        array
            Real; for an open readout complex and Hermitian, so that the loss changes by the real
            part of ``sum(derivative * change)``.
        """
        xp = array_module(slopes)
        batch = slopes.shape[1:]
        if not self.open_outputs:
            out = xp.zeros((terms * cones, *batch))
            self._sums.transposed.add(slopes, out)
            return out.reshape(terms, cones, *batch)
        packed = xp.stack([slopes[first : first + terms] for first in self.open_outputs], axis=1)
        d = int(np.sqrt(terms))
        rho = packed.reshape(d, d, cones, *batch)
        lower = (xp.arange(d)[:, None] > xp.arange(d))[:, :, None, None, None]
        half = xp.where(lower, -0.5j * rho, 0.5 * rho)
        # the diagonal stands in both halves
        both = half + half.conj().swapaxes(0, 1)
        return both.reshape(terms, cones, *batch)


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
        Tables of the tensor-valued weights.
    scatter
        Where the values go.
    given
        Values that were worked out beforehand.
    """

    program: Program
    cones: int
    tables: Mapping[tuple[str, ...], AngleTable]
    blocks: tuple[BlockTable, ...]
    scatter: Scatter
    given: tuple[GivenTable, ...] = ()

    @cached_property
    def block_groups(self) -> tuple[BlockGroup, ...]:
        """Slots of tensor-valued weights that move as one."""
        return block_groups(self.program)

    def block_values(self, weights: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """E slots of tensor-valued weights, and their elements, (elements, E, cones, P, S)."""
        matrices = {
            element: found
            for table in self.blocks
            for element, found in zip(table.elements, table.matrices(weights), strict=True)
        }
        xp = array_module(weights)
        for group in self.block_groups:
            stacked = xp.stack([matrices[entry.element] for entry in group.entries])
            yield group.slots, block_slot_values(group.entries[0], stacked)

    def seed(self, slopes: Array) -> Array:
        """Values of the reverse sweep's seed, (elements, C or 1, P or 1, S or 1), from slopes.

        Parameters
        ----------
        slopes
            Derivatives of the loss by the outputs, shape (K, P, S), float64.
        """
        output = self.program.slots[self.program.output]
        values = self.scatter.pull_back(slopes, output.size, self.cones)
        lost = tuple(1 + k for k, label in enumerate(LABELS) if label not in output.labels)
        return values.sum(axis=lost, keepdims=True) if lost else values

    def pull_back_angles(
        self,
        labels: tuple[str, ...],
        environments: Array,
        functions: Array,
        weights: Array,
        features: Array,
        gradient: Array,
    ) -> None:
        """Add the derivative through the angles of a label set.

        Parameters
        ----------
        labels
            The label set.
        environments, functions
            Of (cos, sin, 1) of each angle, shape (3, rows, C or 1, P or 1, S or 1), and these.
        weights, features, gradient
            As :meth:`~tn_qnn.program.angles.AngleTable.pull_back` takes them.
        """
        around = environments[:2].astype(float)
        by_angles = 2 * (functions[0] * around[1] - functions[1] * around[0])
        self.tables[labels].pull_back(by_angles, weights, features, gradient)

    def pull_back_blocks(
        self, environments: Mapping[tuple[int, ...], Array], weights: Array, gradient: Array
    ) -> None:
        """Add the derivative through the tensor-valued weights.

        Parameters
        ----------
        environments
            By the slots of a group of the ket, (elements, E, C or 1, P or 1, 1).
        weights, gradient
            Shape (P, W), float64; ``gradient`` is added to.
        """
        cotangents: dict[int, Array] = {}
        for group in self.block_groups:
            if group.slots in environments:
                found = 2 * block_slot_cotangent(group.entries[0], environments[group.slots])
                cotangents |= zip((e.element for e in group.entries), found, strict=True)
        for table in (table for table in self.blocks if not table.frozen):
            array = array_module(gradient).stack([cotangents[e] for e in table.elements])
            table.pull_back(array, weights, gradient)

    def block_environments(
        self, read: Callable[[tuple[int, ...]], Array], fixed: Mapping[int, int]
    ) -> dict[tuple[int, ...], Array]:
        """What :meth:`pull_back_blocks` takes.

        Parameters
        ----------
        read
            Gives the values of a group of slots, (elements, E, C or 1, P or 1, S or 1).
        fixed
            Values of the sliced indices.
        """
        assert self.program.reverse is not None
        around, slots = self.program.reverse.around, self.program.slots
        return {
            group.slots: unsliced(
                slots[group.slots[0]], read(tuple(around[slot] for slot in group.slots)), fixed
            )
            for group in self.block_groups
            if group.slots[0] in around
        }

    def input_bytes(self, sets: int, samples: int) -> int:
        """Bytes of the temporaries by which angles and blocks are worked out, about."""
        sizes = {CONES: self.cones, SETS: sets, SAMPLES: samples}

        def batch(labels: tuple[str, ...]) -> int:
            return math.prod(sizes[x] for x in labels)

        slots = self.program.slots
        angles = [3 * 8 * t.rows * batch(labels) for labels, t in self.tables.items()]
        entries = [2 ** len(b.fixed) * batch(slots[b.slot].labels) for b in self.program.blocks]
        # generator, eigenvectors, their product and the result of a block are complex128
        return max(angles, default=0) + 4 * 16 * sum(entries)


def make_job(
    program: Program,
    cones: Sequence[Cone],
    weight_index: Mapping[str, int],
    frozen: Mapping[str, float] = NOTHING,
    supply: Supply = NO_SUPPLY,
) -> Job:
    """Fill in what differs between cones of one program.

    Parameters
    ----------
    program, cones
        What runs, and what runs it.
    weight_index
        Column of each weight that varies.
    frozen
        Values of the others.
    supply
        Values that were worked out beforehand.
    """
    tables = {
        labels: angle_table(
            labels, [[c.elements[e].angle for c in cones] for e in elements], weight_index, frozen
        )
        for labels, elements in program.row_elements.items()
    }
    blocks = _blocks(program, cones, {**weight_index, **frozen})
    given = tuple(given_tables(program, cones, supply))
    return Job(program, len(cones), tables, blocks, _scatter(cones), given)


def _blocks(
    program: Program, cones: Sequence[Cone], column_of: Mapping[str, int | float]
) -> tuple[BlockTable, ...]:
    columns: dict[int, list[list[int | float]]] = {}
    kinds: dict[int, tuple[int, Block]] = {}
    for entry in program.blocks:
        some = cones if CONES in program.slots[entry.slot].labels else cones[:1]
        elements = [c.elements[entry.element] for c in some]
        block = elements[0].block
        assert block is not None
        columns[entry.element] = [[column_of[name] for name in e.weights] for e in elements]
        kinds[entry.element] = len(elements[0].wires), block
    return block_tables(program.blocks, columns, kinds)


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
