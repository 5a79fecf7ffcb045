"""Two-qubit matrices to at most three CX, by the Cartan decomposition of SU(4).

U = (L0 x L1) N(a, b, c) (R0 x R1) up to a phase, with N = exp(i (a XX + b YY + c ZZ)). In the
magic basis the factors on single qubits are real orthogonal and N is diagonal (Kraus and Cirac,
Phys. Rev. A 63, 062309 (2001)). N takes three CX (Vatan and Williams, Phys. Rev. A 69, 032315
(2004)), and two if one of the angles is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.synthesis.pieces import Flip, Matrix, Piece, Turn, rotation

AXES = "xyz"
QUARTER = np.pi / 4
_PAIRS = np.array([np.kron(PAULI[axis], PAULI[axis]) for axis in "XYZ"])
_MAGIC = np.array([[1, 0, 0, 1j], [0, 1j, 1, 0], [0, 1j, -1, 0], [1, 0, 0, -1j]]) / np.sqrt(2)
#: Eigenvalues of 1, XX, YY and ZZ in the magic basis: four rows, orthogonal to each other.
_SIGNS = np.array(
    [np.ones(4), *(np.diag(_MAGIC.conj().T @ pair @ _MAGIC).real.round() for pair in _PAIRS)]
)


@dataclass(frozen=True, eq=False)
class Cartan:
    """A two-qubit matrix up to its phase.

    Attributes
    ----------
    left, right
        Matrices of the first and the second qubit after and before N, shapes (2, 2, 2).
    angles
        a, b and c.
    """

    left: Matrix
    angles: NDArray[np.float64]
    right: Matrix

    def exchanged(self, one: int, other: int) -> Cartan:
        """The same matrix with two of the angles exchanged: a quarter turn about the third axis."""
        if one == other:
            return self
        turn = rotation(AXES[3 - one - other], np.pi / 2)
        angles = self.angles.copy()
        angles[[one, other]] = angles[[other, one]]
        return Cartan(self.left @ turn.conj().T, angles, turn @ self.right)

    def reduced(self) -> Cartan:
        """The same matrix with angles from -pi/4 to pi/4: exp(i pi/2 XX) is X on both qubits."""
        quarters = np.round(self.angles / (2 * QUARTER)).astype(int)
        left = self.left
        for axis, count in zip("XYZ", quarters, strict=True):
            if count % 2:
                left = left @ PAULI[axis]
        return replace(self, left=left, angles=self.angles - quarters * (2 * QUARTER))


def cartan(u: Matrix) -> Cartan:
    """The Cartan decomposition of a unitary matrix (4, 4)."""
    turned = _MAGIC.conj().T @ u @ _MAGIC
    squared = turned.T @ turned
    p = _real_eigenvectors(squared)
    phases = np.angle(np.diag(p.T @ squared @ p)) / 2
    k = (turned @ p * np.exp(-1j * phases)).real
    if np.linalg.det(k) < 0:
        phases[0] += np.pi
        k[:, 0] *= -1
    angles = _SIGNS @ phases / 4
    left, right = (_MAGIC @ m @ _MAGIC.conj().T for m in (k, p.T))
    return Cartan(_factors(left), angles[1:], _factors(right))


def _real_eigenvectors(symmetric: Matrix) -> NDArray[np.float64]:
    """Real orthogonal P, determinant 1, that makes a symmetric unitary matrix diagonal.

    Real and imaginary part commute; so the eigenvectors of a combination serve, where it has no
    eigenvalue in common that they have not. Of some combinations the best is taken.
    """
    angles = np.pi * (np.arange(16) + 0.3) / 16
    mixed = (
        np.cos(angles)[:, None, None] * symmetric.real
        + np.sin(angles)[:, None, None] * symmetric.imag
    )
    vectors = np.linalg.eigh((mixed + mixed.swapaxes(1, 2)) / 2)[1]
    found = vectors.swapaxes(1, 2) @ symmetric @ vectors
    rest = np.abs(found - found * np.eye(4)).max(axis=(1, 2))
    p: NDArray[np.float64] = vectors[np.argmin(rest)]
    p[:, 0] *= np.sign(np.linalg.det(p))
    return p


def _factors(product: Matrix) -> Matrix:
    """A and B with A x B the given matrix, both unitary, shape (2, 2, 2)."""
    pairs = product.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    left, _, right = np.linalg.svd(pairs)
    return np.sqrt(2) * np.array([left[:, 0].reshape(2, 2), right[0].reshape(2, 2)])


def up_to_diagonal(u: Matrix) -> tuple[NDArray[np.complex128], Matrix]:
    """A diagonal (4,) and a matrix V of two CX at most with ``u = diag(diagonal) @ V``.

    Two CX are enough if and only if the trace of g(V) = V YY V^T YY is real, for a determinant of
    1 (Shende, Markov and Bullock, Phys. Rev. A 69, 062321 (2004)); exp(i t ZZ) before V gives
    that trace any phase.
    """
    special = u / np.linalg.det(u) ** 0.25
    yy, zz = _PAIRS[1], np.diag(_PAIRS[2])
    g = special @ yy @ special.T @ yy
    t = np.arctan2(np.trace(g).imag, (zz @ np.diag(g)).real) / 2
    diagonal = np.exp(1j * t * zz)
    return diagonal, diagonal.conj()[:, None] * u


def two_qubit(u: Matrix, first: int, second: int) -> Iterator[Piece]:
    """Yield pieces whose product is a unitary matrix (4, 4) up to its phase, with 0 to 3 CX."""
    found = cartan(u).reduced()
    zero = np.abs(found.angles) < 1e-10  # rounding of square roots of eigenvalues is far below
    if zero.sum() == 2:
        found = found.exchanged(int(np.argmin(zero)), 2)
    elif zero.sum() == 1:
        found = found.exchanged(int(np.argmax(zero)), 1)
    a, b, c = found.angles
    for qubit, matrix in zip((first, second), found.right, strict=True):
        yield Turn(matrix, qubit)
    if zero.sum() == 2 and abs(abs(c) - QUARTER) < 1e-10:
        yield Flip("cz", first, second)
        yield Turn(rotation("z", -2 * c), first)
        yield Turn(rotation("z", -2 * c), second)
    elif zero.sum() in (1, 2):
        yield Flip("cx", first, second)  # XI becomes XX, IZ becomes ZZ
        yield Turn(rotation("x", -2 * a), first)
        yield Turn(rotation("z", -2 * c), second)
        yield Flip("cx", first, second)
    elif not zero.any():
        half = np.pi / 2
        yield Turn(rotation("z", -half), first)
        yield Flip("cx", second, first)
        yield Turn(rotation("y", half - 2 * b), second)
        yield Flip("cx", first, second)
        yield Turn(rotation("z", half - 2 * c), first)
        yield Turn(rotation("y", 2 * a - half), second)
        yield Flip("cx", second, first)
        yield Turn(rotation("z", half), second)
    for qubit, matrix in zip((first, second), found.left, strict=True):
        yield Turn(matrix, qubit)
