"""Encodings: states against formulas written with numpy alone."""

import math
from functools import reduce

import numpy as np
import pytest
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import (
    angle,
    basis,
    data_reuploading,
    dense_angle,
    iqp,
    zz_feature_map,
)
from tn_qnn.circuit.graphs import Graph, complete, from_edges, line, ring
from tn_qnn.dense import state
from tn_qnn.errors import CircuitError

X = np.array([[0, 1], [1, 0]])
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1, -1])
AXES = {"x": X, "y": Y, "z": Z}

Array = NDArray[np.complex128]


def rotation(pauli: Array, theta: float) -> Array:
    return math.cos(theta / 2) * np.eye(2) - 1j * math.sin(theta / 2) * pauli


def product(columns: list[Array]) -> Array:
    return reduce(np.kron, columns)


def assert_same_ray(a: Array, b: Array) -> None:
    """Equal up to a global phase."""
    assert np.linalg.norm(a) == pytest.approx(1)
    assert np.linalg.norm(b) == pytest.approx(1)
    assert abs(np.vdot(a, b)) == pytest.approx(1, abs=1e-12)


def bits(n: int) -> NDArray[np.int64]:
    """All basis states, shape (2**n, n), qubit 0 first."""
    return np.arange(2**n)[:, None] >> np.arange(n)[::-1] & 1


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize(("scale", "features"), [(math.pi, None), (0.7, [2, 0, 2])])
def test_angle_is_a_product_of_rotations(
    axis: str, scale: float, features: list[int] | None
) -> None:
    x = [0.3, -0.8, 1.4]
    taken = x if features is None else [x[i] for i in features]
    expected = product([rotation(AXES[axis], scale * value)[:, 0] for value in taken])
    c = angle(3, axis, scale, features)
    np.testing.assert_allclose(state(c, features=x), expected, atol=1e-12)
    assert c.weights == ()


def test_dense_angle_is_a_product_of_larose_and_coyles_qubits() -> None:
    x = [0.3, -0.8, 1.4, 0.2]
    qubits = [
        [math.cos(math.pi * a), math.sin(math.pi * a) * np.exp(2j * math.pi * b)]
        for a, b in (x[:2], x[2:])
    ]
    c = dense_angle(2, scale=2 * math.pi)
    np.testing.assert_allclose(state(c, features=x), product(qubits), atol=1e-12)


def test_dense_angle_takes_chosen_features() -> None:
    assert dense_angle(1, features=[4, 1]).num_features == 5


@pytest.mark.parametrize("word", [[0, 0, 0], [1, 0, 1], [1, 1, 0]])
def test_basis_prepares_the_bits(word: list[int]) -> None:
    index = int("".join(map(str, word)), 2)
    np.testing.assert_allclose(np.abs(state(basis(3), features=word)), np.eye(8)[index], atol=1e-12)


