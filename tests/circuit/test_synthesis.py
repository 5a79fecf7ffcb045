"""Matrices as elementary gates: the same matrix, and no more gates than the theory says."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, unitary_group

from tn_qnn import dense
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.qasm import from_qasm, to_qasm
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.circuit.synthesis.decompose import decompose_block, decomposed, elementary
from tn_qnn.circuit.synthesis.pieces import gates, one_qubit, product
from tn_qnn.circuit.synthesis.two_qubit import cartan, two_qubit, up_to_diagonal
from tn_qnn.errors import CircuitError

# Shende, Bullock and Markov 2006, table 1: with both of their savings.
SHANNON_COUNTS = {1: 0, 2: 3, 3: 20, 4: 100, 5: 444, 6: 1868}


def matrix_of(circuit: Circuit) -> np.ndarray:
    """Column k is the state that the dense simulator makes of basis state k."""
    columns = []
    for k in range(2**circuit.num_qubits):
        start = Circuit(circuit.num_qubits)
        for q in range(circuit.num_qubits):
            if k >> (circuit.num_qubits - 1 - q) & 1:
                start.x(q)
        columns.append(dense.state(start.compose(circuit)))
    return np.array(columns).T


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of entries after the best common phase."""
    overlap = np.vdot(b, a)
    return float(np.abs(a - overlap / abs(overlap) * b).max())


def entangling(found: Circuit) -> int:
    return sum(len(op.qubits) > 1 for op in found.operations)


@pytest.mark.parametrize(
    ("n", "real"), [*itertools.product([1, 2, 3, 4], [False, True]), (5, True), (6, False)]
)
def test_haar_random_matrices(n: int, real: bool) -> None:
    u = (ortho_group if real else unitary_group).rvs(2**n, random_state=n).astype(complex)
    found = decompose_block(u)
    if n < 5:
        assert distance(matrix_of(found), u) < 1e-12
    else:  # one state is enough to see a fault, and quicker
        start = Circuit(n)
        for q in range(n):
            start.ry(0.3 + q, q)
        want = u @ dense.state(start)
        got = dense.state(start.compose(found))
        assert abs(np.vdot(got, want)) == pytest.approx(1, abs=1e-12)
    assert set(found.counts()) <= {"u3", "ry", "rz", "cx", "cz"}
    assert found.num_qubits == n
    if n == 2 and real:
        assert entangling(found) == (2 if np.linalg.det(u).real > 0 else 3)
    else:
        assert entangling(found) == SHANNON_COUNTS[n]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_the_count_is_the_formula(n: int) -> None:
    assert SHANNON_COUNTS[n] * 48 == 23 * 4**n - 72 * 2**n + 64


def two_qubit_gate(name: str) -> np.ndarray:
    return GATES[name].matrix([0.7] * len(GATES[name].parameters))


