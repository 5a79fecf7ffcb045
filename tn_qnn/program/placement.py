"""Addresses in the arena: every slot that outlives a stage, for one batch size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS
from tn_qnn.program.arena import POINT, Layout, is_flat, make_layout, padded
from tn_qnn.program.given import given_by_labels
from tn_qnn.program.program import Program
from tn_qnn.program.tensor_weights import block_groups

Array = Any


@dataclass(frozen=True)
class Sizes:
    """Batch sizes of a run."""

    cones: int
    sets: int
    samples: int

    def of(self) -> dict[str, int]:
        """By label."""
        return {CONES: self.cones, SETS: self.sets, SAMPLES: self.samples}


@dataclass(frozen=True)
class Place:
    """Where a slot lies in the arena.

    Attributes
    ----------
    base
        First scalar of the real plane.
    stride
        Scalars between two elements.
    imag
        Distance to the imaginary plane, 0 for a real slot.
    """

    base: int
    stride: int
    imag: int


@dataclass(frozen=True)
class AngleRegion:
    """Where the angles' functions of a label set lie: (cos, sin, 1) x rows x batch."""

    base: int
    rows: int


@dataclass(frozen=True, eq=False)
class Placement:
    """Where everything lies that outlives a stage.

    Attributes
    ----------
    sizes
        The batch.
    layouts
        By label set.
    places
        Of the slots that live in the arena.
    regions
        Angle regions by label set.
    environments
        Regions of the angles' environments, of the same form: real parts, then imaginary ones.
    scalars
        Length of the arena, rounded up.
    """

    sizes: Sizes
    layouts: Mapping[tuple[str, ...], Layout]
    places: Mapping[int, Place]
    regions: Mapping[tuple[str, ...], AngleRegion]
    environments: Mapping[tuple[str, ...], AngleRegion]
    scalars: int

    def axes(self, program: Program, number: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """First scalar of a slot, and (length, stride) of its planes, elements, C, P and S."""
        slot, place = program.slots[number], self.places[number]
        lead = ((slot.planes, place.imag), (slot.size, place.stride))
        return place.base, (*lead, *self.batch_axes(slot.labels))

    def angle_axes(self, labels: tuple[str, ...]) -> tuple[int, tuple[tuple[int, int], ...]]:
        """First scalar of an angle region, and (length, stride) of (cos, sin, 1), rows, C, P, S."""
        return self._region_axes(self.regions[labels], labels)

    def environment_axes(self, labels: tuple[str, ...]) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The same for the real parts of the environments of a label set's angles."""
        return self._region_axes(self.environments[labels], labels)

    def _region_axes(
        self, region: AngleRegion, labels: tuple[str, ...]
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        extent = self.layouts[labels].extent
        lead = ((3, region.rows * extent), (region.rows, extent))
        return region.base, (*lead, *self.batch_axes(labels))

    def given_axes(
        self, program: Program, numbers: Sequence[int]
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """First scalar of the given slots of a label set, and axes of their rows, C, P and S."""
        slots = [program.slots[number] for number in numbers]
        rows = sum(slot.size * slot.planes for slot in slots)
        first, labels = self.places[numbers[0]], slots[0].labels
        return first.base, ((rows, first.stride), *self.batch_axes(labels))

    def group_axes(
        self, program: Program, numbers: Sequence[int]
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The same for equal slots at equal distances: planes, elements, slots, C, P and S."""
        base, (planes, elements, *batch) = self.axes(program, numbers[0])
        starts = [self.places[number].base for number in numbers]
        spacing = starts[1] - base if len(starts) > 1 else 0
        assert starts == [base + k * spacing for k in range(len(starts))]
        return base, (planes, elements, (len(numbers), spacing), *batch)

    def batch_axes(self, labels: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
        """(length, stride) of C, P and S; (1, 0) for a label that is not in the set."""
        layout, sizes = self.layouts[labels], self.sizes.of()
        return tuple((sizes[x], layout.strides[x]) if x in labels else (1, 0) for x in LABELS)


def place(program: Program, sizes: Sizes) -> Placement:
    """Give angles, constants, blocks and what stages hand on their addresses."""
    by_label = sizes.of()
    label_sets = {slot.labels for slot in program.slots if slot.labels}
    layouts = {x: make_layout(x, by_label, is_flat(program, x)) for x in sorted(label_sets)}
    layouts[()] = POINT
    top = 0
    regions = {}
    for labels, elements in program.row_elements.items():
        regions[labels] = AngleRegion(top, len(elements))
        top += padded(3 * len(elements) * layouts[labels].extent)
    places: dict[int, Place] = {}
    for angle in program.angles:
        labels = program.slots[angle.slot].labels
        places[angle.slot] = _row_place(regions[labels], angle.row, layouts[labels].extent, False)
    environments: dict[tuple[str, ...], AngleRegion] = {}
    for labels, row, number in angle_environments(program):
        extent, rows = layouts[labels].extent, len(program.row_elements[labels])
        if labels not in environments:
            environments[labels] = AngleRegion(top, rows)
            top += padded(6 * rows * extent)
        is_complex = program.slots[number].complex
        places[number] = _row_place(environments[labels], row, extent, is_complex)
    seed = [program.reverse.seed] if program.reverse else []
    groups = block_groups(program)
    blocks = [slot for group in groups for slot in group.slots]
    around = program.reverse.around if program.reverse else {}
    back = [around[slot] for slot in blocks if slot in around]
    for entries in given_by_labels(program):  # one behind the other, to be filled as one
        for number in (entry.slot for entry in entries):
            places[number] = slot_place(program, layouts, number, top)
            slot = program.slots[number]
            top += slot.size * slot.planes * layouts[slot.labels].extent
        top = padded(top)
    stored = [*program.constants, *blocks, *back, *seed, *sorted(program.exported)]
    for number in dict.fromkeys(stored):
        if number not in places:
            places[number] = slot_place(program, layouts, number, top)
            slot = program.slots[number]
            top += padded(slot.size * slot.planes * layouts[slot.labels].extent)
    return Placement(sizes, layouts, places, regions, environments, padded(top))


def angle_environments(program: Program) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Label set, row and environment slot of every angle that depends on weights."""
    row_of = {angle.slot: angle.row for angle in program.angles}
    for found in program.reverse.environments if program.reverse else ():
        if found.source in row_of:
            yield program.slots[found.source].labels, row_of[found.source], found.slot


def _row_place(region: AngleRegion, row: int, extent: int, is_complex: bool) -> Place:
    stride = region.rows * extent
    return Place(region.base + row * extent, stride, 3 * stride if is_complex else 0)


def slot_place(
    program: Program, layouts: Mapping[tuple[str, ...], Layout], number: int, base: int
) -> Place:
    """The place of a slot that starts at ``base``."""
    slot = program.slots[number]
    extent = layouts[slot.labels].extent
    return Place(base, extent, slot.size * extent if slot.complex else 0)


def strided(data: Array, base: int, axes: Iterable[tuple[int, int]], as_strided: Any) -> Array:
    """A view of a flat array by (length, stride in scalars) of its axes.

    Parameters
    ----------
    data
        Shape (scalars,), of any array module.
    base
        First scalar.
    axes
        Length and stride of each axis.
    as_strided
        The module's ``lib.stride_tricks.as_strided``.
    """
    axes = tuple(axes)
    shape = [count for count, _ in axes]
    return as_strided(data[base:], shape, [data.itemsize * stride for _, stride in axes])
