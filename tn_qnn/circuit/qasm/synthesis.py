"""Unitary matrices to elementary gates: the quantum Shannon decomposition.

Shende, Bullock and Markov, arXiv:quant-ph/0406176. A matrix on n qubits is split by cosine and
sine into matrices on n - 1 qubits that the first qubit selects, each of which is split again
by eigenvectors; the gates are u3, ry, rz and cx, and the phase is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.qasm.steps import Step

Matrix = NDArray[np.complex128]


def synthesised(matrix: Matrix, qubits: tuple[int, ...]) -> list[Step]:
    """Steps (u3, ry, rz, cx, gphase) whose product is ``matrix``, to rounding.

    Parameters
    ----------
    matrix
        Unitary, shape (2**n, 2**n) for the n ``qubits``, the first the most significant.

    Examples
    --------
    >>> [step.name for step in synthesised(np.diag([1.0, 1j]), (0,))]
    ['gphase', 'u3']
    """
    if len(qubits) == 1:
        return _one_qubit(matrix, qubits)
    from scipy.linalg import cossin

    half = len(matrix) // 2
    (u1, u2), angles, (v1, v2) = cossin(matrix, p=half, q=half, separate=True)
    first, rest = qubits[0], qubits[1:]
    return [
        *_selected(v1, v2, first, rest),
        *_rotations("ry", 2 * angles, first, rest),
        *_selected(u1, u2, first, rest),
    ]


def _one_qubit(u: Matrix, qubits: tuple[int, ...]) -> list[Step]:
    theta = 2 * np.arctan2(abs(u[1, 0]), abs(u[0, 0]))
    if abs(u[0, 0]) > abs(u[1, 0]):  # divide by the larger entry
        phase = np.angle(u[0, 0])
        total = np.angle(u[1, 1]) - phase
        phi = np.angle(u[1, 0]) - phase if abs(u[1, 0]) > 1e-12 else total
        lam = total - phi
    else:
        phi_and_phase, lam_and_phase = np.angle(u[1, 0]), np.angle(-u[0, 1])
        phase = np.angle(u[0, 0]) if abs(u[0, 0]) > 1e-12 else phi_and_phase
        phi, lam = phi_and_phase - phase, lam_and_phase - phase
    angles = (float(theta), float(phi), float(lam))
    return [Step("gphase", (float(phase),), ()), Step("u3", angles, qubits)]


def _selected(a: Matrix, b: Matrix, select: int, rest: tuple[int, ...]) -> list[Step]:
    """``a`` on the rest where ``select`` is 0, ``b`` where it is 1.

    With a b^-1 = V D^2 V^-1: a = V D W and b = V D^-1 W for W = D V^-1 b.
    """
    from scipy.linalg import schur

    squared, v = schur(a @ b.conj().T, output="complex")
    half_angles = np.angle(np.diag(squared)) / 2
    w = np.exp(1j * half_angles)[:, None] * (v.conj().T @ b)
    return [
        *synthesised(w, rest),
        *_rotations("rz", -2 * half_angles, select, rest),
        *synthesised(v, rest),
    ]


def _rotations(
    name: str, angles: NDArray[np.float64], target: int, select: tuple[int, ...]
) -> list[Step]:
    """A rotation of the target by ``angles[k]`` where the select qubits hold k."""
    if not select:
        return [Step(name, (float(angles[0]),), (target,))]
    low, high = np.split(angles, 2)
    flip = Step("cx", (), (select[0], target))  # X turns RY and RZ backwards
    return [
        *_rotations(name, (low + high) / 2, target, select[1:]),
        flip,
        *_rotations(name, (low - high) / 2, target, select[1:]),
        flip,
    ]
