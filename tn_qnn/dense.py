"""A dense simulator: slow, obvious, for tests and for ``verify=True``."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.observables import Observable, PauliSum, Projector, check_observable
from tn_qnn.errors import InputError

MAX_DENSE_QUBITS = 20


def state(
    circuit: Circuit,
    weights: Mapping[str, float] | None = None,
    features: Sequence[float] | None = None,
) -> NDArray[np.complex128]:
    """The state vector, shape (2**n,), qubit 0 most significant.

    Raises
    ------
    InputError
        Above 20 qubits.

    Examples
    --------
    >>> state(Circuit(1).x(0)).real
    array([0., 1.])
    """
    n = circuit.num_qubits
    if n > MAX_DENSE_QUBITS:
        raise InputError(f"circuit: a dense state of {n} qubits is over {MAX_DENSE_QUBITS}")
    psi = np.zeros((2,) * n, dtype=complex)
    psi[(0,) * n] = 1
    for op in circuit.operations:
        psi = _apply(op.matrix(weights or {}, () if features is None else features), op.qubits, psi)
    return psi.reshape(-1)


def expectation(
    circuit: Circuit,
    observable: Observable,
    weights: Mapping[str, float] | None = None,
    features: Sequence[float] | None = None,
) -> float | NDArray[np.complex128]:
    """Expectation value of a Pauli sum or projector; for a density matrix the (d, d) matrix.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import Z
    >>> expectation(Circuit(1).x(0), Z(0))
    -1.0
    """
    check_observable(observable, circuit.num_qubits)
    n = circuit.num_qubits
    psi = state(circuit, weights, features).reshape((2,) * n)
    if isinstance(observable, PauliSum):
        total = 0.0
        for string, coefficient in observable.terms:
            moved = psi
            for qubit, axis in string:
                moved = _apply(PAULI[axis], (qubit,), moved)
            total += coefficient.real * float(np.vdot(psi, moved).real)
        return total
    if isinstance(observable, Projector):
        kept = psi[tuple(dict(observable.bits).get(q, slice(None)) for q in range(n))]
        return float(np.sum(np.abs(kept) ** 2))
    k = len(observable.qubits)
    front = np.moveaxis(psi, observable.qubits, range(k)).reshape(2**k, -1)
    return front @ front.conj().T


def _apply(
    matrix: NDArray[np.complex128], qubits: Sequence[int], psi: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    k = len(qubits)
    small = matrix.reshape((2,) * (2 * k))
    out = np.tensordot(small, psi, axes=(range(k, 2 * k), qubits))
    return np.moveaxis(out, range(k), qubits)
