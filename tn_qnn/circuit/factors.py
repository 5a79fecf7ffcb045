"""Factors: the tensor-network form of gates, one trigonometric angle each at the most.

A factor is a unitary ``U(theta) = C0 + C1 cos(f theta) + C2 sin(f theta)`` on a few qubits.
A qubit on which every ``C`` is diagonal is a hyper-edge: the tensor has one index there, not
two. That is the whole low-rank story of the gate set: CZ is a matrix over two wires, CNOT a
three-index XOR tensor whose control rides on the wire, RZ a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]  # complex128

EXACT = 1e-13  # what counts as zero where a gate is taken out of the cone

PAULI: dict[str, Matrix] = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(complex),
}


@dataclass(frozen=True, eq=False)
class Factor:
    """One unitary of a gate as a tensor with at most one angle.

    Attributes
    ----------
    qubits
        Positions in the gate's qubits; the first is the most significant.
    coefficients
        Matrices ``(C0,)`` for a constant, else ``(C0, C1, C2)``; shape (1 or 3, d, d).
    parameter
        Which parameter of the gate is the angle; None for a constant.
    frequency
        ``f`` above, in radians of phase a radian of angle.
    """

    qubits: tuple[int, ...]
    coefficients: Matrix
    parameter: int | None = None
    frequency: float = 0.0

    @cached_property
    def diagonal(self) -> tuple[bool, ...]:
        """For each qubit, whether it is a hyper-edge of this factor."""
        return tuple(self._commutes(k, "Z") for k in range(len(self.qubits)))

    @cached_property
    def axes(self) -> tuple[str | None, ...]:
        """For each qubit, the Pauli axis that the factor commutes with there, if any."""
        return tuple(
            next((axis for axis in "ZXY" if self._commutes(k, axis)), None)
            for k in range(len(self.qubits))
        )

    def _commutes(self, k: int, axis: str) -> bool:
        n = len(self.qubits)
        pauli = np.kron(np.kron(np.eye(2**k), PAULI[axis]), np.eye(2 ** (n - k - 1)))
        difference = pauli @ self.coefficients - self.coefficients @ pauli
        return bool(np.abs(difference).max() < EXACT)

    @cached_property
    def axis_map(self) -> dict[str, str]:
        """For a constant on one qubit: Pauli axes sent to Pauli axes by U† P U."""
        if len(self.qubits) != 1 or self.parameter is not None:
            return {}
        u = self.coefficients[0]
        images = {a: u.conj().T @ PAULI[a] @ u for a in "XYZ"}
        return {
            a: b
            for a, image in images.items()
            for b in "XYZ"
            if min(np.abs(image - PAULI[b]).max(), np.abs(image + PAULI[b]).max()) < EXACT
        }

    @cached_property
    def tensor(self) -> Matrix:
        """Coefficients as (R, then per qubit one index if diagonal, else out and in)."""
        n = len(self.qubits)
        dense = self.coefficients.reshape((-1,) + (2,) * (2 * n))
        inputs = [0] + [1 + k if d else 1 + n + k for k, d in enumerate(self.diagonal)]
        labels = [0] + [1 + k for k in range(n)] + inputs[1:]
        kept = [0]
        for k, d in enumerate(self.diagonal):
            kept += [1 + k] if d else [1 + k, 1 + n + k]
        picked: Matrix = np.einsum(dense, labels, kept)
        return np.ascontiguousarray(picked)

    @property
    def basis(self) -> tuple[str, ...]:
        """The functions of the angle that the leading index of ``tensor`` runs over."""
        return ("one",) if self.parameter is None else ("one", "cos", "sin")

    @cached_property
    def symmetric(self) -> bool:
        """True where two qubits may change places."""
        if len(self.qubits) != 2:
            return False
        swapped = self.coefficients.reshape(-1, 2, 2, 2, 2).transpose(0, 2, 1, 4, 3)
        return bool(np.array_equal(swapped.reshape(self.coefficients.shape), self.coefficients))

    @cached_property
    def key(self) -> tuple[bytes, bool, float]:
        """What two factors must share to be the same tensor, up to qubits and angle."""
        return (self.coefficients.tobytes(), self.parameter is None, self.frequency)

    @cached_property
    def real(self) -> bool:
        """True where no coefficient has an imaginary part."""
        return bool(np.all(self.coefficients.imag == 0))

    def matrix(self, params: Sequence[float]) -> Matrix:
        """The unitary for the gate's parameters, shape (d, d)."""
        return self._combine(params, derivative=False)

    def derivative(self, params: Sequence[float]) -> Matrix:
        """The derivative by the factor's own angle, shape (d, d); zero for a constant."""
        return self._combine(params, derivative=True)

    def _combine(self, params: Sequence[float], derivative: bool) -> Matrix:
        if self.parameter is None:
            return np.zeros_like(self.coefficients[0]) if derivative else self.coefficients[0]
        f = self.frequency
        angle = f * params[self.parameter]
        trig = (
            (0.0, -f * np.sin(angle), f * np.cos(angle))
            if derivative
            else (
                1.0,
                np.cos(angle),
                np.sin(angle),
            )
        )
        return np.tensordot(np.array(trig, dtype=complex), self.coefficients, axes=1)

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Frequencies by which an expectation value can turn with the angle."""
        if self.parameter is None:
            return ()
        f = abs(self.frequency)
        mixed = bool(np.any(self.coefficients[0]))
        return (
            (f, 2 * f)
            if mixed and np.any(_wide(self.coefficients))
            else ((f,) if mixed else (2 * f,))
        )


def _wide(coefficients: Matrix) -> NDArray[np.bool_]:
    """Where eigenphases +f and -f both occur: then the difference 2f occurs too."""
    c1, c2 = coefficients[1], coefficients[2]
    plus, minus = (c1 - 1j * c2) / 2, (c1 + 1j * c2) / 2
    return np.array([np.any(np.abs(plus) > 1e-12) and np.any(np.abs(minus) > 1e-12)])


def constant(matrix: Matrix, qubits: Sequence[int]) -> Factor:
    """A factor without an angle."""
    return Factor(tuple(qubits), np.asarray(matrix, dtype=complex)[None])


def rotation(pauli: Matrix, qubits: Sequence[int], parameter: int = 0) -> Factor:
    """``exp(-i theta P / 2)`` for an involution P."""
    eye = np.eye(len(pauli))
    stack = np.stack([0 * eye, eye, -1j * pauli])
    return Factor(tuple(qubits), stack, parameter, 0.5)


def phase(num_qubits: int, qubits: Sequence[int], parameter: int = 0, sign: int = 1) -> Factor:
    """``diag(1, ..., 1, exp(i sign theta))``."""
    last = np.zeros((2**num_qubits, 2**num_qubits), dtype=complex)
    last[-1, -1] = 1
    return Factor(
        tuple(qubits), np.stack([np.eye(len(last)) - last, last, 1j * sign * last]), parameter, 1.0
    )


def control(factor: Factor) -> Factor:
    """The same factor controlled by a new first qubit; the others move up by one place."""
    d = factor.coefficients.shape[-1]
    stack = np.zeros((len(factor.coefficients), 2 * d, 2 * d), dtype=complex)
    stack[0, :d, :d] = np.eye(d)
    stack[:, d:, d:] = factor.coefficients
    qubits = (0, *(q + 1 for q in factor.qubits))
    return Factor(qubits, stack, factor.parameter, factor.frequency)
