"""The light cone: what cancels, what must not, and that values stay as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.gates import GATES, embed
from tn_qnn.circuit.graphs import line
from tn_qnn.circuit.observables import DensityMatrix, Observable, X, Y, Z, density_matrix, projector
from tn_qnn.circuit.slots import weight
from tn_qnn.network.batch import read_out
from tn_qnn.network.canonical import batch_labels, canonical_cone
from tn_qnn.network.cone import ANY, light_cone
from tn_qnn.network.elements import circuit_elements
from tn_qnn.network.network import build_network
from tn_qnn.network.readout import group_readouts

from ..circuits import (
    cone_of_everything,
    random_circuit,
    run_cones,
    some_observables,
)


def cone(circuit: Circuit, observable: Observable) -> list[tuple[int, ...]]:
    """Wires of the elements in the cone of an observable's only group."""
    elements = circuit_elements(circuit)
    (group,), _ = group_readouts(elements, [observable])
    return [elements.elements[i].wires for i in group.cone]


# --- values


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 16))
def test_values_are_the_same_with_and_without_the_cone(seed: int, n: int, gates: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, n, gates, weights=2, features=1)
    elements = circuit_elements(circuit)
    groups, _ = group_readouts(elements, some_observables(n))
    weights, X = rng.normal(size=(2, len(circuit.weights))), rng.normal(size=(3, 1))
    for group in groups:
        values = []
        for make in (canonical_cone, cone_of_everything):
            found = make(elements, group)
            network = build_network(found, batch_labels([found]))
            values.append(
                run_cones(network, [found], circuit.weights, weights, X, backend="einsum")
            )
        shape = np.broadcast_shapes(*(v.shape for v in values))
        first, second = (np.broadcast_to(v, shape) for v in values)
        np.testing.assert_allclose(first, second, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_what_is_left_out_leaves_the_observable_as_it_is(seed: int) -> None:
    """U† O U of the cone's elements alone equals that of all, as matrices."""
    rng = np.random.default_rng(seed)
    n = 4
    names = ("cz", "rzz", "rxx", "rz", "rx", "h", "cx", "s", "ccz", "cp", "x", "iswap", "cry")
    circuit = random_circuit(rng, n, 14, names, weights=0, features=0, specials=0)
    circuit = Circuit(n).h(0).h(1).h(2).h(3).compose(circuit)  # no phases on |0>
    elements = circuit_elements(circuit)
    axes = {int(q): "XYZ"[rng.integers(3)] for q in rng.permutation(n)[: rng.integers(1, 3)]}
    observable = np.eye(2**n)
    for wire, axis in axes.items():
        observable = observable @ embed(PAULI[axis], (wire,), n)
    kept = set(light_cone(elements, axes))

    def evolved(positions: set[int]) -> np.ndarray:
        total = np.eye(2**n, dtype=complex)
        for position in sorted(positions):
            element = elements.elements[position]
            assert element.factor is not None
            small = element.factor.matrix(
                [element.angle.constant_value / (element.factor.frequency or 1)] * 4
            )
            total = embed(small, element.wires, n) @ total
        return total.conj().T @ observable @ total

    np.testing.assert_allclose(
        evolved(kept), evolved(set(range(len(elements.elements)))), atol=1e-12
    )


# --- known cones


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_cone_of_a_brickwork_line(depth: int) -> None:
    """RY, then CZ on alternating bonds. Backwards from Z the cone widens by a qubit a layer:
    the last CZ commutes with Z, so the cone is that of one layer less."""
    n = 20
    found = cone(brickwork(line(n), depth), Z(10))
    rotations = [wires for wires in found if len(wires) == 1]
    entanglers = [wires for wires in found if len(wires) == 2]
    active, expected_rotations, expected_entanglers = {10}, 0, 0
    rotated: set[int] = set()  # qubits on which the evolved observable is not diagonal
    for layer in reversed(range(depth)):
        for a, b in line(n).layers[layer % 2]:
            if {a, b} & rotated:
                expected_entanglers += 1
                active |= {a, b}
        expected_rotations += len(active)
        rotated |= active
    assert len(rotations) == expected_rotations
    # entanglers of the first layer act on rotated qubits, none is lost to |0>
    assert len(entanglers) == expected_entanglers


def test_last_diagonal_gates_cancel_against_z() -> None:
    circuit = Circuit(3).h(0).h(1).h(2).cz(0, 1).rzz(weight("a"), 1, 2).t(0).ccz(0, 1, 2)
    assert cone(circuit, Z(0) @ Z(1)) == [(0,), (1,)]
    assert cone(circuit, projector({0: 1, 2: 0})) == [(0,), (2,)]
    assert len(cone(circuit, X(0))) == 3 + 3  # the RZZ and the wires that it alone joins go out
    assert len(cone(circuit, density_matrix([0]))) == 3 + 3


def test_iqp_diagonal_layers_cancel_from_both_ends() -> None:
    """H D H: against Z the first layer is on |0>, the last H turns Z to X, D is kept."""
    n = 6
    circuit = Circuit(n)
    for q in range(n):
        circuit.rz(0.3, q)  # on |0>: a phase
    for q in range(n - 1):
        circuit.cz(q, q + 1)  # on |00>: nothing
    for q in range(n):
        circuit.h(q)
    for q in range(n - 1):
        circuit.rzz(0.1 * q, q, q + 1)
    for q in range(n):
        circuit.h(q)
    assert len(circuit_elements(circuit).elements) == 6 + 5 + 6
    # H on 2, RZZ on (1, 2) and (2, 3), H before on 1, 2, 3
    assert sorted(cone(circuit, Z(2))) == [(1,), (1, 2), (2,), (2,), (2, 3), (3,)]


def test_one_layer_of_rzz_commutes_among_itself() -> None:
    """From X only the bonds at the qubit remain, in whatever order the layer is written."""
    circuit = Circuit(5)
    for q in range(5):
        circuit.h(q)
    for bond in ((0, 1), (2, 3), (1, 2), (3, 4)):
        circuit.rzz(0.3, *bond)
    two = [wires for wires in cone(circuit, X(2)) if len(wires) == 2]
    assert sorted(two) == [(1, 2), (2, 3)]


def test_rxx_layers_cancel_against_x_and_cnots_against_their_axes() -> None:
    circuit = Circuit(3).ry(0.1, 0).ry(0.2, 1).ry(0.3, 2).rxx(0.4, 0, 1).cx(1, 2)
    assert [len(w) for w in cone(circuit, X(2))] == [1]  # X on the target commutes with CX
    assert cone(circuit, Z(1)) != cone(circuit, X(1))
    assert (1, 2) not in cone(circuit, Z(1))  # Z on the control commutes with CX
    assert (1, 2) in cone(circuit, X(1))


def test_terms_of_several_axes_on_one_wire_keep_what_each_alone_would_lose() -> None:
    circuit = Circuit(2).h(0).h(1).cz(0, 1).rx(0.3, 0)
    assert len(cone(circuit, X(0) + Z(0))) == len(cone(circuit, Z(0)))
    assert len(cone(circuit, X(0))) == 3


def test_a_gate_after_the_last_use_of_a_wire_is_out() -> None:
    circuit = Circuit(3).h(0).cx(0, 1).ry(0.1, 1).cx(1, 2).h(2)
    assert cone(circuit, Z(0)) == [(0,)]
    assert (2,) not in cone(circuit, Z(1))


@pytest.mark.parametrize("name", ["rz", "cz", "rzz", "p", "cp", "s", "ccz", "crz"])
def test_diagonal_gates_on_zeros_leave_no_element(name: str) -> None:
    gate = GATES[name]
    circuit = Circuit(4).append(name, range(gate.num_qubits), [0.3] * len(gate.parameters))
    assert circuit_elements(circuit).elements == ()
    circuit.h(0).append(name, range(gate.num_qubits), [0.3] * len(gate.parameters))
    assert len(circuit_elements(circuit).elements) == 2


def test_swaps_leave_no_element() -> None:
    elements = circuit_elements(Circuit(3).h(0).swap(0, 1).swap(1, 2).h(2))
    assert [e.wires for e in elements.elements] == [(0,), (0,)]
    assert elements.wire_of == (1, 2, 0)


def test_the_walk_costs_the_cone_and_not_the_circuit() -> None:
    """A cone of 9 elements in a circuit of 6,000."""
    circuit = angle(2_000).compose(brickwork(line(2_000), 2))
    elements = circuit_elements(circuit)
    seen: set[int] = set()

    class Watched(tuple):  # type: ignore[type-arg]
        def __getitem__(self, i):  # type: ignore[no-untyped-def]
            seen.add(i)
            return super().__getitem__(i)

    object.__setattr__(elements, "elements", Watched(elements.elements))
    found = light_cone(elements, {1_000: "Z"})
    assert len(found) <= len(seen) < 30


def test_axes_of_readouts() -> None:
    circuit = circuit_elements(Circuit(3).h(0).h(1).h(2).cx(0, 1).cx(1, 2))
    cases: list[tuple[Observable, dict[int, str]]] = [
        (Z(0) @ X(1), {0: "Z", 1: "X"}),
        (projector({2: 1}), {2: "Z"}),
        (Y(0) + X(0), {0: ANY}),
        (density_matrix([1]), {1: ANY}),
    ]
    for observable, axes in cases:
        (group,), _ = group_readouts(circuit, [observable])
        assert group.readout.axes == axes
        assert (group.readout.terms == ()) == isinstance(observable, DensityMatrix)


def test_groups_share_cones() -> None:
    """Terms on one pair of qubits, and terms with the very same cone, are contracted together."""
    n = 6
    circuit = brickwork(line(n), 8)  # every readout sees everything
    paulis = [X(2) @ Y(3), Z(2) @ Z(3), projector({2: 0, 3: 1})]
    assert [len(b.cones) for b in read_out([circuit], paulis).batches] == [1]
    elements = circuit_elements(circuit)
    groups, constants = group_readouts(elements, [*paulis, 2.0 * Z(2) @ Z(3) + 0.5])
    (group,) = groups
    assert len(group.readout.terms) == 3
    assert constants == {3: 0.5}
    sharing = next(parts for parts in group.parts if len(parts) > 1)
    assert sharing == ((1, 1.0), (3, 2.0))
