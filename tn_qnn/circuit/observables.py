"""Observables and readouts: Pauli sums, projectors, reduced density matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Complex, Integral

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import CircuitError

#: A Pauli string: pairs (qubit, "X" | "Y" | "Z"), sorted by qubit.
PauliString = tuple[tuple[int, str], ...]

_PRODUCT = {
    ("X", "Y"): (1j, "Z"), ("Y", "Z"): (1j, "X"), ("Z", "X"): (1j, "Y"),
    ("Y", "X"): (-1j, "Z"), ("Z", "Y"): (-1j, "X"), ("X", "Z"): (-1j, "Y"),
}  # fmt: skip
MAX_READOUT_QUBITS = 8


@dataclass(frozen=True)
class PauliSum:
    """A sum of Pauli strings with coefficients.

    ``X(q)``, ``Y(q)``, ``Z(q)`` and ``I()`` are combined by ``+``, ``-``, ``*`` with numbers
    and ``@`` (or ``*``) with each other. Where it is used as an observable its coefficients
    must be real; ``X(0) @ Y(0)`` alone is not Hermitian.

    Attributes
    ----------
    terms
        Pairs (Pauli string, coefficient), sorted, none zero.

    Examples
    --------
    >>> print(Z(0) @ Z(1) + 0.5 * X(3))
    Z0*Z1 + 0.5*X3
    """

    terms: tuple[tuple[PauliString, complex], ...]

    @property
    def qubits(self) -> tuple[int, ...]:
        """All qubits it acts on, sorted."""
        return tuple(sorted({q for string, _ in self.terms for q, _ in string}))

    @property
    def hermitian(self) -> bool:
        """True where all coefficients are real."""
        return all(abs(c.imag) <= 1e-12 * abs(c) for _, c in self.terms)

    def __add__(self, other: PauliSum | float) -> PauliSum:
        total = dict(self.terms)
        for string, c in _as_sum(other).terms:
            total[string] = total.get(string, 0) + c
        return _from_terms(total)

    def __matmul__(self, other: PauliSum) -> PauliSum:
        if not isinstance(other, PauliSum):
            raise CircuitError(f"@ combines observables, not an observable and {other!r}")
        total: dict[PauliString, complex] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                factor, string = _multiply(left, right)
                total[string] = total.get(string, 0) + a * b * factor
        return _from_terms(total)

    def __mul__(self, other: PauliSum | complex) -> PauliSum:
        return self @ _as_sum(other)

    def __truediv__(self, other: float) -> PauliSum:
        if isinstance(other, PauliSum) or other == 0:
            raise CircuitError(f"an observable is divided by a non-zero number, not {other!r}")
        return self * (1 / other)

    def __neg__(self) -> PauliSum:
        return self * -1

    def __sub__(self, other: PauliSum | float) -> PauliSum:
        return self + -_as_sum(other)

    def __rsub__(self, other: float) -> PauliSum:
        return _as_sum(other) - self

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = []
        for string, c in self.terms:
            name = "*".join(f"{axis}{q}" for q, axis in string) or "I"
            number = f"{c.real:.12g}" if abs(c.imag) == 0 else f"({c:.6g})"
            parts.append(name if c == 1 else f"{number}*{name}")
        return " + ".join(parts).replace("+ -", "- ") if parts else "0"


@dataclass(frozen=True)
class Projector:
    """The projector |b><b| on a few qubits: the probability of reading the bits b."""

    bits: tuple[tuple[int, int], ...]

    @property
    def qubits(self) -> tuple[int, ...]:
        """Its qubits, sorted."""
        return tuple(q for q, _ in self.bits)

    def __str__(self) -> str:
        return "P(" + ",".join(f"{q}={b}" for q, b in self.bits) + ")"


@dataclass(frozen=True)
class DensityMatrix:
    """The reduced density matrix of a few qubits, as a readout of 4**k real numbers.

    The outputs are, row by row, the real parts on and above the diagonal and the imaginary
    parts below it (``rho[i, j]`` with i > j gives ``Im rho[i, j]``), which is all there is.
    """

    qubits: tuple[int, ...]

    def __str__(self) -> str:
        return "rho(" + ",".join(map(str, self.qubits)) + ")"


Observable = PauliSum | Projector | DensityMatrix


def X(qubit: int) -> PauliSum:
    """Pauli X on one qubit."""
    return _single(qubit, "X")


def Y(qubit: int) -> PauliSum:
    """Pauli Y on one qubit."""
    return _single(qubit, "Y")


def Z(qubit: int) -> PauliSum:
    """Pauli Z on one qubit."""
    return _single(qubit, "Z")


def I() -> PauliSum:  # noqa: E743
    """The identity."""
    return PauliSum((((), 1.0 + 0j),))


def parity(qubits: Sequence[int]) -> PauliSum:
    """The parity of some qubits: Z on each, 1 where an even number of them reads 1, else -1.

    Examples
    --------
    >>> print(parity([0, 2, 3]))
    Z0*Z2*Z3
    """
    if isinstance(qubits, str) or not hasattr(qubits, "__len__") or not len(qubits):
        raise CircuitError(f"parity: a list of qubits expected, not {qubits!r}")
    string = tuple(sorted((_check_qubit(q), "Z") for q in qubits))
    if len(set(string)) != len(string):
        raise CircuitError(f"parity: different qubits expected, not {tuple(qubits)}")
    return PauliSum(((string, 1.0 + 0j),))


def projector(bits: Mapping[int, int]) -> Projector:
    """The probability of reading ``bits[q]`` on each qubit q.

    Examples
    --------
    >>> print(projector({0: 1, 3: 0}))
    P(0=1,3=0)
    """
    if not isinstance(bits, Mapping):
        raise CircuitError(f"projector: bits such as {{0: 1, 3: 0}} expected, not {bits!r}")
    for q, b in bits.items():
        _check_qubit(q)
        if b not in (0, 1):
            raise CircuitError(f"projector: the bit of qubit {q} must be 0 or 1, not {b!r}")
    if not bits:
        raise CircuitError("projector: at least one qubit is needed")
    return Projector(tuple(sorted((int(q), int(b)) for q, b in bits.items())))


def density_matrix(qubits: Sequence[int]) -> DensityMatrix:
    """The reduced density matrix of up to eight qubits; the first is most significant.

    Examples
    --------
    >>> density_matrix([2, 0]).qubits
    (2, 0)
    """
    if isinstance(qubits, str) or not hasattr(qubits, "__len__"):
        raise CircuitError(f"density_matrix: a list of qubits expected, not {qubits!r}")
    for q in qubits:
        _check_qubit(q)
    if not 1 <= len(qubits) <= MAX_READOUT_QUBITS or len(set(qubits)) != len(qubits):
        raise CircuitError(
            f"density_matrix: 1 to {MAX_READOUT_QUBITS} different qubits, not {tuple(qubits)}"
        )
    return DensityMatrix(tuple(int(q) for q in qubits))


def pack_density(rho: Array) -> Array:
    """Hermitian matrices (..., d, d) as the real outputs (..., d*d) of :class:`DensityMatrix`.

    NumPy or CuPy in, the same out.
    """
    xp = array_module(rho)
    row = xp.arange(rho.shape[-1])
    lower = row[:, None] > row
    return xp.where(lower, rho.imag, rho.real).reshape(*rho.shape[:-2], row.size**2)


def unpack_density(outputs: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The inverse of :func:`pack_density`: outputs (..., d*d) to matrices (..., d, d)."""
    d = round(outputs.shape[-1] ** 0.5)
    packed = outputs.reshape(*outputs.shape[:-1], d, d)
    upper = np.triu(packed) - 1j * np.swapaxes(np.tril(packed, -1), -1, -2)
    diagonal = np.einsum("...ii->...i", packed)[..., None] * np.eye(d)
    return upper + np.swapaxes(upper.conj(), -1, -2) - diagonal


