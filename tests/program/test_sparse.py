"""Sums of rows against ``np.add.at`` and against dense matrices."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.program.sparse import SparseSum

TARGETS, SOURCES = 5, 4


def random_sum(seed: int, count: int, scaled: bool) -> SparseSum:
    rng = np.random.default_rng(seed)
    to, of = rng.integers(TARGETS, size=count), rng.integers(SOURCES, size=count)
    return SparseSum(to, of, rng.normal(size=count) if scaled else None)


def matrix(rows: SparseSum, shape: tuple[int, int]) -> np.ndarray:
    dense = np.zeros(shape)
    scale = np.ones(len(rows.to)) if rows.coefficients is None else rows.coefficients
    for to, of, coefficient in zip(rows.to, rows.of, scale, strict=True):
        dense[to, of] += coefficient
    return dense


@given(st.integers(0, 10**6), st.integers(0, 12), st.booleans(), st.sampled_from(["f4", "f8"]))
def test_addends_come_in_their_order_to_the_bit(
    seed: int, count: int, scaled: bool, dtype: str
) -> None:
    rows, rng = random_sum(seed, count, scaled), np.random.default_rng(seed)
    values = rng.normal(size=(SOURCES, 2, 3)).astype(dtype)
    out = rng.normal(size=(TARGETS, 2, 3)).astype(dtype)
    want = out.copy()
    scale = np.ones(count) if rows.coefficients is None else rows.coefficients
    np.add.at(want, rows.to, values[rows.of] * scale.astype(dtype)[:, None, None])
    rows.add(values, out)
    np.testing.assert_array_equal(out, want)


@given(st.integers(0, 10**6), st.integers(0, 12), st.booleans())
def test_transposed(seed: int, count: int, scaled: bool) -> None:
    rows = random_sum(seed, count, scaled)
    values = np.random.default_rng(seed).normal(size=(TARGETS, 3))
    out = np.zeros((SOURCES, 3))
    rows.transposed.add(values, out)
    np.testing.assert_allclose(out, matrix(rows, (TARGETS, SOURCES)).T @ values, atol=1e-12)


def test_rounds_never_meet_a_target_twice() -> None:
    rows = random_sum(3, 30, True)
    counts = np.bincount(rows.to, minlength=TARGETS)
    assert len(rows.rounds) == counts.max()
    for one in rows.rounds:
        assert len(set(one.to.tolist())) == len(one.to)
    assert sum(len(one.to) for one in rows.rounds) == 30


@pytest.mark.parametrize("scaled", [False, True])
def test_on_a_device_the_same_bits_and_the_tables_go_there_once(cupy: Any, scaled: bool) -> None:
    rows, values = random_sum(1, 20, scaled), np.random.default_rng(0).normal(size=(SOURCES, 6))
    want = np.zeros((TARGETS, 6))
    rows.add(values, want)
    there = cupy.asarray(values)
    sent = []
    for _ in range(2):
        out = cupy.zeros((TARGETS, 6))
        before = cupy._standin.machine.counters.to_device
        rows.add(there, out)
        sent.append(cupy._standin.machine.counters.to_device - before)
        np.testing.assert_array_equal(out.get(), want)
    assert sent[1] == 0, "tables were sent twice"
