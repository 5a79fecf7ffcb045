"""Cones of equal topology: what shares a network, what must not, and in which order."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit.ansatz import brickwork, hardware_efficient, matrix_product, tree
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import grid, line, ring
from tn_qnn.circuit.observables import Observable, X, Z, density_matrix
from tn_qnn.circuit.slots import Expr, feature, weight
from tn_qnn.network.batch import read_out

from ..circuits import batches, checked_model, dense_outputs, random_batch, random_circuit


def z_cones(circuit: Circuit) -> list[int]:
    """How many cones of each topology Z on every qubit gives."""
    readouts = [Z(q) for q in range(circuit.num_qubits)]
    return [len(batch.cones) for batch in batches(circuit, readouts)]


@pytest.mark.parametrize(
    ("circuit", "most"),
    [
        (brickwork(line(64), 4), 4),
        (brickwork(line(64), 6), 5),
        (brickwork(ring(64), 4), 2),
        (brickwork(grid(8, 8), 4), 24),
        (hardware_efficient(ring(64), 1), 6),
        (angle(64).compose(brickwork(line(64), 4, ("ry", "rz"), "cx")), 8),
    ],
)
def test_a_handful_of_topologies_for_64_readouts(circuit: Circuit, most: int) -> None:
    counts = z_cones(circuit)
    assert sum(counts) == 64
    assert len(counts) <= most, counts


def test_number_of_topologies_does_not_grow_with_the_line() -> None:
    assert len(z_cones(brickwork(line(40), 4))) == len(z_cones(brickwork(line(400), 4)))


def test_mirrored_and_moved_cones_are_equal() -> None:
    circuit = brickwork(line(10), 3)
    for q in range(5):
        assert [len(b.cones) for b in batches(circuit, [Z(q), Z(9 - q)])] == [2]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.ry(0.1, 4),  # another constant angle: the cones differ in their numbers only
        lambda c: c.ry(weight("other"), 4),
    ],
)
def test_angles_and_names_are_no_part_of_a_topology(change: Callable[[Circuit], object]) -> None:
    circuit = Circuit(6)
    for q in (0, 4):
        circuit.ry(0.7, q).ry(weight("a"), q).cx(q, q + 1)
    before = [len(b.cones) for b in batches(circuit, [Z(1), Z(5)])]
    assert before == [2]
    twice = Circuit(6).compose(circuit)
    change(twice)
    twice.ry(0.2, 0) if "other" not in twice.weights else twice.ry(weight("third"), 0)
    assert [len(b.cones) for b in batches(twice, [X(0), X(4)])] == [2]


@pytest.mark.parametrize(
    "changes",
    [
        (lambda c, q: c.ry(weight("a"), q), lambda c, q: c.ry(feature(0), q)),
        (lambda c, q: c.ry(0.3, q), lambda c, q: c.ry(weight("a"), q)),
        (lambda c, q: c.ry(0.3, q), lambda c, q: c.rx(0.3, q)),
        (lambda c, q: c.h(q), lambda c, q: c.x(q)),
        (lambda c, q: c.cx(q, q + 1), lambda c, q: c.cx(q + 1, q)),
        (lambda c, q: c.cx(q, q + 1), lambda c, q: c.cy(q, q + 1)),
    ],
)  # fmt: skip
def test_other_tensors_are_another_topology(
    changes: tuple[Callable[[Circuit, int], Circuit], ...],
) -> None:
    circuit = Circuit(4).ry(0.3, 0).ry(0.4, 1).ry(0.5, 2).ry(0.6, 3)
    for q, change in zip((0, 2), changes, strict=True):
        change(circuit, q)
        circuit.rx(0.2, q)
    assert [len(b.cones) for b in batches(circuit, [Z(0), Z(2)])] == [1, 1]


def test_other_terms_are_another_topology() -> None:
    circuit = Circuit(4).ry(0.3, 0).ry(0.3, 2)
    readouts: list[Observable] = [Z(0), X(2)]
    assert len(batches(circuit, readouts)) == 2
    assert len(batches(circuit, [Z(0), density_matrix([2])])) == 2


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 3))
def test_moved_copies_of_any_circuit_share_a_network(seed: int, n: int) -> None:
    """Copies on permuted qubits with other names and features: one job, right values."""
    rng = np.random.default_rng(seed)
    pattern = random_circuit(rng, n, 10, weights=2, features=1, specials=0)
    circuit, readouts = Circuit(3 * n), []
    for copy in range(3):
        where = list(range(copy * n, copy * n + n))
        for op in pattern.operations:
            params = [renamed(p, copy) for p in op.params]
            circuit.append(op.gate, [where[q] for q in op.qubits], params)
        readouts.append(Z(where[0]) @ X(where[n - 1]))
    model = checked_model(circuit, readouts)
    assert [job.cones for job in model.jobs] in ([3], [])
    weights, X_ = random_batch(rng, model, 2, 2)
    want = dense_outputs([circuit], readouts, model.weight_names, weights, X_)
    np.testing.assert_allclose(model(weights, X_), want, atol=1e-11)


def renamed(expr: Expr, copy: int) -> Expr:
    """Weights and features of a copy's own, the constant another number."""
    total = Expr()
    for monomial, coefficient in expr.terms:
        part: Expr = Expr() + coefficient * (1 + 0.1 * copy)
        for name in monomial.weights:
            part = part * weight(f"{name}.{copy}")
        for i in monomial.features:
            part = part * feature(3 * i + copy)
        total = total + part
    return total


def test_labels_of_cones() -> None:
    """A tensor carries "c" where cones differ, "p" and "s" where weights and data go in."""
    circuit = Circuit(4)
    for q in (0, 2):
        circuit.ry(feature(q), q).ry(weight("shared"), q).rx(0.5, q).ry(weight(f"own{q}"), q)
        circuit.rz(weight("shared") * feature(0), q).ry(0.3 + q, q)
    (batch,) = batches(circuit, [Z(0), Z(2)])
    found = [
        "".join(sorted(t.labels)) for t in batch.network.tensors if t.element >= 0 and not t.conj
    ]
    assert found == ["cs", "p", "", "cp", "ps", "c"]
    (batch,) = batches(circuit, [Z(0), Z(2)], weights_per_sample=True)
    found = [
        "".join(sorted(t.labels)) for t in batch.network.tensors if t.element >= 0 and not t.conj
    ]
    assert found == ["cs", "ps", "", "cps", "ps", "c"]


def test_trees_of_ten_classes_are_one_network() -> None:
    encoding = angle(64)
    circuits = [encoding.compose(tree(64, prefix=f"c{k}")) for k in range(10)]
    (batch,) = batches(circuits, [Z(0)])
    assert len(batch.cones) == 10


def test_outputs_stay_in_the_order_asked_for() -> None:
    circuits = [matrix_product(4), brickwork(5, 2)]
    readouts: list[Observable] = [Z(3), density_matrix([1, 0]), X(0), Z(3) + 1.0]
    found = read_out(circuits, readouts)
    assert found.num_outputs == 2 * 19
    assert found.constants == ((18, 1.0), (37, 1.0))
    outputs = [
        output + k
        for batch in found.batches
        for c in batch.cones
        for part in c.parts
        for output, _ in part
        for k in range(1 if c.terms else 16)
    ]
    assert sorted(outputs) == list(range(38))
