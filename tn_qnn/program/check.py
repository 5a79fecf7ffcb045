"""The invariants of a compiled program, checked: for tests and for whoever doubts a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from tn_qnn.network.labels import LABELS, SETS, ordered
from tn_qnn.program.arena import allocate
from tn_qnn.program.contents import check_contents, require
from tn_qnn.program.program import TRIG, TRIG_BRA, Program, Slot, Stage, Step, Sum

Span = tuple[int, int]


def check_program(program: Program) -> None:
    """Check that a program computes its network's value, whatever the numbers are.

    Every slot is written once, in the stage of its labels and before it is read; sources are
    never written; every tensor of the network goes into the output exactly once and every index
    is summed in the step after which nothing needs it; shapes, labels and complex flags of
    results follow from the operands; what stages hand on is exported; no two intermediates that
    live at one time overlap. Of a reverse sweep also: every source of the ket that depends on
    weights has an environment, which holds the seed and all tensors but that source; a batch
    label is summed where the operand lacks it, and not before all that depends on it is in. In a
    program of pairs each of these has a form, which holds the seed and all but its angle.

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
    check_contents(program)
    for stage in program.all_stages:
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
        require(0 <= start <= end <= size, f"{what}: {start} to {end} is not within 0 to {size}")
    for (start, end), (after, last) in pairwise(found):
        require(end <= after, f"{what}: {start} to {end} and {after} to {last} overlap")


def _check_slot(program: Program, number: int, slot: Slot) -> None:
    name = f"slot {number} {slot}"
    require(len(set(slot.indices)) == len(slot.indices), f"{name} repeats an index")
    require(len(slot.indices) == len(slot.shape), f"{name} has a shape of another rank")
    for index, size in zip(slot.indices, slot.shape, strict=True):
        known = index in (TRIG, TRIG_BRA) or 0 <= index < len(program.network.sizes)
        require(known, f"{name} has an index that the network lacks")
        expected = (2, 3) if index < 0 else (program.network.sizes[index],)
        require(size in expected, f"{name}: index {index} has size {size}, not {expected}")
    labelled = set(slot.labels) <= set(LABELS) and slot.labels == ordered(slot.labels)
    require(labelled, f"{name}: labels are not a part of {LABELS} in this order")
    require(not (slot.complex and program.network.real), f"{name} is complex, the network real")


def _check_sources(program: Program) -> None:
    angles, blocks = [a.slot for a in program.angles], [b.slot for b in program.blocks]
    seed = [program.reverse.seed] if program.reverse else []
    given = [entry.slot for entry in program.given]
    filled = Counter([*program.constants, *angles, *blocks, *given, *seed])
    require(set(filled.values()) <= {1}, "a source is filled twice")
    sources = {number for number, slot in enumerate(program.slots) if slot.source}
    require(sources == set(filled), f"sources are {sorted(sources)}, filled {sorted(filled)}")
    for number, values in program.constants.items():
        slot, name = program.slots[number], f"constant slot {number}"
        require(slot.labels == (), f"{name} depends on {slot.labels}")
        require(values.shape == slot.shape, f"{name} has shape {values.shape}, not {slot.shape}")
        require(bool(np.isfinite(values).all()), f"{name} is not finite")
        require(slot.complex or not np.any(values.imag), f"{name} is complex, its slot real")
    for angle in program.angles:
        slot, name = program.slots[angle.slot], f"angle slot {angle.slot}"
        require(not slot.complex, f"{name} is complex")
        require(len(slot.shape) == 1 and slot.size in (2, 3), f"{name} has shape {slot.shape}")
        rows = len(program.row_elements.get(slot.labels, ()))
        require(0 <= angle.row < rows, f"{name} has row {angle.row} of {rows}")


def _check_seed(program: Program, seed: int) -> None:
    slot, output = program.slots[seed], program.slots[program.output]
    for name in ("indices", "shape", "labels"):
        given, wanted = getattr(slot, name), getattr(output, name)
        require(given == wanted, f"the seed, slot {seed}, has {name} {given}, the output {wanted}")
    # of a density matrix the imaginary parts count too
    is_complex = output.complex and len(program.network.output) > 1
    require(slot.complex == is_complex, f"the seed, slot {seed}: complex is {slot.complex}")


