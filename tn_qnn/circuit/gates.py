"""The gate table: one record a gate, from which everything else reads what a gate is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from tn_qnn.circuit import factors as fa
from tn_qnn.circuit.factors import PAULI, Factor, Matrix

MAX_PHASE_QUBITS = 8
Inverse = Callable[..., tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True, eq=False)
class Gate:
    """Everything known of a gate.

    Attributes
    ----------
    name
        Its OpenQASM name.
    num_qubits
        Number of qubits; qubit 0 is the most significant bit of the matrix.
    parameters
        Names of its angles, in radians.
    unitary
        Angles to matrix, shape (2**num_qubits, 2**num_qubits), complex128.
    factors
        The tensor-network form: factors in the order in which they act.
    permutation
        Where each wire goes after the factors: ``permutation[k]`` is the qubit that
        wire ``k`` becomes. SWAP is nothing but this.
    inverse
        Angles to (name, angles) of the inverse gate.
    doc
        One line.
    """

    name: str
    num_qubits: int
    parameters: tuple[str, ...]
    unitary: Callable[..., Matrix]
    factors: tuple[Factor, ...]
    inverse: Inverse
    doc: str
    permutation: tuple[int, ...] | None = None

    def matrix(self, params: Sequence[float] = ()) -> Matrix:
        """The unitary for the given angles, shape (2**num_qubits, 2**num_qubits)."""
        return np.asarray(self.unitary(*params), dtype=complex)

    @property
    def real(self) -> bool:
        """True where the tensor-network form has no imaginary part."""
        return all(factor.real for factor in self.factors)

    @property
    def diagonal(self) -> bool:
        """True where the gate is diagonal in the computational basis."""
        return self.permutation is None and all(all(f.diagonal) for f in self.factors)

    def frequencies(self, index: int) -> tuple[float, ...]:
        """Frequencies by which an expectation value can turn with angle ``index``."""
        found = {f for x in self.factors if x.parameter == index for f in x.frequencies}
        return tuple(sorted(found))

    def derivative(self, params: Sequence[float], index: int) -> Matrix:
        """Derivative of the matrix by angle ``index``, same shape as the matrix."""
        total = np.zeros((2**self.num_qubits,) * 2, dtype=complex)
        for moved in self.factors:
            if moved.parameter == index:
                total += self._product(params, moved)
        return total

    def factored_matrix(self, params: Sequence[float] = ()) -> Matrix:
        """The product of the factors: what the network contracts, for tests."""
        return self._product(params, None)

    def _product(self, params: Sequence[float], moved: Factor | None) -> Matrix:
        total = np.eye(2**self.num_qubits, dtype=complex)
        for factor in self.factors:
            small = factor.derivative(params) if factor is moved else factor.matrix(params)
            total = embed(small, factor.qubits, self.num_qubits) @ total
        if self.permutation is not None:
            total = permutation_matrix(self.permutation) @ total
        return total


def embed(matrix: Matrix, qubits: Sequence[int], num_qubits: int) -> Matrix:
    """A matrix on some qubits as one on all of them, shape (2**num_qubits, 2**num_qubits)."""
    k = len(qubits)
    eye = np.eye(2**num_qubits, dtype=complex).reshape((2,) * (2 * num_qubits))
    small = matrix.reshape((2,) * (2 * k))
    out = np.tensordot(small, eye, axes=(list(range(k, 2 * k)), list(qubits)))
    return np.moveaxis(out, range(k), qubits).reshape(2**num_qubits, 2**num_qubits)


def permutation_matrix(permutation: Sequence[int]) -> Matrix:
    """The matrix that moves qubit k to place ``permutation[k]``."""
    n = len(permutation)
    eye = np.eye(2**n, dtype=complex).reshape((2,) * (2 * n))
    return np.moveaxis(eye, range(n), permutation).reshape(2**n, 2**n)


def controlled(matrix: Matrix, controls: int = 1) -> Matrix:
    """Block-diagonal matrix (1, ..., 1, U) with the controls as the first qubits."""
    out = np.eye(len(matrix) * 2**controls, dtype=complex)
    out[-len(matrix) :, -len(matrix) :] = matrix
    return out


def _u3(theta: float, phi: float, lam: float) -> Matrix:
    c, s = np.cos(theta / 2), np.sin(theta / 2)
    return np.array(
        [[c, -np.exp(1j * lam) * s], [np.exp(1j * phi) * s, np.exp(1j * (phi + lam)) * c]]
    )


def _p(lam: float) -> Matrix:
    return np.diag([1, np.exp(1j * lam)])


def _exp(pauli: str) -> Callable[[float], Matrix]:
    generator = PAULI[pauli[0]]
    for letter in pauli[1:]:
        generator = np.kron(generator, PAULI[letter])
    eye = np.eye(len(generator))
    return lambda theta: np.cos(theta / 2) * eye - 1j * np.sin(theta / 2) * generator


def _fsim(theta: float, phi: float) -> Matrix:
    out = np.diag([1, np.cos(theta), np.cos(theta), np.exp(-1j * phi)])
    out[1, 2] = out[2, 1] = -1j * np.sin(theta)
    return out


def _circuit_matrix(n: int, steps: Sequence[tuple[Matrix, tuple[int, ...]]]) -> Matrix:
    total = np.eye(2**n, dtype=complex)
    for matrix, qubits in steps:
        total = embed(matrix, qubits, n) @ total
    return total


_H = np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2)
_SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
_V = np.array([[1, -1j], [-1j, 1]]) / np.sqrt(2)  # turns the Z axis into the Y axis
_CX = controlled(PAULI["X"])
_EXCHANGE = np.zeros((4, 4), dtype=complex)
_EXCHANGE[1, 2] = _EXCHANGE[2, 1] = -1j

_RCCX = _circuit_matrix(
    3,
    [
        (_H, (2,)),
        (_p(np.pi / 4), (2,)),
        (_CX, (1, 2)),
        (_p(-np.pi / 4), (2,)),
        (_CX, (0, 2)),
        (_p(np.pi / 4), (2,)),
        (_CX, (1, 2)),
        (_p(-np.pi / 4), (2,)),
        (_H, (2,)),
    ],
)
_RC3X = _circuit_matrix(
    4,
    [
        (_H, (3,)),
        (_p(np.pi / 4), (3,)),
        (_CX, (2, 3)),
        (_p(-np.pi / 4), (3,)),
        (_H, (3,)),
        (_CX, (0, 3)),
        (_p(np.pi / 4), (3,)),
        (_CX, (1, 3)),
        (_p(-np.pi / 4), (3,)),
        (_CX, (0, 3)),
        (_p(np.pi / 4), (3,)),
        (_CX, (1, 3)),
        (_p(-np.pi / 4), (3,)),
        (_H, (3,)),
        (_p(np.pi / 4), (3,)),
        (_CX, (2, 3)),
        (_p(-np.pi / 4), (3,)),
        (_H, (3,)),
    ],
)


def _fixed(name: str, matrix: Matrix, inverse: str, doc: str) -> Gate:
    n = len(matrix).bit_length() - 1
    kept = (fa.constant(matrix, range(n)),)
    return Gate(name, n, (), lambda: matrix, kept, lambda: (inverse, ()), doc)


def _turn(name: str, unitary: Callable[..., Matrix], factors: Sequence[Factor], doc: str) -> Gate:
    n = 1 + max(q for f in factors for q in f.qubits)
    label = "lam" if name in ("p", "cp", "crz", "rz") else "theta"
    return Gate(name, n, (label,), unitary, tuple(factors), lambda t: (name, (-t,)), doc)


def _u_factors() -> tuple[Factor, ...]:
    return (fa.phase(1, [0], 2), fa.rotation(PAULI["Y"], [0], 0), fa.phase(1, [0], 1))


def _constants() -> list[Gate]:
    x, y, z, eye = PAULI["X"], PAULI["Y"], PAULI["Z"], PAULI["I"]
    sx4 = _circuit_matrix(1, [(_H, (0,)), (_p(np.pi / 2), (0,)), (_H, (0,))])
    return [
        _fixed("id", eye, "id", "identity"),
        _fixed("x", x, "x", "Pauli X"),
        _fixed("y", y, "y", "Pauli Y"),
        _fixed("z", z, "z", "Pauli Z"),
        _fixed("h", _H, "h", "Hadamard"),
        _fixed("s", _p(np.pi / 2), "sdg", "square root of Z"),
        _fixed("sdg", _p(-np.pi / 2), "s", "inverse of S"),
        _fixed("t", _p(np.pi / 4), "tdg", "fourth root of Z"),
        _fixed("tdg", _p(-np.pi / 4), "t", "inverse of T"),
        _fixed("sx", _SX, "sxdg", "square root of X"),
        _fixed("sxdg", _SX.conj().T, "sx", "inverse of SX"),
        _fixed("cx", controlled(x), "cx", "controlled X"),
        _fixed("cy", controlled(y), "cy", "controlled Y"),
        _fixed("cz", controlled(z), "cz", "controlled Z"),
        _fixed("ch", controlled(_H), "ch", "controlled Hadamard"),
        _fixed("csx", controlled(_SX), "csxdg", "controlled square root of X"),
        _fixed("csxdg", controlled(_SX.conj().T), "csx", "inverse of CSX"),
        _fixed("ccx", controlled(x, 2), "ccx", "Toffoli"),
        _fixed("ccz", controlled(z, 2), "ccz", "doubly controlled Z"),
        _fixed("c3x", controlled(x, 3), "c3x", "triply controlled X"),
        _fixed("c3sqrtx", controlled(sx4, 3), "c3sqrtxdg", "triply controlled root of X"),
        _fixed("c3sqrtxdg", controlled(sx4.conj().T, 3), "c3sqrtx", "inverse of C3SQRTX"),
        _fixed("c4x", controlled(x, 4), "c4x", "X with four controls"),
        _fixed("rccx", _RCCX, "rccx", "Toffoli up to relative phases"),
        _fixed("rc3x", _RC3X, "rc3xdg", "triply controlled X up to relative phases"),
        _fixed("rc3xdg", _RC3X.conj().T, "rc3x", "inverse of RC3X"),
        _fixed("cswap", controlled(permutation_matrix((1, 0))), "cswap", "Fredkin"),
    ]


def _rotations() -> list[Gate]:
    x, y, z = PAULI["X"], PAULI["Y"], PAULI["Z"]
    rzz = fa.rotation(np.kron(z, z), [0, 1])
    h, v, vdg = _H, _V, _V.conj().T
    both = ([0], [1])
    return [
        _turn("rx", _exp("X"), [fa.rotation(x, [0])], "rotation about X"),
        _turn("ry", _exp("Y"), [fa.rotation(y, [0])], "rotation about Y"),
        _turn("rz", _exp("Z"), [fa.rotation(z, [0])], "rotation about Z"),
        _turn("p", _p, [fa.phase(1, [0])], "phase on |1>"),
        _turn("cp", lambda t: controlled(_p(t)), [fa.phase(2, [0, 1])], "phase on |11>"),
        _turn(
            "crx",
            lambda t: controlled(_exp("X")(t)),
            [fa.control(fa.rotation(x, [0]))],
            "controlled RX",
        ),
        _turn(
            "cry",
            lambda t: controlled(_exp("Y")(t)),
            [fa.control(fa.rotation(y, [0]))],
            "controlled RY",
        ),
        _turn(
            "crz",
            lambda t: controlled(_exp("Z")(t)),
            [fa.control(fa.rotation(z, [0]))],
            "controlled RZ",
        ),
        _turn("rzz", _exp("ZZ"), [rzz], "rotation about ZZ"),
        _turn(
            "rxx",
            _exp("XX"),
            [*(fa.constant(h, q) for q in both), rzz, *(fa.constant(h, q) for q in both)],
            "rotation about XX",
        ),
        _turn(
            "ryy",
            _exp("YY"),
            [*(fa.constant(vdg, q) for q in both), rzz, *(fa.constant(v, q) for q in both)],
            "rotation about YY",
        ),
    ]


def _u_family() -> list[Gate]:
    cu3 = tuple(fa.control(f) for f in _u_factors())
    angles = ("theta", "phi", "lam")
    u2 = (fa.phase(1, [0], 1), fa.constant(_u3(np.pi / 2, 0, 0), [0]), fa.phase(1, [0], 0))
    return [
        Gate(
            "u3",
            1,
            angles,
            _u3,
            _u_factors(),
            lambda t, p, m: ("u3", (-t, -m, -p)),
            "P(phi) RY(theta) P(lam)",
        ),
        Gate(
            "u2",
            1,
            ("phi", "lam"),
            lambda p, m: _u3(np.pi / 2, p, m),
            u2,
            lambda p, m: ("u3", (-np.pi / 2, -m, -p)),
            "u3 with theta = pi/2",
        ),
        Gate(
            "u0",
            1,
            ("gamma",),
            lambda g: PAULI["I"],
            (),
            lambda g: ("u0", (g,)),
            "identity that lasts gamma",
        ),
        Gate(
            "cu3",
            2,
            angles,
            lambda t, p, m: controlled(_u3(t, p, m)),
            cu3,
            lambda t, p, m: ("cu3", (-t, -m, -p)),
            "controlled u3",
        ),
        Gate(
            "cu",
            2,
            (*angles, "gamma"),
            lambda t, p, m, g: controlled(np.exp(1j * g) * _u3(t, p, m)),
            (*cu3, fa.phase(1, [0], 3)),
            lambda t, p, m, g: ("cu", (-t, -m, -p, -g)),
            "controlled u3 with a phase gamma",
        ),
    ]


def _exchanges() -> list[Gate]:
    exchange = Factor(
        (0, 1), np.stack([np.diag([1, 0, 0, 1]), np.diag([0, 1, 1, 0]), _EXCHANGE]), 0, 1.0
    )
    swap = permutation_matrix((1, 0))
    ii = np.diag([1, 1j, 1j, 1])
    return [
        Gate(
            "fsim",
            2,
            ("theta", "phi"),
            _fsim,
            (exchange, fa.phase(2, [0, 1], 1, -1)),
            lambda t, p: ("fsim", (-t, -p)),
            "fermionic simulation gate",
        ),
        Gate(
            "swap", 2, (), lambda: swap, (), lambda: ("swap", ()), "exchange of two qubits", (1, 0)
        ),
        Gate(
            "iswap",
            2,
            (),
            lambda: swap @ ii,
            (fa.constant(ii, [0, 1]),),
            lambda: ("iswapdg", ()),
            "exchange with a phase i",
            (1, 0),
        ),
        Gate(
            "iswapdg",
            2,
            (),
            lambda: swap @ ii.conj(),
            (fa.constant(ii.conj(), [0, 1]),),
            lambda: ("iswap", ()),
            "inverse of iSWAP",
            (1, 0),
        ),
    ]


#: Every gate of fixed size by name.
GATES: Mapping[str, Gate] = MappingProxyType(
    {gate.name: gate for gate in [*_constants(), *_rotations(), *_u_family(), *_exchanges()]}
)

#: Other names under which OpenQASM and users know the same gates.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "CX": "cx", "cnot": "cx", "U": "u3", "u": "u3", "u1": "p", "phase": "p", "cu1": "cp",
        "cphase": "cp", "toffoli": "ccx", "fredkin": "cswap", "i": "id",
    }
)  # fmt: skip


@cache
def multi_controlled_phase(num_qubits: int) -> Gate:
    """The diagonal phase on ``|1...1>`` of any number of qubits up to eight."""
    return Gate(
        "mcphase",
        num_qubits,
        ("lam",),
        lambda t: controlled(_p(t), num_qubits - 1),
        (fa.phase(num_qubits, range(num_qubits)),),
        lambda t: ("mcphase", (-t,)),
        "phase on |1...1>",
    )
