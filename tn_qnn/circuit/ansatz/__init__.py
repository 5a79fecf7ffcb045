"""Ready-made trainable circuits (ansätze); each is a function that returns a new Circuit.

Every weight is named ``prefix.<place in the circuit>.<number>``. Two circuits with one `prefix`
share their weights, two with different prefixes have their own.
"""

from tn_qnn.circuit.ansatz.blocks import (
    BlockFunction,
    cry_pool,
    orthogonal_block,
    orthogonal_entries,
    so4_block,
    su4_block,
    unitary_block,
    unitary_entries,
)
from tn_qnn.circuit.ansatz.chain import matrix_product
from tn_qnn.circuit.ansatz.hierarchical import mera, qcnn, tree
from tn_qnn.circuit.ansatz.layered import brickwork, hardware_efficient, strongly_entangling

__all__ = [
    "BlockFunction",
    "brickwork",
    "cry_pool",
    "hardware_efficient",
    "matrix_product",
    "mera",
    "orthogonal_block",
    "orthogonal_entries",
    "qcnn",
    "so4_block",
    "strongly_entangling",
    "su4_block",
    "tree",
    "unitary_block",
    "unitary_entries",
]
