"""Angles and their cos and sin against NumPy, one entry at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

NAMES = {"float32": "float", "float64": "double"}


@dataclass
class Angles:
    """A random table of angles, its inputs, and where the functions go."""

    rows: int = 4
    cones: int = 3
    sets: int = 2
    samples: int = 37
    per_sample: bool = False  # weights of their own for each sample
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        count = self.rows * self.cones
        shape = (self.sets, self.samples, 7) if self.per_sample else (self.sets, 7)
        self.weights = rng.normal(size=shape) * self.scale
        self.features = rng.normal(size=(self.samples, 5))
        self.constants = rng.normal(size=count) * self.scale
        self.starts = np.append(0, np.cumsum(rng.integers(0, 4, count))).astype(np.int32)
        self.coefficients = rng.normal(size=self.starts[-1])
        kinds = rng.integers(0, 3, (len(self.coefficients), 4))
        self.columns = np.choose(
            kinds, [-1, rng.integers(0, 7, kinds.shape), -2 - rng.integers(0, 5, kinds.shape)]
        ).astype(np.int32)

    def angle(self, e, p, s):
        """One angle, term by term."""
        weights = self.weights[p, s] if self.per_sample else self.weights[p]
        total = self.constants[e]
        for i in range(self.starts[e], self.starts[e + 1]):
            term = self.coefficients[i]
            for column in self.columns[i]:
                if column >= 0:
                    term = term * weights[column]
                elif column <= -2:
                    term = term * self.features[s, -2 - column]
            total = total + term
        return total

    def want(self):
        """All angles, shape (rows, cones, sets, samples)."""
        shape = (self.rows, self.cones, self.sets, self.samples)
        return np.array(
            [self.angle(r * self.cones + c, p, s) for r, c, p, s in np.ndindex(shape)]
        ).reshape(shape)

    def fill(self, run, dtype, grid=3):
        """Run the kernel; returns cos and sin, and holds that nothing else is written."""
        stride_s, stride_p = 1, self.samples + 4
        stride_c = self.sets * stride_p
        extent, base = self.cones * stride_c + 6, 9
        arena = np.full(base + 2 * self.rows * extent + 5, np.nan, dtype)
        strides = np.array([extent, stride_c, stride_p, stride_s])
        row, cone, p, s = np.ix_(*map(np.arange, (self.rows, self.cones, self.sets, self.samples)))
        places = base + row * extent + cone * stride_c + p * stride_p + s * stride_s
        weight_strides = [n // 8 for n in self.weights.strides[:-1]]
        numbers = [
            np.int64(base),
            *(np.int32(n) for n in (self.rows, self.cones, self.sets, self.samples)),
            *(np.int64(n) for n in strides),
            *(np.int64(n) for n in (weight_strides if self.per_sample else (*weight_strides, 0))),
            np.int64(5),
        ]
        tables = (self.constants, self.starts, self.coefficients, self.columns)
        args = (arena, self.weights, self.features, *tables, *numbers)
        run("fill.cu", f"fill_angles<{NAMES[dtype]}>", (grid,), (128,), args)
        cosines, sines = arena[places], arena[places + self.rows * extent]
        arena[places] = arena[places + self.rows * extent] = np.nan
        assert np.isnan(arena).all()
        return cosines, sines


@pytest.mark.parametrize("dtype", sorted(NAMES))
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (4, 3, 2, 37), (5, 1, 3, 1), (2, 6, 1, 130)])
def test_angles(run, sizes, per_sample, dtype):
    angles = Angles(*sizes, per_sample, seed=sum(sizes))
    tolerance = 4e-7 if dtype == "float32" else 1e-13
    for got, function in zip(angles.fill(run, dtype), (np.cos, np.sin), strict=True):
        np.testing.assert_allclose(got, function(angles.want()), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", sorted(NAMES))
@pytest.mark.parametrize("scale", [30.0, 1e4, 1e7])
def test_large_angles_keep_their_digits(run, scale, dtype):
    angles = Angles(scale=scale)
    want = angles.want()
    assert abs(want).max() > scale
    # An angle itself has that many digits in float64, whoever multiplies its factors.
    tolerance = (4e-7 if dtype == "float32" else 1e-13) + 1e-15 * abs(want).max()
    for got, function in zip(angles.fill(run, dtype), (np.cos, np.sin), strict=True):
        np.testing.assert_allclose(got, function(want), rtol=0, atol=tolerance)


@pytest.mark.parametrize("grid", [1, 2, 40])
def test_angles_do_not_depend_on_the_grid(run, grid):
    few, many = (Angles().fill(run, "float32", n) for n in (grid, 7))
    np.testing.assert_array_equal(few, many)
