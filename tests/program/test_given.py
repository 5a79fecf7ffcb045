"""Values that were worked out beforehand: what fixed networks are worth, and tables of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn import dense
from tn_qnn.circuit.observables import Z, density_matrix
from tn_qnn.network.batch import cone_batch, read_out
from tn_qnn.program.fixed import fixed_value
from tn_qnn.program.given import GivenTable

from ..circuits import random_circuit, random_path


@given(st.integers(0, 10**6))
def test_a_fixed_network_is_worth_what_the_dense_simulator_says(seed: int) -> None:
    """Any path, blocks and open readouts among them; equal cones at once."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, int(rng.integers(1, 5)), 10, features=0)
    frozen = {name: float(rng.normal()) for name in circuit.weights}
    observables = [Z(q) for q in range(circuit.num_qubits)] + [density_matrix([0])]
    for batch in read_out([circuit], observables).batches:
        network = cone_batch(batch.cones, frozenset()).network
        path = random_path(rng, len(network.tensors))
        found = fixed_value(network, path, batch.cones, frozen)
        for cone, value in zip(batch.cones, found, strict=True):
            flat = value.reshape(-1)
            for term, parts in enumerate(cone.parts):
                for output, coefficient in parts:
                    if not cone.terms:  # ket indices first: the matrix element by element
                        exact = dense.expectation(circuit, observables[output], frozen, None)
                        np.testing.assert_allclose(flat, np.asarray(exact).reshape(-1), atol=1e-11)
                        continue
                    assert coefficient == 1.0
                    exact = dense.expectation(circuit, observables[output], frozen, None)
                    np.testing.assert_allclose(flat[term], exact, atol=1e-11)


@pytest.mark.parametrize("columns", [[[2, 3], [4, 5], [6, 7]], [[2, 5], [3, 1], [0, 7]], [[4, 4]]])
def test_tables_pick_columns(columns: list[list[int]]) -> None:
    """As a slice or one by one: the same numbers."""
    features = np.random.default_rng(0).normal(size=(5, 8))
    rows = GivenTable((0,), None, np.array(columns)).rows(features)
    assert rows.shape == (len(columns), len(columns[0]), 1, 5)
    for row, cones in zip(rows, columns, strict=True):
        for values, column in zip(row, cones, strict=True):
            assert np.array_equal(values[0], features[:, column])


def test_tables_of_constants() -> None:
    values = np.arange(6.0).reshape(3, 2)
    rows = GivenTable((0,), values, None).rows(np.zeros((5, 1)))
    assert np.array_equal(rows, values[:, :, None, None])
