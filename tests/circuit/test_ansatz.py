"""Ansätze: counts, coverage, weight names, and states against loops written with numpy alone."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tn_qnn.circuit.ansatz import (
    BlockFunction,
    brickwork,
    cry_pool,
    hardware_efficient,
    matrix_product,
    mera,
    orthogonal_block,
    qcnn,
    so4_block,
    strongly_entangling,
    su4_block,
    tree,
    unitary_block,
)
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import Graph, complete, grid, heavy_hex_eagle, line, ring
from tn_qnn.dense import state
from tn_qnn.errors import CircuitError

BLOCKS: list[BlockFunction] = [so4_block, su4_block, orthogonal_block, unitary_block]
GRAPHS = {
    "line": line(5),
    "ring": ring(5),
    "grid": grid(2, 3),
    "complete": complete(4),
    "eagle": heavy_hex_eagle(),
}


def random_weights(circuit: Circuit, seed: int = 0) -> dict[str, float]:
    values = np.random.default_rng(seed).uniform(-3, 3, len(circuit.weights))
    return dict(zip(circuit.weights, values.tolist(), strict=True))


def matrix_of(circuit: Circuit, weights: dict[str, float]) -> NDArray[np.complex128]:
    """The circuit's unitary, column by column."""
    n = circuit.num_qubits
    columns = []
    for index in range(2**n):
        start = Circuit(n)
        for qubit in range(n):
            if index >> (n - 1 - qubit) & 1:
                start.x(qubit)
        columns.append(state(start.compose(circuit), weights))
    return np.stack(columns, axis=1)


def block_circuit(block: BlockFunction, n: int = 2) -> Circuit:
    circuit = Circuit(n)
    block(circuit, range(n), "w")
    return circuit


def pairs(circuit: Circuit) -> list[tuple[int, ...]]:
    """Where the entangling operations stand."""
    return [op.qubits for op in circuit.operations if len(op.qubits) > 1]


# --- blocks


@pytest.mark.parametrize("block", [*BLOCKS, cry_pool])
def test_blocks_of_zero_weights_are_the_identity(block: BlockFunction) -> None:
    c = block_circuit(block)
    u = matrix_of(c, dict.fromkeys(c.weights, 0.0))
    np.testing.assert_allclose(u, np.eye(4), atol=1e-12)


@pytest.mark.parametrize(("block", "dimension"), [(so4_block, 6), (su4_block, 15)])
def test_blocks_have_as_many_directions_as_weights(block: BlockFunction, dimension: int) -> None:
    c = block_circuit(block)
    weights = random_weights(c)
    columns = []
    for name in c.weights:
        plus = matrix_of(c, weights | {name: weights[name] + 1e-5})
        minus = matrix_of(c, weights | {name: weights[name] - 1e-5})
        slope = ((plus - minus) / 2e-5).reshape(-1)
        columns.append(np.concatenate([slope.real, slope.imag]))
    assert len(columns) == dimension
    assert np.linalg.matrix_rank(np.array(columns), tol=1e-4) == dimension