def output_bounds(observable: Observable) -> tuple[float, ...]:
    """Bounds of the magnitudes of an observable's outputs, one each.

    Examples
    --------
    >>> output_bounds(X(0) - 0.5 * Z(1)), output_bounds(density_matrix([0]))
    ((1.5,), (1.0, 1.0, 1.0, 1.0))
    """
    if isinstance(observable, PauliSum):
        return (sum(abs(coefficient) for _, coefficient in observable.terms),)
    return (1.0,) * (4 ** len(observable.qubits) if isinstance(observable, DensityMatrix) else 1)


def check_observable(observable: object, num_qubits: int) -> Observable:
    """The observable itself, if it is legal on that many qubits.

    Raises
    ------
    CircuitError
        When it is of another type, not Hermitian, or acts on a qubit out of range.
    """
    if not isinstance(observable, PauliSum | Projector | DensityMatrix):
        raise CircuitError(
            "observable: X, Y, Z, I and their sums and products, projector() or"
            f" density_matrix() expected, not {observable!r}"
        )
    if isinstance(observable, PauliSum) and not observable.hermitian:
        raise CircuitError(f"observable: {observable} is not Hermitian (complex coefficients)")
    for q in observable.qubits:
        if q >= num_qubits:
            raise CircuitError(
                f"observable: qubit {q} of {observable} is out of range; the circuit has qubits"
                f" 0 to {num_qubits - 1}"
            )
    return observable


def _check_qubit(qubit: object) -> int:
    if isinstance(qubit, bool) or not isinstance(qubit, Integral) or qubit < 0:
        raise CircuitError(f"observable: a qubit must be an integer >= 0, not {qubit!r}")
    return int(qubit)


def _single(qubit: int, axis: str) -> PauliSum:
    return PauliSum(((((_check_qubit(qubit), axis),), 1.0 + 0j),))


def _as_sum(value: PauliSum | complex) -> PauliSum:
    if isinstance(value, PauliSum):
        return value
    if isinstance(value, bool) or not isinstance(value, Complex):
        raise CircuitError(f"an observable combines with numbers and observables, not {value!r}")
    number = complex(value)
    if not np.isfinite(number):
        raise CircuitError(f"observable: the coefficient {value!r} is not finite")
    return _from_terms({(): number})


def _from_terms(terms: Mapping[PauliString, complex]) -> PauliSum:
    return PauliSum(tuple(sorted((s, complex(c)) for s, c in terms.items() if c != 0)))


def _multiply(left: PauliString, right: PauliString) -> tuple[complex, PauliString]:
    factor, axes = 1 + 0j, dict(left)
    for q, axis in right:
        old = axes.pop(q, None)
        if old is None:
            axes[q] = axis
        elif old != axis:
            phase, axes[q] = _PRODUCT[old, axis]
            factor *= phase
    return factor, tuple(sorted(axes.items()))
