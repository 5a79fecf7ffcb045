"""Matrix-product ansatz: a staircase of blocks along a line."""

from __future__ import annotations

from tn_qnn.circuit.ansatz.blocks import BlockFunction, as_block, so4_block
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import check_count


def matrix_product(
    n: int,
    layers: int = 1,
    block: BlockFunction | str = so4_block,
    *,
    bond_qubits: int = 1,
    prefix: str = "w",
) -> Circuit:
    """Staircase: blocks on qubits (0, 1), (1, 2), ..., (n - 2, n - 1), `layers` times.

    One layer on ``|0...0>`` prepares a matrix-product state of bond dimension ``2**bond_qubits``.
    The last qubit's cone holds every block, so that is the one to read out.

    Parameters
    ----------
    n : int
        Number of qubits, more than `bond_qubits` and at least 2.
    layers : int
        Number of staircases, one after the other, at least 1.
    block : block function or str
        Acts on ``bond_qubits + 1`` neighbours.
    bond_qubits : int
        Qubits that a block passes on to the next; above 1 it takes a block for more than two
        qubits, such as ``orthogonal_block``.
    prefix : str
        Weights are ``prefix.layer.position.k``.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If a number is out of range or the block does not fit.

    References
    ----------
    Huggins et al., Quantum Sci. Technol. 4, 024001 (2019); Ran, Phys. Rev. A 101, 032310 (2020).

    Examples
    --------
    >>> c = matrix_product(5)
    >>> c.counts() == {"ry": 24, "cz": 8}
    True
    >>> matrix_product(5, 2, "cx").draw().count("⊕")
    8
    """
    check_count("bond_qubits", bond_qubits, 1)
    check_count("n", n, bond_qubits + 1)
    check_count("layers", layers, 1)
    apply = as_block("block", block, bond_qubits + 1)
    circuit = Circuit(n)
    for layer in range(layers):
        for position in range(n - bond_qubits):
            qubits = range(position, position + bond_qubits + 1)
            apply(circuit, qubits, f"{prefix}.{layer}.{position}")
    return circuit
