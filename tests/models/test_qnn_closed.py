"""Closed forms far beyond any statevector: 100 qubits and more."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import stim

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import heavy_hex_eagle, line, ring
from tn_qnn.circuit.observables import (
    I,
    Observable,
    PauliSum,
    X,
    Y,
    Z,
    density_matrix,
    projector,
    unpack_density,
)
from tn_qnn.circuit.slots import feature, weight

from ..circuits import checked_model

KICKED_ISING = 0.63870894551914  # 127 qubits, 5 steps, theta = 0.7, Z62


def values(circuit: Circuit, observables: Sequence[Observable], **options: object) -> np.ndarray:
    return checked_model(circuit, observables, **options)()[0]  # type: ignore[arg-type]


def product(factors: Iterable[PauliSum]) -> PauliSum:
    total = I()
    for factor in factors:
        total = total @ factor
    return total


# --- GHZ and product states


def ghz(n: int) -> Circuit:
    circuit = Circuit(n).h(0)
    for q in range(n - 1):
        circuit.cx(q, q + 1)
    return circuit


@pytest.mark.parametrize("n", [101, 150])
def test_ghz(n: int) -> None:
    all_x = product(X(q) for q in range(n))
    y_pair = all_x @ Z(0) @ Z(n - 1) * -1.0  # X...X with Y at both ends, up to its sign
    readouts = [
        all_x,
        y_pair,
        product(Z(q) for q in range(n - n % 2)),
        Z(3) @ Z(n - 1),
        Z(n // 2),
        X(0) @ X(1),
        projector(dict.fromkeys(range(n), 0)),
        projector(dict.fromkeys(range(n), 1)),
        projector({0: 0, n - 1: 1}),
    ]
    want = [1, -1, 1, 1, 0, 0, 0.5, 0.5, 0]
    np.testing.assert_allclose(values(ghz(n), readouts), want, atol=1e-12)


def test_density_matrix_of_ghz() -> None:
    out = values(ghz(120), [density_matrix([7, 100, 3])])
    want = np.zeros((8, 8))
    want[0, 0] = want[7, 7] = 0.5
    np.testing.assert_allclose(unpack_density(out), want, atol=1e-12)


def test_product_states() -> None:
    """<P> of a product state is the product of the qubits' own values."""
    n = 200
    rng = np.random.default_rng(0)
    theta, phi = rng.uniform(-3, 3, (2, n))
    circuit = Circuit(n)
    for q in range(n):
        circuit.ry(theta[q] * feature(q), q).rz(phi[q] * weight("w"), q)
    bloch = {
        "X": np.sin(theta) * np.cos(phi),
        "Y": np.sin(theta) * np.sin(phi),
        "Z": np.cos(theta),
    }
    strings = rng.integers(3, size=(5, n))
    readouts: list[Observable] = [X(3), Y(199), Z(100), projector({q: q % 2 for q in range(20)})]
    want = [bloch["X"][3], bloch["Y"][199], bloch["Z"][100]]
    want.append(np.prod([(1 + (-1) ** (q % 2) * np.cos(theta[q])) / 2 for q in range(20)]))
    for string in strings[:, :30]:
        readouts.append(product((X, Y, Z)[a](q) for q, a in enumerate(string)))
        want.append(np.prod([bloch["XYZ"[a]][q] for q, a in enumerate(string)]))
    model = checked_model(circuit, readouts)
    np.testing.assert_allclose(model([1.0], np.ones((1, n)))[0], want, atol=1e-13)


def test_transverse_rotations_after_a_diagonal_layer() -> None:
    """|+...+>, RZZ(g) on all bonds of a ring, then <X_i> = cos(g)^2, <Y_i Z_j> = sin g cos g."""
    n, g = 128, 0.37
    circuit = Circuit(n)
    for q in range(n):
        circuit.h(q)
    for bond in ring(n).edges:
        circuit.rzz(g, *bond)
    readouts = [X(0), X(77), Y(5) @ Z(6), Z(4) @ Y(5), Z(9)]
    want = [np.cos(g) ** 2] * 2 + [np.sin(g) * np.cos(g)] * 2 + [0]
    np.testing.assert_allclose(values(circuit, readouts), want, atol=1e-13)


