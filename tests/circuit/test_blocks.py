"""Tensor-valued weights: unitary, of the right kind, smooth, and their derivatives."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, polar

from tn_qnn.circuit.block_charts import entries_of, matrices_of
from tn_qnn.circuit.blocks import block_gradient, block_matrices, orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.polar import polar_factor, polar_pull_back
from tn_qnn.errors import CircuitError

from ..emulation.cupy_standin import install, make_cupy

CHARTS = ["exponential", "entries"]
each_chart = pytest.mark.parametrize("chart", CHARTS)
each_kind = pytest.mark.parametrize("real", [True, False])


def generators(k: int, real: bool) -> np.ndarray:
    """H_i with U = exp(i sum_i w_i H_i), one by one."""
    d = 2**k
    pairs = list(itertools.combinations(range(d), 2))
    found = []
    for r, c in pairs:
        found.append(np.zeros((d, d), dtype=complex))
        found[-1][r, c], found[-1][c, r] = -1j, 1j
    if not real:
        found += [abs(h).astype(complex) for h in found]
        found += [np.diag(row).astype(complex) for row in np.eye(d)]
    return np.array(found)


def block(k: int, real: bool, chart: str, seed: int, *batch: int) -> np.ndarray:
    count = (orthogonal if real else unitary)("U", chart).num_weights(k)
    return np.random.default_rng(seed).normal(size=(*batch, count))


def assert_unitary(u: np.ndarray, atol: float = 1e-12) -> None:
    identity = np.broadcast_to(np.eye(u.shape[-1]), u.shape)
    np.testing.assert_allclose(u @ u.conj().swapaxes(-1, -2), identity, atol=atol)


@each_chart
@each_kind
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_matrices(k: int, real: bool, chart: str) -> None:
    d = 2**k
    coordinates = block(k, real, chart, k, 3, 2)
    names = (orthogonal if real else unitary)("U", chart).weights(k)
    assert names == tuple(f"U[{i}]" for i in range(coordinates.shape[-1]))
    u = block_matrices(coordinates, k, real, chart)
    assert u.shape == (3, 2, d, d)
    assert np.iscomplexobj(u) != real
    assert_unitary(u)
    one = coordinates[2, 1]
    if chart == "exponential":
        want = expm(1j * np.tensordot(one, generators(k, real), axes=1))
    else:
        planes = one.reshape(-1, d, d)
        want = polar(planes[0] if real else planes[0] + 1j * planes[1])[0]
    np.testing.assert_allclose(u[2, 1], want, atol=1e-12)
    if real and chart == "exponential":
        np.testing.assert_allclose(np.linalg.det(u), 1, atol=1e-10)


@pytest.mark.parametrize(
    ("real", "chart", "count"),
    [
        (True, "exponential", 2016),
        (False, "exponential", 4096),
        (True, "entries", 4096),
        (False, "entries", 8192),
    ],
)
def test_six_qubits(real: bool, chart: str, count: int) -> None:
    coordinates = block(6, real, chart, 0)
    assert len(coordinates) == count
    assert_unitary(block_matrices(coordinates, 6, real, chart))


@each_kind
def test_zero_is_the_identity_and_a_sign_the_inverse(real: bool) -> None:
    count = 6 if real else 16
    np.testing.assert_allclose(block_matrices(np.zeros(count), 2, real), np.eye(4), atol=1e-15)
    x = np.random.default_rng(0).normal(size=count)
    product = block_matrices(x, 2, real) @ block_matrices(-x, 2, real)
    np.testing.assert_allclose(product, np.eye(4), atol=1e-12)


def test_degenerate_coordinates_are_smooth() -> None:
    """Equal eigenvalues: eigenvectors are arbitrary there, the matrix must not be."""
    x = np.zeros(16)
    x[12:] = 0.4  # a multiple of the identity
    moved = x.copy()
    moved[0] = 1e-9
    np.testing.assert_allclose(
        block_matrices(x, 2, False), block_matrices(moved, 2, False), atol=1e-8
    )
    np.testing.assert_allclose(block_matrices(x, 2, False), np.exp(0.4j) * np.eye(4), atol=1e-14)


def finite_difference(function, x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Central differences of fourth order along each entry of the last axis."""
    rows = []
    for i in range(x.shape[-1]):
        e = np.zeros(x.shape[-1])
        e[i] = step
        near, far = function(x + e) - function(x - e), function(x + 2 * e) - function(x - 2 * e)
        rows.append((8 * near - far) / (12 * step))
    return np.stack(rows, axis=-1)


