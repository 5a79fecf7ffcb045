"""Qiskit Aer's matrix-product simulator behind EstimatorV2."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import Problem
from bench.peers import Call
from bench.peers.angles import column_of, value
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.slots import Expr

GATES = {"u3": "u"}


def build(problem: Problem, sets: int, samples: int) -> Call:
    """One parametrised circuit; the evaluations of a call are its parameter sets."""
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer.primitives import EstimatorV2

    (source,) = problem.circuits
    n = source.num_qubits
    circuit, parameters = _translated(source, problem.weight_names)
    estimator = EstimatorV2(options={"backend_options": {"method": "matrix_product_state"}})
    observables = [
        [SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], num_qubits=n)] for q in problem.qubits
    ]

    def call(weights: Any, X: Any) -> Any:
        rows = np.concatenate(
            [
                np.repeat(weights, len(X), axis=0),
                np.tile(X, (len(weights), 1)),
            ],
            axis=1,
        )[:, parameters]
        values = estimator.run([(circuit, observables, rows)]).result()[0].data.evs
        return np.moveaxis(np.asarray(values).reshape(-1, len(weights), len(X)), 0, -1)

    return call


def _translated(source: Circuit, names: tuple[str, ...]) -> tuple[Any, list[int]]:
    """Qiskit's circuit, and for each of its parameters the column in (weights, data)."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    weights = {name: Parameter(f"w{k}") for k, name in enumerate(names)}
    features = [Parameter(f"x{k}") for k in range(source.num_features)]
    column, values = column_of(names), list(weights.values())
    places = {p: k for k, p in enumerate([*values, *features])}

    def angle(expr: Expr) -> Any:
        if expr.is_constant:
            return expr.constant_value
        return value(expr, values, features, column)

    circuit = QuantumCircuit(source.num_qubits)
    for op in source.operations:
        apply = getattr(circuit, GATES.get(op.gate, op.gate))
        apply(*(angle(p) for p in op.params), *op.qubits)
    return circuit, [places[p] for p in circuit.parameters]
