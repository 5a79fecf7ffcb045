"""Matrices of a circuit as one- and two-qubit gates, with a report of what that gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tn_qnn.circuit.synthesis.pieces import Gate, Matrix, gates, product
from tn_qnn.circuit.synthesis.shannon import shannon

if TYPE_CHECKING:
    from tn_qnn.circuit.circuit import Circuit


@dataclass(frozen=True)
class Elementary:
    """A matrix as gates.

    Attributes
    ----------
    gates
        In order, on qubits 0, 1, ...
    phase
        The matrix is exp(i phase) times their product.
    fidelity
        |tr(V^H U)|^2 / d^2 of the product V with the matrix U.
    """

    gates: tuple[Gate, ...]
    phase: float
    fidelity: float


def elementary(matrix: Matrix) -> Elementary:
    """Gates u3, ry, rz, cx and cz for a unitary matrix (2**n, 2**n).

    Examples
    --------
    >>> found = elementary(np.eye(4)[[0, 1, 3, 2]].astype(complex))   # a CX
    >>> [gate.name for gate in found.gates].count("cz"), round(found.fidelity, 12)
    (1, 1.0)
    """
    num_qubits = len(matrix).bit_length() - 1
    qubits = tuple(range(num_qubits))
    found = tuple(gates(shannon(matrix.astype(complex), qubits)))
    overlap = np.vdot(product(found, num_qubits), matrix) / len(matrix)
    return Elementary(found, float(np.angle(overlap)), float(abs(overlap) ** 2))


@dataclass(frozen=True)
class Decomposition:
    """A circuit whose matrices have become gates on one and two qubits.

    Attributes
    ----------
    circuit : Circuit
        Equal to the given one up to a global phase.
    matrices : int
        How many matrices and bound blocks were decomposed.
    fidelity : float
        The least process fidelity |tr(V^H U)|^2 / d^2 of a matrix U and its gates V: 1 but for
        rounding.
    counts : dict
        How often each gate occurs in the circuit.
    two_qubit_gates : int
        How many of its gates act on two qubits.
    depth : int
        Its depth.
    """

    circuit: Circuit
    matrices: int
    fidelity: float

    @property
    def counts(self) -> dict[str, int]:
        """How often each gate occurs in the circuit."""
        return self.circuit.counts()

    @property
    def two_qubit_gates(self) -> int:
        """How many of its gates act on two qubits."""
        return sum(len(op.qubits) == 2 for op in self.circuit.operations)

    @property
    def depth(self) -> int:
        """Its depth."""
        return self.circuit.depth()

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return (
            f"{self.matrices} matrices decomposed, infidelity {max(0.0, 1 - self.fidelity):.1e};"
            f" depth {self.depth}, {self.two_qubit_gates} two-qubit gates: {counts}"
        )


def decompose_block(matrix: ArrayLike) -> Circuit:
    """A circuit of one- and two-qubit gates for a unitary matrix, up to its phase.

    The quantum Shannon decomposition, exact to rounding: CX and CZ together are 3, 20, 100, 444
    and 1868 for any matrix on two to six qubits, and 2 for a real one of determinant 1 on two.

    Parameters
    ----------
    matrix
        Shape (2**n, 2**n), 1 <= n <= 6, unitary to 1e-8; qubit 0 is the most significant bit.

    Returns
    -------
    Circuit
        On n qubits, of u3, ry, rz, cx and cz; ``compose`` puts it where it belongs.

    Raises
    ------
    CircuitError
        For a matrix of another shape, or that is not unitary.

    References
    ----------
    Shende, Bullock and Markov, IEEE Trans. CAD 25, 1000 (2006).

    Examples
    --------
    >>> decompose_block([[0, 1], [1, 0]])
    Circuit(1 qubits, 1 gates, depth 1, 0 weights, 0 features)
    """
    from tn_qnn.circuit.circuit import Circuit

    num_qubits = max(1, (np.shape(matrix) or (0,))[0].bit_length() - 1)
    whole = Circuit(num_qubits).unitary(matrix, range(num_qubits))
    return decomposed(whole).circuit


def decomposed(circuit: Circuit, weights: Mapping[str, float] | None = None) -> Decomposition:
    """A circuit with every matrix and every bound block in one- and two-qubit gates.

    Parameters
    ----------
    circuit
        Other weights and features may be free; gates of the gate table stay as they are.
    weights
        Bound first, as by ``circuit.bind(weights)``; blocks that have no value else are not
        matrices yet.

    Raises
    ------
    CircuitError
        For a block without a value.

    Examples
    --------
    >>> from tn_qnn.circuit.blocks import orthogonal
    >>> from tn_qnn.circuit.circuit import Circuit
    >>> free = Circuit(3).h(2).block(orthogonal("U"), [0, 1, 2])
    >>> report = decomposed(free, {name: 0.1 for name in free.weights})
    >>> report.matrices, report.two_qubit_gates, round(report.fidelity, 12)
    (1, 20, 1.0)
    """
    from tn_qnn.circuit.circuit import Circuit
    from tn_qnn.errors import CircuitError

    bound = circuit if weights is None else circuit.bind(weights)
    out = Circuit(bound.num_qubits)
    known: dict[bytes, Elementary] = {}
    matrices, fidelity = 0, 1.0
    for op in bound.operations:
        if op.block is not None:
            raise CircuitError(
                f"decomposed: the block {op.block.name!r} has no value; give its weights, as"
                " weights={'" + op.weights[0] + "': ...}"
            )
        if op.gate != "unitary":
            out.append(op.gate, op.qubits, op.params)
            continue
        if op.data not in known:
            known[op.data] = elementary(op.array)
        matrices, fidelity = matrices + 1, min(fidelity, known[op.data].fidelity)
        for gate in known[op.data].gates:
            out.append(gate.name, [op.qubits[q] for q in gate.qubits], gate.params)
    return Decomposition(out, matrices, fidelity)
