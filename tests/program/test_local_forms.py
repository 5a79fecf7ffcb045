"""Programs that sweep back to pairs: sound ones pass the checker, planted faults are found."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tn_qnn.circuit.blocks import unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError, PlanError
from tn_qnn.network.network import Network
from tn_qnn.network.pairs import paired
from tn_qnn.program.check import check_program
from tn_qnn.program.compile import compile_program
from tn_qnn.program.local_forms import with_local_forms
from tn_qnn.program.program import TRIG, TRIG_BRA, Form, Pair, Program, Reverse, Step

from ..circuits import batches, plan_for, random_path, run_cones


def circuit() -> Circuit:
    """Shared and own weights, data beside and between them, all kinds of pairs; complex."""
    c = Circuit(4)
    for k in (0, 2):
        c.ry(feature(0), k).ry(weight("a") * feature(0), k + 1).cx(k, k + 1)
        c.crx(weight("b"), k, k + 1).rz(weight(f"own{k}"), k).rx(0.3, k).ry(weight("d"), k + 1)
    return c


READOUTS = [X(k) @ Z(k + 1) + Z(k) @ Z(k + 1) for k in (0, 2)]


def swept(sliced: int = 0, keep: int | None = None, seed: int = 0) -> Program:
    """Two equal cones, over two terms."""
    network = paired(batches(circuit(), READOUTS)[0].network)
    inner = [i for i in network.tensors[2].indices if i not in network.output]
    path = random_path(np.random.default_rng(seed), len(network.tensors))
    return with_local_forms(
        compile_program(network, plan_for(network, path, tuple(inner[:sliced]))), keep
    )


@pytest.fixture(scope="module")
def program() -> Program:
    return swept()


def parts(program: Program) -> tuple[Reverse, tuple[Form, ...]]:
    assert program.reverse is not None
    return program.reverse, program.reverse.forms


# --- networks


@pytest.mark.parametrize("readouts", [READOUTS, [density_matrix([1, 0])], [X(3) @ Z(0)]], ids=str)
def test_pairs_change_no_value(readouts: list) -> None:
    c = circuit()
    rng = np.random.default_rng(0)
    weights, data = rng.normal(size=(2, len(c.weights))), rng.normal(size=(3, 1))
    for batch in batches(c, readouts):
        joined = paired(batch.network)
        gates = sum(t.pair for t in joined.tensors)
        assert gates and len(joined.tensors) == len(batch.network.tensors) - gates
        a, b = (
            run_cones(n, batch.cones, c.weights, weights, data) for n in (batch.network, joined)
        )
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_a_gate_alone_is_joined_by_the_number_one() -> None:
    (batch,) = batches(Circuit(1).ry(weight("a"), 0), [density_matrix([0])])
    network = paired(batch.network)
    assert [t.pair for t in network.tensors] == [True, False]
    values = run_cones(network, batch.cones, ["a"], np.array([[0.6]]), np.zeros((1, 0)))
    t = np.array([np.cos(0.3), np.sin(0.3)])
    np.testing.assert_allclose(values.reshape(2, 2), np.outer(t, t), atol=1e-15)


def test_gates_of_data_alone_stay_as_they_are() -> None:
    (batch,) = batches(Circuit(1).ry(feature(0), 0).rx(0.2, 0), [Z(0)])
    assert paired(batch.network).tensors == batch.network.tensors


def test_tensor_valued_weights_are_refused() -> None:
    (batch,) = batches(Circuit(1).block(unitary("B"), [0]), [Z(0)])
    with pytest.raises(InputError, match="tensor-valued weights have no angle"):
        paired(batch.network)


# --- programs


@pytest.mark.parametrize("keep", [None, 1, 4])
@pytest.mark.parametrize("sliced", [0, 1, 2])
def test_sound_programs_pass(sliced: int, keep: int | None) -> None:
    for seed in range(4):
        program = swept(sliced, keep, seed)
        check_program(program)
        reverse, forms = parts(program)
        output = program.slots[program.output]
        assert len(reverse.stages) == 1 and not reverse.environments
        assert len(forms) == len(program.pairs) == 4
        sizes = {program.slots[form.slot].shape for form in forms}
        assert sizes == {(2, 2), (3, 3)}  # of rotations, and of controlled ones
        assert {program.slots[form.slot].labels for form in forms} == {output.labels}


def test_values_are_worked_out_again_where_they_are_too_large() -> None:
    lengths = [len(parts(swept(keep=k))[0].stages[0].steps) for k in (None, 1)]
    assert lengths[0] < lengths[1]


def test_what_depends_on_less_than_the_output_is_kept() -> None:
    """A part without data is contracted in a stage of its own, and not again."""
    c = Circuit(2).ry(weight("a"), 0).ry(feature(0), 1).cx(0, 1).rx(weight("b"), 1)
    network: Network = paired(batches(c, [Z(1)])[0].network)
    for seed in range(6):
        path = random_path(np.random.default_rng(seed), len(network.tensors))
        program = with_local_forms(compile_program(network, plan_for(network, path)), keep=1)
        check_program(program)


# --- faults


def with_forms(program: Program, forms: tuple[Form, ...]) -> Program:
    return replace(program, reverse=replace(parts(program)[0], forms=forms))


def with_step(program: Program, place: int, **changes: int) -> Program:
    reverse, _ = parts(program)
    (stage,) = reverse.stages
    steps = list(stage.steps)
    steps[place] = replace(steps[place], **changes)
    return replace(program, reverse=replace(reverse, stages=(replace(stage, steps=tuple(steps)),)))


def place_of(program: Program, fits: Callable[[Step], bool]) -> int:
    (stage,) = parts(program)[0].stages
    return next(k for k, step in enumerate(stage.steps) if fits(step))


def missing(program: Program) -> Program:
    return with_forms(program, parts(program)[1][1:])


def of_another_pair(program: Program) -> Program:
    first, second, *rest = parts(program)[1]
    a, b = Form(first.pair, second.slot), Form(second.pair, first.slot)
    return with_forms(program, (a, b, *rest))


def of_its_constant(program: Program) -> Program:
    first, *rest = parts(program)[1]
    return with_forms(program, (Form(first.pair, first.pair.leaf), *rest))


def with_another_constant(program: Program) -> Program:
    alike = [p for p in program.pairs if program.slots[p.ket].shape == (2,)]
    a, b = (p.constant for p in alike[:2])
    return with_step(program, place_of(program, lambda step: step.right == a), right=b)


def functions_of_two_angles(program: Program) -> Program:
    first, second, *rest = parts(program)[1]
    pair = replace(first.pair, bra=second.pair.bra)
    changed = replace(program, pairs=(pair, *program.pairs[1:]))
    return with_forms(changed, (Form(pair, first.slot), second, *rest))


def ket_twice(program: Program) -> Program:
    first, *rest = parts(program)[1]
    pair = replace(first.pair, bra=first.pair.ket)
    changed = replace(program, pairs=(pair, *program.pairs[1:]))
    return with_forms(changed, (Form(pair, first.slot), *rest))


def of_the_wrong_leaf(program: Program) -> Program:
    """The environment of one leaf, contracted with the constant of another, of equal indices."""
    reverse, forms = parts(program)
    (stage,) = reverse.stages
    last = next(step for step in stage.steps if step.out == forms[0].slot)
    other = next(s.left for s in stage.steps if s.out == forms[1].slot)
    return with_step(program, stage.steps.index(last), left=other)


FAULTS = [missing, of_another_pair, of_its_constant, with_another_constant,
          functions_of_two_angles, ket_twice, of_the_wrong_leaf]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(program: Program, fault: Callable[[Program], Program]) -> None:
    with pytest.raises(PlanError, match="program: "):
        check_program(fault(program))


def test_indices_of_a_form(program: Program) -> None:
    for form in parts(program)[1]:
        assert isinstance(form.pair, Pair)
        assert program.slots[form.slot].indices == (TRIG_BRA, TRIG)
