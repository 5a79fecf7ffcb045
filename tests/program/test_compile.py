"""Lowering: one kind of step, stages by labels, leaves made late, shared angles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.plan.plan import cost_of
from tn_qnn.plan.topology import Topology
from tn_qnn.program.check import check_program
from tn_qnn.program.compile import compile_program, depth_first
from tn_qnn.program.program import TRIG, Program
from tn_qnn.program.tables import offsets, roles, step_tables

from ..circuits import batches, plan_for, random_circuit, random_path, some_observables


def program(circuit: Circuit, observable: object = None) -> Program:
    (batch,) = batches(circuit, [observable or Z(circuit.num_qubits - 1)])  # type: ignore[list-item]
    return compile_program(batch.network, plan_for(batch.network))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 20))
def test_programs_of_any_circuit_path_and_slicing_are_sound(seed: int, n: int, gates: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, n, gates)
    for per_sample in (False, True):
        for batch in batches(circuit, some_observables(n), per_sample):
            network = batch.network
            used = {i for t in network.tensors for i in t.indices} - set(network.output)
            sliced = tuple(rng.permutation(sorted(used))[:2].tolist())
            path = random_path(rng, len(network.tensors))
            check_program(compile_program(network, plan_for(network, path, sliced)))


def test_a_rotation_of_zero_is_its_own_vector() -> None:
    """RY on |0>: (cos, sin) is the tensor; ket and bra read the same numbers."""
    found = program(Circuit(2).ry(feature(0), 0).cx(0, 1))
    assert not any(TRIG in slot.indices for slot in found.slots)
    assert len(found.row_elements[("s",)]) == 1
    assert len(found.angles) <= 2


def test_ket_and_bra_share_an_angle() -> None:
    found = program(Circuit(1).h(0).rx(weight("a"), 0), Z(0))
    (angle,) = found.angles
    readers = [s for stage in found.stages for s in stage.steps if angle.slot in (s.left, s.right)]
    assert len(readers) == 2


def test_rotations_have_two_functions_and_controlled_ones_three() -> None:
    two = program(Circuit(1).h(0).rx(weight("a"), 0), Z(0))
    three = program(Circuit(2).h(0).h(1).crx(weight("a"), 0, 1), Z(1))
    sizes = [[found.slots[a.slot].size for a in found.angles] for found in (two, three)]
    assert sizes == [[2], [3]]


def test_stages_go_from_few_labels_to_many() -> None:
    circuit = Circuit(3).h(0).ry(feature(0), 1).ry(weight("a"), 2).ry(0.4, 0)
    circuit.cx(0, 1).rx(weight("b"), 1).cx(1, 2).rx(0.2, 2).rx(feature(1), 2)
    labels = [stage.labels for stage in program(circuit).stages]
    assert labels == sorted(labels, key=lambda x: (len(x), x))
    assert labels[-1] == ("p", "s")


def test_constants_depend_on_nothing_and_fold_into_one_stage() -> None:
    circuit = Circuit(2).rx(0.3, 0).ry(0.4, 1).cx(0, 1).rz(0.2, 1).rx(0.1, 1)
    found = program(circuit)
    assert [stage.labels for stage in found.stages] == [()]
    assert found.multiply_adds({CONES: 7, SETS: 5, SAMPLES: 3}) == found.multiply_adds(
        {CONES: 1, SETS: 1, SAMPLES: 1}
    )


def test_multiply_adds_count_labels_planes_and_slices() -> None:
    circuit = Circuit(3).ry(feature(0), 0).ry(weight("a"), 1).ry(feature(1), 2).cx(0, 1).cx(1, 2)
    found = program(circuit)
    assert found.network.real
    ones = {CONES: 1, SETS: 1, SAMPLES: 1}
    base = found.multiply_adds(ones)
    topology = Topology(
        tuple(t.indices for t in found.network.tensors), found.network.output, found.network.sizes
    )
    fills = sum(
        found.step_size(s)
        for g in found.stages
        for s in g.steps
        if TRIG in found.slots[s.left].indices
    )
    assert base == cost_of(topology, found.plan.path).multiply_adds + fills
    assert found.multiply_adds({**ones, CONES: 3}) == base  # one cone: nothing depends on it
    assert base < found.multiply_adds({CONES: 1, SETS: 10, SAMPLES: 10}) < 100 * base
    half = program(circuit.rx(weight("b"), 2), Z(2))
    assert half.multiply_adds(ones) > base


# --- order


@given(st.integers(1, 30), st.integers(0, 1000))
def test_depth_first_keeps_the_tree(n: int, seed: int) -> None:
    path = random_path(np.random.default_rng(seed), n)

    def trees(steps: tuple[tuple[int, int], ...]) -> list[frozenset[int]]:
        found = [frozenset([leaf]) for leaf in range(n)]
        for left, right in steps:
            found.append(found[left] | found[right])
        return sorted(found[n:], key=sorted)

    ordered = depth_first(path, n)
    assert trees(ordered) == trees(path)


def test_depth_first_leaves_few_results_waiting() -> None:
    """A comb of pairs, made breadth first: 16 results wait; depth first only two do."""
    pairs = [(2 * k, 2 * k + 1) for k in range(16)]
    comb = [(32, 33)] + [(48 + k, 34 + k) for k in range(14)]

    def waiting(path: tuple[tuple[int, int], ...]) -> int:
        alive, most = 0, 0
        for left, right in path:
            alive += 1 - (left >= 32) - (right >= 32)
            most = max(most, alive)
        return most

    path = (*pairs, *comb)
    assert waiting(path) == 16
    assert waiting(depth_first(path, 32)) <= 2


# --- index tables


@pytest.mark.parametrize("seed", range(5))
def test_tables_contract_as_einsum_does(seed: int) -> None:
    """Every step of a program by its tables alone, on random numbers."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 4, 15)
    for batch in batches(circuit, [X(0) @ Z(3) + Z(1)]):
        found = compile_program(batch.network, plan_for(batch.network))
        for step in [s for stage in found.stages for s in stage.steps]:
            left, right, out = (found.slots[x] for x in (step.left, step.right, step.out))
            a, b = rng.normal(size=left.size), rng.normal(size=right.size)
            (h, m, n, k), table = step_tables(found, step)
            parts = np.split(table, np.cumsum([h, m, k, h, k, n, h, m]))
            got = np.full(out.size, np.nan)
            rows = a[parts[0][:, None, None] + parts[1][:, None] + parts[2]]
            columns = b[parts[3][:, None, None] + parts[4][:, None] + parts[5]]
            got[parts[6][:, None, None] + parts[7][:, None] + parts[8]] = rows @ columns
            names = {i: k for k, i in enumerate(dict.fromkeys((*left.indices, *right.indices)))}
            want = np.einsum(
                a.reshape(left.shape), [names[i] for i in left.indices],
                b.reshape(right.shape), [names[i] for i in right.indices],
                [names[i] for i in out.indices],
            )  # fmt: skip
            np.testing.assert_allclose(got.reshape(out.shape), want, atol=1e-12)


def test_roles() -> None:
    found = program(Circuit(2).ry(feature(0), 0).ry(weight("a"), 1).cx(0, 1).ry(0.3, 0), X(0))
    for step in [s for stage in found.stages for s in stage.steps]:
        r = roles(found, step)
        left, right, out = (set(found.slots[x].indices) for x in (step.left, step.right, step.out))
        assert set(r.h) == left & right & out
        assert set(r.m) == (left - right) & out
        assert set(r.n) == (right - left) & out
        assert set(r.k) == (left | right) - out
        slot = found.slots[step.out]
        every = offsets(slot, slot.indices, r.sizes)
        np.testing.assert_array_equal(every, np.arange(slot.size))
