"""Networks: hyper-edges, fixed wires, realness, open readouts; values against plain einsum."""

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork, so4_block, strongly_entangling, su4_block, tree
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.observables import Observable, X, Y, Z, density_matrix, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.network.network import Network

from ..circuits import batches


def network(circuit: Circuit, observable: Observable) -> Network:
    (batch,) = batches(circuit, [observable])
    return batch.network


def indices(net: Network) -> set[int]:
    return {i for tensor in net.tensors for i in tensor.indices}


def spread(n: int = 2) -> Circuit:
    circuit = Circuit(n)
    for q in range(n):
        circuit.ry(0.3 + q, q)
    return circuit


@pytest.mark.parametrize("name", [n for n, g in sorted(GATES.items()) if g.diagonal and g.factors])
def test_diagonal_gates_add_no_index(name: str) -> None:
    gate = GATES[name]
    n = gate.num_qubits
    before = spread(n)
    plain = before.compose(Circuit(n).ry(0.2, 0))
    within = before.append(name, range(n), [0.4] * len(gate.parameters)).ry(0.2, 0)
    others = n - 1  # wires that come into the cone with the gate
    assert len(indices(network(within, X(0)))) == len(indices(network(plain, X(0)))) + others


def test_cnot_is_a_copy_and_an_xor() -> None:
    """The control rides on its wire: three indices, not four."""
    net = network(spread().cx(0, 1), Z(1))
    (ranks,) = {len(t.indices) for t in net.tensors if t.element == 2}
    assert ranks == 3


def test_wires_still_zero_have_no_index() -> None:
    net = network(Circuit(3).h(0).cx(0, 1).cx(1, 2), Z(2))
    assert sorted(len(t.indices) for t in net.tensors) == [1, 1, 1, 2, 2, 2, 2]


def test_unobserved_and_diagonal_wires_join_ket_and_bra() -> None:
    """One index more for a readout that is not diagonal."""
    circuit = spread(2).cx(0, 1).ry(0.4, 1)
    z, x = network(circuit, Z(1)), network(circuit, X(1))
    assert len(indices(x)) == len(indices(z)) + 1


def test_open_readouts_keep_ket_and_bra() -> None:
    net = network(spread(3).cx(0, 1), density_matrix([1, 2, 0]))
    assert len(net.output) == 6
    assert len(set(net.output)) == 6
    assert all(net.sizes[i] == 2 for i in net.output)


def test_terms_run_along_one_index() -> None:
    net = network(spread(3).cx(0, 1).cx(1, 2), Z(0) @ X(1) + Y(0) @ X(1))
    assert [net.sizes[i] for i in net.output] == [2]
    holders = [t for t in net.tensors if net.output[0] in t.indices]
    assert len(holders) == 1  # X is the same in both terms


REAL: dict[str, tuple[Circuit, Observable]] = {
    "ry, cz": (brickwork(6, 4), Z(3)),
    "so4": (brickwork(6, 2, (), so4_block), X(3)),
    "orthogonal": (Circuit(2).block(orthogonal("U"), [0, 1]), Z(0)),
    "cnot, h, swap, ch": (spread(3).h(0).cx(0, 1).swap(1, 2).ch(0, 1).ccx(0, 1, 2), X(2)),
    "tree": (tree(8), projector({0: 1})),
    "cancelled phases": (spread(3).rz(0.3, 0).s(1).cz(0, 1), Z(0)),
    "real open": (brickwork(4, 3), density_matrix([0, 2])),
}  # fmt: skip
COMPLEX: dict[str, tuple[Circuit, Observable]] = {
    "rz": (spread().rz(0.3, 0), X(0)),
    "rx": (Circuit(1).rx(0.3, 0), Z(0)),
    "y readout": (brickwork(4, 2), Y(1)),
    "su4": (brickwork(4, 2, (), su4_block), Z(1)),
    "unitary": (Circuit(2).block(unitary("U"), [0, 1]), Z(0)),
    "strongly": (strongly_entangling(4, 2), Z(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_networks(name: str) -> None:
    assert network(*REAL[name]).real


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_networks(name: str) -> None:
    assert not network(*COMPLEX[name]).real


def test_a_network_by_hand() -> None:
    """<Z> after RY(x) RX(w): every tensor put in by hand and summed by numpy."""
    x, w = 0.7, 0.4
    net = network(Circuit(1).ry(feature(0), 0).rx(weight("a"), 0), Z(0))
    angles = {0: x / 2, 1: w / 2}
    arguments: list[object] = []
    for tensor in net.tensors:
        assert tensor.coefficients is not None
        values = tensor.coefficients[0]
        if len(tensor.coefficients) == 3:
            a = angles[tensor.element]
            values = np.tensordot([1, np.cos(a), np.sin(a)], tensor.coefficients, axes=1)
        arguments += [values, list(tensor.indices)]
    assert [sorted(t.labels) for t in net.tensors] == [["s"], ["p"], ["s"], ["p"], []]
    value = np.einsum(*arguments, list(net.output))
    assert value == pytest.approx(np.cos(x) * np.cos(w), abs=1e-14)
