"""TensorCircuit-NG on JAX on the GPU: :mod:`bench.peers.tensorcircuit_jax`, arrays stay there."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import Problem
from bench.peers.angles import column_of
from bench.peers.tensorcircuit_jax import _columns, _shape, _translated


class JaxCall:
    """A compiled function of weights (P, W) and data (S, F)."""

    def __init__(self, problem: Problem, compiled: Any) -> None:
        self.dtype, self.compiled = problem.dtype, compiled

    def put(self, array: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        import jax

        return jax.device_put(array.astype(self.dtype))

    def run(self, weights: Any, X: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.compiled(weights, X).block_until_ready()

    def get(self, outputs: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        values = np.asarray(outputs)  # (C, P, S, observables)
        return np.moveaxis(values, 0, 2).reshape(*values.shape[1:3], -1)


def build(problem: Problem, sets: int, samples: int) -> JaxCall:
    """One jitted function for the whole batch and all outputs."""
    import jax
    import jax.numpy as jnp
    import tensorcircuit as tc

    jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
    backend: Any = tc.set_backend("jax")
    tc.set_dtype("complex128" if problem.dtype == "float64" else "complex64")
    columns = np.array([_columns(problem, c) for c in problem.circuits], dtype=np.intp)
    first = problem.circuits[0]
    if any(_shape(c) != _shape(first) for c in problem.circuits[1:]):
        raise ValueError("circuits of different structure are not translated")
    column = column_of(first.weights)

    def outputs(weights: Any, features: Any) -> Any:
        circuit = _translated(tc, first, weights, features, column)
        values = [
            backend.real(circuit.expectation_ps(z=[q], enable_lightcone=True, reuse=False))
            for q in problem.qubits
        ]
        return jnp.stack(values)

    by_sample = jax.vmap(outputs, (None, 0))
    mapped = jax.vmap(jax.vmap(by_sample, (0, None)), (0, None))
    compiled = jax.jit(lambda weights, X: mapped(jnp.moveaxis(weights[:, columns], 1, 0), X))
    return JaxCall(problem, compiled)
