"""Tensor-valued weights: unitary, of the right kind, smooth in their coordinates."""

import numpy as np
import pytest
from scipy.linalg import expm

from tn_qnn.circuit.blocks import block_matrices, generator_basis, orthogonal, unitary


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_matrices(k: int, real: bool) -> None:
    block = (orthogonal if real else unitary)("U")
    d, count = 2**k, block.num_weights(k)
    assert count == (d * (d - 1) // 2 if real else d * d)
    assert block.weights(k) == tuple(f"U[{i}]" for i in range(count))
    coordinates = np.random.default_rng(k).normal(size=(3, 2, count))
    u = block_matrices(coordinates, k, real)
    assert u.shape == (3, 2, d, d)
    assert np.iscomplexobj(u) != real
    np.testing.assert_allclose(
        u @ u.conj().swapaxes(-1, -2), np.broadcast_to(np.eye(d), u.shape), atol=1e-12
    )
    basis = generator_basis(k, real)
    want = expm(1j * np.tensordot(coordinates[2, 1], basis, axes=1))
    np.testing.assert_allclose(u[2, 1], want, atol=1e-12)
    if real:
        np.testing.assert_allclose(np.linalg.det(u), 1, atol=1e-10)


@pytest.mark.parametrize("real", [True, False])
def test_zero_is_the_identity_and_a_sign_the_inverse(real: bool) -> None:
    count = 6 if real else 16
    np.testing.assert_allclose(block_matrices(np.zeros(count), 2, real), np.eye(4), atol=1e-15)
    x = np.random.default_rng(0).normal(size=count)
    product = block_matrices(x, 2, real) @ block_matrices(-x, 2, real)
    np.testing.assert_allclose(product, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_generators_are_independent(k: int, real: bool) -> None:
    basis = generator_basis(k, real)
    np.testing.assert_array_equal(basis, basis.conj().swapaxes(-1, -2))
    flat = basis.reshape(len(basis), -1)
    assert np.linalg.matrix_rank(np.hstack([flat.real, flat.imag])) == len(basis)
    if real:
        assert not np.any(basis.real)


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
