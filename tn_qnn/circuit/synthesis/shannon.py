"""The quantum Shannon decomposition of a unitary matrix on any number of qubits.

Shende, Bullock and Markov, IEEE Trans. CAD 25, 1000 (2006), arXiv:quant-ph/0406176. A matrix on n
qubits is split by cosine and sine into matrices on n - 1 qubits that the first qubit selects, each
of which is split again by eigenvectors, down to two qubits. With both of their savings it takes
(23/48) 4^n - (3/2) 2^n + 4/3 CX or CZ for n > 1: 3, 20, 100, 444 and 1868 up to six qubits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.synthesis.pieces import Flip, Matrix, Piece, Turn, rotation
from tn_qnn.circuit.synthesis.two_qubit import two_qubit, up_to_diagonal


class Leaf(NamedTuple):
    """A matrix on the last two qubits."""

    matrix: Matrix
    qubits: tuple[int, ...]


Part: TypeAlias = Piece | Leaf


def shannon(u: Matrix, qubits: tuple[int, ...]) -> Iterator[Piece]:
    """Yield pieces whose product is a unitary matrix up to its phase.

    Parameters
    ----------
    u
        Shape (2**n, 2**n).
    qubits
        The n qubits, the first the most significant bit.
    """
    if len(qubits) == 1:
        yield Turn(u, qubits[0])
        return
    parts = list(_split(u, qubits))
    leaves = sum(isinstance(part, Leaf) for part in parts)
    diagonal = np.ones(4, dtype=complex)
    for part in parts:
        if not isinstance(part, Leaf):
            yield part
            continue
        leaves -= 1
        matrix = part.matrix * diagonal
        if leaves:
            # What is between two leaves only selects by their qubits: a diagonal passes it.
            diagonal, matrix = up_to_diagonal(matrix)
        yield from two_qubit(matrix, *part.qubits)


def _split(u: Matrix, qubits: tuple[int, ...]) -> Iterator[Part]:
    """Selected matrices, a selected RY, and selected matrices."""
    if len(qubits) == 2:
        yield Leaf(u, qubits)
        return
    from scipy.linalg import cossin

    half = len(u) // 2
    (a, b), angles, (v, w) = cossin(u, p=half, q=half, separate=True)
    first, rest = qubits[0], qubits[1:]
    yield from _selected(v, w, first, rest)
    *rotations, last = _rotations("y", 2 * angles, first, rest)
    yield from rotations
    # The last CZ becomes part of what follows: Z on the qubit after the first, if the first is 1.
    assert last == Flip("cz", rest[0], first)
    b = b * np.repeat([1, -1], half // 2)
    yield from _selected(a, b, first, rest)


def _selected(a: Matrix, b: Matrix, select: int, rest: tuple[int, ...]) -> Iterator[Part]:
    """``a`` on the rest where ``select`` is 0, ``b`` where it is 1.

    With a b^-1 = V D^2 V^-1: a = V D W and b = V D^-1 W for W = D V^-1 b.
    """
    from scipy.linalg import schur

    squared, v = schur(a @ b.conj().T, output="complex")
    half_angles = np.angle(np.diag(squared)) / 2
    w = np.exp(1j * half_angles)[:, None] * (v.conj().T @ b)
    yield from _split(w, rest)
    yield from _rotations("z", -2 * half_angles, select, rest)
    yield from _split(v, rest)


def _rotations(
    axis: str, angles: NDArray[np.float64], target: int, select: tuple[int, ...]
) -> Iterator[Piece]:
    """A rotation of the target by ``angles[k]`` where the select qubits hold k.

    Between rotations one bit of a Gray code after the other is flipped on: CX turns RZ backwards,
    CZ RY (Mottonen, Vartiainen, Bergholm and Salomaa, Phys. Rev. Lett. 93, 130502 (2004)).
    """
    count = len(angles)
    places = np.arange(count)
    gray = places ^ (places >> 1)
    signs = 1 - 2 * (np.bitwise_count(gray[:, None] & places) % 2).astype(int)
    for step, angle in enumerate(signs @ angles / count):
        yield Turn(rotation(axis, float(angle)), target)
        changed = gray[step] ^ gray[(step + 1) % count]
        control = select[len(select) - int(changed).bit_length()]
        yield Flip("cz" if axis == "y" else "cx", control, target)
