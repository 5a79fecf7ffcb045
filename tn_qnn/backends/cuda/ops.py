"""What a training step needs of the GPU beside elementwise arithmetic: work for graphs too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, stream_key

if TYPE_CHECKING:
    from tn_qnn.backends.cuda.runtime import CudaRuntime

Array = Any
THREADS = 128
SIGNS = 128  # of a block of Philox: four words of 32 bits


@dataclass(frozen=True, eq=False)
class CudaOps:
    """Signs and matrix products by kernels of our own; see :class:`tn_qnn.train.ops.Ops`."""

    runtime: CudaRuntime

    @property
    def xp(self) -> Any:
        """The array module, ``cupy``."""
        return self.runtime.cp

    def rademacher(
        self, seed: int, step: int | Array, directions: int, samples: int, num_weights: int
    ) -> Array:
        """Return random signs, the same bits as :func:`tn_qnn.rng.rademacher`.

        Parameters
        ----------
        seed : int below 2^64
        step : int below 2^32, or an int64 device array of one element
            Read on the device when the kernel runs.
        directions, samples, num_weights : int

        Returns
        -------
        float64 device array (directions, samples, num_weights)
        """
        cp = self.xp
        with self.runtime.use():
            out = cp.empty((directions, samples, num_weights))
            blocks = directions * samples * -(-num_weights // SIGNS)
            key = [np.uint32(word) for word in stream_key(seed, Stream.DIRECTIONS)]
            sizes = [np.int32(n) for n in out.shape]
            number = cp.asarray(step, dtype=np.int64)
            grid = (-(-blocks // THREADS),)
            self.runtime.launch("random_signs", "", grid, (THREADS,), (out, *key, number, *sizes))
        return out

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the product of two float64 matrices; each element's sum runs in ascending order.

        cuBLAS would be faster for large ones, but CuPy does not let it be captured.

        Parameters
        ----------
        a, b : float64 device arrays (M, K), (K, N)
            With any strides.

        Returns
        -------
        float64 device array (M, N)

        Raises
        ------
        InputError
            When shapes or dtypes do not fit.
        """
        good = a.ndim == b.ndim == 2 and a.dtype == b.dtype == np.float64
        if not good or a.shape[1] != b.shape[0]:
            raise InputError(
                f"a, b: got {a.dtype} {a.shape} and {b.dtype} {b.shape}, expected float64 matrices "
                f"(M, K) and (K, N)."
            )
        (m, k), n = a.shape, b.shape[1]
        strides = [stride // a.itemsize for stride in (*a.strides, *b.strides)]
        sizes = [np.int64(x) for x in (m, n, k, *strides)]
        with self.runtime.use():
            out = self.xp.empty((m, n))
            grid = (-(-m * n // THREADS),)
            self.runtime.launch("product", "", grid, (THREADS,), (out, a, b, *sizes))
        return out
