"""Sums over batch labels on the CPU, against NumPy on strided views."""

import itertools

import numpy as np
import pytest

from tn_qnn.backends.cpu.sums import ROW, run_sums, sum_rows
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.network.labels import LABELS
from tn_qnn.program.compile import compile_program
from tn_qnn.program.placement import Sizes, place, strided
from tn_qnn.program.program import Program
from tn_qnn.program.reverse import with_reverse

from ..circuits import batches, plan_for

SIZES = Sizes(2, 3, 21)


def swept_program() -> Program:
    """Two equal cones with own and shared weights: sums over samples, over cones, over both."""
    c = Circuit(4)
    for k in (0, 2):
        c.ry(feature(k), k).rx(weight("a"), k).ry(weight("a") * feature(0), k + 1).cx(k, k + 1)
        c.ry(weight(f"own{k}"), k).rz(weight("b"), k + 1).rx(weight("c"), k + 1)
    (batch,) = batches(c, [X(1), X(3)])
    return with_reverse(compile_program(batch.network, plan_for(batch.network)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_sums_of_a_sweep(dtype: str) -> None:
    program = swept_program()
    placement = place(program, SIZES)
    arena = np.random.default_rng(0).normal(size=placement.scalars).astype(dtype)

    def view(number: int) -> np.ndarray:
        axes = placement.axes(program, number)
        return strided(arena, *axes, np.lib.stride_tricks.as_strided)

    assert program.reverse is not None
    seen = set()
    for stage in program.reverse.stages:
        before = arena.copy()
        wanted = []
        for total in stage.sums:
            labels = program.slots[total.out].labels
            lost = [label for label in program.slots[total.value].labels if label not in labels]
            seen.add("".join(lost))
            axes = tuple(2 + LABELS.index(label) for label in lost)
            wanted.append(view(total.value).astype(float).sum(axis=axes, keepdims=True))
        run_sums(arena, sum_rows(program, placement, stage.sums))
        untouched = np.ones(arena.size, dtype=bool)
        marks = np.arange(arena.size)
        for total, want in zip(stage.sums, wanted, strict=True):
            np.testing.assert_allclose(view(total.out), want.astype(dtype), rtol=1e-6, atol=1e-6)
            at = strided(
                marks, *placement.axes(program, total.out), np.lib.stride_tricks.as_strided
            )
            untouched[at.reshape(-1)] = False
        np.testing.assert_array_equal(arena[untouched], before[untouched])
    assert {"s", "c"} <= seen and len(seen) > 2


@pytest.mark.parametrize(("kept_cones", "kept_samples"), list(itertools.product((0, 1), repeat=2)))
def test_sums_are_taken_in_double_precision(kept_cones: int, kept_samples: int) -> None:
    """In single precision, small addends would be lost beside large ones."""
    cones, samples = (1, 6) if kept_cones else (3, 2)
    values = np.array([[1e9, 1.0], [-1e9, 3.0], [5.0, 7.0]], dtype=np.float32)
    arena = np.concatenate([values.reshape(-1), np.zeros(8, np.float32)])
    row = [1, 1, cones, 1, samples, 0, 0, 0, 2, 0, 1, 6, 0, 0, kept_cones, 0, kept_samples]
    assert len(row) == ROW
    run_sums(arena, np.array([row]))
    given = values.reshape(cones, samples).astype(float)
    lost = tuple(axis for axis, kept in enumerate((kept_cones, kept_samples)) if not kept)
    want = given.sum(axis=lost).reshape(-1).astype(np.float32)
    np.testing.assert_array_equal(arena[6 : 6 + want.size], want)


def test_no_sums() -> None:
    arena = np.ones(16)
    run_sums(arena, np.zeros((0, ROW), dtype=np.int64))
    assert np.all(arena == 1)
