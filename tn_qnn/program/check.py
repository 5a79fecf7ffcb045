"""The invariants of a compiled program, checked: for tests and for whoever doubts a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from tn_qnn.errors import PlanError
from tn_qnn.network.labels import LABELS, ordered
from tn_qnn.program.arena import allocate
from tn_qnn.program.program import TRIG, Program, Slot, Stage, Step

Span = tuple[int, int]


def check_program(program: Program) -> None:
    """Check that a program computes its network's value, whatever the numbers are.

    Every slot is written once, in the stage of its labels and before it is read; sources are
    never written; every tensor of the network goes into the output exactly once and every index
    is summed in the step after which nothing needs it; shapes, labels and complex flags of
    results follow from the operands; what stages hand on is exported; no two intermediates that
    live at one time overlap.

    Parameters
    ----------
    program
        A compiled program.

    Raises
    ------
    PlanError
        At the first invariant that does not hold, with the slot or step.

    Examples
    --------
    >>> from tn_qnn import QNN, Circuit, Z, weight
    >>> model = QNN(Circuit(2).ry(weight("a"), 0).cx(0, 1), [Z(1)])
    >>> for job in model.jobs:
    ...     check_program(job.program)
    """
    for number, slot in enumerate(program.slots):
        _check_slot(program, number, slot)
    _check_sources(program)
    _check_order(program)
    _check_exported(program)
    _check_sums(program)
    for stage in program.stages:
        _check_scratch(program, stage)


def check_spans(what: str, spans: Iterable[Span], size: int) -> None:
    """Check that spans (start, end) lie within ``size`` scalars and that no two overlap.

    Raises
    ------
    PlanError
        With the first span that does not.

    Examples
    --------
    >>> check_spans("slots", [(4, 8), (0, 4)], 8)
    """
    found = sorted(spans)
    for start, end in found:
        _require(0 <= start <= end <= size, f"{what}: {start} to {end} is not within 0 to {size}")
    for (start, end), (after, last) in pairwise(found):
        _require(end <= after, f"{what}: {start} to {end} and {after} to {last} overlap")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PlanError(f"program: {message}")


def _steps(program: Program) -> Iterator[tuple[Stage, Step]]:
    return ((stage, step) for stage in program.stages for step in stage.steps)


def _check_slot(program: Program, number: int, slot: Slot) -> None:
    name = f"slot {number} {slot}"
    _require(len(set(slot.indices)) == len(slot.indices), f"{name} repeats an index")
    _require(len(slot.indices) == len(slot.shape), f"{name} has a shape of another rank")
    for index, size in zip(slot.indices, slot.shape, strict=True):
        known = index == TRIG or 0 <= index < len(program.network.sizes)
        _require(known, f"{name} has an index that the network lacks")
        expected = (2, 3) if index == TRIG else (program.network.sizes[index],)
        _require(size in expected, f"{name}: index {index} has size {size}, not {expected}")
    labelled = set(slot.labels) <= set(LABELS) and slot.labels == ordered(slot.labels)
    _require(labelled, f"{name}: labels are not a part of {LABELS} in this order")
    _require(not (slot.complex and program.network.real), f"{name} is complex, the network real")


def _check_sources(program: Program) -> None:
    angles, blocks = [a.slot for a in program.angles], [b.slot for b in program.blocks]
    filled = Counter([*program.constants, *angles, *blocks])
    _require(set(filled.values()) <= {1}, "a source is filled twice")
    sources = {number for number, slot in enumerate(program.slots) if slot.source}
    _require(sources == set(filled), f"sources are {sorted(sources)}, filled {sorted(filled)}")
    for number, values in program.constants.items():
        slot, name = program.slots[number], f"constant slot {number}"
        _require(slot.labels == (), f"{name} depends on {slot.labels}")
        _require(values.shape == slot.shape, f"{name} has shape {values.shape}, not {slot.shape}")
        _require(bool(np.isfinite(values).all()), f"{name} is not finite")
        _require(slot.complex or not np.any(values.imag), f"{name} is complex, its slot real")
    for angle in program.angles:
        slot, name = program.slots[angle.slot], f"angle slot {angle.slot}"
        _require(not slot.complex, f"{name} is complex")
        _require(len(slot.shape) == 1 and slot.size in (2, 3), f"{name} has shape {slot.shape}")
        rows = len(program.row_elements.get(slot.labels, ()))
        _require(0 <= angle.row < rows, f"{name} has row {angle.row} of {rows}")


def _check_order(program: Program) -> None:
    names = [stage.labels for stage in program.stages]
    _require(len(set(names)) == len(names), "two stages have the same labels")
    written: set[int] = set()
    read: set[int] = set()
    for stage, step in _steps(program):
        left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
        for number in (step.left, step.right):
            ready = program.slots[number].source or number in written
            _require(ready, f"slot {number} is read by {step} before it is written")
        _require(not out.source, f"source slot {step.out} is written by {step}")
        _require(step.out not in written, f"slot {step.out} is written twice")
        union = ordered({*left.labels, *right.labels})
        _require(out.labels == union, f"{step}: labels {out.labels}, operands have {union}")
        _require(out.labels == stage.labels, f"{step} is in the stage of {stage.labels}")
        either = left.complex or right.complex
        _require(out.complex == either, f"{step}: complex is {out.complex}, operands' {either}")
        written.add(step.out)
        read |= {step.left, step.right}
    idle = set(range(len(program.slots))) - read - {program.output}
    _require(not idle, f"slots {sorted(idle)} are never read")
    _require(program.output in written, f"the output, slot {program.output}, is never written")


def _check_exported(program: Program) -> None:
    home = {step.out: stage.labels for stage, step in _steps(program)}
    needed = {program.output} | {
        number
        for stage, step in _steps(program)
        for number in (step.left, step.right)
        if number in home and home[number] != stage.labels
    }
    exported = program.exported
    _require(exported == needed, f"exported {sorted(exported)}, needed {sorted(needed)}")


def _check_sums(program: Program) -> None:
    """Follow how often each index occurs, and how many tensors have gone in."""
    network, sliced = program.network, program.sliced
    _require(sliced == program.plan.sliced, f"sliced {sliced}, in the plan {program.plan.sliced}")
    for index in sliced:
        _require(index not in network.output, f"the open index {index} is sliced")
    everywhere = Counter(i for tensor in network.tensors for i in set(tensor.indices))
    inside: dict[int, Counter[int]] = {}
    tensors: dict[int, int] = {}
    for number, slot in enumerate(program.slots):
        if slot.source:
            inside[number] = Counter(i for i in slot.indices if i != TRIG)
            tensors[number] = 1
    for _, step in _steps(program):
        left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
        here = inside[step.left] + inside[step.right]
        count = tensors[step.left] + tensors[step.right]
        if TRIG in left.indices:  # makes a leaf: the functions of an angle times a constant
            count -= 1
            rest = left.indices[:-1]
            unsliced = tuple(i for i in rest if i not in sliced)
            made = left.indices[-1:] == right.indices == (TRIG,) and out.indices in (rest, unsliced)
            _require(made and left.shape[-1:] == right.shape, f"{step} makes no leaf")
        else:
            open_or_used = {i for i in here if i in network.output or here[i] < everywhere[i]}
            expected = open_or_used - set(sliced)
            _require(set(out.indices) == expected, f"{step} keeps {out.indices}, not {expected}")
        inside[step.out], tensors[step.out] = here, count
    indices, total = program.slots[program.output].indices, len(network.tensors)
    _require(indices == network.output, f"the output has indices {indices}, not {network.output}")
    found = tensors[program.output]
    _require(found == total, f"the output holds {found} tensors, the network {total}")
    _require(inside[program.output] == everywhere, "the output lacks an index of the network")


def _check_scratch(program: Program, stage: Stage) -> None:
    scratch = allocate(program, [[step] for step in stage.steps], program.exported)
    born = {step.out: now for now, step in enumerate(stage.steps)}
    own = set(born) - program.exported
    _require(set(scratch.offsets) == own, f"stage {stage.labels}: scratch for other slots")
    died = {s: now for now, step in enumerate(stage.steps) for s in (step.left, step.right)}
    for now in range(len(stage.steps)):
        live = [s for s in own if born[s] <= now <= died.get(s, born[s])]
        starts = [(scratch.offsets[s], program.slots[s]) for s in live]
        spans = [(start, start + slot.size * slot.planes) for start, slot in starts]
        check_spans(f"scratch of stage {stage.labels} at step {now}", spans, scratch.size)
