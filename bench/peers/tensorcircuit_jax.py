"""TensorCircuit-NG on JAX: compiled, and mapped over samples and parameter sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.cases import Problem
from bench.peers import Call
from bench.peers.angles import column_of, value
from tn_qnn.circuit.circuit import Circuit

GATES = {"u3": "u"}  # ours to TensorCircuit's, where the names differ
ANGLES = {"u3": ("theta", "phi", "lbd")}


def build(problem: Problem, sets: int, samples: int) -> Call:
    """One jitted function for the whole batch and all outputs."""
    import jax
    import jax.numpy as jnp
    import tensorcircuit as tc

    backend: Any = tc.set_backend("jax")
    tc.set_dtype("complex128" if problem.dtype == "float64" else "complex64")
    columns = np.array([_columns(problem, c) for c in problem.circuits], dtype=np.intp)
    first = problem.circuits[0]
    if any(_shape(c) != _shape(first) for c in problem.circuits[1:]):
        raise ValueError("tensorcircuit-ng: circuits of different structure are not translated")
    column = column_of(first.weights)

    def outputs(weights: Any, features: Any) -> Any:
        circuit = _translated(tc, first, weights, features, column)
        values = [
            backend.real(circuit.expectation_ps(z=[q], enable_lightcone=True, reuse=False))
            for q in problem.qubits
        ]
        return jnp.stack(values)

    # Circuits of one structure are one more axis: (circuits, P, S, observables).
    samples = jax.vmap(outputs, (None, 0))
    compiled = jax.jit(jax.vmap(jax.vmap(samples, (0, None)), (0, None)))

    def call(weights: Any, X: Any) -> Any:
        picked = np.moveaxis(np.asarray(weights, problem.dtype)[:, columns], 1, 0)
        values = np.asarray(compiled(picked, np.asarray(X, problem.dtype)))
        return np.moveaxis(values, 0, 2).reshape(*values.shape[1:3], -1)

    return call


def _columns(problem: Problem, circuit: Circuit) -> list[int]:
    column = column_of(problem.weight_names)
    return [column[name] for name in circuit.weights]


def _shape(circuit: Circuit) -> Any:
    """All of a circuit but the names of its weights, which occur in order."""
    name_of = {name: str(k) for k, name in enumerate(circuit.weights)}
    return [
        (
            op.gate,
            op.qubits,
            [
                (c, m.features, [name_of[n] for n in m.weights])
                for p in op.params
                for m, c in p.terms
            ],
        )
        for op in circuit.operations
    ]


def _translated(
    tc: Any, circuit: Circuit, weights: Any, features: Any, column: Mapping[str, int]
) -> Any:
    built = tc.Circuit(circuit.num_qubits)
    for op in circuit.operations:
        angles = [value(p, weights, features, column) for p in op.params]
        names = ANGLES.get(op.gate, ("theta",))
        apply = getattr(built, GATES.get(op.gate, op.gate))
        apply(*op.qubits, **dict(zip(names, angles, strict=False)))
    return built
