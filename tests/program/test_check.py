"""The invariant checker: it passes what is compiled, and finds every fault that is planted."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

import tn_qnn.program.check as check
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import PlanError
from tn_qnn.plan.plan import Plan
from tn_qnn.program.arena import Scratch, allocate
from tn_qnn.program.check import check_program, check_spans
from tn_qnn.program.compile import compile_program
from tn_qnn.program.program import TRIG, Program, Slot, Stage, Step

from ..circuits import batches, plan_for


def some_program(sliced: int = 0) -> Program:
    """Stages for constants, weights, data and both; complex; an index over two terms."""
    c = Circuit(4)
    for q in range(4):
        c.ry(feature(q), q).ry(weight(f"a{q}"), q)
    for q in range(3):
        c.cx(q, q + 1)
    for q in range(4):
        c.rx(0.3 * q + 0.1, q).rz(weight(f"b{q}"), q)
    (batch,) = batches(c, [X(1) @ Z(2) + Z(1) @ Z(2)])
    network = batch.network
    summed = [i for i in network.tensors[2].indices if i not in network.output]
    return compile_program(network, plan_for(network, sliced=tuple(summed[:sliced])))


@pytest.fixture(scope="module")
def program() -> Program:
    return some_program()


def test_the_program_of_these_tests_has_all_kinds_of_stages(program: Program) -> None:
    assert [stage.labels for stage in program.stages] == [(), ("p",), ("s",), ("p", "s")]
    assert {slot.complex for slot in program.slots} == {True, False}
    check_program(program)
    check_program(some_program(sliced=1))


# --- faults


def with_slot(program: Program, number: int, **changes: object) -> Program:
    slots = list(program.slots)
    slots[number] = replace(slots[number], **changes)  # type: ignore[arg-type]
    return replace(program, slots=tuple(slots))


def with_steps(
    program: Program, change: Callable[[list[Step]], object], stage: int = -1
) -> Program:
    """The program with the steps of its last stage changed in place."""
    stages = list(program.stages)
    steps = list(stages[stage].steps)
    change(steps)
    stages[stage] = Stage(stages[stage].labels, tuple(steps))
    return replace(program, stages=tuple(stages))


def written(program: Program, test: Callable[[Slot], object] = lambda slot: True) -> int:
    """A slot in the middle that a step writes, no leaf, and for which the test holds."""
    fills = {s.out for g in program.stages for s in g.steps if reads_trig(program, s)}
    found = [s.out for g in program.stages for s in g.steps if s.out not in fills]
    found = [s for s in found if s != program.output and test(program.slots[s])]
    return found[len(found) // 2]


def reads_trig(program: Program, step: Step) -> bool:
    return TRIG in program.slots[step.left].indices


def constant(program: Program, test: Callable[[Slot], object] = lambda slot: True) -> int:
    return next(n for n in program.constants if test(program.slots[n]))


def without_one_constant(program: Program) -> Program:
    number = constant(program)
    kept = {k: v for k, v in program.constants.items() if k != number}
    return replace(program, constants=kept)


def with_constant(program: Program, values: Callable[[np.ndarray], np.ndarray]) -> Program:
    number = constant(program, lambda slot: slot.shape and not slot.complex)
    changed = {**program.constants, number: values(program.constants[number])}
    return replace(program, constants=changed)


def lone_index(program: Program) -> Program:
    """A result that keeps an index which nothing needs any more."""
    steps = [s for stage in program.stages for s in stage.steps if not reads_trig(program, s)]
    for step in steps:
        slot = program.slots[step.out]
        for index in program.slots[step.left].indices:
            if index not in slot.indices:
                indices, shape = (*slot.indices, index), (*slot.shape, 2)
                return with_slot(program, step.out, indices=indices, shape=shape)
    raise AssertionError("no step sums anything")


def summed_too_early(program: Program) -> Program:
    slot = program.slots[number := written(program, lambda slot: slot.indices)]
    return with_slot(program, number, indices=slot.indices[1:], shape=slot.shape[1:])


def forgotten_tensor(program: Program) -> Program:
    """A network of one scalar tensor more than the program multiplies."""
    extra = next(t for t in program.network.tensors if t.element == -1)
    scalar = replace(extra, indices=(), coefficients=np.ones((1,), dtype=complex), fixed=())
    network = replace(program.network, tensors=(*program.network.tensors, scalar))
    return replace(program, network=network)


def forgotten_index(program: Program) -> Program:
    """A network of one tensor more: its indices may not be summed yet."""
    network = program.network
    return replace(
        program, network=replace(network, tensors=(*network.tensors, network.tensors[0]))
    )


def sliced_in_plan_only(program: Program) -> Program:
    plan: Plan = replace(program.plan, sliced=(0,))
    return replace(program, plan=plan)


def sliced_output(program: Program) -> Program:
    sliced = program.network.output
    return replace(program, plan=replace(program.plan, sliced=sliced), sliced=sliced)


def not_exported(program: Program) -> Program:
    changed = replace(program)
    changed.__dict__["exported"] = frozenset({program.output})
    return changed


def transposed_output(program: Program) -> Program:
    network = replace(program.network, output=(), sizes=program.network.sizes)
    return replace(program, network=network)


def wrong_leaf(program: Program) -> Program:
    """The functions of an angle stand first in the constant, not last."""
    number = constant(program, lambda slot: TRIG in slot.indices and len(slot.indices) > 1)
    slot = program.slots[number]
    turned = with_slot(program, number, indices=slot.indices[::-1], shape=slot.shape[::-1])
    values = {**program.constants, number: program.constants[number].T}
    return replace(turned, constants=values)


FAULTS: Mapping[str, tuple[Callable[[Program], Program], str]] = {
    "index twice": (
        lambda p: with_slot(p, written(p), indices=(0, 0), shape=(2, 2)), "repeats an index"),
    "rank": (lambda p: with_slot(p, written(p), shape=(2,) * 9), "another rank"),
    "unknown index": (
        lambda p: with_slot(p, written(p), indices=(10**6,), shape=(2,)), "network lacks"),
    "size": (
        lambda p: with_slot(p, written(p, lambda s: s.shape == (2, 2)), shape=(2, 3)),
        "has size 3"),
    "label order": (lambda p: with_slot(p, written(p), labels=("s", "p")), "in this order"),
    "unknown label": (lambda p: with_slot(p, written(p), labels=("q",)), "labels are not"),
    "complex in a real network": (
        lambda p: replace(p, network=replace(p.network, real=True)), "the network real"),
    "constant missing": (without_one_constant, "sources are"),
    "two fillings": (lambda p: replace(p, angles=p.angles * 2), "filled twice"),
    "constant with labels": (
        lambda p: with_slot(p, constant(p), labels=("s",)), "depends on"),
    "constant's shape": (lambda p: with_constant(p, lambda v: v[..., None]), "has shape"),
    "constant not finite": (lambda p: with_constant(p, lambda v: v * np.nan), "not finite"),
    "constant not real": (lambda p: with_constant(p, lambda v: v + 1j), "its slot real"),
    "angle complex": (lambda p: with_slot(p, p.angles[0].slot, complex=True), "is complex"),
    "angle's row": (
        lambda p: replace(p, angles=(*p.angles[1:], replace(p.angles[0], row=99))), "row 99"),
    "labels twice": (lambda p: replace(p, stages=(*p.stages, p.stages[0])), "same labels"),
    "steps swapped": (lambda p: with_steps(p, list.reverse), "before it is written"),
    "stages swapped": (lambda p: replace(p, stages=p.stages[::-1]), "before it is written"),
    "source written": (
        lambda p: with_slot(p, written(p), source=True), "sources are"),
    "slot written twice": (lambda p: with_steps(p, lambda s: s.append(s[-1])), "written twice"),
    "label lost": (
        lambda p: with_slot(p, written(p, lambda s: len(s.labels) == 2), labels=("s",)),
        "operands have"),
    "wrong stage": (
        lambda p: replace(p, stages=(*p.stages[:-1], replace(p.stages[-1], labels=("s", "c")))),
        "in the stage of"),
    "imaginary part lost": (
        lambda p: with_slot(p, written(p, lambda s: s.complex), complex=False), "complex is False"),
    "step missing": (lambda p: with_steps(p, lambda s: s.pop(0)), "before it is written"),
    "last step missing": (lambda p: with_steps(p, lambda s: s.pop()), "never read"),
    "no output": (
        lambda p: replace(p, output=constant(p)), "never read"),
    "not exported": (not_exported, "exported"),
    "index not summed": (lone_index, "keeps"),
    "index summed too early": (summed_too_early, "keeps"),
    "tensor forgotten": (forgotten_tensor, "tensors, the network"),
    "tensor's index forgotten": (forgotten_index, "keeps"),
    "output's indices": (transposed_output, "keeps"),
    "leaf": (wrong_leaf, "makes no leaf"),
    "slicing": (sliced_in_plan_only, "in the plan"),
    "open index sliced": (sliced_output, "is sliced"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(program: Program, fault: str) -> None:
    plant, message = FAULTS[fault]
    with pytest.raises(PlanError, match=message):
        check_program(plant(program))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: Scratch(dict.fromkeys(s.offsets, 0), s.size), "overlap"),
        (lambda s: Scratch(s.offsets, s.size - 1), "not within"),
        (lambda s: Scratch({}, s.size), "scratch for other slots"),
    ],
)
def test_planted_faults_of_the_allocation_are_found(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Scratch], Scratch],
    message: str,
) -> None:
    monkeypatch.setattr(check, "allocate", lambda *given: spoil(allocate(*given)))
    with pytest.raises(PlanError, match=message):
        check_program(program)


def test_spans() -> None:
    check_spans("slots", [(4, 8), (0, 4), (4, 4)], 8)
    with pytest.raises(PlanError, match="slots: 0 to 4 and 3 to 8 overlap"):
        check_spans("slots", [(3, 8), (0, 4)], 8)
    for span in ((-1, 2), (5, 9), (3, 2)):
        with pytest.raises(PlanError, match="not within"):
            check_spans("slots", [span], 8)
