"""The invariant checker on reverse programs: it finds every fault that is planted."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import tn_qnn.program.check as check
from tn_qnn.circuit.blocks import unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import PlanError
from tn_qnn.network.labels import ordered
from tn_qnn.network.network import Network
from tn_qnn.program.arena import Scratch, allocate
from tn_qnn.program.check import check_program
from tn_qnn.program.compile import compile_program
from tn_qnn.program.program import Environment, Program, Reverse, Slot, Stage, Step, Sum
from tn_qnn.program.reverse import with_reverse

from ..circuits import batches, plan_for, random_path


def swept_program(sliced: int = 0, keep: int | None = None, seed: int = 0) -> Program:
    """Two equal cones with shared and own weights, data, a block; complex; over two terms."""
    network = cones_network()
    inner = [i for i in network.tensors[2].indices if i not in network.output]
    path = random_path(np.random.default_rng(seed), len(network.tensors))
    plan = plan_for(network, path, tuple(inner[:sliced]))
    return with_reverse(compile_program(network, plan), keep)


def cones_network() -> Network:
    c = Circuit(4)
    for k in (0, 2):
        c.ry(feature(0), k).ry(weight("a") * feature(0), k + 1).cx(k, k + 1)
        c.block(unitary(f"B{k}"), [k, k + 1])
        c.rz(weight("b"), k).rz(weight("d"), k).rx(0.3, k)
        c.rz(weight(f"own{k}"), k + 1).rx(0.2, k + 1)
    (batch,) = batches(c, [X(k) @ Z(k + 1) + Z(k) @ Z(k + 1) for k in (0, 2)])
    return batch.network


@pytest.fixture(scope="module")
def program() -> Program:
    return swept_program()


def parts(program: Program) -> tuple[Reverse, tuple[Slot, ...]]:
    assert program.reverse is not None
    return program.reverse, program.slots


def test_the_program_of_these_tests_has_all_kinds_of_sums(program: Program) -> None:
    reverse, slots = parts(program)
    lost = {
        ordered({*slots[s.value].labels} - {*slots[s.out].labels})
        for stage in reverse.stages
        for s in stage.sums
    }
    assert {("c",), ("s",)} <= lost
    assert {slots[e.slot].complex for e in reverse.environments} == {True}
    assert len({slots[e.source].labels for e in reverse.environments}) == 3


@pytest.mark.parametrize("keep", [None, 1, 4])
@pytest.mark.parametrize("sliced", [0, 1, 2])
def test_sound_programs_pass(sliced: int, keep: int | None) -> None:
    for seed in range(4):
        check_program(swept_program(sliced, keep, seed))


def test_sound_programs_of_other_kinds_pass() -> None:
    c = Circuit(2).ry(weight("a"), 0).cx(0, 1).rx(weight("b"), 1)
    none = Circuit(2).ry(feature(0), 0).cx(0, 1)
    for circuit, readout in ((c, density_matrix([1, 0])), (c, Z(0)), (none, Z(1)), (none, X(1))):
        for batch in batches(circuit, [readout]):
            program = compile_program(batch.network, plan_for(batch.network))
            check_program(with_reverse(program))


# --- faults


def with_reverse_of(program: Program, **changes: object) -> Program:
    reverse, _ = parts(program)
    return replace(program, reverse=replace(reverse, **changes))  # type: ignore[arg-type]


def with_slot(program: Program, number: int, **changes: object) -> Program:
    slots = list(program.slots)
    slots[number] = replace(slots[number], **changes)  # type: ignore[arg-type]
    return replace(program, slots=tuple(slots))


def with_stage(program: Program, number: int, **changes: object) -> Program:
    stages = list(parts(program)[0].stages)
    stages[number] = replace(stages[number], **changes)  # type: ignore[arg-type]
    return with_reverse_of(program, stages=tuple(stages))


def first_sum(program: Program) -> tuple[int, Stage, Sum]:
    stages = parts(program)[0].stages
    return next((k, stage, stage.sums[0]) for k, stage in enumerate(stages) if stage.sums)


def sum_dropped(program: Program) -> Program:
    """The value itself goes where its sum should."""
    k, stage, total = first_sum(program)
    changed = with_stage(program, k, sums=tuple(s for s in stage.sums if s != total))
    stages = tuple(replace(s, steps=tuple(_read(x, total) for x in s.steps))
                   for s in parts(changed)[0].stages)  # fmt: skip
    found = tuple(
        replace(e, slot=total.value) if e.slot == total.out else e
        for e in parts(changed)[0].environments
    )
    without = with_reverse_of(changed, stages=stages, environments=found)
    return with_slot(without, total.out, labels=program.slots[total.value].labels)


def _read(step: Step, total: Sum) -> Step:
    left, right = (total.value if s == total.out else s for s in (step.left, step.right))
    return replace(step, left=left, right=right)


def unsummed_environment(program: Program) -> Program:
    """The environment of a source is taken before the label that the source lacks is summed."""
    reverse, _ = parts(program)
    for k, stage in enumerate(reverse.stages):
        for total in stage.sums:
            for number, found in enumerate(reverse.environments):
                if found.slot == total.out:
                    kept = tuple(s for s in stage.sums if s != total)
                    changed = with_stage(program, k, sums=kept)
                    return without_slot(
                        with_environment(changed, number, slot=total.value), total.out
                    )
    raise AssertionError("no environment of a source is a sum")


def without_slot(program: Program, number: int) -> Program:
    """A program of which nothing uses a slot any more: later ones, all of the sweep, move up."""
    reverse, slots = parts(program)
    assert number > reverse.seed

    def moved(record: Step | Sum | Environment) -> Any:
        at = {f.name: getattr(record, f.name) for f in fields(record)}
        return replace(record, **{name: x - (x > number) for name, x in at.items()})

    stages = tuple(
        Stage(s.labels, tuple(map(moved, s.steps)), tuple(map(moved, s.sums)))
        for s in reverse.stages
    )
    found = tuple(map(moved, reverse.environments))
    changed = with_reverse_of(program, stages=stages, environments=found)
    return replace(changed, slots=slots[:number] + slots[number + 1 :])


def sum_over_a_label_of_the_operand(program: Program) -> Program:
    """Data is summed away where samples still meet other data."""
    for seed in range(200):
        tried = swept_program(seed=seed)
        reverse, slots = parts(tried)
        stages = reverse.stages
        for k, stage in enumerate(stages):
            for total in stage.sums:
                out = slots[total.out]
                readers = [
                    s for later in stages[k:] for s in later.steps if total.out in (s.left, s.right)
                ]
                if "s" not in out.labels or not readers:
                    continue
                others = [s.right if s.left == total.out else s.left for s in readers]
                if all("s" in slots[x].labels for x in others):
                    return with_slot(
                        tried, total.out, labels=tuple(x for x in out.labels if x != "s")
                    )
    raise AssertionError("no program has such a sum")


def with_environment(program: Program, number: int, **changes: int) -> Program:
    found = list(parts(program)[0].environments)
    found[number] = replace(found[number], **changes)
    return with_reverse_of(program, environments=tuple(found))


def missing_environment(program: Program) -> Program:
    source = parts(program)[0].environments[0].source
    forward = compile_program(program.network, program.plan)
    swept = with_reverse(replace(forward, bras=forward.bras | {source}))
    assert len(parts(swept)[0].environments) == len(parts(program)[0].environments) - 1
    return swept


def swapped_environments(program: Program) -> Program:
    """Two of equal labels and indices, each given out as the other."""
    reverse, slots = parts(program)
    found = reverse.environments
    i, j = next(
        (i, j)
        for j, b in enumerate(found)
        for i, a in enumerate(found[:j])
        if (slots[a.slot].labels, slots[a.slot].indices)
        == (slots[b.slot].labels, slots[b.slot].indices)
    )
    once = with_environment(program, i, slot=found[j].slot)
    return with_environment(once, j, slot=found[i].slot)


def bra(program: Program) -> int:
    return next(b.slot for b in program.blocks if b.conj)


def environment_of_the_bra(program: Program) -> Program:
    reverse, _ = parts(program)
    kets = [b.slot for b in program.blocks if not b.conj]
    k = next(k for k, e in enumerate(reverse.environments) if e.source in kets)
    return with_environment(program, k, source=bra(program))


def one_environment_more(program: Program) -> Program:
    reverse, _ = parts(program)
    more = Environment(bra(program), reverse.environments[0].slot)
    return with_reverse_of(program, environments=(*reverse.environments, more))


def with_operand(program: Program, test: Callable[[Slot, Slot], bool]) -> Program:
    """A step back that reads another forward value than it should."""
    stages = parts(program)[0].stages
    forward = [s.out for stage in program.stages for s in stage.steps]
    for k, stage in enumerate(stages):
        for place, step in enumerate(stage.steps):
            for other in forward:
                right, slot = program.slots[step.right], program.slots[other]
                known = step.right in forward and other != step.right and other in program.exported
                if known and test(right, slot):
                    changed = replace(step, right=other)
                    steps = (*stage.steps[:place], changed, *stage.steps[place + 1 :])
                    return with_stage(program, k, steps=steps)
    raise AssertionError("no step has such an operand")


def swapped_operand(program: Program) -> Program:
    """Another gate on the same wire stands for the one that was meant."""
    for seed in range(50):
        tried = swept_program(seed=seed)
        try:
            return with_operand(tried, lambda right, slot: right == slot)
        except AssertionError:
            continue
    raise AssertionError("no program has such an operand")


def tensor_twice(program: Program) -> Program:
    """The operand that the environment is for goes in beside its partner."""
    return with_operand(
        program, lambda right, slot: right.labels == slot.labels and right.indices != slot.indices
    )


def environment_index_lost(program: Program) -> Program:
    """An index is summed that the operand has."""
    step = next(s for s in parts(program)[0].stages[0].steps if program.slots[s.out].indices)
    slot = program.slots[step.out]
    return with_slot(program, step.out, indices=slot.indices[:-1], shape=slot.shape[:-1])


def sum_of_other_indices(program: Program) -> Program:
    _, _, total = first_sum(program)
    slot = program.slots[total.out]
    return with_slot(program, total.out, indices=slot.indices[::-1], shape=slot.shape[::-1])


def not_exported(program: Program) -> Program:
    changed = replace(program)
    reverse, _ = parts(program)
    changed.__dict__["exported"] = program.exported - {reverse.environments[0].slot}
    return changed


def sum_in_another_stage(program: Program) -> Program:
    k, stage, _ = first_sum(program)
    moved = with_stage(program, k, sums=())
    following = parts(program)[0].stages[k + 1]
    return with_stage(moved, k + 1, sums=(*stage.sums, *following.sums))


def sum_written_twice(program: Program) -> Program:
    k, stage, _ = first_sum(program)
    return with_stage(program, k, sums=(*stage.sums, stage.sums[0]))


def sum_ahead(program: Program) -> Program:
    stage = program.stages[0]
    total = first_sum(program)[2]
    return replace(program, stages=(replace(stage, sums=(total,)), *program.stages[1:]))


def sum_slot(name: str, value: object) -> Callable[[Program], Program]:
    def plant(program: Program) -> Program:
        return with_slot(program, first_sum(program)[2].out, **{name: value})

    return plant


def seed_slot(**changes: object) -> Callable[[Program], Program]:
    return lambda p: with_slot(p, parts(p)[0].seed, **changes)


def steps_back_swapped(program: Program) -> Program:
    k, stage = max(enumerate(parts(program)[0].stages), key=lambda pair: len(pair[1].steps))
    return with_stage(program, k, steps=stage.steps[::-1])


FAULTS: Mapping[str, tuple[Callable[[Program], Program], str]] = {
    "sum dropped": (sum_dropped, "operands have"),
    "environment not summed": (unsummed_environment, "around source .* has labels"),
    "sum over a label of the operand": (
        sum_over_a_label_of_the_operand, r"sums \['s'\], on which sources depend"),
    "sum over weight sets": (sum_slot("labels", ("c",)), "adds up weight sets"),
    "sum over nothing": (
        lambda p: with_slot(p, first_sum(p)[2].out, labels=p.slots[first_sum(p)[2].value].labels),
        "no part of the value's"),
    "sum of another complexity": (sum_slot("complex", False), "complex False, the value's True"),
    "sum of other indices": (sum_of_other_indices, "indices .*, the value's"),
    "sum of a value from elsewhere": (sum_in_another_stage, "before it is written"),
    "sum taken twice": (sum_written_twice, "written twice"),
    "sum before the sweep": (sum_ahead, "a forward stage has sums"),
    "environment lost": (
        lambda p: with_reverse_of(p, environments=parts(p)[0].environments[1:]), "never read"),
    "environment missing": (missing_environment, "environments of .* wanted of"),
    "environments swapped": (swapped_environments, "does not hold all the others"),
    "environment of the bra": (environment_of_the_bra, "environments of .* wanted of"),
    "environment of the bra beside": (one_environment_more, "environments of .* wanted of"),
    "operand swapped": (swapped_operand, "does not hold all the others"),
    "tensor twice": (tensor_twice, "keeps"),
    "index lost": (environment_index_lost, "keeps"),
    "not exported": (not_exported, "exported"),
    "seed complex": (
        lambda p: with_slot(p, parts(p)[0].seed, complex=True), "complex is"),
    "seed of other labels": (seed_slot(labels=("p", "s")), "the seed, .* has labels"),
    "seed of other indices": (seed_slot(indices=(), shape=()), "the seed, .* has indices"),
    "seed filled as a constant": (
        lambda p: replace(p, constants={**p.constants, parts(p)[0].seed: np.ones(2)}),
        "filled twice"),
    "no seed": (seed_slot(source=False), "sources are"),
    "stages swapped": (
        lambda p: with_reverse_of(p, stages=parts(p)[0].stages[::-1]), "before it is written"),
    "labels twice": (
        lambda p: with_reverse_of(p, stages=(*parts(p)[0].stages, parts(p)[0].stages[0])),
        "same labels"),
    "steps swapped": (steps_back_swapped, "before it is written"),
    "step back missing": (
        lambda p: with_stage(p, 0, steps=parts(p)[0].stages[0].steps[1:]), "before it is written"),
    "sum of a step left out": (
        lambda p: with_stage(p, 0, steps=parts(p)[0].stages[0].steps[:-1]),
        "its stage does not write the value"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(program: Program, fault: str) -> None:
    plant, message = FAULTS[fault]
    with pytest.raises(PlanError, match=message):
        check_program(plant(program))


def test_a_real_seed_of_a_complex_density_matrix_is_found() -> None:
    (batch,) = batches(Circuit(1).rx(weight("a"), 0), [density_matrix([0])])
    program = with_reverse(compile_program(batch.network, plan_for(batch.network)))
    check_program(program)
    with pytest.raises(PlanError, match=r"the seed, .* complex is False"):
        check_program(with_slot(program, parts(program)[0].seed, complex=False))


@pytest.mark.parametrize("broken", [0, 1])
def test_scratch_of_the_sweep_is_checked(
    program: Program, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    of_stage = [[[s] for s in stage.steps] for stage in parts(program)[0].stages][broken]

    def spoiled(given: Program, moments: list[list[Step]], kept: frozenset[int]) -> Scratch:
        scratch = allocate(given, moments, kept)
        return Scratch(scratch.offsets, scratch.size - 1) if moments == of_stage else scratch

    assert allocate(program, of_stage, program.exported).size
    monkeypatch.setattr(check, "allocate", spoiled)
    with pytest.raises(PlanError, match="is not within"):
        check_program(program)


def lone_index() -> Program:
    """A tensor of the ket has an index that no other has: it is summed by itself."""
    network = cones_network()
    k = next(k for k, t in enumerate(network.tensors) if t.labels == {"p", "s"})
    first = network.tensors[k]
    assert first.coefficients is not None and not first.conj
    values = np.stack([first.coefficients, first.coefficients], axis=-1)
    wider = replace(first, indices=(*first.indices, len(network.sizes)), coefficients=values)
    tensors = (*network.tensors[:k], wider, *network.tensors[k + 1 :])
    grown = replace(network, tensors=tensors, sizes=(*network.sizes, 2))
    return with_reverse(compile_program(grown, plan_for(grown)))


def test_an_index_of_one_tensor_alone_is_broadcast() -> None:
    program = lone_index()
    check_program(program)
    forward = {s for stage in program.stages for x in stage.steps for s in (x.left, x.right)}
    (ones,) = set(program.constants) - forward
    twice = {**program.constants, ones: 2 * program.constants[ones]}
    with pytest.raises(PlanError, match="no part of the network, is not ones"):
        check_program(replace(program, constants=twice))
    # an index that is there already does not change by ones, but the lone one is missing then
    other = program.network.tensors[0].indices[0]
    with pytest.raises(PlanError, match="keeps"):
        check_program(with_slot(program, ones, indices=(other,)))