@pytest.mark.parametrize("seed", range(3))
def test_so4_block_reaches_any_real_rotation(seed: int) -> None:
    from scipy.optimize import least_squares

    rng = np.random.default_rng(seed)
    target = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    target[:, 0] *= np.linalg.det(target)

    def ry(theta: float) -> NDArray[np.float64]:
        c, s = math.cos(theta / 2), math.sin(theta / 2)
        return np.array([[c, -s], [s, c]])

    def block(w: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c = (np.kron(ry(w[k]), ry(w[k + 1])) for k in (0, 2, 4))
        cz = np.diag([1, 1, 1, -1])
        return c @ cz @ b @ cz @ a

    fits = [
        least_squares(lambda w: (block(w) - target).ravel(), rng.uniform(-3, 3, 6), xtol=1e-12)
        for _ in range(8)
    ]
    best = min(fits, key=lambda fit: fit.cost)
    assert best.cost < 1e-12
    # The circuit is the block that was fitted.
    c = block_circuit(so4_block)
    built = matrix_of(c, dict(zip(c.weights, best.x.tolist(), strict=True)))
    np.testing.assert_allclose(built, target, atol=1e-5)


def test_cry_pool_turns_the_sink_by_the_angle_that_the_source_picks() -> None:
    c = block_circuit(cry_pool)
    u = matrix_of(c, {"w.0": 0.8, "w.1": -0.5}).reshape(2, 2, 2, 2)  # sink, source twice
    for source, theta in ((1, 0.8), (0, -0.5)):
        cos, sin = math.cos(theta / 2), math.sin(theta / 2)
        np.testing.assert_allclose(u[:, source, :, source], [[cos, -sin], [sin, cos]], atol=1e-12)


@pytest.mark.parametrize("block", [so4_block, su4_block, cry_pool])
def test_two_qubit_blocks_refuse_three(block: BlockFunction) -> None:
    with pytest.raises(CircuitError, match=r"acts on two qubits, got .*orthogonal_block"):
        block_circuit(block, 3)


# --- layered


@pytest.mark.parametrize("name", GRAPHS)
def test_brickwork_entangles_one_colour_a_layer(name: str) -> None:
    graph = GRAPHS[name]
    colours = len(graph.layers)
    c = brickwork(graph, colours + 1, ("rx", "u3"), "cz")
    assert pairs(c) == [*graph.edges, *graph.layers[0]]
    n = graph.num_nodes
    assert c.counts()["rx"] == c.counts()["u3"] == n * (colours + 1)
    assert len(c.weights) == 4 * n * (colours + 1)


def test_brickwork_on_a_line_against_a_numpy_loop() -> None:
    n, layers = 4, 3
    c = brickwork(n, layers)
    weights = random_weights(c)
    psi = np.eye(2**n)[0].reshape((2,) * n)
    for layer in range(layers):
        for q in range(n):
            theta = weights[f"w.{layer}.{q}.0"] / 2
            ry = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
            psi = np.moveaxis(np.tensordot(ry, psi, axes=(1, q)), 0, q)
        for q in range(layer % 2, n - 1, 2):
            both = [slice(None)] * n
            both[q] = both[q + 1] = 1
            psi[tuple(both)] *= -1
    np.testing.assert_allclose(state(c, weights), psi.reshape(-1), atol=1e-12)


@pytest.mark.parametrize("name", GRAPHS)
def test_hardware_efficient_entangles_all_edges_a_layer(name: str) -> None:
    graph = GRAPHS[name]
    c = hardware_efficient(graph, 2)
    n = graph.num_nodes
    assert pairs(c) == 2 * list(graph.edges)
    assert c.counts() == {"ry": 3 * n, "rz": 3 * n, "cx": 2 * len(graph.edges)}
    assert len(c.weights) == 6 * n
    assert [op.qubits for op in c.operations[-2:]] == [(n - 1,)] * 2


@pytest.mark.parametrize("make", [brickwork, hardware_efficient])
@pytest.mark.parametrize("entangler", ["rzz", "cu3", "fsim", *BLOCKS])
def test_entanglers_with_angles_have_weights_an_edge(
    make: Callable[..., Circuit], entangler: BlockFunction | str
) -> None:
    c = make(ring(4), 2, (), entangler)
    each = {"rzz": 1, "cu3": 3, "fsim": 2, so4_block: 6, su4_block: 15}
    each |= {orthogonal_block: 6, unitary_block: 16}
    edges = 4 if make is brickwork else 8
    assert len(c.weights) == edges * each[entangler]
    assert {name.split(".")[2].split("[")[0] for name in c.weights} <= {"0-1", "1-2", "2-3", "3-0"}


@pytest.mark.parametrize(("n", "layers"), [(2, 3), (3, 3), (4, 5)])
def test_strongly_entangling_against_a_numpy_loop(n: int, layers: int) -> None:
    c = strongly_entangling(n, layers)
    weights = random_weights(c)
    psi = np.eye(2**n, dtype=complex)[0].reshape((2,) * n)
    for layer in range(layers):
        for q in range(n):
            phi, theta, omega = (weights[f"w.{layer}.{q}.{k}"] for k in range(3))
            # PennyLane's matrix of Rot(phi, theta, omega)
            cos, sin = math.cos(theta / 2), math.sin(theta / 2)
            rot = np.array(
                [
                    [np.exp(-0.5j * (phi + omega)) * cos, -np.exp(0.5j * (phi - omega)) * sin],
                    [np.exp(-0.5j * (phi - omega)) * sin, np.exp(0.5j * (phi + omega)) * cos],
                ]
            )
            psi = np.moveaxis(np.tensordot(rot, psi, axes=(1, q)), 0, q)
        for q in range(n):
            target = (q + layer % (n - 1) + 1) % n
            moved = np.moveaxis(psi, (q, target), (0, 1)).copy()
            moved[1] = moved[1, ::-1].copy()
            psi = np.moveaxis(moved, (0, 1), (q, target))
    np.testing.assert_allclose(state(c, weights), psi.reshape(-1), atol=1e-12)


def test_strongly_entangling_takes_ranges() -> None:
    assert pairs(strongly_entangling(4, 2, entangler="cz", ranges=[3, 2])) == [
        (0, 3), (1, 0), (2, 1), (3, 2), (0, 2), (1, 3), (2, 0), (3, 1),
    ]  # fmt: skip


# --- hierarchical and chain


def test_tree_of_64_qubits_has_63_blocks_and_378_weights() -> None:
    c = tree(64)
    assert len(pairs(tree(64, "cx"))) == 63
    assert len(c.weights) == 378
    assert c.counts() == {"ry": 378, "cz": 126}


@pytest.mark.parametrize("n", range(2, 20))
def test_tree_joins_every_qubit_once_into_qubit_zero(n: int) -> None:
    blocks = pairs(tree(n, "cx"))
    dropped = [second for _, second in blocks]
    assert sorted(dropped) == list(range(1, n))
    for place, (first, second) in enumerate(blocks):
        later = {q for pair in blocks[place + 1 :] for q in pair}
        assert second not in later
        assert first == 0 or first in later
    # The depth is that of a balanced tree.
    assert tree(n, "cx").depth() == (n - 1).bit_length()


@pytest.mark.parametrize(("n", "bond", "sizes"), [(16, 2, {4: 7}), (7, 2, {4: 2, 3: 1})])
def test_tree_of_wider_bonds(n: int, bond: int, sizes: dict[int, int]) -> None:
    c = tree(n, orthogonal_block, bond_qubits=bond)
    assert Counter(map(len, pairs(c))) == sizes
    assert set().union(*pairs(c)) == set(range(n))
    assert pairs(c)[-1][:bond] == (0, 1)


@pytest.mark.parametrize(("bond", "layers"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_matrix_product_is_a_staircase(bond: int, layers: int) -> None:
    c = matrix_product(6, layers, unitary_block, bond_qubits=bond)
    stairs = [tuple(range(i, i + bond + 1)) for i in range(6 - bond)]
    assert pairs(c) == layers * stairs


@pytest.mark.parametrize("bond", [1, 2])
def test_matrix_product_state_has_the_promised_bond_dimension(bond: int) -> None:
    c = matrix_product(6, 1, orthogonal_block, bond_qubits=bond)
    psi = state(c, random_weights(c))
    ranks = [np.linalg.matrix_rank(psi.reshape(2**cut, -1), tol=1e-9) for cut in range(1, 6)]
    assert max(ranks) == 2**bond


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 16, 32, 64, 100])
def test_mera_is_a_tree_whose_inverse_has_narrow_cones(n: int) -> None:
    c = mera(n, unitary_block)
    named = [(op.block.name, op.qubits) for op in c.operations if op.block is not None]
    isometries = [qubits for name, qubits in named if ".w." in name]
    assert isometries == pairs(tree(n, "cx"))
    levels = (n - 1).bit_length()
    for qubit in range(n):
        # In the inverse circuit the blocks on the way from `qubit` to the top are its past cone.
        cone = {qubit}
        for level in range(levels):
            for kind in "uw":
                for name, pair in named:
                    if name.startswith(f"w.{level}.{kind}.") and cone & set(pair):
                        cone |= set(pair)
            cone = {q for q in cone if q % 2 ** (level + 1) == 0}
            assert len(cone) <= 3
        assert cone == {0}


def test_mera_disentangles_across_the_borders_of_pairs() -> None:
    assert pairs(mera(8, "cz")) == [
        (1, 2), (3, 4), (5, 6), (0, 1), (2, 3), (4, 5), (6, 7),
        (2, 4), (0, 2), (4, 6), (0, 4),
    ]  # fmt: skip


def test_qcnn_shares_weights_within_a_layer() -> None:
    c = qcnn(8)
    assert len(c.weights) == 3 * (6 + 2)
    for layer, active in enumerate([(0, 1, 2, 3, 4, 5, 6, 7), (0, 2, 4, 6), (0, 4)]):
        used = {
            op.qubits[0]
            for op in c.operations
            if f"w.{layer}.conv.0" in op.weights or f"w.{layer}.conv.1" in op.weights
        }
        assert used == set(active)
        pooled = [op.qubits for op in c.operations if f"w.{layer}.pool.0" in op.weights]
        assert pooled == list(zip(active[1::2], active[::2], strict=True))  # source, sink


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 13])
def test_qcnn_convolutions_cover_all_neighbours(n: int) -> None:
    c = qcnn(n, 1, "cx", "cy")
    convolved = [op.qubits for op in c.operations if op.gate == "cx"]
    assert sorted(convolved) == [(q, q + 1) for q in range(n - 1)]
    assert [op.qubits for op in c.operations if op.gate == "cy"] == [
        (q, q + 1) for q in range(0, n - 1, 2)
    ]


