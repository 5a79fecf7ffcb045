"""Charts: how real coordinates become the matrix of a tensor-valued weight, and back.

"exponential": the independent entries of a Hermitian H, U = exp(i H); zero is the identity.
"entries": the entries of a matrix A, U its polar factor (see :mod:`tn_qnn.circuit.polar`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.circuit.polar import dagger, polar_factor, polar_pull_back
from tn_qnn.errors import CircuitError

Chart = Literal["exponential", "entries"]


def num_coordinates(num_qubits: int, real: bool, chart: Chart) -> int:
    """Number of coordinates of a block of dimension d = 2**num_qubits.

    Examples
    --------
    >>> num_coordinates(4, True, "exponential"), num_coordinates(4, True, "entries")
    (120, 256)
    """
    d = 2**num_qubits
    if chart == "entries":
        return d * d if real else 2 * d * d
    return d * (d - 1) // 2 if real else d * d


def block_matrices(
    coordinates: Array, num_qubits: int, real: bool, chart: Chart = "exponential"
) -> Array:
    """The matrices of a block.

    Parameters
    ----------
    coordinates
        Shape (..., n), float; NumPy or CuPy. For chart "exponential" the upper triangle of the
        skew-symmetric part of the generator row by row, then for a unitary block that of its
        symmetric part and its diagonal; for "entries" the matrix row by row, real parts before
        imaginary ones.
    num_qubits
        k; the dimension is d = 2**k.
    real
        Orthogonal (real) or unitary (complex).
    chart
        What the coordinates are.

    Returns
    -------
    array
        Shape (..., d, d), float64 or complex128, unitary for all coordinates; of the same module.
        Eigenvectors and singular values of CuPy arrays come from cuSOLVER, which a CUDA graph
        cannot capture.

    Raises
    ------
    CircuitError
        For an unknown chart or another number of coordinates than such a block has.

    Examples
    --------
    >>> block_matrices(np.zeros(6), 2, real=True).shape
    (4, 4)
    >>> block_matrices(np.array([0.0, -3.0, 3.0, 0.0]), 1, real=True, chart="entries")
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    _check(coordinates, num_qubits, real, chart)
    return _MATRICES[chart](coordinates.astype(float), 2**num_qubits, real)


def block_gradient(
    coordinates: Array,
    cotangent: Array,
    num_qubits: int,
    real: bool,
    chart: Chart = "exponential",
) -> Array:
    """Derivative of a function of a block's matrix U by the block's coordinates.

    Parameters
    ----------
    coordinates
        Shape (..., n), as for :func:`block_matrices`.
    cotangent
        Shape (..., d, d), real or complex: G with ``dL = Re sum(G * dU)``, without conjugation.
    num_qubits, real, chart
        As for :func:`block_matrices`.

    Returns
    -------
    array
        Shape (..., n), float64: dL by each coordinate.

    References
    ----------
    Exponential: Daleckii and Krein, AMS Transl. (2) 47, 1 (1965); Higham, Functions of Matrices
    (2008), theorem 3.11.

    Examples
    --------
    >>> turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # U = exp(w turn) is a rotation
    >>> block_gradient(np.zeros(1), turn, 1, real=True)
    array([2.])
    """
    _check(coordinates, num_qubits, real, chart)
    return _GRADIENTS[chart](coordinates.astype(float), cotangent, 2**num_qubits, real)


def entries_of(matrices: Array, real: bool) -> Array:
    """Coordinates of chart "entries" that hold the given matrices, as they are.

    Parameters
    ----------
    matrices
        Shape (..., d, d).
    real
        Real entries alone, or real parts and then imaginary ones.

    Returns
    -------
    array
        Shape (..., n), float64.

    Examples
    --------
    >>> entries_of(np.eye(2), real=True)
    array([1., 0., 0., 1.])
    """
    flat = matrices.reshape(*matrices.shape[:-2], -1)
    parts = [flat.real] if real else [flat.real, flat.imag]
    return array_module(matrices).concatenate(parts, axis=-1).astype(float)


def matrices_of(coordinates: Array, real: bool) -> Array:
    """The inverse of :func:`entries_of`: the matrices A whose polar factors are the blocks.

    Examples
    --------
    >>> matrices_of(np.arange(8.0), real=False)
    array([[0.+4.j, 1.+5.j],
           [2.+6.j, 3.+7.j]])
    """
    *batch, count = coordinates.shape
    half = count if real else count // 2
    d = math.isqrt(half)
    planes = coordinates.reshape(*batch, -1, d, d)
    return planes[..., 0, :, :] if real else planes[..., 0, :, :] + 1j * planes[..., 1, :, :]


