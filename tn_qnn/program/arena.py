"""Where values live: batch layouts of label sets, and lifetimes of a stage's intermediates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tn_qnn.program.program import Program, Step

ALIGN = 16  # lanes that the innermost batch axis is padded to, for every dtype


def padded(count: int) -> int:
    """The next multiple of the lanes.

    Examples
    --------
    >>> padded(17)
    32
    """
    return -(-count // ALIGN) * ALIGN


@dataclass(frozen=True)
class Layout:
    """How the batch of a label set lies in memory, behind the elements of a slot.

    Attributes
    ----------
    labels
        The label set.
    strides
        Distance in scalars between neighbours along each label.
    extent
        Scalars between two elements.
    loops
        (n0, n1, inner): how a stage of this label set walks its batch.
    outer
        The labels of the loops n0 and n1; "" for a loop of one.
    """

    labels: tuple[str, ...]
    strides: Mapping[str, int]
    extent: int
    loops: tuple[int, int, int]
    outer: tuple[str, str]


#: Layout of what depends on no label.
POINT = Layout((), {}, 1, (1, 1, 1), ("", ""))


def make_layout(labels: tuple[str, ...], sizes: Mapping[str, int], flat: bool) -> Layout:
    """Layout of a label set.

    Parameters
    ----------
    labels, sizes
        The label set and the size of every label.
    flat
        Whether all labels may be walked as one; else the last one is padded for itself.
    """
    counts = [sizes[label] for label in labels]
    inner = counts[-1] if flat else padded(counts[-1])
    strides: dict[str, int] = {}
    step = 1
    for label, count in zip(reversed(labels), [inner, *reversed(counts[:-1])], strict=True):
        strides[label] = step
        step *= count
    if flat:
        return Layout(labels, strides, padded(step), (1, 1, padded(step)), ("", ""))
    outer = ("", "", *labels[:-1])[-2:]
    n0, n1 = (sizes[x] if x else 1 for x in outer)
    return Layout(labels, strides, step, (n0, n1, inner), (outer[0], outer[1]))


def is_flat(program: Program, labels: tuple[str, ...]) -> bool:
    """Whether stages of a label set read nothing but that set and constants."""
    return all(
        program.slots[slot].labels in (labels, ())
        for stage in program.all_stages
        if stage.labels == labels
        for step in stage.steps
        for slot in (step.left, step.right)
    )


@dataclass(frozen=True)
class Scratch:
    """Places of a stage's own intermediates, in elements of one lane.

    Attributes
    ----------
    offsets
        Start of each slot; a complex one has its imaginary plane right behind the real one.
    size
        Elements in all.
    """

    offsets: Mapping[int, int]
    size: int


def allocate(program: Program, moments: Sequence[Sequence[Step]], kept: Collection[int]) -> Scratch:
    """Give intermediates of a stage a place that nothing alive shares: best fit.

    Parameters
    ----------
    program
        What the steps are from.
    moments
        Steps in order; those of one moment run in any order, or together.
    kept
        Results that lie elsewhere.
    """
    last_use: dict[int, int] = {}
    for now, steps in enumerate(moments):
        last_use |= {slot: now for step in steps for slot in (step.left, step.right, step.out)}
    offsets: dict[int, int] = {}
    free: list[tuple[int, int]] = []  # (start, size), sorted, never touching
    top = 0
    for now, steps in enumerate(moments):
        for step in steps:
            if step.out not in kept:
                need = program.slots[step.out].size * program.slots[step.out].planes
                offsets[step.out], free, top = _placed(need, free, top)
        for slot in {slot for step in steps for slot in (step.left, step.right, step.out)}:
            if slot in offsets and last_use[slot] == now:
                size = program.slots[slot].size * program.slots[slot].planes
                free = _merged([*free, (offsets[slot], size)])
    return Scratch(offsets, top)


def _placed(
    need: int, free: list[tuple[int, int]], top: int
) -> tuple[int, list[tuple[int, int]], int]:
    """A place of some size, and the holes and the top that are left."""
    fits = [hole for hole in free if hole[1] >= need]
    if fits:
        start, size = min(fits, key=lambda hole: hole[1])
        left = [hole for hole in free if hole != (start, size)]
        if size > need:
            left = _merged([*left, (start + need, size - need)])
        return start, left, top
    if free and free[-1][0] + free[-1][1] == top:
        return free[-1][0], free[:-1], free[-1][0] + need
    return top, free, top + need


def _merged(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, size in sorted(holes):
        if out and out[-1][0] + out[-1][1] == start:
            out[-1] = (out[-1][0], out[-1][1] + size)
        else:
            out.append((start, size))
    return out
