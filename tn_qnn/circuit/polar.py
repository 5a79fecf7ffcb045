"""The polar factor of stacked matrices, and its derivative backwards.

A = U H with U unitary and H Hermitian, not negative. U is the unitary matrix nearest to A, so it
serves as a retraction onto the unitary matrices (Absil, Mahony and Sepulchre, Optimization
Algorithms on Matrix Manifolds, 2008, section 4.1). Near a unitary matrix everything is done by
matrix products, which are some twenty times faster than singular values for stacks of small
matrices; what becomes of a matrix never depends on the others of its stack.
"""

from __future__ import annotations

from tn_qnn.arrays import Array, array_module

NEAR = 0.5  # of A^H A from the identity, Frobenius norm: Newton-Schulz converges from there
MOST_ITERATIONS = 8  # each squares the distance: 0.5, 0.3, 0.06, 3e-3, 1e-5, 1e-10, 1e-20


def dagger(matrices: Array) -> Array:
    """Conjugate transposes, shape (..., m, n) to (..., n, m)."""
    return matrices.conj().swapaxes(-1, -2)


def polar_factor(matrices: Array) -> Array:
    """The nearest unitary matrices.

    Parameters
    ----------
    matrices
        Shape (..., d, d), float64 or complex128; NumPy or CuPy.

    Returns
    -------
    array
        Of the same shape, type and module. By Newton-Schulz iterations near a unitary matrix,
        else by singular values: so also where A is singular, where U is one of many.

    References
    ----------
    Higham, Functions of Matrices (2008), sections 8.3 and 8.4.

    Examples
    --------
    >>> import numpy as np
    >>> polar_factor(np.diag([2.0, -0.5]))
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    xp = array_module(matrices)
    gram = dagger(matrices) @ matrices
    distance = _distance(xp, gram)
    near = distance <= NEAR
    out = matrices
    moving = near & (distance > _rounding(gram))
    for _ in range(MOST_ITERATIONS):
        if not bool(moving.any()):
            break
        step = 1.5 * out - 0.5 * (out @ gram)
        out = xp.where(moving[..., None, None], step, out)
        gram = dagger(out) @ out
        moving = moving & (_distance(xp, gram) > _rounding(gram))
    if not bool(near.all()):
        left, _, right = xp.linalg.svd(matrices[~near])
        out = out.copy()
        out[~near] = left @ right
    return out


def polar_pull_back(matrices: Array, cotangent: Array) -> Array:
    """Derivative of a function of the polar factors U by the real and imaginary parts of A.

    With dU = U K and H K + K H = U^H dA - dA^H U (the difference is anti-Hermitian).

    Parameters
    ----------
    matrices
        A, shape (..., d, d).
    cotangent
        G with dL = Re sum(conj(G) dU), of the same shape.

    Returns
    -------
    array
        D with dL = Re sum(conj(D) dA). Where A is so singular that U has no derivative, the
        directions in which it jumps count as zero.

    Examples
    --------
    >>> import numpy as np
    >>> polar_pull_back(np.eye(2), np.array([[1.0, 4.0], [2.0, 1.0]]))
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    xp = array_module(matrices)
    unitary = polar_factor(matrices)
    stretch = dagger(unitary) @ matrices
    stretch = 0.5 * (stretch + dagger(stretch))
    turn = dagger(unitary) @ cotangent
    return unitary @ _solved(xp, stretch, turn - dagger(turn))


def _solved(xp: Array, h: Array, r: Array) -> Array:
    """K with h K + K h = r, for h Hermitian and positive.

    The matrix sign of [[h, r], [0, -h]] is [[1, 2 K], [0, -1]]; Newton-Schulz iterations find it
    near h = 1 (Higham, section 5.3), eigenvectors elsewhere.
    """
    stretch, right = h, r
    square = h @ h
    near = _distance(xp, square) <= NEAR
    moving = near
    for _ in range(MOST_ITERATIONS):
        moving = moving & (_distance(xp, square) > _rounding(square))
        if not bool(moving.any()):
            break
        pick = moving[..., None, None]
        cross = square @ right - stretch @ right @ stretch + right @ square
        right = xp.where(pick, 1.5 * right - 0.5 * cross, right)
        stretch = xp.where(pick, 1.5 * stretch - 0.5 * (square @ stretch), stretch)
        square = stretch @ stretch
    out = 0.5 * right
    if not bool(near.all()):
        values, vectors = xp.linalg.eigh(h[~near])
        sums = values[..., :, None] + values[..., None, :]
        floor = 1e-14 * sums.max(axis=(-1, -2), keepdims=True)
        turned = dagger(vectors) @ r[~near] @ vectors
        divided = xp.where(sums > floor, turned / xp.where(sums > floor, sums, 1.0), 0.0)
        out[~near] = vectors @ divided @ dagger(vectors)
    return out


def _distance(xp: Array, gram: Array) -> Array:
    """Frobenius norm of the difference from the identity."""
    return xp.linalg.norm(gram - xp.eye(gram.shape[-1]), axis=(-2, -1))


def _rounding(gram: Array) -> float:
    return 1e-14 * float(gram.shape[-1])
