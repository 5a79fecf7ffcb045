"""One expectation value, without a model of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import DensityMatrix, Observable, unpack_density
from tn_qnn.errors import BackendError
from tn_qnn.models.qnn import QNN


def expectation(
    circuit: Circuit,
    observable: Observable,
    weights: Mapping[str, float] | None = None,
    features: Sequence[float] | None = None,
    *,
    dtype: str = "float64",
    verify: bool = False,
    **options: Any,
) -> float | NDArray[np.complex128]:
    """Expectation value of one observable, without a model of one's own.

    Parameters
    ----------
    circuit, observable
        What to evaluate.
    weights, features
        Values for the circuit's weights and features.
    dtype
        Precision, "float64" by default.
    verify
        Also compute it by the dense simulator (up to 20 qubits) and compare.
    options
        Passed to :class:`QNN`.

    Returns
    -------
    float
        The value; for ``density_matrix`` the matrix, shape (d, d), complex.

    Raises
    ------
    InputError
        As :class:`QNN`; also when ``verify`` finds a difference above 1e-4 (float32) or 1e-9.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import Z
    >>> round(expectation(Circuit(2).h(0).cx(0, 1), Z(0) @ Z(1)), 6)
    1.0
    """
    model = QNN(circuit, [observable], dtype=dtype, sets=1, samples=1, **options)
    rows = None if features is None else np.asarray(features, dtype=float)[None]
    outputs = model(weights, rows)[0].astype(float)
    value = unpack_density(outputs) if isinstance(observable, DensityMatrix) else float(outputs[0])
    if verify:
        from tn_qnn import dense

        values = model._checked_weights(weights, 1)[0].reshape(-1)
        named = dict(zip(model.weight_names, values.tolist(), strict=True))
        exact = dense.expectation(circuit, observable, named, features)
        difference = float(np.max(np.abs(np.asarray(value) - exact)))
        if difference > (1e-4 if dtype == "float32" else 1e-9):
            raise BackendError(
                f"verify: the dense simulator differs by {difference:.3g}; please report this"
            )
    return value
