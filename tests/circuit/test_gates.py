"""The gate table: every record against its own matrix, and known matrices by name."""

import cmath
import math

import numpy as np
import pytest

from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.gates import (
    ALIASES,
    GATES,
    MAX_PHASE_QUBITS,
    Gate,
    controlled,
    embed,
    multi_controlled_phase,
    permutation_matrix,
)

from ..circuits import random_unitary

TABLE = {**GATES, **{f"mcphase{k}": multi_controlled_phase(k) for k in (1, 2, 3, 4)}}
TURNING = [(n, i) for n, g in sorted(TABLE.items()) for i in range(len(g.parameters)) if n != "u0"]


def angles(gate: Gate, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).uniform(-4, 4, len(gate.parameters)).tolist()


def up_to_phase(a: np.ndarray, b: np.ndarray) -> bool:
    overlap = np.trace(a.conj().T @ b) / len(a)
    return bool(np.allclose(a * overlap, b, atol=1e-12)) and abs(abs(overlap) - 1) < 1e-12


@pytest.mark.parametrize("name", sorted(TABLE))
def test_matrices_are_unitary(name: str) -> None:
    gate = TABLE[name]
    u = gate.matrix(angles(gate))
    assert u.shape == (2**gate.num_qubits,) * 2
    assert u.dtype == np.complex128
    np.testing.assert_allclose(u @ u.conj().T, np.eye(len(u)), atol=1e-14)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_factors_multiply_to_the_matrix(name: str) -> None:
    """To the last phase: a controlled phase is seen."""
    gate = TABLE[name]
    for seed in range(3):
        params = angles(gate, seed)
        np.testing.assert_allclose(gate.factored_matrix(params), gate.matrix(params), atol=1e-14)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_inverses(name: str) -> None:
    gate = TABLE[name]
    params = angles(gate)
    other, turned = gate.inverse(*params)
    known = gate if other == "mcphase" else GATES[other]
    product = known.matrix([float(t) for t in turned]) @ gate.matrix(params)
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


@pytest.mark.parametrize(("name", "index"), TURNING)
def test_derivatives(name: str, index: int) -> None:
    gate, step = TABLE[name], 1e-5
    params = angles(gate)
    moved = [[*params[:index], params[index] + s * step, *params[index + 1 :]] for s in (1, -1)]
    want = (gate.matrix(moved[0]) - gate.matrix(moved[1])) / (2 * step)
    np.testing.assert_allclose(gate.derivative(params, index), want, atol=1e-9)
    assert np.any(np.abs(want) > 1e-3)


