"""quimb: a circuit a sample, local expectation values, paths kept from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import Problem
from bench.peers import Call
from bench.peers.angles import column_of, value

SEARCH_SECONDS = 2.0
GATES = {"cx": "CNOT"}  # ours to quimb's, where upper case alone does not do


def build(problem: Problem, sets: int, samples: int) -> Call:
    """Loops over everything; the optimiser remembers what it has searched."""
    import cotengra as ctg
    import quimb as qu
    import quimb.tensor as qtn

    column = column_of(problem.weight_names)
    optimizer = ctg.ReusableHyperOptimizer(max_time=SEARCH_SECONDS, parallel=False, progbar=False)
    dtype = "complex128" if problem.dtype == "float64" else "complex64"
    pauli_z = qu.pauli("Z")

    def expectation(circuit: Any, q: int) -> float:
        return float(circuit.local_expectation(pauli_z, q, optimize=optimizer, dtype=dtype).real)

    def outputs(weights: Any, features: Any) -> list[float]:
        found = []
        for source in problem.circuits:
            circuit = qtn.Circuit(source.num_qubits)
            for op in source.operations:
                angles = [value(p, weights, features, column) for p in op.params]
                circuit.apply_gate(GATES.get(op.gate, op.gate.upper()), *angles, *op.qubits)
            found += [expectation(circuit, q) for q in problem.qubits]
        return found

    return lambda weights, X: np.array([[outputs(w, x) for x in X] for w in weights])
