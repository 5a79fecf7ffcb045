"""The two models of the bar of time, in plain array code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learning import trees

Array = NDArray[Any]

POLAR_ITERATIONS = 5  # each squares the distance from the orthogonal matrices


class TreeModel:
    """Trees, one for each class, read out by Z; or trees with a linear head on their tops.

    The first are of real two-qubit blocks of six angles, the others of orthogonal matrices. Weights
    are those of :class:`~tn_qnn.models.estimators.QNNClassifier`, in the same order.

    Parameters
    ----------
    start
        What :func:`bench.learning.start.shared_start` gives.
    xp
        ``numpy`` or ``jax.numpy``.
    """

    def __init__(self, start: Mapping[str, Array], xp: Any) -> None:
        self.xp = xp
        self.orders = np.asarray(start["orders"])
        self.scale, bond = float(start["scale"]), int(start["bond_qubits"])
        self.wide = bond > 1
        self.size = 4**bond  # of a block
        self.counts = _halves(self.orders.shape[1] // (2 * bond))
        self.each = self.size**2 if self.wide else 6  # weights of a block
        self.in_blocks = len(self.orders) * sum(self.counts) * self.each
        self.classes = int(start["y"].max()) + 1
        self.packed = np.flatnonzero(np.triu(np.ones((2**bond, 2**bond))))
        self.columns = 4**bond  # numbers of a packed density, those below its diagonal are zero

    def logits(self, weights: Any, angles: Any) -> Any:
        """(classes, S) from weights (W,) and angles (S, F)."""
        xp = self.xp
        found = weights[: self.in_blocks].reshape(len(self.orders), sum(self.counts), self.each)
        if self.wide:
            blocks = found.reshape(*found.shape[:2], self.size, self.size)
        else:
            blocks = trees.so4_matrices(xp, found)
        ends = np.cumsum(self.counts)[:-1].tolist()
        leaves = xp.moveaxis(angles[:, self.orders], 0, -1)
        top = trees.top_densities(xp, xp.split(blocks, ends, axis=1), leaves)
        if not self.wide:
            return self.scale * (top[:, 0] - top[:, 3])
        head = weights[self.in_blocks : -self.classes].reshape(-1, self.columns, self.classes)
        scores = xp.einsum("tjk,tjs->ks", head[:, self.packed], top[:, self.packed])
        return self.scale * (scores + weights[-self.classes :, None])

    def tangent(self, weights: Any, gradient: Any) -> Any:
        """The gradient by entries whose polar factor is the block, at orthogonal blocks."""
        return self._on_blocks(
            weights, gradient, lambda u, g: 0.5 * (g - u @ g.swapaxes(-1, -2) @ u)
        )

    def retracted(self, weights: Any) -> Any:
        """Blocks brought back to their polar factor (Newton and Schulz's iteration)."""

        def polar(_: Any, u: Any) -> Any:
            for _k in range(POLAR_ITERATIONS):
                u = 1.5 * u - 0.5 * u @ (u.swapaxes(-1, -2) @ u)
            return u

        return self._on_blocks(weights, weights, polar)

    def _on_blocks(self, weights: Any, values: Any, change: Callable[[Any, Any], Any]) -> Any:
        if not self.wide:
            return values
        u, v = (x[: self.in_blocks].reshape(-1, self.size, self.size) for x in (weights, values))
        return self.xp.concatenate([change(u, v).reshape(-1), values[self.in_blocks :]])


def _halves(count: int) -> list[int]:
    return [count] if count == 1 else [count, *_halves(count // 2)]