# --- QAOA


def qaoa(n: int, edges: Iterable[Sequence[int]]) -> Circuit:
    """exp(-i beta B) exp(-i gamma C) |+>, C = sum (1 - Z_u Z_v) / 2."""
    circuit = Circuit(n)
    for q in range(n):
        circuit.h(q)
    for u, v in edges:
        circuit.rzz(-1.0 * weight("gamma"), u, v)
    for q in range(n):
        circuit.rx(2 * weight("beta"), q)
    return circuit


def cut(beta: float, gamma: float, d: int, e: int, triangles: int) -> float:
    """<(1 - Z_u Z_v) / 2>; d and e are the degrees less one.

    Theorem 1 of Wang, Hadfield, Jiang, Rieffel, Phys. Rev. A 97, 022304 (2018).
    """
    cos, sin = np.cos, np.sin
    one = 0.25 * sin(4 * beta) * sin(gamma) * (cos(gamma) ** d + cos(gamma) ** e)
    power = d + e - 2 * triangles
    two = 0.25 * sin(2 * beta) ** 2 * cos(gamma) ** power * (1 - cos(2 * gamma) ** triangles)
    return float(0.5 + one - two)


def triangles(edges: Sequence[Sequence[int]], u: int, v: int) -> int:
    around: dict[int, set[int]] = {}
    for a, b in edges:
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    return len(around[u] & around[v])


# a Möbius ladder
CUBIC = [(i, (i + 1) % 102) for i in range(102)] + [
    (i, i + 51) for i in range(51)
]  # a Möbius ladder
PRISMS = [  # 40 triangles joined to a ring by one edge each: degrees 2 and 3
    edge for t in range(40) for edge in (
        (3 * t, 3 * t + 1), (3 * t + 1, 3 * t + 2), (3 * t, 3 * t + 2),
        (3 * t + 2, (3 * t + 3) % 120),
    )
]  # fmt: skip
GRAPHS: dict[str, tuple[int, Sequence[Sequence[int]]]] = {
    "ring": (120, ring(120).edges),
    "3-regular": (102, CUBIC),
    "triangles": (120, PRISMS),
    "heavy-hex": (127, heavy_hex_eagle().edges),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_qaoa_of_one_layer(name: str) -> None:
    n, edges = GRAPHS[name]
    degree = np.bincount(np.ravel(edges), minlength=n)
    model = checked_model(qaoa(n, edges), [0.5 - 0.5 * (Z(u) @ Z(v)) for u, v in edges])
    assert len(model.jobs) <= 12
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (3, 2))
    order = [model.weight_names.index(name) for name in ("beta", "gamma")]
    out = model(angles)[:, 0]
    for row, (beta, gamma) in zip(out, angles[:, order], strict=True):
        want = [
            cut(beta, gamma, degree[u] - 1, degree[v] - 1, triangles(edges, u, v)) for u, v in edges
        ]
        np.testing.assert_allclose(row, want, atol=1e-12)


# --- Clifford circuits


CLIFFORD = ("h", "s", "sdg", "x", "y", "z", "sx", "sxdg", "cx", "cy", "cz", "swap", "iswap")
STIM = {"sdg": "S_DAG", "sx": "SQRT_X", "sxdg": "SQRT_X_DAG", "iswap": "ISWAP"}


