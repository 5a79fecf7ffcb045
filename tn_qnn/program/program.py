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
        has the id ``TRIG``, a second one ``TRIG_BRA``.
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


#: Index ids of the functions (cos, sin, 1) of an angle; the second is that of a pair's bra.
TRIG, TRIG_BRA = -1, -2


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
class Sum:
    """A slot summed over batch labels; only a reverse sweep has any.

    Attributes
    ----------
    value, out
        Slots of equal indices and shape; every label of ``value`` that ``out`` lacks is summed.
    """

    value: int
    out: int


@dataclass(frozen=True)
class Stage:
    """Steps whose results depend on the same batch labels; one call of an interpreter.

    Sums are taken when all steps are done.
    """

    labels: tuple[str, ...]
    steps: tuple[Step, ...]
    sums: tuple[Sum, ...] = ()


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


@dataclass(frozen=True)
class GivenInput:
    """A slot with a value that was worked out beforehand, and which of these it is."""

    slot: int
    number: int


@dataclass(frozen=True)
class Pair:
    """A leaf that is linear in an angle's functions in the ket, and in those in the bra.

    Attributes
    ----------
    leaf, constant
        Slots of the leaf, and of the constant that it was made of.
    ket, bra
        Slots of the functions, both of one row of the angle table.
    """

    leaf: int
    constant: int
    ket: int
    bra: int


@dataclass(frozen=True)
class Form:
    """A pair, and the slot of its M: the value is ``t^T M t``, t the functions of its angle."""

    pair: Pair
    slot: int


@dataclass(frozen=True)
class Environment:
    """What the rest of the network makes of a source: the value's derivative by it.

    Of a source that stands in ket and bra it is the ket's part; the value is real, so its
    derivative by the source is twice the real part.

    Attributes
    ----------
    source, slot
        An angle's functions or a tensor-valued weight, and the slot of its environment, of equal
        labels; indices that are sliced are left out.
    """

    source: int
    slot: int


@dataclass(frozen=True, eq=False)
class Reverse:
    """The sweep back through a program, from its output to the environments of its weights.

    Attributes
    ----------
    seed
        Source with the derivative of the loss by the output, filled before the sweep.
    stages
        Run after the forward ones, on what these have exported.
    environments
        One for every source that depends on weights.
    forms
        One for every pair, in the place of environments.
    """

    seed: int
    stages: tuple[Stage, ...]
    environments: tuple[Environment, ...]
    forms: tuple[Form, ...] = ()

    @property
    def found(self) -> frozenset[int]:
        """All slots for whose sake it runs."""
        return frozenset(e.slot for e in self.environments) | {form.slot for form in self.forms}

    @cached_property
    def around(self) -> dict[int, int]:
        """The environment of each source."""
        return {found.source: found.slot for found in self.environments}


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
    bras
        Slots of leaves of the bra alone, whose environments the ket's make superfluous.
    reverse
        The sweep back, where gradients are wanted.
    given
        Slots of values that were worked out beforehand.
    pairs
        Leaves that hold a gate's tensors in ket and bra.
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
    bras: frozenset[int] = frozenset()
    reverse: Reverse | None = None
    given: tuple[GivenInput, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @cached_property
    def all_stages(self) -> tuple[Stage, ...]:
        """Forward stages, then those of the sweep back."""
        return self.stages + (self.reverse.stages if self.reverse else ())

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
        """Slots that outlive their stage: read by another or summed, the output, environments."""
        stages = self.all_stages
        stage_of = {step.out: k for k, stage in enumerate(stages) for step in stage.steps}
        sums = [total for stage in stages for total in stage.sums]
        read = {
            slot
            for k, stage in enumerate(stages)
            for step in stage.steps
            for slot in (step.left, step.right)
            if stage_of.get(slot, k) != k
        }
        kept = {slot for total in sums for slot in (total.value, total.out)}
        found = self.reverse.found if self.reverse else frozenset()
        return frozenset(read | kept | found | {self.output})

    def multiply_adds(self, sizes: Mapping[str, int]) -> int:
        """Multiply-adds of one run over a batch of the given sizes, all slices."""
        total = 0
        for stage in self.all_stages:
            batch = math.prod([sizes[x] for x in stage.labels])
            total += batch * sum(self.step_size(step) for step in stage.steps)
        return total * self.slices

    def step_size(self, step: Step) -> int:
        """Real multiply-adds of a step for one point of the batch."""
        size = dict(zip(self.slots[step.left].indices, self.slots[step.left].shape, strict=True))
        size |= zip(self.slots[step.right].indices, self.slots[step.right].shape, strict=True)
        points = math.prod([n for i, n in size.items() if i not in self.sliced])
        return points * self.slots[step.left].planes * self.slots[step.right].planes
