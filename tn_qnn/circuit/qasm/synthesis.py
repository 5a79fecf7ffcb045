"""Unitary matrices as steps of OpenQASM, exact to the phase."""

from __future__ import annotations

from tn_qnn.circuit.qasm.steps import Step
from tn_qnn.circuit.synthesis.decompose import elementary
from tn_qnn.circuit.synthesis.pieces import Matrix


def synthesised(matrix: Matrix, qubits: tuple[int, ...]) -> list[Step]:
    """Steps (u3, ry, rz, cx, cz, gphase) whose product is ``matrix``, to rounding.

    Parameters
    ----------
    matrix
        Unitary, shape (2**n, 2**n) for the n ``qubits``, the first the most significant.

    Examples
    --------
    >>> import numpy as np
    >>> [step.name for step in synthesised(np.diag([1.0, 1j]), (0,))]
    ['gphase', 'rz']
    """
    found = elementary(matrix)
    places = [
        (gate.name, gate.params, tuple(qubits[q] for q in gate.qubits)) for gate in found.gates
    ]
    return [Step("gphase", (found.phase,), ()), *(Step(*place) for place in places)]
