"""Blocks: the small trainable circuits of which the ansätze are built.

A block is a function ``(circuit, qubits, name) -> None`` that appends gates on `qubits` and calls
its weights ``name.0``, ``name.1``, ... Wherever an ansatz takes a block, the name of a gate on as
many qubits will do as well, and so will a function of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import ALIASES, GATES
from tn_qnn.circuit.slots import Expr, weight
from tn_qnn.errors import CircuitError

BlockFunction = Callable[[Circuit, Sequence[int], str], None]


def so4_block(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Any real rotation of two qubits: three pairs of RY with a CZ between pair and pair.

    By the Cartan decomposition of SO(4) over SO(2) x SO(2) the six angles reach all of SO(4), with
    the fewest two-qubit gates. All angles zero give the identity.

    Parameters
    ----------
    circuit : Circuit
        Circuit to append to.
    qubits : sequence of two int
        Qubits to act on.
    name : str
        Prefix of the six weights.

    Raises
    ------
    CircuitError
        If there are not two qubits.

    References
    ----------
    Vatan, Williams, Phys. Rev. A 69, 032315 (2004).

    Examples
    --------
    >>> c = Circuit(2)
    >>> so4_block(c, (0, 1), "w")
    >>> len(c.weights), c.counts() == {"ry": 6, "cz": 2}
    (6, True)
    """
    a, b = _two_qubits("so4_block", qubits)
    w = weights(name, 6)
    circuit.ry(w[0], a).ry(w[1], b).cz(a, b)
    circuit.ry(w[2], a).ry(w[3], b).cz(a, b)
    circuit.ry(w[4], a).ry(w[5], b)