@each_chart
@each_kind
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("where", ["anywhere", "near", "special"])
def test_gradient_against_finite_differences(where: str, k: int, real: bool, chart: str) -> None:
    x = block(k, real, chart, 3 * k, 2, 2)
    special = np.zeros(x.shape[-1])
    if chart == "entries":
        special[: 4**k] = np.eye(2**k).reshape(-1)
    if where != "anywhere":
        x = special + (0.03 * x if where == "near" else 0 * x)
    rng = np.random.default_rng(k)
    g = rng.normal(size=(2, 2, 2**k, 2**k)) + 1j * rng.normal(size=(2, 2, 2**k, 2**k))

    def value(x: np.ndarray) -> np.ndarray:
        return (g * block_matrices(x, k, real, chart)).sum((-1, -2)).real

    got = block_gradient(x, g, k, real, chart)
    assert got.shape == x.shape
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, finite_difference(value, x), atol=2e-8)


@each_kind
def test_the_gradient_of_a_real_cotangent(real: bool) -> None:
    g = np.random.default_rng(5).normal(size=(4, 4))
    for chart in CHARTS:
        x = block(2, real, chart, 6)
        want = block_gradient(x, g.astype(complex), 2, real, chart)
        np.testing.assert_allclose(block_gradient(x, g, 2, real, chart), want, atol=1e-13)


@each_kind
def test_entries_and_matrices_are_the_same_numbers(real: bool) -> None:
    x = block(2, real, "entries", 1, 5)
    matrices = matrices_of(x, real)
    np.testing.assert_array_equal(entries_of(matrices, real), x)
    assert matrices.shape == (5, 4, 4)
    np.testing.assert_array_equal(matrices[2].real.reshape(-1), x[2, :16])


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 8]), st.floats(-9, 2), st.booleans())
def test_polar_factor_near_and_far(seed: int, d: int, decade: float, real: bool) -> None:
    """By iterations or by singular values, SciPy's factor."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(d, d)) + (0 if real else 1j) * rng.normal(size=(d, d))
    a = np.linalg.qr(rng.normal(size=(d, d)))[0] + 10**decade * noise
    u = polar_factor(a)
    assert_unitary(u, 1e-13 * d)
    # The factor moves by as much as its matrix over the smallest singular value.
    condition = max(np.linalg.svd(a, compute_uv=False)) / min(np.linalg.svd(a, compute_uv=False))
    np.testing.assert_allclose(u, polar(a)[0], atol=1e-13 * d * condition)


def test_a_matrix_alone_and_in_a_stack_have_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    turns = np.linalg.qr(rng.normal(size=(40, 4, 4)))[0]
    stack = turns + 10.0 ** rng.uniform(-15, 0, size=(40, 1, 1)) * rng.normal(size=(40, 4, 4))
    g = rng.normal(size=(40, 4, 4))
    together, derivatives = polar_factor(stack), polar_pull_back(stack, g)
    for k in range(40):
        assert polar_factor(stack[k]).tobytes() == together[k].tobytes()
        assert polar_pull_back(stack[k], g[k]).tobytes() == derivatives[k].tobytes()


@pytest.mark.parametrize("a", [np.zeros((4, 4)), np.diag([1.0, 0, 2, 0]), np.full((4, 4), 1e60)])
def test_singular_matrices_have_a_factor_and_finite_slopes(a: np.ndarray) -> None:
    assert_unitary(polar_factor(a))
    assert np.isfinite(polar_pull_back(a, np.ones((4, 4)))).all()


def two(first, second):
    return lambda: Circuit(3).block(first, [0]).block(second, [1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two(orthogonal("U"), orthogonal("U", "entries")), "orthogonal on 1 .* 'exponential'"),
        (two(orthogonal("U", "entries"), unitary("U", "entries")), "one kind, chart and size"),
        (lambda: orthogonal("U", chart="cayley"), "chart: 'exponential' or 'entries'.*'cayley'"),
        (lambda: unitary("U", chart=None), "chart: .* not None"),
        (lambda: block_matrices(np.zeros(6), 2, True, "entries"), r"\(\.\.\., 16\) expected"),
        (lambda: block_gradient(np.zeros(5), np.eye(4), 2, True), r"\(\.\.\., 6\) expected"),
    ],
)
def test_errors(make, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        make()


@pytest.fixture
def cupy(monkeypatch):
    found = make_cupy()
    install(found, monkeypatch.setitem)
    return found


@each_chart
@each_kind
@pytest.mark.parametrize("where", ["near", "far"])
def test_on_a_device(cupy, where: str, real: bool, chart: str) -> None:
    x = block(2, real, chart, 8, 3)
    if where == "near":
        x = 0.05 * x
        if chart == "entries":
            x[:, :16] += np.eye(4).reshape(-1)
    g = np.random.default_rng(1).normal(size=(3, 4, 4)) + 1j
    u = block_matrices(cupy.asarray(x), 2, real, chart)
    slope = block_gradient(cupy.asarray(x), cupy.asarray(g), 2, real, chart)
    assert isinstance(u, cupy.ndarray)
    assert isinstance(slope, cupy.ndarray)
    np.testing.assert_allclose(u.get(), block_matrices(x, 2, real, chart), atol=1e-14)
    np.testing.assert_allclose(slope.get(), block_gradient(x, g, 2, real, chart), atol=1e-13)
