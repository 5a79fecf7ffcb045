"""Dense unitaries for the tests of OpenQASM, from definitions of their own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.dense import state

Matrix = NDArray[np.complex128]


def unitary(circuit: Circuit) -> Matrix:
    """The matrix of a circuit without free slots, column by column."""
    n = circuit.num_qubits
    columns = []
    for index in range(2**n):
        start = Circuit(n)
        for q in range(n):
            if index >> (n - 1 - q) & 1:
                start.x(q)
        columns.append(state(start.compose(circuit)))
    return np.array(columns).T


def same_up_to_phase(a: Matrix, b: Matrix, tolerance: float = 1e-10) -> bool:
    """True where b is a times a phase."""
    return bool(abs(abs(np.vdot(a, b)) - len(a)) < tolerance * len(a))


def u_gate(theta: float, phi: float, lam: float) -> Matrix:
    """The built-in U of OpenQASM 3, 2 pi periodic in every angle (the specification's formula)."""
    plus, minus = 1 + np.exp(1j * theta), 1 - np.exp(1j * theta)
    return 0.5 * np.array(
        [
            [plus, -1j * np.exp(1j * lam) * minus],
            [1j * np.exp(1j * phi) * minus, np.exp(1j * (phi + lam)) * plus],
        ]
    )


def controlled(matrix: Matrix, values: Sequence[int] = (1,)) -> Matrix:
    """``matrix`` under controls, which come first and act on the given values."""
    for value in reversed(values):
        eye = np.eye(len(matrix))
        blocks = [eye, matrix] if value else [matrix, eye]
        zero = np.zeros_like(eye)
        matrix = np.block([[blocks[0], zero], [zero, blocks[1]]])
    return matrix


def power(matrix: Matrix, exponent: float) -> Matrix:
    """The principal power; eigenvalue phases lie above -pi."""
    values, vectors = np.linalg.eig(matrix)
    phases = np.angle(values)
    phases = np.where(phases < -np.pi + 1e-9, np.pi, phases)
    return vectors @ np.diag(np.exp(1j * exponent * phases)) @ np.linalg.inv(vectors)