def su4_block(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Any unitary of two qubits, up to a phase: u3 on each, RXX RYY RZZ, u3 on each; 15 angles.

    All angles zero give the identity.

    Parameters
    ----------
    circuit, qubits, name
        As for :func:`so4_block`.

    Raises
    ------
    CircuitError
        If there are not two qubits.

    References
    ----------
    Khaneja, Brockett, Glaser, Phys. Rev. A 63, 032308 (2001).

    Examples
    --------
    >>> c = Circuit(2)
    >>> su4_block(c, (0, 1), "w")
    >>> len(c.weights)
    15
    """
    a, b = _two_qubits("su4_block", qubits)
    w = weights(name, 15)
    circuit.u3(*w[0:3], a).u3(*w[3:6], b)
    circuit.rxx(w[6], a, b).ryy(w[7], a, b).rzz(w[8], a, b)
    circuit.u3(*w[9:12], a).u3(*w[12:15], b)


def orthogonal_block(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Tensor-valued weight `name`: a real orthogonal matrix on one to six qubits.

    Its d (d - 1) / 2 coordinates are called ``name[0]``, ...; all zero give the identity.
    :func:`orthogonal_entries` is the same block in the chart for steps along a gradient.

    Examples
    --------
    >>> c = Circuit(2)
    >>> orthogonal_block(c, (0, 1), "U")
    >>> c.weights
    ('U[0]', 'U[1]', 'U[2]', 'U[3]', 'U[4]', 'U[5]')
    """
    circuit.block(orthogonal(name), qubits)


def unitary_block(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Tensor-valued weight `name`: a unitary matrix on one to six qubits.

    Its d**2 coordinates are called ``name[0]``, ...; all zero give the identity.
    :func:`unitary_entries` is the same block in the chart for steps along a gradient.

    Examples
    --------
    >>> c = Circuit(2)
    >>> unitary_block(c, (0, 1), "U")
    >>> len(c.weights)
    16
    """
    circuit.block(unitary(name), qubits)


def orthogonal_entries(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Tensor-valued weight `name`: the d**2 entries of a real orthogonal matrix, row by row.

    The matrix is the polar factor of the entries, so these may be any numbers; initialisers know
    how such blocks start. On one to six qubits.

    Examples
    --------
    >>> c = Circuit(4)
    >>> orthogonal_entries(c, (0, 1, 2, 3), "U")
    >>> len(c.weights)
    256
    """
    circuit.block(orthogonal(name, chart="entries"), qubits)


def unitary_entries(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Tensor-valued weight `name`: the entries of a unitary matrix, real parts, then imaginary.

    As :func:`orthogonal_entries`, with 2 d**2 weights.

    Examples
    --------
    >>> c = Circuit(2)
    >>> unitary_entries(c, (0, 1), "U")
    >>> len(c.weights)
    32
    """
    circuit.block(unitary(name, chart="entries"), qubits)


def cry_pool(circuit: Circuit, qubits: Sequence[int], name: str) -> None:
    """Pooling of a QCNN: the sink turns by one angle if the source is 1, by another if it is 0.

    Instead of measuring the source the sink is controlled by it, which gives the same outcome
    (deferred measurement). Both angles zero give the identity; all gates are real.

    Parameters
    ----------
    circuit : Circuit
        Circuit to append to.
    qubits : sequence of two int
        (sink, source): the first is kept.
    name : str
        Prefix of the two weights.

    Raises
    ------
    CircuitError
        If there are not two qubits.

    References
    ----------
    Cong, Choi, Lukin, Nature Physics 15, 1273 (2019).

    Examples
    --------
    >>> c = Circuit(2)
    >>> cry_pool(c, (0, 1), "w")
    >>> c.counts() == {"cry": 2, "x": 2}
    True
    """
    sink, source = _two_qubits("cry_pool", qubits)
    if_one, if_zero = weights(name, 2)
    circuit.cry(if_one, source, sink).x(source).cry(if_zero, source, sink).x(source)


def as_block(argument: str, block: BlockFunction | str, num_qubits: int = 2) -> BlockFunction:
    """Return a block as it is, and the name of a gate as the block of that gate.

    >>> c = Circuit(2)
    >>> as_block("entangler", "rzz")(c, (0, 1), "w")
    >>> c.weights
    ('w.0',)
    """
    if isinstance(block, str):
        gates = check_gates(argument, [block], num_qubits)
        return lambda circuit, qubits, name: append_gates(
            circuit, gates, qubits, weights(name, num_angles(gates))
        )
    if not callable(block):
        raise CircuitError(
            f"{argument} must be the name of a gate or a function (circuit, qubits, name), "
            f"got {block!r}"
        )
    return block


def append_gates(
    circuit: Circuit, gates: Sequence[str], qubits: Sequence[int], angles: Sequence[Expr]
) -> None:
    """Append gates on the same qubits, which use up the angles in order.

    >>> c = Circuit(1)
    >>> append_gates(c, ["h", "rx", "rz"], [0], weights("w", 2))
    >>> c.weights
    ('w.0', 'w.1')
    """
    used = 0
    for gate in gates:
        count = num_angles([gate])
        circuit.append(gate, qubits, angles[used : used + count])
        used += count


def num_angles(gates: Sequence[str]) -> int:
    """Number of angles of the named gates together.

    >>> num_angles(["h", "rx", "u3"])
    4
    """
    return sum(len(GATES[ALIASES.get(gate, gate)].parameters) for gate in gates)


def weights(name: str, count: int) -> list[Expr]:
    """The weights ``name.0``, ``name.1``, ...

    >>> [str(w) for w in weights("a", 2)]
    ['a.0', 'a.1']
    """
    return [weight(f"{name}.{k}") for k in range(count)]


def check_gates(argument: str, gates: Sequence[str], num_qubits: int) -> tuple[str, ...]:
    """Return the gate names as a tuple, or raise a CircuitError that names the argument.

    >>> check_gates("rotations", ["ry", "rz"], num_qubits=1)
    ('ry', 'rz')
    """
    if isinstance(gates, str):
        raise CircuitError(f"{argument} must be a sequence of gate names, such as ({gates!r},)")
    for gate in gates:
        record = GATES.get(ALIASES.get(gate, gate)) if isinstance(gate, str) else None
        if record is None or record.num_qubits != num_qubits:
            known = ", ".join(g.name for g in GATES.values() if g.num_qubits == num_qubits)
            what = "an unknown gate" if record is None else f"on {record.num_qubits} qubit(s)"
            raise CircuitError(
                f"{argument} holds {gate!r}, {what}; gates on {num_qubits} qubit(s) are: {known}"
            )
    return tuple(gates)


def _two_qubits(block: str, qubits: Sequence[int]) -> tuple[int, int]:
    if len(qubits) != 2:
        raise CircuitError(
            f"{block} acts on two qubits, got {tuple(qubits)}; "
            "orthogonal_block and unitary_block take up to six"
        )
    return qubits[0], qubits[1]
