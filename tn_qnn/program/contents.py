"""What each slot holds of its network, followed through the steps, forward and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tn_qnn.errors import PlanError
from tn_qnn.network.labels import LABELS, SETS
from tn_qnn.program.program import TRIG, TRIG_BRA, Form, Program, Reverse, Step, Sum

BITS = 8  # of the count of each source


def require(holds: bool, message: str) -> None:
    """Raise ``PlanError`` unless an invariant holds."""
    if not holds:
        raise PlanError(f"program: {message}")


@dataclass(frozen=True)
class Contents:
    """What has gone into a slot.

    Attributes
    ----------
    indices
        How often each index occurs in the tensors that it holds.
    sources
        How often it holds each source: counts of eight bits side by side, that of slot n
        shifted by 8 n.
    tensors
        Number of tensors of the network.
    spread
        Indices that none of these has, along which the slot repeats itself.
    """

    indices: Counter[int]
    sources: int
    tensors: int
    spread: frozenset[int] = frozenset()


def check_contents(program: Program) -> None:
    """Check what every slot of a program holds, and the indices and labels that are left of it.

    Parameters
    ----------
    program
        Whose slots and the order of whose steps have been checked.

    Raises
    ------
    PlanError
        At the first step after which an index is summed that something still needs, or kept
        that nothing needs; where a tensor is missing, in the output or around a source.

    Examples
    --------
    >>> from tn_qnn import QNN, Circuit, Z, weight
    >>> model = QNN(Circuit(2).ry(weight("a"), 0).cx(0, 1), [Z(1)])
    >>> check_contents(model.jobs[0].program)
    """
    network, sliced = program.network, program.sliced
    require(sliced == program.plan.sliced, f"sliced {sliced}, in the plan {program.plan.sliced}")
    for index in sliced:
        require(index not in network.output, f"the open index {index} is sliced")
    everywhere = Counter(i for tensor in network.tensors for i in set(tensor.indices))
    # an open index is closed by the seed of a reverse sweep
    closed = everywhere + Counter(network.output)
    held = dict(_sources(program))
    for stage in program.stages:
        for step in stage.steps:
            held[step.out] = _after(program, step, held, closed, back=False)
    found, indices = held[program.output], program.slots[program.output].indices
    require(indices == network.output, f"the output has indices {indices}, not {network.output}")
    total = len(network.tensors)
    require(
        found.tensors == total, f"the output holds {found.tensors} tensors, the network {total}"
    )
    require(found.indices == everywhere, "the output lacks an index of the network")
    if program.reverse is not None:
        _check_reverse(program, program.reverse, held, closed)


def _sources(program: Program) -> Iterator[tuple[int, Contents]]:
    forward = {
        n for stage in program.stages for step in stage.steps for n in (step.left, step.right)
    }
    seed = program.reverse.seed if program.reverse else None
    for number, slot in enumerate(program.slots):
        if not slot.source:
            continue
        if number in forward or number == seed:
            indices = Counter(i for i in slot.indices if i >= 0)
            yield number, Contents(indices, 1 << (BITS * number), 1)
            continue
        values = program.constants.get(number, np.zeros(1))
        require(bool(np.all(values == 1)), f"slot {number}, no part of the network, is not ones")
        yield number, Contents(Counter(), 0, 0, frozenset(slot.indices))


def _after(
    program: Program, step: Step, held: Mapping[int, Contents], closed: Counter[int], back: bool
) -> Contents:
    """What a step's result holds, its indices checked."""
    left, right, out = (program.slots[s] for s in (step.left, step.right, step.out))
    a, b = held[step.left], held[step.right]
    here, count = a.indices + b.indices, a.tensors + b.tensors
    spread = (a.spread | b.spread) - here.keys()
    turns = [{i for i in slot.indices if i < 0} for slot in (left, right)]
    if any(turns) and not (back and not all(turns)):
        # makes a leaf: the functions of an angle times a constant
        count -= 1
        rest = left.indices[:-1]
        unsliced = tuple(i for i in rest if i not in program.sliced)
        last = left.indices[-1:] == right.indices and right.indices in ((TRIG,), (TRIG_BRA,))
        made = last and out.indices in (rest, unsliced)
        require(made and left.shape[-1:] == right.shape, f"{step} makes no leaf")
    else:
        expected = {i for i in here if here[i] < closed[i]} - set(program.sliced) | spread
        expected |= turns[0] | turns[1]
        require(set(out.indices) == expected, f"{step} keeps {out.indices}, not {expected}")
    return Contents(here, a.sources + b.sources, count, spread)


