"""The program: a flat list of named Steps over Slots, in stages by what they depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.network.network import Network
from tn_qnn.plan.plan import Plan


@dataclass(frozen=True)
class Slot:
    """A value of the program: a small tensor for every point of a batch.

    Attributes
    ----------
    indices, shape
        Index ids in row-major order, and their sizes. The trigonometric index of an angle
        has the id ``TRIG``.
    labels
        Batch labels it depends on, in layout order.
    complex
        Whether it has an imaginary plane.
    source
        True where no step writes it: constants, angles, tensor-valued weights.
    """

    indices: tuple[int, ...]
    shape: tuple[int, ...]
    labels: tuple[str, ...]
    complex: bool
    source: bool

    @cached_property
    def size(self) -> int:
        """Elements for one point of the batch."""
        return math.prod(self.shape)

    @property
    def planes(self) -> int:
        """1 for real, 2 for complex."""
        return 2 if self.complex else 1


#: Index id of the functions (cos, sin, 1) of an angle.
TRIG = -1


@dataclass(frozen=True)
class Step:
    """``out[h, m, n] = sum_k left[h, m, k] right[h, k, n]`` for every point of the batch.

    Attributes
    ----------
    left, right, out
        Slots. Every index of ``left`` and ``right`` that ``out`` lacks is summed.
    """

    left: int
    right: int
    out: int


@dataclass(frozen=True)
class Stage:
    """Steps whose results depend on the same batch labels; one call of an interpreter."""

    labels: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class AngleRow:
    """Where a trigonometric slot gets its angle: a row of the angle table of its labels."""

    slot: int
    row: int


@dataclass(frozen=True, eq=False)
class BlockInput:
    """A slot that holds the matrices of a tensor-valued weight.

    Attributes
    ----------
    slot
        The slot to be filled.
    element
        Position of the block in the cone.
    conj
        Whether the complex conjugate is wanted.
    fixed
        Axes of the block's tensor that are fixed to |0>.
    """

    slot: int
    element: int
    conj: bool
    fixed: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A network lowered along a plan.

    Attributes
    ----------
    network, plan
        What it was made from.
    slots
        All values.
    stages
        In order; a stage reads what it and earlier stages have written.
    constants
        Values of the constant slots, complex128, in the shape of the slot.
    angles
        Trigonometric slots: elements are (cos, sin, 1) of the angle, or (cos, sin).
    row_elements
        For each label set, the element of the cone that gives each angle row.
    blocks
        Slots of tensor-valued weights.
    output
        The slot with the result, its indices in the order of the network's output.
    sliced
        Index ids that an outer loop fixes; the result is the sum over their values.
    """

    network: Network
    plan: Plan
    slots: tuple[Slot, ...]
    stages: tuple[Stage, ...]
    constants: Mapping[int, NDArray[np.complex128]]
    angles: tuple[AngleRow, ...]
    row_elements: Mapping[tuple[str, ...], tuple[int, ...]]
    blocks: tuple[BlockInput, ...]
    output: int
    sliced: tuple[int, ...]

    @cached_property
    def memo(self) -> dict[tuple[str, Step], Any]:
        """What has been worked out about steps, kept as long as the program."""
        return {}

    @cached_property
    def slices(self) -> int:
        """Number of slices."""
        return math.prod([self.network.sizes[i] for i in self.sliced])

    @cached_property
    def exported(self) -> frozenset[int]:
        """Slots written by one stage and read by another, and the output."""
        stage_of = {step.out: k for k, stage in enumerate(self.stages) for step in stage.steps}
        read = {
            slot
            for k, stage in enumerate(self.stages)
            for step in stage.steps
            for slot in (step.left, step.right)
            if stage_of.get(slot, k) != k
        }
        return frozenset(read | {self.output})

    def multiply_adds(self, sizes: Mapping[str, int]) -> int:
        """Multiply-adds of one run over a batch of the given sizes, all slices."""
        total = 0
        for stage in self.stages:
            batch = math.prod([sizes[x] for x in stage.labels])
            total += batch * sum(self.step_size(step) for step in stage.steps)
        return total * self.slices

    def step_size(self, step: Step) -> int:
        """Real multiply-adds of a step for one point of the batch."""
        size = dict(zip(self.slots[step.left].indices, self.slots[step.left].shape, strict=True))
        size |= zip(self.slots[step.right].indices, self.slots[step.right].shape, strict=True)
        points = math.prod([n for i, n in size.items() if i not in self.sliced])
        return points * self.slots[step.left].planes * self.slots[step.right].planes
