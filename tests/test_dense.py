"""The dense simulator, on which other tests rest: against Kronecker products and stim."""

import numpy as np
import pytest
import stim
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn import dense
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import I, X, Y, Z, density_matrix, projector
from tn_qnn.circuit.slots import feature, weight

from .circuits import random_circuit

LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def by_columns(circuit: Circuit, weights: dict[str, float], x: list[float]) -> np.ndarray:
    """The state, gate by gate over all basis states: no reshaping, no axes."""
    n = circuit.num_qubits
    psi = np.zeros(2**n, dtype=complex)
    psi[0] = 1
    for op in circuit.operations:
        u, out = op.matrix(weights, x), np.zeros_like(psi)
        shifts = [n - 1 - q for q in op.qubits]
        mask = sum(1 << s for s in shifts)
        for index in range(2**n):
            column = sum((index >> s & 1) << (len(shifts) - 1 - k) for k, s in enumerate(shifts))
            for row in range(len(u)):
                bits = sum((row >> (len(shifts) - 1 - k) & 1) << s for k, s in enumerate(shifts))
                out[index & ~mask | bits] += u[row, column] * psi[index]
        psi = out
    return psi


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_states(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, n, 8)
    weights = {name: float(rng.normal()) for name in circuit.weights}
    x = rng.normal(size=3).tolist()
    want = by_columns(circuit, weights, x)
    np.testing.assert_allclose(dense.state(circuit, weights, x), want, atol=1e-12)
    string = rng.choice(list("IXYZ"), size=n)
    operator = np.eye(1)
    observable = 1.0 * I()
    for q, letter in enumerate(string):
        operator = np.kron(operator, LETTERS[letter])
        observable = observable @ {"I": I(), "X": X(q), "Y": Y(q), "Z": Z(q)}[letter]
    value = dense.expectation(circuit, observable - 0.5, weights, x)
    assert value == pytest.approx(np.vdot(want, operator @ want).real - 0.5, abs=1e-12)


def test_density_matrices_and_projectors() -> None:
    circuit = random_circuit(np.random.default_rng(0), 4, 20, weights=0, features=0)
    psi = dense.state(circuit)
    full = np.outer(psi, psi.conj()).reshape((2,) * 8)
    want = np.einsum("abcdebfd->cafe", full).reshape(4, 4)
    np.testing.assert_allclose(dense.expectation(circuit, density_matrix([2, 0])), want, atol=1e-14)
    rho = np.asarray(dense.expectation(circuit, density_matrix([1, 3])))
    for bits in np.ndindex(2, 2):
        value = dense.expectation(circuit, projector({1: bits[0], 3: bits[1]}))
        assert value == pytest.approx(rho[2 * bits[0] + bits[1], 2 * bits[0] + bits[1]].real)


def test_qubit_zero_is_the_most_significant() -> None:
    np.testing.assert_array_equal(dense.state(Circuit(2).x(0)).real, [0, 0, 1, 0])
    np.testing.assert_array_equal(dense.state(Circuit(2).x(0).cx(0, 1)).real, [0, 0, 0, 1])


def test_weights_and_features_go_in() -> None:
    circuit = Circuit(1).ry(weight("a") * feature(1), 0)
    value = dense.expectation(circuit, Z(0), {"a": 0.5}, np.array([9.0, 0.6]))
    assert value == pytest.approx(np.cos(0.3), abs=1e-15)


def test_clifford_circuits_by_stim() -> None:
    rng = np.random.default_rng(0)
    names = {
        "h": "H",
        "s": "S",
        "sx": "SQRT_X",
        "cx": "CX",
        "cy": "CY",
        "cz": "CZ",
        "swap": "SWAP",
        "iswap": "ISWAP",
    }
    circuit, simulator = Circuit(5), stim.TableauSimulator()
    simulator.set_num_qubits(5)
    for _ in range(60):
        name = list(names)[rng.integers(8)]
        qubits = rng.permutation(5)[: 1 if len(names[name]) == 1 or name == "sx" else 2].tolist()
        circuit.append(name, qubits)
        simulator.do(stim.Circuit(f"{names[name]} {' '.join(map(str, qubits))}"))
    for string in ("XXYZI", "ZIIII", "IYIYX", "ZZZZZ", "XIXIX"):
        observable = 1.0 * I()
        for q, letter in enumerate(string):
            observable = observable @ {"I": I(), "X": X(q), "Y": Y(q), "Z": Z(q)}[letter]
        want = simulator.peek_observable_expectation(stim.PauliString(string))
        assert dense.expectation(circuit, observable) == pytest.approx(want, abs=1e-13)
