"""Outputs as weighted sums over the arena, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

NAMES = {"float32": "float", "float64": "double"}


@pytest.mark.parametrize("dtype", sorted(NAMES))
@pytest.mark.parametrize("order", ["KPS", "PSK", "SKP"])
@pytest.mark.parametrize(("sets", "samples"), [(1, 1), (3, 1), (1, 130), (4, 37)])
def test_outputs(run, sets, samples, order, dtype):
    rng = np.random.default_rng(sets * samples)
    counts = np.array([0, 1, 2, 5, 1, 40])  # terms of an output
    outputs = rng.permutation(9)[: len(counts)].astype(np.int32)
    starts = np.append(0, np.cumsum(counts)).astype(np.int32)
    stride_p, stride_s = samples + 3, 1
    block = sets * stride_p
    offsets = rng.permutation(100)[: starts[-1]] * block + 11
    coefficients = rng.normal(size=starts[-1])

    arena = np.full(100 * block + 20, np.nan, dtype)
    places = offsets[:, None, None] + np.add.outer(
        np.arange(sets) * stride_p, np.arange(samples) * stride_s
    )
    arena[places] = rng.uniform(-1, 1, places.shape)
    given = rng.normal(size=(9, sets, samples))
    want = given.copy()
    for j, output in enumerate(outputs):
        mine = slice(starts[j], starts[j + 1])
        want[output] += np.einsum("i,ips->ps", coefficients[mine], arena[places[mine]])

    axes = ["KPS".index(letter) for letter in order]
    memory = np.ascontiguousarray(given.transpose(axes))
    out = memory.transpose(np.argsort(axes))  # axes K, P, S of the same memory
    sizes = [np.int32(n) for n in (len(outputs), sets, samples)]
    strides = [np.int64(n) for n in (stride_p, stride_s, *(s // 8 for s in out.strides))]
    tables = (outputs, starts, offsets.astype(np.int64), coefficients)
    run(
        "readout.cu",
        f"read_out<{NAMES[dtype]}>",
        (2,),
        (128,),
        (arena, memory, *tables, *sizes, *strides),
    )
    np.testing.assert_allclose(out, want, rtol=1e-13, atol=1e-14)