COUNTS = {
    "cx": 1, "cy": 1, "cz": 1, "ch": 1, "csx": 2, "cp": 2, "crx": 2, "cry": 2, "crz": 2,
    "cu3": 2, "swap": 3, "iswap": 2, "rxx": 2, "ryy": 2, "rzz": 2, "fsim": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", [g.name for g in GATES.values() if g.num_qubits == 2])
def test_gates_of_the_table_take_the_fewest(name: str) -> None:
    u = two_qubit_gate(name)
    found = decompose_block(u)
    assert distance(matrix_of(found), u) < 1e-12
    if name in COUNTS:
        assert entangling(found) == COUNTS[name]


def special(n: int) -> dict[str, np.ndarray]:
    d = 2**n
    rng = np.random.default_rng(n)
    locals_ = np.eye(1)
    for _ in range(n):
        locals_ = np.kron(locals_, unitary_group.rvs(2, random_state=rng))
    fourier = np.exp(2j * np.pi * np.outer(np.arange(d), np.arange(d)) / d) / np.sqrt(d)
    hadamard = np.eye(1)
    for _ in range(n):
        hadamard = np.kron(hadamard, np.array([[1, 1], [1, -1]]) / np.sqrt(2))
    return {
        "identity": np.eye(d),
        "minus": -np.eye(d),
        "phase": np.exp(0.3j) * np.eye(d),
        "reversed": np.eye(d)[::-1],
        "shift": np.roll(np.eye(d), 1, axis=0),
        "permutation": np.eye(d)[rng.permutation(d)],
        "signs": np.diag(rng.choice([-1, 1], d)),
        "phases": np.diag(np.exp(1j * rng.normal(size=d))),
        "local": locals_,
        "fourier": fourier,
        "hadamard": hadamard,
        "reflection": np.eye(d) - 2.0 / d,
        "almost identity": np.linalg.qr(np.eye(d) + 1e-9 * rng.normal(size=(d, d)))[0],
    }


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("name", special(1))
def test_special_matrices(name: str, n: int) -> None:
    """Eigenvalues that coincide, zeros, and entries on the edge."""
    u = special(n)[name].astype(complex)
    found = elementary(u)
    assert np.abs(np.exp(1j * found.phase) * product(found.gates, n) - u).max() < 1e-9
    assert found.fidelity == pytest.approx(1, abs=1e-12)
    if n == 2 and name in ("identity", "minus", "phase", "local", "hadamard"):
        assert not [gate for gate in found.gates if len(gate.qubits) == 2]
    if name in ("identity", "minus", "phase") and n <= 2:
        assert not found.gates


ANGLES = st.floats(-7, 7) | st.integers(-8, 8).map(lambda k: k * np.pi / 8)


@given(st.tuples(ANGLES, ANGLES, ANGLES), st.integers(0, 10**6))
def test_cartan(angles: tuple[float, float, float], seed: int) -> None:
    """Any angles, also where they coincide: the same matrix, with at most three CX."""
    pairs = [np.kron(PAULI[a], PAULI[a]) for a in "XYZ"]
    values, vectors = np.linalg.eigh(sum(a * p for a, p in zip(angles, pairs, strict=True)))
    core = (vectors * np.exp(1j * values)) @ vectors.conj().T
    a, b, c, d = unitary_group.rvs(2, size=4, random_state=seed)
    u = np.kron(a, b) @ core @ np.kron(c, d)
    for form in (cartan(u), cartan(u).reduced(), cartan(u).exchanged(0, 2)):
        pieces = zip(form.angles, pairs, strict=True)
        middle = np.eye(4)
        for angle, pair in pieces:
            middle = middle @ (np.cos(angle) * np.eye(4) + 1j * np.sin(angle) * pair)
        again = np.kron(*form.left) @ middle @ np.kron(*form.right)
        assert distance(again, u) < 1e-10
    assert np.abs(cartan(u).reduced().angles).max() <= np.pi / 4 + 1e-12
    found = list(gates(two_qubit(u, 0, 1)))
    assert distance(product(found, 2), u) < 1e-9
    assert sum(len(gate.qubits) == 2 for gate in found) <= 3


@given(st.integers(0, 10**6))
def test_up_to_a_diagonal_two_cx_are_enough(seed: int) -> None:
    u = unitary_group.rvs(4, random_state=seed)
    diagonal, rest = up_to_diagonal(u)
    np.testing.assert_allclose(abs(diagonal), 1, atol=1e-14)
    np.testing.assert_allclose(np.diag(diagonal) @ rest, u, atol=1e-14)
    found = list(gates(two_qubit(rest, 0, 1)))
    assert sum(len(gate.qubits) == 2 for gate in found) == 2
    assert distance(product(found, 2), rest) < 1e-9


@given(st.integers(0, 10**6), st.sampled_from([0.0, np.pi, np.pi / 2, 1e-13, 0.4]), ANGLES, ANGLES)
def test_one_qubit(seed: int, theta: float, phi: float, lam: float) -> None:
    u = np.exp(1j * seed) * GATES["u3"].matrix([theta, phi, lam])
    found = list(one_qubit(u, 0))
    assert len(found) <= 1
    assert distance(product(found, 1), u) < 1e-11


def test_qubits_of_a_circuit_and_the_report() -> None:
    rng = np.random.default_rng(1)
    free = Circuit(5).h(0).rx(weight("a") * feature(0), 3)
    free.block(orthogonal("O", chart="entries"), [3, 1]).cx(1, 2)
    free.block(unitary("U"), [4, 0, 2]).block(orthogonal("O", chart="entries"), [0, 1])
    free.unitary(unitary_group.rvs(4, random_state=3), [2, 4]).u3(0.1, 0.2, 0.3, 1)
    values = {name: float(rng.normal()) for name in free.weights if name != "a"}
    report = free.decomposed(values)
    assert report.circuit.weights == ("a",)
    assert report.matrices == 4
    assert report.fidelity == pytest.approx(1, abs=1e-12)
    assert all(len(op.qubits) <= 2 for op in report.circuit.operations)
    assert report.counts == report.circuit.counts()
    assert report.depth == report.circuit.depth()
    assert report.two_qubit_gates == entangling(report.circuit)
    assert f"{report.two_qubit_gates} two-qubit gates" in str(report)
    got = dense.state(report.circuit, {"a": 0.4}, [0.5])
    want = dense.state(free, {**values, "a": 0.4}, [0.5])
    assert abs(np.vdot(got, want)) == pytest.approx(1, abs=1e-12)
    assert decomposed(report.circuit).circuit == report.circuit
    assert decomposed(report.circuit).matrices == 0


def test_the_fidelity_is_that_of_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A synthesis that leaves out its last gate is found out by the report."""
    from tn_qnn.circuit.synthesis import decompose

    whole = decompose.gates
    monkeypatch.setattr(decompose, "gates", lambda pieces: list(whole(pieces))[:-1])
    u = unitary_group.rvs(8, random_state=0)
    assert decomposed(Circuit(3).unitary(u, [0, 1, 2])).fidelity < 0.999


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chart", ["exponential", "entries"])
def test_openqasm_of_bound_blocks(version: int, chart: str) -> None:
    circuit = Circuit(5).h(0).block(orthogonal("O", chart), [4, 1, 2, 0, 3])
    circuit.block(unitary("U", chart), [1, 3])
    rng = np.random.default_rng(4)
    bound = circuit.bind({name: float(rng.normal()) for name in circuit.weights})
    found = from_qasm(to_qasm(bound, version))
    assert abs(np.vdot(dense.state(found), dense.state(bound))) == pytest.approx(1, abs=1e-11)
    assert all(len(op.qubits) <= 2 for op in found.operations)
    assert entangling(found) == 444 + 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decompose_block(np.eye(3)), "unitary: a .* matrix"),
        (lambda: decompose_block(np.ones((2, 2))), "not unitary"),
        (lambda: decompose_block(np.eye(128)), "1 to 6 qubits"),
        (lambda: decompose_block(3.0), "unitary: a .* matrix"),
        (lambda: Circuit(1).block(unitary("U"), [0]).decomposed(), "block 'U' has no value"),
        (lambda: Circuit(1).decomposed({"a": 1.0}), "no weight named 'a'"),
    ],
)
def test_errors(make, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        make()


def test_every_pair_of_qubits_in_both_directions() -> None:
    u = unitary_group.rvs(4, random_state=9)
    for pair in itertools.permutations(range(3), 2):
        whole = Circuit(3).h(0).h(1).ry(0.3, 2).unitary(u, pair)
        got, want = dense.state(whole.decomposed().circuit), dense.state(whole)
        assert abs(np.vdot(got, want)) == pytest.approx(1, abs=1e-12)
