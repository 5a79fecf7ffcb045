"""What a synthesis is made of: matrices on one qubit, and CX or CZ between two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.gates import GATES

Matrix: TypeAlias = NDArray[np.complex128]

ROUNDING = 1e-12  # below this an entry or an angle is zero


class Turn(NamedTuple):
    """Any unitary matrix (2, 2) on one qubit."""

    matrix: Matrix
    qubit: int


class Flip(NamedTuple):
    """A "cx" or "cz"."""

    name: str
    control: int
    target: int


Piece: TypeAlias = Turn | Flip


class Gate(NamedTuple):
    """A gate of the gate table with its angles."""

    name: str
    params: tuple[float, ...]
    qubits: tuple[int, ...]


def rotation(axis: str, angle: float) -> Matrix:
    """The matrix of rx, ry or rz.

    Examples
    --------
    >>> rotation("y", np.pi).real.round(6)
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    if axis == "z":
        return np.diag([c - 1j * s, c + 1j * s])
    return np.array([[c, -s], [s, c]] if axis == "y" else [[c, -1j * s], [-1j * s, c]], complex)


def gates(pieces: Iterable[Piece]) -> Iterator[Gate]:
    """Yield gates that do the same up to a phase; turns of a qubit in a row become one gate."""
    pending: dict[int, Matrix] = {}
    for piece in pieces:
        if isinstance(piece, Turn):
            before = pending.get(piece.qubit)
            pending[piece.qubit] = piece.matrix if before is None else piece.matrix @ before
            continue
        for qubit in (piece.control, piece.target):
            yield from one_qubit(pending.pop(qubit, np.eye(2, dtype=complex)), qubit)
        yield Gate(piece.name, (), (piece.control, piece.target))
    for qubit, matrix in pending.items():
        yield from one_qubit(matrix, qubit)


def one_qubit(u: Matrix, qubit: int) -> Iterator[Gate]:
    """Yield the rz, ry or u3 of a unitary matrix up to its phase, or nothing for the identity.

    Examples
    --------
    >>> [gate.name for gate in one_qubit(np.diag([1.0, 1j]), 0)]
    ['rz']
    """
    u = u / np.sqrt(complex(u[0, 0] * u[1, 1] - u[0, 1] * u[1, 0]))  # determinant 1
    if abs(u[1, 0]) < ROUNDING:
        angle = 2 * float(np.angle(u[1, 1]))
        if abs(np.sin(angle / 2)) > ROUNDING:
            yield Gate("rz", (angle,), (qubit,))
    elif np.abs(u.imag).max() < ROUNDING:
        yield Gate("ry", (2 * float(np.arctan2(u[1, 0].real, u[0, 0].real)),), (qubit,))
    else:
        theta = 2 * float(np.arctan2(abs(u[1, 0]), abs(u[0, 0])))
        # Of a determinant of 1: u11 = conj(u00), u01 = -conj(u10).
        plus = 2 * float(np.angle(u[1, 1])) if abs(u[1, 1]) > ROUNDING else 0.0
        minus = 2 * float(np.angle(u[1, 0]))
        yield Gate("u3", (theta, (plus + minus) / 2, (plus - minus) / 2), (qubit,))


def product(found: Iterable[Gate | Piece], num_qubits: int) -> Matrix:
    """The matrix (d, d) of gates in a row on few qubits, the first the most significant."""
    d = 2**num_qubits
    out = np.eye(d, dtype=complex).reshape((2,) * num_qubits + (d,))
    for gate in found:
        out = _applied(gate, out)
    return out.reshape(d, d)


def _applied(gate: Gate | Piece, state: Matrix) -> Matrix:
    if isinstance(gate, Turn):
        matrix, qubits = gate.matrix, [gate.qubit]
    elif isinstance(gate, Flip):
        matrix, qubits = GATES[gate.name].matrix([]), [gate.control, gate.target]
    else:
        matrix, qubits = GATES[gate.name].matrix(gate.params), list(gate.qubits)
    k = len(qubits)
    moved = np.tensordot(matrix.reshape((2,) * (2 * k)), state, axes=(range(k, 2 * k), qubits))
    return np.moveaxis(moved, range(k), qubits)