def diagonal_map(
    graph: Graph, layers: int, single: Array, pair: dict[tuple[int, int], float]
) -> Array:
    """Layers of H on all and phases: `single` on each 1, `pair` on each odd parity."""
    n = graph.num_nodes
    b = bits(n)
    phase = b @ single + sum((value * (b[:, i] ^ b[:, j]) for (i, j), value in pair.items()), 0.0)
    hadamards = (-1.0) ** (b @ b.T) / 2 ** (n / 2)
    psi = np.eye(2**n)[0].astype(complex)
    for _ in range(layers):
        psi = np.exp(1j * phase) * (hadamards @ psi)
    return psi


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("graph", [None, line(3), from_edges(3, [(0, 2)])])
def test_zz_feature_map_against_its_formula(layers: int, graph: Graph | None) -> None:
    x = np.array([0.3, -0.8, 1.4])
    used = complete(3) if graph is None else graph
    pair = {(i, j): 2 * (math.pi - x[i]) * (math.pi - x[j]) for i, j in used.edges}
    expected = diagonal_map(used, layers, 2 * x, pair)
    assert_same_ray(state(zz_feature_map(3, layers, graph), features=list(x)), expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_iqp_against_its_formula(layers: int) -> None:
    x = np.array([0.3, -0.8, 1.4, 0.5])
    pair = {(i, j): x[i] * x[j] for i, j in ring(4).edges}
    expected = diagonal_map(ring(4), layers, x, pair)
    assert_same_ray(state(iqp(4, layers, ring(4)), features=list(x)), expected)


def test_zz_feature_map_of_one_qubit_has_no_pairs() -> None:
    assert zz_feature_map(1, 1).counts() == {"h": 1, "p": 1}


def test_reuploading_of_one_qubit_is_the_papers_product() -> None:
    x = [0.3, -0.8, 1.4]
    c = data_reuploading(1, layers=4, num_features=3)
    rng = np.random.default_rng(1)
    weights = {name: float(rng.normal()) for name in c.weights}
    psi = np.array([1, 0], dtype=complex)
    for layer in range(4):
        for k, axis in enumerate("zyz"):
            name = f"w.{layer}.0.{k}"
            theta = weights[f"{name}.slope"] * x[k] + weights[f"{name}.bias"]
            psi = rotation(AXES[axis], theta) @ psi
    np.testing.assert_allclose(state(c, weights, x), psi, atol=1e-12)
    assert len(weights) == 24


def test_reuploading_gives_features_out_in_turn() -> None:
    c = data_reuploading(2, layers=2, num_features=3, rotations=["rx", "rz"], entangler="crx")
    used = [op.params[0].features for op in c.operations if op.gate in ("rx", "rz")]
    assert used == [frozenset({k % 3}) for k in range(8)]
    assert c.counts() == {"rx": 4, "rz": 4, "crx": 1}
    assert "w.0.0-1.0" in c.weights


def test_reuploading_of_zero_weights_forgets_the_data() -> None:
    c = data_reuploading(3, layers=3)
    psi = state(c, dict.fromkeys(c.weights, 0.0), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(psi, np.eye(8)[0], atol=1e-12)


@pytest.mark.parametrize("c", [angle(3), dense_angle(3), basis(3), iqp(3), zz_feature_map(3)])
def test_feature_count(c: Circuit) -> None:
    assert c.num_features == (6 if "p" in c.counts() and "ry" in c.counts() else 3)
    assert c.weights == ()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: angle(0), "n must be at least 1"),
        (lambda: angle(2, "w"), "axis must be"),
        (lambda: angle(2, scale=math.nan), "finite"),
        (lambda: angle(2, features=[0]), "features must hold 2"),
        (lambda: angle(1, features=[-1]), "features must be at least 0"),
        (lambda: dense_angle(2, features=[0, 1]), "features must hold 4"),
        (lambda: dense_angle(-1), "n must be at least 1"),
        (lambda: basis(0), "n must be at least 1"),
        (lambda: iqp(3, 0), "layers must be at least 1"),
        (lambda: zz_feature_map(3, graph=line(4)), "graph has 4 nodes, but n is 3"),
        (lambda: zz_feature_map(0), "n must be at least 1"),
        (lambda: data_reuploading(2, 0), "layers must be at least 1"),
        (lambda: data_reuploading(0, 1), "graph .* at least 1"),
        (lambda: data_reuploading(2, 1, rotations=["foo"]), "rotations holds 'foo', an unknown"),
        (lambda: data_reuploading(2, 1, rotations="ry"), "rotations must be a sequence"),
        (lambda: data_reuploading(2, 1, num_features=0), "num_features must be at least 1"),
        (lambda: data_reuploading(2, 1, num_features=7), "num_features is 7, .* only 6 angles"),
        (lambda: data_reuploading(2, 1, entangler="h"), "entangler holds 'h', on 1 qubit"),
    ],
)
def test_bad_input_names_the_argument(make, words: str) -> None:
    with pytest.raises(CircuitError, match=words):
        make()