def _check_reverse(
    program: Program, reverse: Reverse, held: dict[int, Contents], closed: Counter[int]
) -> None:
    slots = program.slots
    everything = held[program.output].sources + held[reverse.seed].sources
    of_label = {label: _sources_of_label(program, label) for label in LABELS}
    for stage in reverse.stages:
        for step in stage.steps:
            held[step.out] = _after(program, step, held, closed, back=True)
        for total in stage.sums:
            missing = everything - held[total.value].sources
            _check_summed(program, total, missing, of_label)
            held[total.out] = held[total.value]
    for form in reverse.forms:
        _check_form(program, form, everything, held)
    given = [form.pair for form in reverse.forms]
    require(given == list(program.pairs), f"forms of {given}, wanted of {program.pairs}")
    found = [environment.source for environment in reverse.environments]
    wanted = ket_sources(program)
    require(sorted(found) == sorted(wanted), f"environments of {found}, wanted of {wanted}")
    for environment in reverse.environments:
        source, slot = slots[environment.source], slots[environment.slot]
        name = f"slot {environment.slot}, around source {environment.source},"
        kept = tuple(i for i in source.indices if i not in program.sliced)
        require(not slot.source, f"{name} is a source itself")
        require(slot.indices == kept, f"{name} has indices {slot.indices}, not {kept}")
        labels = f"{name} has labels {slot.labels}, the source {source.labels}"
        require(slot.labels == source.labels, labels)
        rest = everything - held[environment.source].sources
        require(held[environment.slot].sources == rest, f"{name} does not hold all the others")


def _check_form(
    program: Program, form: Form, everything: int, held: Mapping[int, Contents]
) -> None:
    """M holds all but the angle's functions, and depends on all that the output depends on."""
    pair, slot = form.pair, program.slots[form.slot]
    name = f"slot {form.slot}, the form of slot {pair.leaf},"
    ends = [(program.slots[n].indices, program.slots[n].labels) for n in (pair.ket, pair.bra)]
    rows = {a.slot: a.row for a in program.angles}
    one = ends[0][1] == ends[1][1] and rows[pair.ket] == rows[pair.bra]
    require(one, f"{name} has functions of two angles")
    wanted = ends[1][0] + ends[0][0]
    require(slot.indices == wanted == (TRIG_BRA, TRIG), f"{name} has indices {slot.indices}")
    output = program.slots[program.output]
    require(slot.labels == output.labels, f"{name} has labels {slot.labels}, not {output.labels}")
    rest = everything - held[pair.ket].sources - held[pair.bra].sources
    require(held[form.slot].sources == rest, f"{name} does not hold all but its angle")


def _check_summed(program: Program, total: Sum, missing: int, of_label: dict[str, int]) -> None:
    """A label may be summed once everything that depends on it is in."""
    lost = set(program.slots[total.value].labels) - set(program.slots[total.out].labels)
    early = [label for label in sorted(lost) if missing & of_label[label]]
    require(not early, f"{total} sums {early}, on which sources depend that are still to come")


def _sources_of_label(program: Program, label: str) -> int:
    """All counts of the sources that depend on a label, as a mask."""
    slots = enumerate(program.slots)
    return sum((2**BITS - 1) << (BITS * n) for n, s in slots if s.source and label in s.labels)


def ket_sources(program: Program) -> list[int]:
    """Sources of the ket that depend on weights: those that need an environment."""
    slots = program.slots
    if program.pairs:
        return []  # they have forms
    found = [b.slot for b in program.blocks if not b.conj]
    at = {
        (program.row_elements[slots[a.slot].labels][a.row], slots[a.slot].indices): a.slot
        for a in program.angles
    }
    for tensor in program.network.tensors:
        # an angle on |0> may be the tensor itself
        places = [(tensor.element, tensor.indices), (tensor.element, (TRIG,))]
        here = [at[place] for place in places if place in at]
        found += here[:1] if not tensor.conj else []
    return sorted(number for number in set(found) if SETS in slots[number].labels)
