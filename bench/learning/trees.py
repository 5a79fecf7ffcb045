"""The trees of the benchmark by hand, level by level: what JAX differentiates.

Nothing of tn_qnn is in here. ``xp`` is ``numpy`` or ``jax.numpy``. A node holds the reduced density
matrix of the qubits that it passes on. Samples are the last axis; trees and nodes are batch axes of
one product a level.
"""

from __future__ import annotations

from typing import Any


def so4_matrices(xp: Any, angles: Any) -> Any:
    """Blocks of three pairs of RY with a CZ between pair and pair: (..., 6) -> (..., 4, 4)."""
    cosine, sine = xp.cos(0.5 * angles), xp.sin(0.5 * angles)
    turns = xp.stack([xp.stack([cosine, -sine], -1), xp.stack([sine, cosine], -1)], -2)
    first, second = turns[..., 0::2, :, :], turns[..., 1::2, :, :]
    pairs = xp.einsum("...ij,...kl->...ikjl", first, second).reshape(*first.shape[:-2], 4, 4)
    cz = xp.asarray([1.0, 1.0, 1.0, -1.0], dtype=angles.dtype)[:, None]
    return pairs[..., 2, :, :] @ (cz * (pairs[..., 1, :, :] @ (cz * pairs[..., 0, :, :])))


def leaf_vectors(xp: Any, angles: Any, qubits: int) -> Any:
    """Product states RY(x)|0> of groups of qubits.

    (..., groups * qubits, S) -> (..., groups, 2**qubits, S).
    """
    vectors = xp.stack([xp.cos(0.5 * angles), xp.sin(0.5 * angles)], -2)
    groups = vectors.reshape(*vectors.shape[:-3], -1, qubits, 2, vectors.shape[-1])
    joined = groups[..., 0, :, :]
    for k in range(1, qubits):
        joined = joined[..., :, None, :] * groups[..., k, None, :, :]
        joined = joined.reshape(*joined.shape[:-3], -1, joined.shape[-1])
    return joined


def first_level(xp: Any, blocks: Any, vectors: Any) -> Any:
    """Blocks (..., N, D, D) on pure states (..., N, D, S): densities (..., N, D, S)."""
    turned = blocks @ vectors
    d = _root(turned.shape[-2])
    split = turned.reshape(*turned.shape[:-2], d, d, turned.shape[-1])
    density = xp.einsum("...iqs,...jqs->...ijs", split, split)
    return density.reshape(*density.shape[:-3], d * d, density.shape[-1])


def next_level(xp: Any, blocks: Any, densities: Any) -> Any:
    """Blocks (..., N, D, D) on 2 N densities (..., 2 N, D, S): densities (..., N, D, S).

    A block becomes a map from pairs of densities to densities, once for all samples.
    """
    size = blocks.shape[-1]
    d = _root(size)
    parts = blocks.reshape(*blocks.shape[:-2], d, d, d, d)
    maps = xp.einsum("...iqkm,...jqln->...ijklmn", parts, parts)
    maps = maps.reshape(*maps.shape[:-6], size, size * size)
    left, right = densities[..., 0::2, :, :], densities[..., 1::2, :, :]
    pairs = left[..., :, None, :] * right[..., None, :, :]
    return maps @ pairs.reshape(*left.shape[:-2], size * size, left.shape[-1])


def top_densities(xp: Any, levels: Any, angles: Any) -> Any:
    """Reduced density matrices of the top qubits.

    Parameters
    ----------
    levels
        Blocks by level, (T, N, D, D) each, N halving from level to level.
    angles
        (T, qubits, S), in the order of the leaves.

    Returns
    -------
    (T, D, S), matrices row by row
    """
    vectors = leaf_vectors(xp, angles, levels[0].shape[-1].bit_length() - 1)
    densities = first_level(xp, levels[0], vectors)
    for blocks in levels[1:]:
        densities = next_level(xp, blocks, densities)
    return densities[:, 0]


def _root(size: int) -> int:
    return 1 << ((size.bit_length() - 1) // 2)