def _check(coordinates: Array, num_qubits: int, real: bool, chart: Chart) -> None:
    check_chart(chart)
    count = num_coordinates(num_qubits, real, chart)
    if coordinates.shape[-1:] != (count,):
        raise CircuitError(
            f"coordinates: (..., {count}) expected for {num_qubits} qubits, real={real} and chart"
            f" {chart!r}, not {coordinates.shape}"
        )


def check_chart(chart: object) -> None:
    """Raise ``CircuitError`` for anything but the name of a chart."""
    if not isinstance(chart, str) or chart not in get_args(Chart):
        raise CircuitError(f"chart: 'exponential' or 'entries' expected, not {chart!r}")


@dataclass(frozen=True, eq=False)
class _Places:
    """Where each entry of the Hermitian H finds its coordinates, and where those stand; (d, d).

    Attributes
    ----------
    skew, sign
        H's imaginary part is ``sign * coordinates[skew]``.
    symmetric
        H's real part is ``coordinates[symmetric]``; for unitary blocks.
    upper
        Flat positions of the entries above the diagonal.
    """

    skew: NDArray[np.intp]
    sign: NDArray[np.float64]
    symmetric: NDArray[np.intp]
    upper: NDArray[np.intp]


@cache
def _places(d: int) -> _Places:
    upper = np.triu_indices(d, 1)
    count = len(upper[0])
    skew = np.zeros((d, d), dtype=np.intp)
    skew[upper] = np.arange(count)
    skew += skew.T
    symmetric = skew + count
    np.fill_diagonal(symmetric, 2 * count + np.arange(d))
    sign = np.tril(np.ones((d, d)), -1) - np.triu(np.ones((d, d)), 1)
    return _Places(skew, sign, symmetric, upper[0] * d + upper[1])


def _hermitian(coordinates: Array, d: int, real: bool) -> Array:
    places = beside(_places(d), coordinates)
    skew = 1j * (places.sign * coordinates[..., places.skew])
    return skew if real else skew + coordinates[..., places.symmetric]


def _exponential(coordinates: Array, d: int, real: bool) -> Array:
    xp = array_module(coordinates)
    values, vectors = xp.linalg.eigh(_hermitian(coordinates, d, real))
    out = (vectors * xp.exp(1j * values)[..., None, :]) @ dagger(vectors)
    return xp.ascontiguousarray(out.real) if real else out


def _exponential_gradient(coordinates: Array, cotangent: Array, d: int, real: bool) -> Array:
    """In the eigenvectors of H, dU is dH times divided differences of exp(i x)."""
    xp = array_module(coordinates)
    values, vectors = xp.linalg.eigh(_hermitian(coordinates, d, real))
    mean = 0.5 * (values[..., :, None] + values[..., None, :])
    half = 0.5 * (values[..., :, None] - values[..., None, :])
    divided = 1j * xp.exp(1j * mean) * xp.sinc(half / np.pi)  # sinc(x) is sin(pi x) / (pi x)
    turned = dagger(vectors) @ cotangent.swapaxes(-1, -2) @ vectors
    by_h = vectors @ (turned * divided) @ dagger(vectors)  # dL = Re trace(by_h dH)
    upper = beside(_places(d), coordinates).upper

    def above(matrices: Array) -> Array:
        return matrices.reshape(*matrices.shape[:-2], d * d)[..., upper]

    skew = above(by_h.imag.swapaxes(-1, -2) - by_h.imag)
    if real:
        return skew
    symmetric = above(by_h.real.swapaxes(-1, -2) + by_h.real)
    diagonal = xp.diagonal(by_h.real, axis1=-2, axis2=-1)
    return xp.concatenate([skew, symmetric, diagonal], axis=-1)


def _entries(coordinates: Array, d: int, real: bool) -> Array:
    return polar_factor(matrices_of(coordinates, real))


def _entries_gradient(coordinates: Array, cotangent: Array, d: int, real: bool) -> Array:
    wanted = cotangent.real if real else cotangent.conj()
    return entries_of(polar_pull_back(matrices_of(coordinates, real), wanted), real)


_MATRICES: dict[str, Callable[[Array, int, bool], Array]] = {
    "exponential": _exponential,
    "entries": _entries,
}
_GRADIENTS: dict[str, Callable[[Array, Array, int, bool], Array]] = {
    "exponential": _exponential_gradient,
    "entries": _entries_gradient,
}