@pytest.mark.parametrize("seed", range(4))
def test_clifford_circuits(seed: int) -> None:
    """Shallow Clifford circuits of 130 qubits: every value is -1, 0 or 1, and stim knows it."""
    n = 130
    rng = np.random.default_rng(seed)
    circuit, simulator = Circuit(n), stim.TableauSimulator()
    simulator.set_num_qubits(n)
    for layer in range(4):
        for name, qubits in clifford_layer(rng, n, layer):
            circuit.append(name, qubits)
            simulator.do(
                stim.Circuit(f"{STIM.get(name, name.upper())} {' '.join(map(str, qubits))}")
            )
    readouts, want = [], []
    for support in ((0,), (64,), (3, 4), (60, 100), (10, 11, 12), (126, 127, 128, 129)):
        for _ in range(8):
            axes = rng.integers(1, 4, size=len(support))
            string = stim.PauliString(n)
            for q, a in zip(support, axes, strict=True):
                string[q] = int(a)
            readouts.append(
                product((X, Y, Z)[a - 1](q) for q, a in zip(support, axes, strict=True))
            )
            want.append(simulator.peek_observable_expectation(string))
    # what stabilises the state, moved back from Z on one qubit, so that not all values are 0
    tableau = simulator.current_inverse_tableau() ** -1
    for q in range(0, n, 13):
        string = tableau.z_output(q)
        axes = [(q, a) for q, a in enumerate(string) if a]
        readouts.append(product((X, Y, Z)[a - 1](q) for q, a in axes) * float(string.sign.real))
        want.append(1)
    np.testing.assert_allclose(values(circuit, readouts), want, atol=1e-12)


def clifford_layer(rng: np.random.Generator, n: int, layer: int) -> Iterable[tuple[str, list[int]]]:
    for q in range(n):
        yield CLIFFORD[rng.integers(8)], [q]
    for q in range(layer % 2, n - 1, 2):
        yield CLIFFORD[8 + rng.integers(5)], [int(x) for x in rng.permutation([q, q + 1])]


def test_cluster_state_stabilisers() -> None:
    n = 150
    circuit = Circuit(n)
    for q in range(n):
        circuit.h(q)
    for bond in line(n).edges:
        circuit.cz(*bond)
    inner = [Z(q - 1) @ X(q) @ Z(q + 1) for q in range(1, n - 1)]
    out = values(circuit, [*inner, X(0) @ Z(1), X(4), Z(70)])
    np.testing.assert_allclose(out, [1] * (n - 2) + [1, 0, 0], atol=1e-13)


# --- 127 qubits


def kicked_ising(steps: int, theta: float | None = 0.7) -> Circuit:
    eagle = heavy_hex_eagle()
    circuit = Circuit(127)
    for _ in range(steps):
        for q in range(127):
            circuit.rx(weight("theta") if theta is None else theta, q)
        for bond in eagle.edges:
            circuit.rzz(-np.pi / 2, *bond)
    return circuit


def test_kicked_ising_on_127_qubits() -> None:
    model = checked_model(kicked_ising(5), [Z(62)], search="fast", sets=1, samples=1)
    assert model()[0, 0] == pytest.approx(KICKED_ISING, abs=1e-12)


def test_kicked_ising_in_single_precision_and_with_a_weight() -> None:
    model = checked_model(
        kicked_ising(5, None), [Z(62)], search="fast", dtype="float32", sets=1, samples=1
    )
    out = model([[0.7], [0.0], [np.pi / 2]])[:, 0, 0]
    assert out[0] == pytest.approx(KICKED_ISING, abs=1e-5)
    assert out[1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("theta", [0.0, np.pi / 2])
def test_kicked_ising_where_it_is_clifford(theta: float) -> None:
    """By stim, every magnetisation at once."""
    simulator = stim.TableauSimulator()
    simulator.set_num_qubits(127)
    for _ in range(3):
        if theta:
            simulator.sqrt_x(*range(127))
        for u, v in heavy_hex_eagle().edges:
            simulator.do(stim.Circuit(f"SQRT_ZZ_DAG {u} {v}"))
    want = [simulator.peek_z(q) for q in range(127)]
    out = values(kicked_ising(3, theta), [Z(q) for q in range(127)])
    np.testing.assert_allclose(out, want, atol=1e-11)