def test_qcnn_with_tensor_valued_blocks() -> None:
    c = qcnn(8, None, unitary_block, orthogonal_block)
    assert len(c.weights) == 3 * (16 + 6)


# --- what holds for all

ALL: dict[str, Callable[..., Circuit]] = {
    "brickwork": lambda **kw: brickwork(6, 4, **kw),
    "strongly_entangling": lambda **kw: strongly_entangling(4, 2, entangler="crx", **kw),
    "hardware_efficient": lambda **kw: hardware_efficient(4, 2, **kw),
    "tree": lambda **kw: tree(6, **kw),
    "matrix_product": lambda **kw: matrix_product(5, 2, **kw),
    "mera": lambda **kw: mera(6, **kw),
    "qcnn": lambda **kw: qcnn(6, **kw),
}


@pytest.mark.parametrize("name", ALL)
def test_prefix_names_every_weight(name: str) -> None:
    own, other = ALL[name](prefix="a"), ALL[name](prefix="b.c")
    assert own.weights
    assert all(w.startswith("a.") for w in own.weights)
    assert [w.replace("a.", "b.c.", 1) for w in own.weights] == list(other.weights)
    assert ALL[name]() == ALL[name](prefix="w")


@pytest.mark.parametrize("name", ALL)
def test_default_circuits_leave_the_zero_state_at_zero_weights(name: str) -> None:
    c = ALL[name]()
    psi = state(c, dict.fromkeys(c.weights, 0.0))
    np.testing.assert_allclose(psi, np.eye(len(psi))[0], atol=1e-12)


