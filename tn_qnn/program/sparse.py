"""Sums of some rows into others, in a fixed order and without atomics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, beside


@dataclass(frozen=True, eq=False)
class Round:
    """Sums whose targets are all different: one indexed addition.

    Attributes
    ----------
    to, of, coefficients
        As in :class:`SparseSum`; coefficients have shape (n,).
    """

    to: NDArray[np.intp]
    of: NDArray[np.intp]
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SparseSum:
    """``out[to[i]] += coefficients[i] * values[of[i]]`` along first axes.

    Attributes
    ----------
    to, of
        Shapes (n,).
    coefficients
        Shape (n,); None for ones.

    Examples
    --------
    >>> out = np.zeros((2, 1))
    >>> rows = SparseSum(np.array([0, 0, 1]), np.array([0, 1, 1]), None)
    >>> rows.add(np.array([[1.0], [2.0]]), out)
    >>> out.tolist(), rows.transposed.to.tolist()
    ([[3.0], [2.0]], [0, 1, 1])
    """

    to: NDArray[np.intp]
    of: NDArray[np.intp]
    coefficients: NDArray[np.float64] | None

    @cached_property
    def transposed(self) -> SparseSum:
        """The sums the other way."""
        return SparseSum(self.of, self.to, self.coefficients)

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """First addends of all targets, second ones, and so on."""
        if not len(self.to):
            return ()
        scale = np.ones(len(self.to)) if self.coefficients is None else self.coefficients
        order = np.argsort(self.to, kind="stable")
        counts = np.unique(self.to, return_counts=True)[1]
        turn = np.empty(len(order), dtype=np.intp)
        turn[order] = np.concatenate([np.arange(count) for count in counts])
        return tuple(
            Round(self.to[now], self.of[now], scale[now])
            for now in (turn == k for k in range(counts.max()))
        )

    def add(self, values: Array, out: Array) -> None:
        """Add values (rows, ...) to ``out`` (targets, ...), both NumPy or both CuPy."""
        for some in (beside(one, values) for one in self.rounds):
            picked = values[some.of]
            if self.coefficients is not None:
                scale = some.coefficients.astype(values.real.dtype)
                picked = picked * scale.reshape(-1, *(1,) * (values.ndim - 1))
            out[some.to] += picked
