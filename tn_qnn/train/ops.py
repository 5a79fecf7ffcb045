"""The two operations of a step that a device has kernels of its own for."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from tn_qnn.arrays import Array, array_module
from tn_qnn.rng import rademacher


class Ops(Protocol):
    """What a step does beside elementwise arithmetic, on arrays of the module ``xp``.

    Every implementation gives the same signs to the bit. On a GPU elementwise Philox would be a
    hundred launches, and a matrix product by cuBLAS cannot be part of a CUDA graph.
    """

    @property
    def xp(self) -> Any:
        """The array module, ``numpy`` or ``cupy``."""
        ...

    def rademacher(
        self, seed: int, step: int | Array, directions: int, samples: int, num_weights: int
    ) -> Array:
        """Return signs, float64 (directions, samples, W), of directions 0, 1, ... and so on.

        ``step`` is a number or an int64 array of no axes, which may lie on the device.
        """
        ...

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the product of float64 matrices, (M, K) and (K, N); any strides."""
        ...


@dataclass(frozen=True)
class ArrayOps:
    """The operations by an array module alone.

    Examples
    --------
    >>> HOST.rademacher(1, 0, directions=1, samples=2, num_weights=3)
    array([[[-1., -1.,  1.],
            [ 1.,  1.,  1.]]])
    """

    xp: ModuleType

    def rademacher(
        self, seed: int, step: int | Array, directions: int, samples: int, num_weights: int
    ) -> Array:
        """See :class:`Ops`."""
        xp = self.xp
        rows = xp.arange(directions)[:, None]
        return rademacher(seed, step, rows, xp.arange(samples), num_weights, xp)

    def matmul(self, a: Array, b: Array) -> Array:
        """See :class:`Ops`."""
        return a @ b


HOST = ArrayOps(np)


def ops_of(model: Any, weights: Array) -> Ops:
    """Return the operations for the array module of ``weights``: the model's, if it has any."""
    xp = array_module(weights)
    if xp is np:
        return HOST
    ops: Ops = getattr(model, "ops", None) or ArrayOps(xp)
    return ops