@pytest.mark.parametrize(("name", "index"), TURNING)
def test_frequencies(name: str, index: int) -> None:
    """Expectation values as functions of one angle: exactly these Fourier frequencies."""
    gate = TABLE[name]
    rng = np.random.default_rng(1)
    count, turns = 32, 4 * np.pi  # frequencies in steps of a half, up to 8
    strengths = np.zeros(count // 2)
    for _ in range(3):
        psi = random_unitary(rng, 2**gate.num_qubits)[:, 0]
        m = random_unitary(rng, len(psi))
        values = []
        for k in range(count):
            params = angles(gate)
            params[index] = turns * k / count
            out = gate.matrix(params) @ psi
            values.append(np.vdot(out, (m + m.conj().T) @ out).real)
        strengths += np.abs(np.fft.rfft(values))[: count // 2] / count
    found = tuple(k / 2 for k in range(1, count // 2) if strengths[k] > 1e-9)
    assert gate.frequencies(index) == found


def test_a_gate_that_does_nothing_has_no_frequency() -> None:
    assert GATES["u0"].frequencies(0) == ()
    assert not GATES["u0"].derivative([0.3], 0).any()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_diagonal_and_real_are_what_the_matrices_are(name: str) -> None:
    gate = TABLE[name]
    params = angles(gate)
    u = gate.matrix(params)
    assert gate.diagonal == np.allclose(u, np.diag(np.diag(u)))
    if gate.real:
        assert not np.any(u.imag)
    elif not gate.parameters:
        assert np.any(u.imag)


def test_permutations_only_where_there_is_a_swap() -> None:
    assert {n for n, g in GATES.items() if g.permutation} == {"swap", "iswap", "iswapdg"}
    want = np.zeros((8, 8))
    for bits in np.ndindex(2, 2, 2):  # qubit 0 goes to place 2, 1 to 0, 2 to 1
        want[bits[1] * 4 + bits[2] * 2 + bits[0], bits[0] * 4 + bits[1] * 2 + bits[2]] = 1
    np.testing.assert_array_equal(permutation_matrix((2, 0, 1)), want)


def test_embedding() -> None:
    a, b = (random_unitary(np.random.default_rng(s), 2) for s in (0, 1))
    np.testing.assert_allclose(embed(a, [1], 3), np.kron(np.kron(np.eye(2), a), np.eye(2)))
    np.testing.assert_allclose(embed(np.kron(a, b), [2, 0], 3), np.kron(np.kron(b, np.eye(2)), a))


# --- known matrices, written out

S2 = 1 / math.sqrt(2)
T = 0.7
C, S = math.cos(T / 2), math.sin(T / 2)
W, P = cmath.exp(1j * math.pi / 4), cmath.exp(1j * T)
KNOWN = {
    "id": ([], np.eye(2)),
    "x": ([], PAULI["X"]),
    "y": ([], PAULI["Y"]),
    "z": ([], PAULI["Z"]),
    "h": ([], [[S2, S2], [S2, -S2]]),
    "s": ([], [[1, 0], [0, 1j]]),
    "sdg": ([], [[1, 0], [0, -1j]]),
    "t": ([], [[1, 0], [0, W]]),
    "tdg": ([], [[1, 0], [0, W.conjugate()]]),
    "sx": ([], [[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]]),
    "rx": ([T], [[C, -1j * S], [-1j * S, C]]),
    "ry": ([T], [[C, -S], [S, C]]),
    "rz": ([T], [[C - 1j * S, 0], [0, C + 1j * S]]),
    "p": ([T], [[1, 0], [0, P]]),
    "u3": ([T, 0.4, 0.9], [[C, -S * cmath.exp(0.9j)], [S * cmath.exp(0.4j), C * cmath.exp(1.3j)]]),
    "u2": ([0.4, 0.9], [[S2, -S2 * cmath.exp(0.9j)], [S2 * cmath.exp(0.4j), S2 * cmath.exp(1.3j)]]),
    "cx": ([], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]),
    "cy": ([], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, -1j], [0, 0, 1j, 0]]),
    "cz": ([], np.diag([1, 1, 1, -1])),
    "swap": ([], [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "iswap": ([], [[1, 0, 0, 0], [0, 0, 1j, 0], [0, 1j, 0, 0], [0, 0, 0, 1]]),
    "cp": ([T], np.diag([1, 1, 1, P])),
    "rzz": ([T], np.diag([C - 1j * S, C + 1j * S, C + 1j * S, C - 1j * S])),
    "rxx": ([T], [[C, 0, 0, -1j * S], [0, C, -1j * S, 0], [0, -1j * S, C, 0], [-1j * S, 0, 0, C]]),
    "ryy": ([T], [[C, 0, 0, 1j * S], [0, C, -1j * S, 0], [0, -1j * S, C, 0], [1j * S, 0, 0, C]]),
    "crz": ([T], np.diag([1, 1, C - 1j * S, C + 1j * S])),
    "crx": ([T], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, C, -1j * S], [0, 0, -1j * S, C]]),
    "cry": ([T], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, C, -S], [0, 0, S, C]]),
    "fsim": (
        [T, 0.4],
        [
            [1, 0, 0, 0],
            [0, math.cos(T), -1j * math.sin(T), 0],
            [0, -1j * math.sin(T), math.cos(T), 0],
            [0, 0, 0, cmath.exp(-0.4j)],
        ],
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_matrices(name: str) -> None:
    params, matrix = KNOWN[name]
    np.testing.assert_allclose(GATES[name].matrix(params), matrix, atol=1e-15)


def test_controlled_gates_are_controlled() -> None:
    for name, plain, controls in (
        ("ch", "h", 1), ("csx", "sx", 1), ("csxdg", "sxdg", 1), ("ccx", "x", 2), ("ccz", "z", 2),
        ("c3x", "x", 3), ("c4x", "x", 4), ("cswap", "swap", 1), ("crx", "rx", 1), ("cry", "ry", 1),
        ("crz", "rz", 1), ("cp", "p", 1), ("cu3", "u3", 1),
    ):  # fmt: skip
        params = angles(GATES[plain])
        want = controlled(GATES[plain].matrix(params), controls)
        np.testing.assert_allclose(GATES[name].matrix(params), want, atol=1e-15)
    root = GATES["c3sqrtx"].matrix()
    np.testing.assert_allclose(root @ root, GATES["c3x"].matrix(), atol=1e-14)
    cu = GATES["cu"].matrix([0.1, 0.2, 0.3, 0.4])
    want = controlled(np.exp(0.4j) * GATES["u3"].matrix([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(cu, want, atol=1e-15)


def test_relative_phase_toffolis_permute_like_toffolis() -> None:
    for name, full in (("rccx", "ccx"), ("rc3x", "c3x")):
        np.testing.assert_allclose(abs(GATES[name].matrix()), GATES[full].matrix().real, atol=1e-14)


def test_the_table_is_complete() -> None:
    """qelib1.inc and stdgates.inc, and those that the engine adds."""
    qelib1 = (
        "u3 u2 u1 cx id u0 u p x y z h s sdg t tdg rx ry rz sx sxdg cz cy swap ch ccx cswap crx"
        " cry crz cu1 cp cu3 csx cu rxx rzz rccx rc3x c3x c3sqrtx c4x"
    )
    stdgates = (
        "p x y z h s sdg t tdg sx rx ry rz cx cy cz cp crx cry crz ch swap ccx cswap cu CX phase"
        " cphase id u1 u2 u3"
    )
    ours = "ryy iswap fsim"
    names = {*qelib1.split(), *stdgates.split(), *ours.split()}
    assert names <= {*GATES, *ALIASES}
    assert set(ALIASES.values()) <= set(GATES)
    assert not set(ALIASES) & set(GATES)
    assert all(name == gate.name and gate.doc for name, gate in GATES.items())


def test_aliases_of_one_name_agree_up_to_phase() -> None:
    assert up_to_phase(GATES["p"].matrix([T]), GATES["rz"].matrix([T]))
    assert up_to_phase(GATES["u3"].matrix([T, 0, 0]), GATES["ry"].matrix([T]))
    assert not up_to_phase(GATES["cp"].matrix([T]), GATES["crz"].matrix([T]))


def test_multi_controlled_phases_are_made_once() -> None:
    most = multi_controlled_phase(MAX_PHASE_QUBITS)
    np.testing.assert_allclose(most.factored_matrix([T]), most.matrix([T]), atol=1e-15)
    assert multi_controlled_phase(4) is multi_controlled_phase(4)
    np.testing.assert_allclose(
        multi_controlled_phase(3).matrix([T]), np.diag([1] * 7 + [P]), atol=1e-15
    )
