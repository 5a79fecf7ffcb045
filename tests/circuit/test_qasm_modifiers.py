"""ctrl, negctrl, inv and pow: exact to the phase, against matrices of their own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import unitary_group

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.qasm import from_qasm, to_qasm
from tn_qnn.circuit.qasm.synthesis import synthesised
from tn_qnn.circuit.slots import weight

from .qasm_reference import Matrix, controlled, power, same_up_to_phase, u_gate, unitary

HEADER = 'OPENQASM 3.0; include "stdgates.inc";'
ANGLES = (0.7, -1.3, 2.1, 0.4)

# The standard library in terms of U and the phase g = exp(i x), after the specification.
X = u_gate(math.pi, 0, math.pi) * np.exp(-0.5j * math.pi)
Z = np.diag([1, -1])
SWAP = np.eye(4)[[0, 2, 1, 3]]
a, b, c, d = ANGLES
STANDARD: dict[str, Matrix] = {
    "x": X,
    "y": u_gate(math.pi, math.pi / 2, math.pi / 2) * np.exp(-0.5j * math.pi),
    "z": Z,
    "h": u_gate(math.pi / 2, 0, math.pi) * np.exp(-0.25j * math.pi),
    "s": power(Z, 0.5),
    "sdg": power(Z, 0.5).conj(),
    "t": power(Z, 0.25),
    "tdg": power(Z, 0.25).conj(),
    "sx": power(X, 0.5),
    "id": np.eye(2),
    f"p({a})": u_gate(0, 0, a),
    f"phase({a})": u_gate(0, 0, a),
    f"u1({a})": u_gate(0, 0, a),
    f"rx({a})": u_gate(a, -math.pi / 2, math.pi / 2) * np.exp(-0.5j * a),
    f"ry({a})": u_gate(a, 0, 0) * np.exp(-0.5j * a),
    f"rz({a})": u_gate(0, 0, a) * np.exp(-0.5j * a),
    f"U({a}, {b}, {c})": u_gate(a, b, c),
    f"u2({a}, {b})": u_gate(math.pi / 2, a, b) * np.exp(-0.5j * (a + b + math.pi / 2)),
    f"u3({a}, {b}, {c})": u_gate(a, b, c) * np.exp(-0.5j * (a + b + c)),
    "cx": controlled(X),
    "CX": controlled(X),
    "cz": controlled(Z),
    f"cp({a})": controlled(u_gate(0, 0, a)),
    f"crz({a})": controlled(u_gate(0, 0, a) * np.exp(-0.5j * a)),
    f"cu({a}, {b}, {c}, {d})": controlled(u_gate(a, b, c) * np.exp(1j * (d - a / 2))),
    "swap": SWAP,
    "ccx": controlled(X, (1, 1)),
    "cswap": controlled(SWAP),
}


def matrix(statement: str, num_qubits: int, definitions: str = "") -> Matrix:
    places = ", ".join(f"q[{k}]" for k in range(num_qubits))
    return unitary(from_qasm(f"{HEADER}{definitions} qubit[{num_qubits}] q; {statement} {places};"))


@pytest.mark.parametrize("gate", STANDARD)
def test_a_controlled_gate_of_the_library_is_exact_to_the_phase(gate: str) -> None:
    expected = STANDARD[gate]
    n = len(expected).bit_length() - 1
    assert same_up_to_phase(matrix(gate, n), expected)
    assert same_up_to_phase(matrix("ctrl @ " + gate, n + 1), controlled(expected))
    assert same_up_to_phase(matrix("inv @ ctrl @ " + gate, n + 1), controlled(expected.conj().T))
    signs = controlled(expected, (0, 1, 0))
    assert same_up_to_phase(matrix("negctrl @ ctrl @ negctrl @ " + gate, n + 3), signs)


@pytest.mark.parametrize("gate", sorted(set(GATES) - {"u2", "u3"}))  # whose phase is version 3's
def test_controls_on_every_gate_of_the_table(gate: str) -> None:
    record = GATES[gate]
    listed = ", ".join(map(repr, ANGLES[: len(record.parameters)]))
    call = f"{gate}({listed})" if listed else gate
    written = to_qasm(
        Circuit(5).append(gate, range(record.num_qubits), ANGLES[: len(record.parameters)])
    )
    definitions = "".join(line for line in written.splitlines() if line.startswith("gate "))
    expected = controlled(record.matrix(ANGLES[: len(record.parameters)]), (1, 0))
    found = matrix("ctrl @ negctrl @ " + call, record.num_qubits + 2, definitions)
    assert same_up_to_phase(found, expected)


def test_common_controls_have_names() -> None:
    text = "ctrl @ x q[0], q[1]; ctrl(2) @ x q[0], q[1], q[2]; ctrl @ rz(0.5) q[0], q[1];"
    text += "ctrl @ cx q[0], q[1], q[2]; ctrl @ p(0.5) q[0], q[1]; ctrl @ gphase(0.5) q[0];"
    text += "ctrl(2) @ p(0.5) q[0], q[1], q[2]; gphase(0.5); ctrl @ swap q[0], q[1], q[2];"
    expected = Circuit(3).cx(0, 1).ccx(0, 1, 2).crz(0.5, 0, 1).ccx(0, 1, 2).cp(0.5, 0, 1)
    expected.p(0.5, 0).mcphase(0.5, 0, 1, 2).cswap(0, 1, 2)
    assert from_qasm(f"{HEADER} qubit[3] q; {text}") == expected


def test_the_phase_of_a_custom_gate_counts_under_a_control() -> None:
    definition = "gate g(t) a { gphase(t); rz(2*t) a; U(t, 0, 0.2) a; pow(2) @ sx a; }"
    rz = np.diag([np.exp(-1j * a), np.exp(1j * a)])
    expected = X @ u_gate(a, 0, 0.2) @ rz * np.exp(1j * a)
    assert same_up_to_phase(matrix(f"ctrl @ g({a})", 2, definition), controlled(expected))
    twice = matrix(f"ctrl @ ctrl @ g({a})", 3, definition)
    assert same_up_to_phase(twice, controlled(expected, (1, 1)))


def test_rz_and_p_differ_under_a_control() -> None:
    assert not same_up_to_phase(matrix("ctrl @ rz(1.0)", 2), matrix("ctrl @ p(1.0)", 2))
    assert same_up_to_phase(matrix("rz(1.0)", 1), matrix("p(1.0)", 1))


def test_controls_broadcast_and_come_first() -> None:
    text = f"{HEADER} qubit[2] a; qubit[2] b; qubit s; ctrl @ x a, b; negctrl @ ctrl @ z s, a, b;"
    expected = Circuit(5).cx(0, 2).cx(1, 3)
    for k in (0, 1):
        expected.x(4).ccz(4, k, 2 + k).x(4)
    assert from_qasm(text) == expected


@pytest.mark.parametrize("exponent", [0, 1, -1, 2, 3, -4, 0.5, -0.25, 1 / 3, 1.5])
@pytest.mark.parametrize("gate", sorted(STANDARD))
def test_powers(gate: str, exponent: float) -> None:
    """Principal powers, of a gate on one or two qubits and of any that is a controlled phase."""
    expected = STANDARD[gate]
    n = len(expected).bit_length() - 1
    raised = power(expected, exponent)
    assert same_up_to_phase(matrix(f"pow({exponent!r}) @ {gate}", n), raised)
    assert same_up_to_phase(matrix(f"ctrl @ pow({exponent!r}) @ {gate}", n + 1), controlled(raised))


@pytest.mark.parametrize("angle", [2 * math.pi, -2 * math.pi, 6 * math.pi, 5.0, -9.0, 12.0])
@pytest.mark.parametrize("gate", ["rx", "rz", "p", "crx"])
def test_fractional_powers_beyond_a_turn(gate: str, angle: float) -> None:
    n = GATES[gate].num_qubits
    expected = controlled(power(GATES[gate].matrix([angle]), 0.5))
    assert same_up_to_phase(matrix(f"ctrl @ pow(0.5) @ {gate}({angle!r})", n + 1), expected)


def test_order_of_modifiers_matters_for_fractional_powers() -> None:
    assert same_up_to_phase(matrix("ctrl @ inv @ pow(0.5) @ z", 2), controlled(STANDARD["sdg"]))
    assert same_up_to_phase(matrix("ctrl @ pow(0.5) @ inv @ z", 2), controlled(STANDARD["s"]))


def test_powers_of_custom_gates_and_of_inputs() -> None:
    definition = "gate g(k) a { pow(k) @ h a; t a; }"
    th = STANDARD["t"] @ power(STANDARD["h"], 3)
    found = matrix("ctrl @ pow(-2) @ g(3)", 2, definition)
    assert same_up_to_phase(found, controlled(power(th, -2)))
    found = matrix("ctrl @ pow(0.5) @ g(3)", 2, definition)
    assert same_up_to_phase(found, controlled(power(th, 0.5)))
    text = f"{HEADER} input float w; qubit q; pow(0.5) @ rx(w) q; inv @ pow(3) @ rz(w) q;"
    assert from_qasm(text) == Circuit(1).rx(weight("w") / 2, 0).rz(-3 * weight("w"), 0)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_synthesis_is_exact_to_the_phase(seed: int, n: int) -> None:
    from tn_qnn.circuit.qasm.powers import matrix_of

    rng = np.random.default_rng(seed)
    kinds = [
        lambda: unitary_group.rvs(2**n, random_state=rng),
        lambda: np.diag(np.exp(1j * rng.normal(size=2**n))),
        lambda: np.linalg.qr(rng.normal(size=(2**n, 2**n)))[0].astype(complex),
        lambda: np.eye(2**n)[rng.permutation(2**n)].astype(complex),
    ]
    target = kinds[seed % 4]()
    qubits = tuple(rng.permutation(n).tolist())
    ordered = matrix_of(synthesised(target, qubits), qubits)
    np.testing.assert_allclose(ordered, target, atol=1e-11)