@pytest.mark.parametrize("name", ["tree", "matrix_product", "mera", "qcnn"])
def test_block_circuits_are_the_identity_at_zero_weights(name: str) -> None:
    c = ALL[name]()
    u = matrix_of(c, dict.fromkeys(c.weights, 0.0))
    np.testing.assert_allclose(u, np.eye(len(u)), atol=1e-12)


@pytest.mark.parametrize("name", ["tree", "matrix_product", "mera", "qcnn"])
@pytest.mark.parametrize("block", BLOCKS)
def test_states_are_normalised_and_depend_on_every_layer(name: str, block: BlockFunction) -> None:
    c = ALL[name](block=block)
    psi = state(c, random_weights(c))
    assert np.linalg.norm(psi) == pytest.approx(1)
    assert np.isreal(psi).all() == (block in (so4_block, orthogonal_block))


@pytest.mark.parametrize("name", ["tree", "mera", "qcnn"])
def test_the_cone_of_qubit_zero_holds_every_qubit(name: str) -> None:
    c = ALL[name]()
    cone = {0}
    for op in reversed(c.operations):
        if cone & set(op.qubits):
            cone |= set(op.qubits)
    assert cone == set(range(6))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: brickwork(1, 1), "graph .* at least 2"),
        (lambda: brickwork(Graph(3, ()), 1), "graph has 3 nodes but no edges"),
        (lambda: brickwork(3, 0), "layers must be at least 1"),
        (lambda: brickwork(3, 1, ["ry", "bar"]), "rotations holds 'bar', an unknown gate"),
        (lambda: brickwork(3, 1, ["cz"]), r"rotations holds 'cz', on 2 qubit\(s\)"),
        (lambda: brickwork(3, 1, "ry"), "rotations must be a sequence"),
        (lambda: brickwork(3, 1, [7]), "rotations holds 7"),
        (lambda: brickwork(3, 1, entangler="cq"), "entangler holds 'cq', an unknown gate.* cz"),
        (lambda: brickwork(3, 1, entangler="rx"), "entangler holds 'rx'"),
        (lambda: brickwork(3, 1, entangler=3), "entangler must be the name of a gate"),
        (lambda: hardware_efficient(3, -1), "layers must be at least 1"),
        (lambda: strongly_entangling(1, 1), "n must be at least 2"),
        (lambda: strongly_entangling(3, 1.5), "layers must be an integer"),
        (lambda: strongly_entangling(3, 2, ranges=[1]), "ranges must hold 2 numbers"),
        (lambda: strongly_entangling(3, 1, ranges=[3]), "ranges must hold 1 numbers from 1 to 2"),
        (lambda: tree(1), "n must be at least 2"),
        (lambda: tree(8, "foo"), "block holds 'foo'"),
        (lambda: tree(8, bond_qubits=2), "so4_block acts on two qubits"),
        (lambda: tree(8, bond_qubits=0), "bond_qubits must be at least 1"),
        (lambda: tree(2, orthogonal_block, bond_qubits=2), "n must be at least 3"),
        (lambda: matrix_product(1), "n must be at least 2"),
        (lambda: matrix_product(4, 0), "layers must be at least 1"),
        (lambda: matrix_product(2, 1, unitary_block, bond_qubits=2), "n must be at least 3"),
        (lambda: mera(1), "n must be at least 2"),
        (lambda: mera(4, "h"), "block holds 'h'"),
        (lambda: qcnn(1), "n must be at least 2"),
        (lambda: qcnn(8, 0), "layers must be at least 1"),
        (lambda: qcnn(8, 4), "layers must be at most 3 for n = 8"),
        (lambda: qcnn(8, pool="x"), "pool holds 'x'"),
    ],
)
def test_bad_input_names_the_argument(make: Callable[[], Circuit], words: str) -> None:
    with pytest.raises(CircuitError, match=words):
        make()
