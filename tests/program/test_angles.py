"""Angle tables against one expression at a time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.circuit.slots import Expr, feature, weight
from tn_qnn.program.angles import angle_table

from ..circuits import random_angle

INDEX = {f"w{k}": k for k in range(4)}


def labels_of(rows: list[list[Expr]], per_sample: bool) -> tuple[str, ...]:
    flat = [expr for row in rows for expr in row]
    uses_weights = any(expr.weights for expr in flat)
    uses_features = any(expr.features for expr in flat)
    found = ["c"] if len(rows[0]) > 1 else []
    found += ["p"] if uses_weights else []
    found += ["s"] if uses_features or (uses_weights and per_sample) else []
    return tuple(found)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_tables(seed: int, rows: int, cones: int, per_sample: bool) -> None:
    rng = np.random.default_rng(seed)
    angles = [[random_angle(rng) for _ in range(cones)] for _ in range(rows)]
    labels = labels_of(angles, per_sample)
    weights = rng.normal(size=(2, 3, 4) if per_sample else (2, 4))
    features = rng.normal(size=(3, 3))
    values = angle_table(labels, angles, INDEX).evaluate(weights, features)
    assert values.shape == (
        rows, cones, 2 if "p" in labels else 1, 3 if "s" in labels else 1,
    )  # fmt: skip
    full = np.broadcast_to(values, (rows, cones, 2, 3))
    for i, j, p, s in np.ndindex(rows, cones, 2, 3):
        row = weights[p, s] if per_sample else weights[p]
        want = angles[i][j].evaluate(dict(zip(INDEX, row, strict=True)), features[s])
        assert full[i, j, p, s] == pytest.approx(want, rel=1e-12, abs=1e-12)


def test_several_monomials_of_one_degree_add_up() -> None:
    a, b = weight("w0"), weight("w1")
    rows = [[2 * a + 3 * b + 1], [a], [a * a - b * b + a * b]]
    values = angle_table(("p",), rows, INDEX).evaluate(
        np.array([[2.0, 5.0, 0, 0]]), np.zeros((1, 0))
    )
    np.testing.assert_array_equal(values[:, 0, 0, 0], [20, 2, 4 - 25 + 10])


def test_without_a_label_only_the_first_cone_is_read() -> None:
    table = angle_table(("s",), [[feature(0), feature(1)]], INDEX)
    assert table.cones == 1
    np.testing.assert_array_equal(
        table.evaluate(np.zeros((1, 4)), np.array([[3.0, 4.0]])), [[[[3.0]]]]
    )


def test_arguments_and_tables_stay_as_they_are() -> None:
    table = angle_table(
        ("p", "s"), [[weight("w0") * feature(0) + 1], [weight("w1") + feature(0)]], INDEX
    )
    weights, features = np.ones((2, 4)), np.ones((3, 1))
    first = table.evaluate(weights, features)
    first[:] = 7
    np.testing.assert_array_equal(table.evaluate(weights, features), np.full((2, 1, 2, 3), 2.0))
    assert np.all(weights == 1) and np.all(features == 1)


@pytest.mark.parametrize("per_sample", [False, True])
def test_on_a_device_the_same_bits_and_the_tables_go_there_once(
    cupy: Any, per_sample: bool
) -> None:
    rng = np.random.default_rng(5)
    angles = [[random_angle(rng) for _ in range(3)] for _ in range(6)]
    table = angle_table(labels_of(angles, per_sample), angles, INDEX)
    weights = rng.normal(size=(2, 3, 4) if per_sample else (2, 4))
    features = rng.normal(size=(3, 3))
    there = cupy.asarray(weights), cupy.asarray(features)
    counters = cupy._standin.machine.counters
    found = table.evaluate(*there)
    sent = counters.to_device
    np.testing.assert_array_equal(table.evaluate(*there).get(), table.evaluate(weights, features))
    assert isinstance(found, cupy.ndarray) and counters.to_device == sent


# --- back


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_derivatives_against_differences(seed: int, rows: int, cones: int) -> None:
    """Of degree two at most in each weight: central differences are exact."""
    rng = np.random.default_rng(seed)
    angles = [[random_angle(rng) for _ in range(cones)] for _ in range(rows)]
    table = angle_table(labels_of(angles, False), angles, INDEX)
    weights, features = rng.normal(size=(2, 4)), rng.normal(size=(3, 3))
    by_angles = rng.normal(size=table.evaluate(weights, features).shape)
    by_angles = np.broadcast_to(by_angles, (*by_angles.shape[:2], 2, by_angles.shape[3]))
    gradient = np.ones((2, 4))
    table.pull_back(by_angles, weights, features, gradient)
    for i in range(4):
        moved = 0.5 * (np.arange(4) == i)
        change = table.evaluate(weights + moved, features)
        change = change - table.evaluate(weights - moved, features)
        want = (by_angles * change).sum(axis=(0, 1, 3))
        np.testing.assert_allclose(gradient[:, i], 1 + want, atol=1e-10)


def test_derivatives_of_powers_and_of_frozen_weights() -> None:
    a, b, x = weight("w0"), weight("w1"), feature(0)
    table = angle_table(("p", "s"), [[a * a * a * b + 2 * a * x], [b * x]], {"w0": 0}, {"w1": 3.0})
    weights, features = np.array([[2.0], [5.0]]), np.array([[1.0], [10.0]])
    by_angles = np.ones((2, 1, 2, 2))
    gradient = np.zeros((2, 1))
    table.pull_back(by_angles, weights, features, gradient)
    np.testing.assert_allclose(gradient[:, 0], [9 * 4.0 * 2 + 22, 9 * 25.0 * 2 + 22])
