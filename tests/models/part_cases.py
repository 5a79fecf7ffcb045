"""Models of which parts are trained, for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tn_qnn.circuit.ansatz import brickwork, matrix_product, orthogonal_block, tree, unitary_block
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import line
from tn_qnn.circuit.observables import Observable, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.models.part import KeptPart, Part
from tn_qnn.models.qnn import QNN

Circuits = Circuit | Sequence[Circuit]


def encoded(ansatz: Circuit) -> Circuit:
    return angle(ansatz.num_qubits, scale=1.0).compose(ansatz)


def shared() -> Circuit:
    """Weights that stand in several gates, in products, and with features."""
    circuit = Circuit(3)
    a, b, c = weight("a"), weight("b"), weight("c")
    circuit.ry(a * feature(0) + b, 0).rx(a * b, 1).cx(0, 1).rz(c * feature(1) + 0.5 * a, 1)
    return circuit.cx(1, 2).u3(b, a * a, c, 2).rzz(b * c + 0.2, 0, 2).cry(a, 2, 0)


CASES: dict[str, tuple[Circuits, list[Observable]]] = {
    "tree": (encoded(tree(8)), [Z(0)]),
    "trees": ([encoded(tree(5, prefix=f"class{k}")) for k in range(3)], [Z(0)]),
    "staircase": (encoded(matrix_product(5, 2)), [Z(4), Z(0) @ Z(4)]),
    "brickwork": (encoded(brickwork(line(8), 3, ("ry", "rz"))), [Z(q) for q in range(8)]),
    "blocks": (encoded(tree(6, unitary_block)), [density_matrix([0])]),
    "wide blocks": (
        [encoded(tree(8, orthogonal_block, bond_qubits=2, prefix=f"t{k}")) for k in range(2)],
        [density_matrix([0, 1])],
    ),
    "shared": (shared(), [Z(2), Z(0), density_matrix([1])]),
}


def case(name: str, **options: object) -> tuple[QNN, np.ndarray, np.ndarray]:
    circuits, observables = CASES[name]
    model = QNN(circuits, observables, **{"dtype": "float64", "search": "greedy", **options})
    rng = np.random.default_rng(7)
    weights = rng.normal(size=model.num_weights)
    return model, weights, rng.normal(size=(5, model.num_features))


def some_mask(model: QNN, seed: int, share: float = 0.3) -> np.ndarray:
    mask = np.random.default_rng(seed).random(model.num_weights) < share
    mask[seed % len(mask)] = True
    return mask


def kept(part: Part, X: np.ndarray) -> tuple[KeptPart, np.ndarray]:
    """The part with fixed values by sample, whether that pays or not."""
    cut = part._fold.everything
    return KeptPart(part, cut), cut.features(part._fitting, X)
