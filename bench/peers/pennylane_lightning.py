"""PennyLane's lightning.qubit: a statevector simulator in C++."""

from __future__ import annotations

from bench.cases import Problem
from bench.peers import Call
from bench.peers.pennylane_tensor import complex_type, qnode_call


def build(problem: Problem, sets: int, samples: int) -> Call:
    """The statevector device."""
    import pennylane as qml

    wires = problem.circuits[0].num_qubits
    return qnode_call(
        problem, qml.device("lightning.qubit", wires=wires, c_dtype=complex_type(problem))
    )
