"""The stand-in for CuPy computes what NumPy does."""

import numpy as np
import pytest

from .cupy_standin import make_cupy


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def cp(request):
    """Return a machine with one GPU, that works at once or only when something waits."""
    return make_cupy(lazy=request.param)


def numbers(*shape):
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape) / 7


EXPRESSIONS = {
    "operators": lambda xp, a: 2.0 - a * a / (1 + a) ** 2 + (-a) // 3 + a % 2 - abs(-a),
    "comparisons": lambda xp, a: (a > 1) & (a <= 2) | ~(a != a),
    "integers": lambda xp, a: (a.astype(xp.uint64) << xp.uint64(3) ^ xp.uint64(5)) >> xp.uint64(1),
    "functions": lambda xp, a: xp.sin(a) + xp.cos(a) * xp.exp(-a) + xp.log(a) + xp.sqrt(a),
    "maximum": lambda xp, a: xp.maximum(0.5, a) + xp.minimum(a, a.T.reshape(a.shape)),
    "sums": lambda xp, a: a.sum() + a.sum(axis=0, keepdims=True) + a.mean(axis=1)[:, None],
    "extremes": lambda xp, a: xp.stack([a.max(axis=0), a.min(axis=0), a.prod(axis=0)]),
    "places": lambda xp, a: a.argmax(axis=1) + a.argmin(axis=1),
    "all_any": lambda xp, a: xp.stack([(a > 0).all(), (a > 100).any()]),
    "cumsum": lambda xp, a: xp.cumsum(a, axis=1),
    "slices": lambda xp, a: a[1:, ::2][..., None] - a[0, 1],
    "gather": lambda xp, a: (
        a[xp.arange(3), xp.arange(3)[::-1]] + a.take(xp.arange(2), axis=1).sum()
    ),
    "mask": lambda xp, a: a[a > 1],
    "take_along": lambda xp, a: xp.take_along_axis(a, a.argmax(axis=1)[:, None], axis=1),
    "where": lambda xp, a: xp.where(a > 1, a, -1.0),
    "clip": lambda xp, a: xp.clip(a, 0.5, 1.5),
    "join": lambda xp, a: (
        xp.concatenate([a, 2 * a], axis=1) @ xp.concatenate([a.T, xp.stack([a[0]] * 3)])
    ),
    "views": lambda xp, a: xp.moveaxis(xp.expand_dims(a, 0), 0, -1).squeeze() + a.swapaxes(0, 1).T,
    "broadcast": lambda xp, a: xp.stack(xp.broadcast_arrays(a[:, :1], a[:1])),
    "like": lambda xp, a: xp.zeros_like(a) + xp.ones_like(a) + xp.full_like(a, 3.5),
    "new": lambda xp, a: (
        xp.eye(3) + xp.full((3, 1), 2.0) + xp.arange(1, 7, 2) + xp.ones(3, dtype=int)
    ),
    "tensordot": lambda xp, a: xp.tensordot(a, a, axes=([0], [0])) + a.dot(a[:3, :3]).sum(),
    "einsum": lambda xp, a: xp.einsum("ij,kj->ik", a, a),
    "complex": lambda xp, a: ((a + 1j * a).conj() * 1j).real + (a * 1j).imag,
    "strided": lambda xp, a: xp.lib.stride_tricks.as_strided(a, (2, 2), (16, 8)) + 0.0,
    "protocols": lambda xp, a: np.exp(a) + np.concatenate([a, a])[:3] + np.sum(a) + np.add(a, 1),
    "tile": lambda xp, a: xp.tile(a, (2, 1)).sum(axis=1) + xp.repeat(a, 2, axis=0)[:, 0],
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_it_computes_what_numpy_does(cp, name):
    expression, a = EXPRESSIONS[name], numbers(3, 4)[:, :3].copy()
    expected = expression(np, a)
    found = expression(cp, cp.asarray(a))
    assert type(found).__module__ == "cupy" and found.dtype == expected.dtype
    np.testing.assert_allclose(found.get(), expected, rtol=1e-14)


def test_eigenvalues(cp):
    a = numbers(3, 3) + numbers(3, 3).T
    values, vectors = cp.linalg.eigh(cp.asarray(a))
    np.testing.assert_allclose((vectors * values @ vectors.T).get(), a, atol=1e-13)


def test_changes_in_place_are_those_of_numpy(cp):
    ours, theirs = cp.asarray(numbers(4, 3)), numbers(4, 3)
    for xp, a in ((cp, ours), (np, theirs)):
        a[1] = 5
        a[:, 0] += a[:, 1]
        a[xp.arange(3), xp.arange(3)] -= 1.5
        a[xp.array([0, 2])] = xp.arange(3.0)
        a[a > 4] = 0.25
        a[...] *= 2
        xp.add.at(a, xp.array([1, 1, 3]), xp.ones(3))
        xp.add(a, 1.0, out=a)
        a[3:].fill(9)
    np.testing.assert_array_equal(ours.get(), theirs)