def _check_order(program: Program) -> None:
    forward = len(program.stages)
    for stages in (program.stages, program.all_stages[forward:]):
        names = [stage.labels for stage in stages]
        require(len(set(names)) == len(names), "two stages have the same labels")
    require(not any(stage.sums for stage in program.stages), "a forward stage has sums")
    written: set[int] = set()
    read: set[int] = set()
    for stage in program.all_stages:
        for step in stage.steps:
            _check_step(program, stage, step, written)
            written.add(step.out)
            read |= {step.left, step.right}
        own = {step.out for step in stage.steps}
        for total in stage.sums:
            require(total.value in own, f"{total}: its stage does not write the value")
            require(total.out not in written, f"slot {total.out} is written twice")
            _check_sum(program, total)
            written.add(total.out)
            read.add(total.value)
    if program.reverse is not None:
        _check_seed(program, program.reverse.seed)
        read |= program.reverse.found | {program.reverse.seed}
    idle = set(range(len(program.slots))) - read - {program.output}
    require(not idle, f"slots {sorted(idle)} are never read")
    require(program.output in written, f"the output, slot {program.output}, is never written")


def _check_step(program: Program, stage: Stage, step: Step, written: set[int]) -> None:
    left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
    for number in (step.left, step.right):
        ready = program.slots[number].source or number in written
        require(ready, f"slot {number} is read by {step} before it is written")
    require(not out.source, f"source slot {step.out} is written by {step}")
    require(step.out not in written, f"slot {step.out} is written twice")
    union = ordered({*left.labels, *right.labels})
    require(out.labels == union, f"{step}: labels {out.labels}, operands have {union}")
    require(out.labels == stage.labels, f"{step} is in the stage of {stage.labels}")
    either = left.complex or right.complex
    require(out.complex == either, f"{step}: complex is {out.complex}, operands' {either}")


def _check_sum(program: Program, total: Sum) -> None:
    value, out = program.slots[total.value], program.slots[total.out]
    require(not out.source, f"source slot {total.out} is written by {total}")
    for name in ("indices", "shape", "complex"):
        given, wanted = getattr(out, name), getattr(value, name)
        require(given == wanted, f"{total}: {name} {given}, the value's {wanted}")
    fewer = set(out.labels) < set(value.labels)
    require(fewer, f"{total}: labels {out.labels} are no part of the value's {value.labels}")
    require(SETS in out.labels, f"{total} adds up weight sets")


def _check_exported(program: Program) -> None:
    stages = program.all_stages
    home = {step.out: k for k, stage in enumerate(stages) for step in stage.steps}
    needed = {program.output} | {
        number
        for k, stage in enumerate(stages)
        for step in stage.steps
        for number in (step.left, step.right)
        if home.get(number, k) != k
    }
    for stage in stages:
        needed |= {number for total in stage.sums for number in (total.value, total.out)}
    if program.reverse is not None:
        needed |= {found.slot for found in program.reverse.environments}
        needed |= {form.slot for form in program.reverse.forms}
    exported = program.exported
    require(exported == needed, f"exported {sorted(exported)}, needed {sorted(needed)}")


def _check_scratch(program: Program, stage: Stage) -> None:
    scratch = allocate(program, [[step] for step in stage.steps], program.exported)
    born = {step.out: now for now, step in enumerate(stage.steps)}
    own = set(born) - program.exported
    require(set(scratch.offsets) == own, f"stage {stage.labels}: scratch for other slots")
    died = {s: now for now, step in enumerate(stage.steps) for s in (step.left, step.right)}
    for now in range(len(stage.steps)):
        live = [s for s in own if born[s] <= now <= died.get(s, born[s])]
        starts = [(scratch.offsets[s], program.slots[s]) for s in live]
        spans = [(start, start + slot.size * slot.planes) for start, slot in starts]
        check_spans(f"scratch of stage {stage.labels} at step {now}", spans, scratch.size)
