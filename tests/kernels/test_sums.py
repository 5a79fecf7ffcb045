"""Sums over labels of the batch, against NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

NAMES = {"float32": "float", "float64": "double"}
WARP = 32


@dataclass
class Sum:
    """A value (planes, elements, C, P, S) in a random place, summed over some of C, P and S.

    ``over`` has one letter a label of CPS: "k" is kept, "s" summed, "-" a label that it lacks.
    """

    elements: int
    sizes: tuple[int, int, int]
    over: str
    planes: int = 1
    seed: int = 0

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.counts = [1 if o == "-" else n for o, n in zip(self.over, self.sizes, strict=True)]
        shape = (self.planes, self.elements, *self.counts)
        self.values = rng.uniform(-1, 1, shape)
        self.kept = tuple(k for k, o in enumerate(self.over) if o == "k")
        self.summed = tuple(2 + k for k, o in enumerate(self.over) if o == "s")
        self.bound = abs(self.values).sum(self.summed, keepdims=True)

    @property
    def lanes(self):
        return WARP if self.over.rstrip("-").endswith("s") else 1

    def lay_out(self, top):
        """Places of values and sums, all axes with gaps, and what lies behind them."""
        self.places, strides, end = spread(self.values.shape, top)
        self.sums, to, end = spread(self.bound.shape, end)
        kept = [(self.values.shape[a], strides[a], to[a]) for a in (0, 1)]
        kept += [(self.counts[k], strides[2 + k], to[2 + k]) for k in self.kept]
        kept = [(1, 0, 0)] * (4 - len(kept)) + kept
        over = [(self.counts[k], strides[2 + k]) for k, o in enumerate(self.over) if o == "s"]
        over = [(1, 0)] * (3 - len(over)) + over
        start = self.places.flat[0], self.sums.flat[0], self.lanes
        self.row = [*start, *np.ravel(kept), *np.ravel(over), 0, 0, 0]
        return end


def spread(shape, first):
    """Places of an array whose axes all have gaps, the last one contiguous."""
    strides, step = [], 1
    for count in reversed(shape):
        strides.append(step)
        step = step * count + 3
    axes = np.ix_(*map(np.arange, shape))
    places = sum(axis * stride for axis, stride in zip(axes, strides[::-1], strict=True)) + first
    return places, strides[::-1], int(places.max()) + 5


def verify(run, sums, dtype, grid=3):
    """Run the kernel for all sums at once; NaN shows what is read or written wrongly."""
    top = 7
    for one in sums:
        top = one.lay_out(top)
    arena = np.full(top, np.nan, dtype)
    for one in sums:
        arena[one.places] = one.values
    want = arena.astype(float)
    rows = np.array([one.row for one in sums], np.int64)
    run("sums.cu", f"sum_batch<{NAMES[dtype]}>", (grid, len(sums)), (128,), (arena, rows))
    allowed = np.zeros(top)
    for one in sums:
        # float32 loses nothing but in the value itself and in the result, however long the sum is
        want[one.sums] = arena[one.places].astype(float).sum(one.summed, keepdims=True)
        allowed[one.sums] = np.finfo(dtype).eps * abs(want[one.sums]) + 1e-14 * one.bound
    np.testing.assert_array_equal(np.isnan(arena), np.isnan(want))
    assert np.all(np.nan_to_num(abs(arena - want)) <= allowed)
    return arena


@pytest.mark.parametrize("dtype", sorted(NAMES))
@pytest.mark.parametrize(
    "over", [x for x in map("".join, product("ks-", repeat=3)) if "s" in x], ids=str
)
def test_any_labels_may_be_summed(run, over, dtype):
    verify(run, [Sum(3, (2, 3, 37), over, planes=2, seed=4)], dtype)


@pytest.mark.parametrize("dtype", sorted(NAMES))
def test_several_sums_of_one_launch(run, dtype):
    sums = [Sum(1, (1, 1, 1), "kks"), Sum(4, (1, 2, 129), "-ks"), Sum(2, (5, 1, 33), "skk", 2),
            Sum(9, (3, 4, 32), "sss"), Sum(70, (2, 2, 3), "kss")]  # fmt: skip
    verify(run, sums, dtype)


@pytest.mark.parametrize("over", ["-ks", "skk"])
def test_the_grid_changes_no_bit(run, over):
    found = [verify(run, [Sum(5, (6, 3, 100), over)], "float32", grid) for grid in (1, 2, 40)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_long_sums_keep_their_digits(run):
    """In float32 alone 100,000 terms would cost three or four digits more."""
    verify(run, [Sum(1, (1, 1, 100_000), "--s", seed=1)], "float32", grid=1)
