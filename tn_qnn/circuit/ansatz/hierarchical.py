"""Hierarchical ansätze: each level halves the qubits that are passed on (tree, MERA, QCNN).

Data enter at all qubits, the result is read at qubit 0. ``circuit.inverse()`` turns each around:
it then prepares a tree or MERA state from ``|0...0>`` (tensor-valued blocks must be bound first).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from tn_qnn.circuit.ansatz.blocks import BlockFunction, as_block, cry_pool, so4_block
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import check_count
from tn_qnn.errors import CircuitError

T = TypeVar("T")


def tree(
    n: int,
    block: BlockFunction | str = so4_block,
    *,
    bond_qubits: int = 1,
    prefix: str = "w",
) -> Circuit:
    """Tree tensor network (TTN): blocks join pairs, and the first of each pair goes on.

    With ``bond_qubits=1`` there are n - 1 blocks, for any n; what has no partner waits a level. The
    top, which holds the result, is qubits ``0 .. bond_qubits - 1``. For another order of the leaves
    (pixels near each other, say) use ``Circuit(n).compose(tree(n), qubits=order)``: the top is
    then ``order[0]``.

    Parameters
    ----------
    n : int
        Number of qubits (leaves), at least 2, and more than `bond_qubits`.
    block : block function or str
        Acts on ``2 * bond_qubits`` qubits (fewer at the end if `bond_qubits` does not divide `n`).
    bond_qubits : int
        Qubits that a block passes on, so that the bond dimension is ``2**bond_qubits``; above 1 it
        takes a block for more than two qubits, such as ``orthogonal_block``.
    prefix : str
        Weights are ``prefix.level.position.k``, level 0 being next to the leaves.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If a number is out of range or the block does not fit.

    References
    ----------
    Grant et al., npj Quantum Inf. 4, 65 (2018); Huggins et al., Quantum Sci. Technol. 4, 024001
    (2019).

    Examples
    --------
    >>> c = tree(64)
    >>> len(c.weights), c.counts() == {"ry": 378, "cz": 126}
    (378, True)
    >>> from tn_qnn.circuit.ansatz import orthogonal_block
    >>> tree(8, orthogonal_block, bond_qubits=2).counts()
    {'block': 3}
    """
    check_count("bond_qubits", bond_qubits, 1)
    check_count("n", n, bond_qubits + 1)
    apply = as_block("block", block, 2 * bond_qubits)
    circuit = Circuit(n)
    groups = [tuple(range(n))[i : i + bond_qubits] for i in range(0, n, bond_qubits)]
    level = 0
    while len(groups) > 1:
        for position, (left, right) in enumerate(_pairs(groups)):
            apply(circuit, left + right, f"{prefix}.{level}.{position}")
        groups = groups[::2]
        level += 1
    return circuit


def mera(n: int, block: BlockFunction | str = so4_block, *, prefix: str = "w") -> Circuit:
    """Binary MERA: a tree with disentanglers across the borders of its pairs before each level.

    The border is open. Read out at qubit 0. In the inverse circuit the cone of a qubit stays at
    three qubits a level or fewer, whatever `n` is.

    Parameters
    ----------
    n : int
        Number of qubits, at least 2.
    block : block function or str
        Two-qubit block, for disentanglers and isometries alike.
    prefix : str
        Weights are ``prefix.level.u.position.k`` for disentanglers, ``prefix.level.w.position.k``
        for isometries (Vidal's letters).

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If `n` is below 2 or the block is unknown.

    References
    ----------
    Vidal, Phys. Rev. Lett. 101, 110501 (2008).

    Examples
    --------
    >>> mera(8).counts() == {"ry": 6 * 11, "cz": 2 * 11}
    True
    """
    check_count("n", n, 2)
    apply = as_block("block", block)
    circuit = Circuit(n)
    active = range(n)
    level = 0
    while len(active) > 1:
        for kind, pairs in (("u", _pairs(active[1:])), ("w", _pairs(active))):
            for position, pair in enumerate(pairs):
                apply(circuit, pair, f"{prefix}.{level}.{kind}.{position}")
        active = active[::2]
        level += 1
    return circuit


def qcnn(
    n: int,
    layers: int | None = None,
    block: BlockFunction | str = so4_block,
    pool: BlockFunction | str = cry_pool,
    *,
    prefix: str = "w",
) -> Circuit:
    """Quantum convolutional network: layers of convolution and pooling, with shared weights.

    A convolution puts one and the same block on the even, then the odd bonds between the qubits
    still active; pooling then joins pairs and keeps the first of each. After l layers the active
    qubits are ``range(0, n, 2**l)``: read these out, or go on with a circuit on them.

    Parameters
    ----------
    n : int
        Number of qubits, at least 2.
    layers : int, optional
        Number of layers, from 1 up to (and by default) the number that leaves only qubit 0.
    block : block function or str
        Two-qubit block of the convolutions.
    pool : block function or str
        Two-qubit block on (kept qubit, dropped qubit).
    prefix : str
        Weights are ``prefix.layer.conv.k`` and ``prefix.layer.pool.k``.

    Returns
    -------
    Circuit

    Raises
    ------
    CircuitError
        If `n` or `layers` is out of range or a block is unknown.

    References
    ----------
    Cong, Choi, Lukin, Nature Physics 15, 1273 (2019).

    Examples
    --------
    >>> c = qcnn(8)
    >>> len(c.weights)
    24
    >>> c.counts()["cry"]
    14
    """
    most = (check_count("n", n, 2) - 1).bit_length()
    layers = most if layers is None else check_count("layers", layers, 1)
    if layers > most:
        raise CircuitError(f"layers must be at most {most} for n = {n}, got {layers}")
    convolve, join = as_block("block", block), as_block("pool", pool)
    circuit = Circuit(n)
    active = range(n)
    for layer in range(layers):
        bonds = list(pairwise(active))
        for bond in bonds[::2] + bonds[1::2]:
            convolve(circuit, bond, f"{prefix}.{layer}.conv")
        for pair in _pairs(active):
            join(circuit, pair, f"{prefix}.{layer}.pool")
        active = active[::2]
    return circuit


def _pairs(items: Sequence[T]) -> list[tuple[T, T]]:
    return list(zip(items[::2], items[1::2], strict=False))
