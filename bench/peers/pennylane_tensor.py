"""PennyLane: a QNode on default.tensor or lightning.qubit."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import Problem
from bench.peers import Call
from bench.peers.angles import column_of, value

GATES = {"cx": "CNOT", "rzz": "IsingZZ"}  # ours to PennyLane's, where upper case alone does not do


def qnode_call(problem: Problem, device: Any) -> Call:
    """One evaluation after the other on a device."""
    import pennylane as qml

    column = column_of(problem.weight_names)
    (circuit,) = problem.circuits

    @qml.qnode(device, diff_method=None)
    def outputs(weights: Any, features: Any) -> Any:
        for op in circuit.operations:
            angles = [value(p, weights, features, column) for p in op.params]
            gate = getattr(qml, GATES.get(op.gate, op.gate.upper()))
            gate(*angles, wires=list(op.qubits))
        return [qml.expval(qml.PauliZ(q)) for q in problem.qubits]

    return lambda weights, X: np.array([[outputs(w, x) for x in X] for w in weights])


def complex_type(problem: Problem) -> Any:
    """The complex type of a problem's precision."""
    return np.complex128 if problem.dtype == "float64" else np.complex64


def build(problem: Problem, sets: int, samples: int) -> Call:
    """The tensor-network device."""
    import pennylane as qml

    wires = problem.circuits[0].num_qubits
    kind = complex_type(problem)
    return qnode_call(problem, qml.device("default.tensor", wires=wires, method="tn", c_dtype=kind))
