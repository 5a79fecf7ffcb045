"""Derivatives by weights from those by cos and sin, against NumPy term by term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

NAMES = {"float32": "float", "float64": "double"}
WEIGHTS, FEATURES = 7, 5


@dataclass
class Terms:
    """Random angles of which some weights move some, and derivatives by their functions."""

    rows: int = 4
    cones: int = 3
    sets: int = 2
    samples: int = 37
    seed: int = 0

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.weights = rng.normal(size=(self.sets, WEIGHTS))
        self.features = rng.normal(size=(self.samples, FEATURES))
        self.outputs = rng.permutation(WEIGHTS)[:5].astype(np.int32)
        self.starts = np.append(0, np.cumsum([1, 4, 2, 0, 9])).astype(np.int32)
        count = self.starts[-1]
        self.entries = rng.integers(0, self.rows * self.cones, count).astype(np.int32)
        self.coefficients = rng.normal(size=count)
        kinds = rng.integers(0, 3, (count, 3))
        weight = rng.integers(0, WEIGHTS, kinds.shape)
        feature = rng.integers(0, FEATURES, kinds.shape)
        self.columns = np.choose(kinds, [-1, weight, -2 - feature]).astype(np.int32)
        shape = (self.rows, 2, self.cones, self.sets, self.samples)
        angles = rng.uniform(-3, 3, (self.rows, self.cones, self.sets, self.samples))
        self.functions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.slopes = rng.normal(size=shape)

    def want(self, functions, slopes):
        """The gradient, term by term; functions and slopes as the arena has them."""
        found = np.zeros((self.sets, WEIGHTS))
        # by the angle: cos' = -sin, sin' = cos
        by_angle = slopes[:, 1] * functions[:, 0] - slopes[:, 0] * functions[:, 1]
        for j, weight in enumerate(self.outputs):
            for i in range(self.starts[j], self.starts[j + 1]):
                row, cone = divmod(self.entries[i], self.cones)
                term = np.full((self.sets, self.samples), self.coefficients[i])
                for column in self.columns[i]:
                    if column >= 0:
                        term *= self.weights[:, column, None]
                    elif column <= -2:
                        term *= self.features[:, -2 - column]
                found[:, weight] += 2 * (term * by_angle[row, cone]).sum(1)
        return found

    def pull(self, run, dtype, grid=3):
        """Run the kernel; returns what it adds, and what it should add."""
        stride_s, stride_p = 1, self.samples + 4
        stride_c = self.sets * stride_p
        extent, base = self.cones * stride_c + 6, 9
        cone, p, s = np.ix_(*map(np.arange, (self.cones, self.sets, self.samples)))
        point = cone * stride_c + p * stride_p + s * stride_s
        row = np.arange(self.rows)[:, None] * extent
        function = row + np.array([0, self.rows * extent])
        around = base + 2 * self.rows * extent + 5
        arena = np.full(around + 2 * self.rows * extent, np.nan, dtype)
        for k, place in np.ndenumerate(function):
            arena[base + place + point] = self.functions[k]
            arena[around + place + point] = self.slopes[k]
        before = np.random.default_rng(2).normal(size=(self.sets, WEIGHTS))
        gradient = before.copy()
        numbers = [
            np.int32(len(self.outputs)),
            np.int64(base),
            np.int64(around),
            *(np.int32(n) for n in (self.rows, self.cones, self.sets, self.samples)),
            *(np.int64(n) for n in (extent, stride_c, stride_p, stride_s)),
            *(np.int64(n) for n in (WEIGHTS, FEATURES, WEIGHTS)),
        ]
        tables = (self.outputs, self.starts, self.entries, self.coefficients, self.columns)
        inputs = (self.weights, self.features)
        args = (arena, gradient, *inputs, *tables, *numbers)
        run("pull.cu", f"pull_angles<{NAMES[dtype]}>", (grid,), (128,), args)
        kept = (x.astype(dtype).astype(float) for x in (self.functions, self.slopes))
        return gradient, before + self.want(*kept)


@pytest.mark.parametrize("dtype", sorted(NAMES))
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (4, 3, 2, 37), (5, 1, 3, 1), (2, 6, 1, 130)])
def test_gradients(run, sizes, dtype):
    got, want = Terms(*sizes, seed=sum(sizes)).pull(run, dtype)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grid", [1, 2, 40])
def test_gradients_do_not_depend_on_the_grid(run, grid):
    few, many = (Terms().pull(run, "float32", n)[0] for n in (grid, 7))
    np.testing.assert_array_equal(few, many)
