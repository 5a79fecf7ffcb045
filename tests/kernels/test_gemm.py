"""Single large steps: lanes side by side, tiles through shared memory, and the naive kernel."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import run_emulated
from .reference import SPLAT, VECTOR, Batch, one_step

PLANES = tuple(itertools.product((1, 2), repeat=2))
KINDS = tuple(itertools.product((SPLAT, VECTOR), repeat=2))
SIZES = (  # around the edges of 64 outputs and of 16 values of k
    (1, 1, 1, 1), (1, 64, 64, 16), (1, 63, 65, 17), (2, 65, 3, 15), (3, 5, 70, 40),
    (1, 130, 1, 33), (2, 1, 67, 7), (7, 9, 6, 2),
)  # fmt: skip
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def verify(run, stage, most=65535):
    """Hold all kernels to NumPy and to each other bit for bit."""
    found = [
        stage.run_large(run),
        stage.run_large(run, kernel="run_step_naive"),
        stage.run_gemm(run, most),
    ]
    for arena in found:
        stage.check(arena)
    assert len({arena.tobytes() for arena in found}) == 1
    return found[0]


@each_dtype
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(run, sizes, planes, dtype):
    verify(run, one_step(sizes, Batch(1, 1, 2), dtype, planes))


@each_dtype
@pytest.mark.parametrize("kinds", KINDS)
def test_batches_and_kinds(run, kinds, dtype):
    stage = one_step((2, 5, 6, 3), Batch(3, 2, 5), dtype, (2, 1), (*kinds, VECTOR))
    verify(run, stage)
    verify(run, one_step((1, 4, 2, 9), Batch(2, 2, 1), dtype, (1, 2), (*kinds, VECTOR)))


@pytest.mark.parametrize("natural", ["", "A", "B", "AB", "ABC"])
def test_whatever_lies_side_by_side_in_memory(run, natural):
    """Loads of run_gemm follow k where that is contiguous, else m or n."""
    for planes in PLANES:
        verify(run, one_step((2, 40, 70, 35), Batch(1, 1, 1), planes=planes, natural=natural))


def test_fewer_blocks_than_matrices(run):
    stage = one_step((11, 3, 4, 18), Batch(1, 1, 3), planes=(2, 2))
    for most in (1, 4, 10):
        verify(run, stage, most)


@each_dtype
def test_results_do_not_depend_on_the_launch(run, dtype):
    stage = one_step((3, 6, 10, 7), Batch(2, 3, 100), dtype, (2, 1))
    shapes = [(32, 1, 1), (32, 8, 3), (32, 16, 1), (64, 2, 7), (128, 4, 2), (128, 1, 60)]
    found = {stage.run_large(run, *shape).tobytes() for shape in shapes}
    found |= {stage.run_large(run, *shape, kernel="run_step_naive").tobytes() for shape in shapes}
    assert len(found) == 1
    stage.check(stage.run_large(run))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 3), *[st.integers(1, 70)] * 2, st.integers(1, 40)),
    st.builds(Batch, *[st.integers(1, 2)] * 3),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(PLANES),
    st.sampled_from(["", "A", "B", "AB"]),
)
def test_any_step(sizes, batch, dtype, planes, natural):
    verify(run_emulated, one_step(sizes, batch, dtype, planes, natural=natural))
