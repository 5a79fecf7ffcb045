"""Tensor-valued weights: a whole unitary or real orthogonal matrix as one trainable block.

A block on k qubits is ``exp(G)`` with G anti-Hermitian (unitary) or skew-symmetric
(orthogonal). Its coordinates, the independent entries of G, are its weights: free real
numbers, zero for the identity, so that every trainer can move them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.errors import CircuitError

MAX_BLOCK_QUBITS = 4


@dataclass(frozen=True)
class Block:
    """A tensor-valued weight; its dimension is fixed where it is placed.

    Attributes
    ----------
    name
        Its weights are called ``name[0]``, ``name[1]``, ...
    kind
        "orthogonal" (real, determinant 1) or "unitary".
    """

    name: str
    kind: Literal["orthogonal", "unitary"]

    @property
    def real(self) -> bool:
        """True for a real orthogonal block."""
        return self.kind == "orthogonal"

    def num_weights(self, num_qubits: int) -> int:
        """d(d-1)/2 for an orthogonal block of dimension d, d*d for a unitary one."""
        d = 2**num_qubits
        return d * (d - 1) // 2 if self.real else d * d

    def weights(self, num_qubits: int) -> tuple[str, ...]:
        """Names of the coordinates, in order."""
        return tuple(f"{self.name}[{i}]" for i in range(self.num_weights(num_qubits)))


@cache
def generator_basis(num_qubits: int, real: bool) -> NDArray[np.complex128]:
    """Hermitian matrices H_i with ``U = exp(i sum_i w_i H_i)``; shape (weights, d, d)."""
    d = 2**num_qubits
    rows, columns = np.triu_indices(d, 1)
    skew = np.zeros((len(rows), d, d), dtype=complex)
    index = np.arange(len(rows))
    skew[index, rows, columns] = -1j
    skew[index, columns, rows] = 1j
    if real:
        return skew
    symmetric = np.abs(skew).astype(complex)
    diagonal = np.zeros((d, d, d), dtype=complex)
    diagonal[np.arange(d), np.arange(d), np.arange(d)] = 1
    return np.concatenate([skew, symmetric, diagonal])


@dataclass(frozen=True, eq=False)
class _Basis:
    matrices: NDArray[np.complex128]


@cache
def _basis(num_qubits: int, real: bool) -> _Basis:
    return _Basis(generator_basis(num_qubits, real))


def block_matrices(coordinates: Array, num_qubits: int, real: bool) -> Array:
    """The matrices of a block.

    Parameters
    ----------
    coordinates
        Shape (..., weights), float; NumPy or CuPy.
    num_qubits
        k; the dimension is d = 2**k.
    real
        Orthogonal (real) or unitary (complex).

    Returns
    -------
    array
        Shape (..., d, d); ``exp(i H)`` through the eigenvectors of the Hermitian H. Of the same
        module; CuPy's eigenvectors come from cuSOLVER, which a CUDA graph cannot capture.

    Examples
    --------
    >>> block_matrices(np.zeros(6), 2, real=True).shape
    (4, 4)
    """
    xp = array_module(coordinates)
    basis = beside(_basis(num_qubits, real), coordinates).matrices
    hermitian = xp.tensordot(coordinates.astype(float), basis, axes=1)
    values, vectors = xp.linalg.eigh(hermitian)
    out = (vectors * xp.exp(1j * values)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    return xp.ascontiguousarray(out.real) if real else out


def orthogonal(name: str) -> Block:
    """A trainable real orthogonal block, to be placed by ``Circuit.block``.

    Examples
    --------
    >>> orthogonal("U").num_weights(2)
    6
    """
    return Block(_checked(name), "orthogonal")


def unitary(name: str) -> Block:
    """A trainable unitary block, to be placed by ``Circuit.block``.

    Examples
    --------
    >>> unitary("U").num_weights(1)
    4
    """
    return Block(_checked(name), "unitary")


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name or "[" in name:
        raise CircuitError(f"block name: a non-empty string without '[', not {name!r}")
    return name
